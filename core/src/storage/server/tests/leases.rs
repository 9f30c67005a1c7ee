//! Leases: added, renewed, kept within bounds, as the peer has them.

use super::*;

#[test]
fn leases_are_added_once_and_renewed() {
    let mut rig = with_a_share();
    assert_eq!(rig.ask(add_lease(2), b""), Ok(Done));
    rig.pass(Duration::from_secs(1_000));
    assert_eq!(rig.ask(add_lease(1), b""), Ok(Done));
    // Allocating is reason enough, too, and a clock set back takes nothing away.
    rig.now.unix.0 -= 500;
    assert_eq!(rig.ask(allocate_as(2, &[], 5), b""), allocated(&[0], &[]));
    rig.now.unix.0 -= 1_000_000;
    assert_eq!(rig.ask(add_lease(1), b""), Ok(Done));
    let base = (1_700_000_000 + LEASE_SECONDS) as u32;
    let expected = [(101, 201, base + 1_000), (102, 202, base + 500)]
        .map(|(renew, cancel, end)| Lease::new(Schema::Hashed, &secret(renew), &secret(cancel), end));
    assert_eq!(leases(&rig.disk, 0), expected);
    assert_eq!(rig.read(read(0, &[(0, u64::MAX)])), Ok(vec![b"abcdefghij".to_vec()]));
    let nothing =
        StorageRequest::AddLease { storage_index: OTHER, renew_secret: secret(1), cancel_secret: secret(2) };
    assert_eq!(rig.ask(nothing, b""), Err(StorageError::NoSuchShare));
    assert_eq!(rig.server.stats().leases_changed, 3);
}

#[test]
fn leases_keep_to_the_schema_of_their_container() {
    let mut rig = Rig::new();
    let lease = Lease::new(Schema::Plain, &secret(101), &secret(201), 5);
    let header = ContainerHeader { schema: Schema::Plain, stated_len: 3, lease_count: 1 };
    rig.disk.put(share_path(0), 12 + 3 + 72, &[(0, &header.encode()), (12, b"abc"), (15, &lease.encode())]);
    assert_eq!(rig.ask(add_lease(1), b""), Ok(Done));
    assert_eq!(rig.ask(add_lease(2), b""), Ok(Done));
    let end = (1_700_000_000 + LEASE_SECONDS) as u32;
    let expected = [(101, 201), (102, 202)]
        .map(|(renew, cancel)| Lease::new(Schema::Plain, &secret(renew), &secret(cancel), end));
    assert_eq!(leases(&rig.disk, 0), expected);
}

#[test]
fn leases_are_added_to_shares_too_long_for_the_header() {
    let mut rig = Rig::new();
    let len = (3u64 << 32) + 9;
    let lease = Lease::new(Schema::Hashed, &secret(101), &secret(201), 5);
    let header = ContainerHeader::new(len, 1);
    rig.disk.put(share_path(0), 12 + len + 72, &[(0, &header.encode()), (12 + len, &lease.encode())]);
    let request = add_lease(2);
    let key = rig.send(request, b"");
    let end = (1_700_000_000 + LEASE_SECONDS) as u32;
    let new = Lease::new(Schema::Hashed, &secret(102), &secret(202), end);
    let mut states = 0;
    // After each step the data has its length, and all leases counted are leases.
    while rig.step() {
        let header = ContainerHeader::decode(&rig.disk.read_at(&share_path(0), 0, 12)).expect("a header");
        let tail = rig.disk.tail(&share_path(0), 12 + len).expect("there");
        let layout = header.layout(12 + len + tail.len() as u64).expect("sound");
        assert_eq!(layout.data_len(), len);
        let records = tail.as_chunks().0[..layout.leases() as usize].iter().map(Lease::decode);
        assert!([vec![lease.clone()], vec![lease.clone(), new.clone()]].contains(&records.collect()));
        states += 1;
    }
    assert_eq!(rig.answers[&key], Ok((Done, vec![])));
    assert!(states >= 8, "{states}");
    let after = ContainerHeader::decode(&rig.disk.read_at(&share_path(0), 0, 12)).expect("a header");
    assert_eq!(after, ContainerHeader::new(len, 2));
}

