//! Mutable files on grids that get more servers, and on servers that hold more than others.

use std::collections::BTreeSet;
use tallac_core::capability::{MutableCap, MutableFormat};
use tallac_core::mutable::{Change, ChangeError, Consent, Subject};
use tallac_core::payload::Payload;
use tallac_soft_rsa::test_key;
use tallac_tests::content;
use tallac_tests::memory_grid::{GridSetup, Honest, MemoryGrid};
use tallac_tests::mutable_files::{change, holds, overwrite};

type Grid = MemoryGrid<Honest>;

/// A file that was made while `there` were all the servers of a grid that has more now.
fn made_on(
    grid: &mut Grid,
    there: &[usize],
    servers: usize,
    format: MutableFormat,
    content: &[u8],
) -> MutableCap {
    let others: Vec<usize> = (0..servers).filter(|server| !there.contains(server)).collect();
    others.iter().for_each(|server| grid.switch_off(*server));
    let subject = Subject::New { format, key: Some(test_key(1)) };
    let made = grid.change(subject, overwrite(content), Consent::Servers(1)).expect("it is made");
    assert_eq!(made.shares_placed(), usize::from(made.total));
    others.iter().for_each(|server| grid.switch_on(*server));
    made.cap
}

/// A small grid puts several shares on each server. Of the servers that come later more than half may
/// have to agree, so they must be given something to agree to.
#[test]
fn a_file_of_a_small_grid_can_be_changed_when_the_grid_has_grown() {
    for (before, servers) in [(1, 2), (1, 10), (3, 6), (3, 10), (3, 20), (5, 11)] {
        let mut grid = Grid::new(&GridSetup { servers, ..GridSetup::new(3, 10) }, Honest);
        let there: Vec<usize> = (0..before).collect();
        let cap = made_on(&mut grid, &there, servers, MutableFormat::Sdmf, b"small");
        for round in 0..3 {
            let new = content(round, 1_000);
            if let Err(error) = change(&mut grid, &cap, overwrite(&new)) {
                panic!("{before} of {servers}, round {round}: {error}");
            }
            holds(&mut grid, &cap, &new);
        }
    }
}

/// A part may be too much for a server that holds most of the shares. What it cannot take must not go to
/// another, where the rest of the share is not.
#[test]
fn parts_are_put_only_where_the_rest_of_the_share_is() {
    let mut grid = Grid::new(&GridSetup { servers: 2, ..GridSetup::new(3, 10) }, Honest);
    let mut expected = content(1, 4_500_000);
    let cap = made_on(&mut grid, &[0], 2, MutableFormat::Mdmf, &expected);
    change(&mut grid, &cap, overwrite(&expected)).expect("both take it");
    let more = content(2, 6_000_000);
    let patch = Change::Patch { offset: expected.len() as u64, data: Payload::from(more.clone()) };
    change(&mut grid, &cap, patch).expect("it is patched");
    expected.extend(more);
    holds(&mut grid, &cap, &expected);
    for server in 0..2 {
        grid.switch_off(server);
        holds(&mut grid, &cap, &expected);
        grid.switch_on(server);
    }
}

/// Parts are only for servers that have the rest. If those are no longer more than half, because the grid has
/// grown, all of the file is written, and the others get theirs.
#[test]
fn a_part_of_a_file_of_a_small_grid_can_be_replaced_when_the_grid_has_grown() {
    for (before, servers) in [(1, 2), (3, 6), (5, 10), (5, 11)] {
        let mut grid = Grid::new(&GridSetup { servers, ..GridSetup::new(3, 10) }, Honest);
        let there: Vec<usize> = (0..before).collect();
        let mut expected = content(1, 400_000);
        let cap = made_on(&mut grid, &there, servers, MutableFormat::Mdmf, &expected);
        for round in 0..3 {
            let part = content(2 + round as u64, 10);
            expected[round * 1_000..round * 1_000 + 10].copy_from_slice(&part);
            let patch = Change::Patch { offset: round as u64 * 1_000, data: Payload::from(part) };
            if let Err(error) = change(&mut grid, &cap, patch) {
                panic!("{before} of {servers}, round {round}: {error}");
            }
            holds(&mut grid, &cap, &expected);
        }
    }
}

