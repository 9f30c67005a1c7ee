//! Mutable files on servers of which some are full for a while.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;
use tallac_core::capability::{MutableCap, MutableFormat};
use tallac_core::directory::{Child, DirectoryKind, Edit, Name, Replace, Seen};
use tallac_core::mutable::{Change, ChangeError, Consent, Edits, Subject};
use tallac_core::payload::Payload;
use tallac_core::storage::protocol::StorageRequest;
use tallac_core::wire::{Frame, Kind, Message};
use tallac_soft_rsa::test_key;
use tallac_tests::content;
use tallac_tests::memory_grid::{Fault, GridSetup, Honest, MemoryGrid, Passage, Tamper, pass};
use tallac_tests::mutable_files::{change, holds, overwrite, patch};

type Grid = MemoryGrid<Honest>;

/// How many random histories are tried.
const HISTORIES: u64 = 60;

fn new() -> Subject {
    Subject::New { format: MutableFormat::Sdmf, key: Some(test_key(1)) }
}

/// A grid for k of N in which these servers are full.
fn grid(servers: usize, full: &[usize], shares: (u16, u16)) -> Grid {
    let setup = GridSetup { servers, read_only: full.to_vec(), ..GridSetup::new(shares.0, shares.1) };
    Grid::new(&setup, Honest)
}

/// The same servers when others are full.
fn now_full(before: &mut Grid, servers: usize, full: &[usize], shares: (u16, u16)) -> Grid {
    let mut after = grid(servers, full, shares);
    (0..servers).for_each(|server| *after.disk(server) = before.disk(server).clone());
    after
}

/// All servers in the order of the ring of the file that [`new`] makes.
fn ring(servers: usize) -> Vec<usize> {
    let mut order = Vec::new();
    while order.len() < servers {
        let mut grid = grid(servers, &order, (1, 1));
        let made = grid.change(new(), overwrite(b"to see"), Consent::Majority).expect("it is made");
        let next = (0..servers).find(|server| grid.id(*server) == made.placed[0].server);
        order.extend(next);
    }
    order
}

/// Servers that have become full are still among those that decided on earlier changes. While they are silent
/// nobody can tell what they hold, so they are not left out of those that more than half is counted of.
#[test]
fn full_servers_that_are_silent_have_a_say() {
    let mut before = Grid::new(&GridSetup::new(3, 10), Honest);
    let subject = Subject::New { format: MutableFormat::Sdmf, key: Some(test_key(1)) };
    let cap = before.change(subject, overwrite(b"before"), Consent::Majority).expect("it is made").cap;
    (6..10).for_each(|server| before.switch_off(server));
    change(&mut before, &cap, overwrite(b"after")).expect("six of ten take it");

    let full: Vec<usize> = (0..5).collect();
    let mut grid = Grid::new(&GridSetup { read_only: full.clone(), ..GridSetup::new(3, 10) }, Honest);
    (0..10).for_each(|server| *grid.disk(server) = before.disk(server).clone());
    full.iter().for_each(|server| grid.switch_off(*server));
    let refused = change(&mut grid, &cap, overwrite(b"instead")).expect_err("five of ten are too few");
    assert!(matches!(*refused, ChangeError::TooFew { needed: 6, voters: 10, .. }), "{refused}");

    // One of them tells what there was, and its change is built upon. It takes what needs no more room.
    grid.switch_on(0);
    let patch = Change::Patch { offset: 0, data: Payload::from(b"A".to_vec()) };
    change(&mut grid, &cap, patch).expect("six of ten are more than half");
    full.iter().skip(1).for_each(|server| grid.switch_on(*server));
    holds(&mut grid, &cap, b"After");
}

/// Full servers that were asked and hold nothing never had a say.
#[test]
fn full_servers_that_hold_nothing_have_no_say() {
    let full: Vec<usize> = (0..8).collect();
    let mut grid =
        Grid::new(&GridSetup { servers: 18, read_only: full.clone(), ..GridSetup::new(3, 10) }, Honest);
    let subject = Subject::New { format: MutableFormat::Sdmf, key: Some(test_key(1)) };
    let cap = grid.change(subject, overwrite(b"before"), Consent::Majority).expect("it is made").cap;
    let changed = change(&mut grid, &cap, overwrite(b"after")).expect("all are there");
    assert_eq!(changed.voters, 10);
    holds(&mut grid, &cap, b"after");
}

