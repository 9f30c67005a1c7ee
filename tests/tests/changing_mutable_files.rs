//! Mutable files that are made, overwritten and read back, on servers that behave and on some that do not.

use tallac_core::capability::{MutableCap, MutableFormat};
use tallac_core::directory::{
    Access, Child, DirectoryKind, Edit, EditProblem, Name, Only, Replace, Seen, Table,
};
use tallac_core::mutable::{Change, ChangeError, Changed, Consent, Edits, Subject};
use tallac_soft_rsa::test_key;
use tallac_tests::content;
use tallac_tests::memory_grid::{Fault, GridSetup, Honest, MemoryGrid};
use tallac_tests::mutable_files::{self, holds, overwrite};

type Grid = MemoryGrid<Honest>;

fn make(grid: &mut Grid, format: MutableFormat, key: usize, content: &[u8]) -> Box<Changed> {
    let key = Some(test_key(key));
    grid.change(Subject::New { format, key }, overwrite(content), Consent::Majority).expect("it is made")
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

fn patch(
    grid: &mut Grid,
    cap: &MutableCap,
    offset: u64,
    data: &[u8],
) -> Result<Box<Changed>, Box<ChangeError>> {
    mutable_files::change(grid, cap, mutable_files::patch(offset, data))
}

/// What the peer's own rule gives: the part is put in its place, and the file may grow.
fn patched(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    content.resize(content.len().max(offset + data.len()), 0);
    content[offset..offset + data.len()].copy_from_slice(data);
}

#[test]
fn parts_of_every_kind_of_file() {
    const SEGMENT: usize = 131_073;
    for format in [MutableFormat::Sdmf, MutableFormat::Mdmf] {
        let mut grid = Grid::new(&GridSetup::new(3, 10), Honest);
        for (key, len) in [(1, 0), (2, 100), (3, SEGMENT), (4, 3 * SEGMENT + 1_000), (5, 2 * SEGMENT)] {
            let mut expected = content(len as u64, len);
            let cap = make(&mut grid, format, key, &expected).cap;
            for (round, (offset, size)) in [
                (0, 1),
                (len / 2, 1_000),
                (SEGMENT - 1, 2),
                (SEGMENT, SEGMENT),
                (len, 10),
                (len + 10, SEGMENT),
                (0, len),
                (len + 10 + SEGMENT, 2 * SEGMENT),
                (5, 0),
            ]
            .into_iter()
            .enumerate()
            {
                let data = content(round as u64, size);
                if offset > expected.len() {
                    let refused = patch(&mut grid, &cap, offset as u64, &data).unwrap_err();
                    assert!(matches!(*refused, ChangeError::PastEnd { .. }), "{refused}");
                    continue;
                }
                patch(&mut grid, &cap, offset as u64, &data).expect("it is patched");
                patched(&mut expected, offset, &data);
                holds(&mut grid, &cap, &expected);
            }
        }
    }
}

/// A small part of a large file: only the segments that it touches are sent and written.
#[test]
fn a_small_part_writes_little() {
    let mut grid = Grid::new(&GridSetup::new(3, 10), Honest);
    let mut expected = content(1, 6_000_000);
    let cap = make(&mut grid, MutableFormat::Mdmf, 1, &expected).cap;
    let written = |grid: &Grid| -> u64 {
        let status = |server| grid.node(server).status(0, grid.now());
        (0..10).map(|server| status(server).storage.expect("a server").slot_bytes_written).sum()
    };
    let before = written(&grid);
    let data = content(2, 1_000);
    let changed = patch(&mut grid, &cap, 3_000_000, &data).expect("it is patched");
    assert_eq!((changed.version.sequence, changed.placed.len()), (2, 10));
    patched(&mut expected, 3_000_000, &data);
    let bytes = written(&grid) - before;
    println!("{bytes} bytes written in ten shares of {} bytes", 6_000_000 / 3);
    // A block of a third of a segment, a dozen hashes, header, signature and share hashes.
    assert!(bytes < 10 * (131_073 / 3 + 1_500), "{bytes} bytes");
    holds(&mut grid, &cap, &expected);
    // What was patched can be read from any three, and be overwritten.
    (0..4).for_each(|server| grid.switch_off(server));
    holds(&mut grid, &cap, &expected);
    let changed = patch(&mut grid, &cap, 0, b"as a whole, for shares are missing").expect("it is patched");
    assert_eq!(changed.placed.len(), 6);
    patched(&mut expected, 0, b"as a whole, for shares are missing");
    holds(&mut grid, &cap, &expected);
}

/// A share whose hashes were damaged on the disk: the file is made as a whole, and is whole again.
#[test]
fn a_part_over_damaged_hashes() {
    let mut grid = Grid::new(&GridSetup::new(3, 10), Honest);
    let mut expected = content(1, 600_000);
    let cap = make(&mut grid, MutableFormat::Mdmf, 1, &expected).cap;
    for (_, share) in grid.disk(3).shares() {
        // The tree follows the header of the container, what comes before the data, and the data: blocks
        // and salts. Its second leaf is node 8.
        share[468 + 2_167 + 200_000 + 5 * 16 + 8 * 32] ^= 1;
    }
    let written =
        |grid: &Grid| grid.node(3).status(0, grid.now()).storage.expect("a server").slot_bytes_written;
    let before = written(&grid);
    patch(&mut grid, &cap, 1_000, b"new").expect("it is patched");
    patched(&mut expected, 1_000, b"new");
    holds(&mut grid, &cap, &expected);
    assert!(written(&grid) - before > 200_000, "all of the share is written");
    let before = written(&grid);
    patch(&mut grid, &cap, 2_000, b"newer").expect("it is patched");
    patched(&mut expected, 2_000, b"newer");
    holds(&mut grid, &cap, &expected);
    assert!(written(&grid) - before < 50_000, "a block of it");
}

/// A writer that dies between servers: whatever he has written, the next one finds a directory with all
/// that was acknowledged before.
#[test]
fn a_writer_that_dies_between_servers() {
    let link = |text: &str| {
        let child = Child::new(None, Some("URI:LIT:krugkidfnzsc4"), DirectoryKind::Mutable).expect("a child");
        let (name, metadata) = (Name::new(text).expect("a good name"), None);
        let edit = Edit::Link { name, child, metadata, replace: Replace::Anything, seen: Seen::Unchecked };
        Change::Edit(Edits(vec![edit]))
    };
    let mut grid = Grid::new(&GridSetup::new(3, 10), Honest);
    let cap = make(&mut grid, MutableFormat::Sdmf, 6, b"").cap;
    let subject = || Subject::Existing(cap.clone());
    let mut written = 0;
    for step in 0..60 {
        let sequence =
            |grid: &mut Grid| grid.read(&cap.read_cap()).found.expect("it is there").version.sequence;
        let before = sequence(&mut grid);
        let dying = grid.begin_change(subject(), link(&format!("dying {step}")), Consent::Majority);
        grid.run(std::time::Duration::from_micros(4_000 + 100 * step));
        grid.cancel(dying);
        grid.run(std::time::Duration::from_millis(100));
        let changed = grid.change(subject(), link(&format!("living {step}")), Consent::Majority);
        let changed = changed.unwrap_or_else(|error| panic!("after step {step}: {error}"));
        written += u64::from(changed.version.sequence > before + 1);
    }
    let got = grid.read(&cap.read_cap()).content;
    let table = Table::unpack(got.into(), Access::Write(cap.write_key.clone())).expect("a directory");
    for step in 0..60 {
        assert!(table.get(&Name::new(&format!("living {step}")).expect("a name")).is_some(), "step {step}");
    }
    assert!((5..55).contains(&written), "{written} of 60 had written something");
}

/// 256 shares are possible for immutable files; the number of a mutable one's is a single byte.
#[test]
fn more_shares_than_a_mutable_file_can_have() {
    let setup = GridSetup { servers: 5, ..GridSetup::new(3, 256) };
    let mut grid = Grid::new(&setup, Honest);
    let changed = make(&mut grid, MutableFormat::Mdmf, 1, &content(1, 10_000));
    assert_eq!((changed.total, changed.shares_placed()), (255, 255));
    holds(&mut grid, &changed.cap, &content(1, 10_000));
}

#[test]
fn files_too_large_for_their_format() {
    let setup = GridSetup { servers: 4, ..GridSetup::new(1, 4) };
    let mut grid = Grid::new(&setup, Honest);
    for (format, len) in [(MutableFormat::Sdmf, 17 << 20), (MutableFormat::Mdmf, 18 << 20)] {
        let key = Some(test_key(1));
        let subject = Subject::New { format, key };
        let refused = grid.change(subject, overwrite(&vec![0; len]), Consent::Majority).unwrap_err();
        assert!(matches!(*refused, ChangeError::Make(_)), "{refused}");
    }
}
