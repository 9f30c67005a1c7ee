//! Edits applied to a table that is not the one their author saw.

use super::super::entry::Packed;
use super::*;
use alloc::borrow::ToOwned;
use alloc::string::ToString;
use alloc::vec::Vec;

const CHANGED: EditProblem = EditProblem::Changed { found: Found::OtherChild };
const GONE: EditProblem = EditProblem::Changed { found: Found::Nothing };
const OTHER_METADATA: EditProblem = EditProblem::Changed { found: Found::OtherMetadata };

/// Applies `edit`, whose author saw `seen`, to `now`; says how that went and what is there then.
#[track_caller]
fn check(now: &[(&str, Child)], edit: &Edit, expected: Result<bool, EditProblem>, after: &[(&str, Child)]) {
    let mut table = table(now);
    let before = table.pack();
    let outcome = apply(&mut table, edit.clone());
    let changed = outcome.map(|outcome| matches!(outcome, Outcome::Done { .. }));
    assert_eq!(changed, expected);
    assert_eq!(table.pack() != before, expected == Ok(true));
    let found: Vec<_> = table.names().map(|name| (name.as_str(), child_at(&table, name.as_str()))).collect();
    let after: Vec<_> = after.iter().map(|(name, child)| (*name, Some(child.clone()))).collect();
    assert_eq!(found, after);
}

#[test]
fn a_new_link() {
    let edit = link("x", file(1), Seen::Nothing);
    check(&[], &edit, Ok(true), &[("x", file(1))]);
    check(&[("x", file(1))], &edit, Ok(false), &[("x", file(1))]);
    check(&[("x", file(2))], &edit, Err(CHANGED), &[("x", file(2))]);
    check(&[("y", file(2))], &edit, Ok(true), &[("x", file(1)), ("y", file(2))]);
}

#[test]
fn a_link_in_the_place_of_another() {
    let edit = link("x", file(1), look(&table(&[("x", file(0))]), "x"));
    check(&[("x", file(0))], &edit, Ok(true), &[("x", file(1))]);
    check(&[("x", file(1))], &edit, Ok(false), &[("x", file(1))]);
    check(&[("x", file(2))], &edit, Err(CHANGED), &[("x", file(2))]);
    check(&[], &edit, Err(GONE), &[]);
}

#[test]
fn an_unlink() {
    let edit = unlink("x", look(&table(&[("x", file(0))]), "x"));
    check(&[("x", file(0)), ("y", file(1))], &edit, Ok(true), &[("y", file(1))]);
    check(&[("y", file(1))], &edit, Ok(false), &[("y", file(1))]);
    check(&[("x", file(2))], &edit, Err(CHANGED), &[("x", file(2))]);
}

#[test]
fn a_rename() {
    let base = table(&[("x", file(0)), ("y", file(1))]);
    let edit = rename("x", "y", look(&base, "x"), look(&base, "y"));
    check(&[("x", file(0)), ("y", file(1))], &edit, Ok(true), &[("y", file(0))]);
    check(&[("y", file(0))], &edit, Ok(false), &[("y", file(0))]);
    // It was done, and then somebody used the old name again.
    check(&[("x", file(5)), ("y", file(0))], &edit, Ok(false), &[("x", file(5)), ("y", file(0))]);
    check(&[("y", file(1))], &edit, Err(GONE), &[("y", file(1))]);
    check(&[("x", file(2)), ("y", file(1))], &edit, Err(CHANGED), &[("x", file(2)), ("y", file(1))]);
    check(&[("x", file(0)), ("y", file(2))], &edit, Err(CHANGED), &[("x", file(0)), ("y", file(2))]);
    check(&[("x", file(0))], &edit, Err(GONE), &[("x", file(0))]);
    let nowhere = rename("x", "x", look(&base, "x"), Seen::Unchecked);
    check(&[("x", file(0))], &nowhere, Ok(false), &[("x", file(0))]);
    check(&[], &nowhere, Err(GONE), &[]);
    check(&[], &rename("x", "x", Seen::Unchecked, Seen::Unchecked), Err(EditProblem::NoSuchChild), &[]);
}

