//! Mutable slots, asked for by hand: the whole way through frames, connection, server and disk.

use std::collections::BTreeMap;
use std::time::Duration;
use tallac_core::disk::StorePath;
use tallac_core::identity::TubId;
use tallac_core::limits::{ANSWER_BACKLOG, BULK_LEN_MAX, SLOT_READS_MAX, SLOT_TESTS_MAX, SLOT_WRITES_MAX};
use tallac_core::secret::Secret;
use tallac_core::share_set::ShareSet;
use tallac_core::storage::protocol::{ShareVectors, SlotTest, StorageAnswer, StorageError, StorageRequest};
use tallac_core::storage_index::StorageIndex;
use tallac_tests::asking::{Answered, ask, ask_for_bytes, request};
use tallac_tests::content;
use tallac_tests::memory_grid::{GridSetup, Honest, MemoryGrid, Stranger};

type Grid = MemoryGrid<Honest>;

const SERVER: usize = 0;
const INDEX: StorageIndex = StorageIndex([6; 16]);
/// Where a container of a mutable share has its data.
const DATA_OFFSET: usize = 468;

fn grid() -> Grid {
    MemoryGrid::new(&GridSetup { segment: 64 * 1024, ..GridSetup::new(1, 1) }, Honest)
}

fn slot_write(enabler: u8, shares: Vec<ShareVectors>, reads: Vec<(u64, u64)>) -> StorageRequest {
    StorageRequest::ReadTestWrite {
        storage_index: INDEX,
        write_enabler: Secret::from_bytes([enabler; 32]),
        renew_secret: Secret::from_bytes([1; 32]),
        cancel_secret: Secret::from_bytes([2; 32]),
        shares,
        reads,
    }
}

fn slot_read(shares: &[u16], ranges: Vec<(u64, u64)>) -> StorageRequest {
    StorageRequest::ReadSlot { storage_index: INDEX, shares: shares.iter().copied().collect(), ranges }
}

/// Writes pieces into a share; nothing is tested.
fn pieces(share: u16, writes: &[(u64, u64)]) -> ShareVectors {
    ShareVectors { share, tests: Vec::new(), writes: writes.to_vec(), new_length: None }
}

fn test(offset: u64, expected: &[u8]) -> SlotTest {
    SlotTest { offset, len: expected.len().max(1) as u64, expected: expected.to_vec() }
}

fn written() -> Answered {
    Ok(StorageAnswer::Tested { success: true, shares: vec![] })
}

/// Makes shares in an empty slot, each in a request of its own.
fn store(grid: &mut Grid, stranger: Stranger, shares: &[(u16, Vec<u8>)]) {
    for (share, bytes) in shares {
        let write = slot_write(1, vec![pieces(*share, &[(0, bytes.len() as u64)])], vec![]);
        let answered = ask(grid, stranger, &write, bytes);
        assert!(matches!(answered, Ok(StorageAnswer::Tested { success: true, .. })), "{answered:?}");
    }
}

/// All bytes of all shares of the slot, as the server tells them.
fn all(grid: &mut Grid, stranger: Stranger) -> BTreeMap<u16, Vec<u8>> {
    let (answered, mut bulk) = ask_for_bytes(grid, stranger, &slot_read(&[], vec![(0, 100_000)]), &[]);
    let Ok(StorageAnswer::Slot(shares)) = answered else { panic!("{answered:?}") };
    let shares = shares.into_iter().map(|(share, lens)| {
        let data = bulk.take_front(lens.iter().sum());
        (share, data.bytes().expect("real bytes").to_vec())
    });
    let shares = shares.collect();
    assert!(bulk.is_empty(), "bytes of no range");
    shares
}

fn is_bad(answered: &Answered) -> bool {
    matches!(answered, Err(StorageError::BadRequest(_)))
}

