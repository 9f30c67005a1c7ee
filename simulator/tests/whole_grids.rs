//! Whole grids without faults.

use core::time::Duration;
use tallac_core::encoding::EncodingParams;
use tallac_core::operation::KeyChoice;
use tallac_simulator::chance::content;
use tallac_simulator::{Ended, Grid, GridSpec};

fn store_and_read(spec: &GridSpec, sizes: &[u64]) {
    let mut grid = Grid::running(1, spec);
    for (index, &size) in sizes.iter().enumerate() {
        let client = grid.clients[index % grid.clients.len()];
        let key = if index % 3 == 2 { KeyChoice::Random } else { KeyChoice::Convergent };
        let content = content(size, size).into();
        grid.operations.put(&mut grid.world, client, content, key, index % 2 == 0);
    }
    assert!(grid.finish_operations(Duration::from_secs(600)), "{:#?}", grid.operations.list_under_way());
    let files = grid.operations.files().to_vec();
    assert_eq!(files.len(), sizes.len());
    let mut gets = Vec::new();
    for file in &files {
        let client = grid.clients[grid.clients.len() - 1];
        let range = 0..file.content.len();
        gets.push(grid.operations.get(&mut grid.world, client, file, range));
    }
    assert!(grid.finish_operations(Duration::from_secs(600)), "{:#?}", grid.operations.list_under_way());
    for get in gets {
        assert!(matches!(grid.operations.ended(get), Some(Ended::Read)), "{:?}", grid.operations.ended(get));
    }
    assert_eq!(grid.operations.violations(), [""; 0]);
}

#[test]
fn sizes_around_every_edge() {
    let mut sizes = vec![0, 1, 54, 55, 56, 57, 100];
    for segments in [1, 2, 3, 7] {
        let edge = segments * 4095;
        sizes.extend([edge - 3, edge - 1, edge, edge + 1, edge + 2]);
    }
    sizes.extend([300_000, 2_500_000]);
    store_and_read(&GridSpec { clients: 2, ..GridSpec::default() }, &sizes);
}

#[test]
fn a_hundred_nodes() {
    let spec = GridSpec {
        introducers: 2,
        servers: 90,
        clients: 8,
        encoding: EncodingParams::new(3, 10, 128 * 1024).unwrap(),
        ..GridSpec::default()
    };
    store_and_read(&spec, &[0, 55, 56, 10_000, 131_072, 400_000, 1_000_000, 3_000_000]);
}
