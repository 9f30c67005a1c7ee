//! The power fails at every step of random histories, on disks that also fail now and then.
//!
//! After each crash the server starts again over what is left and must show: every share it
//! acknowledged as whole, byte for byte; no other share unless it is whole, too; every lease it
//! acknowledged, ending no earlier than acknowledged. The same search run over disks that lie about
//! durability must find a violation, or it would prove nothing.

use super::*;
use crate::storage::testing::Lie;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use core::ops::Range;

const SHARES: Range<u16> = 0..3;

/// Sizes such that leases and their dates fall across sectors.
fn size(share: u16) -> u64 {
    [407, 907, 1_344][usize::from(share)]
}

fn content(share: u16) -> Vec<u8> {
    (0..size(share)).map(|at| (at * 31 + u64::from(share) * 7 + 1) as u8).collect()
}

/// What a client sent, to know what its answer means.
enum Sent {
    Write { share: u16 },
    Lease { owner: u8, expiration: u32 },
    Other,
}

#[derive(Default)]
struct Acknowledged {
    whole: BTreeSet<u16>,
    /// By share and owner: the latest date acknowledged.
    leases: BTreeMap<(u16, u8), u32>,
}

/// A client's life until `power` steps of the disk are done.
fn live(seed: u64, power: u64, lie: Lie) -> (Rig, Acknowledged, bool) {
    let mut dice = Dice::new(seed);
    let mut rig = Rig::new();
    rig.order = Some(Dice::new(seed + 1));
    rig.disk.lie = lie;
    rig.disk.power = power;
    let mut sent = BTreeMap::new();
    let mut seen = Acknowledged::default();
    for turn in 0..40 {
        // Dates move by more than a byte can hold, so that their high bytes change.
        rig.now.unix.0 += dice.below(1 << 18);
        let expiration = (rig.now.unix.0 + LEASE_SECONDS) as u32;
        let owner = 1 + dice.below(3) as u8;
        let share = dice.below(3) as u16;
        let (request, data, kind) = match dice.below(10) {
            choice if turn == 0 || choice == 0 => {
                (allocate(&[share], size(share)), vec![], Sent::Lease { owner: 1, expiration })
            }
            1 | 2 => (add_lease(owner), vec![], Sent::Lease { owner, expiration }),
            3 if dice.one_in(4) => (abort_as(1, share), vec![], Sent::Other),
            3 => (list(), vec![], Sent::Other),
            _ => {
                let start = dice.below(3) * size(share) / 3;
                let end = (start + size(share).div_ceil(3)).min(size(share));
                let data = content(share)[start as usize..end as usize].to_vec();
                (write(share, start), data, Sent::Write { share })
            }
        };
        if dice.one_in(10) {
            let broken = DiskError::Failed("broken".into());
            rig.disk.fault = Some(match dice.below(3) {
                0 => (|step| matches!(step, DiskStep::Sync(_)), broken),
                1 => (|step| matches!(step, DiskStep::SyncName(_)), broken),
                _ => (|step| matches!(step, DiskStep::Write { .. }), DiskError::Full),
            });
        }
        let whole_before = seen.whole.clone();
        sent.insert(rig.send(request, &data), (kind, whole_before));
        if dice.one_in(3) {
            rig.settle();
        } else {
            for _ in 0..dice.below(4) {
                rig.step();
            }
        }
        while let Some((key, result)) = rig.answers.pop_first() {
            let (kind, whole_before) = sent.remove(&key).expect("it was sent");
            match (kind, result.map(|(answer, _)| answer)) {
                (Sent::Write { share }, FINISHED) => {
                    seen.whole.insert(share);
                    // The lease it was allocated with is on the disk with it.
                    seen.leases.entry((share, 1)).or_insert(0);
                }
                (Sent::Lease { owner, expiration }, Ok(_)) => {
                    for share in whole_before {
                        let date = seen.leases.entry((share, owner)).or_insert(0);
                        *date = expiration.max(*date);
                    }
                }
                _ => {}
            }
        }
        if rig.disk.power == 0 {
            return (rig, seen, true);
        }
    }
    rig.settle();
    (rig, seen, false)
}

