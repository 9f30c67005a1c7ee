//! Mutable files so large that few servers have no room for all shares: each takes as many as go into one request.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use tallac_core::capability::{MutableCap, MutableFormat};
use tallac_core::mutable::{ChangeError, Consent, Subject};
use tallac_core::storage::protocol::StorageError;
use tallac_core::storage::slot::container::DATA_OFFSET;
use tallac_soft_rsa::test_key;
use tallac_tests::content;
use tallac_tests::liar::{Exchange, Liar};
use tallac_tests::memory_grid::{GridSetup, Honest, MemoryGrid, Passage, Tamper};
use tallac_tests::mutable_files::{change, holds, overwrite, patch};

/// Of so many bytes, cut up 3-of-10 or 2-of-10, one server takes one share.
const LARGE: usize = 26_000_000;
const BEFORE: &[u8] = b"before";

/// A small file that was made on the first of these servers, while the others were off.
fn made_with<T: Tamper>(
    tamper: T,
    needed: u16,
    (first, servers): (usize, usize),
) -> (MemoryGrid<T>, MutableCap) {
    let setup = GridSetup { servers, ..GridSetup::new(needed, 10) };
    let mut grid = MemoryGrid::new(&setup, tamper);
    (first..servers).for_each(|server| grid.switch_off(server));
    let subject = Subject::New { format: MutableFormat::Mdmf, key: Some(test_key(1)) };
    let cap = grid.change(subject, overwrite(BEFORE), Consent::Servers(1)).expect("it is made").cap;
    (first..servers).for_each(|server| grid.switch_on(server));
    (grid, cap)
}

fn made(needed: u16, servers: usize) -> (MemoryGrid<Honest>, MutableCap) {
    made_with(Honest, needed, (servers, servers))
}

/// Damages the header of a server's first share; or mends it.
fn damage<T: Tamper>(grid: &mut MemoryGrid<T>, server: usize) {
    let (_, share) = grid.disk(server).shares().next().expect("it has one");
    share[DATA_OFFSET as usize] ^= 0xff;
}

/// The servers in the order of the ring, of a file that was just made with them: so the first shares are placed.
fn ring<T: Tamper>(grid: &mut MemoryGrid<T>) -> Vec<usize> {
    let mut ring: Vec<usize> = (0..grid.client()).collect();
    ring.sort_by_key(|server| grid.disk(*server).shares().map(|(share, _)| share).min());
    ring
}

/// What would be there in too few shares is not written in place of what can be read.
#[test]
fn what_too_few_servers_have_room_for_is_refused() {
    for (servers, len) in [(2, LARGE), (1, 18_000_000)] {
        let (mut grid, cap) = made(3, servers);
        let refused = change(&mut grid, &cap, overwrite(&content(2, len))).expect_err("there is no room");
        assert!(matches!(*refused, ChangeError::NoRoom { needed: 3, .. }), "{refused}");
        holds(&mut grid, &cap, BEFORE);
        let changed = change(&mut grid, &cap, overwrite(b"small")).expect("it can be changed");
        assert_eq!(changed.version.sequence, 2);
        holds(&mut grid, &cap, b"small");
    }
}

/// Nor is what would only compete with another version, and could never be read.
#[test]
fn what_nobody_could_read_does_not_compete() {
    let (mut grid, cap) = made(3, 2);
    let ring = ring(&mut grid);
    grid.disk(ring[1]).free = 1_000;
    // Each takes two of the shares.
    change(&mut grid, &cap, overwrite(&content(2, 21_000_000))).expect_err("one has no room");
    grid.disk(ring[1]).free = 1 << 40;
    let there = grid.disk(ring[1]).clone();
    let refused = change(&mut grid, &cap, overwrite(&content(3, LARGE))).expect_err("there is no room");
    assert!(matches!(*refused, ChangeError::NoRoom { placed: 2, .. }), "{refused}");
    assert_eq!(grid.disk(ring[1]).files, there.files);
    holds(&mut grid, &cap, BEFORE);
    change(&mut grid, &cap, overwrite(b"small")).expect("it can be changed");
    holds(&mut grid, &cap, b"small");
}