/// While servers are full others have a say in their place, and may be among the few who took the last change.
/// When the full ones have room again, these are further along the ring than anybody has to ask.
#[test]
fn what_was_acknowledged_while_others_were_full_is_found_when_they_have_room_again() {
    let ring = ring(17);
    let mut before = grid(17, &ring[..5], (3, 10));
    let made = before.change(new(), overwrite(b"----****"), Consent::Majority).expect("it is made");
    ring[5..9].iter().for_each(|server| before.switch_off(*server));
    let changed = change(&mut before, &made.cap, patch(0, b"kept")).expect("six of ten take it");
    assert_eq!((changed.voters, changed.placed.len()), (10, 6));

    let mut after = now_full(&mut before, 17, &[], (3, 10));
    after.switch_off(ring[9]);
    let changed = change(&mut after, &made.cap, patch(4, b"also")).expect("more than half take it");
    assert_eq!((changed.voters, changed.placed.len()), (15, 14));
    holds(&mut after, &made.cap, b"keptalso");
}

/// Those who stood in may be silent when the full ones have room again. These have just come: more than half
/// of those that were asked before must be there.
#[test]
fn who_has_room_again_does_not_outvote_who_stood_in() {
    let ring = ring(15);
    let mut before = grid(15, &ring[..2], (3, 10));
    let made = before.change(new(), overwrite(b"----****"), Consent::Majority).expect("it is made");
    ring[6..10].iter().for_each(|server| before.switch_off(*server));
    change(&mut before, &made.cap, patch(0, b"kept")).expect("six of ten take it");

    let mut after = now_full(&mut before, 15, &[], (3, 10));
    let took_it: Vec<usize> = ring[2..6].iter().chain(&ring[10..12]).copied().collect();
    took_it.iter().for_each(|server| after.switch_off(*server));
    let refused = change(&mut after, &made.cap, patch(4, b"also")).expect_err("four of ten are too few");
    assert!(matches!(*refused, ChangeError::TooFew { needed: 6, accepted: 4, .. }), "{refused}");
    took_it.iter().for_each(|server| after.switch_on(*server));
    change(&mut after, &made.cap, patch(4, b"also")).expect("all are there");
    holds(&mut after, &made.cap, b"keptalso");
}

/// Nobody stands in for a full server that is silent: it may hold a share.
#[test]
fn nobody_stands_in_for_who_is_silent() {
    let ring = ring(7);
    let mut before = grid(7, &[], (1, 3));
    let made = before.change(new(), overwrite(b"before"), Consent::Majority).expect("it is made");
    let mut after = now_full(&mut before, 7, &ring[1..3], (1, 3));
    ring[1..3].iter().for_each(|server| after.switch_off(*server));
    let refused = change(&mut after, &made.cap, overwrite(b"after")).expect_err("one of three is too few");
    assert!(matches!(*refused, ChangeError::TooFew { needed: 2, voters: 3, accepted: 1, .. }), "{refused}");
    ring[1..2].iter().for_each(|server| after.switch_on(*server));
    change(&mut after, &made.cap, overwrite(b"after")).expect("two of three are enough");
}

/// Whoever comes after the first servers of the ring has no say there, so that it does not matter how many of
/// them are silent.
#[test]
fn who_is_silent_further_along_the_ring_stops_nobody() {
    let ring = ring(14);
    let mut grid = grid(14, &ring[5..12], (1, 3));
    let made = grid.change(new(), overwrite(b"before"), Consent::Majority).expect("it is made");
    ring[3..12].iter().for_each(|server| grid.switch_off(*server));
    let changed = change(&mut grid, &made.cap, overwrite(b"after")).expect("the first three are there");
    assert_eq!((changed.voters, changed.placed.len()), (3, 3));
    // Nor is it waited for.
    let began = grid.now().instant;
    change(&mut grid, &made.cap, overwrite(b"again")).expect("the first three are there");
    let took = grid.now().instant.since(began);
    assert!(took.as_millis() < 500, "{took:?}");
}

