//! Reading mutable files from good servers, slow ones, and ones that lie.

use std::collections::BTreeMap;
use std::time::Duration;
use tallac_core::capability::{MutableFormat, MutableReadCap};
use tallac_core::hashtree::HashTree;
use tallac_core::mutable::{
    MutableCoding, MutableEncoding, MutableLayout, MutableShareError, Parts, ReadError, Salt, Version,
    build_all, encode_segment, encrypt_private_key, pack, parse_header, share_chain,
};
use tallac_core::rsa::Rsa;
use tallac_core::storage_index::StorageIndex;
use tallac_core::task::Trouble;
use tallac_core::wire::Frame;
use tallac_soft_rsa::{SoftRsa, test_key};
use tallac_tests::memory_grid::{GotMutable, GridSetup, Honest, MemoryGrid, Passage, Tamper, pass};
use tallac_tests::{content, differs_at};

use MutableFormat::{Mdmf, Sdmf};

/// One version of a file.
struct File {
    cap: MutableReadCap,
    index: StorageIndex,
    shares: Vec<Vec<u8>>,
    content: Vec<u8>,
}

/// A version of the file with key 0, whose content follows from its number and size.
fn version(format: MutableFormat, (k, n): (u8, u8), size: usize, sequence: u64) -> File {
    of_key(0, format, (k, n), content(sequence, size), sequence)
}

fn of_key(key: usize, format: MutableFormat, (k, n): (u8, u8), content: Vec<u8>, sequence: u64) -> File {
    let encoding = MutableEncoding::for_writing(format, k, n, content.len() as u64).expect("possible");
    let mut count = content.first().copied().unwrap_or(0);
    let salt = || -> Salt {
        count = count.wrapping_add(1);
        [count; 16]
    };
    let (cap, shares) =
        build_all(&test_key(key), &encoding, sequence, salt, &content, &SoftRsa).expect("can be made");
    File { cap: cap.read_cap(), index: cap.storage_index(), shares, content }
}

impl File {
    /// Puts share `share` on server `server`.
    fn place<T: Tamper>(&self, grid: &mut MemoryGrid<T>, server: usize, share: usize) {
        grid.disk(server).place(self.index, share as u16, &self.shares[share]);
    }

    /// Puts one share on each of the first servers.
    fn spread<T: Tamper>(&self, grid: &mut MemoryGrid<T>) {
        (0..self.shares.len()).for_each(|share| self.place(grid, share % grid.client(), share));
    }

    #[track_caller]
    fn assert_read(&self, got: &GotMutable) {
        if let Err(error) = &got.result {
            panic!("{error}");
        }
        assert_eq!(differs_at(&got.content, &self.content), None);
        let (found, _) = parse_header(&self.shares[0]).expect("a good share");
        assert_eq!(got.found.as_ref().expect("told").version, found);
    }
}

fn grid(servers: usize) -> MemoryGrid<Honest> {
    MemoryGrid::new(&GridSetup { servers, ..GridSetup::new(3, 10) }, Honest)
}

#[track_caller]
fn error(got: GotMutable) -> ReadError {
    *got.result.expect_err("it should have failed")
}

#[test]
fn every_size_around_borders() {
    let sdmf = [0, 1, 2, 3, 4, 100, 2999, 3000, 3001, 9_800, 10_500, 200_000];
    let mdmf = [0, 1, 3, 6_000, 131_071, 131_072, 131_073, 131_074, 262_145, 262_146, 262_147, 700_001];
    // The reader's own numbers are 3 of 10.
    for shares in [(1, 1), (3, 10), (2, 5), (5, 25)] {
        let sizes = sdmf.map(|size| (Sdmf, size)).into_iter().chain(mdmf.map(|size| (Mdmf, size)));
        for (format, size) in sizes {
            let mut grid = grid(10);
            let file = version(format, shares, size, 7);
            file.spread(&mut grid);
            let got = grid.read(&file.cap);
            file.assert_read(&got);
            assert!(got.took < Duration::from_millis(100), "{format:?} {shares:?} {size}: {:?}", got.took);
            let found = got.found.expect("told");
            assert_eq!((found.size(), found.is_newest()), (size as u64, true));
        }
    }
}

