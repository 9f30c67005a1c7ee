//! Changes to a directory, as values that can be applied again. [`Edit`] has the rules.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use core::fmt;

use super::child::{Child, ChildError};
use super::entry::Entry;
use super::metadata::Metadata;
use super::name::{Name, NameError};
use super::table::{Access, Table};

/// A change to a directory.
///
/// Several people may write to a directory at once. Who finds that somebody else was faster reads
/// the new table and applies the same edits to it, and who does not know whether an attempt to write
/// succeeded does likewise. So an edit says what is wanted, and [what its author saw](Seen) under
/// the names it touches. Under other names anything may have happened; for the names it touches
/// there is one rule:
///
/// 1. If the name is as its author saw it, the edit is carried out.
/// 2. Else, if the name is already as the edit would leave it, the edit counts as done
///    ([`Outcome::Already`]) and changes nothing: it, or one that wanted the same, got there before.
///    (A link or a rename is done if the name leads to the child; somebody may have changed the
///    metadata since.)
/// 3. Else somebody has done something else. The edit fails with [`EditProblem::Changed`], and its
///    author has to look again.
///
/// To be as its author saw it, a name must lead to the same child (compared by capabilities); for a
/// change of metadata its metadata must be the same too, apart from the times that directories
/// keep. An author who has not looked ([`Seen::Unchecked`]) means whatever is there: the last one
/// wins, and a second application is a second change. That is how the peer always does it.
///
/// A batch of edits is applied in order, each to what the one before has left, and as a whole: if
/// one fails, nothing has changed.
///
/// # Moving to another directory
///
/// That is two edits in two tables, [made together](Table::moving): first the link in the new
/// place is written, then the one in the old place is removed. After a crash between the two, the
/// child is linked in both, with all rights; nothing is lost, and the move can be made again: the
/// first edit is done already, the second follows. If somebody replaced the child in the old place
/// meanwhile, the second fails and the new child stays where it is.
#[derive(Debug, Clone)]
pub enum Edit {
    /// Makes a name lead to a child.
    Link {
        /// The name.
        name: Name,
        /// The child. If the metadata has `no-write`, it is linked for reading only.
        child: Child,
        /// New metadata, apart from the times; `None` keeps what is there.
        metadata: Option<Metadata>,
        /// Whether it may take another child's place.
        replace: Replace,
        /// What its author saw under the name.
        seen: Seen,
    },
    /// Removes a name.
    Unlink {
        /// The name.
        name: Name,
        /// Whether it is an error that there is no such name.
        must_exist: bool,
        /// What may be removed.
        only: Only,
        /// What its author saw under the name.
        seen: Seen,
    },
    /// Gives a child another name in the same directory, with its metadata apart from the times.
    Rename {
        /// The name it has.
        from: Name,
        /// The name it shall have.
        to: Name,
        /// Whether it may take another child's place.
        replace: Replace,
        /// What its author saw under the old name.
        seen_from: Seen,
        /// What its author saw under the new name.
        seen_to: Seen,
    },
    /// Replaces the metadata of a link, apart from the times.
    SetMetadata {
        /// The name.
        name: Name,
        /// The new metadata. If it has `no-write`, the child stays linked for reading only.
        metadata: Metadata,
        /// What its author saw under the name.
        seen: Seen,
    },
}

/// How a child gets from one place to another.
#[derive(Debug, Clone)]
pub enum Move {
    /// Within one directory: one edit does it.
    Within(Edit),
    /// To another directory.
    Between {
        /// For the new directory, to be written first.
        link: Edit,
        /// For the old one, once the link is durable.
        unlink: Edit,
    },
}

impl Table {
    /// How to move the child `from` of this directory to the name `to` in `target`, which may be the
    /// same directory: two tables are of one directory if they have the same write key. That is
    /// asked here and not left to the caller, because a link and an unlink of one name in one
    /// directory would lose the child.
    ///
    /// # Errors
    /// If one of the directories is read-only here, or there is no such child, or it cannot be used.
    pub fn moving(
        &self,
        from: &Name,
        target: &Table,
        to: Name,
        replace: Replace,
        seen_to: Seen,
    ) -> Result<Move, EditError> {
        let fail = |name: &Name, problem| EditError { at: 0, name: name.clone(), problem };
        let Access::Write(here) = self.access() else { return Err(fail(from, EditProblem::ReadOnly)) };
        let Access::Write(there) = target.access() else { return Err(fail(&to, EditProblem::ReadOnly)) };
        let entry = self.get(from).ok_or_else(|| fail(from, EditProblem::NoSuchChild))?;
        let from = from.clone();
        if here == there {
            let seen_from = Seen::Entry(Box::new(entry));
            return Ok(Move::Within(Edit::Rename { from, to, replace, seen_from, seen_to }));
        }
        let child = entry.child.clone().map_err(|problem| fail(&from, EditProblem::Child(problem)))?;
        let metadata = Some(entry.metadata.clone().unwrap_or_default());
        let link = Edit::Link { name: to, child, metadata, replace, seen: seen_to };
        let seen = Seen::Entry(Box::new(entry));
        let unlink = Edit::Unlink { name: from, must_exist: true, only: Only::Anything, seen };
        Ok(Move::Between { link, unlink })
    }
}

