//! The shared root on a grid in memory: made by a node, given to another, with whole nodes of the core
//! and what may go wrong between them.

use std::time::Duration;
use tallac_core::capability::{DirectoryCap, MutableCap};
use tallac_core::disk::StorePath;
use tallac_core::vdrive::{RootText, SharedRoot, VdriveAnswer};
use tallac_core::wire::{Frame, Kind, Message};
use tallac_tests::memory_grid::{Fault, GridSetup, Honest, MemoryGrid, Passage, Tamper, pass};

fn setup() -> GridSetup {
    GridSetup { vdrive: true, ..GridSetup::new(2, 4) }
}

/// The root that the client keeps, if the same is on the server's disk.
fn kept<T: Tamper>(grid: &mut MemoryGrid<T>) -> Option<MutableCap> {
    let client = grid.client();
    let root = grid.node(client).shared_root().cloned()?;
    let SharedRoot::Write(cap) = &root else { panic!("{root:?} is not what vdrive.furl gives") };
    let line = format!("{}\n", DirectoryCap::Mutable(cap.clone())).into_bytes();
    assert_eq!(grid.disk(client).files.get(&StorePath::SharedRoot), Some(&line), "durable before it is used");
    assert_eq!(grid.disk(0).files.get(&StorePath::VdriveRoot), Some(&line), "durable before it is given");
    Some(cap.clone())
}

#[test]
fn a_root_is_made_and_can_be_read_by_who_was_given_it() {
    let mut grid = MemoryGrid::new(&setup(), Honest);
    grid.run(Duration::from_secs(30));
    let cap = kept(&mut grid).expect("a root");
    let read = grid.read(&cap.read_cap());
    read.result.expect("the directory can be read");
    assert!(read.content.is_empty(), "and is empty");
    // It stays what it is while the vdrive server is away, and after it has come back.
    grid.switch_off(0);
    grid.run(Duration::from_secs(3 * 24 * 3600));
    grid.switch_on(0);
    grid.run(Duration::from_secs(3 * 24 * 3600));
    assert_eq!(kept(&mut grid), Some(cap));
}

#[test]
fn nothing_is_given_while_the_vdrive_server_cannot_keep_it() {
    let mut grid = MemoryGrid::new(&setup(), Honest);
    grid.disk(0).fault = Some(Fault::Full);
    for _ in 0..60 {
        grid.run(Duration::from_secs(10));
        assert_eq!(kept(&mut grid), None);
        assert!(!grid.disk(0).files.contains_key(&StorePath::VdriveRoot));
    }
    grid.disk(0).fault = None;
    grid.run(Duration::from_secs(20 * 60));
    assert!(kept(&mut grid).is_some());
}

#[test]
fn no_root_is_made_with_too_few_servers() {
    let setup = GridSetup { read_only: vec![2, 3], ..setup() };
    let mut grid = MemoryGrid::new(&setup, Honest);
    grid.run(Duration::from_secs(600));
    assert_eq!(kept(&mut grid), None);
    assert_eq!(grid.disk(0).shares().count(), 0);
}

/// Gives something else for the root.
struct Forger {
    with: Option<RootText>,
    given: usize,
}

impl Tamper for Forger {
    fn frame(&mut self, from: usize, _to: usize, frame: Frame) -> Vec<Passage> {
        if from != 0 {
            return pass(frame);
        }
        let Ok(message) = Message::open(frame.clone()) else { return pass(frame) };
        let answer = (message.envelope.kind == Kind::Answer).then(|| message.body::<VdriveAnswer>());
        match (answer, &self.with) {
            // An answer of the storage service can look like this only if it begins with `URI:`.
            (Some(Ok(VdriveAnswer::Root(text))), Some(other)) if text.expose().starts_with("URI:") => {
                self.given += 1;
                let forged = VdriveAnswer::Root(other.clone());
                pass(Message::seal(Kind::Answer, message.envelope.id, &forged, Vec::new()))
            }
            _ => pass(frame),
        }
    }
}

#[test]
fn what_is_no_directory_is_not_kept() {
    for with in ["URI:LIT:krugkidfnzsc4", "nothing", &"x".repeat(100_000)] {
        let mut grid = MemoryGrid::new(&setup(), Forger { with: Some(RootText::new(with)), given: 0 });
        grid.run(Duration::from_secs(5 * 3600));
        assert!((2..20).contains(&grid.tamper.given), "asked {} times", grid.tamper.given);
        assert_eq!(kept(&mut grid), None);
        let warned = grid.notices.iter().filter(|text| text.contains("is no shared root")).count();
        assert_eq!(warned, 1, "{:?}", grid.notices);
        // The server mends its ways.
        grid.tamper.with = None;
        grid.run(Duration::from_secs(5 * 3600));
        assert!(kept(&mut grid).is_some());
    }
}

#[test]
fn another_root_is_warned_of() {
    let mut grid = MemoryGrid::new(&setup(), Forger { with: None, given: 0 });
    grid.run(Duration::from_secs(30));
    let first = kept(&mut grid).expect("a root");
    let other = MutableCap { fingerprint: tallac_core::hash::Hash([9; 32]), ..first.clone() };
    grid.tamper.with = Some(SharedRoot::Write(other).text());
    grid.run(Duration::from_secs(5 * 24 * 3600));
    assert!(grid.tamper.given >= 2);
    assert_eq!(kept(&mut grid), Some(first));
    let warned = grid.notices.iter().filter(|text| text.contains("another shared root")).count();
    assert_eq!(warned, 1, "{:?}", grid.notices);
}
