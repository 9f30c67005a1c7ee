//! Directories as the peer packs, sees and edits them.

#[expect(dead_code, reason = "shared with tests that need more of it")]
mod common;

use std::collections::BTreeMap;

use bytes::Bytes;
use common::{base64, vectors};
use serde::Deserialize;
use tallac_core::capability::{Capability, CapabilityError, Field, Kind, Mark, Problem};
use tallac_core::directory::*;
use tallac_core::secret::WriteKey;
use tallac_core::time::UnixTime;

#[derive(Deserialize)]
struct Vectors {
    write_key: String,
    now: u64,
    tables: Vec<KnownTable>,
    edited: String,
    edits: Vec<KnownEdit>,
}

#[derive(Deserialize)]
struct KnownTable {
    name: String,
    access: String,
    packed: String,
    children: Option<Vec<KnownChild>>,
    views: BTreeMap<String, View>,
}

#[derive(Deserialize)]
struct KnownChild {
    name: String,
    write: Option<String>,
    read: Option<String>,
    metadata: String,
}

#[derive(Deserialize)]
struct View {
    error: Option<String>,
    entries: Option<Vec<SeenChild>>,
}

#[derive(Deserialize, PartialEq, Debug)]
struct SeenChild {
    name: String,
    kind: String,
    write: Option<String>,
    read: Option<String>,
    metadata: String,
}

#[derive(Deserialize)]
struct KnownEdit {
    edit: Step,
    error: Option<String>,
    after: String,
}

#[derive(Deserialize, Debug)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Step {
    Link {
        name: String,
        write: Option<String>,
        read: Option<String>,
        metadata: Option<String>,
        replace: String,
    },
    Unlink {
        name: String,
        must_exist: bool,
        only: String,
    },
    Rename {
        name: String,
        to: String,
        replace: String,
    },
    Metadata {
        name: String,
        metadata: String,
    },
}

impl Vectors {
    fn access(&self, access: &str) -> Access {
        match access {
            "write" => Access::Write(WriteKey::try_from(&base64(&self.write_key)[..]).expect("16 bytes")),
            "read" => Access::Read,
            "immutable" => Access::Immutable,
            other => panic!("{other}"),
        }
    }
}

fn load() -> Vectors {
    vectors("directories.json")
}

fn name(text: &str) -> Name {
    Name::existing(text).expect("not too long")
}

fn metadata(text: &str) -> Metadata {
    Metadata::parse(text).expect("the peer writes JSON")
}

fn show(name: &Name, entry: &Entry) -> Option<SeenChild> {
    let child = entry.child.as_ref().ok()?;
    let kind = match child.kind() {
        ChildKind::File => "file",
        ChildKind::Directory => "directory",
        ChildKind::Unknown => "unknown",
    };
    let text = |cap: Option<Capability>| cap.map(|cap| cap.to_string());
    Some(SeenChild {
        name: name.as_str().to_owned(),
        kind: kind.to_owned(),
        write: text(child.write_cap()),
        read: text(child.read_cap()),
        metadata: entry.metadata.as_ref().expect("metadata that the peer can read").to_json(),
    })
}

#[test]
fn tables_are_packed_as_the_peer_does() {
    let vectors = load();
    let mut packed_here = 0;
    for table in &vectors.tables {
        let (Some(children), access) = (&table.children, vectors.access(&table.access)) else { continue };
        let made = Table::with_children(
            access.clone(),
            children.iter().map(|child| {
                let (write, read) = (child.write.as_deref(), child.read.as_deref());
                let made = Child::new(write, read, access.kind());
                (name(&child.name), made.expect("a child for the peer"), metadata(&child.metadata))
            }),
        );
        if table.name == "odd names" {
            assert!(matches!(made, Err(NewTableError::Name { .. })));
        } else {
            assert_eq!(made.expect("good children").pack(), base64(&table.packed), "{}", table.name);
            packed_here += 1;
        }
        let read = Table::unpack(base64(&table.packed).into(), access).expect("a table of the peer");
        assert_eq!(read.pack(), base64(&table.packed), "{}", table.name);
        assert_eq!(read.len(), children.len(), "{}", table.name);
    }
    assert_eq!(packed_here, 8);
}