#[test]
fn ranges() {
    for (format, size) in [(Sdmf, 0), (Sdmf, 5_000), (Mdmf, 6_000), (Mdmf, 400_000)] {
        let mut grid = grid(10);
        let file = version(format, (3, 10), size, 1);
        file.spread(&mut grid);
        let size = size as u64;
        let borders =
            [0, 1, 2_000, 131_072, 131_073, 131_074, 262_146, size.saturating_sub(1), size, size + 9];
        for start in borders {
            for end in borders.into_iter().chain([u64::MAX]).filter(|end| *end >= start) {
                let got = grid.read_range(&file.cap, Some(start..end));
                assert_eq!(got.result, Ok(()), "{start}..{end}");
                let range = start.min(size)..end.min(size);
                let expected = &file.content[range.start as usize..range.end as usize];
                assert_eq!(differs_at(&got.content, expected), None, "{start}..{end} of {size}");
                let found = got.found.expect("told");
                assert_eq!((found.size(), found.range.clone()), (size, range));
            }
        }
    }
}

#[test]
fn a_small_file_takes_one_round_trip() {
    let mut grid = grid(10);
    let file = version(Sdmf, (3, 10), 6_000, 1);
    file.spread(&mut grid);
    assert!(grid.read(&file.cap).took < Duration::from_millis(4));
    let file = version(Mdmf, (3, 10), 4_000, 1);
    file.spread(&mut grid);
    assert!(grid.read(&file.cap).took < Duration::from_millis(4));
}

/// What may become of a read if a byte of one of the shares needed is another.
fn is_vital(share: &[u8], at: u64) -> Option<bool> {
    let (_, layout) = parse_header(share).expect("a good share");
    let within = |range: std::ops::Range<u64>| range.contains(&at);
    match at {
        // Offsets may become others that are possible, too.
        _ if at < layout.public_key_range().start.min(layout.private_key_range().start) => {
            (at < 59).then_some(true)
        }
        _ if within(layout.share_hashes_range()) || within(layout.data_range()) => Some(true),
        _ if within(layout.block_hashes_range()) => Some(true),
        // Other shares have the key and the signature, too; a reader has no use for the rest.
        _ => Some(false),
    }
}

#[test]
fn any_byte_of_a_share_flipped() {
    for format in [Sdmf, Mdmf] {
        let file = version(format, (2, 3), 90, 3);
        let (mut with_spare, mut without) = (grid(3), grid(3));
        file.spread(&mut with_spare);
        (0..2).for_each(|share| file.place(&mut without, share, share));
        for at in 0..file.shares[0].len() {
            let mut flipped = file.shares[0].clone();
            flipped[at] ^= 1 << (at % 8);
            with_spare.disk(0).place(file.index, 0, &flipped);
            let got = with_spare.read(&file.cap);
            assert_eq!(got.result, Ok(()), "{format:?}, byte {at}, with a spare");
            assert_eq!(got.content, file.content);
            without.disk(0).place(file.index, 0, &flipped);
            let got = without.read(&file.cap);
            match is_vital(&file.shares[0], at as u64) {
                Some(true) => assert!(got.result.is_err(), "{format:?}, byte {at}: nobody noticed"),
                Some(false) => assert_eq!(got.result, Ok(()), "{format:?}, byte {at}"),
                None => {}
            }
            assert!(file.content.starts_with(&got.content));
            assert!(got.result.is_err() || got.content.len() == file.content.len());
        }
    }
}

