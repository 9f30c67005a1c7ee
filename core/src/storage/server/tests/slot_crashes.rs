//! The power fails at every step of a write to a slot, and at every step of completing it.
//!
//! After each crash the server starts again over what is left and must show the slot as it was before
//! the write or as it is after it, all shares and leases; after it, if the write was acknowledged. The
//! same search over disks that lie about durability must find a violation.

use super::slots::{Change, changes, cut, opened, share, slot_write_as, with_a_slot};
use super::*;
use crate::storage::slot::SMALL_CONTAINER;
use crate::storage::slot::container::{SlotHeader, SlotLease};
use crate::storage::testing::{Fault, Lie};
use alloc::string::String;

/// Everything that a slot holds.
#[derive(PartialEq, Eq)]
struct State(Vec<(u16, Vec<u8>, Vec<SlotLease>)>);

fn state(rig: &mut Rig) -> State {
    let shares = rig.slot();
    // A share that cannot be read has none: it is unlike all that ever was.
    let is_sound = |share| rig.disk.bytes(&share_path(share)).is_some_and(|file| is_container(&file));
    let leases = |share| match is_sound(share) {
        true => opened(&rig.disk, share).1.iter().map(|(_, lease)| lease.clone()).collect(),
        false => Vec::new(),
    };
    State(shares.into_iter().map(|(share, data)| (share, data, leases(share))).collect())
}

fn is_container(file: &[u8]) -> bool {
    SlotHeader::decode(file, file.len() as u64).is_ok()
}

fn search(lie: Lie, fault: Option<Fault>) -> Result<u64, String> {
    let mut crashes = 0;
    let disk = with_a_slot().disk;
    let with_a_slot = || {
        let config = StorageConfig { reserved_space: 0, read_only: false, program: "test".into() };
        let mut rig = Rig::over(disk.clone(), config);
        rig.now.unix.0 += 1_000;
        rig
    };
    for (what, change) in changes() {
        let (request, bulk) = slot_write_as(1, &change, &[]);
        let old = state(&mut with_a_slot());
        let mut rig = with_a_slot();
        let key = rig.send(request.clone(), &bulk);
        rig.settle();
        assert!(rig.answers[&key].is_ok());
        let new = state(&mut rig);
        for power in 1.. {
            let mut ended = false;
            for seed in 0..8 {
                let mut rig = with_a_slot();
                (rig.disk.lie, rig.disk.fault, rig.disk.power) = (lie, fault.clone(), power);
                let key = rig.send(request.clone(), &bulk);
                rig.settle();
                let acknowledged = rig.answers.get(&key).is_some_and(Result::is_ok);
                ended = rig.disk.power > 0;
                let mut dice = Dice::new(seed * 1_000 + power);
                // Half of the time it is only the process that ends first.
                match seed % 2 {
                    0 => rig.restart(&mut dice),
                    _ => rig.restart_killed(),
                }
                rig.disk.fault = None;
                // The power fails again while the server starts, more than once; or not at all.
                let again = if seed < 4 { vec![seed, seed + 3, 2 * seed + 7] } else { vec![] };
                for power in again {
                    rig.disk.power = power;
                    rig.settle();
                    rig.restart(&mut dice);
                }
                rig.disk.lie = Lie::None;
                rig.settle();
                let found = state(&mut rig);
                if found != new && (acknowledged || found != old) {
                    return Err(format!("{what}, power {power}, seed {seed}, acknowledged: {acknowledged}"));
                }
                if !rig.disk.paths().all(|path| matches!(path, StorePath::Share(..))) {
                    return Err(format!("{what}, power {power}: something is left"));
                }
                crashes += 1;
            }
            if ended {
                break;
            }
        }
    }
    Ok(crashes)
}

#[test]
fn a_crash_leaves_the_old_or_the_new_and_never_a_mix() {
    let crashes = search(Lie::None, None).expect("no promise is broken");
    assert!(crashes > 500, "{crashes}");
}

/// The disk fails, and the power while what was done is taken back. A record that could not be synced may
/// be whole on the disk, or seem so, all the same: then all that it builds on must be there.
#[test]
fn a_crash_after_a_failure_leaves_the_old_or_the_new_and_never_a_mix() {
    let faults: [(&str, Fault); 5] = [
        (
            "sync of the record",
            (|step| matches!(step, DiskStep::Sync(StorePath::Redo(_))), DiskError::Failed(String::new())),
        ),
        (
            "write of the record",
            (|step| matches!(step, DiskStep::Write { path: StorePath::Redo(_), .. }), DiskError::Full),
        ),
        (
            "sync of its name",
            (|step| matches!(step, DiskStep::SyncName(StorePath::Redo(_))), DiskError::Failed(String::new())),
        ),
        (
            "sync of a share",
            (|step| matches!(step, DiskStep::Sync(StorePath::Share(..))), DiskError::Failed(String::new())),
        ),
        (
            "sync of a new share",
            (
                |step| matches!(step, DiskStep::Sync(StorePath::Incoming(..))),
                DiskError::Failed(String::new()),
            ),
        ),
    ];
    for (what, fault) in faults {
        if let Err(broken) = search(Lie::None, Some(fault)) {
            panic!("failed {what}: {broken}");
        }
    }
}