/// The servers that come first on the ring of the file with this key, on a grid of so many.
fn first_on_the_ring(key: usize, servers: usize) -> BTreeSet<usize> {
    let mut grid = Grid::new(&GridSetup { servers, ..GridSetup::new(3, 10) }, Honest);
    let subject = Subject::New { format: MutableFormat::Sdmf, key: Some(test_key(key)) };
    let made = grid.change(subject, overwrite(b"to see"), Consent::Majority).expect("it is made");
    let placed: BTreeSet<_> = made.placed.iter().map(|placed| placed.server).collect();
    (0..servers).filter(|server| placed.contains(&grid.id(*server))).collect()
}

/// Ten servers, of which six take a change; then ten more join, so that the six are no longer among the
/// first on the ring, but the four that missed the change still are. It was acknowledged all the same.
#[test]
fn what_was_acknowledged_is_found_behind_servers_that_have_joined() {
    let missed_it = |key: &usize| {
        let old: Vec<usize> = first_on_the_ring(*key, 20).into_iter().filter(|server| *server < 10).collect();
        (1..=4).contains(&old.len()).then_some((*key, old))
    };
    let (key, late) = (1..40).find_map(|key| missed_it(&key)).expect("one of many keys");
    let mut before = Grid::new(&GridSetup::new(3, 10), Honest);
    let subject = Subject::New { format: MutableFormat::Sdmf, key: Some(test_key(key)) };
    let cap = before.change(subject, overwrite(b"----****"), Consent::Majority).expect("it is made").cap;
    late.iter().for_each(|server| before.switch_off(*server));
    let patch = |offset, data: &[u8]| Change::Patch { offset, data: Payload::from(data.to_vec()) };
    change(&mut before, &cap, patch(0, b"kept")).expect("more than half take it");

    for consent in [Consent::Majority, Consent::Servers(7)] {
        let mut after = Grid::new(&GridSetup { servers: 20, ..GridSetup::new(3, 10) }, Honest);
        for server in 0..10 {
            *after.disk(server) = before.disk(server).clone();
        }
        let subject = Subject::Existing(cap.clone());
        after.change(subject, patch(4, b"also"), consent).expect("enough take it");
        holds(&mut after, &cap, b"keptalso");
    }
}

/// Nodes that know other halves of a grid would each have all of their servers, and miss each other. That
/// shares are missing tells them.
#[test]
fn who_knows_half_of_the_servers_changes_nothing() {
    let mut all = Grid::new(&GridSetup::new(3, 10), Honest);
    let subject = Subject::New { format: MutableFormat::Sdmf, key: Some(test_key(1)) };
    let cap = all.change(subject, overwrite(b"before"), Consent::Majority).expect("it is made").cap;
    let mut known = |count: usize, joined: usize| {
        let mut grid = Grid::new(&GridSetup { servers: count + joined, ..GridSetup::new(3, 10) }, Honest);
        (0..count).for_each(|server| *grid.disk(server) = all.disk(server).clone());
        grid
    };

    let mut half = known(5, 0);
    let refused = change(&mut half, &cap, overwrite(b"after")).expect_err("half is not more than half");
    assert!(matches!(*refused, ChangeError::TooFew { needed: 6, voters: 10, strangers: 5, .. }), "{refused}");
    assert!(refused.to_string().contains("about 5 of them may be unknown to this node"), "{refused}");
    holds(&mut half, &cap, b"before");

    // More than half can go on, and put the missing shares into places that they know.
    let mut more = known(6, 0);
    let changed = change(&mut more, &cap, overwrite(b"after")).expect("six of ten are more than half");
    assert_eq!((changed.voters, changed.shares_placed()), (10, 10));
    assert_eq!(change(&mut more, &cap, overwrite(b"and on")).expect("all is in place").voters, 6);

    // If the others are lost for good, one new server is enough to go on.
    let mut mended = known(5, 1);
    let changed = change(&mut mended, &cap, overwrite(b"after")).expect("six of ten are more than half");
    assert_eq!((changed.voters, changed.shares_placed()), (10, 10));
    holds(&mut mended, &cap, b"after");
}