#[test]
fn children_are_seen_as_the_peer_sees_them() {
    let vectors = load();
    for table in &vectors.tables {
        for (access, view) in &table.views {
            let ours = Table::unpack(base64(&table.packed).into(), vectors.access(access));
            let context = format!("{} / {access}", table.name);
            match (view, &*table.name) {
                // Where the peer gives up the directory, only the entry suffers.
                (View { error: Some(_), .. }, "metadata is a list" | "metadata is no JSON") => {
                    let ours = ours.expect("a table");
                    let entry = ours.get(&name("a")).expect("an entry");
                    assert!(entry.child.is_ok() && entry.metadata.is_err(), "{context}");
                }
                (View { error: Some(_), .. }, _) => assert!(ours.is_err(), "{context}"),
                (View { entries: Some(theirs), .. }, table) => {
                    let ours = ours.expect("a table");
                    let mut seen: Vec<_> =
                        ours.iter().filter_map(|(name, entry)| show(name, &entry)).collect();
                    if table == "metadata spelled otherwise" {
                        assert_eq!(seen[0].metadata, r#"{"x": 1E2, "y": NaN, "x": [ ]}"#);
                        seen[0].metadata = theirs[0].metadata.clone();
                    }
                    assert_eq!(&seen, theirs, "{context}");
                }
                _ => panic!("{context}"),
            }
        }
    }
}

#[test]
fn refused_children_are_kept() {
    let vectors = load();
    let table = vectors.tables.iter().find(|table| table.name == "refused ones").expect("this table");
    let packed = base64(&table.packed);
    let mut ours = Table::unpack(packed.clone().into(), vectors.access("write")).expect("a table");
    let refused: Vec<_> = ours
        .iter()
        .filter_map(|(name, entry)| Some((name.as_str().to_owned(), entry.child.err()?)))
        .collect();
    let short = |kind| {
        let problem = Problem::Length { expected: 26, found: 8 };
        ChildError::Capability(CapabilityError::Field { kind, field: Field::Key, problem })
    };
    let expected = [
        ("a", short(Kind::Chk)),
        ("b", short(Kind::Sdmf)),
        ("c", ChildError::Capability(CapabilityError::Right { kind: Kind::SdmfRead, mark: Mark::Immutable })),
        ("d", ChildError::UnknownRights),
        ("e", ChildError::WritableImmutable),
    ];
    assert_eq!(refused, expected.map(|(name, error)| (name.to_owned(), error)));
    let link = Edit::Link {
        name: name("zz"),
        child: Child::new(Some("URI:LIT:"), None, DirectoryKind::Mutable).expect("a child"),
        metadata: None,
        replace: Replace::Anything,
        seen: Seen::Unchecked,
    };
    ours.apply(&[link], UnixTime(1)).expect("a writable table");
    assert!(ours.pack().starts_with(&packed));
}

#[test]
fn edits_give_the_peers_tables() {
    let vectors = load();
    let before = Bytes::from(base64(&vectors.edited));
    for known in &vectors.edits {
        let context = format!("{:?}", known.edit);
        let mut table = Table::unpack(before.clone(), vectors.access("write")).expect("the peer's table");
        let result = edit(&known.edit)
            .map(|edit| table.apply(&[edit], UnixTime(vectors.now)).map_err(|error| error.problem));
        match (result, known.error.as_deref()) {
            (Ok(Ok(_)), None) => {}
            (Err(error), Some("MustNotBeUnknownRWError")) => assert_eq!(error, ChildError::UnknownRights),
            (Ok(Err(problem)), Some(theirs)) => {
                let expected = match problem {
                    EditProblem::NoSuchChild => "NoSuchChildError",
                    EditProblem::Exists | EditProblem::WouldReplaceDirectory => "ExistingChildError",
                    EditProblem::NotAFile | EditProblem::NotADirectory => "ChildOfWrongTypeError",
                    _ => panic!("{context}: {problem:?}"),
                };
                assert_eq!(theirs, expected, "{context}");
            }
            (result, theirs) => panic!("{context}: {result:?}, the peer: {theirs:?}"),
        }
        let (ours, theirs) = (table.pack(), base64(&known.after));
        assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs), "{context}");
        assert_eq!(ours, theirs, "{context}");
    }
}

fn edit(step: &Step) -> Result<Edit, ChildError> {
    let replacing = |text: &str| match text {
        "anything" => Replace::Anything,
        "only-files" => Replace::OnlyFiles,
        "nothing" => Replace::Nothing,
        other => panic!("{other}"),
    };
    Ok(match step {
        Step::Link { name: n, write, read, metadata: m, replace } => Edit::Link {
            name: name(n),
            child: Child::new(write.as_deref(), read.as_deref(), DirectoryKind::Mutable)?,
            metadata: m.as_deref().map(metadata),
            replace: replacing(replace),
            seen: Seen::Unchecked,
        },
        Step::Unlink { name: n, must_exist, only } => Edit::Unlink {
            name: name(n),
            must_exist: *must_exist,
            only: match &**only {
                "anything" => Only::Anything,
                "files" => Only::Files,
                "directories" => Only::Directories,
                other => panic!("{other}"),
            },
            seen: Seen::Unchecked,
        },
        Step::Rename { name: n, to, replace } => Edit::Rename {
            from: name(n),
            to: name(to),
            replace: replacing(replace),
            seen_from: Seen::Unchecked,
            seen_to: Seen::Unchecked,
        },
        Step::Metadata { name: n, metadata: m } => {
            Edit::SetMetadata { name: name(n), metadata: metadata(m), seen: Seen::Unchecked }
        }
    })
}

#[test]
fn one_more_child_leaves_all_others_as_they_were() {
    let vectors = load();
    let packed = base64(&vectors.edited);
    let mut table = Table::unpack(packed.clone().into(), vectors.access("write")).expect("the peer's table");
    let child = Child::new(Some("URI:LIT:"), None, DirectoryKind::Mutable).expect("a child");
    let link =
        Edit::Link { name: name("n"), child, metadata: None, replace: Replace::Nothing, seen: Seen::Nothing };
    table.apply(&[link], UnixTime(7)).expect("a free name");
    let with = table.pack();
    let start = with.windows(8).position(|at| at == b"1:n,8:UR").expect("the new entry") - 4;
    let added = with.len() - packed.len();
    assert_eq!([&with[..start], &with[start + added..]].concat(), packed);
}
