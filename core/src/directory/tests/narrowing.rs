//! What the holders of different rights see of one table.

use super::super::entry::Packed;
use super::*;
use crate::capability::{CapabilityError, Field, Kind, Mark, Problem, UnknownCap};
use alloc::borrow::ToOwned;
use alloc::string::ToString;
use alloc::vec::Vec;

fn right(kind: Kind, mark: Mark) -> ChildError {
    ChildError::Capability(CapabilityError::Right { kind, mark })
}

fn malformed(kind: Kind, field: Field, expected: usize, found: usize) -> ChildError {
    let problem = Problem::Length { expected, found };
    ChildError::Capability(CapabilityError::Field { kind, field, problem })
}

fn read_view(table: &Table) -> Table {
    Table::unpack(table.pack().into(), Access::Read).expect("the same table")
}

#[test]
fn readers_of_a_directory_get_no_right_to_write() {
    let unknown = Child::new(Some("x-new:w"), Some("x-new:r"), DirectoryKind::Mutable).expect("a pair");
    let mdmf = linked(&format!("URI:DIR2-MDMF:{}", key_fields(4)));
    let children = [("file", file(1)), ("folder", folder(2)), ("mdmf", mdmf), ("unknown", unknown)];
    let table = table(&children);
    assert_eq!(read_view(&table).len(), children.len());
    for ((text, child), (_, seen)) in children.iter().zip(read_view(&table).iter()) {
        let seen = seen.child.expect("a child");
        assert!(child.write_cap().is_some() && seen.write_cap().is_none(), "{text}");
        assert_eq!(seen, child.read_only(), "{text}");
    }
}

#[test]
fn a_write_capability_in_the_open_is_narrowed() {
    let cap = format!("URI:SSK:{}", key_fields(1));
    let packed = Packed::new(&name("x"), cap.as_bytes(), b"", "{}");
    for access in [writer(), Access::Read] {
        let table = Table::unpack(packed.framed().clone(), access).expect("a table");
        assert_eq!(child_at(&table, "x"), Some(file(1).read_only()));
    }
    let beside = Child::new(Some("x-new:w"), Some(&cap), DirectoryKind::Mutable);
    assert_eq!(beside, Err(right(Kind::Sdmf, Mark::ReadOnly)));
}

#[test]
fn another_key_opens_nothing() {
    let table = table(&[("x", file(1))]);
    let view = Table::unpack(table.pack().into(), other_writer()).expect("a table");
    let entry = view.get(&name("x")).expect("an entry");
    let leaked = entry.child.is_ok_and(|child| child.write_cap() == file(1).write_cap());
    assert!(!leaked);
}

#[test]
fn only_a_write_key_changes_a_table() {
    let shown = read_view(&table(&[("x", file(1))]));
    let children = [(name("x"), linked("URI:LIT:"), Metadata::default())];
    let frozen = Table::with_children(Access::Immutable, children).expect("an immutable child");
    for table in [shown, frozen] {
        let edits = [
            link("y", linked("URI:LIT:"), Seen::Nothing),
            unlink("x", Seen::Unchecked),
            rename("x", "y", Seen::Unchecked, Seen::Unchecked),
            set_metadata("x", "{}", Seen::Unchecked),
        ];
        for edit in edits {
            assert_eq!(apply(&mut table.clone(), edit).err(), Some(EditProblem::ReadOnly));
        }
    }
}