/// Where there is no room for all shares, a full server that never had one does not look as if it should.
#[test]
fn a_full_server_without_shares_makes_no_strangers() {
    let mut grid = grid(4, &[0], (3, 10));
    let subject = Subject::New { format: MutableFormat::Mdmf, key: Some(test_key(1)) };
    let (before, after) = (content(1, 26_000_000), content(2, 26_000_000));
    let made = grid.change(subject, overwrite(&before), Consent::Majority).expect("it is made");
    assert!(made.shares_placed() < 10, "there is no room for all");
    change(&mut grid, &made.cap, overwrite(&after)).expect("all are there");
    holds(&mut grid, &made.cap, &after);
}

/// What was acknowledged may have been so by servers that are full and silent now. If it cannot be read, because
/// too few of its shares are there, it must not be passed over.
#[test]
fn what_full_and_silent_servers_agreed_to_is_not_passed_over() {
    let ring = ring(10);
    let mut before = grid(10, &[], (3, 10));
    let made = before.change(new(), overwrite(b"----****"), Consent::Majority).expect("it is made");
    ring[6..].iter().for_each(|server| before.switch_off(*server));
    change(&mut before, &made.cap, patch(0, b"kept")).expect("six of ten take it");

    let mut after = now_full(&mut before, 10, &ring[..4], (3, 10));
    ring[..4].iter().for_each(|server| after.switch_off(*server));
    let refused = change(&mut after, &made.cap, patch(4, b"also")).expect_err("two of its shares are there");
    assert!(matches!(*refused, ChangeError::Unreadable { .. }), "{refused}");
    ring[..4].iter().for_each(|server| after.switch_on(*server));
    change(&mut after, &made.cap, patch(4, b"also")).expect("all are there");
    holds(&mut after, &made.cap, b"keptalso");
}

/// Connections to these servers break when they are to write.
#[derive(Clone, Default)]
struct CutAtWrites(Rc<RefCell<BTreeSet<usize>>>);

impl Tamper for CutAtWrites {
    fn frame(&mut self, _from: usize, to: usize, frame: Frame) -> Vec<Passage> {
        let writes = |frame: &Frame| {
            let message = Message::open(frame.clone()).ok()?;
            let request =
                (message.envelope.kind == Kind::Request).then(|| message.body::<StorageRequest>())?;
            Some(matches!(request, Ok(StorageRequest::ReadTestWrite { shares, .. }) if !shares.is_empty()))
        };
        match self.0.borrow().contains(&to) && writes(&frame) == Some(true) {
            true => vec![Passage::Cut],
            false => pass(frame),
        }
    }
}

/// A change that is refused, though whoever can be reached has taken it: its writer asks nobody first.
fn leave_over<T: Tamper>(grid: &mut MemoryGrid<T>, cap: &MutableCap, change: Change) {
    grid.change(Subject::Existing(cap.clone()), change, Consent::Servers(8)).expect_err("too few took it");
}

/// Of versions with one number, of which one was acknowledged and the others were refused, that one alone is
/// built upon.
#[test]
fn a_leftover_does_not_prevail_over_what_was_acknowledged() {
    let ring = ring(10);
    for turn in 0..8 {
        let cut = CutAtWrites::default();
        let mut grid = MemoryGrid::new(&GridSetup::new(3, 10), cut.clone());
        let made = grid.change(new(), overwrite(b"----****"), Consent::Majority).expect("it is made");
        *cut.0.borrow_mut() = ring[..6].iter().copied().collect();
        leave_over(&mut grid, &made.cap, patch(0, &[b'x', turn, 0, 0]));
        cut.0.borrow_mut().clear();
        ring[6..].iter().for_each(|server| grid.switch_off(*server));
        change(&mut grid, &made.cap, patch(0, b"kept")).expect("six of ten");
        ring[6..].iter().for_each(|server| grid.switch_on(*server));
        // One of them is missing to see that it won.
        grid.switch_off(ring[5]);
        change(&mut grid, &made.cap, patch(4, b"also")).expect("nine of ten");
        grid.switch_on(ring[5]);
        holds(&mut grid, &made.cap, b"keptalso");
    }
}