#[test]
fn written_tested_and_read() {
    let mut grid = grid();
    let stranger = grid.greet(SERVER);
    let both = vec![pieces(0, &[(0, 3), (3, 2)]), pieces(9, &[(2, 1)])];
    assert_eq!(ask(&mut grid, stranger, &slot_write(1, both, vec![(0, 9)]), b"abcdeZ"), written());
    let first = BTreeMap::from([(0, b"abcde".to_vec()), (9, b"\0\0Z".to_vec())]);
    assert_eq!(all(&mut grid, stranger), first);

    // Reads are of before, in the order of shares and ranges.
    let mut next = pieces(0, &[(0, 1)]);
    next.tests = vec![test(1, b"bc"), test(5, b"")];
    let reads = vec![(3, 9), (1, 1)];
    let (answered, bulk) =
        ask_for_bytes(&mut grid, stranger, &slot_write(1, vec![next.clone()], reads.clone()), b"X");
    let shares = vec![(0, vec![2, 1]), (9, vec![0, 1])];
    assert_eq!(answered, Ok(StorageAnswer::Tested { success: true, shares: shares.clone() }));
    assert_eq!(bulk.bytes().map(|bytes| &bytes[..]), Some(&b"deb\0"[..]));

    // One test of two shares fails: neither is written.
    let mut other = pieces(9, &[(0, 1)]);
    other.tests = vec![test(0, b"?")];
    let (answered, bulk) =
        ask_for_bytes(&mut grid, stranger, &slot_write(1, vec![next, other], reads), b"YY");
    assert_eq!(answered, Ok(StorageAnswer::Tested { success: false, shares }));
    assert_eq!(bulk.len(), 4);
    let second = BTreeMap::from([(0, b"Xbcde".to_vec()), (9, b"\0\0Z".to_vec())]);
    assert_eq!(all(&mut grid, stranger), second);

    // Somebody else's enabler, even for a share that is not there.
    let stolen = slot_write(2, vec![pieces(3, &[(0, 1)])], vec![]);
    let error = StorageError::WrongWriteEnabler { recorded_by: TubId([SERVER as u8; 20]) };
    assert_eq!(ask(&mut grid, stranger, &stolen, b"!"), Err(error));
    // Chosen shares only; those that are not there are left out.
    let chosen = ask_for_bytes(&mut grid, stranger, &slot_read(&[9, 200], vec![(2, 1)]), &[]);
    assert_eq!(chosen.0, Ok(StorageAnswer::Slot(vec![(9, vec![1])])));
    // All shares removed, the slot is anybody's.
    let gone = |share| ShareVectors { new_length: Some(0), ..pieces(share, &[]) };
    let removed = ask(&mut grid, stranger, &slot_write(1, vec![gone(0), gone(9)], vec![]), &[]);
    assert!(matches!(removed, Ok(StorageAnswer::Tested { success: true, .. })), "{removed:?}");
    assert!(grid.disk(SERVER).files.is_empty());
    assert_eq!(ask(&mut grid, stranger, &stolen, b"!"), written());
}

#[test]
fn slots_and_immutable_files_do_not_mix() {
    let mut grid = grid();
    let stranger = grid.greet(SERVER);
    let allocate = StorageRequest::Allocate {
        storage_index: INDEX,
        renew_secret: Secret::from_bytes([1; 32]),
        cancel_secret: Secret::from_bytes([2; 32]),
        upload_secret: Secret::from_bytes([3; 32]),
        shares: ShareSet::first(1),
        allocated_size: 5,
    };
    assert!(ask(&mut grid, stranger, &allocate, &[]).is_ok());
    let write = slot_write(1, vec![pieces(1, &[(0, 1)])], vec![]);
    assert_eq!(ask(&mut grid, stranger, &write, b"a"), Err(StorageError::WrongKind));
    assert_eq!(ask(&mut grid, stranger, &slot_read(&[], vec![]), &[]), Err(StorageError::WrongKind));
}

