//! How a change of a mutable file went, for the person who wanted it.

use super::super::{MakeError, Version};
use super::Edits;
use crate::capability::MutableCap;
use crate::directory::{EditError, NewTableError, Outcome, TableError};
use crate::identity::ServerId;
use crate::task::{ServerTrouble, tell};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

/// A change that was made.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The file.
    pub cap: MutableCap,
    /// Its new version.
    pub version: Version,
    /// How many shares there are to be.
    pub total: u8,
    /// Who has taken the new version.
    pub placed: Vec<Placed>,
    /// How many servers had a say.
    pub voters: usize,
    /// What became of each edit of a directory.
    pub outcomes: Vec<Outcome>,
    /// Servers that were no help, and why.
    pub trouble: Vec<ServerTrouble>,
}

/// The shares of a new version that a server has taken.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Placed {
    /// Which server.
    pub server: ServerId,
    /// Which shares.
    pub shares: BTreeSet<u16>,
}

impl Changed {
    /// How many different shares have a place.
    pub fn shares_placed(&self) -> usize {
        let all: BTreeSet<u16> =
            self.placed.iter().flat_map(|placed| placed.shares.iter().copied()).collect();
        all.len()
    }
}

/// Which version it is and where, for people.
impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shares, servers) = (self.shares_placed(), self.placed.len());
        let (s, more) = (if shares == 1 { "" } else { "s" }, if servers == 1 { "" } else { "s" });
        write!(f, "version {}: {shares} share{s} on {servers} server{more}", self.version.sequence)
    }
}

/// For traces.
impl core::hash::Hash for Changed {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        (&self.version, &self.placed, self.voters).hash(state);
    }
}

/// Why a change was not made. Unless it says otherwise, nothing was written, if it failed at the first attempt:
/// what was written before others were faster may still show up.
#[derive(Clone, Debug)]
pub enum ChangeError {
    /// No server is known.
    NoServers,
    /// No keys could be made.
    NoKeys,
    /// Nobody has anything of the file.
    NotFound {
        /// What the servers said.
        trouble: Vec<ServerTrouble>,
    },
    /// Too few servers answered or accepted.
    TooFew {
        /// How many must accept.
        needed: usize,
        /// Of how many.
        voters: usize,
        /// About how many of these the node does not know: that they are there shows in shares that none of
        /// the servers it knows can have.
        strangers: usize,
        /// How many did.
        accepted: usize,
        /// Some may have the new version, of which the next may be made: so the change may still show up.
        may_show_up: bool,
        /// What the others said.
        trouble: Vec<ServerTrouble>,
    },
    /// The servers that answer have room for too few different shares of it: some are full, and each takes no more
    /// than fit into one request.
    NoRoom {
        /// The size of the new content, in bytes.
        size: u64,
        /// How many shares are needed to read it.
        needed: u8,
        /// How many there would be.
        placed: usize,
        /// Some may have a new version from an attempt before.
        may_show_up: bool,
        /// What the servers said.
        trouble: Vec<ServerTrouble>,
    },
    /// What is there cannot be read, so it must not be overwritten.
    Unreadable {
        /// Some may have a new version from an attempt before.
        may_show_up: bool,
        /// What the servers said.
        trouble: Vec<ServerTrouble>,
    },
    /// A part was to be replaced, and several versions are there, of which it does not show which counts.
    Divided {
        /// Some may have a new version from an attempt before.
        may_show_up: bool,
        /// What the servers said.
        trouble: Vec<ServerTrouble>,
    },
    /// No share has the private key that belongs to the capability.
    NoPrivateKey {
        /// What the servers said.
        trouble: Vec<ServerTrouble>,
    },
    /// What is there is no directory.
    NoDirectory(TableError),
    /// The edits cannot be made.
    Edit {
        /// Which, and why.
        error: EditError,
        /// All of them, with what was there when they were first applied.
        edits: Edits,
        /// Some may have a new version from an attempt before.
        may_show_up: bool,
    },
    /// The children do not make a new directory.
    Children(NewTableError),
    /// A part of the file was to be replaced that begins past its end.
    PastEnd {
        /// Where it begins.
        offset: u64,
        /// The file's length in bytes.
        size: u64,
    },
    /// The file was to be made anew, but is there: its key was used before.
    AlreadyThere,
    /// The new version cannot be made.
    Make(MakeError),
    /// Others were faster every time.
    Beaten {
        /// How often it was tried.
        attempts: u32,
        /// Some may have a new version from one of the attempts.
        may_show_up: bool,
    },
    /// The node is stopping.
    Stopping,
}