#[test]
fn a_flipped_byte_in_a_large_file() {
    let file = version(Mdmf, (3, 4), 500_000, 3);
    let mut grid = grid(4);
    file.spread(&mut grid);
    let data = parse_header(&file.shares[0]).expect("good").1.data_range();
    for at in (data.start..file.shares[0].len() as u64).step_by(9_999) {
        let mut flipped = file.shares[0].clone();
        flipped[at as usize] ^= 1;
        grid.disk(0).place(file.index, 0, &flipped);
        file.assert_read(&grid.read(&file.cap));
    }
}

#[test]
fn a_cut_share_is_as_none() {
    let file = version(Sdmf, (3, 4), 50, 1);
    let mut grid = grid(4);
    file.spread(&mut grid);
    for len in 0..file.shares[0].len() {
        grid.disk(0).place(file.index, 0, &file.shares[0][..len]);
        file.assert_read(&grid.read(&file.cap));
    }
}

#[test]
fn a_share_under_another_number() {
    let file = version(Sdmf, (3, 5), 5_000, 1);
    let mut grid = grid(5);
    for server in 0..5 {
        grid.disk(server).place(file.index, server as u16, &file.shares[(server + 1) % 5]);
    }
    let error = error(grid.read(&file.cap));
    let ReadError::NotFound { asked: 5, trouble } = &error else { panic!("{error}") };
    let damaged = |trouble: &Trouble| {
        matches!(trouble, Trouble::BadMutableShare { why: MutableShareError::ShareHashes, .. })
    };
    assert_eq!(trouble.iter().filter(|t| damaged(&t.trouble)).count(), 5);
    (0..3).for_each(|share| file.place(&mut grid, share, share));
    file.assert_read(&grid.read(&file.cap));
}

#[test]
fn rolled_back_servers_do_not_win() {
    let (old, new) = (version(Sdmf, (3, 10), 4_000, 1), version(Sdmf, (3, 10), 5_000, 2));
    for kept in 0..=10 {
        for first in [0, 5] {
            let mut grid = grid(10);
            old.spread(&mut grid);
            (first..first + kept).for_each(|share| new.place(&mut grid, share % 10, share % 10));
            let got = grid.read(&old.cap);
            match kept {
                3.. => new.assert_read(&got),
                _ => old.assert_read(&got),
            }
            let found = got.found.expect("told");
            assert_eq!(found.is_newest(), kept == 0 || kept >= 3, "{kept} servers have the new version");
            assert_eq!(found.highest_sequence, if kept == 0 { 1 } else { 2 });
        }
    }
}

#[test]
fn a_damaged_newest_version_gives_way_to_an_older_one() {
    let (old, new) = (version(Mdmf, (3, 10), 400_000, 1), version(Mdmf, (3, 10), 500_000, 2));
    let mut grid = grid(10);
    old.spread(&mut grid);
    (0..3).for_each(|share| new.place(&mut grid, share, share));
    let mut damaged = new.shares[2].clone();
    damaged[3_000] ^= 1;
    grid.disk(2).place(new.index, 2, &damaged);
    let got = grid.read(&old.cap);
    old.assert_read(&got);
    let found = got.found.expect("told");
    assert_eq!((found.is_newest(), found.highest_sequence), (false, 2));
}

#[test]
fn damage_that_shows_late_is_told() {
    let (old, new) = (version(Mdmf, (3, 10), 400_000, 1), version(Mdmf, (3, 10), 9_000_000, 2));
    let mut grid = grid(10);
    old.spread(&mut grid);
    (0..3).for_each(|share| new.place(&mut grid, share, share));
    let mut damaged = new.shares[2].clone();
    // Part of the new version has been delivered by then.
    let data = parse_header(&damaged).expect("good").1.data_range();
    damaged[data.end as usize - 1] ^= 1;
    grid.disk(2).place(new.index, 2, &damaged);
    let got = grid.read(&old.cap);
    assert!(new.content.starts_with(&got.content));
    let error = error(got);
    assert!(matches!(error, ReadError::NotEnoughShares { sequence: 2, found: 2, .. }), "{error}");
}