#[test]
fn requests_beyond_the_bounds_change_nothing() {
    let mut grid = grid();
    let stranger = grid.greet(SERVER);
    store(&mut grid, stranger, &[(0, b"kept".to_vec())]);
    let one = |vectors: ShareVectors| slot_write(1, vec![vectors], vec![]);
    let tests = |count: usize| ShareVectors { tests: vec![test(0, b"kept"); count], ..pieces(0, &[(0, 1)]) };
    let shares = |count: u16| (0..count).map(|share| pieces(share, &[])).collect::<Vec<_>>();
    let many = |count: usize| pieces(0, &vec![(0, 1); count]);
    let most = SLOT_WRITES_MAX;

    let refused: [(&str, StorageRequest, Vec<u8>); 14] = [
        ("31 tests", one(tests(SLOT_TESTS_MAX + 1)), b"x".to_vec()),
        ("31 ranges beside a write", slot_write(1, vec![], vec![(0, 0); SLOT_READS_MAX + 1]), vec![]),
        ("31 ranges", slot_read(&[], vec![(0, 0); SLOT_READS_MAX + 1]), vec![]),
        ("257 shares", slot_write(1, shares(257), vec![]), vec![]),
        ("a share past 255", one(pieces(u16::MAX, &[(0, 1)])), b"x".to_vec()),
        ("a share twice", slot_write(1, vec![tests(1), tests(1)], vec![]), b"xx".to_vec()),
        ("too many pieces", one(many(most + 1)), vec![0; most + 1]),
        ("too few bytes", one(pieces(0, &[(0, 2)])), b"x".to_vec()),
        ("too many bytes", one(pieces(0, &[(0, 2)])), b"xyz".to_vec()),
        ("no bytes", one(pieces(0, &[(0, 1)])), vec![]),
        ("lengths that run over", one(pieces(0, &[(0, u64::MAX), (0, 2)])), b"x".to_vec()),
        ("bytes behind all that can be", one(pieces(0, &[(u64::MAX, 1)])), b"x".to_vec()),
        ("bytes behind all that may be", one(pieces(0, &[(1 << 60, 1)])), b"x".to_vec()),
        ("a read with bytes", slot_read(&[], vec![(0, 1)]), b"x".to_vec()),
    ];
    for (what, asked, bulk) in refused {
        let answered = ask(&mut grid, stranger, &asked, &bulk);
        assert!(is_bad(&answered), "{what}: {answered:?}");
        assert_eq!(all(&mut grid, stranger), BTreeMap::from([(0, b"kept".to_vec())]), "{what}");
        assert_eq!(grid.disk(SERVER).files.len(), 1, "{what}");
    }

    // As many as may be, of each.
    for (what, asked, bulk) in [
        ("30 tests", one(tests(SLOT_TESTS_MAX)), b"k".to_vec()),
        ("30 ranges", slot_write(1, vec![], vec![(0, 4); SLOT_READS_MAX]), vec![]),
        ("256 shares", slot_write(1, shares(256), vec![]), vec![]),
        ("4096 pieces", one(many(most)), [vec![b'?'; most - 1], b"k".to_vec()].concat()),
    ] {
        let answered = ask(&mut grid, stranger, &asked, &bulk);
        assert!(matches!(answered, Ok(StorageAnswer::Tested { success: true, .. })), "{what}: {answered:?}");
    }
    let shares = all(&mut grid, stranger);
    assert_eq!((shares.len(), &shares[&0][..]), (256, &b"kept"[..]));
    // The longest answer of numbers: 30 lengths of each share.
    let (answered, bulk) =
        ask_for_bytes(&mut grid, stranger, &slot_read(&[], vec![(0, u64::MAX); SLOT_READS_MAX]), &[]);
    let Ok(StorageAnswer::Slot(lens)) = answered else { panic!("{answered:?}") };
    assert_eq!(lens.len(), 256);
    assert_eq!((lens[0].1.len(), bulk.len()), (SLOT_READS_MAX, 4 * SLOT_READS_MAX as u64));
    assert!(grid.is_connected(stranger));
}

#[test]
fn no_answer_is_larger_than_a_frame() {
    let mut grid = grid();
    let stranger = grid.greet(SERVER);
    let shares: Vec<_> = (0..5).map(|share| (share, content(u64::from(share), 4_000_000))).collect();
    store(&mut grid, stranger, &shares);
    let to_the_end = vec![(0, u64::MAX)];
    let (answered, bulk) = ask_for_bytes(&mut grid, stranger, &slot_read(&[1, 3], to_the_end.clone()), &[]);
    assert_eq!(answered, Ok(StorageAnswer::Slot(vec![(1, vec![4_000_000]), (3, vec![4_000_000])])));
    let expected = [&shares[1].1[..], &shares[3].1[..]].concat();
    assert!(bulk.bytes().is_some_and(|bytes| bytes[..] == expected[..]));

    const { assert!(5 * 4_000_000 > BULK_LEN_MAX && 4 * 4_000_000 < BULK_LEN_MAX) };
    assert!(is_bad(&ask(&mut grid, stranger, &slot_read(&[], to_the_end.clone()), &[])));
    assert!(is_bad(&ask(&mut grid, stranger, &slot_read(&[0], vec![(0, u64::MAX); 5]), &[])));
    // Neither is such a write carried out.
    let write = slot_write(1, vec![pieces(0, &[(0, 1)])], to_the_end);
    assert!(is_bad(&ask(&mut grid, stranger, &write, &[!shares[0].1[0]])));
    let (answered, bulk) = ask_for_bytes(&mut grid, stranger, &slot_read(&[], vec![(0, 2)]), &[]);
    assert!(matches!(answered, Ok(StorageAnswer::Slot(of)) if of.len() == 5));
    let starts: Vec<u8> = shares.iter().flat_map(|(_, bytes)| bytes[..2].to_vec()).collect();
    assert_eq!(bulk.bytes().map(|bytes| bytes.to_vec()), Some(starts));
}

