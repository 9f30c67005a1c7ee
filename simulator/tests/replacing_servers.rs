//! Servers that go down in the middle of an upload are replaced, whether or not the content can be
//! read twice.

use bytes::Bytes;
use core::time::Duration;
use std::collections::BTreeSet;
use tallac_core::disk::StorePath;
use tallac_core::operation::KeyChoice;
use tallac_simulator::chance::content;
use tallac_simulator::{Crash, NetworkSettings};
use tallac_simulator::{Ended, Grid, GridSpec};

fn every_share_finds_a_server(key: KeyChoice, seed: u64, crash: Crash) {
    let network = NetworkSettings { bandwidth: 500_000, ..NetworkSettings::default() };
    let mut grid = Grid::running(seed, &GridSpec { servers: 13, network, ..GridSpec::default() });
    let client = grid.clients[0];
    let stored = Bytes::from(content(seed, 1_500_000));
    let put = grid.operations.put(&mut grid.world, client, stored, key, true);
    // Two servers with a share in progress go down while blocks are sent.
    let busy = |grid: &mut Grid, server| {
        let disk = grid.world.disk(server);
        disk.list().any(|(path, _)| matches!(path, StorePath::Incoming(..)))
    };
    let servers = grid.servers.clone();
    let victims = loop {
        let until = grid.world.now() + Duration::from_millis(50);
        grid.run_until(until);
        assert!(grid.operations.ended(put).is_none(), "the upload is over too early for this test");
        let busy: Vec<_> = servers.iter().copied().filter(|s| busy(&mut grid, *s)).collect();
        if busy.len() == 10 {
            break [busy[0], busy[1]];
        }
    };
    for victim in victims {
        grid.crash(victim, crash);
    }
    assert!(grid.finish_operations(Duration::from_secs(120)), "{:?}", grid.operations.list_under_way());
    assert!(matches!(grid.operations.ended(put), Some(Ended::Stored(_))), "{:?}", grid.operations.ended(put));
    let mut whole = BTreeSet::new();
    for server in servers.iter().filter(|server| !victims.contains(server)) {
        for (path, _) in grid.world.disk(*server).list() {
            match path {
                StorePath::Share(_, share) => whole.insert(*share),
                StorePath::Incoming(..) => panic!("a share in progress is left behind"),
                _ => continue,
            };
        }
    }
    assert_eq!(whole.len(), 10, "shares on the servers that are left: {whole:?}");
    let file = grid.operations.files()[0].clone();
    let get = grid.operations.get(&mut grid.world, client, &file, 0..1_500_000);
    assert!(grid.finish_operations(Duration::from_secs(120)));
    assert!(matches!(grid.operations.ended(get), Some(Ended::Read)));
    assert_eq!(grid.operations.violations(), [""; 0]);
}

#[test]
fn when_the_content_is_spooled() {
    for seed in 0..4 {
        every_share_finds_a_server(KeyChoice::Convergent, seed, Crash::Kill);
        every_share_finds_a_server(KeyChoice::Convergent, seed, Crash::PowerCut);
    }
}

#[test]
fn when_the_content_is_a_stream() {
    for seed in 0..4 {
        every_share_finds_a_server(KeyChoice::Random, seed, Crash::Kill);
        every_share_finds_a_server(KeyChoice::Random, seed, Crash::PowerCut);
    }
}
