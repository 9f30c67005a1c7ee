//! Changes of mutable files that single servers could prevent: by lies, by damaged shares, by disks that fail late.

use std::cell::RefCell;
use std::rc::Rc;
use tallac_core::capability::{MutableCap, MutableFormat};
use tallac_core::disk::StorePath;
use tallac_core::mutable::{ChangeError, Consent, Subject, parse_header};
use tallac_core::storage::protocol::{StorageAnswer, StorageError, StorageRequest};
use tallac_core::storage::slot::container::DATA_OFFSET;
use tallac_core::wire::{Frame, Kind, Message};
use tallac_soft_rsa::test_key;
use tallac_tests::content;
use tallac_tests::liar::{Exchange, Liar, answer_frame};
use tallac_tests::memory_grid::{Fault, GridSetup, Honest, MemoryGrid, Passage, Tamper, pass};
use tallac_tests::mutable_files::{change, holds, overwrite, patch};

fn make<T: Tamper>(grid: &mut MemoryGrid<T>, format: MutableFormat, content: &[u8]) -> MutableCap {
    let subject = Subject::New { format, key: Some(test_key(1)) };
    grid.change(subject, overwrite(content), Consent::Majority).expect("it is made").cap
}

/// Turns writes away without carrying them out, as if somebody else had been faster.
#[derive(Default)]
struct TurnsAway {
    /// Which server does; all, if not said.
    server: Option<usize>,
    /// How many more.
    left: Rc<RefCell<u32>>,
    /// It shows something new each time.
    alters: bool,
    turned: Option<(usize, u64)>,
}

impl TurnsAway {
    fn answer(&self, id: u64, message: &Message, shares: Vec<(u16, Vec<u64>)>) -> Frame {
        let mut bulk = message.bulk.bytes().expect("real bytes").to_vec();
        let at = 1 + *self.left.borrow() as usize % 8;
        if let Some(byte) = bulk.get_mut(at).filter(|_| self.alters) {
            *byte ^= 0x80;
        }
        answer_frame(id, &StorageAnswer::Tested { success: false, shares }, &bulk)
    }
}

impl Tamper for TurnsAway {
    fn frame(&mut self, from: usize, to: usize, frame: Frame) -> Vec<Passage> {
        let message = Message::open(frame.clone()).expect("nodes send messages");
        let id = message.envelope.id;
        if message.envelope.kind == Kind::Answer && self.turned == Some((from, id)) {
            let Ok(StorageAnswer::Tested { shares, .. }) = message.body() else { return pass(frame) };
            return pass(self.answer(id, &message, shares));
        }
        if message.envelope.kind != Kind::Request || self.server.is_some_and(|server| server != to) {
            return pass(frame);
        }
        let Ok(mut request) = message.body::<StorageRequest>() else { return pass(frame) };
        let StorageRequest::ReadTestWrite { shares, .. } = &mut request else { return pass(frame) };
        let mut left = self.left.borrow_mut();
        if *left == 0 || shares.is_empty() {
            return pass(frame);
        }
        *left -= 1;
        self.turned = Some((to, id));
        shares.clear();
        pass(Message::seal(Kind::Request, id, &request, Vec::new()))
    }
}

/// A server that turns every version away stops nobody, also if it is asked first. Of the ten each is so once.
#[test]
fn who_turns_everything_away_stops_nobody() {
    const MANY: u32 = 1_000;
    for (server, alters) in (0..10).flat_map(|server| [(server, false), (server, true)]) {
        let left = Rc::new(RefCell::new(0));
        let liar = TurnsAway { server: Some(server), left: left.clone(), alters, turned: None };
        let mut grid = MemoryGrid::new(&GridSetup::new(3, 10), liar);
        let cap = make(&mut grid, MutableFormat::Sdmf, b"before");
        *left.borrow_mut() = MANY;
        for text in [&b"after"[..], b"later"] {
            let changed = change(&mut grid, &cap, overwrite(text));
            let changed = changed.unwrap_or_else(|error| panic!("{server}, {alters}: {error}"));
            assert_eq!(changed.placed.len(), 9, "{server}, {alters}");
            holds(&mut grid, &cap, text);
        }
        assert!((MANY - 8..MANY).contains(&left.borrow()), "{server}: {} left", left.borrow());
    }
}

