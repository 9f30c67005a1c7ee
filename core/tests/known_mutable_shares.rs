//! Mutable shares made by the peer: reproduced byte for byte, checked and read back.

#[expect(dead_code, reason = "each test uses its part")]
mod common;

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use common::{base64, vectors};
use proptest::prelude::{ProptestConfig, any};
use proptest::{prop_assert, prop_assert_eq, proptest};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tallac_core::capability::{MutableCap, MutableFormat};
use tallac_core::hash::{Hash, block_hash};
use tallac_core::mutable::*;
use tallac_core::rsa::{PrivateKey, PublicKey, Rsa};
use tallac_core::secret::Secret;
use tallac_soft_rsa::{SoftRsa, test_key};

#[derive(Deserialize)]
struct Case {
    mdmf: bool,
    key: usize,
    needed: u8,
    total: u8,
    size: usize,
    sequence: u64,
    cap: String,
    salts: Vec<String>,
    signature: String,
    #[serde(default)]
    shares: Vec<String>,
    #[serde(default)]
    sha256: Vec<String>,
}

impl Case {
    fn format(&self) -> MutableFormat {
        if self.mdmf { MutableFormat::Mdmf } else { MutableFormat::Sdmf }
    }

    fn name(&self) -> String {
        format!("{:?} {}-of-{}, {} bytes", self.format(), self.needed, self.total, self.size)
    }
}

/// Signs with a signature that was made before, as it differs each time.
struct Signed(Vec<u8>);

impl Rsa for Signed {
    fn generate(&self, _: &Secret<32>) -> Option<PrivateKey> {
        None
    }

    fn sign(&self, key: &PrivateKey, message: &[u8]) -> Option<Vec<u8>> {
        SoftRsa.verify(key.public_key(), message, &self.0).then(|| self.0.clone())
    }

    fn verify(&self, _: &PublicKey, _: &[u8], _: &[u8]) -> bool {
        false
    }
}

#[test]
fn shares_equal_the_peers() {
    let cases: Vec<Case> = vectors("mutable_shares.json");
    assert_eq!(cases.len(), 31);
    for case in cases {
        let name = case.name();
        let plaintext = content(case.size);
        let encoding =
            MutableEncoding::for_writing(case.format(), case.needed, case.total, case.size as u64).unwrap();
        let mut salts = case.salts.iter().map(|salt| base64(salt).try_into().unwrap());
        // Signing fails unless the peer signed the very same prefix.
        let signed = Signed(base64(&case.signature));
        let key = test_key(case.key);
        let built = build_all(&key, &encoding, case.sequence, || salts.next().unwrap(), &plaintext, &signed);
        let (cap, shares) = built.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(cap.to_string(), case.cap, "{name}");
        assert_eq!(salts.next(), None::<Salt>, "{name}");

        let ours: Vec<Vec<u8>> = if case.sha256.is_empty() {
            shares.clone()
        } else {
            shares.iter().map(|share| Sha256::digest(share).to_vec()).collect()
        };
        let theirs = if case.sha256.is_empty() { &case.shares } else { &case.sha256 };
        assert_eq!(theirs.len(), usize::from(case.total), "{name}");
        for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            assert!(*ours == base64(theirs), "{name}: share {number} differs");
        }

        for number in [0, u16::from(case.total) - 1] {
            let version = check_share(&cap.verify_cap(), number, &shares[usize::from(number)], &SoftRsa);
            assert_eq!(version.map(|version| version.sequence), Ok(case.sequence), "{name}");
        }
        let all: Vec<u16> = (0..case.total.into()).collect();
        let (needed, total) = (usize::from(case.needed), usize::from(case.total));
        for chosen in [&all[..needed], &all[total - needed..]] {
            assert!(read(&cap, &shares, chosen) == plaintext, "{name} from {chosen:?}");
        }
    }
}

/// A small file of each layout, with several share hashes and, in MDMF, block hashes.
fn small(format: MutableFormat) -> (MutableCap, Vec<Vec<u8>>) {
    // Segments shorter than a writer's make several of a small file.
    let (needed, total, size) = (2, 5, 100);
    let encoding = match format {
        MutableFormat::Sdmf => MutableEncoding::for_writing(format, needed, total, size),
        MutableFormat::Mdmf => MutableEncoding::from_segment_size(format, needed, total, 30, size),
    };
    let mut salt = 0;
    let next = || {
        salt += 1;
        [salt; 16]
    };
    build_all(&test_key(0), &encoding.unwrap(), 3, next, &content(100), &SoftRsa).unwrap()
}

