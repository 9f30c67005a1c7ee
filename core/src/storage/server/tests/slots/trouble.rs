//! Slots in trouble: damage, hostile requests, no room, disks that fail.

use super::*;

#[test]
fn damage_to_one_share_is_not_damage_to_all() {
    let mut rig = Rig::new();
    assert_eq!(rig.slot_write(&[share(0, &[(0, b"abc")]), share(1, &[(0, b"def")])], &[]), WRITTEN);
    rig.disk.put(share_path(2), 600, &[(0, b"no container")]);
    rig.disk.put(share_path(3), 0, &[]);
    let (damaged, empty) = ([(2, vec![]), (3, vec![])], vec![]);
    let sound = [(0, b"abc".to_vec()), (1, b"def".to_vec())];
    assert_eq!(rig.slot(), [&sound[..], &damaged].concat(), "they are there, but cannot be read");
    rig.disk.fault = Some((
        |step| matches!(step, DiskStep::Read { path: StorePath::Share(_, 0), .. }),
        DiskError::Failed("broken".into()),
    ));
    assert_eq!(rig.slot(), [&[(0, empty), sound[1].clone()], &damaged[..]].concat());
    // Whether the writer may write to all of it cannot be seen.
    assert!(matches!(rig.slot_write(&[share(0, &[])], &[]), Err(StorageError::Disk(_))));
    assert_eq!(rig.ask(add_lease(2), b""), Ok(Done));
    let report = |share| StorageRequest::AdviseCorrupt { storage_index: INDEX, share, reason: "bad".into() };
    assert_eq!(rig.ask(report(0), b""), Ok(Done));
    let path = StorePath::Advisory(INDEX, 0, 1_700_000_000_000_000);
    let text = rig.disk.bytes(&path).expect("it is kept");
    assert!(text.starts_with(b"report: Share Corruption\ntype: mutable\n"));
}

/// A share of which less can be read than its header says is not taken for a shorter one.
#[test]
fn reads_that_end_early_are_damage() {
    let mut rig = Rig::new();
    assert_eq!(rig.slot_write(&[share(0, &[(0, b"abc")]), share(1, &[(0, b"def")])], &[]), WRITTEN);
    rig.disk.cut_short = |step| matches!(step, DiskStep::Read { path: StorePath::Share(_, 0), offset, .. } if *offset == container::DATA_OFFSET);
    assert_eq!(rig.slot(), [(0, vec![]), (1, b"def".to_vec())]);
    let tested = ShareVectors { tests: vec![test(0, 3, b"ab")], ..share(0, &[]).0 };
    assert!(matches!(rig.slot_write(&[(tested.clone(), vec![])], &[]), Err(StorageError::Disk(_))));
    rig.disk.cut_short = |_| false;
    assert_eq!(rig.slot(), [(0, b"abc".to_vec()), (1, b"def".to_vec())]);
}

#[test]
fn contradicting_headers_are_damage() {
    let good = SlotHeader::new(NODEID, secret(1)).encode();
    let with = |data_len: u64, extra: u64| {
        let mut bytes = good.clone();
        bytes[84..92].copy_from_slice(&data_len.to_be_bytes());
        bytes[92..100].copy_from_slice(&extra.to_be_bytes());
        bytes
    };
    for (what, bytes, expected) in [
        ("longer than the file", with(33, 600), SlotContainerError::TooShort),
        ("longer than any file", with(u64::MAX, 600), SlotContainerError::TooShort),
        ("leases in the data", with(32, 499), SlotContainerError::Overlapping),
        ("leases nowhere", with(0, u64::MAX), SlotContainerError::Overlapping),
        ("cut off", good[..467].to_vec(), SlotContainerError::TooShort),
        ("cut off in the magic", good[..31].to_vec(), SlotContainerError::TooShort),
        ("another magic", vec![b'T'; 468], SlotContainerError::UnknownMagic),
        ("immutable", vec![0, 0, 0, 2, 0], SlotContainerError::Immutable),
    ] {
        assert_eq!(SlotHeader::decode(&bytes, 500), Err(expected), "{what}");
    }
    let header = SlotHeader::decode(&with(32, 500), 500).expect("without extra leases");
    assert_eq!(header.leases(b"", 10).map(|leases| leases.extra_count()), Ok(0));
    let counted = [&u32::MAX.to_be_bytes()[..], &[1; 92]].concat();
    assert_eq!(header.leases(&counted, 10).map(|leases| leases.extra_count()), Ok(1));
    assert_eq!(header.leases(&counted, 0), Err(SlotContainerError::TooManyLeases));
    assert_eq!(header.readable(u64::MAX, u64::MAX), None);
    assert_eq!(header.readable(30, u64::MAX), Some((container::DATA_OFFSET + 30, 2)));
}

