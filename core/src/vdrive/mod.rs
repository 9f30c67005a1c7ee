//! The shared root: one directory that everybody in a grid finds, whoever they are.
//!
//! A *vdrive server* makes it once and hands its capability to whoever asks under one of its two
//! swissnums: one gives the right to change the directory, the other only to read it. The directory
//! itself lives in the grid, so a vdrive server that is lost takes nothing with it: a node keeps the
//! first root it is given and needs the server no more.
//!
//! Whoever runs the vdrive server can read and change the shared root, and could give different
//! nodes different ones. A node that was given one is safe from that: it only warns of another.

mod client;
mod root;
mod server;

pub(crate) use client::VdriveClient;
pub use client::{SharedRootStatus, VdriveLinkStatus};
pub use root::{RootError, RootText, SharedRoot};
pub use server::{MakeRootError, RootMade, RootStage, VdriveAction, VdriveEvent, VdriveServer};

use core::fmt;
use serde::{Deserialize, Serialize};

/// What a swissnum of a vdrive server gives a right to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RootRights {
    /// To read the shared root.
    ReadOnly,
    /// To read and change it.
    Write,
}

/// What a node asks of a vdrive server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum VdriveRequest {
    /// The shared root, as far as the swissnum gives a right to it.
    Root,
}

/// What a vdrive server answers.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum VdriveAnswer {
    /// There is none yet; to be asked for again.
    NotYet,
    /// This is it.
    Root(RootText),
}

/// Why a vdrive server declined.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum VdriveError {
    /// It does not know the request.
    Unsupported,
}

impl fmt::Display for VdriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VdriveError::Unsupported => f.write_str("it does not know the request"),
        }
    }
}

impl core::error::Error for VdriveError {}

#[cfg(test)]
mod tests {
    mod asking;
    mod crashes;
    mod making;
}
