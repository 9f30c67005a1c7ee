//! A whole upload and download in memory: real nodes, real coding, real frames; no TLS, no disk, no
//! network but the simulated. What the simulator does beside it (it copies every byte over its
//! network and hashes every event for its trace) is in the figures, too.
//!
//! `cargo bench -p tallac-simulator --bench transfer`

use bytes::Bytes;
use core::time::Duration;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tallac_core::encoding::EncodingParams;
use tallac_core::operation::KeyChoice;
use tallac_simulator::chance::content;
use tallac_simulator::{Ended, Grid, GridSpec, StoredFile};

const LEN: u64 = 16 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(3600);

fn spec() -> GridSpec {
    let encoding = EncodingParams::new(3, 10, 1024 * 1024).expect("good parameters");
    GridSpec { servers: 10, clients: 1, encoding, ..GridSpec::default() }
}

fn store(grid: &mut Grid, content: Bytes) -> StoredFile {
    let client = grid.clients[0];
    grid.operations.put(&mut grid.world, client, content.into(), KeyChoice::Convergent, true);
    assert!(grid.finish_operations(PATIENCE));
    grid.operations.files().last().expect("it was stored").clone()
}

fn fetch(grid: &mut Grid, file: &StoredFile) {
    let client = grid.clients[0];
    let get = grid.operations.get(&mut grid.world, client, file, 0..LEN);
    assert!(grid.finish_operations(PATIENCE));
    assert!(matches!(grid.operations.ended(get), Some(Ended::Read)));
}

fn transfer(c: &mut Criterion) {
    let bytes = Bytes::from(content(1, LEN));
    let mut group = c.benchmark_group("in memory, 3-of-10");
    group.throughput(Throughput::Bytes(LEN));
    group.sample_size(10);
    group.bench_function("upload", |b| {
        b.iter_batched(
            || Grid::running(1, &spec()),
            |mut grid| store(&mut grid, bytes.clone()),
            BatchSize::PerIteration,
        );
    });
    let mut grid = Grid::running(1, &spec());
    let file = store(&mut grid, bytes.clone());
    group.bench_function("download", |b| b.iter(|| fetch(&mut grid, &file)));
    group.finish();
}

criterion_group!(benches, transfer);
criterion_main!(benches);
