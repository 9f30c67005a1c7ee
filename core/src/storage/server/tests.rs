//! What a server answers, request by request. Crashes are in [`crashes`], any order of writes in
//! [`against_a_model`], leases in [`leases`]; mutable slots are in [`slots`], their crashes in
//! [`slot_crashes`].

mod against_a_model;
mod crashes;
mod leases;
mod slot_crashes;
mod slot_model;
mod slots;

use super::*;
use crate::disk::{DiskError, StorePath};
use crate::limits::{ADVISORY_REASON_MAX, BULK_LEN_MAX, LEASE_SECONDS, READ_RANGES_MAX, WRITTEN_PIECES_MAX};
use crate::payload::Payload;
use crate::secret::Secret;
use crate::share_set::ShareSet;
use crate::storage::container::{ContainerHeader, LEASE_LEN, Lease, Schema};
use crate::storage::protocol::StorageRequest;
use crate::storage::testing::{Dice, Fault, MemoryDisk, Rig};
use StorageAnswer::{Allocated, Data, Done, Shares, Version, Written};
use alloc::format;
use core::time::Duration;

const INDEX: StorageIndex = StorageIndex([7; 16]);
const OTHER: StorageIndex = StorageIndex([8; 16]);

fn secret(number: u8) -> Secret<32> {
    Secret::from_bytes([number; 32])
}

fn set(shares: &[u16]) -> ShareSet {
    shares.iter().copied().collect()
}

fn allocate_as(owner: u8, shares: &[u16], allocated_size: u64) -> StorageRequest {
    StorageRequest::Allocate {
        storage_index: INDEX,
        renew_secret: secret(owner + 100),
        cancel_secret: secret(owner + 200),
        upload_secret: secret(owner),
        shares: set(shares),
        allocated_size,
    }
}

fn allocate(shares: &[u16], allocated_size: u64) -> StorageRequest {
    allocate_as(1, shares, allocated_size)
}

fn write_as(owner: u8, share: u16, offset: u64) -> StorageRequest {
    StorageRequest::Write { storage_index: INDEX, share, upload_secret: secret(owner), offset }
}

fn write(share: u16, offset: u64) -> StorageRequest {
    write_as(1, share, offset)
}

fn abort_as(owner: u8, share: u16) -> StorageRequest {
    StorageRequest::Abort { storage_index: INDEX, share, upload_secret: secret(owner) }
}

fn list() -> StorageRequest {
    StorageRequest::List { storage_index: INDEX }
}

fn read(share: u16, ranges: &[(u64, u64)]) -> StorageRequest {
    StorageRequest::Read { storage_index: INDEX, share, ranges: ranges.to_vec() }
}

fn add_lease(owner: u8) -> StorageRequest {
    StorageRequest::AddLease {
        storage_index: INDEX,
        renew_secret: secret(owner + 100),
        cancel_secret: secret(owner + 200),
    }
}

fn allocated(already_have: &[u16], allocated: &[u16]) -> Result<StorageAnswer, StorageError> {
    Ok(Allocated { already_have: set(already_have), allocated: set(allocated) })
}

const GOES_ON: Result<StorageAnswer, StorageError> = Ok(Written { finished: false });
const FINISHED: Result<StorageAnswer, StorageError> = Ok(Written { finished: true });

fn share_path(share: u16) -> StorePath {
    StorePath::Share(INDEX, share)
}

fn incoming_path(share: u16) -> StorePath {
    StorePath::Incoming(INDEX, share)
}

/// A rig with share 0 whole: `abcdefghij`.
fn with_a_share() -> Rig {
    let mut rig = Rig::new();
    assert_eq!(rig.ask(allocate(&[0], 10), b""), allocated(&[], &[0]));
    assert_eq!(rig.ask(write(0, 0), b"abcdefghij"), FINISHED);
    rig
}

fn leases(disk: &MemoryDisk, share: u16) -> Vec<Lease> {
    let bytes = disk.bytes(&share_path(share)).expect("the share is there");
    let layout = ContainerHeader::decode(&bytes).expect("a header").layout(bytes.len() as u64).expect("fits");
    let records = bytes[layout.lease_offset(0) as usize..].as_chunks::<{ LEASE_LEN as usize }>().0;
    records[..layout.leases() as usize].iter().map(Lease::decode).collect()
}

