//! Introducers, remembered servers, configured servers.

use std::fs;
use std::time::Duration;
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

#[test]
fn servers_can_be_configured_without_an_introducer() {
    let mut grid = Grid::create(&small(3));
    for index in 0..3 {
        grid.run(&format!("s{index}"));
        grid.wait_until(&format!("s{index}"), |_| true);
    }
    fs::remove_file(grid.path("gw").join("private/introducers.furl")).expect("it was written");
    let mut config = fs::read_to_string(grid.path("gw").join("tallac.toml")).expect("a configuration");
    for index in 0..3 {
        let read = |file: &str| {
            let path = grid.path(&format!("s{index}")).join(file);
            fs::read_to_string(path).expect("the server has run").trim().to_owned()
        };
        let status = grid.status(&format!("s{index}")).expect("it runs");
        let id = status["nodeid"].as_str().expect("an id").to_owned();
        // HASH of the TLS key, address and swissnum, as the server's owner would pass them on.
        let furl = read("private/storage.nurl");
        config += &format!(
            "\n[[servers]]\nid = \"{id}\"\nfurl = [\"{furl}\"]\ntub_id = \"{}\"\npermutation_seed = \"{}\"\n",
            read("my_nodeid"),
            read("permutation-seed"),
        );
    }
    fs::write(grid.path("gw").join("tallac.toml"), config).expect("a configuration");
    grid.run("gw");
    grid.wait_connected("gw", 3);
    let stored = content(4, 200_000);
    let cap = grid.put(&stored);
    grid.check(&cap, &stored);
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