/// What is wrong after a crash, if anything.
fn check(rig: &mut Rig, seen: &Acknowledged) -> Result<(), String> {
    let Ok(Shares(listed)) = rig.ask(list(), b"") else { return Err("no list".into()) };
    for share in SHARES {
        if !listed.contains(share) {
            if seen.whole.contains(&share) {
                return Err(format!("share {share} was acknowledged and is gone"));
            }
            continue;
        }
        match rig.read(read(share, &[(0, u64::MAX)])) {
            Ok(pieces) if pieces[0] == content(share) => {}
            Ok(pieces) => return Err(format!("share {share} has {} other bytes", pieces[0].len())),
            Err(error) => return Err(format!("share {share} is listed and cannot be read: {error}")),
        }
        let leases = leases(&rig.disk, share);
        let owners = [1, 2, 3].map(|owner| {
            let mine =
                leases.iter().filter(|lease| lease.is_renewed_by(Schema::Hashed, &secret(owner + 100)));
            mine.map(|lease| lease.expiration).collect::<Vec<_>>()
        });
        if owners.iter().map(Vec::len).sum::<usize>() != leases.len()
            || owners.iter().any(|mine| mine.len() > 1)
        {
            return Err(format!("share {share} has {} leases, some of them nobody's", leases.len()));
        }
        for (owner, mine) in (1..).zip(owners) {
            match (seen.leases.get(&(share, owner)), mine.first()) {
                (Some(acknowledged), Some(found)) if found >= acknowledged => {}
                (None, _) => {}
                (acknowledged, found) => {
                    return Err(format!("share {share}: lease {owner} is {found:?}, was {acknowledged:?}"));
                }
            }
        }
    }
    // What is left is good to go on with.
    for owner in [1, 2] {
        let expected = if listed.is_empty() { Err(StorageError::NoSuchShare) } else { Ok(Done) };
        if rig.ask(add_lease(owner), b"") != expected {
            return Err("no lease can be added".into());
        }
    }
    for share in SHARES.filter(|share| listed.contains(*share)) {
        if rig.read(read(share, &[(0, u64::MAX)])) != Ok(vec![content(share)]) {
            return Err(format!("adding a lease has changed share {share}"));
        }
    }
    Ok(())
}

/// Searches for a crash that breaks a promise.
fn search(seeds: Range<u64>, lie: Lie) -> Result<u64, String> {
    let mut crashes = 0;
    for seed in seeds {
        for power in 1.. {
            let (mut rig, seen, crashed) = live(seed, power, lie);
            rig.restart(&mut Dice::new(seed * 1_000 + power));
            rig.disk.lie = Lie::None;
            check(&mut rig, &seen).map_err(|what| format!("seed {seed}, power {power}: {what}"))?;
            crashes += 1;
            if !crashed {
                break;
            }
        }
    }
    Ok(crashes)
}

#[test]
fn no_crash_breaks_a_promise() {
    let seeds = if cfg!(debug_assertions) { 0..40 } else { 0..400 };
    let crashes = search(seeds, Lie::None).expect("no promise is broken");
    assert!(crashes > 1_000, "{crashes}");
}

#[test]
fn the_search_notices_a_disk_that_lies() {
    for lie in [Lie::Sync, Lie::SyncName, Lie::Late] {
        let found = search(0..400, lie);
        assert!(found.is_err(), "{lie:?} went unnoticed");
    }
}

/// Many outcomes of a crash at each step of a renewal whose date lies across two sectors.
#[test]
fn a_date_across_two_sectors_never_goes_back() {
    for cut in 1..4 {
        // The date's first byte is `cut` bytes before the end of the first sector.
        let len = 512 - cut - 68 - 12;
        let old = 0x00ff_fff0u32;
        let lease = Lease::new(Schema::Hashed, &secret(101), &secret(201), old);
        for (power, seed) in (0..12).flat_map(|power| (0..40).map(move |seed| (power, seed))) {
            let mut rig = Rig::new();
            let header = ContainerHeader::new(len, 1);
            rig.disk.put(share_path(0), 12 + len + 72, &[(0, &header.encode()), (12 + len, &lease.encode())]);
            rig.now.unix.0 = 0x0100_0005 - LEASE_SECONDS;
            rig.disk.power = power;
            let key = rig.send(add_lease(1), b"");
            rig.settle();
            let acknowledged = rig.answers.contains_key(&key);
            rig.restart(&mut Dice::new(seed));
            let date = leases(&rig.disk, 0)[0].expiration;
            assert!(date >= if acknowledged { 0x0100_0005 } else { old }, "{cut} {power} {date:x}");
        }
    }
}