impl Edit {
    /// Notes what there is now as what the author of a batch saw, where he did not look and it makes a
    /// difference for a second application: so that edits whose first writing may have succeeded are not
    /// taken for somebody else's. Of several edits of one name that is for the first.
    pub fn pin(batch: &mut [Edit], table: &Table) {
        let mut touched = BTreeSet::new();
        let mut look = |name: &Name, seen: &mut Seen| {
            if touched.insert(name.clone()) && matches!(seen, Seen::Unchecked) {
                *seen = table.get(name).into();
            }
        };
        for edit in batch {
            match edit {
                // Whoever links last means to win.
                Edit::Link { name, replace: Replace::Anything, .. } | Edit::SetMetadata { name, .. } => {
                    look(name, &mut Seen::Nothing);
                }
                Edit::Link { name, seen, .. } | Edit::Unlink { name, seen, .. } => look(name, seen),
                Edit::Rename { from, to, seen_from, seen_to, .. } => {
                    look(from, seen_from);
                    look(to, seen_to);
                }
            }
        }
    }
}

/// What the author of an edit saw under a name.
#[derive(Debug, Clone)]
pub enum Seen {
    /// Did not look, and means whatever is there.
    Unchecked,
    /// There was nothing.
    Nothing,
    /// This was there.
    Entry(Box<Entry>),
}

impl From<Option<Entry>> for Seen {
    /// From what [`Table::get`](super::Table::get) gives.
    fn from(entry: Option<Entry>) -> Seen {
        entry.map_or(Seen::Nothing, |entry| Seen::Entry(Box::new(entry)))
    }
}

/// Whether a link may take the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replace {
    /// Whatever is there.
    Anything,
    /// Anything but a directory.
    OnlyFiles,
    /// The name must be free.
    Nothing,
}

/// What may be unlinked. A child of unknown kind always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Only {
    /// Whatever is there.
    Anything,
    /// No directory.
    Files,
    /// No file.
    Directories,
}

/// How an edit went.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It has changed the table.
    Done {
        /// What was there before: under the name, or, for a rename, under the new name.
        before: Option<Box<Entry>>,
    },
    /// It was done already; nothing has changed.
    Already,
}

/// Why edits cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditError {
    /// Which of the batch, from 0.
    pub at: usize,
    /// The name it concerns.
    pub name: Name,
    /// What is wrong.
    pub problem: EditProblem,
}

/// What is wrong with an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditProblem {
    /// The directory was opened for reading only, or is immutable.
    ReadOnly,
    /// There is no such child.
    NoSuchChild,
    /// The name is taken, and nothing may be replaced.
    Exists,
    /// The name is a directory's, and only files may be replaced.
    WouldReplaceDirectory,
    /// It is a directory, and only files may be unlinked.
    NotAFile,
    /// It is a file, and only directories may be unlinked.
    NotADirectory,
    /// Somebody else has changed what the edit is about.
    Changed {
        /// What is there now.
        found: Found,
    },
    /// The name would not be given to a child.
    Name(NameError),
    /// The child cannot be used, so it cannot be linked elsewhere.
    Child(ChildError),
    /// The directory has no room.
    Full,
}

/// What is there instead of what the author of an edit saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Something that was not there, or another child.
    OtherChild,
    /// The same child, but with other metadata.
    OtherMetadata,
}

impl EditError {
    /// What is wrong, without the name: for those who may know that a change failed, but not what the
    /// directory holds.
    pub fn without_name(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|out| self.problem.tell_of(&"a child", out))
    }
}

impl fmt::Display for EditError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.tell_of(&self.name, out)
    }
}

impl EditProblem {
    /// Says it of `name`.
    fn tell_of(&self, name: &dyn fmt::Display, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditProblem::ReadOnly => write!(out, "{name} cannot be changed: the directory is read-only here"),
            EditProblem::NoSuchChild => write!(out, "{name} is not in the directory"),
            EditProblem::Exists => write!(out, "{name} is in the directory already"),
            EditProblem::WouldReplaceDirectory => {
                write!(out, "{name} is a directory and would be replaced")
            }
            EditProblem::NotAFile => write!(out, "{name} is a directory, not a file"),
            EditProblem::NotADirectory => write!(out, "{name} is a file, not a directory"),
            EditProblem::Changed { found } => {
                write!(out, "somebody else has changed {name}: ")?;
                out.write_str(match found {
                    Found::Nothing => "it is gone",
                    Found::OtherChild => "it is something else now",
                    Found::OtherMetadata => "its metadata is different now",
                })
            }
            EditProblem::Name(problem) => write!(out, "{name}: {problem}"),
            EditProblem::Child(problem) => write!(out, "{name} cannot be linked elsewhere: {problem}"),
            EditProblem::Full => write!(out, "the directory is full; there is no room for {name}"),
        }
    }
}

impl core::error::Error for EditError {}