#[test]
fn a_share_is_written_and_read() {
    let mut rig = Rig::new();
    assert_eq!(rig.ask(allocate(&[0, 3], 10), b""), allocated(&[], &[0, 3]));
    assert_eq!(rig.ask(write(3, 4), b"efghij"), GOES_ON);
    assert_eq!(rig.ask(list(), b""), Ok(Shares(set(&[]))));
    assert_eq!(rig.read(read(3, &[(0, 4)])), Err(StorageError::NoSuchShare));
    assert_eq!(rig.ask(write(3, 0), b"abcd"), FINISHED);
    assert_eq!(rig.ask(list(), b""), Ok(Shares(set(&[3]))));
    assert_eq!(rig.read(read(3, &[(0, 10)])), Ok(vec![b"abcdefghij".to_vec()]));
    assert_eq!(rig.ask(allocate(&[0, 3, 4], 10), b""), allocated(&[3], &[0, 4]));
    let stats = rig.server.stats();
    assert_eq!((stats.shares_in_progress, stats.bytes_promised), (2, 2 * (12 + 10 + 72)));
    assert_eq!((stats.shares_finished, stats.bytes_finished), (1, 10));
    assert_eq!((stats.requests, stats.answers), (8, 8));
}

#[test]
fn the_container_is_the_peers() {
    let rig = with_a_share();
    let lease = Lease::new(Schema::Hashed, &secret(101), &secret(201), 1_700_000_000 + LEASE_SECONDS as u32);
    let expected = [&ContainerHeader::new(10, 1).encode()[..], b"abcdefghij", &lease.encode()].concat();
    assert_eq!(rig.disk.bytes(&share_path(0)), Some(expected));
}

#[test]
fn a_share_is_whole_only_when_it_is_durable() {
    let mut hidden = 0;
    for seed in 0..100 {
        let mut rig = Rig::new();
        rig.ask(allocate(&[0], 4), b"").expect("there is room");
        rig.seen.clear();
        rig.order = Some(Dice::new(seed));
        let last = rig.send(write(0, 0), b"abcd");
        let mut asked = vec![];
        while rig.step() {
            let durable = rig.answers.contains_key(&last);
            for (list, read) in &asked {
                let list = rig.answers.get(list).filter(|_| !durable);
                let read = rig.answers.get(read).filter(|_| !durable);
                assert!(list.is_none_or(|answer| *answer == Ok((Shares(set(&[])), vec![]))));
                assert!(read.is_none_or(|answer| *answer == Err(StorageError::NoSuchShare)));
                hidden += usize::from(read.is_some());
            }
            if !durable && rig.disk.bytes(&share_path(0)).is_some() {
                // It has its name, which is not durable yet.
                asked.push((rig.send(list(), b""), rig.send(read(0, &[(0, 4)]), b"")));
                if asked.len() == 1 {
                    rig.send(allocate_as(2, &[0], 4), b"");
                }
            }
        }
        assert_eq!(rig.answers[&last], Ok((Written { finished: true }, vec![])));
        let allocated_late = Ok((Allocated { already_have: set(&[0]), allocated: set(&[]) }, vec![]));
        assert!(rig.answers.values().any(|answer| *answer == allocated_late));
        let write_step =
            DiskStep::Write { path: incoming_path(0), offset: 12, data: b"abcd".to_vec().into() };
        let finish = vec![
            DiskStep::Sync(incoming_path(0)),
            DiskStep::Rename(incoming_path(0), share_path(0)),
            DiskStep::SyncName(share_path(0)),
        ];
        assert_eq!(rig.seen[..2], [vec![write_step], finish]);
    }
    assert!(hidden > 0);
}

#[test]
fn a_share_without_bytes_is_finished_by_no_bytes() {
    let mut rig = Rig::new();
    assert_eq!(rig.ask(allocate(&[0], 0), b""), allocated(&[], &[0]));
    assert_eq!(rig.ask(list(), b""), Ok(Shares(set(&[]))));
    assert_eq!(rig.ask(write(0, 1), b""), Err(StorageError::PastTheEnd));
    assert_eq!(rig.ask(write(0, 0), b""), FINISHED);
    assert_eq!(rig.read(read(0, &[(0, 100)])), Ok(vec![vec![]]));
    assert_eq!(leases(&rig.disk, 0).len(), 1);
    // No bytes finish no share that has some.
    rig.ask(allocate(&[1], 1), b"").expect("there is room");
    assert_eq!(rig.ask(write(1, 1), b""), GOES_ON);
}

