//! Runs that are true to the bytes and runs with stand-ins for content do the same.

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;
use tallac_core::disk::StorePath;
use tallac_core::encoding::EncodingParams;
use tallac_core::operation::KeyChoice;
use tallac_simulator::plan::{Plan, Profile};
use tallac_simulator::run::{Outcome, Watch, watch_plan};
use tallac_simulator::{Crash, Ended, Fidelity, Grid, GridSpec};

/// A run, and what it told, line by line.
fn told(plan: &Plan, fidelity: Fidelity) -> (Outcome, Vec<String>) {
    let mut plan = plan.clone();
    plan.grid.fidelity = fidelity;
    let lines = Rc::new(RefCell::new(Vec::new()));
    let told = lines.clone();
    let listener = Box::new(move |line: String| told.borrow_mut().push(without_hashes(&line)));
    let outcome = watch_plan(&plan, Watch { lines: Some(listener), records: false });
    (outcome, lines.take())
}

/// A line of a trace, but for hashes and what holds them.
fn without_hashes(line: &str) -> String {
    let mut parts = line.split('#');
    let first = parts.next().unwrap_or_default().to_owned();
    let is_digit = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit();
    parts.fold(first, |text, part| text + "#" + &part[part.chars().take_while(is_digit).take(8).count()..])
}

/// Every event and every action comes at the same time, at the same node, with the same lengths; under
/// all faults.
#[test]
fn the_same_happens_under_all_faults() {
    let mut lines_compared = 0;
    for seed in 0..12 {
        let plan = Plan::draw(seed, &Profile::default());
        let (bytes, bytes_told) = told(&plan, Fidelity::Bytes);
        let (protocol, protocol_told) = told(&plan, Fidelity::Protocol);
        for (number, (a, b)) in bytes_told.iter().zip(&protocol_told).enumerate() {
            assert!(a == b, "seed {seed}, line {number}:\n{a}\n{b}");
        }
        assert_eq!(bytes_told.len(), protocol_told.len(), "seed {seed}");
        assert!(bytes.is_good() && protocol.is_good(), "{bytes}\n{protocol}");
        assert_eq!(
            (bytes.counts, bytes.time, bytes.entries, bytes.operations),
            (protocol.counts, protocol.time, protocol.entries, protocol.operations),
            "seed {seed}"
        );
        lines_compared += bytes_told.len();
    }
    println!("{lines_compared} lines are the same");
}

/// Files of all kinds, put and got while servers crash, disks fill up and shares rot: what each node
/// has on its disk in the end, where every share was put, and how every operation ended.
fn left_by(seed: u64, fidelity: Fidelity) -> (Vec<String>, Vec<String>) {
    let encoding = EncodingParams::new(3, 10, 16 * 1024).unwrap();
    let spec = GridSpec { fidelity, servers: 12, clients: 2, encoding, ..GridSpec::default() };
    let mut grid = Grid::running(seed, &spec);
    let rest = |grid: &mut Grid, millis: u64| {
        let until = grid.world.now() + Duration::from_millis(millis);
        assert_eq!(grid.run_until(until), None);
    };
    let mut operations = Vec::new();
    let lens = [40, 55, 56, 57, 16_384, 50_000, 70_001, 200_000, 1_500_000, 50_000];
    for (number, len) in lens.into_iter().enumerate() {
        let key = if number % 3 == 1 { KeyChoice::Random } else { KeyChoice::Convergent };
        // The last content was put before; its shares are there.
        let content = grid.content(seed + len, len);
        let client = grid.clients[number % 2];
        operations.push(grid.operations.put(&mut grid.world, client, content, key, number % 2 == 0));
        rest(&mut grid, 60);
        let server = grid.servers[(seed as usize + 5 * number) % 12];
        match number % 4 {
            0 => drop(grid.crash(server, Crash::PowerCut)),
            1 => drop(grid.crash(server, Crash::Kill)),
            2 => grid.world.slow_disk(server, 400),
            _ => {
                let full = grid.world.disk(server).used() + 20_000;
                grid.world.disk(server).settings_mut().capacity = full;
            }
        }
        rest(&mut grid, 900);
        grid.world.start(server);
    }
    assert!(grid.finish_operations(Duration::from_secs(600)));
    for (number, server) in grid.servers.clone().into_iter().enumerate().filter(|(n, _)| n % 4 == 0) {
        let disk = grid.world.disk(server);
        let shares = disk.list().map(|(path, _)| path.clone());
        for path in shares.filter(|path| matches!(path, StorePath::Share(..))).collect::<Vec<_>>() {
            let mut content = disk.content(&path).expect("it is listed").into_owned();
            let at = content.len() * (number + 3) / 16;
            content[at] ^= 4;
            if number == 8 {
                content.truncate(at);
            }
            disk.tamper(&path, Some(content));
        }
    }
    for file in grid.operations.files().to_vec() {
        let (client, len) = (grid.clients[0], file.content.len());
        operations.push(grid.operations.get(&mut grid.world, client, &file, len / 3..len));
    }
    assert!(grid.finish_operations(Duration::from_secs(600)));
    assert_eq!(grid.operations.violations(), [""; 0]);
    let mut disks = Vec::new();
    for node in grid.world.nodes().collect::<Vec<_>>() {
        let used = grid.world.disk(node).used();
        let files = grid.world.disk(node).list().map(|(path, len)| format!("{path:?} of {len}"));
        disks.push(format!("{node:?} uses {used}: {:?}", files.collect::<Vec<_>>()));
    }
    let ended = operations.iter().map(|id| match grid.operations.ended(*id).expect("all have") {
        Ended::Stored(uploaded) => {
            let index = uploaded.cap.storage_index();
            format!("{index:?} {:?} {:?}", uploaded.plan, uploaded.trouble)
        }
        other => without_hashes(&format!("{other:?}")),
    });
    let ended = ended.collect();
    (disks, ended)
}

#[test]
fn the_same_shares_lie_on_the_same_servers() {
    let (mut stored, mut in_spite) = (0, 0);
    for seed in 1..6 {
        let (disks, ended) = left_by(seed, Fidelity::Bytes);
        let other = left_by(seed, Fidelity::Protocol);
        assert_eq!((&disks, &ended), (&other.0, &other.1), "seed {seed}");
        stored += ended.iter().filter(|how| how.contains("Some(SI:")).count();
        in_spite += ended.iter().filter(|how| how.contains("nickname")).count();
    }
    assert!(stored >= 30 && in_spite >= 5, "{stored} stored, {in_spite} in spite of trouble");
}