/// A version that shows as readable, and is not, since a block of one of its shares is damaged: it is passed over
/// if it cannot have been acknowledged.
#[test]
fn a_damaged_share_of_a_leftover_stops_nobody() {
    let cut = Rc::new(RefCell::new(Vec::new()));
    let refusing = cut.clone();
    let lies = Liar::new(move |exchange: Exchange| match refusing.borrow().contains(&exchange.server) {
        true if exchange.is_of_a_write() => exchange.fail(StorageError::Full),
        _ => exchange.honest(),
    });
    let mut grid = MemoryGrid::new(&GridSetup::new(3, 10), lies);
    let first = content(1, 3_000);
    let cap = make(&mut grid, MutableFormat::Sdmf, &first);
    let before: Vec<_> = (3..10).map(|server| grid.disk(server).clone()).collect();
    *cut.borrow_mut() = (3..10).collect();
    let leftover = patch(0, b"lost");
    grid.change(Subject::Existing(cap.clone()), leftover, Consent::Servers(8)).expect_err("too few took it");
    cut.borrow_mut().clear();
    // What they said is so.
    before.into_iter().zip(3..).for_each(|(disk, server)| *grid.disk(server) = disk);
    let (_, share) = grid.disk(0).shares().next().expect("it has one");
    let start = DATA_OFFSET as usize;
    let (_, layout) = parse_header(&share[start..]).expect("a share");
    share[start + layout.data_range().start as usize] ^= 1;
    let changed = change(&mut grid, &cap, patch(4, b"also")).expect("nobody can have counted on it");
    assert_eq!(changed.version.sequence, 2);
    let mut expected = first;
    expected[4..8].copy_from_slice(b"also");
    holds(&mut grid, &cap, &expected);
}

/// A disk that fails after a new version has taken the place of the old one does not say that nothing was changed.
#[test]
fn a_disk_that_fails_late_leaves_it_open() {
    let mut grid = MemoryGrid::new(&GridSetup::new(1, 1), Honest);
    let cap = make(&mut grid, MutableFormat::Sdmf, b"before");
    let first = grid.disk(0).files.clone();
    for (fault, is_changed) in [(Fault::Full, false), (Fault::ForgetfulOfNames, true)] {
        grid.disk(0).fault = Some(fault);
        let refused = change(&mut grid, &cap, overwrite(b"after")).expect_err("it cannot be made to last");
        let ChangeError::TooFew { may_show_up, .. } = *refused else { panic!("{refused}") };
        assert_eq!(may_show_up, is_changed, "{refused}");
        let is_share = |(path, _): &(&StorePath, &Vec<u8>)| matches!(path, StorePath::Share(..));
        let now: Vec<_> = grid.disk(0).files.iter().filter(is_share).map(|(_, file)| file.clone()).collect();
        assert_eq!(now != first.values().cloned().collect::<Vec<_>>(), is_changed);
    }
}

/// A file that has grown by parts past what can be made as a whole is changed in parts again if somebody else was
/// faster; and if that is impossible, it is not read first.
#[test]
fn large_files_are_changed_in_parts_again() {
    let beats = Rc::new(RefCell::new(0));
    let mut grid =
        MemoryGrid::new(&GridSetup::new(1, 3), TurnsAway { left: beats.clone(), ..TurnsAway::default() });
    let mut whole = content(2, 15 << 20);
    let cap = make(&mut grid, MutableFormat::Mdmf, &whole);
    let more = content(3, 3 << 20);
    *beats.borrow_mut() = 1;
    change(&mut grid, &cap, patch(whole.len() as u64, &more)).expect("it grows");
    assert_eq!(*beats.borrow(), 0, "nobody was turned away");
    whole.extend(&more);
    let disks: Vec<_> = (0..3).map(|server| grid.disk(server).clone()).collect();
    *beats.borrow_mut() = 1;
    let changed = change(&mut grid, &cap, patch(7, b"again"));
    changed.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(*beats.borrow(), 0, "nobody was turned away");
    whole[7..12].copy_from_slice(b"again");
    holds(&mut grid, &cap, &whole);
    // One server has nothing: parts are nothing to it, and without it they are too few.
    disks.into_iter().enumerate().for_each(|(server, disk)| *grid.disk(server) = disk);
    for server in 0..2 {
        grid.disk(server).files.clear();
    }
    let refused = change(&mut grid, &cap, patch(0, b"nowhere")).expect_err("one of three has it");
    assert!(matches!(*refused, ChangeError::Make(_)), "{refused}");
}
