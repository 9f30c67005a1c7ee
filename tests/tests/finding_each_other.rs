//! Introducers, remembered servers, configured servers.

use std::fs;
use std::time::Duration;
use tallac_core::download::{Locations, Sought};
use tallac_core::machine::{Action, Event, Machine};
use tallac_core::node::{Node, NodeConfig};
use tallac_core::nurl::{Address, Pin, Service, Swissnum};
use tallac_core::operation::{Command, OperationId, Report};
use tallac_core::storage_index::StorageIndex;
use tallac_core::time::{Instant, Now};
use tallac_tests::memory_grid::{GridSetup, config};
use tallac_tests::{Grid, Options, content};

fn small(servers: usize) -> Options {
    Options { servers, ..Options::ten("blocking") }
}

#[test]
fn a_grid_of_three_works() {
    let mut grid = Grid::start(&small(3));
    let stored = content(1, 300_000);
    let cap = grid.put(&stored);
    grid.kill("s1");
    grid.check(&cap, &stored);
}

#[test]
fn the_grid_goes_on_without_its_introducer() {
    let mut grid = Grid::start(&small(4));
    let stored = content(2, 300_000);
    let cap = grid.put(&stored);
    // The list of servers is saved a moment after it changes.
    std::thread::sleep(Duration::from_secs(3));
    grid.kill("introducer");
    grid.kill("gw");
    grid.run("gw");
    grid.wait_connected("gw", 4);
    grid.check(&cap, &stored);
    grid.put(&content(3, 1_000));
}

/// Three servers that run and a gateway without an introducer, which does not run yet.
fn without_introducer() -> Grid {
    let mut grid = Grid::create(&small(3));
    for index in 0..3 {
        grid.run(&format!("s{index}"));
        grid.wait_until(&format!("s{index}"), |_| true);
    }
    fs::remove_file(grid.path("gw").join("private/introducers.furl")).expect("it was written");
    grid
}

/// Writes a server into the gateway's configuration, under an address that may have been tampered
/// with.
fn configure(grid: &Grid, server: &str, tamper: impl Fn(String) -> String) {
    let read = |file: &str| {
        let text = fs::read_to_string(grid.path(server).join(file)).expect("the server has run");
        text.trim().to_owned()
    };
    let status = grid.status(server).expect("it runs");
    let id = status["nodeid"].as_str().expect("an id");
    // HASH of the TLS key, address and swissnum, as the server's owner would pass them on.
    let furl = tamper(read("private/storage.nurl"));
    let (tub_id, seed) = (read("my_nodeid"), read("permutation-seed"));
    let config = grid.path("gw").join("tallac.toml");
    let text = fs::read_to_string(&config).expect("a configuration");
    let server = format!("[[servers]]\nid = \"{id}\"\nfurl = [\"{furl}\"]\ntub_id = \"{tub_id}\"");
    fs::write(config, format!("{text}\n{server}\npermutation_seed = \"{seed}\"\n")).expect("a configuration");
}

#[test]
fn servers_can_be_configured_without_an_introducer() {
    let mut grid = without_introducer();
    (0..3).for_each(|index| configure(&grid, &format!("s{index}"), |furl| furl));
    grid.run("gw");
    grid.wait_connected("gw", 3);
    let stored = content(4, 200_000);
    let cap = grid.put(&stored);
    grid.check(&cap, &stored);
}

/// Who is not the one that was meant, and who does not know us, is told apart and not trusted.
#[test]
fn a_wrong_certificate_and_a_wrong_swissnum_are_named() {
    let mut grid = without_introducer();
    let other = |c: char| if c == 'A' { 'B' } else { 'A' };
    // One letter of the hash, and one of the swissnum.
    let at = "pb://".len() + 3;
    let flip = |furl: String, at: usize| {
        let letter = furl[at..].chars().next().map(other).expect("a letter");
        format!("{}{letter}{}", &furl[..at], &furl[at + 1..])
    };
    configure(&grid, "s0", |furl| flip(furl, at));
    configure(&grid, "s1", |furl| {
        let swissnum = furl.rfind('/').expect("a swissnum") + 3;
        flip(furl, swissnum)
    });
    configure(&grid, "s2", |furl| furl);
    grid.run("gw");
    grid.wait_connected("gw", 1);
    grid.wait_until("gw", |status| {
        let text = status.to_string();
        text.contains("certificate") && text.contains("swissnum")
    });
    let status = grid.command("gw", &["status"], &[]).good().line();
    assert!(status.contains("certificate") && status.contains("swissnum"), "{status}");
    // Neither is counted on: with two of three servers out of reach nothing is stored.
    let file = grid.path("gw").join("to-put");
    fs::write(&file, content(4, 10_000)).expect("a file");
    let output = grid.command("gw", &["put", file.to_str().expect("text")], &[]);
    assert_eq!(output.code, Some(4), "{}", output.stderr);
    assert!(output.stderr.contains("certificate") && output.stderr.contains("swissnum"), "{}", output.stderr);
}