/// Nor is there room at servers that are not to have it, or that take no more than they have.
#[test]
fn room_that_is_not_to_be_had_does_not_count() {
    // Three shares on two servers; two more servers come after the third, which is down.
    let setup = GridSetup { servers: 5, ..GridSetup::new(3, 3) };
    let mut tried = 0;
    for key in 1..20 {
        let mut grid = MemoryGrid::new(&setup, Honest);
        let subject = Subject::New { format: MutableFormat::Mdmf, key: Some(test_key(key)) };
        grid.switch_off(0);
        let made = grid.change(subject, overwrite(BEFORE), Consent::Majority);
        // Unless it is one that comes later.
        let Some(made) = made.ok().filter(|made| made.placed.len() == 2) else { continue };
        tried += 1;
        let refused =
            change(&mut grid, &made.cap, overwrite(&content(2, LARGE))).expect_err("two take one each");
        assert!(matches!(*refused, ChangeError::NoRoom { needed: 3, placed: 2, .. }), "{refused}");
        holds(&mut grid, &made.cap, BEFORE);
        change(&mut grid, &made.cap, overwrite(b"small")).expect("it can be changed");
    }
    assert!(tried > 0, "the first server comes later for all keys");

    let (mut open, cap) = made(3, 3);
    let setup = GridSetup { servers: 3, read_only: vec![0], ..GridSetup::new(3, 10) };
    let mut grid = MemoryGrid::new(&setup, Honest);
    (0..3).for_each(|server| *grid.disk(server) = open.disk(server).clone());
    let refused = change(&mut grid, &cap, overwrite(&content(2, LARGE))).expect_err("two have room");
    assert!(matches!(*refused, ChangeError::NoRoom { placed: 2, .. }), "{refused}");
    holds(&mut grid, &cap, BEFORE);
    let changed = change(&mut grid, &cap, overwrite(b"same..")).expect("it needs no more room");
    assert_eq!((changed.placed.len(), changed.shares_placed()), (3, 10));
}

/// What was there before can be read as long as the new version cannot.
#[test]
fn what_was_before_is_kept_until_there_is_more() {
    // Of the many shares of the first one a large version takes the place of one.
    let (mut grid, cap) = made_with(Honest, 3, (1, 5));
    (1..5).for_each(|server| grid.disk(server).free = 1_000);
    change(&mut grid, &cap, overwrite(&content(2, LARGE))).expect_err("one takes it");
    holds(&mut grid, &cap, BEFORE);
}

/// Copies of one share do not take the room of others.
#[test]
fn there_are_as_many_shares_as_there_is_room_for() {
    // Who comes later gets copies.
    let (mut grid, cap) = made_with(Honest, 3, (1, 4));
    change(&mut grid, &cap, overwrite(b"small")).expect("it is changed");
    let after = content(2, LARGE);
    let changed = change(&mut grid, &cap, overwrite(&after)).expect("four have room");
    assert_eq!((changed.placed.len(), changed.shares_placed()), (4, 4));
    holds(&mut grid, &cap, &after);
}

/// A version that was acknowledged is not passed over if the only one of those that answer who took it cannot tell,
/// though it shows what it had before.
#[test]
fn who_cannot_tell_is_not_taken_to_be_behind() {
    let (mut grid, cap) = made(2, 5);
    grid.switch_off(3);
    grid.switch_off(4);
    let acknowledged = content(2, LARGE);
    let taken = change(&mut grid, &cap, overwrite(&acknowledged)).expect("three take it").placed.len();
    assert_eq!(taken, 3);
    (0..2).for_each(|server| grid.switch_off(server));
    (3..5).for_each(|server| grid.switch_on(server));
    damage(&mut grid, 2);
    let refused = change(&mut grid, &cap, overwrite(b"lost")).expect_err("two tell what they have");
    assert!(matches!(*refused, ChangeError::TooFew { accepted: 2, .. }), "{refused}");
    (0..2).for_each(|server| grid.switch_on(server));
    holds(&mut grid, &cap, &acknowledged);
    let changed = change(&mut grid, &cap, overwrite(b"after")).expect("the newest is there");
    assert_eq!(changed.version.sequence, 3);
    holds(&mut grid, &cap, b"after");
}