/// If each of two versions may have been acknowledged, a part of the file is not replaced in either.
#[test]
fn parts_wait_until_it_can_be_told_what_was_acknowledged() {
    let ring = ring(10);
    let cut = CutAtWrites::default();
    let mut grid = MemoryGrid::new(&GridSetup::new(3, 10), cut.clone());
    let made = grid.change(new(), overwrite(b"----****"), Consent::Majority).expect("it is made");
    *cut.0.borrow_mut() = ring[..6].iter().copied().collect();
    leave_over(&mut grid, &made.cap, patch(0, b"lost"));
    cut.0.borrow_mut().clear();
    ring[6..].iter().for_each(|server| grid.switch_off(*server));
    change(&mut grid, &made.cap, patch(0, b"kept")).expect("six of ten");
    ring[6..9].iter().for_each(|server| grid.switch_on(*server));
    // Three have the one, three the other, and four are silent.
    ring[3..6].iter().for_each(|server| grid.switch_off(*server));
    let refused = change(&mut grid, &made.cap, patch(4, b"also")).expect_err("nobody can tell");
    assert!(matches!(*refused, ChangeError::Divided { .. }), "{refused}");
    ring[3..5].iter().for_each(|server| grid.switch_on(*server));
    change(&mut grid, &made.cap, patch(4, b"also")).expect("now it can be told");
    [ring[5], ring[9]].iter().for_each(|server| grid.switch_on(*server));
    holds(&mut grid, &made.cap, b"keptalso");
}

/// A file of which two servers have the third version, which is too few to read it, four the second, and four the
/// first.
fn three_versions(
    ring: &[usize],
    format: MutableFormat,
    first: &[u8],
    second: Change,
) -> (MemoryGrid<CutAtWrites>, MutableCap) {
    let cut = CutAtWrites::default();
    let mut grid = MemoryGrid::new(&GridSetup::new(3, 10), cut.clone());
    let subject = Subject::New { format, key: Some(test_key(1)) };
    let cap = grid.change(subject, overwrite(first), Consent::Majority).expect("it is made").cap;
    *cut.0.borrow_mut() = ring[6..].iter().copied().collect();
    change(&mut grid, &cap, second).expect("six of ten take it");
    *cut.0.borrow_mut() = ring[2..].iter().copied().collect();
    leave_over(&mut grid, &cap, overwrite(b"lost"));
    cut.0.borrow_mut().clear();
    (grid, cap)
}

/// A version that cannot be read is passed over if it cannot have been acknowledged. If so many are behind the one
/// before it that something unseen could still be acknowledged in its place, they are given that one first.
#[test]
fn what_was_before_an_unreadable_version_is_completed() {
    let ring = ring(10);
    for format in [MutableFormat::Sdmf, MutableFormat::Mdmf] {
        let long = content(1, 300_000);
        let (mut grid, cap) = three_versions(&ring, format, &long, patch(0, b"kept"));
        let changed = change(&mut grid, &cap, patch(4, b"also")).expect("all are there");
        assert_eq!((changed.version.sequence, changed.placed.len()), (3, 8), "{format:?}");
        let expected = [b"keptalso", &long[8..]].concat();
        holds(&mut grid, &cap, &expected);
        // Any four of those who had to be given the second have enough of the third.
        ring[..6].iter().for_each(|server| grid.switch_off(*server));
        holds(&mut grid, &cap, &expected);
    }
}

/// Who is behind is not given a version that may have been passed over already.
#[test]
fn nothing_is_completed_if_something_unseen_may_have_counted() {
    let ring = ring(10);
    let (mut grid, cap) = three_versions(&ring, MutableFormat::Sdmf, b"----****", patch(0, b"kept"));
    // With the two that have the third version, four may have had another second one.
    ring[2..6].iter().for_each(|server| grid.switch_off(*server));
    let refused = change(&mut grid, &cap, patch(4, b"also")).expect_err("what counts is not there");
    assert!(matches!(*refused, ChangeError::Unreadable { .. }), "{refused}");
    ring[2..6].iter().for_each(|server| grid.switch_on(*server));
    change(&mut grid, &cap, patch(4, b"also")).expect("all are there");
    holds(&mut grid, &cap, b"keptalso");
}

