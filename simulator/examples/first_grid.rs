//! The smallest test of a whole grid: a file survives the loss of seven servers of ten.

use core::time::Duration;
use tallac_core::operation::KeyChoice;
use tallac_simulator::{Crash, Ended, Grid, GridSpec, chance};

fn main() {
    let mut grid = Grid::running(7, &GridSpec::default());
    let client = grid.clients[0];
    let content = chance::content(1, 100_000);
    grid.operations.put(&mut grid.world, client, content.into(), KeyChoice::Random, true);
    assert!(grid.finish_operations(Duration::from_secs(60)));

    let lost: Vec<_> = grid.servers[..7].into();
    for server in lost {
        grid.crash(server, Crash::PowerCut);
    }
    let file = grid.operations.files()[0].clone();
    let get = grid.operations.get(&mut grid.world, client, &file, 0..100_000);
    assert!(grid.finish_operations(Duration::from_secs(60)));
    assert!(matches!(grid.operations.ended(get), Some(Ended::Read)), "every byte was compared");
    println!("read from the last three servers after {:?} of virtual time", grid.world.now());
}
