//! The heavy work on content: hashing, encoding, decoding. Throughput is per byte of content.
//!
//! `cargo bench -p tallac-core --features simd`

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tallac_core::encoding::{Encoding, EncodingParams};
use tallac_core::erasure::Encoder;
use tallac_core::hash;
use tallac_core::secret::EncryptionKey;
use tallac_core::segment::{decode_segment, encode_segment};

const SEGMENT: usize = 1024 * 1024;

fn hashing(c: &mut Criterion) {
    let content = vec![7u8; SEGMENT];
    let mut group = c.benchmark_group("hash");
    group.throughput(Throughput::Bytes(SEGMENT as u64));
    group.bench_function("block", |b| b.iter(|| hash::block_hash(black_box(&content))));
    group.bench_function("convergence", |b| {
        b.iter(|| {
            let mut hasher = hash::convergence_hasher(3, 10, SEGMENT as u32, &[0; 32]);
            hasher.update(black_box(&content));
            hasher.finish_key()
        })
    });
    group.finish();
}

fn coding(c: &mut Criterion) {
    let mut group = c.benchmark_group("segment");
    group.throughput(Throughput::Bytes(SEGMENT as u64));
    for (needed, total) in [(1, 4), (3, 10), (25, 100)] {
        let params = EncodingParams::new(needed, total, SEGMENT as u32).expect("good parameters");
        let encoding = Encoding::new(&params, SEGMENT as u64).expect("a file of one segment");
        let encoder = Encoder::new(needed, total).expect("good parameters");
        let key = EncryptionKey::from_bytes([1; 16]);
        let content = vec![7u8; SEGMENT];
        let name = format!("{needed}-of-{total}");
        let all: Vec<u16> = (0..total).collect();
        group.bench_function(BenchmarkId::new("encode", &name), |b| {
            b.iter(|| encode_segment(&key, &encoding, &encoder, 0, black_box(content.clone()), &all))
        });
        let blocks = encode_segment(&key, &encoding, &encoder, 0, content, &all).blocks;
        let pick = |shares: std::ops::Range<u16>| -> Vec<(u16, Bytes)> {
            shares.map(|share| (share, blocks[usize::from(share)].block.clone())).collect()
        };
        for (kind, chosen) in [("first", pick(0..needed)), ("last", pick(total - needed..total))] {
            group.bench_function(BenchmarkId::new(format!("decode from the {kind}"), &name), |b| {
                b.iter(|| decode_segment(&key, &encoding, 0, black_box(&chosen)).expect("good blocks"))
            });
        }
    }
    group.finish();
}

criterion_group!(benches, hashing, coding);
criterion_main!(benches);