#[test]
fn of_two_versions_with_one_number_the_one_on_more_servers_is_read() {
    let one = of_key(0, Sdmf, (3, 10), content(1, 300), 4);
    let two = of_key(0, Sdmf, (3, 10), content(2, 300), 4);
    let greater =
        parse_header(&one.shares[0]).expect("good").0 > parse_header(&two.shares[0]).expect("good").0;
    for ones in 0..=10 {
        let mut grid = grid(10);
        two.spread(&mut grid);
        (0..ones).for_each(|share| one.place(&mut grid, share, share));
        let first = if ones == 5 { greater } else { ones > 5 };
        let expected = if first { &one } else { &two };
        expected.assert_read(&grid.read(&one.cap));
    }
}

#[test]
fn too_few_shares_are_told_with_numbers() {
    let file = version(Sdmf, (3, 10), 300, 9);
    let mut grid = grid(10);
    assert!(matches!(error(grid.read(&file.cap)), ReadError::NotFound { asked: 10, .. }));
    (0..2).for_each(|share| file.place(&mut grid, share, share));
    grid.switch_off(9);
    let text = error(grid.read(&file.cap)).to_string();
    let expected = "2 of the 3 shares needed of version 9 could be found (10 were made), asking 10 servers, \
                    and no older version could be read; 7 have no share of this file; s9 (";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.ends_with(". Try again when more of the servers are up"), "{text}");
    // The same share on many servers is still one share.
    (0..9).for_each(|server| file.place(&mut grid, server, 0));
    assert!(matches!(error(grid.read(&file.cap)), ReadError::NotEnoughShares { found: 2, .. }));
}

#[test]
fn shares_of_another_file_count_for_nothing() {
    let (file, other) = (version(Sdmf, (3, 10), 300, 1), of_key(1, Sdmf, (3, 10), content(5, 300), 9));
    let mut grid = grid(10);
    for (share, data) in other.shares.iter().enumerate() {
        grid.disk(share).place(file.index, share as u16, data);
    }
    let ReadError::NotFound { asked: 10, trouble } = error(grid.read(&file.cap)) else { panic!() };
    let why = MutableShareError::OtherPublicKey;
    assert!(
        (0..)
            .zip(&trouble)
            .all(|(_, t)| matches!(t.trouble, Trouble::BadMutableShare { why: w, .. } if w == why))
    );
    assert_eq!(trouble.len(), 10);
    (4..7).for_each(|share| file.place(&mut grid, share, share));
    file.assert_read(&grid.read(&file.cap));
}

#[test]
fn a_version_signed_by_nobody_is_not_read() {
    let file = version(Sdmf, (3, 10), 300, 1);
    let mut grid = grid(10);
    file.spread(&mut grid);
    // Most servers say that theirs is of a later version.
    for (share, data) in file.shares.iter().enumerate().take(7) {
        let mut forged = data.clone();
        forged[8] = 99;
        grid.disk(share).place(file.index, share as u16, &forged);
    }
    let got = grid.read(&file.cap);
    file.assert_read(&got);
    assert!(got.found.expect("told").is_newest());
}

#[test]
fn a_server_full_of_junk_does_not_matter() {
    let file = version(Mdmf, (3, 10), 300_000, 1);
    let mut grid = grid(10);
    file.spread(&mut grid);
    for share in 0..=255 {
        // Headers that make sense, each with a signature of its own.
        let mut junk = file.shares[0].clone();
        let signature = parse_header(&junk).expect("good").1.signature_range().start as usize;
        junk[3] = share as u8;
        junk[8] = 200;
        junk[signature] ^= share as u8;
        grid.disk(0).place(file.index, share, &junk[..5_000]);
        grid.disk(1).place(file.index, share, &content(share.into(), 5_000));
    }
    file.assert_read(&grid.read(&file.cap));
}