#[test]
fn hostile_requests_are_refused() {
    let mut rig = Rig::new();
    assert_eq!(rig.slot_write(&[share(0, &[(0, b"abcdef")])], &[]), WRITTEN);
    let many = |count| vec![(0u64, 1u64); count];
    let tests = |count| vec![test(0, 1, b"a"); count];
    let named = |share| ShareVectors { share, tests: vec![], writes: vec![], new_length: None };
    let huge = |writes: Vec<(u64, u64)>| ShareVectors { writes, ..named(0) };
    for (what, shares, reads, bulk) in [
        ("a share number of 256", vec![named(256)], vec![], &b""[..]),
        ("257 shares", (0..257).map(named).collect(), vec![], b""),
        ("a share twice", vec![named(3), named(3)], vec![], b""),
        ("31 tests", vec![ShareVectors { tests: tests(SLOT_TESTS_MAX + 1), ..named(0) }], vec![], b""),
        ("31 reads", vec![], many(SLOT_READS_MAX + 1), b""),
        ("too many writes", vec![huge(vec![(0, 0); SLOT_WRITES_MAX + 1])], vec![], b""),
        ("more bulk than writes", vec![huge(vec![(0, 1)])], vec![], b"ab"),
        ("less bulk than writes", vec![huge(vec![(0, 3)])], vec![], b"ab"),
        ("writes whose sum overflows", vec![huge(vec![(0, u64::MAX), (0, 3)])], vec![], b"ab"),
        ("an offset that overflows", vec![huge(vec![(u64::MAX, 2)])], vec![], b"ab"),
        ("an offset past the longest share", vec![huge(vec![(DATA_LEN_MAX, 1)])], vec![], b"a"),
        ("nothing at an offset past it", vec![huge(vec![(DATA_LEN_MAX + 1, 0)])], vec![], b""),
    ] {
        let request = StorageRequest::ReadTestWrite {
            storage_index: INDEX,
            write_enabler: secret(1),
            renew_secret: secret(101),
            cancel_secret: secret(201),
            shares,
            reads,
        };
        assert!(refused(rig.ask(request, bulk)), "{what}");
    }
    assert!(refused(rig.slot_read(&[], &many(SLOT_READS_MAX + 1))));
    // Further than the disk reaches; nothing of it is written.
    let far = rig.slot_write(&[share(0, &[(1 << 50, b"x")])], &[]);
    assert_eq!(far, Err(StorageError::Full));
    assert_eq!(rig.slot(), [(0, b"abcdef".to_vec())]);
    // Strange, but good: overlapping writes in their order, a length that cuts nothing, tests past
    // the end.
    let odd = ShareVectors {
        tests: vec![test(6, 10, b""), test(u64::MAX, u64::MAX, b""), test(0, 0, b"")],
        new_length: Some(u64::MAX),
        ..share(0, &[(0, b"1234"), (2, b"xyz"), (1, b"!")]).0
    };
    let answer = rig.slot_write(&[(odd, b"1234xyz!".to_vec())], &[(u64::MAX, u64::MAX)]);
    assert_eq!(answer, Ok((true, vec![(0, vec![vec![]])])));
    assert_eq!(rig.slot(), [(0, b"1!xyzf".to_vec())]);
    assert_eq!(rig.server.stats().bytes_promised, 0);
}

#[test]
fn an_answer_about_a_slot_has_a_greatest_length() {
    let mut rig = Rig::new();
    assert_eq!(rig.slot_write(&[share(0, &[(0, b"a")]), share(1, &[(0, b"a")])], &[]), WRITTEN);
    for number in [0, 1] {
        let mut file = rig.disk.bytes(&share_path(number)).expect("it is there");
        let len = BULK_LEN_MAX as u64 / 2 + 1;
        file[84..100].copy_from_slice(&container::lengths(len, 468 + len));
        rig.disk.put(share_path(number), 468 + len + 4, &[(0, &file[..468])]);
    }
    assert!(refused(rig.slot_read(&[], &[(0, u64::MAX)])));
    assert!(refused(rig.slot_write(&[], &[(0, u64::MAX)])));
    let pieces = rig.slot_read(&[], &[(1, u64::MAX)]).expect("just short enough");
    assert_eq!(pieces.iter().map(|(_, pieces)| pieces[0].len()).sum::<usize>(), BULK_LEN_MAX);
}

