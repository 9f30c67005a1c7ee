//! Faults by hand: four servers of ten lie, a disk rots, the network splits; the file is read, whole
//! and right.

use core::time::Duration;
use tallac_core::disk::StorePath;
use tallac_core::operation::KeyChoice;
use tallac_simulator::hostile::{HostileServer, Hostility, Tally};
use tallac_simulator::probes::Probe;
use tallac_simulator::{Ended, Grid, GridSpec, chance};

fn main() {
    let mut grid = Grid::running(3, &GridSpec::default());
    let client = grid.clients[0];
    let content = chance::content(1, 300_000);
    grid.operations.put(&mut grid.world, client, content.into(), KeyChoice::Convergent, true);
    assert!(grid.finish_operations(Duration::from_secs(60)));

    // Four turn hostile, each in its way; what they do is counted.
    let tally = Tally::default();
    let ways = [Hostility::Altered, Hostility::WrongShares, Hostility::Silent, Hostility::Unasked];
    for (server, how) in grid.servers.clone().into_iter().zip(ways) {
        grid.world.set_mouth(server, Box::new(HostileServer::new(how, tally.clone())));
    }
    // A fifth one's disk rots: a byte of each share.
    let disk = grid.world.disk(grid.servers[4]);
    let shares: Vec<StorePath> = disk.list().map(|(path, _)| path.clone()).collect();
    for path in shares.iter().filter(|path| matches!(path, StorePath::Share(..))) {
        let mut content = disk.content(path).expect("it is listed").to_vec();
        content[200] ^= 1;
        disk.tamper(path, Some(content));
    }
    // Two more cannot be reached.
    let apart = grid.servers[5..7].to_vec();
    grid.world.partition(&apart);

    let file = grid.operations.files()[0].clone();
    let get = grid.operations.get(&mut grid.world, client, &file, 0..300_000);
    assert!(grid.finish_operations(Duration::from_secs(600)));
    assert!(matches!(grid.operations.ended(get), Some(Ended::Read)), "{:?}", grid.operations.ended(get));
    let silent = tally.borrow().of(Probe::AnswersWithheld);
    println!("read in spite of all, {silent} answers withheld, at {:?}", grid.world.now());
}