#[test]
fn shares_far_along_the_ring_are_found() {
    let file = version(Sdmf, (3, 10), 5_000, 1);
    for only in [[0, 1, 2], [37, 38, 39], [3, 17, 33]] {
        let mut grid = grid(40);
        for (share, server) in only.into_iter().enumerate() {
            file.place(&mut grid, server, share);
        }
        file.assert_read(&grid.read(&file.cap));
    }
}

/// Servers that take their time, or never answer.
#[derive(Default)]
struct Late {
    /// How much later what they say comes; `None`: never.
    delays: BTreeMap<usize, Option<Duration>>,
    /// So many frames of each server pass before that.
    spared: usize,
    passed: BTreeMap<usize, usize>,
}

impl Tamper for Late {
    fn frame(&mut self, from: usize, _to: usize, frame: Frame) -> Vec<Passage> {
        let Some(delay) = self.delays.get(&from) else { return pass(frame) };
        let passed = self.passed.entry(from).or_default();
        *passed += 1;
        match delay {
            _ if *passed <= self.spared => pass(frame),
            Some(delay) => vec![Passage::Deliver(*delay, frame)],
            None => vec![],
        }
    }
}

fn late_grid(late: impl Iterator<Item = usize>, delay: Option<Duration>, spared: usize) -> MemoryGrid<Late> {
    let mut grid = MemoryGrid::new(&GridSetup::new(3, 10), Late::default());
    grid.tamper =
        Late { delays: late.map(|server| (server, delay)).collect(), spared, passed: BTreeMap::new() };
    grid
}

#[test]
fn servers_that_never_answer() {
    let file = version(Mdmf, (3, 10), 300_000, 1);
    for (hung, at_most) in [(0, 100), (2, 100), (3, 1_400), (4, 1_400), (5, 3_500), (7, 3_500)] {
        let mut grid = late_grid(0..hung, None, 0);
        file.spread(&mut grid);
        let got = grid.read(&file.cap);
        file.assert_read(&got);
        assert!(got.took <= Duration::from_millis(at_most), "{hung} hang: {:?}", got.took);
    }
    let mut grid = late_grid(0..8, None, 0);
    file.spread(&mut grid);
    let error = error(grid.read(&file.cap)).to_string();
    assert!(error.contains("it did not answer within 3 seconds"), "{error}");
}

#[test]
fn a_server_that_keeps_its_key_back_holds_nobody_up() {
    let file = version(Mdmf, (3, 10), 3_000, 1);
    // Its share says that the key lies further back, and then the server says nothing more.
    let mut share = file.shares[0].clone();
    share[8] = 99;
    for offset in share[59..123].as_chunks_mut::<8>().0 {
        *offset = (u64::from_be_bytes(*offset) + 9_000).to_be_bytes();
    }
    let mut grid = late_grid(0..1, None, 1);
    file.spread(&mut grid);
    grid.disk(0).place(file.index, 0, &share);
    let got = grid.read(&file.cap);
    file.assert_read(&got);
    assert!(got.took < Duration::from_millis(100), "{:?}", got.took);
}

#[test]
fn a_beginning_that_was_given_up_costs_no_more_than_patience() {
    let (old, new) = (version(Sdmf, (3, 10), 3_000, 1), version(Sdmf, (3, 10), 3_000, 2));
    let mut grid = late_grid(7..10, None, 0);
    old.spread(&mut grid);
    new.place(&mut grid, 0, 0);
    let got = grid.read(&old.cap);
    old.assert_read(&got);
    assert!(!got.found.expect("told").is_newest());
    assert!(got.took < Duration::from_millis(3_100), "{:?}", got.took);
}

#[test]
fn servers_that_stop_answering_are_overtaken() {
    let file = version(Mdmf, (3, 10), 700_000, 1);
    for hung in [1, 4, 7] {
        // They tell what they have, and then nothing more.
        let mut grid = late_grid(0..hung, None, 1);
        file.spread(&mut grid);
        let got = grid.read(&file.cap);
        file.assert_read(&got);
        assert!(got.took < Duration::from_secs(8), "{hung} hang: {:?}", got.took);
    }
}

