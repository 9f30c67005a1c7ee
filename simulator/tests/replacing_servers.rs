//! Servers that go down in the middle of an upload are replaced, whether or not the content can be
//! read twice.

use core::time::Duration;
use std::collections::BTreeSet;
use tallac_core::disk::StorePath;
use tallac_core::encoding::EncodingParams;
use tallac_core::operation::KeyChoice;
use tallac_core::payload::Payload;
use tallac_simulator::chance::content;
use tallac_simulator::{Crash, NetworkSettings};
use tallac_simulator::{Ended, Grid, GridSpec};

/// Stores a file as `total` shares on 13 servers, of which `down` go down meanwhile, those that are
/// being sent shares first.
fn every_share_finds_a_server(key: KeyChoice, seed: u64, crash: Crash, total: u16, down: usize) {
    let network = NetworkSettings { bandwidth: 500_000, ..NetworkSettings::default() };
    let encoding = EncodingParams::new(total / 3 + 1, total, 128 * 1024).unwrap();
    let mut grid = Grid::running(seed, &GridSpec { servers: 13, encoding, network, ..GridSpec::default() });
    let client = grid.clients[0];
    let stored = Payload::from(content(seed, 1_500_000));
    let put = grid.operations.put(&mut grid.world, client, stored, key, true);
    let busy = |grid: &mut Grid, server| {
        let disk = grid.world.disk(server);
        disk.list().any(|(path, _)| matches!(path, StorePath::Incoming(..)))
    };
    let servers = grid.servers.clone();
    let victims = loop {
        let until = grid.world.now() + Duration::from_millis(50);
        grid.run_until(until);
        assert!(grid.operations.ended(put).is_none(), "the upload is over too early for this test");
        let (busy, idle): (Vec<_>, Vec<_>) = servers.iter().partition(|s| busy(&mut grid, **s));
        if busy.len() == usize::from(total) {
            break busy.into_iter().chain(idle).take(down).collect::<Vec<_>>();
        }
    };
    for victim in &victims {
        grid.crash(*victim, crash);
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
    assert_eq!(whole.len(), usize::from(total), "shares on the servers that are left: {whole:?}");
    let file = grid.operations.files()[0].clone();
    let get = grid.operations.get(&mut grid.world, client, &file, 0..1_500_000);
    assert!(grid.finish_operations(Duration::from_secs(120)));
    assert!(matches!(grid.operations.ended(get), Some(Ended::Read)));
    assert_eq!(grid.operations.violations(), [""; 0]);
}

#[test]
fn when_the_content_is_spooled() {
    for seed in 0..4 {
        every_share_finds_a_server(KeyChoice::Convergent, seed, Crash::Kill, 10, 2);
        every_share_finds_a_server(KeyChoice::Convergent, seed, Crash::PowerCut, 10, 2);
    }
}

#[test]
fn when_the_content_is_a_stream() {
    for seed in 0..4 {
        every_share_finds_a_server(KeyChoice::Random, seed, Crash::Kill, 10, 2);
        every_share_finds_a_server(KeyChoice::Random, seed, Crash::PowerCut, 10, 2);
    }
}

/// All servers that were asked at first may be gone: the search goes on along the ring.
#[test]
fn when_nobody_is_left_of_those_who_were_asked() {
    for seed in 0..8 {
        every_share_finds_a_server(KeyChoice::Convergent, seed, Crash::Kill, 2, 11);
    }
}