/// A version that too many have refused to be accepted by enough is not given to the others.
#[test]
fn what_cannot_be_accepted_is_not_spread() {
    let ring = ring(10);
    let cut = CutAtWrites::default();
    let mut grid = MemoryGrid::new(&GridSetup::new(3, 10), cut.clone());
    let made = grid.change(new(), overwrite(b"before"), Consent::Majority).expect("it is made");
    *cut.0.borrow_mut() = ring[..5].iter().copied().collect();
    change(&mut grid, &made.cap, overwrite(b"lost")).expect_err("five of ten");
    cut.0.borrow_mut().clear();
    let changed = change(&mut grid, &made.cap, overwrite(b"after")).expect("all are there");
    assert_eq!((changed.version.sequence, changed.placed.len()), (2, 10));
    holds(&mut grid, &made.cap, b"after");
}

/// Servers that are behind after a refused change, and whose disks have room for nothing, keep nobody from changing
/// the file, though they answer: not if they come first, nor if they come last.
#[test]
fn who_is_behind_and_full_stops_nobody() {
    let ring = ring(10);
    for with_room in [5..6, 5..9, 6..10, 5..10] {
        let mut grid = grid(10, &[], (3, 10));
        let made = grid.change(new(), overwrite(b"----****"), Consent::Majority).expect("it is made");
        ring[5..].iter().for_each(|server| grid.disk(*server).fault = Some(Fault::Full));
        leave_over(&mut grid, &made.cap, patch(0, b"left"));
        ring[with_room.clone()].iter().for_each(|server| grid.disk(*server).fault = None);
        let changed = change(&mut grid, &made.cap, patch(4, b"also")).expect("more than half have room");
        assert_eq!(changed.placed.len(), 5 + with_room.len(), "{with_room:?}");
        holds(&mut grid, &made.cap, b"leftalso");
        let full = changed.trouble.iter().filter(|of| of.trouble.to_string().contains("full")).count();
        assert_eq!(full, 5 - with_room.len(), "{:?}", changed.trouble);
    }
}

/// Nor if others have joined, who have nothing and are given nothing before the others have agreed.
#[test]
fn who_is_behind_and_full_stops_nobody_when_others_have_joined() {
    let ring = ring(11);
    let mut before = grid(11, &ring[..1], (3, 10));
    let made = before.change(new(), overwrite(b"----****"), Consent::Majority).expect("it is made");
    ring[6..].iter().for_each(|server| before.disk(*server).fault = Some(Fault::Full));
    leave_over(&mut before, &made.cap, patch(0, b"left"));
    let mut after = now_full(&mut before, 11, &[], (3, 10));
    ring[6..10].iter().for_each(|server| after.disk(*server).fault = None);
    let changed = change(&mut after, &made.cap, patch(4, b"also")).expect("ten of eleven have room");
    assert_eq!(changed.placed.len(), 10);
    holds(&mut after, &made.cap, b"leftalso");
}

/// Who is told that a change was refused is told, too, whether it may show up all the same.
#[test]
fn what_may_show_up_is_said() {
    let ring = ring(10);
    let cut = CutAtWrites::default();
    let mut grid = MemoryGrid::new(&GridSetup::new(3, 10), cut.clone());
    let made = grid.change(new(), overwrite(b"before"), Consent::Majority).expect("it is made");
    ring[..5].iter().for_each(|server| grid.disk(*server).fault = Some(Fault::Full));
    let refused = change(&mut grid, &made.cap, overwrite(b"after")).expect_err("five have room");
    assert!(matches!(*refused, ChangeError::TooFew { may_show_up: false, .. }), "{refused}");
    ring[..5].iter().for_each(|server| grid.disk(*server).fault = None);
    // A connection that breaks does not say what was done.
    *cut.0.borrow_mut() = ring[..5].iter().copied().collect();
    let refused = change(&mut grid, &made.cap, overwrite(b"after")).expect_err("five of ten");
    assert!(matches!(*refused, ChangeError::TooFew { may_show_up: true, .. }), "{refused}");
    assert!(refused.to_string().contains("may still show up"), "{refused}");
    *cut.0.borrow_mut() = ring[5..].iter().copied().collect();
    let refused = change(&mut grid, &made.cap, overwrite(b"after")).expect_err("five of ten");
    assert!(matches!(*refused, ChangeError::TooFew { accepted: 5, may_show_up: true, .. }), "{refused}");
}