#[test]
fn a_newer_version_on_slow_servers_is_waited_for() {
    let (old, new) = (version(Sdmf, (3, 10), 4_000, 1), version(Sdmf, (3, 10), 5_000, 2));
    let mut grid = late_grid(6..10, Some(Duration::from_millis(900)), 0);
    old.spread(&mut grid);
    (6..10).for_each(|share| new.place(&mut grid, share, share));
    new.assert_read(&grid.read(&old.cap));
}

#[test]
fn a_file_that_changes_meanwhile_is_read_anew() {
    let (old, new) = (version(Sdmf, (3, 10), 40_000, 1), version(Sdmf, (3, 10), 50_000, 2));
    let mut grid = grid(10);
    old.spread(&mut grid);
    let id = grid.begin_read(&old.cap, None);
    // The servers have told what they have; now it is another.
    grid.run(Duration::from_millis(2));
    new.spread(&mut grid);
    new.assert_read(&grid.end_read(id));
}

#[test]
fn a_change_half_way_through_is_told() {
    let (old, new) = (version(Mdmf, (3, 10), 12_000_000, 1), version(Mdmf, (3, 10), 50_000, 2));
    let mut grid = grid(10);
    old.spread(&mut grid);
    let id = grid.begin_read(&old.cap, None);
    // Nothing is granted, so only the beginning is fetched.
    grid.run(Duration::from_secs(5));
    new.spread(&mut grid);
    let got = grid.end_read(id);
    assert!(old.content.starts_with(&got.content) && !got.content.is_empty());
    assert_eq!(error(got), ReadError::Changed);
}

#[test]
fn servers_that_are_lost_meanwhile() {
    let file = version(Mdmf, (3, 10), 12_000_000, 1);
    let mut grid = grid(10);
    file.spread(&mut grid);
    let id = grid.begin_read(&file.cap, None);
    grid.run(Duration::from_secs(5));
    (0..7).for_each(|server| grid.switch_off(server));
    file.assert_read(&grid.end_read(id));
}

#[test]
fn no_more_than_the_reader_grants() {
    let file = version(Mdmf, (3, 10), 9_000_000, 1);
    let mut grid = grid(10);
    file.spread(&mut grid);
    for step in [100_000, 131_073, 8_000_000] {
        let id = grid.begin_read(&file.cap, None);
        file.assert_read(&grid.end_read_in_steps(id, step));
    }
}

#[test]
fn a_read_that_is_given_up_says_no_more() {
    let file = version(Mdmf, (3, 10), 9_000_000, 1);
    let mut grid = grid(10);
    file.spread(&mut grid);
    for after in 0..12 {
        let id = grid.begin_read(&file.cap, None);
        grid.run(Duration::from_millis(after));
        assert_eq!(grid.cancel_read(id), 0);
    }
    file.assert_read(&grid.read(&file.cap));
}

/// A signed version whose first two shares have blocks that do not belong together: only who has the
/// key can make that.
#[test]
fn what_was_written_wrongly_is_told() {
    let encoding = MutableEncoding::for_writing(Mdmf, 2, 3, 100).expect("possible");
    let (key, plaintext) = (test_key(0), content(1, 100));
    let cap = version(Mdmf, (2, 3), 100, 1).cap;
    let coding = MutableCoding::new(cap.read_key.clone(), encoding);
    let blocks: Vec<_> = (0..3u16)
        .flat_map(|share| encode_segment(&coding, 0, &[share as u8; 16], plaintext.clone(), &[share]))
        .collect();
    let trees: Vec<HashTree> = blocks.iter().map(|block| HashTree::from_leaves(vec![block.hash])).collect();
    let share_tree = HashTree::from_leaves(trees.iter().map(HashTree::root).collect());
    let version = Version::new(1, share_tree.root(), None, &encoding);
    let signature = SoftRsa.sign(&key, &version.signed_prefix()).expect("a good key");
    let private_key = encrypt_private_key(&key);
    let public_key = key.public_key().spki();
    let layout = MutableLayout::for_writing(&encoding, public_key.len(), private_key.len()).expect("fits");
    let mut grid = grid(10);
    for (share, (block, block_tree)) in blocks.iter().zip(&trees).enumerate() {
        let share_hashes = &share_chain(&share_tree, share as u16);
        let (signature, private_key) = (&signature, &private_key);
        let parts = Parts { public_key, signature, share_hashes, block_tree, private_key };
        let data = pack(&layout, &version, &parts, &block.block);
        grid.disk(share).place(cap.storage_index(), share as u16, &data);
    }
    assert_eq!(error(grid.read(&cap)), ReadError::Inconsistent { segment: 0 });
}

