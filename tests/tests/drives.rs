//! Directories along paths: looked at, made, changed and moved by a node on a grid in memory.

use tallac_core::capability::{Capability, DirectoryCap, MutableCap, MutableFormat};
use tallac_core::directory::{Child, DirectoryKind, Edit, EditProblem, Metadata, Name, Only, Path, Replace};
use tallac_core::directory::{Outcome, Seen};
use tallac_core::drive::{Done, DriveError, Errand, Keep, NewDirectory, Parents, Place, Sight};
use tallac_core::hash::Hash;
use tallac_core::mutable::{ChangeError, Edits};
use tallac_tests::memory_grid::{GridSetup, Honest, MemoryGrid};

type Grid = MemoryGrid<Honest>;
type Result<T> = core::result::Result<T, Box<DriveError>>;

const LITERAL: &str = "URI:LIT:krugkidfnzsc4";

fn grid() -> Grid {
    Grid::new(&GridSetup { servers: 4, ..GridSetup::new(2, 4) }, Honest)
}

fn name(text: &str) -> Name {
    Name::existing(text).expect("short enough")
}

fn child(cap: impl Into<String>) -> Child {
    Child::new(Some(&cap.into()), None, DirectoryKind::Mutable).expect("a child")
}

fn place(start: &DirectoryCap, path: &str) -> Place {
    let names = path.split('/').filter(|name| !name.is_empty());
    Place { start: Capability::Directory(start.clone()), path: Path::new(names).expect("a path") }
}

fn make(grid: &mut Grid, at: Option<Place>) -> Result<(DirectoryCap, bool)> {
    match *grid.errand(Errand::Make { place: at, new: NewDirectory::empty(MutableFormat::Sdmf) })? {
        Done::Made { cap, existed } => Ok((cap, existed)),
        other => panic!("{other:?}"),
    }
}

fn root(grid: &mut Grid) -> DirectoryCap {
    make(grid, None).expect("it is made").0
}

fn linking(text: &str, child: Child, replace: Replace) -> Edit {
    Edit::Link { name: name(text), child, metadata: None, replace, seen: Seen::Unchecked }
}

fn link(start: &DirectoryCap, path: &str, child: Child, replace: Replace) -> Errand {
    let (way, last) = path.rsplit_once('/').unwrap_or(("", path));
    let edits = Edits(vec![linking(last, child, replace)]);
    Errand::Edit { directory: place(start, way), parents: Parents::Make, edits }
}

fn unlink(start: &DirectoryCap, path: &str) -> Errand {
    let (way, last) = path.rsplit_once('/').unwrap_or(("", path));
    let (must_exist, only, seen) = (true, Only::Anything, Seen::Unchecked);
    Errand::edit(place(start, way), Edit::Unlink { name: name(last), must_exist, only, seen })
}

fn shift(start: &DirectoryCap, from: &str, to: &str, replace: Replace) -> Errand {
    Errand::Move { from: place(start, from), to: place(start, to), replace }
}