#[test]
fn leases_respect_the_reserve() {
    let mut disk = MemoryDisk::new();
    disk.capacity = 4_096;
    let mut rig =
        Rig::over(disk, StorageConfig { reserved_space: 0, read_only: false, program: "test".into() });
    rig.ask(allocate(&[0, 1], 10), b"").expect("there is room");
    rig.ask(write(0, 0), b"abcdefghij").expect("fits");
    rig.ask(write(1, 0), b"abcdefghij").expect("fits");
    let free = 4_096 - 2 * 512;
    rig.server.config.reserved_space = free - 100;
    let before = (rig.disk.bytes(&share_path(0)), rig.disk.bytes(&share_path(1)));
    // There is room for one of two. Renewing takes no room.
    assert_eq!(rig.ask(add_lease(2), b""), Err(StorageError::Full));
    let changed = [0, 1].map(|share| leases(&rig.disk, share).len());
    assert_eq!(changed.iter().sum::<usize>(), 3, "{changed:?}");
    rig.pass(Duration::from_secs(10));
    rig.server.config.reserved_space = free;
    assert_eq!(rig.ask(add_lease(1), b""), Ok(Done));
    assert_ne!(before.0, rig.disk.bytes(&share_path(0)));
}

#[test]
fn a_failed_lease_is_an_error_and_stays_one_if_it_is_doubtful() {
    let broken = || DiskError::Failed("broken".into());
    let mut rig = with_a_share();
    let before = rig.disk.bytes(&share_path(0));
    rig.disk.fault = Some((|step| matches!(step, DiskStep::Write { .. }), DiskError::Full));
    assert_eq!(rig.ask(add_lease(2), b""), Err(StorageError::Full));
    assert_eq!(rig.disk.bytes(&share_path(0)), before);
    rig.disk.fault = Some((|step| matches!(step, DiskStep::Sync(_)), broken()));
    assert_eq!(rig.ask(add_lease(2), b""), Err(StorageError::Disk("broken".into())));
    assert_eq!(rig.disk.bytes(&share_path(0)), before, "what was visible of it is taken back");
    let again = rig.ask(add_lease(2), b"");
    assert!(matches!(again, Err(StorageError::Disk(_))), "{again:?}");
    assert_eq!(rig.read(read(0, &[(0, u64::MAX)])), Ok(vec![b"abcdefghij".to_vec()]));
}

/// Files of Tahoe-LAFS 1.20, written by `tests/peer/containers.py`.
#[test]
fn the_peers_containers_are_read_and_leased() {
    let data: Vec<u8> = (0..40).collect();
    let (renew, cancel) = (Secret::from_bytes([b'r'; 32]), Secret::from_bytes([b'c'; 32]));
    let (renew_1, cancel_1) = (Secret::from_bytes([b'R'; 32]), Secret::from_bytes([b'C'; 32]));
    for (schema, file) in [
        (Schema::Plain, &include_bytes!("../../testdata/schema-1.share")[..]),
        (Schema::Hashed, &include_bytes!("../../testdata/schema-2.share")[..]),
    ] {
        let mut rig = Rig::new();
        rig.disk.put(share_path(0), file.len() as u64, &[(0, file)]);
        assert_eq!(rig.read(read(0, &[(0, u64::MAX)])), Ok(vec![data.clone()]));
        let first = Lease::new(schema, &renew, &cancel, 1_800_000_000);
        let second = Lease { owner: 1, ..Lease::new(schema, &renew_1, &cancel_1, 1_900_000_001) };
        assert_eq!(leases(&rig.disk, 0), [first.clone(), second.clone()]);
        rig.now.unix.0 = 1_900_000_000;
        let request = StorageRequest::AddLease {
            storage_index: INDEX,
            renew_secret: renew.clone(),
            cancel_secret: cancel.clone(),
        };
        assert_eq!(rig.ask(request, b""), Ok(Done));
        let renewed = Lease { expiration: 1_900_000_000 + LEASE_SECONDS as u32, ..first };
        assert_eq!(leases(&rig.disk, 0), [renewed, second]);
        assert_eq!(rig.read(read(0, &[(0, u64::MAX)])), Ok(vec![data.clone()]));
    }
}

#[test]
fn a_read_only_server_keeps_up_leases_only() {
    let mut rig = with_a_share();
    rig.server.config.read_only = true;
    let version = rig.ask(StorageRequest::Version, b"");
    assert_eq!(version, Ok(Version { program: "test".into(), available_space: 0, share_size_max: 0 }));
    assert_eq!(rig.ask(allocate_as(2, &[0, 1], 10), b""), allocated(&[0], &[]));
    assert_eq!(leases(&rig.disk, 0).len(), 2);
}
