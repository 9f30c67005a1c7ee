//! What an upload tells: its plan, its progress, its result.

use crate::capability::Capability;
use crate::disk::DiskError;
use crate::identity::ServerId;
use crate::task::{ServerTrouble, tell};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Where one share goes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PlannedShare {
    /// Which share.
    pub share: u16,
    /// To which server.
    pub server: ServerId,
    /// The server's name for people.
    pub nickname: String,
    /// The server says that it has the share already.
    pub already_there: bool,
}

/// Where the shares of an upload will go.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UploadPlan {
    /// The file's length in bytes.
    pub size: u64,
    /// Shares that suffice to read the file.
    pub needed: u16,
    /// Shares that are made.
    pub total: u16,
    /// Servers that must hold distinct shares.
    pub happy: usize,
    /// Servers that will hold distinct shares.
    pub happiness: usize,
    /// The shares, by number.
    pub shares: Vec<PlannedShare>,
    /// The file outlives the loss of any this many of its servers.
    pub survives: usize,
}

impl UploadPlan {
    /// How many servers hold shares.
    pub fn servers(&self) -> usize {
        let mut servers: Vec<ServerId> = self.shares.iter().map(|share| share.server).collect();
        servers.sort_unstable();
        servers.dedup();
        servers.len()
    }
}

impl fmt::Display for UploadPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = self.shares.iter().map(|s| s.share).collect::<crate::share_set::ShareSet>().len();
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let servers = self.servers();
        write!(f, "{shares} share{} on {servers} server{}", plural(shares), plural(servers))?;
        match self.survives {
            0 => f.write_str(": survives the loss of none of them"),
            m => write!(f, ": survives the loss of any {m}"),
        }
    }
}

/// What an upload is doing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum UploadStage {
    /// Sending blocks.
    Sending,
    /// Sending hashes and waiting for the servers' disks.
    Closing,
}

/// How far an upload is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UploadProgress {
    /// What it is doing.
    pub stage: UploadStage,
    /// Bytes of the content whose blocks every server in use has confirmed.
    pub confirmed: u64,
    /// The content's length in bytes.
    pub size: u64,
}

/// A finished upload.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Uploaded {
    /// What reads the file. The only secret here.
    pub cap: Capability,
    /// Where the shares are, as the servers confirmed; empty for a literal.
    pub plan: Option<UploadPlan>,
    /// Shares sent; the others were there already.
    pub pushed: usize,
    /// Servers that were asked and did not help.
    pub trouble: Vec<ServerTrouble>,
}

impl Uploaded {
    /// A file so short that its capability is its content.
    pub(super) fn literal(cap: Capability) -> Uploaded {
        Uploaded { cap, plan: None, pushed: 0, trouble: Vec::new() }
    }
}

/// Why an upload failed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum UploadError {
    /// No server is known at all.
    NoServers,
    /// Too few servers take shares.
    Unhappy {
        /// Servers that must hold distinct shares.
        happy: usize,
        /// Servers that would have.
        happiness: usize,
        /// Shares that suffice to read the file.
        needed: u16,
        /// Shares that are made.
        total: u16,
        /// Servers known.
        known: usize,
        /// Servers that were no help, and why.
        trouble: Vec<ServerTrouble>,
    },
    /// The content ended early.
    SourceTooShort {
        /// The length announced.
        expected: u64,
        /// The bytes that came.
        received: u64,
    },
    /// The content went on past the length announced.
    SourceTooLong {
        /// The length announced.
        expected: u64,
    },
    /// A file of this size cannot be coded with these parameters.
    TooLarge {
        /// The file's length in bytes.
        size: u64,
    },
    /// The node's disk failed under the spool.
    Spool(DiskError),
    /// The node's disk has no room for the spool.
    SpoolFull {
        /// Bytes still to come.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The spool gave back less than was written to it.
    SpoolDamaged,
    /// The node is stopping.
    Stopping,
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UploadError::NoServers => f.write_str(
                "no storage server is known: check that the node has an introducers.furl and that \
                 the introducer runs, or configure servers by hand",
            ),
            UploadError::Unhappy { happy, happiness, needed, total, known, trouble } => {
                write!(
                    f,
                    "shares must be on at least {happy} servers, but only {happiness} of the {known} \
                     known take them ({needed} of {total} shares are enough to read the file)"
                )?;
                tell(trouble, f)?;
                f.write_str(". Start more servers, or lower `happy` in the node's configuration")
            }
            UploadError::SourceTooShort { expected, received } => write!(
                f,
                "the content ended after {received} of the {expected} bytes announced: it was cut \
                 off or shrank while it was read; nothing was stored"
            ),
            UploadError::SourceTooLong { expected } => write!(
                f,
                "the content is longer than the {expected} bytes announced: it grew while it was \
                 read; nothing was stored"
            ),
            UploadError::TooLarge { size } => {
                write!(f, "a file of {size} bytes has more segments than the format allows")
            }
            UploadError::Spool(error) => {
                write!(f, "the file could not be spooled in the node's directory: {error}")
            }
            UploadError::SpoolFull { needed, free } => write!(
                f,
                "the disk of the node's directory has {free} bytes free, too few to spool the \
                 {needed} bytes still to come; free some, or use --random-key, which needs no spool"
            ),
            UploadError::SpoolDamaged => {
                f.write_str("the spool in the node's directory lost bytes: its disk or somebody cut the file")
            }
            UploadError::Stopping => f.write_str("the node is stopping"),
        }
    }
}

impl core::error::Error for UploadError {}