#[test]
fn two_introducers_are_as_good_as_one() {
    let mut grid = Grid::create(&small(3));
    // A second introducer, made of what was to be a server.
    let config = grid.path("s2").join("tallac.toml");
    let text = fs::read_to_string(&config).expect("a configuration");
    let text = text.replace(
        "[introducer]\n# Pass the announcements of nodes on.\nenabled = false",
        "[introducer]\nenabled = true",
    );
    fs::write(&config, text).expect("a configuration");
    let first = fs::read_to_string(grid.path("gw").join("private/introducers.furl")).expect("a furl");
    grid.run("s2");
    grid.wait_until("s2", |_| true);
    let second = fs::read_to_string(grid.path("s2").join("introducer.furl")).expect("a furl");
    assert_ne!(first, second);
    for name in ["gw", "s0", "s1"] {
        fs::write(grid.path(name).join("private/introducers.furl"), format!("{first}{second}"))
            .expect("a furl");
    }
    // The first one never runs.
    for name in ["s0", "s1", "gw"] {
        grid.run(name);
    }
    grid.wait_until("gw", |status| status["connected_servers"].as_u64() >= Some(2));
    let stored = content(5, 1_000);
    let cap = grid.put(&stored);
    grid.check(&cap, &stored);
}

/// A node that has not heard from its introducer yet.
fn of_an_introducer(now: Now) -> Node {
    let introducer = Service {
        pin: Pin([1; 32]),
        swissnum: Swissnum::new("introducer").expect("letters"),
        addresses: vec![Address { host: "nowhere".into(), port: 1 }],
    };
    let config = NodeConfig {
        introducers: vec![introducer],
        servers: Default::default(),
        ..config(1, &GridSetup { servers: 1, ..GridSetup::new(1, 1) })
    };
    Node::new(config, [7; 32], now)
}

/// Hands in an event; gives who is told where shares are.
fn located(node: &mut Node, event: Event, now: Now) -> Vec<(u64, Locations)> {
    node.handle(event, now);
    let mut told = Vec::new();
    while let Some(action) = node.poll_action() {
        if let Action::Report(Report::Located { id, locations }) = action {
            told.push((id.0, *locations));
        }
    }
    told
}

fn locate(id: u64) -> Event {
    let file = Sought::Mutable(StorageIndex([3; 16]));
    Event::Command(Command::Locate { id: OperationId(id), file })
}

/// Who looks for shares waits for servers to be known, as who reads does.
#[test]
fn shares_are_looked_for_once_servers_are_known() {
    let mut now = Now { instant: Instant(1_000_000_000), ..Now::default() };
    let mut node = of_an_introducer(now);
    for id in [1, 2] {
        assert_eq!(located(&mut node, locate(id), now), []);
    }
    let cancelled = Event::Command(Command::Cancel { id: OperationId(1) });
    assert_eq!(located(&mut node, cancelled, now), []);
    // The node waits only so long. Who asks after that is told at once.
    let begun = now.instant;
    let told = loop {
        now.instant = node.deadline().expect("it waits").max(now.instant);
        let told = located(&mut node, Event::Wake, now);
        if !told.is_empty() {
            break told;
        }
        assert!(now.instant < begun + Duration::from_secs(60), "it waits for ever");
    };
    assert_eq!(told, [(2, Locations::default())]);
    assert!(now.instant > begun, "{now:?}");
    assert_eq!(located(&mut node, locate(3), now), [(3, Locations::default())]);
}

#[test]
fn who_waits_for_servers_is_told_that_the_node_stops() {
    let now = Now { instant: Instant(1_000_000_000), ..Now::default() };
    let mut node = of_an_introducer(now);
    assert_eq!(located(&mut node, locate(1), now), []);
    let stop = Event::Command(Command::Stop);
    assert_eq!(located(&mut node, stop, now), [(1, Locations::default())]);
}
