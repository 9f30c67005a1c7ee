//! Why a download failed.

use crate::task::{ServerTrouble, tell};
use alloc::vec::Vec;
use core::fmt;

/// Why a download failed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum DownloadError {
    /// Too few good shares could be reached.
    NotEnoughShares {
        /// Distinct shares that could.
        found: usize,
        /// Shares that are needed.
        needed: u16,
        /// Shares that were made.
        total: u16,
        /// Servers asked.
        asked: usize,
        /// Servers that were no help, and why.
        trouble: Vec<ServerTrouble>,
    },
    /// Blocks whose hashes are right do not decode to the ciphertext whose hash is right: whoever
    /// uploaded the file made it so.
    Inconsistent {
        /// Which segment.
        segment: u64,
    },
    /// The node is stopping.
    Stopping,
}

impl fmt::Display for DownloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DownloadError::NotEnoughShares { found, needed, total, asked, trouble } => {
                write!(
                    f,
                    "{found} of the {needed} shares needed could be found ({total} were made), \
                     asking {asked} servers"
                )?;
                tell(trouble, f)?;
                f.write_str(". Try again when more of the servers are up")
            }
            DownloadError::Inconsistent { segment } => write!(
                f,
                "segment {segment} of the file was encoded wrongly by whoever uploaded it; no \
                 server can give it back"
            ),
            DownloadError::Stopping => f.write_str("the node is stopping"),
        }
    }
}

impl core::error::Error for DownloadError {}