#[test]
fn new_metadata() {
    let mut base = table(&[("x", file(0))]);
    let edit = set_metadata("x", r#"{"a": 1}"#, look(&base, "x"));
    let late = set_metadata("x", r#"{"a": 2}"#, look(&base, "x"));
    check(&[("x", file(2))], &edit, Err(CHANGED), &[("x", file(2))]);
    check(&[], &edit, Err(GONE), &[]);
    check(&[], &set_metadata("x", "{}", Seen::Unchecked), Err(EditProblem::NoSuchChild), &[]);
    assert!(matches!(apply(&mut base, edit.clone()), Ok(Outcome::Done { .. })));
    assert!(matches!(apply(&mut base, edit), Ok(Outcome::Already)));
    assert_eq!(apply(&mut base, late).err(), Some(OTHER_METADATA));
    // A link that only set the times anew is no conflict.
    let edit = set_metadata("x", r#"{"a": 3}"#, look(&base, "x"));
    assert!(apply(&mut base, link("x", file(0), Seen::Unchecked)).is_ok());
    assert!(matches!(apply(&mut base, edit), Ok(Outcome::Done { .. })));
    let narrowing = set_metadata("x", r#"{"no-write": true}"#, look(&base, "x"));
    assert!(matches!(apply(&mut base, narrowing.clone()), Ok(Outcome::Done { .. })));
    assert!(matches!(apply(&mut base, narrowing), Ok(Outcome::Already)));
}

#[test]
fn who_has_not_looked_means_whatever_is_there() {
    for there in [&[][..], &[("x", file(1))], &[("x", file(2))], &[("x", folder(2))]] {
        check(there, &link("x", file(1), Seen::Unchecked), Ok(true), &[("x", file(1))]);
    }
    check(&[], &unlink("x", Seen::Unchecked), Err(EditProblem::NoSuchChild), &[]);
    let maybe =
        Edit::Unlink { name: name("x"), must_exist: false, only: Only::Anything, seen: Seen::Unchecked };
    check(&[], &maybe, Ok(false), &[]);
    check(&[("x", file(1))], &maybe, Ok(true), &[]);
}

#[test]
fn what_may_be_replaced() {
    let edit = |replace| Edit::Link {
        name: name("x"),
        child: file(9),
        metadata: None,
        replace,
        seen: Seen::Unchecked,
    };
    let unknown = Child::new(None, Some("x-new:r"), DirectoryKind::Mutable).expect("a pair");
    for (there, only_files) in
        [(file(1), Ok(true)), (folder(1), Err(EditProblem::WouldReplaceDirectory)), (unknown, Ok(true))]
    {
        let after = if only_files.is_ok() { file(9) } else { there.clone() };
        check(&[("x", there.clone())], &edit(Replace::OnlyFiles), only_files, &[("x", after)]);
        check(&[("x", there.clone())], &edit(Replace::Nothing), Err(EditProblem::Exists), &[("x", there)]);
    }
    // Even the same child: its author wanted the name to be free and did not see who linked it.
    check(&[("x", file(9))], &edit(Replace::Nothing), Err(EditProblem::Exists), &[("x", file(9))]);
}

#[test]
fn a_batch_is_done_as_a_whole() {
    let mut there = table(&[("a", file(1)), ("b", file(2))]);
    let before = there.pack();
    let mut edits = alloc::vec![
        rename("a", "c", look(&there, "a"), Seen::Nothing),
        link("a", file(3), Seen::Nothing),
        unlink("b", look(&there, "b")),
        unlink("b", Seen::Unchecked),
    ];
    let error = there.apply(&edits, NOW).expect_err("b is gone by then");
    assert_eq!((error.at, &error.name, error.problem), (3, &name("b"), EditProblem::NoSuchChild));
    assert_eq!(error.to_string(), "\"b\" is not in the directory");
    assert_eq!(there.pack(), before);

    edits.pop();
    there.apply(&edits, NOW).expect("each after the one before");
    assert_eq!((child_at(&there, "a"), child_at(&there, "b")), (Some(file(3)), None));
    assert_eq!(child_at(&there, "c"), Some(file(1)));
    let after = there.pack();
    let again = there.apply(&edits, NOW).expect("it was done already");
    assert!(again.iter().all(|outcome| matches!(outcome, Outcome::Already)));
    assert_eq!(there.pack(), after);
}

#[test]
fn a_move_between_directories_can_be_cut_anywhere() {
    let (mut old, mut new) = (table(&[("x", folder(1))]), Table::empty(other_writer()));
    let moved = old.moving(&name("x"), &new, name("y"), Replace::Nothing, Seen::Nothing);
    let Ok(Move::Between { link: put, unlink: take }) = moved else { panic!("{moved:?}") };

    apply(&mut new, put.clone()).expect("a free name");
    // Cut here, the child is in both; from the start again, nothing is done twice.
    assert_eq!((child_at(&old, "x"), child_at(&new, "y")), (Some(folder(1)), Some(folder(1))));
    assert!(matches!(apply(&mut new, put), Ok(Outcome::Already)));
    let mut replaced = old.clone();
    apply(&mut old, take.clone()).expect("still there");
    assert!(matches!(apply(&mut old, take.clone()), Ok(Outcome::Already)));
    assert!(old.is_empty());
    // Somebody put another child into the old place: it stays.
    apply(&mut replaced, link("x", file(2), Seen::Unchecked)).expect("a link");
    assert_eq!(apply(&mut replaced, take).err(), Some(CHANGED));
    assert_eq!(child_at(&replaced, "x"), Some(file(2)));
}

/// A link and an unlink would lose the child; whoever asks for a move cannot get them.
#[test]
fn a_move_within_one_directory_is_a_rename() {
    for (to, after) in [("x", [("a", file(2)), ("x", folder(1))]), ("y", [("a", file(2)), ("y", folder(1))])]
    {
        let mut there = table(&[("x", folder(1)), ("a", file(2))]);
        // Its author may have looked at it twice, and somebody may have changed it in between.
        let mut later = there.clone();
        apply(&mut later, unlink("a", Seen::Unchecked)).expect("it was there");
        let moved = there.moving(&name("x"), &later, name(to), Replace::Anything, Seen::Unchecked);
        let Ok(Move::Within(edit)) = moved else { panic!("{moved:?}") };
        apply(&mut there, edit).expect("a rename");
        let found: Vec<_> =
            there.iter().map(|(name, entry)| (name.as_str().to_owned(), entry.child)).collect();
        assert_eq!(found, after.map(|(name, child)| (name.to_owned(), Ok(child))));
    }
}

#[test]
fn what_cannot_be_moved() {
    let (old, new) = (table(&[("x", folder(1))]), Table::empty(other_writer()));
    let shown = Table::unpack(old.pack().into(), Access::Read).expect("the same table");
    let problem = |from: &Table, text: &str, to: &Table| {
        let moved = from.moving(&name(text), to, name("y"), Replace::Nothing, Seen::Nothing);
        moved.map(|_| ()).map_err(|error| (error.name, error.problem))
    };
    assert_eq!(problem(&old, "x", &new), Ok(()));
    assert_eq!(problem(&old, "z", &new), Err((name("z"), EditProblem::NoSuchChild)));
    assert_eq!(problem(&shown, "x", &new), Err((name("x"), EditProblem::ReadOnly)));
    assert_eq!(problem(&shown, "x", &shown), Err((name("x"), EditProblem::ReadOnly)));
    assert_eq!(problem(&old, "x", &shown), Err((name("y"), EditProblem::ReadOnly)));
    let refused = Packed::new(&name("r"), b"URI:CHK:?", b"", "{}").framed().clone();
    let refused = Table::unpack(refused, writer()).expect("a table");
    let Err((_, EditProblem::Child(ChildError::Capability(_)))) = problem(&refused, "r", &new) else {
        panic!("a child that cannot be used was moved");
    };
}

/// Two versions of one directory that are put together.
#[test]
fn of_two_links_the_newer_prevails() {
    let (early, late) = (r#"{"tahoe": {"linkmotime": 5.5}}"#, r#"{"tahoe": {"linkmotime": 12}}"#);
    let version = |links: &[(&str, u8, &str)]| {
        let of = |(text, seed, said): &(&str, u8, &str)| (name(text), file(*seed), metadata(said));
        Table::with_children(writer(), links.iter().map(of)).expect("good children")
    };
    let here =
        [("a", 1, late), ("b", 1, early), ("c", 1, late), ("d", 1, "{}"), ("e", 1, early), ("f", 1, "{}")];
    let there =
        [("a", 2, early), ("b", 2, late), ("c", 2, late), ("d", 2, early), ("e", 2, "{}"), ("g", 2, "{}")];
    let mut merged = version(&here);
    merged.absorb(&version(&there));
    let seeds = [("a", 1), ("b", 2), ("c", 1), ("d", 2), ("e", 1), ("f", 1), ("g", 2)];
    let found: Vec<_> =
        merged.names().map(|name| (name.as_str(), child_at(&merged, name.as_str()))).collect();
    let expected: Vec<_> = seeds.iter().map(|(name, seed)| (*name, Some(file(*seed)))).collect();
    assert_eq!(found, expected);
}
