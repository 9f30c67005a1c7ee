//! The power fails at every single point: of an upload, one run for each, and whatever was acknowledged
//! by then is read back, and no share has its name without its data; and of short sequences of what a
//! storage server is asked to do, with every combination of what was not synced left in turn.

use core::time::Duration;
use std::time::Instant;
use tallac_core::disk::StorePath;
use tallac_core::encoding::EncodingParams;
use tallac_core::operation::KeyChoice;
use tallac_simulator::cuts::{Cuts, try_all};
use tallac_simulator::disk::Lie;
use tallac_simulator::{Crash, Ended, Grid, GridSpec, chance};

const LEN: u64 = 6_000;

/// Cuts the power of both servers after so many steps. Gives whether the upload had been acknowledged.
fn cut_after(steps: u32, seed: u64) -> bool {
    let encoding = EncodingParams::new(1, 2, 4096).expect("within bounds");
    let spec = GridSpec { servers: 2, encoding, happy: Some(2), ..GridSpec::default() };
    let mut grid = Grid::running(seed, &spec);
    let client = grid.clients[0];
    grid.operations.put(&mut grid.world, client, chance::content(1, LEN).into(), KeyChoice::Random, true);
    for _ in 0..steps {
        grid.step();
    }
    let acknowledged = grid.operations.files().len() == 1;
    for server in grid.servers.clone() {
        grid.crash(server, Crash::PowerCut);
        grid.world.start(server);
        let half_open = |(path, _): (&StorePath, u64)| matches!(path, StorePath::Incoming(..));
        assert!(!grid.world.disk(server).list().any(half_open), "cut {steps}, seed {seed}: half-open");
    }
    assert_eq!(grid.world.damage().shares_torn, 0, "cut {steps}, seed {seed}");
    let under_way = grid.operations.open_on(client);
    under_way.into_iter().for_each(|id| grid.operations.cancel(&mut grid.world, id));
    if acknowledged {
        let file = grid.operations.files()[0].clone();
        let get = grid.operations.get(&mut grid.world, client, &file, 0..LEN);
        assert!(grid.finish_operations(Duration::from_secs(600)), "cut {steps}, seed {seed}: hangs");
        let ended = grid.operations.ended(get);
        assert!(matches!(ended, Some(Ended::Read)), "cut {steps}, seed {seed}: {ended:?}");
    }
    assert_eq!(grid.operations.violations(), [""; 0], "cut {steps}, seed {seed}");
    acknowledged
}

#[test]
fn every_cut_point_of_an_upload() {
    // What the cut leaves of what was not synced differs from seed to seed.
    for seed in 0..3 {
        let mut steps = 0;
        while !cut_after(steps, seed) {
            steps += 1;
            assert!(steps < 10_000, "it is never acknowledged");
        }
        assert!(steps > 50, "an upload has more steps than {steps}");
        // And shortly after.
        (1..20).for_each(|more| assert!(cut_after(steps + more, seed)));
        println!("seed {seed}: {steps} cut points");
    }
}

#[test]
fn every_cut_of_every_sequence() {
    let began = Instant::now();
    let tried = try_all(&Cuts { longest: 3, lie: Lie::None });
    println!("{tried}, in {:?}", began.elapsed());
    assert_eq!(tried.wrong, None);
    assert_eq!(tried.sequences, 12 + 12 * 12 + 12 * 12 * 12);
}

/// A disk that does not do what it says is found out by two deeds or fewer.
#[test]
fn sequences_find_out_a_disk_that_lies() {
    for lie in [Lie::NoSync, Lie::NoContentSync, Lie::NoNameSync, Lie::Late] {
        let tried = try_all(&Cuts { longest: 2, lie });
        println!("{lie:?}: {tried}");
        assert!(tried.wrong.is_some(), "{lie:?}: {tried}");
    }
}