#[test]
fn writes_are_checked() {
    let mut rig = Rig::new();
    rig.ask(allocate(&[0], 10), b"").expect("there is room");
    for (what, request, data, expected) in [
        ("past the end", write(0, 8), &b"xyz"[..], Err(StorageError::PastTheEnd)),
        ("far past the end", write(0, u64::MAX), b"x", Err(StorageError::PastTheEnd)),
        ("not the owner", write_as(2, 0, 0), b"x", Err(StorageError::WrongSecret)),
        ("not allocated", write(1, 0), b"x", Err(StorageError::NoSuchShare)),
        ("first", write(0, 2), b"cde", GOES_ON),
        ("the same again", write(0, 2), b"cde", GOES_ON),
        ("overlapping and the same", write(0, 1), b"bcdef", GOES_ON),
        ("overlapping and different", write(0, 0), b"abXdefg", Err(StorageError::Conflict)),
        ("nothing of the refused was written", write(0, 0), b"Abcdef", GOES_ON),
        ("the last gap, with more on both sides", write(0, 4), b"efghij", FINISHED),
        ("after the end", write(0, 0), b"A", Err(StorageError::AlreadyWhole)),
        ("after the end, by somebody else", write_as(2, 0, 0), b"x", Err(StorageError::AlreadyWhole)),
    ] {
        assert_eq!(rig.ask(request, data), expected, "{what}");
    }
    assert_eq!(rig.read(read(0, &[(0, 10)])), Ok(vec![b"Abcdefghij".to_vec()]));
}

#[test]
fn a_share_is_not_written_in_too_many_pieces() {
    let mut rig = Rig::new();
    let pieces = WRITTEN_PIECES_MAX as u64;
    rig.ask(allocate(&[0], 3 * pieces), b"").expect("there is room");
    for piece in 0..pieces {
        assert_eq!(rig.ask(write(0, 2 * piece), b"x"), GOES_ON);
    }
    let refused = rig.ask(write(0, 2 * pieces), b"x");
    assert!(matches!(refused, Err(StorageError::BadRequest(_))), "{refused:?}");
}

#[test]
fn pipelined_requests_wait_for_each_other() {
    for seed in 0..200 {
        let mut rig = Rig::new();
        rig.order = Some(Dice::new(seed));
        let keys = [
            rig.send(allocate(&[0, 1], 6), b""),
            rig.send(write(0, 0), b"abc"),
            rig.send(write(0, 2), b"cd"),
            rig.send(write(0, 4), b"XX"),
            rig.send(abort_as(1, 1), b""),
            rig.send(add_lease(2), b""),
            rig.send(list(), b""),
        ];
        rig.settle();
        let answers = keys.map(|key| rig.answers[&key].clone().map(|(answer, _)| answer));
        assert_eq!(answers[0], allocated(&[], &[0, 1]));
        assert_eq!(answers[1..4].iter().filter(|answer| **answer == FINISHED).count(), 1, "{answers:?}");
        assert_eq!(answers[4], Ok(Done));
        assert_eq!(rig.read(read(0, &[(0, 6)])), Ok(vec![b"abcdXX".to_vec()]));
        assert_eq!(rig.disk.bytes(&incoming_path(1)), None);
        assert_eq!(rig.server.stats().bytes_promised, 0);
        assert!(rig.server.gates.is_empty() && rig.server.running.is_empty() && rig.server.idle.is_empty());
    }
}

