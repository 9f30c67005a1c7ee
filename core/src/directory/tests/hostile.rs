//! Tables that are damaged, or made to do damage.

use super::super::entry::Packed;
use super::*;
use crate::limits::{DIRECTORY_ENTRIES_MAX, DIRECTORY_LEN_MAX};
use crate::netstring::NetstringError;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use proptest::prelude::*;

fn accesses() -> [Access; 3] {
    [writer(), Access::Read, Access::Immutable]
}

/// Reads everything there is to read, and edits the table.
fn use_all(packed: Vec<u8>) {
    for access in accesses() {
        let Ok(mut table) = Table::unpack(packed.clone().into(), access.clone()) else { continue };
        for (_, entry) in table.iter() {
            let _ = entry.metadata.map(|metadata| (metadata.no_write(), metadata.link_created()));
        }
        let again = Table::unpack(table.pack().into(), access).expect("what is packed can be unpacked");
        assert_eq!((again.len(), again.pack()), (table.len(), table.pack()));
        assert_eq!(table.pack().len(), table.packed_len());
        let names: Vec<Name> = table.names().cloned().collect();
        for old in names {
            let (seen, seen_from): (Seen, Seen) = (again.get(&old).into(), again.get(&old).into());
            let metadata = metadata(r#"{"no-write": true}"#);
            let set = Edit::SetMetadata { name: old.clone(), metadata, seen };
            let _ = table.apply(&[set], NOW);
            let (to, replace, seen_to) = (name("new"), Replace::OnlyFiles, Seen::Unchecked);
            let _ = table.apply(&[Edit::Rename { from: old, to, replace, seen_from, seen_to }], NOW);
        }
        assert_eq!(table.pack().len(), table.packed_len());
    }
}

fn small() -> Vec<u8> {
    let children = [("a", file(1)), ("\u{e9}", linked("URI:LIT:")), ("z", linked("imm.x-new:r"))];
    let meta = metadata(r#"{"k": [1], "tahoe": {"linkcrtime": 1.5}}"#);
    let children = children.map(|(text, child)| (name(text), child, meta.clone()));
    Table::with_children(writer(), children).expect("good children").pack()
}

#[test]
fn every_truncation() {
    let packed = small();
    let table = Table::unpack(packed.clone().into(), writer()).expect("a table");
    let borders: Vec<usize> = table
        .entries
        .values()
        .scan(0, |at, entry| {
            *at += entry.framed().len();
            Some(*at)
        })
        .collect();
    for cut in 0..packed.len() {
        use_all(packed[..cut].to_vec());
        let result = Table::unpack(packed[..cut].to_vec().into(), writer()).map(|table| table.len());
        // Cut between entries it is a shorter table; only the file's own hashes or signature know.
        let whole = borders.iter().position(|&border| border == cut).map(|at| at + 1);
        match (cut, whole) {
            (0, _) => assert_eq!(result, Ok(0)),
            (_, Some(whole)) => assert_eq!(result, Ok(whole)),
            (_, None) => assert!(matches!(result, Err(TableError::Entry { .. })), "{cut}: {result:?}"),
        }
    }
}

#[test]
fn every_flipped_bit() {
    let packed = small();
    for at in 0..packed.len() {
        for bit in 0..8 {
            let mut damaged = packed.clone();
            damaged[at] ^= 1 << bit;
            use_all(damaged);
        }
    }
}

#[test]
fn lengths_that_lie() {
    let netstring = |error| TableError::Entry { at: 0, problem: EntryError::Netstring(error) };
    for (packed, error) in [
        (&b"99999999999999999999:"[..], NetstringError::BadLength),
        (b"18446744073709551615:x,", NetstringError::TooLong { length: u64::MAX, length_max: 23 }),
        (b"-1:,", NetstringError::BadLength),
        (b"016:0:,0:,0:,0:,,", NetstringError::BadLength),
        (b"12:0:,0:,0:,9:,,", NetstringError::TooLong { length: 9, length_max: 3 }),
        (b"9:0:,0:,0:,,", NetstringError::Truncated),
        (b"0:,", NetstringError::Truncated),
    ] {
        let result = Table::unpack(Bytes::from_static(packed), writer()).err();
        assert_eq!(result, Some(netstring(error)), "{}", core::str::from_utf8(packed).expect("text"));
    }
}

#[test]
fn sizes_are_bounded() {
    let long = vec![b'0'; DIRECTORY_LEN_MAX + 1];
    let len = long.len();
    assert_eq!(Table::unpack(long.into(), writer()).err(), Some(TableError::TooLong { len }));
    let many = b"12:0:,0:,0:,0:,,".repeat(DIRECTORY_ENTRIES_MAX + 1);
    assert_eq!(Table::unpack(many.into(), Access::Read).err(), Some(TableError::TooMany));
}

#[test]
fn a_full_directory_says_so() {
    let mut full = Table::empty(writer());
    let entry = Packed::of_child(&name("x"), &file(1), &Metadata::default(), &writer());
    for number in 0..DIRECTORY_ENTRIES_MAX {
        full.put(name(&format!("{number}")), entry.clone());
    }
    assert_eq!(apply(&mut full, link("new", file(1), Seen::Nothing)).err(), Some(EditProblem::Full));
    assert!(apply(&mut full, link("0", file(2), Seen::Unchecked)).is_ok());
    let swap = [unlink("0", Seen::Unchecked), link("new", file(1), Seen::Nothing)];
    assert!(full.apply(&swap, NOW).is_ok());
    assert_eq!(full.len(), DIRECTORY_ENTRIES_MAX);
}

/// An edit leaves all other entries where they are in memory: nothing of them is made anew.
#[test]
fn entries_that_nobody_touches_are_not_made_again() {
    let packed = Bytes::from(small());
    let mut table = Table::unpack(packed.clone(), writer()).expect("a table");
    apply(&mut table, link("b", file(2), Seen::Nothing)).expect("a free name");
    let within = packed.as_ptr_range();
    let kept = table.entries.values().filter(|entry| within.contains(&entry.framed().as_ptr())).count();
    assert_eq!((kept, table.len()), (3, 4));
}

#[test]
fn equal_names_hide_each_other() {
    let entry = |text: &str, cap: &str| Packed::new(&name(text), cap.as_bytes(), b"", "{}").framed().to_vec();
    let three = [entry("a", "URI:LIT:"), entry("a", "x-new:r"), entry("a", "URI:CHK:?")].concat();
    let table = Table::unpack(three.into(), writer()).expect("a table");
    assert_eq!((table.len(), table.shadowed()), (1, 2));
    // The last one is refused, so it hides nothing.
    assert_eq!(table.pack(), entry("a", "x-new:r"));
    let refused = [entry("a", "URI:CHK:?"), entry("a", "URI:CHK:!")].concat();
    assert_eq!(Table::unpack(refused.into(), writer()).expect("a table").pack(), entry("a", "URI:CHK:!"));
}

proptest! {
    #[test]
    fn any_bytes(packed: Vec<u8>) {
        use_all(packed);
    }

    /// Well framed, but with anything in the frames.
    #[test]
    fn any_fields(fields in proptest::collection::vec(any::<Vec<u8>>(), 0..6), sealed: Vec<u8>) {
        let mut content = Vec::new();
        for field in fields.iter().take(2).chain([&sealed]).chain(fields.iter().skip(2)) {
            crate::netstring::write(&mut content, field);
        }
        let mut packed = Vec::new();
        crate::netstring::write(&mut packed, &content);
        use_all(packed);
    }

    #[test]
    fn any_capabilities(write: Option<String>, read: Option<String>, marked in 0..3usize) {
        let mark = ["", "ro.URI:SSK:", "imm.URI:DIR2-CHK:"][marked];
        let read = read.map(|read| format!("{mark}{read}"));
        for kind in [DirectoryKind::Mutable, DirectoryKind::Immutable] {
            let Ok(child) = Child::new(write.as_deref(), read.as_deref(), kind) else { continue };
            prop_assert!(child.read_only().write_cap().is_none());
            let access = if kind == DirectoryKind::Mutable { writer() } else { Access::Immutable };
            let made = Table::with_children(access.clone(), [(name("x"), child, Metadata::default())]);
            let made = made.expect("a child for this kind");
            prop_assert_eq!(Table::unpack(made.pack().into(), access).map(|table| table.len()), Ok(1));
        }
    }
}