/// What a server may have or do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Server {
    New,
    Old,
    /// A share of the new version with a flipped byte.
    Flipped,
    /// A share of the new version under the number of another.
    Misplaced,
    Nothing,
    Hung,
    Off,
}

/// However servers behave, what is read is a version as it was written, and the newest if enough
/// servers that answer have good shares of it.
#[test]
fn whatever_servers_do() {
    use Server::{Flipped, Hung, Misplaced, New, Nothing, Off, Old};
    let kinds = [New, New, New, Old, Old, Flipped, Misplaced, Nothing, Hung, Off];
    let versions = [
        (version(Sdmf, (3, 10), 2_000, 1), version(Sdmf, (3, 10), 9_000, 2)),
        (version(Mdmf, (3, 10), 300_000, 1), version(Mdmf, (3, 10), 200_000, 2)),
    ];
    let mut outcomes = BTreeMap::new();
    for seed in 0..300 {
        let (old, new) = &versions[seed % 2];
        let chance = content(seed as u64, 60);
        let servers: Vec<Server> = (0..10).map(|at| kinds[usize::from(chance[at]) % kinds.len()]).collect();
        let hung = (0..10).filter(|server| servers[*server] == Hung);
        let mut grid = late_grid(hung, None, 0);
        for (server, kind) in servers.iter().enumerate() {
            let other = (server + 1) % 10;
            match kind {
                New | Hung => new.place(&mut grid, server, server),
                Old => old.place(&mut grid, server, server),
                Flipped => {
                    let mut data = new.shares[server].clone();
                    let at = usize::from(chance[20 + server]) * data.len() / 256;
                    data[at] ^= 1 << (chance[40 + server] % 8);
                    grid.disk(server).place(new.index, server as u16, &data);
                }
                Misplaced => grid.disk(server).place(new.index, server as u16, &new.shares[other]),
                Nothing => {}
                Off => grid.switch_off(server),
            }
        }
        let count = |kind: Server| servers.iter().filter(|of| **of == kind).count();
        let got = grid.read(&new.cap);
        let outcome = match &got.result {
            Ok(()) if got.content == new.content => "new",
            Ok(()) if got.content == old.content => "old",
            Ok(()) => panic!("{servers:?}: something that nobody wrote"),
            Err(_) if got.content.is_empty() => "nothing",
            // The damage showed late.
            Err(_) if new.content.starts_with(&got.content) && count(Flipped) > 0 => "half",
            Err(error) => panic!("{servers:?}: {error}"),
        };
        if count(New) >= 3 {
            assert_eq!(outcome, "new", "{seed}: {servers:?}");
        } else if count(New) + count(Flipped) < 3 {
            let expected = if count(Old) >= 3 { "old" } else { "nothing" };
            assert_eq!(outcome, expected, "{seed}: {servers:?}: {:?}", got.result);
        }
        *outcomes.entry(outcome).or_insert(0) += 1;
    }
    assert!(["new", "old", "nothing"].iter().all(|outcome| outcomes[outcome] > 10), "{outcomes:?}");
}