#[test]
fn shares_in_progress_belong_to_their_upload() {
    let mut rig = Rig::new();
    rig.ask(allocate(&[0, 1], 10), b"").expect("there is room");
    rig.ask(write(0, 0), b"abcde").expect("fits");
    for (what, request, expected) in [
        ("another upload gets the others", allocate_as(2, &[0, 1, 2], 10), allocated(&[], &[2])),
        ("the same upload goes on", allocate(&[0, 1, 2], 10), allocated(&[], &[0, 1])),
        ("but not with another size", allocate(&[0, 1], 11), allocated(&[], &[])),
        ("nobody else gives it up", abort_as(2, 0), Err(StorageError::WrongSecret)),
        ("its owner does", abort_as(1, 0), Ok(Done)),
        ("then it is gone", abort_as(1, 0), Err(StorageError::NoSuchShare)),
        ("and there for others", allocate_as(2, &[0], 3), allocated(&[], &[0])),
        ("written by them", write_as(2, 0, 0), Ok(Written { finished: true })),
        ("whole for all", abort_as(1, 0), Err(StorageError::AlreadyWhole)),
    ] {
        assert_eq!(
            rig.ask(request, if what == "written by them" { b"xyz" } else { b"" }),
            expected,
            "{what}"
        );
    }
}

#[test]
fn reads_are_cut_at_the_end_of_the_data() {
    let mut rig = with_a_share();
    let end = u64::MAX;
    for (range, expected) in [
        ((0, 10), &b"abcdefghij"[..]),
        ((0, 11), b"abcdefghij"),
        ((0, end), b"abcdefghij"),
        ((3, 4), b"defg"),
        ((9, end), b"j"),
        ((10, 1), b""),
        ((10, 84), b""),
        ((11, end), b""),
        ((end - 12, 5), b""),
        ((end, end), b""),
        ((i64::MAX as u64 - 12, end), b""),
        ((5, 0), b""),
    ] {
        assert_eq!(rig.read(read(0, &[range])), Ok(vec![expected.to_vec()]), "{range:?}");
    }
    let several = rig.read(read(0, &[(8, end), (end, 1), (0, 2), (0, end)]));
    assert_eq!(several, Ok(vec![b"ij".to_vec(), vec![], b"ab".to_vec(), b"abcdefghij".to_vec()]));
    assert_eq!(rig.read(read(0, &[])), Ok(vec![]));
    assert_eq!(rig.read(read(1, &[(0, 1)])), Err(StorageError::NoSuchShare));
    let refused = rig.read(read(0, &[(0, 1); READ_RANGES_MAX + 1]));
    assert!(matches!(refused, Err(StorageError::BadRequest(_))));
    // The usual read is one action, and only says as much as it asks for.
    rig.seen.clear();
    rig.read(read(0, &[(2, 3)])).expect("there");
    assert_eq!(rig.seen.len(), 1);
}

#[test]
fn an_answer_has_a_greatest_length() {
    let mut rig = Rig::new();
    let len = BULK_LEN_MAX as u64 + 1;
    rig.disk.put(share_path(0), 12 + len, &[(0, &ContainerHeader::new(len, 0).encode())]);
    let refused = rig.read(read(0, &[(0, u64::MAX)]));
    assert!(matches!(refused, Err(StorageError::BadRequest(_))), "{refused:?}");
    assert_eq!(rig.read(read(0, &[(1, u64::MAX)])).map(|pieces| pieces[0].len() as u64), Ok(len - 1));
}

#[test]
fn damaged_containers_are_errors_and_are_left_alone() {
    let mut rig = Rig::new();
    rig.disk.put(share_path(0), 5, &[(0, b"\0\0\0\x02\0")]);
    rig.disk.put(share_path(1), 100, &[(0, b"a container of another kind")]);
    rig.disk.put(share_path(2), 0, &[]);
    assert_eq!(rig.ask(list(), b""), Ok(Shares(set(&[0, 1, 2]))));
    for share in 0..3 {
        let answer = rig.read(read(share, &[(0, 1)]));
        assert!(matches!(answer, Err(StorageError::Disk(_))), "{answer:?}");
    }
    assert!(matches!(rig.ask(add_lease(1), b""), Err(StorageError::Disk(_))));
    // An uploader is neither told that it need not send them, nor allowed to replace them.
    assert_eq!(rig.ask(allocate(&[0, 1, 2, 3], 10), b""), allocated(&[], &[3]));
}