impl core::hash::Hash for ChangeError {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        core::mem::discriminant(self).hash(state);
    }
}

impl ChangeError {
    /// That an edit cannot be made, to whom it is of no use to have it back.
    pub(crate) fn edit(error: EditError, may_show_up: bool) -> ChangeError {
        ChangeError::Edit { error, edits: Edits(Vec::new()), may_show_up }
    }

    /// What happened, without the names of children: for those who may know that a change failed, but not
    /// what the directory holds.
    pub(crate) fn without_names(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(move |f| match self {
            ChangeError::Edit { error, .. } => write!(f, "{}", error.without_name()),
            ChangeError::Children(error) => write!(f, "{}", error.without_name()),
            // The others have none. Who adds one with text of its own has to think of it here.
            ChangeError::NoServers
            | ChangeError::NoKeys
            | ChangeError::NotFound { .. }
            | ChangeError::TooFew { .. }
            | ChangeError::NoRoom { .. }
            | ChangeError::Unreadable { .. }
            | ChangeError::Divided { .. }
            | ChangeError::NoPrivateKey { .. }
            | ChangeError::NoDirectory(_)
            | ChangeError::PastEnd { .. }
            | ChangeError::AlreadyThere
            | ChangeError::Make(_)
            | ChangeError::Beaten { .. }
            | ChangeError::Stopping => fmt::Display::fmt(self, f),
        })
    }
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangeError::NoServers => f.write_str(
                "no storage server is known: check that the node has an introducers.furl and that the introducer runs, or configure servers by hand",
            ),
            ChangeError::NoKeys => f.write_str("no keys could be made for the file"),
            ChangeError::NotFound { trouble } => {
                f.write_str("no server has anything of the file")?;
                tell(trouble, f)
            }
            ChangeError::TooFew { needed, voters, strangers, accepted, may_show_up, trouble } => {
                write!(f, "the change needs {needed} of {voters} servers, {accepted} took part")?;
                tell(trouble, f)?;
                warn(*may_show_up, f)?;
                match strangers {
                    0 => f.write_str(". Try again when more of the servers are up"),
                    _ => write!(
                        f,
                        "; shares are missing, so about {strangers} of them may be unknown to this node. Try again when it has heard of them, or when other servers have joined"
                    ),
                }
            }
            ChangeError::NoRoom { size, needed, placed, may_show_up, trouble } => {
                write!(
                    f,
                    "the servers that answer have room for {placed} different shares of the {size} bytes, and {needed} are needed to read them"
                )?;
                tell(trouble, f)?;
                warn(*may_show_up, f)?;
                f.write_str(". Try again when more servers are up, or with less")
            }
            ChangeError::Unreadable { may_show_up, trouble } => {
                f.write_str("what is there cannot be read now, so it is not overwritten")?;
                tell(trouble, f)?;
                warn(*may_show_up, f)?;
                f.write_str(". Try again when more of the servers are up and have room")
            }
            ChangeError::Divided { may_show_up, trouble } => {
                f.write_str("the file is there in several versions, and it does not show which of them the part is to be put into")?;
                tell(trouble, f)?;
                warn(*may_show_up, f)?;
                f.write_str(". Try again when more of the servers are up and have room, or replace all of it")
            }
            ChangeError::NoPrivateKey { trouble } => {
                f.write_str("no server has the key that is needed to change the file")?;
                tell(trouble, f)
            }
            ChangeError::NoDirectory(error) => error.fmt(f),
            ChangeError::Edit { error, may_show_up, .. } => {
                error.fmt(f)?;
                warn(*may_show_up, f)
            }
            ChangeError::Children(error) => error.fmt(f),
            ChangeError::PastEnd { offset, size } => {
                write!(f, "byte {offset} lies past the end of the file, which has {size} bytes")
            }
            ChangeError::AlreadyThere => f.write_str(
                "there is a file with this private key already; change it by its capability",
            ),
            ChangeError::Make(error) => error.fmt(f),
            ChangeError::Beaten { attempts, may_show_up } => {
                write!(f, "others changed it at the same time, {attempts} times in a row")?;
                warn(*may_show_up, f)?;
                f.write_str("; look what is there now and try again")
            }
            ChangeError::Stopping => f.write_str("the node is stopping"),
        }
    }
}

/// That the change may have been made all the same.
fn warn(may_show_up: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if may_show_up { f.write_str("; the change may still show up") } else { Ok(()) }
}

impl core::error::Error for ChangeError {}