/// The same if a version that cannot be read is there, and the one before it has to be completed.
#[test]
fn who_is_late_and_full_stops_nobody() {
    let ring = ring(10);
    for full in [6, 9] {
        let (mut grid, cap) = three_versions(&ring, MutableFormat::Sdmf, b"----****", patch(0, b"kept"));
        grid.disk(ring[full]).fault = Some(Fault::Full);
        let changed = change(&mut grid, &cap, patch(4, b"also")).expect("nine of ten have room");
        assert_eq!((changed.version.sequence, changed.placed.len()), (3, 7));
        holds(&mut grid, &cap, b"keptalso");
    }
}

/// Connections that break once when those behind are to be given something cost a change another try.
#[test]
fn who_breaks_off_a_write_stops_nobody() {
    let ring = ring(10);
    for broken in [5, 6, 9] {
        let cut = CutAtWrites::default();
        let mut grid = MemoryGrid::new(&GridSetup::new(3, 10), cut.clone());
        let made = grid.change(new(), overwrite(b"----****"), Consent::Majority).expect("it is made");
        *cut.0.borrow_mut() = ring[5..].iter().copied().collect();
        leave_over(&mut grid, &made.cap, patch(0, b"left"));
        *cut.0.borrow_mut() = [ring[broken]].into();
        let changed = change(&mut grid, &made.cap, patch(4, b"also")).expect("nine of ten take it");
        assert_eq!(changed.placed.len(), 9);
        holds(&mut grid, &made.cap, b"leftalso");
    }
}

/// Nothing at all can be completed, too.
#[test]
fn an_empty_version_is_completed() {
    let ring = ring(10);
    for format in [MutableFormat::Sdmf, MutableFormat::Mdmf] {
        let (mut grid, cap) = three_versions(&ring, format, b"before", overwrite(b""));
        let changed = change(&mut grid, &cap, patch(0, b"after")).expect("all are there");
        assert_eq!((changed.version.sequence, changed.placed.len()), (3, 8), "{format:?}");
        holds(&mut grid, &cap, b"after");
    }
}

/// Another literal file for each number.
fn small_file(number: u64) -> String {
    const DIGITS: &[u8] = b"acegikmoqsuwy246";
    let place = usize::try_from(number).expect("a small number") % DIGITS.len();
    format!("URI:LIT:krugkidfnzsc{}", char::from(DIGITS[place]))
}

/// An edit of a directory: what a name leads to.
fn link(name: &str, cap: &str) -> Edit {
    let child = Child::new(None, Some(cap), DirectoryKind::Mutable).expect("a child");
    let (name, metadata) = (Name::new(name).expect("a good name"), None);
    Edit::Link { name, child, metadata, replace: Replace::Anything, seen: Seen::Unchecked }
}

/// A writer who reaches only servers that have just come, and one of the old ones, must not make holders of
/// them: these would be the first of the ring, and more than half of those.
#[test]
fn a_minority_does_not_make_itself_the_holders() {
    let ring = ring(6);
    let setup = |full: &[usize]| GridSetup { servers: 6, read_only: full.to_vec(), ..GridSetup::new(1, 3) };
    let cut = CutAtWrites::default();
    let mut before = MemoryGrid::new(&setup(&ring[..3]), cut.clone());
    let made = before.change(new(), overwrite(b"----****"), Consent::Majority).expect("it is made");
    let mut grid = MemoryGrid::new(&setup(&[]), cut.clone());
    (0..6).for_each(|server| *grid.disk(server) = before.disk(server).clone());

    *cut.0.borrow_mut() = [ring[0], ring[3], ring[4]].into();
    let refused = change(&mut grid, &made.cap, patch(0, b"lost")).expect_err("one of three is too few");
    assert!(matches!(*refused, ChangeError::TooFew { .. }), "{refused}");
    cut.0.borrow_mut().clear();
    ring[1..3].iter().for_each(|server| grid.switch_off(*server));
    let kept = change(&mut grid, &made.cap, patch(0, b"kept"));
    ring[1..3].iter().for_each(|server| grid.switch_on(*server));
    let others = [ring[0], ring[3], ring[4]];
    others.iter().for_each(|server| grid.switch_off(*server));
    change(&mut grid, &made.cap, patch(4, b"also")).expect_err("one of three is too few");
    others.iter().for_each(|server| grid.switch_on(*server));
    // Of the first three only one is there, so it could not be made; had it been, it would be there.
    kept.expect_err("one of the first three");
    change(&mut grid, &made.cap, patch(4, b"now!")).expect("all are there");
    let got = grid.read(&made.cap.read_cap());
    assert_eq!(&got.content[4..], b"now!");
}