#[test]
fn space_is_promised_once() {
    let config = |reserved_space| StorageConfig { reserved_space, read_only: false, program: "test".into() };
    let version = |rig: &mut Rig| match rig.ask(StorageRequest::Version, b"") {
        Ok(Version { available_space, share_size_max, .. }) => (available_space, share_size_max),
        other => panic!("{other:?}"),
    };
    let mut disk = MemoryDisk::new();
    disk.capacity = 10_000;
    let mut rig = Rig::over(disk, config(1_000));
    assert_eq!(version(&mut rig), (9_000, 8_916));
    // Each takes 4084 bytes of 9000, not yet written.
    assert_eq!(rig.ask(allocate(&[0, 1, 2, 3], 4_000), b""), allocated(&[], &[0, 1]));
    assert_eq!(rig.ask(allocate_as(2, &[4], 4_000), b""), allocated(&[], &[]));
    assert_eq!(rig.ask(allocate_as(2, &[4], u64::MAX), b""), allocated(&[], &[]));
    assert_eq!(rig.ask(abort_as(1, 0), b""), Ok(Done));
    assert_eq!(rig.ask(abort_as(1, 1), b""), Ok(Done));
    assert_eq!(version(&mut rig), (9_000, 8_916));
    assert_eq!(rig.ask(allocate(&[0], 8_917), b""), allocated(&[], &[]));
    assert_eq!(rig.ask(allocate(&[0], 8_916), b""), allocated(&[], &[0]));
}

#[test]
fn space_taken_since_it_was_measured_counts() {
    for seed in 0..100 {
        let mut disk = MemoryDisk::new();
        disk.capacity = 10_240;
        let mut rig =
            Rig::over(disk, StorageConfig { reserved_space: 0, read_only: false, program: "test".into() });
        rig.ask(allocate(&[0], 6_000), b"").expect("there is room");
        // Another file's free space is measured; before its lease is changed the share is written.
        rig.disk.put(StorePath::Share(OTHER, 5), 12 + 3, &[(0, &ContainerHeader::new(3, 0).encode())]);
        rig.order = Some(Dice::new(seed));
        let request = StorageRequest::Allocate {
            storage_index: OTHER,
            renew_secret: secret(1),
            cancel_secret: secret(2),
            upload_secret: secret(3),
            shares: set(&[0]),
            allocated_size: 6_000,
        };
        let other = rig.send(request, b"");
        rig.send(write(0, 0), &[1; 6_000]);
        rig.settle();
        let answer = rig.answers[&other].clone().map(|(answer, _)| answer);
        assert_eq!(answer, allocated(&[5], &[]), "seed {seed}");
    }
}

#[test]
fn a_share_that_becomes_whole_is_not_allocated_again() {
    for seed in 0..200 {
        let mut rig = Rig::new();
        rig.ask(allocate(&[0], 6), b"").expect("there is room");
        rig.ask(write(0, 0), b"abc").expect("fits");
        rig.order = Some(Dice::new(seed));
        let other = if seed < 100 {
            let other = rig.send(allocate_as(2, &[0], 6), b"");
            rig.send(write(0, 3), b"def");
            other
        } else {
            rig.send(write(0, 3), b"def");
            for _ in 0..seed % 3 {
                rig.step();
            }
            rig.send(allocate_as(2, &[0], 6), b"")
        };
        rig.settle();
        let answer = rig.answers[&other].clone().map(|(answer, _)| answer);
        assert!([allocated(&[0], &[]), allocated(&[], &[])].contains(&answer), "seed {seed}: {answer:?}");
    }
}

#[test]
fn of_two_writes_at_once_that_differ_one_is_refused() {
    for seed in 0..100 {
        let mut rig = Rig::new();
        rig.ask(allocate(&[0], 9), b"").expect("there is room");
        rig.order = Some(Dice::new(seed));
        let keys = [rig.send(write(0, 0), b"abcd"), rig.send(write(0, 3), b"Xefg")];
        rig.settle();
        let answers = keys.map(|key| rig.answers[&key].clone().map(|(answer, _)| answer));
        assert_eq!(answers, [GOES_ON, Err(StorageError::Conflict)], "seed {seed}");
    }
}

#[test]
fn the_last_write_waits_for_what_is_under_way() {
    for seed in 0..100 {
        let mut rig = Rig::new();
        rig.ask(allocate(&[0], 6), b"").expect("there is room");
        rig.ask(write(0, 0), b"abc").expect("fits");
        rig.order = Some(Dice::new(seed));
        let again = rig.send(write(0, 0), b"abc");
        let last = rig.send(write(0, 3), b"def");
        rig.settle();
        let answers = [again, last].map(|key| rig.answers[&key].clone().map(|(answer, _)| answer));
        // Whichever ends last has finished the share.
        assert!([[GOES_ON, FINISHED], [FINISHED, GOES_ON]].contains(&answers), "seed {seed}: {answers:?}");
    }
}