fn look(grid: &mut Grid, start: &DirectoryCap, path: &str) -> Result<Sight> {
    match *grid.errand(Errand::Look { place: place(start, path), list: true })? {
        Done::Seen(sight) => Ok(*sight),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn names(grid: &mut Grid, start: &DirectoryCap, path: &str) -> Vec<String> {
    let table = look(grid, start, path).expect("it is there").table.expect("a directory");
    table.names().map(|name| name.as_str().to_owned()).collect()
}

#[track_caller]
fn problem(result: Result<Box<Done>>) -> EditProblem {
    match *result.expect_err("it is refused") {
        DriveError::Change(ChangeError::Edit { error, .. }) => error.problem,
        other => panic!("{other}"),
    }
}

#[test]
fn a_path_is_made_and_followed() {
    let mut grid = grid();
    let root = root(&mut grid);
    let (deep, existed) = make(&mut grid, Some(place(&root, "a/b/c"))).expect("it is made");
    assert!(!existed);
    assert_eq!(names(&mut grid, &root, ""), ["a"]);
    assert_eq!(names(&mut grid, &root, "a/b"), ["c"]);
    let sight = look(&mut grid, &root, "a/b/c").expect("it is there");
    assert_eq!(sight.child.capability(), Some(&Capability::Directory(deep.clone())));
    assert!(sight.table.expect("a directory").is_empty());
    let link = sight.link.expect("it is linked");
    assert!(link.entry.metadata.expect("as we wrote it").link_created().is_some());
    // Again: it is there.
    assert_eq!(make(&mut grid, Some(place(&root, "a/b/c"))).expect("it is there"), (deep, true));
}

/// A file is linked below directories that are made for it, and nobody sees one of them without it.
#[test]
fn a_link_makes_the_directories_on_its_way() {
    let mut grid = grid();
    let root = root(&mut grid);
    let done = grid.errand(link(&root, "x/y/file", child(LITERAL), Replace::Nothing)).expect("it is linked");
    assert!(matches!(*done, Done::Edited { ref outcomes, .. } if outcomes.len() == 1));
    assert_eq!(names(&mut grid, &root, "x/y"), ["file"]);
    let sight = look(&mut grid, &root, "x/y/file").expect("it is there");
    assert_eq!(sight.child.read_cap().expect("a file").to_string(), LITERAL);
    assert!(sight.table.is_none());
    // If the edit cannot be made, the directories are not there either.
    let refused = grid.errand(unlink(&root, "p/q/nobody"));
    assert!(matches!(*refused.unwrap_err(), DriveError::NoSuchChild { at: 0, of: 2, .. }));
    let edits = Edits(vec![linking(".", child(LITERAL), Replace::Anything)]);
    let directory = place(&root, "p/q");
    let refused = grid.errand(Errand::Edit { directory, parents: Parents::Make, edits });
    assert!(matches!(problem(refused), EditProblem::Name(_)));
    assert_eq!(names(&mut grid, &root, ""), ["x"]);
}

#[test]
fn wrong_ways_end_with_a_reason() {
    let mut grid = grid();
    let root = root(&mut grid);
    grid.errand(link(&root, "file", child(LITERAL), Replace::Nothing)).expect("it is linked");
    let error = |result: Result<Sight>| *result.expect_err("no way leads there");
    assert!(matches!(
        error(look(&mut grid, &root, "nobody/x")),
        DriveError::NoSuchChild { at: 0, of: 2, .. }
    ));
    assert!(matches!(error(look(&mut grid, &root, "file/x")), DriveError::NotADirectory { at: 1 }));
    let made = make(&mut grid, Some(place(&root, "file")));
    assert!(matches!(*made.unwrap_err(), DriveError::Exists { .. }));
    let made = make(&mut grid, Some(place(&root, "file/x")));
    assert!(matches!(*made.unwrap_err(), DriveError::NotADirectory { at: 1 }));
    for bad in ["..", ".", "a/../b", "tab\there", &"n".repeat(1_025)] {
        let made = make(&mut grid, Some(place(&root, bad)));
        assert!(matches!(*made.unwrap_err(), DriveError::Name { .. }), "{bad:?}");
    }
    let DirectoryCap::Mutable(cap) = &root else { panic!("it is writable") };
    let verify = DirectoryCap::MutableVerify(cap.verify_cap());
    assert!(matches!(error(look(&mut grid, &verify, "")), DriveError::VerifyOnly));
    let start = Capability::Mutable(cap.clone());
    let errand = Errand::Look { place: Place { start, path: Path::new(["x"]).expect("a path") }, list: true };
    assert!(matches!(*grid.errand(errand).unwrap_err(), DriveError::NotADirectory { at: 0 }));
}

#[test]
fn reading_gives_no_right_to_write() {
    let mut grid = grid();
    let root = root(&mut grid);
    make(&mut grid, Some(place(&root, "a/b"))).expect("it is made");
    let DirectoryCap::Mutable(cap) = &root else { panic!("it is writable") };
    let read = DirectoryCap::MutableRead(cap.read_cap());
    let sight = look(&mut grid, &read, "a/b").expect("it can be read");
    assert!(sight.child.write_cap().is_none());
    for errand in [
        link(&read, "file", child(LITERAL), Replace::Anything),
        link(&read, "a/file", child(LITERAL), Replace::Anything),
        link(&read, "a/new/file", child(LITERAL), Replace::Anything),
        unlink(&read, "a"),
        shift(&read, "a/b", "b", Replace::Anything),
        Errand::Make { place: Some(place(&read, "a/c")), new: NewDirectory::empty(MutableFormat::Mdmf) },
    ] {
        let refused = grid.errand(errand).unwrap_err();
        assert!(matches!(*refused, DriveError::ReadOnly { .. }), "{refused}");
    }
    assert_eq!(names(&mut grid, &root, "a"), ["b"]);
}

#[test]
fn moving() {
    let mut grid = grid();
    let root = root(&mut grid);
    for path in ["from/file", "from/other", "to/taken"] {
        grid.errand(link(&root, path, child(LITERAL), Replace::Nothing)).expect("it is linked");
    }
    grid.errand(shift(&root, "from/file", "to/moved", Replace::Nothing)).expect("it is moved");
    assert_eq!(names(&mut grid, &root, "from"), ["other"]);
    assert_eq!(names(&mut grid, &root, "to"), ["moved", "taken"]);
    grid.errand(shift(&root, "to/moved", "to/again", Replace::Nothing)).expect("it is renamed");
    assert_eq!(names(&mut grid, &root, "to"), ["again", "taken"]);
    assert_eq!(
        problem(grid.errand(shift(&root, "from/other", "to/taken", Replace::Nothing))),
        EditProblem::Exists
    );
    assert_eq!(
        problem(grid.errand(shift(&root, "from/nobody", "to/x", Replace::Nothing))),
        EditProblem::NoSuchChild
    );
    grid.errand(shift(&root, "from/other", "to/taken", Replace::OnlyFiles)).expect("it takes its place");
    assert_eq!(
        problem(grid.errand(shift(&root, "to/taken", "from", Replace::OnlyFiles))),
        EditProblem::WouldReplaceDirectory
    );
    assert_eq!(names(&mut grid, &root, "to"), ["again", "taken"]);
}

/// A directory in itself is possible, since others can make one, and every walk through it ends. But
/// nothing is moved into itself: that would take it out of the drive.
#[test]
fn a_directory_inside_itself() {
    let mut grid = grid();
    let root = root(&mut grid);
    make(&mut grid, Some(place(&root, "a/b"))).expect("it is made");
    for to in ["a/x", "a/b/x"] {
        let refused = grid.errand(shift(&root, "a", to, Replace::Nothing));
        assert!(matches!(*refused.unwrap_err(), DriveError::IntoItself), "{to}");
    }
    let itself = child(Capability::Directory(root.clone()).to_string());
    grid.errand(link(&root, "a/root", itself, Replace::Nothing)).expect("it is linked");
    let long = "a/root/".repeat(40);
    assert_eq!(names(&mut grid, &root, &long), ["a"]);
}

#[test]
fn directories_that_never_change() {
    let mut grid = grid();
    let root = root(&mut grid);
    let entry = |text: &str, cap: &str| {
        let child = Child::new(None, Some(cap), DirectoryKind::Immutable).expect("immutable");
        (name(text), child, Metadata::default())
    };
    let mut store = |children: Vec<_>, at: Option<Place>| {
        let new = NewDirectory { keep: Keep::Immutable, children };
        grid.errand(Errand::Make { place: at, new })
    };
    let Done::Made { cap: empty, .. } = *store(vec![], None).expect("it is stored") else { panic!() };
    assert_eq!(empty.to_string(), "URI:DIR2-LIT:");
    let many = (0..50).map(|number| entry(&format!("child {number}"), LITERAL)).collect();
    let done = store(many, Some(place(&root, "kept/for ever"))).expect("it is stored");
    let Done::Made { cap: large, .. } = *done else { panic!() };
    assert!(matches!(large, DirectoryCap::Chk(_)));
    let writable = child(Capability::Directory(root.clone()).to_string());
    let refused = store(vec![(name("root"), writable, Metadata::default())], None).unwrap_err();
    assert!(matches!(*refused, DriveError::Children(_)), "{refused}");
    assert_eq!(names(&mut grid, &root, "kept/for ever").len(), 50);
    assert!(names(&mut grid, &empty, "").is_empty());
    let refused = grid.errand(link(&root, "kept/for ever/x", child(LITERAL), Replace::Anything)).unwrap_err();
    assert!(matches!(*refused, DriveError::ReadOnly { at: 2 }), "{refused}");
}

/// Errands that come at once are written together, and each gets its own answer.
#[test]
fn edits_are_written_together() {
    let mut grid = grid();
    let root = root(&mut grid);
    let version = |grid: &mut Grid| {
        let DirectoryCap::Mutable(cap) = &root else { panic!("it is writable") };
        grid.read(&cap.read_cap()).found.expect("it is there").version.sequence
    };
    let before = version(&mut grid);
    let errands = (0..200).map(|number| link(&root, &format!("{number}"), child(LITERAL), Replace::Nothing));
    assert!(grid.run_errands(errands).iter().all(Result::is_ok));
    assert_eq!(names(&mut grid, &root, "").len(), 200);
    assert!(version(&mut grid) <= before + 2, "{} versions", version(&mut grid) - before);
    // One among many is refused, the others are not.
    let errands = [
        link(&root, "200", child(LITERAL), Replace::Nothing),
        link(&root, "7", child(LITERAL), Replace::Nothing),
        link(&root, "201", child(LITERAL), Replace::Nothing),
        unlink(&root, "nobody"),
        link(&root, "202", child(LITERAL), Replace::Nothing),
    ];
    let results = grid.run_errands(errands);
    let fine: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(fine, [true, false, true, false, true]);
    assert_eq!(names(&mut grid, &root, "").len(), 203);
}

/// Many make the same directories at once: all get the same ones, and whatever they put there stays.
#[test]
fn the_same_directories_at_once() {
    let mut grid = grid();
    let root = root(&mut grid);
    let errands =
        (0..8).map(|number| link(&root, &format!("a/b/{number}"), child(LITERAL), Replace::Nothing));
    for result in grid.run_errands(errands) {
        let Done::Edited { outcomes, .. } = *result.expect("it is linked") else { panic!() };
        assert!(matches!(outcomes[..], [Outcome::Done { before: None }]));
    }
    assert_eq!(names(&mut grid, &root, "a/b").len(), 8);
    let made: Vec<DirectoryCap> = grid
        .run_errands((0..4).map(|_| Errand::Make {
            place: Some(place(&root, "p/q")),
            new: NewDirectory::empty(MutableFormat::Sdmf),
        }))
        .into_iter()
        .map(|result| match *result.expect("it is there") {
            Done::Made { cap, .. } => cap,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(made.iter().all(|cap| *cap == made[0]));
}

#[test]
fn too_few_servers() {
    let mut grid = grid();
    let root = root(&mut grid);
    grid.errand(link(&root, "file", child(LITERAL), Replace::Nothing)).expect("it is linked");
    (0..3).for_each(|server| grid.switch_off(server));
    let refused = grid.errand(link(&root, "more", child(LITERAL), Replace::Nothing)).unwrap_err();
    assert!(matches!(*refused, DriveError::Change(_) | DriveError::Read(_)), "{refused}");
    (0..2).for_each(|server| grid.switch_on(server));
    grid.errand(link(&root, "more", child(LITERAL), Replace::Nothing)).expect("it is linked");
    assert_eq!(names(&mut grid, &root, ""), ["file", "more"]);
}

/// Two capabilities of one file, one of which names another signer: each is used for its own errands.
#[test]
fn a_wrong_capability_spoils_nothing_for_others() {
    let mut grid = grid();
    let root = root(&mut grid);
    let DirectoryCap::Mutable(cap) = &root else { panic!("it can be changed") };
    let wrong = DirectoryCap::Mutable(MutableCap { fingerprint: Hash([7; 32]), ..cap.clone() });
    let link = |start, name| link(start, name, child(LITERAL), Replace::Nothing);
    let went = |results: Vec<Result<Box<Done>>>| results.iter().map(|done| done.is_ok()).collect::<Vec<_>>();
    assert_eq!(went(grid.run_errands([link(&wrong, "a"), link(&root, "b")])), [false, true]);
    let three = [link(&root, "c"), link(&wrong, "d"), link(&root, "e")];
    assert_eq!(went(grid.run_errands(three)), [true, false, true]);
    assert_eq!(names(&mut grid, &root, ""), ["b", "c", "e"]);
}

/// Edits that are written together: whose make the directory too large fail alone.
#[test]
fn too_much_from_one_is_not_too_much_from_all() {
    let mut grid = grid();
    let root = root(&mut grid);
    let metadata = Metadata::parse(&format!("{{\"long\": \"{}\"}}", "x".repeat(1_000_000))).expect("JSON");
    let long = |number: u8| Edit::Link {
        name: name(&format!("long {number}")),
        child: child(LITERAL),
        metadata: Some(metadata.clone()),
        replace: Replace::Nothing,
        seen: Seen::Unchecked,
    };
    let edits = Edits((0..17).map(long).collect());
    let much = Errand::Edit { directory: place(&root, ""), parents: Parents::Expect, edits };
    let link = |name| link(&root, name, child(LITERAL), Replace::Nothing);
    let results = grid.run_errands([link("before"), link("with it"), much, link("after")]);
    let went: Vec<bool> = results.iter().map(|done| done.is_ok()).collect();
    assert_eq!(went, [true, true, false, true]);
    assert_eq!(names(&mut grid, &root, ""), ["after", "before", "with it"]);
}
