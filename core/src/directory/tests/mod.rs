//! What the tests of directories share.

mod conflicts;
mod hostile;
mod metadata;
mod model;
mod names;
mod narrowing;

use alloc::format;
use alloc::string::String;

use super::*;
use crate::base32;
use crate::secret::WriteKey;
use crate::time::UnixTime;

const NOW: UnixTime = UnixTime(1_700_000_000);

fn writer() -> Access {
    Access::Write(WriteKey::from_bytes([3; 16]))
}

/// Of another directory.
fn other_writer() -> Access {
    Access::Write(WriteKey::from_bytes([4; 16]))
}

fn name(text: &str) -> Name {
    Name::existing(text).expect("a short name")
}

fn key_fields(seed: u8) -> String {
    format!("{}:{}", base32::encode(&[seed; 16]), base32::encode(&[seed; 32]))
}

fn linked(cap: &str) -> Child {
    Child::new(Some(cap), None, DirectoryKind::Mutable).expect("a good capability")
}

/// A mutable file, another one for each seed.
fn file(seed: u8) -> Child {
    linked(&format!("URI:SSK:{}", key_fields(seed)))
}

/// A mutable directory, another one for each seed.
fn folder(seed: u8) -> Child {
    linked(&format!("URI:DIR2:{}", key_fields(seed)))
}

fn metadata(text: &str) -> Metadata {
    Metadata::parse(text).expect("metadata")
}

fn table(children: &[(&str, Child)]) -> Table {
    let children = children.iter().map(|(text, child)| (name(text), child.clone(), Metadata::default()));
    Table::with_children(writer(), children).expect("good children")
}

fn link(text: &str, child: Child, seen: Seen) -> Edit {
    Edit::Link { name: name(text), child, metadata: None, replace: Replace::Anything, seen }
}

fn unlink(text: &str, seen: Seen) -> Edit {
    Edit::Unlink { name: name(text), must_exist: true, only: Only::Anything, seen }
}

fn rename(from: &str, to: &str, seen_from: Seen, seen_to: Seen) -> Edit {
    Edit::Rename { from: name(from), to: name(to), replace: Replace::Anything, seen_from, seen_to }
}

fn set_metadata(text: &str, json: &str, seen: Seen) -> Edit {
    Edit::SetMetadata { name: name(text), metadata: metadata(json), seen }
}

/// What an author sees under a name.
fn look(table: &Table, text: &str) -> Seen {
    table.get(&name(text)).into()
}

/// Applies one edit.
fn apply(table: &mut Table, edit: Edit) -> Result<Outcome, EditProblem> {
    let outcomes = table.apply(&[edit], NOW).map_err(|error| error.problem)?;
    Ok(outcomes.into_iter().next().expect("one outcome for one edit"))
}

fn child_at(table: &Table, text: &str) -> Option<Child> {
    table.get(&name(text)).map(|entry| entry.child.expect("a usable child"))
}
