//! Following a path from directory to directory.

use super::{DriveError, Link, Place};
use crate::capability::{Capability, DirectoryCap, MutableCap};
use crate::directory::{Access, Child, DirectoryKind, Name, Table};
use crate::storage_index::StorageIndex;
use alloc::vec::Vec;

/// A way through directories: where it has led so far.
#[derive(Debug)]
pub(super) struct Walk {
    names: Vec<Name>,
    /// How many of them were followed.
    at: usize,
    /// What is there.
    child: Child,
    link: Option<Link>,
    /// The directories that were looked into, by the files they are kept in.
    passed: Vec<StorageIndex>,
}

/// What a walk needs to go on.
#[derive(Debug)]
pub(super) enum Next {
    /// The table of this directory.
    Table(DirectoryCap),
    /// Nothing: it has come to its end.
    There,
}

impl Walk {
    pub(super) fn new(place: &Place) -> Result<Walk, DriveError> {
        Walk::along(place, place.path.names())
    }

    /// The way to the directory that holds the last name of a path, and that name.
    pub(super) fn to_parent(place: &Place) -> Result<(Walk, Name), DriveError> {
        let (names, last) = place.path.split_last().ok_or(DriveError::NoName)?;
        Ok((Walk::along(place, names)?, last.clone()))
    }

    fn along(place: &Place, names: &[Name]) -> Result<Walk, DriveError> {
        if place.start.kind().is_some_and(|kind| kind.only_verifies()) {
            return Err(DriveError::VerifyOnly);
        }
        let child = Child::of(place.start.clone(), DirectoryKind::Mutable);
        // A lone capability of an unknown kind is none of a child, but is none of a directory either.
        let child = child.map_err(|_| DriveError::UnknownKind { at: 0 })?;
        Ok(Walk { names: names.to_vec(), at: 0, child, link: None, passed: Vec::new() })
    }

    /// What it needs now.
    pub(super) fn next(&self) -> Result<Next, DriveError> {
        if self.at == self.names.len() { Ok(Next::There) } else { self.directory().map(Next::Table) }
    }

    /// The directory it has come to.
    pub(super) fn directory(&self) -> Result<DirectoryCap, DriveError> {
        match self.child.capability() {
            Some(Capability::Directory(cap)) => Ok(cap.clone()),
            Some(_) => Err(DriveError::NotADirectory { at: self.at }),
            None => Err(DriveError::UnknownKind { at: self.at }),
        }
    }

    /// Follows one name, through the table of the directory it has come to.
    ///
    /// # Errors
    /// If there is no such name, or it leads to nothing that can be used. The walk stays where it is.
    pub(super) fn follow(&mut self, table: &Table) -> Result<(), DriveError> {
        let directory = self.directory()?;
        self.passed.extend(storage_index(&directory));
        let Some(name) = self.names.get(self.at).cloned() else { return Ok(()) };
        let Some(entry) = table.get(&name) else {
            return Err(DriveError::NoSuchChild { at: self.at, of: self.names.len(), name });
        };
        let child =
            entry.child.clone().map_err(|problem| DriveError::Unusable { name: name.clone(), problem })?;
        self.child = child;
        self.link = Some(Link { directory, name, entry });
        self.at += 1;
        Ok(())
    }

    /// How many names it has followed.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The names it could not follow yet.
    pub(super) fn missing(&self) -> &[Name] {
        &self.names[self.at..]
    }

    /// Whether it led through this directory, or has come to it.
    pub(super) fn touches(&self, directory: &DirectoryCap) -> bool {
        let Some(wanted) = storage_index(directory) else { return false };
        let here = self.directory().ok().and_then(|here| storage_index(&here));
        self.passed.iter().chain(&here).any(|passed| *passed == wanted)
    }

    /// What it has come to, and how that is linked.
    pub(super) fn into_found(self) -> (Child, Option<Link>) {
        (self.child, self.link)
    }
}

/// The right to write to the directory that a walk has come to.
pub(super) fn writable(walk: &Walk) -> Result<MutableCap, DriveError> {
    match walk.directory()? {
        DirectoryCap::Mutable(cap) => Ok(cap),
        _ => Err(DriveError::ReadOnly { at: walk.at() }),
    }
}

/// What a capability allows its holder to do with the table.
pub(super) fn access(directory: &DirectoryCap) -> Result<Access, DriveError> {
    match directory {
        DirectoryCap::Mutable(cap) => Ok(Access::Write(cap.write_key.clone())),
        DirectoryCap::MutableRead(_) => Ok(Access::Read),
        DirectoryCap::Chk(_) | DirectoryCap::Literal(_) => Ok(Access::Immutable),
        DirectoryCap::MutableVerify(_) | DirectoryCap::ChkVerify(_) => Err(DriveError::VerifyOnly),
    }
}

fn storage_index(directory: &DirectoryCap) -> Option<StorageIndex> {
    match directory {
        DirectoryCap::Mutable(cap) => Some(cap.storage_index()),
        DirectoryCap::MutableRead(cap) => Some(cap.storage_index()),
        DirectoryCap::Chk(cap) => Some(cap.storage_index()),
        DirectoryCap::MutableVerify(_) | DirectoryCap::ChkVerify(_) | DirectoryCap::Literal(_) => None,
    }
}
