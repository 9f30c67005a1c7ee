//! Drives: trees of directories, and what people do in them.
//!
//! A drive is a directory and all that can be reached through it. An [`Errand`] is one thing somebody
//! wants in one: look what is at a place, make a directory, change one, move something. The machine
//! that runs errands (`Drive`) reads and writes no share itself: it asks the node for reads, changes
//! and uploads, like anybody outside, and puts them together.
//!
//! Edits of one directory that come while it is being written wait and go into its next version
//! together.

mod batch;
mod error;
mod fetch;
mod machine;
mod make;
mod shift;
mod stats;
mod step;
mod survey;
mod walk;

pub use error::DriveError;
pub(crate) use machine::{Drive, DriveAction};
pub use stats::TreeStats;
pub use survey::{Found, SurveyLimit, Surveyed};

use crate::capability::{Capability, DirectoryCap, MutableFormat};
use crate::directory::{Child, Edit, Entry, Metadata, Name, Outcome, Path, Replace, Table};
use crate::mutable::Edits;
use crate::rsa::PrivateKey;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

/// A place in a drive: the way from a capability to something below it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    /// Where the way begins.
    pub start: Capability,
    /// The names to follow from there; none means the start itself.
    pub path: Path,
}

/// What somebody wants in a drive. Each is answered by one [`Errand`]'s worth of [`Done`].
#[derive(Clone, Hash, Debug)]
pub enum Errand {
    /// Find what is at a place. Answered by [`Done::Seen`].
    Look {
        /// Where.
        place: Place,
        /// Whether the table is wanted, if it is a directory.
        list: bool,
    },
    /// Make a directory. Answered by [`Done::Made`].
    Make {
        /// Where it is linked, with the directories on the way there that are missing; nowhere, if
        /// `None`. If there is a directory already, that is the answer. All that is missing appears at
        /// once: nobody sees half of a path.
        place: Option<Place>,
        /// What is made.
        new: NewDirectory,
    },
    /// Change a directory. Answered by [`Done::Edited`].
    Edit {
        /// Which.
        directory: Place,
        /// Whether it is made, with the directories on the way, if it is not there.
        parents: Parents,
        /// What becomes of it: all of that or nothing.
        edits: Edits,
    },
    /// Give something another place: link it there, then remove the old link. Answered by
    /// [`Done::Edited`] with the outcome of the link.
    Move {
        /// Where it is.
        from: Place,
        /// Where it shall be. The last name is the new one.
        to: Place,
        /// Whether it may take another's place.
        replace: Replace,
    },
    /// Go through all that can be reached from a directory, each file and directory once. It waits for
    /// [`Command::SurveyNext`] before each directory, and tells what it finds with
    /// [`Report::Surveyed`]. Answered by [`Done::Surveyed`].
    ///
    /// [`Command::SurveyNext`]: crate::operation::Command::SurveyNext
    /// [`Report::Surveyed`]: crate::operation::Report::Surveyed
    Survey {
        /// Where it begins.
        directory: Place,
    },
}

/// What is done about directories that are missing on the way to a place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Parents {
    /// They must be there.
    Expect,
    /// They are made, as SDMF.
    Make,
}

/// A directory to be made.
#[derive(Clone, Debug)]
pub struct NewDirectory {
    /// What becomes of its table.
    pub keep: Keep,
    /// What is in it at first. The metadata is written as it is given.
    pub children: Vec<(Name, Child, Metadata)>,
}

/// Where the table of a new directory is kept.
#[derive(Clone, Debug)]
pub enum Keep {
    /// In a mutable file of this format, with this key or a new one.
    Mutable(MutableFormat, Option<PrivateKey>),
    /// In an immutable file, or in the capability itself if it is short.
    Immutable,
}

/// For traces: only how many children there are.
impl Hash for NewDirectory {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.children.len().hash(state);
    }
}

/// What came of an errand.
#[derive(Clone, Debug)]
pub enum Done {
    /// What is at a place.
    Seen(Box<Sight>),
    /// A directory is there.
    Made {
        /// The directory.
        cap: DirectoryCap,
        /// Whether it was there before.
        existed: bool,
    },
    /// A directory was changed.
    Edited {
        /// The directory.
        directory: DirectoryCap,
        /// How each edit went.
        outcomes: Vec<Outcome>,
    },
    /// A tree was gone through.
    Surveyed(Box<TreeStats>),
}

/// For traces: capabilities and what is in directories do not matter.
impl Hash for Done {
    fn hash<H: Hasher>(&self, state: &mut H) {
        core::mem::discriminant(self).hash(state);
    }
}

/// What is at a place.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The strongest right to it that the way there gives.
    pub child: Child,
    /// How it is linked; `None` for the start of a way.
    pub link: Option<Link>,
    /// What is in it, if that was asked for and it is a directory.
    pub table: Option<Table>,
    /// Whether a directory on the way, or the table, was read in an older version, because too few
    /// shares of the newest could be reached.
    pub outdated: bool,
}

/// A link to something, as it is in its directory.
#[derive(Clone, Debug)]
pub struct Link {
    /// The directory.
    pub directory: DirectoryCap,
    /// The name there.
    pub name: Name,
    /// All that the directory says.
    pub entry: Entry,
}

impl NewDirectory {
    /// An empty directory in a mutable file.
    pub fn empty(format: MutableFormat) -> NewDirectory {
        NewDirectory { keep: Keep::Mutable(format, None), children: Vec::new() }
    }
}

impl Errand {
    /// A single edit of a directory that must be there.
    pub fn edit(directory: Place, edit: Edit) -> Errand {
        Errand::Edit { directory, parents: Parents::Expect, edits: Edits([edit].into()) }
    }
}
