//! What a server does with mutable slots, request by request.

mod trouble;

use super::*;
use crate::limits::{SLOT_LEASES_MAX, SLOT_READS_MAX, SLOT_TESTS_MAX, SLOT_WRITES_MAX};
use crate::storage::protocol::{ShareVectors, SlotTest};
use crate::storage::slot::container::{DATA_LEN_MAX, SlotContainerError, SlotHeader, SlotLease, SlotLeases};
use crate::storage::slot::{SMALL_CONTAINER, container};
use crate::storage::testing::NODEID;
use StorageAnswer::{Slot, Tested};
use serde_json::Value;

/// What is written to one share, and its bytes.
pub(super) type Pieces<'a> = &'a [(u64, &'a [u8])];
/// What is tested and written to shares, and the bytes.
pub(super) type Change = Vec<(ShareVectors, Vec<u8>)>;
/// The bytes of each range of each share.
type Read = Vec<(u16, Vec<Vec<u8>>)>;

pub(super) fn share(share: u16, pieces: Pieces<'_>) -> (ShareVectors, Vec<u8>) {
    let writes = pieces.iter().map(|(offset, data)| (*offset, data.len() as u64)).collect();
    let bulk = pieces.iter().flat_map(|(_, data)| data.iter().copied()).collect();
    (ShareVectors { share, tests: vec![], writes, new_length: None }, bulk)
}

pub(super) fn cut(share: u16, new_length: u64) -> (ShareVectors, Vec<u8>) {
    (ShareVectors { share, tests: vec![], writes: vec![], new_length: Some(new_length) }, vec![])
}

fn test(offset: u64, len: u64, expected: &[u8]) -> SlotTest {
    SlotTest { offset, len, expected: expected.to_vec() }
}

fn tested(tests: &[SlotTest], (vectors, bulk): (ShareVectors, Vec<u8>)) -> (ShareVectors, Vec<u8>) {
    (ShareVectors { tests: tests.to_vec(), ..vectors }, bulk)
}

pub(super) fn slot_write_as(
    owner: u8,
    shares: &[(ShareVectors, Vec<u8>)],
    reads: &[(u64, u64)],
) -> (StorageRequest, Vec<u8>) {
    let request = StorageRequest::ReadTestWrite {
        storage_index: INDEX,
        write_enabler: secret(owner),
        renew_secret: secret(owner + 100),
        cancel_secret: secret(owner + 200),
        shares: shares.iter().map(|(vectors, _)| vectors.clone()).collect(),
        reads: reads.to_vec(),
    };
    (request, shares.iter().flat_map(|(_, bulk)| bulk.clone()).collect())
}

fn split(shares: Vec<(u16, Vec<u64>)>, bulk: Vec<Payload>) -> Read {
    let mut bytes = bulk.iter().flat_map(|piece| piece.bytes().expect("real bytes").to_vec());
    let read = shares
        .into_iter()
        .map(|(share, lens)| {
            (share, lens.iter().map(|len| bytes.by_ref().take(*len as usize).collect()).collect())
        })
        .collect();
    assert_eq!(bytes.next(), None, "the lengths are those of the bulk");
    read
}

impl Rig {
    pub(super) fn slot_write(
        &mut self,
        shares: &[(ShareVectors, Vec<u8>)],
        reads: &[(u64, u64)],
    ) -> Result<(bool, Read), StorageError> {
        self.slot_write_as(1, shares, reads)
    }

    pub(super) fn slot_write_as(
        &mut self,
        owner: u8,
        shares: &[(ShareVectors, Vec<u8>)],
        reads: &[(u64, u64)],
    ) -> Result<(bool, Read), StorageError> {
        let (request, bulk) = slot_write_as(owner, shares, reads);
        let key = self.send(request, &bulk);
        self.settle();
        match self.answers.remove(&key).expect("every request is answered")? {
            (Tested { success, shares }, bulk) => Ok((success, split(shares, bulk))),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn slot_read(&mut self, shares: &[u16], ranges: &[(u64, u64)]) -> Result<Read, StorageError> {
        let request =
            StorageRequest::ReadSlot { storage_index: INDEX, shares: set(shares), ranges: ranges.to_vec() };
        let key = self.send(request, b"");
        self.settle();
        match self.answers.remove(&key).expect("every request is answered")? {
            (Slot(shares), bulk) => Ok(split(shares, bulk)),
            other => panic!("{other:?}"),
        }
    }

    /// All shares of the slot and their data.
    pub(super) fn slot(&mut self) -> Vec<(u16, Vec<u8>)> {
        let read = self.slot_read(&[], &[(0, u64::MAX)]).expect("the slot can be read");
        read.into_iter().map(|(share, mut pieces)| (share, pieces.remove(0))).collect()
    }
}

pub(super) const WRITTEN: Result<(bool, Read), StorageError> = Ok((true, vec![]));

pub(super) fn opened(disk: &MemoryDisk, share: u16) -> (SlotHeader, SlotLeases) {
    let bytes = disk.bytes(&share_path(share)).expect("the share is there");
    let header = SlotHeader::decode(&bytes, bytes.len() as u64).expect("a container");
    let leases = header.leases(&bytes[header.extra_offset as usize..], 4_096).expect("few leases");
    (header, leases)
}

fn slot_leases(disk: &MemoryDisk, share: u16) -> Vec<SlotLease> {
    opened(disk, share).1.iter().map(|(_, lease)| lease.clone()).collect()
}

fn written(steps: &[Vec<DiskStep>]) -> u64 {
    let len = |step: &DiskStep| match step {
        DiskStep::Write { data, .. } => data.len(),
        _ => 0,
    };
    steps.iter().flatten().map(len).sum()
}

fn refused<T: core::fmt::Debug>(answer: Result<T, StorageError>) -> bool {
    matches!(answer, Err(StorageError::BadRequest(_)))
}

#[test]
fn a_slot_is_made_tested_written_and_read() {
    let mut rig = Rig::new();
    assert_eq!(rig.slot_read(&[], &[(0, 10)]), Ok(vec![]));
    let absent = [test(0, 1, b"")];
    let first = [tested(&absent, share(0, &[(0, b"abcdef")])), tested(&absent, share(7, &[(3, b"xyz")]))];
    assert_eq!(rig.slot_write(&first, &[(0, 10)]), WRITTEN);
    assert_eq!(rig.slot(), [(0, b"abcdef".to_vec()), (7, b"\0\0\0xyz".to_vec())]);
    // It is there now, so the same does not work twice; and what is read is what was there.
    let before = vec![(0, vec![b"bc".to_vec(), vec![]]), (7, vec![b"\0\0".to_vec(), vec![]])];
    assert_eq!(rig.slot_write(&first, &[(1, 2), (100, 5)]), Ok((false, before.clone())));
    let second = [tested(&[test(4, 100, b"ef")], share(0, &[(1, b"BC"), (6, b"g")])), cut(7, 4)];
    assert_eq!(rig.slot_write(&second, &[(1, 2), (100, 5)]), Ok((true, before)));
    assert_eq!(rig.slot(), [(0, b"aBCdefg".to_vec()), (7, b"\0\0\0x".to_vec())]);
    assert_eq!(rig.slot_read(&[7, 9], &[(2, 2)]), Ok(vec![(7, vec![b"\0x".to_vec()])]));
    assert_eq!(rig.ask(list(), b""), Ok(Shares(set(&[0, 7]))));
    let stats = rig.server.stats();
    assert_eq!((stats.slot_writes, stats.slot_bytes_written, stats.slot_tests_failed), (2, 12, 1));
    assert_eq!((stats.bytes_promised, stats.slots_shut), (0, 0));
}

#[test]
fn the_write_enabler_is_that_of_the_first_write() {
    let mut rig = Rig::new();
    let write = [share(0, &[(0, b"abc")])];
    assert_eq!(rig.slot_write(&write, &[]), WRITTEN);
    let wrong = StorageError::WrongWriteEnabler { recorded_by: NODEID };
    // Of no use are other shares, no vectors, or a test that does not hold.
    for shares in [&write[..], &[share(1, &[(0, b"x")])], &[], &[tested(&[test(0, 1, b"?")], cut(0, 0))]] {
        assert_eq!(rig.slot_write_as(2, shares, &[(0, 3)]), Err(wrong.clone()));
    }
    assert_eq!(rig.slot(), [(0, b"abc".to_vec())]);
    // When all shares are gone the slot is anybody's.
    assert_eq!(rig.slot_write(&[cut(0, 0), cut(3, 0)], &[]), Ok((true, vec![(0, vec![])])));
    assert_eq!(rig.disk.paths().next(), None);
    assert_eq!(rig.slot_write_as(2, &write, &[]), WRITTEN);
    assert!(matches!(rig.slot_write(&[], &[]), Err(StorageError::WrongWriteEnabler { .. })));
}

#[test]
fn the_container_is_laid_out_as_the_peers() {
    let mut rig = Rig::new();
    assert_eq!(rig.slot_write(&[share(0, &[(0, b"abc")])], &[]), WRITTEN);
    let mut header = SlotHeader::new(NODEID, secret(1));
    let end = (1_700_000_000 + LEASE_SECONDS) as u32;
    let lease = SlotLease::new(Schema::Hashed, (&secret(101), &secret(201)), end, NODEID);
    header.first_lease(lease.clone());
    (header.data_len, header.extra_offset) = (3, 471);
    let expected = [&header.encode()[..], b"abc\0\0\0\0"].concat();
    assert_eq!(rig.disk.bytes(&share_path(0)), Some(expected));
    assert_eq!(slot_leases(&rig.disk, 0), [lease]);
    let mut hash = crate::hash::TaggedHasher::new(b"allmydata_mutable_container_header");
    hash.update(b"Tahoe mutable container v2\n");
    assert_eq!(header.encode()[27..32], hash.finish().0[..5]);
}

#[test]
fn a_missing_share_is_as_one_without_data() {
    let mut rig = Rig::new();
    for (what, tests, expected) in [
        ("nothing anywhere", vec![test(0, 1, b""), test(9, 0, b"")], true),
        ("a zero", vec![test(0, 1, b"\0")], false),
        ("one good, one bad", vec![test(0, 1, b""), test(0, 1, b"x")], false),
    ] {
        let answer = rig.slot_write(&[tested(&tests, cut(5, 0))], &[]);
        assert_eq!(answer, Ok((expected, vec![])), "{what}");
    }
    // Naming a share makes it, as at the peer's.
    assert_eq!(rig.slot_write(&[share(2, &[])], &[]), WRITTEN);
    assert_eq!(rig.slot(), [(2, vec![])]);
}

/// Requests to Tahoe-LAFS 1.20's storage server and its answers, recorded by
/// `tests/peer/containers.py`. Zeros are printed as dots.
#[test]
fn requests_are_answered_as_the_peer_answers_them() {
    let recorded = include_str!("../../testdata/slot-requests.json");
    let recorded: Vec<Value> = serde_json::from_str(recorded).expect("JSON");
    let number = |value: &Value| value.as_u64().expect("a number");
    let bytes = |value: &Value| -> Vec<u8> {
        let text = value.as_str().expect("text").bytes();
        text.map(|byte| if byte == b'.' { 0 } else { byte }).collect()
    };
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let mut rig = Rig::new();
    for (place, request) in recorded.iter().enumerate() {
        let shares: Vec<_> = list(&request["shares"])
            .iter()
            .map(|vectors| {
                let tests = list(&vectors["tests"]);
                let tests = tests.iter().map(|t| test(number(&t[0]), number(&t[1]), &bytes(&t[2])));
                let writes = list(&vectors["writes"]);
                let writes: Vec<_> = writes.iter().map(|w| (number(&w[0]), bytes(&w[1]))).collect();
                let pieces: Vec<_> = writes.iter().map(|(offset, data)| (*offset, &data[..])).collect();
                let (named, bulk) = share(number(&vectors["share"]) as u16, &pieces);
                (
                    ShareVectors { tests: tests.collect(), new_length: vectors["length"].as_u64(), ..named },
                    bulk,
                )
            })
            .collect();
        let reads: Vec<_> = list(&request["reads"]).iter().map(|r| (number(&r[0]), number(&r[1]))).collect();
        let data: Read = list(&request["data"])
            .iter()
            .map(|s| (number(&s[0]) as u16, list(&s[1]).iter().map(bytes).collect()))
            .collect();
        let success = request["success"].as_bool().expect("a truth");
        assert_eq!(rig.slot_write(&shares, &reads), Ok((success, data)), "request {place}");
        let after: Vec<_> =
            list(&request["after"]).iter().map(|s| (number(&s[0]) as u16, bytes(&s[1]))).collect();
        assert_eq!(rig.slot(), after, "after request {place}");
    }
    assert_eq!(recorded.len(), 100);
}

/// Files of Tahoe-LAFS 1.20, written by `tests/peer/containers.py`: six leases, so two of them behind
/// the data, and a gap of 20 bytes before these that once was data.
#[test]
fn the_peers_containers_are_read_and_changed() {
    for (schema, file) in [
        (Schema::Plain, &include_bytes!("../../testdata/mutable-1.share")[..]),
        (Schema::Hashed, &include_bytes!("../../testdata/mutable-2.share")[..]),
    ] {
        let mut rig = Rig::new();
        rig.disk.put(share_path(0), file.len() as u64, &[(0, file)]);
        let mut data: Vec<u8> = (0..40).collect();
        assert_eq!(rig.slot(), [(0, data.clone())]);
        let peers = |number: u8| {
            let secrets = (&Secret::from_bytes([65 + number; 32]), &Secret::from_bytes([97 + number; 32]));
            SlotLease::new(
                schema,
                secrets,
                1_800_000_000 + u32::from(number),
                crate::identity::TubId([b'm'; 20]),
            )
        };
        let mut leases: Vec<_> = (0..6).map(peers).collect();
        assert_eq!(slot_leases(&rig.disk, 0), leases);
        let recorded_by = crate::identity::TubId([b'n'; 20]);
        assert_eq!(rig.slot_write(&[], &[]), Err(StorageError::WrongWriteEnabler { recorded_by }));

        // The gap is zeros when the data grows over it, and the leases move with its end.
        let write = |renew: [u8; 32], vectors: &(ShareVectors, Vec<u8>)| StorageRequest::ReadTestWrite {
            storage_index: INDEX,
            write_enabler: Secret::from_bytes([b'w'; 32]),
            renew_secret: Secret::from_bytes(renew),
            cancel_secret: Secret::from_bytes([5; 32]),
            shares: vec![vectors.0.clone()],
            reads: vec![],
        };
        let end = (1_850_000_000 + LEASE_SECONDS) as u32;
        rig.now.unix.0 = 1_850_000_000;
        let grown = share(0, &[(50, b"grown")]);
        assert!(matches!(rig.ask(write([70; 32], &grown), &grown.1), Ok(Tested { success: true, .. })));
        data.extend_from_slice(b"\0\0\0\0\0\0\0\0\0\0grown");
        leases[5].expiration = end;
        assert_eq!((rig.slot(), slot_leases(&rig.disk, 0)), (vec![(0, data.clone())], leases.clone()));
        // Another lease does not fit in the header.
        let patched = share(0, &[(1, b"!")]);
        assert!(matches!(rig.ask(write([9; 32], &patched), &patched.1), Ok(Tested { success: true, .. })));
        data[1] = b'!';
        leases.push(SlotLease::new(
            schema,
            (&Secret::from_bytes([9; 32]), &Secret::from_bytes([5; 32])),
            end,
            NODEID,
        ));
        assert_eq!((rig.slot(), slot_leases(&rig.disk, 0)), (vec![(0, data.clone())], leases.clone()));
        assert_eq!(opened(&rig.disk, 0).0.schema, schema);
        // Shorter than ever, the leases still follow.
        let cut = cut(0, 3);
        assert!(matches!(rig.ask(write([9; 32], &cut), b""), Ok(Tested { success: true, .. })));
        assert_eq!((rig.slot(), slot_leases(&rig.disk, 0)), (vec![(0, data[..3].to_vec())], leases));
        assert_eq!(rig.disk.bytes(&share_path(0)).map(|file| file.len()), Some(468 + 3 + 4 + 3 * 92));
    }
}

#[test]
fn a_patch_of_a_large_slot_writes_little() {
    let mut rig = Rig::new();
    let large = vec![7; 3 * SMALL_CONTAINER as usize];
    assert_eq!(rig.slot_write(&[share(0, &[(0, &large)])], &[]), WRITTEN);
    // The new file is written once: no record.
    assert_eq!(written(&rig.seen), 468 + large.len() as u64 + 4);
    rig.now.unix.0 += 10;
    rig.seen.clear();
    let patch = vec![8; 1_024];
    assert_eq!(rig.slot_write(&[share(0, &[(1_000_000, &patch)])], &[]), Ok((true, vec![(0, vec![])])));
    // Data and date of the lease, in the record and in place.
    let bytes = written(&rig.seen);
    assert!((2 * (1_024 + 4)..2 * (1_024 + 4) + 80).contains(&bytes), "{bytes}");
    assert!(rig.disk.paths().all(|path| *path == share_path(0)), "no record is left");
    // What is appended is written once.
    rig.seen.clear();
    assert_eq!(
        rig.slot_write(&[share(0, &[(large.len() as u64, &large)])], &[]),
        Ok((true, vec![(0, vec![])]))
    );
    let bytes = written(&rig.seen) - large.len() as u64;
    assert!(bytes < 200, "{bytes}");
    let mut expected = [large.clone(), large].concat();
    expected[1_000_000..1_001_024].fill(8);
    assert_eq!(rig.slot(), [(0, expected)]);
}

#[test]
fn a_long_gap_is_zeros() {
    let mut rig = Rig::new();
    let large = vec![7; 3 * SMALL_CONTAINER as usize];
    assert_eq!(rig.slot_write(&[share(0, &[(0, &large)])], &[]), WRITTEN);
    // As the peer leaves it: shorter data, and the rest of it still in the file.
    let mut file = rig.disk.bytes(&share_path(0)).expect("it is there");
    file[84..92].copy_from_slice(&100u64.to_be_bytes());
    rig.disk.put(share_path(0), file.len() as u64, &[(0, &file)]);
    let far = 2 * SMALL_CONTAINER;
    assert_eq!(rig.slot_write(&[share(0, &[(far, b"far")])], &[]), Ok((true, vec![(0, vec![])])));
    let mut expected = vec![7; 100];
    expected.resize(far as usize, 0);
    expected.extend_from_slice(b"far");
    assert_eq!(rig.slot(), [(0, expected)]);
}

#[test]
fn leases_of_a_slot_are_added_and_renewed() {
    let mut rig = Rig::new();
    assert_eq!(rig.slot_write(&[share(0, &[(0, b"abc")]), share(1, &[(0, b"def")])], &[]), WRITTEN);
    for owner in 2..8 {
        assert_eq!(rig.ask(add_lease(owner), b""), Ok(Done));
    }
    rig.now.unix.0 += 1_000;
    assert_eq!(rig.ask(add_lease(7), b""), Ok(Done));
    assert_eq!(rig.slot_write(&[share(1, &[])], &[]), Ok((true, vec![(0, vec![]), (1, vec![])])));
    let base = (1_700_000_000 + LEASE_SECONDS) as u32;
    for number in [0, 1] {
        let lease = |owner: u8| {
            let later = owner == 7 || (number, owner) == (1, 1);
            let end = base + if later { 1_000 } else { 0 };
            SlotLease::new(Schema::Hashed, (&secret(owner + 100), &secret(owner + 200)), end, NODEID)
        };
        assert_eq!(slot_leases(&rig.disk, number), (1..8).map(lease).collect::<Vec<_>>());
    }
    assert_eq!(rig.slot(), [(0, b"abc".to_vec()), (1, b"def".to_vec())]);
}

#[test]
fn strangers_leases_do_not_keep_the_owner_from_writing() {
    let mut rig = Rig::new();
    assert_eq!(rig.slot_write(&[share(0, &[(0, b"abc")])], &[]), WRITTEN);
    let lease = |number: usize| StorageRequest::AddLease {
        storage_index: INDEX,
        renew_secret: Secret::from_bytes(core::array::from_fn(|place| {
            if place < 2 { number.to_be_bytes()[6 + place] } else { 0 }
        })),
        cancel_secret: secret(0),
    };
    for number in 1..SLOT_LEASES_MAX {
        assert_eq!(rig.ask(lease(number), b""), Ok(Done));
    }
    assert!(refused(rig.ask(lease(SLOT_LEASES_MAX), b"")));
    assert_eq!(slot_leases(&rig.disk, 0).len(), SLOT_LEASES_MAX);
    assert_eq!(rig.slot_write(&[share(0, &[(3, b"d")])], &[]), Ok((true, vec![(0, vec![])])));
    assert_eq!(rig.slot(), [(0, b"abcd".to_vec())]);
    assert_eq!(slot_leases(&rig.disk, 0).len(), SLOT_LEASES_MAX);
}

#[test]
fn slots_and_immutable_files_do_not_mix() {
    let wrong = || Err(StorageError::WrongKind);
    // A slot where an upload is, begun or whole.
    let mut rig = Rig::new();
    rig.ask(allocate(&[0], 3), b"").expect("there is room");
    assert_eq!(rig.slot_write(&[share(1, &[(0, b"abc")])], &[]).map(|_| ()), wrong());
    assert_eq!(rig.ask(write(0, 0), b"abc"), FINISHED);
    assert_eq!(rig.slot_write(&[share(1, &[(0, b"abc")])], &[]).map(|_| ()), wrong());
    assert_eq!(rig.slot_read(&[], &[(0, 1)]).map(|_| ()), wrong());
    assert_eq!(rig.read(read(0, &[(0, 9)])), Ok(vec![b"abc".to_vec()]));
    // An upload where a slot is.
    let mut rig = Rig::new();
    assert_eq!(rig.slot_write(&[share(0, &[(0, b"abc")])], &[]), WRITTEN);
    assert_eq!(rig.ask(allocate(&[0, 1], 3), b"").map(|_| ()), wrong());
    assert_eq!(rig.read(read(0, &[(0, 9)])).map(|_| ()), wrong());
    assert_eq!(rig.ask(write(0, 0), b"abc"), Err(StorageError::AlreadyWhole));
    assert_eq!(rig.slot(), [(0, b"abc".to_vec())]);
    // Both in one place, which no server did.
    let file = rig.disk.bytes(&share_path(0)).expect("it is there");
    rig.disk.put(share_path(1), 12, &[(0, &ContainerHeader::new(0, 0).encode())]);
    rig.disk.put(share_path(2), file.len() as u64, &[(0, &file)]);
    assert_eq!(rig.slot_write(&[share(1, &[(0, b"abc")])], &[]).map(|_| ()), wrong());
    assert_eq!(rig.ask(add_lease(2), b"").map(|_| ()), wrong());
}

/// Every kind of change of a slot, with the shares that must be there before.
pub(super) fn changes() -> Vec<(&'static str, Change)> {
    let large = vec![3; SMALL_CONTAINER as usize];
    vec![
        ("small, copied", vec![share(0, &[(1, b"BCDEFGH")])]),
        ("new", vec![share(5, &[(0, b"new")])]),
        ("removed", vec![cut(0, 0)]),
        ("large, in place", vec![share(1, &[(600_000, &[9; 2_000])])]),
        ("large, appended", vec![share(1, &[(large.len() as u64, b"more, so that the leases move")])]),
        ("large, with a gap", vec![share(1, &[(large.len() as u64 + 700, b"more")])]),
        ("large, cut", vec![cut(1, 70_000)]),
        (
            "several",
            vec![
                share(0, &[(0, b"01234567")]),
                share(1, &[(5, &[1; 1_000])]),
                cut(2, 0),
                share(3, &[(0, &[4; 900])]),
                share(4, &[(0, b"")]),
            ],
        ),
    ]
}

/// A slot with a small share, a large one, and one to remove.
pub(super) fn with_a_slot() -> Rig {
    let mut rig = Rig::new();
    let large = vec![3; SMALL_CONTAINER as usize];
    let shares = [share(0, &[(0, b"abcdef")]), share(1, &[(0, &large)]), share(2, &[(0, b"xyz")])];
    assert_eq!(rig.slot_write(&shares, &[]), WRITTEN);
    for owner in 2..7 {
        assert_eq!(rig.ask(add_lease(owner), b""), Ok(Done));
    }
    rig.seen.clear();
    rig.now.unix.0 += 1_000;
    rig
}

#[test]
fn writes_to_one_slot_happen_one_after_another() {
    for seed in 0..50 {
        let mut rig = Rig::new();
        rig.order = Some(Dice::new(seed));
        // Of all who want to be the first, one is.
        let keys: Vec<_> = (0..6)
            .map(|number| {
                let mine = tested(&[test(0, 1, b"")], share(0, &[(0, &[b'a' + number; 9])]));
                let (request, bulk) = slot_write_as(1, &[mine], &[(0, 9)]);
                rig.send(request, &bulk)
            })
            .collect();
        rig.settle();
        let won = |key: &RequestKey| matches!(rig.answers[key], Ok((Tested { success: true, .. }, _)));
        let winners: Vec<_> = keys.iter().enumerate().filter(|(_, key)| won(key)).collect();
        assert_eq!(winners.len(), 1);
        let winner = winners[0].0 as u8;
        assert_eq!(rig.slot(), [(0, vec![b'a' + winner; 9])]);
        assert!(rig.server.gates.is_empty() && !rig.server.is_changing_slots());
    }
}

#[test]
fn writes_to_different_slots_happen_at_once() {
    let mut rig = Rig::new();
    for index in [INDEX, OTHER] {
        let (mut request, bulk) = slot_write_as(1, &[share(0, &[(0, b"abc")])], &[]);
        if let StorageRequest::ReadTestWrite { storage_index, .. } = &mut request {
            *storage_index = index;
        }
        rig.send(request, &bulk);
    }
    assert_eq!(rig.seen.len(), 2, "both have begun");
    rig.settle();
    assert_eq!(rig.answers.len(), 2);
}