#[test]
fn a_silent_upload_is_dropped() {
    let mut rig = Rig::new();
    assert_eq!(rig.server.deadline(), None);
    rig.ask(allocate(&[0, 1], 10), b"").expect("there is room");
    rig.pass(INCOMING_IDLE_MAX - Duration::from_secs(1));
    assert_eq!(rig.ask(write(1, 0), b"abc"), GOES_ON);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.ask(write(0, 0), b"abc"), Err(StorageError::NoSuchShare));
    assert_eq!(rig.ask(write(1, 3), b"def"), GOES_ON);
    let stats = rig.server.stats();
    assert_eq!((stats.shares_in_progress, stats.shares_abandoned, stats.bytes_promised), (1, 1, 94 - 6));
    rig.pass(INCOMING_IDLE_MAX);
    assert_eq!(rig.server.stats().bytes_promised, 0);
    assert_eq!(rig.disk.paths().next(), None);
    assert_eq!(rig.server.deadline(), None);
    assert_eq!(rig.ask(allocate_as(2, &[0], 10), b""), allocated(&[], &[0]));
}

#[test]
fn a_failure_of_the_disk_loses_the_share() {
    let broken = || DiskError::Failed("input/output error".into());
    let is_write = |step: &DiskStep| matches!(step, DiskStep::Write { .. });
    let is_sync = |step: &DiskStep| matches!(step, DiskStep::Sync(_));
    let is_rename = |step: &DiskStep| matches!(step, DiskStep::Rename(..));
    let is_sync_name = |step: &DiskStep| matches!(step, DiskStep::SyncName(_));
    let cases: [(&str, Fault, StorageError); 5] = [
        ("write", (is_write, DiskError::Full), StorageError::Full),
        ("write", (is_write, broken()), StorageError::Disk("input/output error".into())),
        ("sync", (is_sync, broken()), StorageError::Disk("input/output error".into())),
        ("rename", (is_rename, DiskError::ReadOnly), StorageError::ReadOnly),
        ("name", (is_sync_name, broken()), StorageError::Disk("input/output error".into())),
    ];
    for (what, fault, expected) in cases {
        let mut rig = Rig::new();
        rig.ask(allocate(&[0], 6), b"").expect("there is room");
        rig.ask(write(0, 3), b"def").expect("fits");
        rig.disk.fault = Some(fault);
        assert_eq!(rig.ask(write(0, 0), b"abc"), Err(expected.clone()), "{what}");
        assert_eq!(rig.disk.paths().next(), None, "{what}");
        // It is not tried again, and not forgotten.
        assert_eq!(rig.ask(write(0, 0), b"abc"), Err(expected.clone()), "{what}");
        assert_eq!(rig.ask(write_as(2, 0, 0), b"abc"), Err(StorageError::WrongSecret));
        assert_eq!(rig.ask(list(), b""), Ok(Shares(set(&[]))));
        assert_eq!(rig.server.stats().bytes_promised, 0);
        // Somebody may begin from the beginning.
        assert_eq!(rig.ask(allocate_as(2, &[0], 3), b""), allocated(&[], &[0]), "{what}");
        assert_eq!(rig.ask(write_as(2, 0, 0), b"abc"), FINISHED);
        let stats = rig.server.stats();
        assert_eq!((stats.shares_failed, stats.shares_finished), (1, 1));
    }
}

#[test]
fn a_lost_share_is_forgotten_by_abort_or_time() {
    let mut rig = Rig::new();
    for share in [0, 1] {
        rig.ask(allocate(&[share], 6), b"").expect("there is room");
        rig.disk.fault = Some((|step| matches!(step, DiskStep::Write { .. }), DiskError::Full));
        assert_eq!(rig.ask(write(share, 0), b"abc"), Err(StorageError::Full));
    }
    assert_eq!(rig.ask(abort_as(1, 0), b""), Ok(Done));
    assert_eq!(rig.ask(write(0, 0), b"abc"), Err(StorageError::NoSuchShare));
    rig.pass(INCOMING_IDLE_MAX);
    assert_eq!(rig.ask(write(1, 0), b"abc"), Err(StorageError::NoSuchShare));
    assert!(rig.server.incoming.is_empty() && rig.server.idle.is_empty());
}