/// What the verify capability vouches for, what the write capability does, and what nobody does.
#[test]
fn any_flipped_byte_is_noticed() {
    for format in [MutableFormat::Sdmf, MutableFormat::Mdmf] {
        let (cap, shares) = small(format);
        let share = &shares[3];
        let (version, layout) = parse_header(share).unwrap();
        assert_eq!(check_share(&cap.verify_cap(), 3, share, &SoftRsa), Ok(version));
        let room = layout.public_key_range().end..layout.data_range().start;
        let mut unnoticed = Vec::new();
        for place in 0..share.len() as u64 {
            let mut damaged = share.clone();
            damaged[place as usize] ^= 0x40;
            let good = check_share(&cap.verify_cap(), 3, &damaged, &SoftRsa).is_ok();
            if good && !private_key_is_good(&cap, &damaged) {
                continue;
            }
            if good && !(format == MutableFormat::Mdmf && room.contains(&place)) {
                unnoticed.push(place);
            }
        }
        assert!(unnoticed.is_empty(), "{format:?}: {unnoticed:?}");
        for len in 0..share.len() {
            assert!(check_share(&cap.verify_cap(), 3, &share[..len], &SoftRsa).is_err());
        }
        assert!(check_share(&cap.verify_cap(), 2, share, &SoftRsa).is_err(), "another share's number");
        let none = MutableShareError::NoSuchShare { share: 5 };
        assert_eq!(check_share(&cap.verify_cap(), 5, share, &SoftRsa), Err(none));
    }
}

fn private_key_is_good(cap: &MutableCap, share: &[u8]) -> bool {
    let Ok((_, layout)) = parse_header(share) else { return false };
    decrypt_private_key(cap, at(share, layout.private_key_range())).is_ok()
}

#[test]
fn another_files_share_is_told() {
    let (cap, _) = small(MutableFormat::Sdmf);
    let other = MutableEncoding::for_writing(MutableFormat::Sdmf, 2, 5, 100).unwrap();
    let (other_cap, shares) =
        build_all(&test_key(1), &other, 3, || [1; 16], &content(100), &SoftRsa).unwrap();
    let foreign = check_share(&cap.verify_cap(), 0, &shares[0], &SoftRsa);
    assert_eq!(foreign, Err(MutableShareError::OtherPublicKey));
    let (_, layout) = parse_header(&shares[0]).unwrap();
    let encrypted = at(&shares[0], layout.private_key_range());
    assert_eq!(decrypt_private_key(&cap, encrypted), Err(MutableShareError::OtherPrivateKey));
    assert_eq!(decrypt_private_key(&other_cap, encrypted), Ok(test_key(1)));
}