#[test]
fn immutable_directories_take_only_what_is_immutable() {
    for (child, kind) in [
        (file(1), Kind::Sdmf),
        (folder(1), Kind::Directory),
        (file(1).read_only(), Kind::SdmfRead),
        (folder(1).read_only(), Kind::DirectoryRead),
    ] {
        let children = [(name("x"), child.clone(), Metadata::default())];
        let made = Table::with_children(Access::Immutable, children).err();
        let (name, problem) = (name("x"), right(kind, Mark::Immutable));
        assert_eq!(made, Some(NewTableError::Child { name, problem }), "{child:?}");
        let cap = child.capability().expect("a known child").clone();
        let direct = Child::new(Some(&cap.to_string()), None, DirectoryKind::Immutable);
        assert_eq!(direct, Err(problem));
        assert_eq!(Child::of(cap, DirectoryKind::Immutable), Err(problem));
    }
    for (write, read, result) in [
        (Some("x-new:w"), None, Some(ChildError::UnknownRights)),
        (Some("ro.x-new:r"), None, Some(ChildError::UnknownRights)),
        (Some("x-new:w"), Some("x-new:r"), Some(ChildError::WritableInImmutable)),
        (Some("imm.x-new:i"), None, None),
        (None, Some("x-new:r"), None),
    ] {
        assert_eq!(Child::new(write, read, DirectoryKind::Immutable).err(), result, "{write:?} {read:?}");
    }
}

#[test]
fn what_cannot_be_linked() {
    use ChildError::*;
    let chk_verify = "URI:CHK-Verifier:".to_owned() + &key_fields(1) + ":1:1:5";
    let bad_end = format!("URI:DIR2:{}x", key_fields(1));
    for (write, read, error) in [
        (None, None, Nothing),
        (None, Some(""), Nothing),
        (Some("URI:CHK:x"), None, malformed(Kind::Chk, Field::Key, 26, 1)),
        (Some(&*bad_end), Some("x-new:r"), malformed(Kind::Directory, Field::Fingerprint, 52, 53)),
        (None, Some("URI:SSK-Verifier:x"), malformed(Kind::SdmfVerify, Field::StorageIndex, 26, 1)),
        (None, Some(&*chk_verify), VerifyOnly),
        (Some("x-new:w"), None, UnknownRights),
        (Some("x-new:w"), Some("imm.x-new:i"), WritableImmutable),
        (Some("x\nnew:w"), None, Capability(CapabilityError::NotACapability)),
    ] {
        assert_eq!(Child::new(write, read, DirectoryKind::Mutable).err(), Some(error));
    }
    let long = "x".repeat(crate::capability::CAPABILITY_LEN_MAX + 1);
    let error = Child::new(None, Some(&long), DirectoryKind::Mutable).err();
    assert_eq!(error, Some(Capability(CapabilityError::TooLong { len: long.len() })));
}