#[test]
fn no_room_for_the_file_is_no_share() {
    let mut rig = Rig::new();
    rig.disk.fault = Some((|step| matches!(step, DiskStep::Create(_)), DiskError::Full));
    assert_eq!(rig.ask(allocate(&[0, 1], 6), b""), allocated(&[], &[1]));
    rig.disk.fault = Some((|step| matches!(step, DiskStep::Create(_)), DiskError::Failed("broken".into())));
    assert_eq!(rig.ask(allocate(&[2], 6), b""), Err(StorageError::Disk("broken".into())));
    assert_eq!(rig.ask(abort_as(1, 1), b""), Ok(Done));
    assert!(rig.server.incoming.is_empty() && rig.server.stats().bytes_promised == 0);
}

#[test]
fn a_long_share_is_synced_on_the_way() {
    const MIB: usize = 1 << 20;
    let mut rig = Rig::new();
    rig.ask(allocate(&[0], 40 * MIB as u64), b"").expect("there is room");
    rig.seen.clear();
    let piece = vec![5; 8 * MIB];
    for number in 0..4 {
        assert_eq!(rig.ask(write(0, number * 8 * MIB as u64), &piece), GOES_ON);
    }
    assert_eq!(rig.seen.len(), 5);
    assert_eq!(rig.seen[4], [DiskStep::Sync(incoming_path(0))]);
    assert_eq!(rig.ask(write(0, 32 * MIB as u64), &piece), FINISHED);
    // Its failure loses the share, also while the last write waits for it.
    rig.ask(allocate(&[1], 33 * MIB as u64), b"").expect("there is room");
    rig.ask(write(1, 0), &piece[..MIB]).expect("fits");
    rig.disk.fault = Some((|step| matches!(step, DiskStep::Sync(_)), DiskError::Failed("broken".into())));
    let long = rig.send(write(1, MIB as u64), &vec![5; 31 * MIB]);
    assert!(rig.step() && rig.answers.contains_key(&long));
    assert_eq!(rig.ask(write(1, 32 * MIB as u64), &piece[..MIB]), Err(StorageError::Disk("broken".into())));
    assert_eq!(rig.disk.bytes(&incoming_path(1)), None);
}

#[test]
fn reports_of_damage_are_kept_up_to_a_number() {
    let mut rig = with_a_share();
    let report = |share, reason: &str| StorageRequest::AdviseCorrupt {
        storage_index: INDEX,
        share,
        reason: reason.into(),
    };
    assert_eq!(rig.ask(report(1, "bad"), b""), Err(StorageError::NoSuchShare));
    let long = "x".repeat(ADVISORY_REASON_MAX + 1);
    assert!(matches!(rig.ask(report(0, &long), b""), Err(StorageError::BadRequest(_))));
    for _ in 0..crate::limits::ADVISORIES_MAX + 5 {
        assert_eq!(rig.ask(report(0, "the block hash differs"), b""), Ok(Done));
    }
    let kept: Vec<_> = rig.disk.paths().filter(|path| matches!(path, StorePath::Advisory(..))).collect();
    assert_eq!(kept.len() as u64, crate::limits::ADVISORIES_MAX);
    let first = StorePath::Advisory(INDEX, 0, 1_700_000_000_000_000);
    let text = format!(
        "report: Share Corruption\ntype: immutable\nstorage_index: {INDEX}\nshare_number: 0\n\nthe block hash differs\n\n"
    );
    assert_eq!(rig.disk.bytes(&first), Some(text.into_bytes()));
}

#[test]
fn only_writes_carry_data() {
    let mut rig = with_a_share();
    for request in [StorageRequest::Version, list(), allocate(&[1], 4), abort_as(1, 0), add_lease(1)] {
        assert!(matches!(rig.ask(request, b"x"), Err(StorageError::BadRequest(_))));
    }
    assert_eq!(rig.ask(read(0, &[(0, 1)]), b""), Ok(Data(vec![1])));
}