#[test]
fn blocks_with_different_salts_are_not_decoded() {
    let encoding = MutableEncoding::for_writing(MutableFormat::Mdmf, 2, 3, 10).unwrap();
    let file = MutableCoding::new(Secret::from_bytes([1; 16]), encoding);
    let encode = |salt| encode_segment(&file, 0, &[salt; 16], content(10), &[0, 1]);
    let (one, two) = (encode(1), encode(2));
    let decode = |a: &Bytes, b: &Bytes| decode_segment(&file, 0, None, &[(0, a.clone()), (1, b.clone())]);
    assert_eq!(decode(&one[0].block, &one[1].block), Ok(content(10)));
    assert_eq!(decode(&one[0].block, &two[1].block), Err(SegmentError::Salt));
    assert!(decode(&one[0].block.slice(..10), &one[1].block).is_err());
    assert!(decode_segment(&file, 0, None, &[]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn arbitrary_headers(
        mdmf: bool, changes in proptest::collection::vec((0usize..123, any::<u8>()), 0..6), len in 0usize..=123
    ) {
        let format = if mdmf { MutableFormat::Mdmf } else { MutableFormat::Sdmf };
        let (_, shares) = {
            static SMALL: std::sync::OnceLock<[(MutableCap, Vec<Vec<u8>>); 2]> = std::sync::OnceLock::new();
            let [sdmf, mdmf] = SMALL.get_or_init(|| [small(MutableFormat::Sdmf), small(MutableFormat::Mdmf)]);
            if format == MutableFormat::Mdmf { mdmf } else { sdmf }
        };
        let mut header = shares[0][..len].to_vec();
        for (place, byte) in changes {
            if let Some(there) = header.get_mut(place) {
                *there = byte;
            }
        }
        if let Ok((version, layout)) = parse_header(&header) {
            prop_assert_eq!(&layout.header(&version)[..], &header[..layout.header(&version).len()]);
            let encoding = version.encoding().unwrap();
            if let Some(last) = encoding.num_segments().checked_sub(1) {
                prop_assert!(layout.block_range(last).end <= layout.share_len());
            }
        }
    }

    #[test]
    fn arbitrary_shares(mdmf: bool, rest in proptest::collection::vec(any::<u8>(), 0..400)) {
        let share = [&[u8::from(mdmf)][..], &rest].concat();
        let cap = MutableCap { format: MutableFormat::Sdmf, write_key: Secret::from_bytes([1; 16]), fingerprint: Hash([2; 32]) };
        prop_assert!(check_share(&cap.verify_cap(), 0, &share, &SoftRsa).is_err());
        prop_assert!(decrypt_private_key(&cap, &rest).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_file_is_read_back_from_any_shares_that_suffice(
        a in 1u8..=20, b in 1u8..=20, segment in 1u64..100, size in 0usize..2000, mdmf: bool,
        order in proptest::collection::vec(any::<u32>(), 20)
    ) {
        let (needed, total) = (a.min(b), a.max(b));
        let encoding = if mdmf {
            let segment = segment.next_multiple_of(needed.into());
            MutableEncoding::from_segment_size(MutableFormat::Mdmf, needed, total, segment, size as u64)
        } else {
            MutableEncoding::for_writing(MutableFormat::Sdmf, needed, total, size as u64)
        };
        let plaintext = content(size);
        let (cap, shares) = build_all(&test_key(a.into()), &encoding.unwrap(), 1, || [b; 16], &plaintext, &SoftRsa).unwrap();
        let mut chosen: Vec<u16> = (0..total.into()).collect();
        chosen.sort_by_key(|&share| order[usize::from(share)]);
        chosen.truncate(needed.into());
        prop_assert_eq!(read(&cap, &shares, &chosen), plaintext);
    }
}

/// Reads a file the way a downloader does, from ranges and trusting nothing but the capability.
fn read(cap: &MutableCap, shares: &[Vec<u8>], chosen: &[u16]) -> Vec<u8> {
    let first = &shares[usize::from(chosen[0])];
    let (version, layout) = parse_header(&first[..first.len().min(HEADER_LEN_MAX)]).unwrap();
    let key = check_public_key(&cap.fingerprint, at(first, layout.public_key_range())).unwrap();
    assert!(SoftRsa.verify(&key, &version.signed_prefix(), at(first, layout.signature_range())));
    let private = decrypt_private_key(cap, at(first, layout.private_key_range())).unwrap();
    assert_eq!(private.write_key(), cap.write_key);

    let mut share_tree = share_tree(&version);
    let mut block_trees = BTreeMap::new();
    for &number in chosen {
        let share = &shares[usize::from(number)];
        assert_eq!(parse_header(share), Ok((version, layout.clone())));
        let root = Hash(at(share, layout.block_node_range(0)).try_into().unwrap());
        check_share_hashes(&mut share_tree, number, root, at(share, layout.share_hashes_range())).unwrap();
        block_trees.insert(number, block_tree(&version, root));
    }
    let coding = MutableCoding::new(cap.read_cap().read_key, version.encoding().unwrap());
    let mut plaintext = Vec::new();
    for segnum in 0..coding.encoding().num_segments() {
        let mut blocks = Vec::new();
        for (&number, tree) in &mut block_trees {
            let share = &shares[usize::from(number)];
            let stored = Bytes::copy_from_slice(at(share, layout.block_range(segnum)));
            let hash = |node| (node, Hash(at(share, layout.block_node_range(node)).try_into().unwrap()));
            let hashes = tree.needed_for_leaf(segnum, false).into_iter().map(hash).collect();
            tree.add_leaf(segnum, block_hash(&stored), hashes).unwrap();
            blocks.push((number, stored));
        }
        plaintext.extend(decode_segment(&coding, segnum, version.iv.as_ref(), &blocks).unwrap());
    }
    plaintext
}

fn at(share: &[u8], range: Range<u64>) -> &[u8] {
    &share[range.start as usize..range.end as usize]
}

/// The content of the known files; see `vectors/README.md`.
fn content(size: usize) -> Vec<u8> {
    (0..).flat_map(|i: u64| Sha256::digest(i.to_be_bytes())).take(size).collect()
}