#[test]
fn growth_needs_room_and_leave() {
    let mut rig = Rig::new();
    assert_eq!(rig.slot_write(&[share(0, &[(0, b"abc")])], &[]), WRITTEN);
    rig.server.config.read_only = true;
    for vectors in [share(0, &[(3, b"d")]), share(1, &[])] {
        assert_eq!(rig.slot_write(&[vectors], &[]), Err(StorageError::ReadOnly));
    }
    // What is there may change, go, and have leases.
    let there = || Ok((true, vec![(0, vec![])]));
    assert_eq!(rig.slot_write(&[share(0, &[(0, b"A")])], &[]), there());
    for owner in 2..6 {
        assert_eq!(rig.ask(add_lease(owner), b""), Ok(Done));
    }
    rig.server.config.read_only = false;
    rig.server.config.reserved_space = rig.disk.capacity - 512 * 2;
    assert_eq!(rig.slot_write(&[share(0, &[(3, b"d")])], &[]), Err(StorageError::Full));
    assert_eq!(rig.ask(add_lease(9), b""), Err(StorageError::Full));
    assert_eq!(rig.slot_write(&[share(0, &[(0, b"B")])], &[]), there());
    assert_eq!(rig.slot_write(&[cut(0, 0)], &[]), there());
    assert_eq!(rig.slot(), []);
}

#[test]
fn a_failure_of_the_disk_is_an_error_and_leaves_the_old_or_shuts_the_slot() {
    type Kind = (&'static str, fn(&DiskStep) -> bool, DiskError, StorageError);
    let kinds: [Kind; 6] = [
        ("full", |s| matches!(s, DiskStep::Write { .. }), DiskError::Full, StorageError::Full),
        ("create", |s| matches!(s, DiskStep::Create(_)), DiskError::Full, StorageError::Full),
        (
            "sync",
            |s| matches!(s, DiskStep::Sync(_)),
            DiskError::Failed("x".into()),
            StorageError::Disk("x".into()),
        ),
        (
            "name",
            |s| matches!(s, DiskStep::SyncName(_)),
            DiskError::Failed("x".into()),
            StorageError::Disk("x".into()),
        ),
        (
            "sync in place",
            |s| matches!(s, DiskStep::Sync(StorePath::Share(..))),
            DiskError::Failed("x".into()),
            StorageError::Disk("x".into()),
        ),
        (
            "sync of the record",
            |s| matches!(s, DiskStep::Sync(StorePath::Redo(_))),
            DiskError::Failed("x".into()),
            StorageError::Disk("x".into()),
        ),
    ];
    let mut shut = 0;
    for (what, change) in changes() {
        for (fails, fault, error, expected) in kinds.clone() {
            let mut rig = with_a_slot();
            let before = rig.slot();
            rig.disk.fault = Some((fault, error));
            let answer = rig.slot_write(&change, &[]);
            if rig.disk.fault.take().is_some() {
                assert!(matches!(answer, Ok((true, _))), "{what}, {fails}: there was no such step");
                continue;
            }
            assert_eq!(answer, Err(expected), "{what}, {fails}");
            assert_eq!(rig.server.stats().bytes_promised, 0);
            if rig.server.stats().slots_shut == 1 {
                shut += 1;
                assert!(matches!(rig.slot_read(&[], &[]), Err(StorageError::Disk(_))));
                assert!(matches!(rig.slot_write(&[], &[]), Err(StorageError::Disk(_))));
                assert!(matches!(rig.ask(add_lease(1), b""), Err(StorageError::Disk(_))));
            } else {
                assert_eq!(rig.slot(), before, "{what}, {fails}");
                assert!(rig.disk.paths().all(|path| matches!(path, StorePath::Share(..))), "{what}, {fails}");
                assert!(matches!(rig.slot_write(&change, &[]), Ok((true, _))), "{what}, {fails}: again");
            }
        }
    }
    assert!(shut >= 8, "{shut}");
}