/// A record that came back after it was removed would undo what was written since.
#[test]
fn what_was_written_after_a_record_is_not_undone_by_it() {
    let (what, several) = changes().pop().expect("the last of them changes several shares");
    for seed in 0..40 {
        let mut rig = with_a_slot();
        assert!(matches!(rig.slot_write(&several, &[]), Ok((true, _))), "{what}");
        assert!(rig.seen.iter().flatten().any(|step| *step == DiskStep::Create(StorePath::Redo(INDEX))));
        assert!(matches!(rig.slot_write(&[share(0, &[(0, b"later")])], &[]), Ok((true, _))));
        let expected = state(&mut rig);
        rig.restart(&mut Dice::new(seed));
        rig.settle();
        assert!(state(&mut rig) == expected, "seed {seed}");
        assert_eq!(rig.server.stats().slot_writes_completed, 0);
    }
}

#[test]
fn the_search_notices_a_disk_that_lies() {
    for lie in [Lie::Sync, Lie::SyncName] {
        assert!(search(lie, None).is_err(), "{lie:?} went unnoticed");
    }
}

/// The process is killed at each step of a write, and the next one starts over what it left.
fn killed_at_each_step(
    rig: impl Fn() -> Rig,
    write: &Change,
    seeds: u64,
    mut then: impl FnMut(&mut Rig, u64, u64),
) {
    let (request, bulk) = slot_write_as(1, write, &[]);
    for power in 1.. {
        let mut ended = false;
        for seed in 0..seeds {
            let mut rig = rig();
            rig.disk.power = power;
            rig.send(request.clone(), &bulk);
            rig.settle();
            ended = rig.disk.power > 0;
            rig.restart_killed();
            rig.settle();
            then(&mut rig, power, seed);
        }
        if ended {
            return;
        }
    }
}

/// What the next process acknowledges is there after the power has failed.
fn acknowledged_lasts(rig: &mut Rig, write: &Change, what: &str, (power, seed): (u64, u64)) {
    assert!(matches!(rig.slot_write(write, &[]), Ok((true, _))));
    let expected = state(rig);
    rig.restart(&mut Dice::new(seed));
    rig.settle();
    assert!(state(rig) == expected, "{what}, power {power}, seed {seed}");
}

/// A process is killed when it has removed a record, and not durably yet. The next one finds none.
#[test]
fn a_record_removed_by_a_process_that_was_killed_does_not_come_back() {
    let (what, several) = changes().pop().expect("the last of them changes several shares");
    killed_at_each_step(with_a_slot, &several, 6, |rig, power, seed| {
        acknowledged_lasts(rig, &vec![share(0, &[(0, b"later")])], what, (power, seed));
    });
}

/// A record that could not be synced is whole for who reads it, until the power fails.
#[test]
fn a_record_that_was_not_synced_is_not_trusted() {
    for (what, change) in changes() {
        let (request, bulk) = slot_write_as(1, &change, &[]);
        let old = state(&mut with_a_slot());
        let mut rig = with_a_slot();
        rig.send(request.clone(), &bulk);
        rig.settle();
        let new = state(&mut rig);
        for power in 1.. {
            let mut ended = false;
            // How far the next process gets before the power fails, too.
            for again in (0..4).map(|n| 1 + (power * 5 + n * 7) % 29) {
                let mut rig = with_a_slot();
                let fault: Fault = (
                    |step| matches!(step, DiskStep::Sync(StorePath::Redo(_))),
                    DiskError::Failed(String::new()),
                );
                (rig.disk.fault, rig.disk.power) = (Some(fault), power);
                rig.send(request.clone(), &bulk);
                rig.settle();
                ended = rig.disk.power > 0;
                rig.restart_killed();
                (rig.disk.fault, rig.disk.power) = (None, again);
                rig.settle();
                rig.restart(&mut Dice::new(power * 100 + again));
                rig.settle();
                let found = state(&mut rig);
                assert!(found == new || found == old, "{what}, power {power}, then {again}");
            }
            if ended {
                break;
            }
        }
    }
}

/// A process is killed when it has given a file its name, or removed one, and not durably yet. Whatever the next
/// one acknowledges that builds on it is there after the power has failed.
#[test]
fn what_a_process_that_was_killed_left_is_durable_before_it_counts() {
    let large = vec![7; SMALL_CONTAINER as usize];
    let ways: [(&str, Change, Change); 5] = [
        ("made, then patched", vec![share(5, &[(0, &large)])], vec![share(5, &[(0, b"later")])]),
        ("grown, then patched", vec![share(0, &[(0, &large)])], vec![share(0, &[(0, b"later")])]),
        (
            "made, then two patched",
            vec![share(5, &[(0, &large)])],
            vec![share(0, &[(0, b"later")]), share(5, &[(0, b"later")])],
        ),
        ("made, then written without a change", vec![share(5, &[(0, b"small")])], vec![cut(5, 1_000)]),
        ("removed, then removed again", vec![cut(0, 0)], vec![cut(0, 0)]),
    ];
    for (what, first, then) in ways {
        killed_at_each_step(with_a_slot, &first, 6, |rig, power, seed| {
            acknowledged_lasts(rig, &then, what, (power, seed));
        });
    }
}

/// A lease that is new enough is not written again. That it is there is said of a share that lasts.
#[test]
fn a_lease_of_a_share_that_a_process_that_was_killed_left_lasts() {
    killed_at_each_step(Rig::new, &vec![share(5, &[(0, b"small")])], 12, |rig, power, seed| {
        let leased = rig.ask(add_lease(1), b"") == Ok(Done);
        rig.restart(&mut Dice::new(seed));
        rig.settle();
        assert!(!leased || !rig.slot().is_empty(), "power {power}, seed {seed}");
    });
}
