//! What reading a mutable file found, or why it failed.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::mutable::Version;
use crate::task::{ServerTrouble, tell};

/// What is being read.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Found {
    /// The version.
    pub version: Version,
    /// The bytes that follow: those asked for, as far as the file has them.
    pub range: Range<u64>,
    /// The highest sequence number that was seen. If it is not that of the version, then a newer one
    /// exists of which too few shares could be reached.
    pub highest_sequence: u64,
}

impl Found {
    /// The length of the file in bytes.
    pub fn size(&self) -> u64 {
        self.version.size
    }

    /// Whether no newer version was seen.
    pub fn is_newest(&self) -> bool {
        self.version.sequence == self.highest_sequence
    }
}

/// Why a mutable file could not be read.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ReadError {
    /// No server has a share that the capability vouches for.
    NotFound {
        /// Servers asked.
        asked: usize,
        /// Servers that were no help, and why.
        trouble: Vec<ServerTrouble>,
    },
    /// Too few good shares of any version could be reached.
    NotEnoughShares {
        /// The number of the newest version.
        sequence: u64,
        /// Distinct good shares of it.
        found: usize,
        /// Shares that are needed.
        needed: u8,
        /// Shares that were made.
        total: u8,
        /// Servers asked.
        asked: usize,
        /// Servers that were no help, and why.
        trouble: Vec<ServerTrouble>,
    },
    /// The file was changed while it was being read.
    Changed,
    /// Blocks whose hashes are right do not fit together: whoever wrote the file made it so.
    Inconsistent {
        /// Which segment.
        segment: u64,
    },
    /// The node is stopping.
    Stopping,
}

impl fmt::Display for ReadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { asked, trouble } => {
                write!(out, "none of {asked} servers has a good share of this file")?;
                tell(trouble, out)?;
                write!(out, ". Try again when more of the servers are up")
            }
            Self::NotEnoughShares { sequence, found, needed, total, asked, trouble } => {
                write!(
                    out,
                    "{found} of the {needed} shares needed of version {sequence} could be found ({total} \
                     were made), asking {asked} servers, and no older version could be read"
                )?;
                tell(trouble, out)?;
                write!(out, ". Try again when more of the servers are up")
            }
            Self::Changed => write!(out, "the file was changed while it was being read; read it again"),
            Self::Inconsistent { segment } => write!(
                out,
                "segment {segment} of the file was encoded wrongly by whoever wrote it; no server can give \
                 it back, but who has the write capability can write the file anew"
            ),
            Self::Stopping => write!(out, "the node is stopping"),
        }
    }
}

impl core::error::Error for ReadError {}