/// The process is killed while it gives a share its name. Whoever is told by the next one that the share is
/// there can count on it, even if the power fails then.
#[test]
fn a_share_found_at_start_is_durable_before_it_counts() {
    let ways = [
        // Its lease is new enough: there is nothing to write.
        (allocate_as(1, &[0], 4), &b""[..]),
        (allocate_as(2, &[0], 4), b""),
        (add_lease(1), b""),
        // The uploader comes back.
        (write(0, 0), b"abcd"),
    ];
    for (way, (request, data)) in ways.iter().enumerate() {
        let mut counted = 0;
        for (power, seed) in (1..8).flat_map(|power| (0..8).map(move |seed| (power, seed))) {
            let mut rig = Rig::new();
            rig.ask(allocate(&[0], 4), b"").expect("there is room");
            rig.disk.power = power;
            rig.send(write(0, 0), b"abcd");
            rig.settle();
            rig.restart_killed();
            let counts = match rig.ask(request.clone(), data) {
                Ok(Allocated { already_have, .. }) => already_have.contains(0),
                Ok(Done) | Err(StorageError::AlreadyWhole) => true,
                _ => false,
            };
            rig.restart(&mut Dice::new(seed));
            if counts {
                counted += 1;
                let kept = rig.read(read(0, &[(0, u64::MAX)]));
                assert_eq!(kept, Ok(vec![b"abcd".to_vec()]), "way {way}, power {power}, seed {seed}");
            }
        }
        assert!(counted > 0, "way {way}");
    }
}

/// A name that could not be synced stays doubtful: that the next sync succeeds proves nothing.
#[test]
fn a_share_whose_name_cannot_be_synced_counts_for_nobody() {
    let broken = [DiskError::Failed("broken".into()), DiskError::ReadOnly, DiskError::Full];
    let firsts = [add_lease(1), allocate_as(2, &[0], 4), write(0, 0)];
    for (first, broken) in firsts.iter().flat_map(|first| broken.iter().map(move |broken| (first, broken))) {
        let mut rig = Rig::new();
        rig.ask(allocate(&[0], 4), b"").expect("there is room");
        assert_eq!(rig.ask(write(0, 0), b"abcd"), FINISHED);
        rig.disk.fault = Some((|step| matches!(step, DiskStep::SyncName(_)), broken.clone()));
        for request in [first.clone(), add_lease(1), allocate_as(2, &[0], 4), write(0, 0)] {
            let data = if matches!(request, StorageRequest::Write { .. }) { &b"abcd"[..] } else { b"" };
            match rig.ask(request, data) {
                Err(StorageError::Disk(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(rig.read(read(0, &[(0, u64::MAX)])), Ok(vec![b"abcd".to_vec()]), "it can be read still");
    }
}

/// An uploader was told that its share failed. If the file cannot be removed, it must not become a good one.
#[test]
fn a_share_that_failed_and_cannot_be_removed_counts_for_nobody() {
    let mut rig = Rig::new();
    rig.ask(allocate(&[0], 4), b"").expect("there is room");
    let broken = |step: &DiskStep| matches!(step, DiskStep::SyncName(_) | DiskStep::Remove(_));
    rig.disk.fault = Some((broken, DiskError::ReadOnly));
    rig.ask(write(0, 0), b"abcd").expect_err("its name cannot be synced");
    rig.disk.fault = None;
    for request in [add_lease(1), allocate_as(2, &[0], 4), add_lease(1)] {
        match rig.ask(request, b"") {
            Err(StorageError::Disk(_) | StorageError::NoSuchShare) => {}
            Ok(Allocated { already_have, .. }) if !already_have.contains(0) => {}
            other => panic!("{other:?}"),
        }
    }
}