/// What the first `count` servers of a grid have, in a grid in which there are no others.
fn first_of(all: &mut Grid, count: usize) -> Grid {
    let mut some = Grid::new(&GridSetup { servers: count, ..GridSetup::new(3, 10) }, Honest);
    (0..count).for_each(|server| *some.disk(server) = all.disk(server).clone());
    some
}

/// That servers that are known have two shares does not mean that the others have as many.
#[test]
fn who_knows_less_than_half_of_the_servers_counts_the_others() {
    let mut with_two = 0;
    for (servers, count, down) in [(10, 4, true), (7, 3, false)] {
        for key in 1..6 {
            let mut all = Grid::new(&GridSetup { servers, ..GridSetup::new(3, 10) }, Honest);
            let subject = Subject::New { format: MutableFormat::Sdmf, key: Some(test_key(key)) };
            let cap = all.change(subject, overwrite(b"before"), Consent::Majority).expect("it is made").cap;
            if down {
                all.switch_off(servers - 1);
                change(&mut all, &cap, overwrite(b"between")).expect("the others take it");
            }
            let mut some = first_of(&mut all, count);
            with_two += usize::from((0..count).any(|server| some.disk(server).shares().count() == 2));
            let refused = change(&mut some, &cap, overwrite(b"lost")).expect_err("less than half");
            let is_right = matches!(*refused, ChangeError::TooFew { accepted, .. } if accepted == count);
            assert!(is_right, "{count} of {servers}, key {key}: {refused}");
        }
    }
    assert!((2..10).contains(&with_two), "{with_two} times");
}

/// Servers that join get copies, and those that were there do not get more and more with every change: they would
/// store the file many times over, and who knows few servers could not tell any more that there are others.
#[test]
fn copies_do_not_grow_in_number() {
    for key in 1..6 {
        let mut before = Grid::new(&GridSetup::new(3, 10), Honest);
        let subject = Subject::New { format: MutableFormat::Sdmf, key: Some(test_key(key)) };
        let cap = before.change(subject, overwrite(b"before"), Consent::Majority).expect("it is made").cap;
        let mut all = Grid::new(&GridSetup { servers: 15, ..GridSetup::new(3, 10) }, Honest);
        (0..10).for_each(|server| *all.disk(server) = before.disk(server).clone());
        for round in 0..12 {
            change(&mut all, &cap, overwrite(&content(round, 100))).expect("all take part");
            let shares: usize = (0..15).map(|server| all.disk(server).shares().count()).sum();
            assert!(shares <= 15, "key {key}, round {round}: {shares} shares");
        }
    }
}

/// Of three servers the first had everything, and takes nothing any more. The two that joined have enough between them,
/// and what one change leaves there does not prevent the next.
#[test]
fn who_joins_has_enough_to_go_on() {
    let joined = |key: usize, read_only: &[usize]| {
        let setup = GridSetup { servers: 3, read_only: read_only.to_vec(), ..GridSetup::new(3, 10) };
        let mut grid = Grid::new(&GridSetup { servers: 3, ..GridSetup::new(3, 10) }, Honest);
        grid.switch_off(1);
        grid.switch_off(2);
        let subject = Subject::New { format: MutableFormat::Sdmf, key: Some(test_key(key)) };
        let made = grid.change(subject, overwrite(b"short"), Consent::Servers(1)).expect("it is made");
        grid.switch_on(1);
        grid.switch_on(2);
        let changed = change(&mut grid, &made.cap, overwrite(b"copied")).expect("all take it");
        assert!(changed.placed.iter().all(|placed| placed.shares.len() >= 2), "{:?}", changed.placed);
        let mut full = Grid::new(&setup, Honest);
        (0..3).for_each(|server| *full.disk(server) = grid.disk(server).clone());
        (full, made.cap)
    };
    for key in 1..5 {
        // It says so.
        let (mut grid, cap) = joined(key, &[0]);
        for text in [&b"longer than before"[..], b"and longer than that was"] {
            let changed = change(&mut grid, &cap, overwrite(text)).expect("two of three have room");
            assert_eq!((changed.placed.len(), changed.shares_placed()), (2, 10), "key {key}");
            holds(&mut grid, &cap, text);
        }
        // It does not.
        let (mut grid, cap) = joined(key, &[]);
        grid.disk(0).free = 1;
        for text in [content(key as u64, 1_000), content(9, 2_000)] {
            let changed = change(&mut grid, &cap, overwrite(&text)).expect("two of three have room");
            assert_eq!(changed.placed.len(), 2, "key {key}");
            holds(&mut grid, &cap, &text);
        }
    }
}

