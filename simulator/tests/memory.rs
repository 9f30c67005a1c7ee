//! Memory and space come back: what was asked, cancelled, abandoned and cut off leaves nothing.
#![cfg(target_os = "linux")]

use core::time::Duration;
use tallac_core::capability::MutableFormat;
use tallac_core::operation::KeyChoice;
use tallac_simulator::changes::{Alteration, Thing};
use tallac_simulator::{Crash, Ended, Grid, GridSpec, chance};

const LEN: u64 = 600_000;

/// What the system counts as this program's.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages: u64 = text.split(' ').nth(1).and_then(|field| field.parse().ok()).expect("in pages");
    pages * 4096
}

/// One of everything: an upload of what is there, a download, one of each given up, an upload whose client
/// dies, a change of a mutable file and a read of it.
fn round(grid: &mut Grid, content: &bytes::Bytes, number: u64) {
    let (client, other) = (grid.clients[0], grid.clients[1]);
    let (world, operations) = (&mut grid.world, &mut grid.operations);
    operations.put(world, client, content.clone().into(), KeyChoice::Convergent, true);
    let file = operations.files()[0].clone();
    let get = operations.get(world, client, &file, 0..LEN);
    let half = operations.get(world, client, &file, 0..LEN);
    let abandoned = operations.put(world, client, content.clone().into(), KeyChoice::Random, true);
    operations.put(world, other, content.clone().into(), KeyChoice::Random, true);
    grid.changes.alter(world, client, 0, Alteration::Overwrite, (number, 20_000));
    grid.changes.look(world, client, 0);
    for _ in 0..600 {
        grid.step();
    }
    grid.operations.cancel(&mut grid.world, half);
    grid.operations.cancel(&mut grid.world, abandoned);
    grid.crash(other, Crash::Kill);
    grid.world.start(other);
    assert!(grid.finish_operations(Duration::from_secs(600)), "{:?}", grid.operations.list_under_way());
    assert!(matches!(grid.operations.ended(get), Some(Ended::Read)));
}

/// Time passes, until what was left half-open is thrown away.
fn rest(grid: &mut Grid) {
    let later = grid.world.now() + Duration::from_secs(45 * 60);
    while grid.run_until(later).is_some() {}
}

#[test]
fn what_was_given_up_leaves_nothing() {
    let spec = GridSpec { clients: 2, ..GridSpec::default() };
    let mut grid = Grid::running(3, &spec);
    let content = bytes::Bytes::from(chance::content(1, LEN));
    let client = grid.clients[0];
    grid.operations.put(&mut grid.world, client, content.clone().into(), KeyChoice::Convergent, true);
    grid.changes.make(&mut grid.world, client, Thing::File, MutableFormat::Sdmf, (1, 20_000));
    assert!(grid.finish_operations(Duration::from_secs(600)));
    let used = |grid: &mut Grid| -> Vec<u64> {
        grid.servers.clone().into_iter().map(|server| grid.world.disk(server).used()).collect()
    };
    let space = used(&mut grid);
    // At first pools fill up, and the allocator finds its size.
    (0..10).for_each(|number| round(&mut grid, &content, 10 + number));
    rest(&mut grid);
    let before = resident();
    (10..60).for_each(|number| round(&mut grid, &content, 10 + number));
    rest(&mut grid);
    let grown = resident().saturating_sub(before);
    println!("{grown} bytes more after fifty rounds");
    assert_eq!(grid.operations.violations(), [""; 0]);
    assert_eq!(grid.changes.violations(), [""; 0]);
    // Something that is kept of each round would be at least a buffer: 65,536 bytes and more.
    assert!(grown < 50 * 40_000, "{grown} bytes more after fifty rounds");
    // A share may have grown by a lease.
    for (before, after) in space.into_iter().zip(used(&mut grid)) {
        assert!(after.abs_diff(before) <= 8_192, "{before} bytes of a server before, {after} after");
    }
}
