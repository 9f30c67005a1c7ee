//! Grids of real processes that lose servers: the promise of the whole system.

use std::time::Duration;
use tallac_tests::{Grid, Options, content};

/// The time within which a command must have decided.
const DECIDED: Duration = Duration::from_secs(10);

fn seven_servers_can_be_lost_but_not_eight(options: &Options) {
    let mut grid = Grid::start(options);
    let stored = content(1, 5_000_000);
    let cap = grid.put(&stored);
    assert!(cap.starts_with("URI:CHK:"), "{cap}");
    grid.check(&cap, &stored);
    for index in 0..7 {
        grid.kill(&format!("s{index}"));
    }
    // The gateway is started anew: nothing may come out of its memory.
    grid.kill("gw");
    grid.run("gw");
    grid.wait_connected("gw", 3);
    assert!(grid.check(&cap, &stored).took < DECIDED);
    grid.kill("s7");
    let output = grid.get(&cap);
    assert_eq!(output.code, Some(4), "{}", output.stderr);
    assert!(output.took < DECIDED, "{:?}", output.took);
    assert!(output.stderr.contains("2 of the 3 shares needed"), "{}", output.stderr);
    assert!(output.stdout.is_empty());
    // A server that comes back is found again.
    grid.run("s0");
    grid.wait_connected("gw", 3);
    grid.check(&cap, &stored);
}

#[test]
fn killed_on_threads() {
    seven_servers_can_be_lost_but_not_eight(&Options::ten("blocking"));
}

#[test]
fn killed_on_async_std() {
    seven_servers_can_be_lost_but_not_eight(&Options::ten("async-std"));
}

#[test]
fn killed_on_smol() {
    seven_servers_can_be_lost_but_not_eight(&Options::ten("smol"));
}

#[test]
fn killed_on_mixed_runtimes() {
    let runtimes = vec!["smol", "blocking", "async-std"];
    seven_servers_can_be_lost_but_not_eight(&Options { runtimes, ..Options::ten("") });
}

#[test]
fn stopped_servers_are_overtaken() {
    let grid = Grid::start(&Options::ten("blocking"));
    let stored = content(2, 3_000_000);
    let cap = grid.put(&stored);
    for index in 0..7 {
        grid.signal(&format!("s{index}"), "STOP");
    }
    let output = grid.check(&cap, &stored);
    assert!(output.took < DECIDED, "{:?}", output.took);
    grid.signal("s7", "STOP");
    let output = grid.get(&cap);
    assert_eq!(output.code, Some(4), "{}", output.stderr);
    assert!(output.took < DECIDED, "{:?}", output.took);
    for index in 0..8 {
        grid.signal(&format!("s{index}"), "CONT");
    }
    grid.check(&cap, &stored);
}
