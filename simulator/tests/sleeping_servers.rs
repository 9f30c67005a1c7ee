//! Servers that nobody calls, of which a machine holds many.

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;
use tallac_core::operation::KeyChoice;
use tallac_simulator::{Crash, Ended, Fidelity, Grid, GridSpec};

/// What clients see, and what servers do once they are called, line by line. `touched` servers are made
/// at once, as those of small grids are.
fn told(touched: impl Fn(usize) -> bool) -> (Vec<String>, Vec<Vec<(u16, bool)>>) {
    let spec = GridSpec {
        fidelity: Fidelity::Protocol,
        introducers: 0,
        servers: 60,
        clients: 3,
        configured: true,
        connections_max: 12,
        ..GridSpec::default()
    };
    let mut grid = Grid::new(5, &spec);
    grid.start_all();
    for (_, server) in grid.servers.clone().into_iter().enumerate().filter(|(number, _)| touched(*number)) {
        grid.world.disk(server);
    }
    let (lines, wanted) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(true)));
    let told = lines.clone();
    let later = grid.world.now() + Duration::from_millis(900);
    let first = wanted.clone();
    grid.world.trace().tell(move |line: String| {
        // Looking at an empty disk is what nobody sees who sleeps.
        if !(*first.borrow() && (line.contains("DiskDone") || line.contains("ListRedo"))) {
            told.borrow_mut().push(line);
        }
    });
    grid.run_until(later);
    wanted.replace(false);
    let mut puts = Vec::new();
    for number in 0..12 {
        let client = grid.clients[number % 3];
        let content = grid.content(number as u64, 5_000 + 9_000 * number as u64);
        let key = if number % 2 == 0 { KeyChoice::Random } else { KeyChoice::Convergent };
        puts.push(grid.operations.put(&mut grid.world, client, content, key, number % 3 == 0));
        let next = grid.world.now() + Duration::from_secs(7);
        grid.run_until(next);
        let server = grid.servers[number * 4];
        grid.crash(server, if number % 2 == 0 { Crash::PowerCut } else { Crash::Kill });
        if number > 2 {
            let server = grid.servers[(number - 3) * 4];
            grid.world.start(server);
        }
    }
    assert!(grid.finish_operations(Duration::from_secs(600)));
    let placed = puts.iter().map(|put| match grid.operations.ended(*put) {
        Some(Ended::Stored(uploaded)) => {
            let shares = &uploaded.plan.as_ref().expect("no file is short").shares;
            shares.iter().map(|share| (share.share, share.already_there)).collect()
        }
        other => panic!("{other:?}"),
    });
    let placed = placed.collect();
    for file in grid.operations.files().to_vec() {
        let client = grid.clients[2];
        grid.operations.get(&mut grid.world, client, &file, 0..file.content.len());
    }
    assert!(grid.finish_operations(Duration::from_secs(600)));
    assert_eq!(grid.operations.violations(), [""; 0]);
    let next = grid.world.now() + Duration::from_secs(1_800);
    grid.run_until(next);
    (lines.take(), placed)
}

/// Everything is as if the servers that sleep had been there all along: every line at the same time.
#[test]
fn who_sleeps_is_not_missed() {
    let (all, placed) = told(|_| true);
    assert!(all.len() > 10_000, "{} lines", all.len());
    for touched in [(|_| false) as fn(usize) -> bool, |number| number % 3 == 0] {
        let (lines, others) = told(touched);
        for (number, (line, expected)) in lines.iter().zip(&all).enumerate() {
            assert!(line == expected, "line {number}:\n{line}\n{expected}");
        }
        assert_eq!((lines.len(), &others), (all.len(), &placed));
    }
}
