//! Not a test but a measurement of the heavy work on segments, one thread:
//! `cargo test --release --features simd --test throughput -- --ignored --nocapture`

use std::time::{Duration, Instant};

use bytes::Bytes;
use tallac_core::encoding::{Encoding, EncodingParams};
use tallac_core::erasure::{Encoder, decode_into};
use tallac_core::hash::block_hash;
use tallac_core::secret::EncryptionKey;
use tallac_core::segment::{crypt_at, decode_segment, encode_segment};

#[test]
#[ignore = "a measurement"]
fn throughput() {
    let mut megabyte = vec![7u8; 1 << 20];
    let key = EncryptionKey::from_bytes([1; 16]);
    report("AES-128-CTR", 1 << 20, || crypt_at(&key, 0, &mut megabyte));
    report("SHA-256d", 1 << 20, || {
        block_hash(&megabyte);
    });

    for (needed, total) in [(1, 4), (3, 10), (25, 100), (71, 255)] {
        let name = format!("{needed}-of-{total}");
        let params = EncodingParams::new(needed, total, 1 << 20).unwrap();
        let encoding = Encoding::new(&params, 100 << 20).unwrap();
        let encoder = Encoder::new(needed, total).unwrap();
        let len = encoding.segment_size() as usize;
        let segment: Vec<u8> = (0..len).map(|i| (i * i) as u8).collect();
        let primaries: Vec<&[u8]> = segment.chunks(encoding.block_size() as usize).collect();
        let wanted: Vec<u16> = (needed..total).collect();

        let mut out = vec![Vec::new(); wanted.len()];
        report(&format!("{name} erasure code, buffers reused"), len, || {
            encoder.encode(&primaries, &wanted, &mut out).unwrap();
        });
        report(&format!("{name} erasure code, fresh buffers"), len, || {
            let mut out = vec![Vec::new(); wanted.len()];
            encoder.encode(&primaries, &wanted, &mut out).unwrap();
        });
        let last: Vec<(u16, &[u8])> = wanted.iter().copied().zip(out.iter().map(Vec::as_slice)).collect();
        let last = &last[last.len() - usize::from(needed)..];
        let mut decoded = vec![0; len];
        report(&format!("{name} decoding without primaries"), len, || {
            decode_into(needed, total, last, &mut decoded).unwrap();
        });
        assert!(decoded == segment);

        let all: Vec<u16> = (0..total).collect();
        let mut blocks = Vec::new();
        report(&format!("{name} encode_segment, all of it"), len, || {
            let made = encode_segment(&key, &encoding, &encoder, 0, segment.clone(), &all);
            blocks = made.blocks.into_iter().map(|made| (made.share, made.block)).collect();
        });
        let first: Vec<(u16, Bytes)> = blocks[..usize::from(needed)].to_vec();
        report(&format!("{name} decode_segment from primaries"), len, || {
            drop(decode_segment(&key, &encoding, 0, &first).unwrap());
        });
        report(
            &format!("{name} preparing an encoder (bytes: coefficients)"),
            wanted.len() * usize::from(needed),
            || {
                drop(Encoder::new(needed, total).unwrap());
            },
        );
    }
}

/// Prints the median rate per byte of input.
fn report(what: &str, len: usize, mut work: impl FnMut()) {
    let mut times: Vec<Duration> = (0..25)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    let median = times[times.len() / 2];
    println!("{what:50} {:8.3} GB/s {median:12.1?}", len as f64 / median.as_nanos() as f64);
}
