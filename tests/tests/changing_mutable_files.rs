//! Mutable files that are made, overwritten and read back, on servers that behave and on some that do not.

use tallac_core::capability::{MutableCap, MutableFormat};
use tallac_core::directory::{Child, DirectoryKind, Edit, EditProblem, Name, Only, Replace, Seen};
use tallac_core::mutable::{Change, ChangeError, Changed, Consent, Edits, Subject};
use tallac_core::payload::Payload;
use tallac_soft_rsa::test_key;
use tallac_tests::content;
use tallac_tests::memory_grid::{Fault, GridSetup, Honest, MemoryGrid};

type Grid = MemoryGrid<Honest>;

fn overwrite(content: &[u8]) -> Change {
    Change::Overwrite(Payload::from(content.to_vec()))
}

fn make(grid: &mut Grid, format: MutableFormat, key: usize, content: &[u8]) -> Box<Changed> {
    let key = Some(test_key(key));
    grid.change(Subject::New { format, key }, overwrite(content), Consent::Majority).expect("it is made")
}

#[track_caller]
fn holds(grid: &mut Grid, cap: &MutableCap, expected: &[u8]) {
    let got = grid.read(&cap.read_cap());
    assert!(got.result.is_ok(), "{:?}", got.result);
    assert!(got.content == expected, "{} bytes instead of {}", got.content.len(), expected.len());
}

#[test]
fn every_size_comes_back() {
    for (needed, total) in [(1, 1), (1, 4), (3, 10)] {
        for format in [MutableFormat::Sdmf, MutableFormat::Mdmf] {
            let mut grid = Grid::new(&GridSetup::new(needed, total), Honest);
            let cap = make(&mut grid, format, 1, b"").cap;
            holds(&mut grid, &cap, b"");
            for (sequence, len) in
                [(2, 1), (3, 2_999), (4, 131_072), (5, 131_074), (6, 300_001), (7, 10), (8, 0)]
            {
                let new = content(sequence, len);
                let changed = grid
                    .change(Subject::Existing(cap.clone()), overwrite(&new), Consent::Majority)
                    .expect("it is");
                assert_eq!(changed.version.sequence, sequence);
                assert_eq!((changed.shares_placed(), changed.voters), (total.into(), total.into()));
                holds(&mut grid, &cap, &new);
            }
        }
    }
}

#[test]
fn fewer_servers_than_shares() {
    let setup = GridSetup { servers: 3, ..GridSetup::new(3, 10) };
    let mut grid = Grid::new(&setup, Honest);
    let changed = make(&mut grid, MutableFormat::Sdmf, 2, b"on three servers");
    assert_eq!((changed.placed.len(), changed.shares_placed()), (3, 10));
    let cap = changed.cap;
    grid.switch_off(1);
    let changed = grid.change(Subject::Existing(cap.clone()), overwrite(b"on two"), Consent::Majority);
    assert_eq!(changed.expect("two are more than half").placed.len(), 2);
    holds(&mut grid, &cap, b"on two");
    grid.switch_off(2);
    let refused = grid.change(Subject::Existing(cap), overwrite(b"on one"), Consent::Majority).unwrap_err();
    assert!(matches!(*refused, ChangeError::TooFew { needed: 2, voters: 3, accepted: 1, .. }), "{refused}");
    assert!(refused.to_string().contains("needs 2 of 3 servers"), "{refused}");
}

/// With half of the servers gone nothing is changed; what was there stays.
#[test]
fn without_a_majority_nothing_is_written() {
    let mut grid = Grid::new(&GridSetup::new(3, 10), Honest);
    let cap = make(&mut grid, MutableFormat::Mdmf, 3, b"before").cap;
    (0..5).for_each(|server| grid.switch_off(server));
    let refused = grid.change(Subject::Existing(cap.clone()), overwrite(b"after"), Consent::Majority);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("needs 6 of 10 servers, 5 took part"), "{refused}");
    holds(&mut grid, &cap, b"before");
    // A file with one writer needs as many as were promised, no more.
    let changed = grid.change(Subject::Existing(cap.clone()), overwrite(b"after"), Consent::Servers(5));
    assert_eq!(changed.expect("five are enough").placed.len(), 5);
    holds(&mut grid, &cap, b"after");
}

#[test]
fn full_disks_are_never_false_success() {
    let mut grid = Grid::new(&GridSetup::new(3, 10), Honest);
    let cap = make(&mut grid, MutableFormat::Sdmf, 4, &content(1, 1_000)).cap;
    (0..4).for_each(|server| grid.disk(server).fault = Some(Fault::Full));
    let new = content(2, 5_000);
    let changed =
        grid.change(Subject::Existing(cap.clone()), overwrite(&new), Consent::Majority).expect("six take it");
    assert_eq!(changed.placed.len(), 6);
    assert_eq!(changed.trouble.len(), 4, "{:?}", changed.trouble);
    holds(&mut grid, &cap, &new);
    grid.disk(4).fault = Some(Fault::Full);
    let refused = grid.change(Subject::Existing(cap), overwrite(b"more"), Consent::Majority).unwrap_err();
    assert!(matches!(*refused, ChangeError::TooFew { accepted: 5, .. }), "{refused}");
}

#[test]
fn edits_of_a_directory() {
    let mut grid = Grid::new(&GridSetup::new(3, 10), Honest);
    let cap = make(&mut grid, MutableFormat::Sdmf, 5, b"").cap;
    let name = |text: &str| Name::new(text).expect("a good name");
    let link = |text: &str, replace| {
        let child = Child::new(None, Some("URI:LIT:krugkidfnzsc4"), DirectoryKind::Mutable).expect("a child");
        Edit::Link { name: name(text), child, metadata: None, replace, seen: Seen::Unchecked }
    };
    let unlink = |text: &str| {
        let seen = Seen::Unchecked;
        Edit::Unlink { name: name(text), must_exist: true, only: Only::Anything, seen }
    };
    let mut edit = |edits: Vec<Edit>| {
        grid.change(Subject::Existing(cap.clone()), Change::Edit(Edits(edits)), Consent::Majority)
    };
    let many = (0..100).map(|number| link(&format!("child {number}"), Replace::Nothing)).collect();
    assert_eq!(edit(many).expect("they are linked").outcomes.len(), 100);
    let problem = |result: Result<Box<Changed>, Box<ChangeError>>| match *result.unwrap_err() {
        ChangeError::Edit { error, .. } => error.problem,
        other => panic!("{other}"),
    };
    assert_eq!(problem(edit(vec![link("child 7", Replace::Nothing)])), EditProblem::Exists);
    assert_eq!(problem(edit(vec![unlink("child 100")])), EditProblem::NoSuchChild);
    // All or nothing.
    assert_eq!(problem(edit(vec![unlink("child 1"), unlink("nobody")])), EditProblem::NoSuchChild);
    // One edit of a batch may undo another.
    edit(vec![link("passing", Replace::Nothing), unlink("passing")]).expect("it comes and goes");
    edit((0..100).map(|number| unlink(&format!("child {number}"))).collect()).expect("all are there");
    holds(&mut grid, &cap, b"");
}