/// Who knows three of five servers, and has never heard of the others, cannot tell them from four, and is refused.
#[test]
fn who_cannot_tell_how_many_there_are_changes_nothing() {
    for key in 1..4 {
        let mut all = Grid::new(&GridSetup { servers: 5, ..GridSetup::new(3, 10) }, Honest);
        let subject = Subject::New { format: MutableFormat::Sdmf, key: Some(test_key(key)) };
        let made = all.change(subject, overwrite(b"before"), Consent::Majority).expect("it is made");
        let refused = change(&mut first_of(&mut all, 3), &made.cap, overwrite(b"after"));
        let refused = refused.expect_err("with four others three are less than half");
        assert!(matches!(*refused, ChangeError::TooFew { needed: 4, strangers: 4, .. }), "{refused}");
        let mut four = first_of(&mut all, 4);
        change(&mut four, &made.cap, overwrite(b"after")).expect("four are more than half of six");
    }
}

/// Who has joined has but copies. That does not make those that have gone for good more than they were.
#[test]
fn copies_do_not_make_strangers() {
    for before in [2, 3] {
        for key in 1..6 {
            let servers = before + 1;
            let mut all = Grid::new(&GridSetup { servers, ..GridSetup::new(3, 10) }, Honest);
            // One of the old servers is not known to who comes later.
            all.switch_off(0);
            let subject = Subject::New { format: MutableFormat::Sdmf, key: Some(test_key(key)) };
            let made = all.change(subject, overwrite(b"before"), Consent::Servers(1)).expect("it is made");
            all.switch_on(0);
            change(&mut all, &made.cap, overwrite(b"between")).expect("all take it");
            assert!((1..=2).contains(&all.disk(0).shares().count()));
            let mut some = first_of(&mut all, before);
            let changed = change(&mut some, &made.cap, overwrite(b"after"));
            changed.unwrap_or_else(|error| panic!("{before}, key {key}: {error}"));
        }
    }
}

/// In a small grid each server has several shares, also those that are down.
#[test]
fn servers_that_are_down_are_no_strangers() {
    for servers in 2..=9usize {
        for down in 0..servers.div_ceil(2) {
            for first in 0..servers {
                let mut grid = Grid::new(&GridSetup { servers, ..GridSetup::new(3, 10) }, Honest);
                let all: Vec<usize> = (0..servers).collect();
                let cap = made_on(&mut grid, &all, servers, MutableFormat::Sdmf, b"before");
                (first..first + down).for_each(|server| grid.switch_off(server % servers));
                if let Err(error) = change(&mut grid, &cap, overwrite(b"after")) {
                    panic!("{down} of {servers} down, from {first} on: {error}");
                }
            }
        }
    }
}

/// A server takes no more shares of a large file than go into one request, so that with few servers there is
/// no room for all. Those that were never placed are with nobody.
#[test]
fn shares_that_found_no_room_are_not_with_strangers() {
    for (servers, len) in [(1, 6_000_000), (2, 14_000_000), (3, 26_000_000), (5, 26_000_000)] {
        let mut grid = Grid::new(&GridSetup { servers, ..GridSetup::new(3, 10) }, Honest);
        let subject = Subject::New { format: MutableFormat::Mdmf, key: Some(test_key(1)) };
        let (before, after) = (content(1, len), content(2, len));
        let made = grid.change(subject, overwrite(&before), Consent::Majority).expect("it is made");
        assert!(made.shares_placed() < 10, "{len} bytes fit {servers} servers");
        let changed = change(&mut grid, &made.cap, overwrite(&after));
        let changed = changed.unwrap_or_else(|error| panic!("{servers} servers, {len} bytes: {error}"));
        assert_eq!(changed.voters, servers);
        // One that is down is none either, as long as more than half are there.
        if servers > 3 {
            grid.switch_off(servers - 1);
            let changed = change(&mut grid, &made.cap, overwrite(&before));
            changed.unwrap_or_else(|error| panic!("{servers} servers, one down: {error}"));
            holds(&mut grid, &made.cap, &before);
        }
    }
}