/// Writes a version that only one server keeps: as if its writer had died then, or they were cut off from it.
fn leave<F: FnMut(Exchange) -> Vec<Passage>>(
    grid: &mut MemoryGrid<Liar<F>>,
    cap: &MutableCap,
    cut: &RefCell<BTreeSet<usize>>,
    (server, text): (usize, &[u8]),
) {
    let others: BTreeSet<usize> = (0..grid.client()).filter(|other| *other != server).collect();
    let before: Vec<_> = others.iter().map(|other| grid.disk(*other).clone()).collect();
    cut.borrow_mut().clone_from(&others);
    change(grid, cap, overwrite(text)).expect_err("one took it");
    cut.borrow_mut().clear();
    // They said that they took nothing. It is so.
    others.iter().zip(before).for_each(|(other, disk)| *grid.disk(*other) = disk);
}

/// A newer version, or another with the same number, that is on one server alone does not make up for those that
/// took what was acknowledged, and cannot tell.
#[test]
fn what_does_not_show_is_not_passed_over_for_what_does() {
    for is_newer in [true, false] {
        let cut = Rc::new(RefCell::new(BTreeSet::new()));
        let refusing = cut.clone();
        let lies = Liar::new(move |exchange: Exchange| match refusing.borrow().contains(&exchange.server) {
            true if exchange.is_of_a_write() => exchange.fail(StorageError::Full),
            _ => exchange.honest(),
        });
        // One server has two shares: enough to read the other version, and too few for the newer.
        let (mut grid, cap) = made_with(lies, if is_newer { 3 } else { 2 }, (5, 5));
        // Writers ask the first one first.
        let ring = ring(&mut grid);
        let (acknowledged, mut alone) = (content(2, LARGE), grid.disk(ring[0]).clone());
        if !is_newer {
            leave(&mut grid, &cap, &cut, (ring[0], b"sibling"));
            core::mem::swap(grid.disk(ring[0]), &mut alone);
        }
        let off = if is_newer { [3, 4] } else { [0, 4] };
        off.iter().for_each(|place| grid.switch_off(ring[*place]));
        let taken = change(&mut grid, &cap, overwrite(&acknowledged)).expect("three take it").placed.len();
        assert_eq!(taken, 3);
        off.iter().for_each(|place| grid.switch_on(ring[*place]));
        match is_newer {
            true => leave(&mut grid, &cap, &cut, (ring[0], b"newer")),
            false => *grid.disk(ring[0]) = alone,
        }
        let (silent, damaged) = if is_newer { (vec![1], 2) } else { (vec![1, 3], 2) };
        silent.iter().for_each(|place| grid.switch_off(ring[*place]));
        damage(&mut grid, ring[damaged]);
        let refused = change(&mut grid, &cap, overwrite(b"lost")).expect_err("it may be there");
        let is_right = matches!(*refused, ChangeError::Unreadable { .. } | ChangeError::TooFew { .. });
        assert!(is_right, "{is_newer}: {refused}");
        if is_newer {
            // The newer one has overwritten what is needed to read the other.
            continue;
        }
        silent.iter().for_each(|place| grid.switch_on(ring[*place]));
        damage(&mut grid, ring[damaged]);
        change(&mut grid, &cap, patch(0, b"after")).expect("all answer");
        let mut expected = acknowledged;
        expected[..5].copy_from_slice(b"after");
        holds(&mut grid, &cap, &expected);
    }
}

/// One damaged share says nothing; what its server has taken, its others say, and it is mended by the next change.
#[test]
fn a_damaged_header_stops_nobody() {
    for servers in 1..4 {
        let (mut grid, cap) = made(3, servers);
        (0..servers).for_each(|server| damage(&mut grid, server));
        let changed = change(&mut grid, &cap, overwrite(b"after"));
        let changed = changed.unwrap_or_else(|error| panic!("{servers}: {error}"));
        assert_eq!((changed.placed.len(), changed.shares_placed()), (servers, 10));
        holds(&mut grid, &cap, b"after");
    }
}
