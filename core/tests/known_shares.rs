//! Shares made by the peer, reproduced byte for byte and read back from any subset that suffices.

mod common;

use std::collections::BTreeMap;

use bytes::Bytes;
use common::{base64, convergent_key, vectors};
use proptest::prelude::{ProptestConfig, any};
use proptest::{prop_assert_eq, proptest};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tallac_core::capability::{Capability, ChkCap};
use tallac_core::encoding::EncodingParams;
use tallac_core::hash::{Hash, block_hash, uri_extension_hash};
use tallac_core::hashtree::IncompleteHashTree;
use tallac_core::secret::EncryptionKey;
use tallac_core::segment::decode_segment;
use tallac_core::share::{
    Extension, HEADER_LEN_V2, ShareLayout, Version, build_all, build_all_v2, parse_share_hashes,
};

#[derive(Deserialize)]
struct Shares {
    convergence: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    needed: u16,
    total: u16,
    max_segment_size: u32,
    size: usize,
    version: u8,
    cap: String,
    verify_cap: String,
    #[serde(default)]
    shares: Vec<String>,
    #[serde(default)]
    sha256: Vec<String>,
}

#[test]
fn shares_equal_the_peers() {
    let Shares { convergence, cases } = vectors("shares.json");
    for case in cases {
        let name = format!("{}-of-{}, {} bytes", case.needed, case.total, case.size);
        let plaintext = content(case.size);
        let params = EncodingParams::new(case.needed, case.total, case.max_segment_size).unwrap();
        let key = convergent_key(&params, convergence.as_bytes(), &plaintext);
        let build = if case.version == 2 { build_all_v2 } else { build_all };
        let (cap, shares) = build(&params, &key, &plaintext).unwrap();
        assert_eq!(cap.to_string(), case.cap, "{name}");
        assert_eq!(cap.verify_cap().to_string(), case.verify_cap, "{name}");
        assert_eq!(case.verify_cap.parse(), Ok(Capability::ChkVerify(cap.verify_cap())));

        let ours: Vec<Vec<u8>> = if case.sha256.is_empty() {
            shares.clone()
        } else {
            shares.iter().map(|share| Sha256::digest(share).to_vec()).collect()
        };
        let theirs = if case.sha256.is_empty() { case.shares } else { case.sha256 };
        assert_eq!(theirs.len(), usize::from(case.total), "{name}");
        for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            assert!(*ours == base64(&theirs), "{name}: share {number} differs");
        }

        // Three ways to choose as many shares as needed: first, last, scattered.
        let all: Vec<u16> = (0..case.total).collect();
        let (needed, total) = (usize::from(case.needed), usize::from(case.total));
        let stride = (7..).find(|stride| gcd(*stride, total) == 1).expect("there is a prime");
        let scattered: Vec<u16> = (0..needed).map(|i| all[(5 + i * stride) % total]).collect();
        for chosen in [&all[..needed], &all[total - needed..], &scattered] {
            assert!(read(&cap, &shares, chosen) == plaintext, "{name} from {chosen:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_file_is_read_back_from_any_shares_that_suffice(
        a in 1u16..=20, b in 1u16..=20, max_segment_size in 1u32..400, size in 1usize..3000,
        order in proptest::collection::vec(any::<u32>(), 20), v2: bool
    ) {
        let params = EncodingParams::new(a.min(b), a.max(b), max_segment_size).unwrap();
        let key = EncryptionKey::from_bytes([a as u8; 16]);
        let plaintext = content(size);
        let build = if v2 { build_all_v2 } else { build_all };
        let (cap, shares) = build(&params, &key, &plaintext).unwrap();
        let mut chosen: Vec<u16> = (0..a.max(b)).collect();
        chosen.sort_by_key(|&share| order[usize::from(share)]);
        chosen.truncate(a.min(b).into());
        prop_assert_eq!(read(&cap, &shares, &chosen), plaintext);
    }
}

/// Reads a file the way a downloader does, trusting nothing but the capability.
fn read(cap: &ChkCap, shares: &[Vec<u8>], chosen: &[u16]) -> Vec<u8> {
    let at =
        |share: &[u8], range: std::ops::Range<u64>| share[range.start as usize..range.end as usize].to_vec();
    let hash_at = |share: &[u8], range| Hash(at(share, range).try_into().unwrap());

    let mut encoding = None;
    let mut readers = Vec::new();
    let mut share_tree = IncompleteHashTree::new(cap.total.into());
    let mut segment_tree = None;
    for &number in chosen {
        let share = &shares[usize::from(number)][..];
        let layout = ShareLayout::parse(&share[..share.len().min(HEADER_LEN_V2)]).unwrap();
        assert!(layout.version() == Version::V1 || share[3] == 2);
        let len = layout.parse_extension_length(&at(share, layout.extension_length_range()));
        let packed = at(share, layout.extension_range(len.unwrap()));
        assert_eq!(layout.allocated_size(packed.len()), share.len() as u64);
        assert_eq!(uri_extension_hash(&packed), cap.extension_hash);
        let extension = Extension::parse(&packed).unwrap();
        assert_eq!(extension.pack(), packed);
        let valid = extension.validate(cap.needed, cap.total, cap.size).unwrap();
        layout.check_against(&valid).unwrap();
        assert_eq!(Extension::packed_len(&valid), packed.len());

        share_tree.set_root(extension.share_root_hash);
        let chain = parse_share_hashes(&at(share, layout.share_hashes_range())).unwrap();
        share_tree.add(&chain).unwrap();
        let mut block_tree = IncompleteHashTree::new(valid.num_segments());
        block_tree.set_root(share_tree.leaf(number.into()).unwrap());
        segment_tree.get_or_insert_with(|| {
            let mut tree = IncompleteHashTree::new(valid.num_segments());
            tree.set_root(extension.crypttext_root_hash);
            tree
        });
        encoding = Some(valid);
        readers.push((number, share, layout, block_tree));
    }
    let encoding = encoding.expect("at least one share is needed");
    let mut segment_tree = segment_tree.expect("at least one share is needed");

    let mut plaintext = Vec::new();
    for segnum in 0..encoding.num_segments() {
        let mut blocks = Vec::new();
        for (number, share, layout, block_tree) in &mut readers {
            let block = Bytes::from(at(share, layout.block_range(&encoding, segnum)));
            let needed = block_tree.needed_for_leaf(segnum, false);
            let hashes: BTreeMap<u64, Hash> = needed
                .into_iter()
                .map(|node| (node, hash_at(share, layout.block_node_range(node))))
                .collect();
            block_tree.add_leaf(segnum, block_hash(&block), hashes).unwrap();
            blocks.push((*number, block));
        }
        let decoded = decode_segment(&cap.key, &encoding, segnum, &blocks).unwrap();
        let (_, share, layout, _) = &readers[0];
        let hashes = segment_tree
            .needed_for_leaf(segnum, false)
            .into_iter()
            .map(|node| (node, hash_at(share, layout.crypttext_node_range(node))))
            .collect();
        segment_tree.add_leaf(segnum, decoded.crypttext_segment_hash, hashes).unwrap();
        plaintext.extend(decoded.plaintext);
    }
    plaintext
}

/// The content of the known files; see `vectors/README.md`.
fn content(size: usize) -> Vec<u8> {
    (0..).flat_map(|i: u64| Sha256::digest(i.to_be_bytes())).take(size).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