#[test]
fn no_write_narrows_whatever_sets_it() {
    let narrowed = Some(file(1).read_only());
    let mut table = table(&[("x", file(1)), ("y", file(1))]);
    let set = set_metadata("x", r#"{"no-write": true}"#, look(&table, "x"));
    apply(&mut table, set).expect("metadata");
    assert_eq!(child_at(&table, "x"), narrowed);
    apply(&mut table, link("x", file(1), Seen::Unchecked)).expect("a link under the same metadata");
    assert_eq!(child_at(&table, "x"), narrowed);
    // Others may have written a write capability beside it.
    let beside = Packed::of_child(&name("y"), &file(1), &metadata(r#"{"no-write": 1}"#), &other_writer());
    let other = Table::unpack(beside.framed().clone(), other_writer()).expect("a table");
    assert_eq!(child_at(&other, "y"), Some(file(1)));
    let moved = other.moving(&name("y"), &table, name("z"), Replace::Nothing, Seen::Nothing);
    let Ok(Move::Between { link, .. }) = moved else { panic!("{moved:?}") };
    apply(&mut table, link).expect("a free name");
    assert_eq!(child_at(&table, "z"), narrowed);
}

#[test]
fn nothing_secret_is_printed() {
    let table = table(&[("x", file(1)), ("y", folder(2))]);
    let entries: Vec<_> = table.iter().collect();
    let edit = link("z", file(3), look(&table, "x"));
    let outcome = apply(&mut table.clone(), link("x", file(3), Seen::Unchecked));
    let error = Child::new(Some("URI:SSK:hunter2"), None, DirectoryKind::Mutable);
    let printed = format!("{table:?} {entries:?} {edit:?} {outcome:?} {error:?} {table:#?} {entries:#?}");
    for secret in
        [base32::encode(&[1; 16]), base32::encode(&[2; 16]), base32::encode(&[3; 16]), "hunter2".into()]
    {
        assert!(!printed.contains(&secret), "{printed}");
    }
}

#[test]
fn a_child_is_made_of_a_capability_as_of_its_text() {
    let verify = format!("URI:SSK-Verifier:{}", key_fields(1));
    for text in ["URI:LIT:", "imm.x-new:a", "ro.x-new:a", "x-new:a", &verify] {
        let cap: crate::capability::Capability = text.parse().expect("a capability");
        let of_text = Child::new(Some(text), None, DirectoryKind::Mutable);
        assert_eq!(Child::of(cap, DirectoryKind::Mutable), of_text, "{text}");
    }
    let unknown = linked("imm.x-new:a");
    assert_eq!((unknown.capability(), unknown.write_cap()), (None, None));
    assert_eq!(unknown.read_cap(), UnknownCap::keep("imm.x-new:a").ok().map(Into::into));
}

/// It cannot be used, but is shown, stays as it is, and cannot be linked.
#[test]
fn a_malformed_capability_is_refused_and_kept() {
    for text in ["URI:SSK-Verifier:x", "URI:DIR2-MDMF-Verifier:", "imm.URI:SSK-RO:x", "x-new:\u{1b}[2J"] {
        let packed = Packed::new(&name("x"), text.as_bytes(), b"", "{}");
        let mut table = Table::unpack(packed.framed().clone(), writer()).expect("a table");
        let refused = table.get(&name("x")).expect("an entry").child.expect_err(text);
        assert_eq!(Child::new(None, Some(text), DirectoryKind::Mutable), Err(refused));
        apply(&mut table, link("y", file(1), Seen::Nothing)).expect("a free name");
        assert!(table.pack().starts_with(packed.framed()), "{text}");
    }
}

/// The outcomes are those of `allmydata/unknown.py`, but that we link nothing where there is nothing.
#[test]
fn pairs_of_unknown_capabilities() {
    use DirectoryKind::{Immutable, Mutable};
    let check = |write, read, kind, expected: Option<(Option<&str>, Option<&str>)>| {
        let text = |cap: Option<crate::capability::Capability>| cap.map(|cap| cap.to_string());
        let child = Child::new(write, read, kind).ok();
        let texts = child.map(|child| (text(child.write_cap()), text(child.read_cap())));
        let expected = expected.map(|(write, read)| (write.map(String::from), read.map(String::from)));
        assert_eq!(texts, expected, "{write:?} {read:?} {kind:?}");
    };
    let (bare, ro, imm) = (Some("x-new:a"), Some("ro.x-new:a"), Some("imm.x-new:a"));
    let (other, known) = (Some("x-new:b"), format!("URI:SSK-RO:{}", key_fields(1)));
    let (marked, verify) = (format!("ro.{known}"), format!("ro.URI:MDMF-Verifier:{}:hint", key_fields(1)));
    check(None, None, Mutable, None);
    check(bare, None, Mutable, None);
    check(ro, None, Mutable, Some((None, ro)));
    check(imm, None, Mutable, Some((None, imm)));
    check(ro, None, Immutable, None);
    check(imm, None, Immutable, Some((None, imm)));
    check(None, bare, Mutable, Some((None, ro)));
    check(None, bare, Immutable, Some((None, imm)));
    check(None, ro, Immutable, Some((None, imm)));
    check(None, imm, Mutable, Some((None, imm)));
    check(other, bare, Mutable, Some((other, ro)));
    check(other, imm, Mutable, None);
    check(other, bare, Immutable, None);
    check(other, Some(&known), Mutable, Some((other, Some(&marked))));
    // To the letter, with what a known capability would lose.
    check(None, Some(&verify), Mutable, Some((None, Some(&verify))));
}