#[test]
fn who_does_not_read_slots_is_not_answered_without_end() {
    let mut grid = grid();
    let stranger = grid.greet(SERVER);
    store(&mut grid, stranger, &[(0, content(1, 4_000_000))]);
    grid.become_deaf(stranger);
    let nothing = slot_write(1, vec![], vec![(0, u64::MAX)]);
    for id in 0..100 {
        grid.say(stranger, request(id, &slot_read(&[], vec![(0, u64::MAX)]), &[]));
        grid.say(stranger, request(1_000 + id, &nothing, &[]));
    }
    grid.run(Duration::from_secs(5));
    let unread = grid.unread(stranger);
    assert!((4_000_000..ANSWER_BACKLOG + 5_000_000).contains(&unread), "{unread}");
    let other = grid.greet(SERVER);
    assert_eq!(
        ask(&mut grid, other, &slot_read(&[], vec![]), &[]),
        Ok(StorageAnswer::Slot(vec![(0, vec![])]))
    );
}

/// Whenever a node is asked to stop, it says that it has only when the slot is as before or as after
/// the change, and nothing of the change is left to be done.
#[test]
fn a_node_stops_after_the_change_of_a_slot() {
    let (old, new) = (content(1, 2_000), content(2, 3_000));
    let mut stopped = BTreeMap::new();
    // A frame is under way for a millisecond; each step of the disk takes 50 microseconds.
    for micros in (950..4_000).step_by(25) {
        let mut grid = grid();
        let stranger = grid.greet(SERVER);
        store(&mut grid, stranger, &[(0, old.clone()), (1, old.clone())]);
        grid.slow_disks = true;
        // Two shares in place and a new one: nothing but a record can make that one change.
        let shares = (0..3).map(|share| pieces(share, &[(0, 3_000)])).collect();
        grid.say(stranger, request(8, &slot_write(1, shares, vec![]), &new.repeat(3)));
        grid.run(Duration::from_micros(micros));
        let holds = |grid: &mut Grid, content: &[u8], count| {
            let files = &grid.disk(SERVER).files;
            let holds = |file: &Vec<u8>| file[DATA_OFFSET..].starts_with(content);
            files.len() == count && files.values().all(holds)
        };
        let before = match holds(&mut grid, &old, 2) {
            true => "old",
            false if holds(&mut grid, &new, 3) => "new",
            false => "half-way",
        };
        grid.stop(SERVER);

        let files = &grid.disk(SERVER).files;
        assert!(
            files.keys().all(|path| matches!(path, StorePath::Share(..))),
            "{micros}: {:?}",
            files.keys()
        );
        let after = holds(&mut grid, &new, 3);
        assert!(after || holds(&mut grid, &old, 2), "{micros}: a mix");
        *stopped.entry((before, after)).or_insert(0) += 1;
        // Nothing happens after it has stopped.
        let left = grid.disk(SERVER).files.clone();
        grid.run(Duration::from_secs(1));
        assert!(grid.disk(SERVER).files == left, "{micros}: the disk changed after that");
    }
    let count = |before, after| stopped.get(&(before, after)).copied().unwrap_or(0);
    assert!(count("old", false) > 0, "never before it: {stopped:?}");
    assert!(count("old", true) > 3, "never while it was worked out: {stopped:?}");
    assert!(count("half-way", true) > 10, "never in the middle of it: {stopped:?}");
    assert!(count("new", true) > 3, "never after it: {stopped:?}");
}
