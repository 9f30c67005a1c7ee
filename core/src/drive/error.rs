//! Why an errand failed, for the person who sent it.

use super::SurveyLimit;
use crate::capability::CapabilityError;
use crate::directory::{ChildError, Name, NameError, NewTableError, TableError};
use crate::download::DownloadError;
use crate::limits::{PATH_DEPTH_MAX, SURVEY_SEEN_MAX};
use crate::mutable::{ChangeError, ReadError};
use crate::upload::UploadError;
use core::fmt;

/// Why an errand failed. Nothing was changed, unless it says otherwise.
#[derive(Clone, Debug)]
pub enum DriveError {
    /// A directory has no child of this name.
    NoSuchChild {
        /// Which name of the path, from 0.
        at: usize,
        /// How many names the path has.
        of: usize,
        /// The name.
        name: Name,
    },
    /// A path leads through something that is no directory, or a directory was asked for.
    NotADirectory {
        /// How many names of the path lead to it.
        at: usize,
    },
    /// A name leads to a capability that cannot be used.
    Unusable {
        /// The name.
        name: Name,
        /// Why.
        problem: ChildError,
    },
    /// Its capability is of a kind that this version does not know.
    UnknownKind {
        /// How many names of the path lead to it.
        at: usize,
    },
    /// The capability grants no more than to verify.
    VerifyOnly,
    /// What was to be changed can only be read.
    ReadOnly {
        /// How many names of the path lead to it.
        at: usize,
    },
    /// A name of a new directory would not be given to anybody.
    Name {
        /// The name.
        name: Name,
        /// What is wrong with it.
        problem: NameError,
    },
    /// There is no name to give: the path is empty.
    NoName,
    /// Something else is there already.
    Exists {
        /// The name.
        name: Name,
    },
    /// A capability is malformed or does not go there.
    Capability(CapabilityError),
    /// A directory would be in itself, or below itself.
    IntoItself,
    /// The children of a new directory do not make one.
    Children(NewTableError),
    /// A directory cannot be read.
    Read(ReadError),
    /// An immutable directory cannot be read.
    Download(DownloadError),
    /// What is in the file is no directory.
    Table(TableError),
    /// A directory was not changed or made.
    Change(ChangeError),
    /// An immutable directory was not stored.
    Upload(UploadError),
    /// The link is in its new place, but the old one was not removed.
    LeftBehind(ChangeError),
    /// Others made directories of these names at the same time, again and again.
    Beaten,
    /// A tree is too large to be gone through.
    TooMuch(SurveyLimit),
    /// Too many errands wait already.
    Busy,
    /// The node is stopping.
    Stopping,
}

impl core::hash::Hash for DriveError {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        core::mem::discriminant(self).hash(state);
    }
}

impl fmt::Display for DriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DriveError::NoSuchChild { name, .. } => write!(f, "there is no {name}"),
            DriveError::NotADirectory { at: 0 } => f.write_str("this is not a directory"),
            DriveError::NotADirectory { at } => write!(f, "part {at} of the path is not a directory"),
            DriveError::Unusable { name, problem } => write!(f, "{name} cannot be used: {problem}"),
            DriveError::UnknownKind { .. } => {
                f.write_str("it is of a kind that this version does not know; a newer one may")
            }
            DriveError::VerifyOnly => {
                f.write_str("with a verify capability one can check a directory or file, but not read it")
            }
            DriveError::ReadOnly { at: 0 } => f.write_str("this is a read-only capability"),
            DriveError::ReadOnly { at } => write!(f, "part {at} of the path is read-only"),
            DriveError::Name { name, problem } => write!(f, "{name}: {problem}"),
            DriveError::NoName => f.write_str("a name is missing at the end of the path"),
            DriveError::Exists { name } => write!(f, "there is a {name} already"),
            DriveError::Capability(error) => error.fmt(f),
            DriveError::IntoItself => {
                f.write_str("a directory cannot be moved into itself, or into one that is in it")
            }
            DriveError::Children(error) => error.fmt(f),
            DriveError::Read(error) => error.fmt(f),
            DriveError::Download(error) => error.fmt(f),
            DriveError::Table(error) => error.fmt(f),
            DriveError::Change(error) => error.fmt(f),
            DriveError::Upload(error) => error.fmt(f),
            DriveError::LeftBehind(error) => {
                write!(f, "it is in its new place, but in the old one, too: {error}")
            }
            DriveError::Beaten => f.write_str(
                "others make directories of the same names at the same time, again and again; look what is \
                 there now and try again",
            ),
            DriveError::TooMuch(SurveyLimit::Objects) => write!(
                f,
                "the tree has more than {SURVEY_SEEN_MAX} files and directories; go through parts of it one by one"
            ),
            DriveError::TooMuch(SurveyLimit::Waiting) => f.write_str(
                "the tree has too many directories beside each other; go through parts of it one by one",
            ),
            DriveError::TooMuch(SurveyLimit::Depth) => {
                write!(f, "more than {PATH_DEPTH_MAX} directories are within each other")
            }
            DriveError::Busy => f.write_str("the node has too much to do; try again later"),
            DriveError::Stopping => f.write_str("the node is stopping"),
        }
    }
}

impl core::error::Error for DriveError {}