/// Servers become full and have room again, are off, and lose their connections in the middle of changes of a
/// directory. In the end it has every name that was acknowledged, and the name that all changes replace leads
/// to what was acknowledged last, or to something later. Returns how many were acknowledged.
fn history(seed: u64, servers: usize, shares: (u16, u16)) -> Result<usize, String> {
    let mut dice = content(seed, 4_096).into_iter();
    let mut some = |one_in: u8| -> Vec<usize> {
        (0..servers).filter(|_| dice.next().expect("enough dice").is_multiple_of(one_in)).collect()
    };
    let setup = |full: &[usize]| GridSetup {
        servers,
        read_only: full.to_vec(),
        ..GridSetup::new(shares.0, shares.1)
    };
    let cut = CutAtWrites::default();
    let mut grid = MemoryGrid::new(&setup(&some(3)), cut.clone());
    let Ok(made) = grid.change(new(), overwrite(b""), Consent::Majority) else { return Ok(0) };
    let (mut story, mut acknowledged) = (String::new(), Vec::new());
    for number in 0..=12 {
        let calm = number == 12;
        let [full, off, breaks] = [3, 3, 4].map(|one_in| if calm { Vec::new() } else { some(one_in) });
        let mut next = MemoryGrid::new(&setup(&full), cut.clone());
        (0..servers).for_each(|server| *next.disk(server) = grid.disk(server).clone());
        grid = next;
        off.iter().for_each(|server| grid.switch_off(*server));
        *cut.0.borrow_mut() = breaks.iter().copied().collect();
        // Each grid begins at the same time.
        grid.run(Duration::from_secs(2 * number));
        let name = format!("name {number}");
        let edits = vec![link(&name, &small_file(0)), link("same", &small_file(number))];
        let result = change(&mut grid, &made.cap, Change::Edit(Edits(edits)));
        cut.0.borrow_mut().clear();
        off.iter().for_each(|server| grid.switch_on(*server));
        story += &format!("{name}: full {full:?}, off {off:?}, cut {breaks:?}: ");
        story += &match &result {
            Ok(changed) => format!("{changed}\n"),
            Err(error) => format!("{error}\n"),
        };
        acknowledged.extend(result.is_ok().then_some((number, name)));
    }
    let got = grid.read(&made.cap.read_cap());
    let table = String::from_utf8_lossy(&got.content).into_owned();
    let ring = || ring(servers);
    if let Some((_, name)) = acknowledged.iter().find(|(_, name)| !table.contains(&format!("{name},"))) {
        return Err(format!("{name} is lost\n{story}ring {:?}", ring()));
    }
    let last = acknowledged.last().map_or(0, |(number, _)| *number);
    let leads_to = |cap: String| table.contains(&format!("4:same,{}:{cap},", cap.len()));
    match (last..=12).any(|number| leads_to(small_file(number))) {
        false if !acknowledged.is_empty() => {
            Err(format!("what change {last} replaced is back\n{story}ring {:?}", ring()))
        }
        _ => Ok(acknowledged.len()),
    }
}

#[test]
fn nothing_is_lost_while_servers_are_full_and_have_room_again() {
    let (mut acknowledged, mut lost) = (0, Vec::new());
    for seed in 0..HISTORIES {
        for (servers, shares) in
            [(7, (1, 3)), (8, (1, 4)), (9, (1, 6)), (8, (2, 6)), (9, (2, 7)), (12, (3, 10))]
        {
            match history(seed, servers, shares) {
                Ok(count) => acknowledged += count,
                Err(how) => lost.push(format!("seed {seed}, {servers} servers, {shares:?}: {how}")),
            }
        }
    }
    println!("{acknowledged} changes acknowledged");
    assert!(lost.is_empty(), "{} of {HISTORIES}: {}", lost.len(), lost.join("\n\n"));
    assert!(acknowledged > 4 * HISTORIES as usize, "{acknowledged} changes acknowledged");
}
