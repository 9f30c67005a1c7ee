//! What the core asks of a disk.
//!
//! The core knows places by what they hold ([`StorePath`]), not by file names; the host maps them
//! to the directory layout of Tahoe-LAFS 1.20. An action on the disk is a short list of
//! [`DiskStep`]s, run in order until one fails. Crash safety is composed here, in the open, from
//! steps whose durability is spelled out: that is what the simulator's disk attacks.

use crate::payload::Payload;
use crate::storage_index::StorageIndex;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A place on a node's disk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StorePath {
    /// A whole share: a container file of the storage server.
    Share(StorageIndex, u16),
    /// A share in progress: unlisted, unreadable, removed when the node starts.
    Incoming(StorageIndex, u16),
    /// The record of a write to a mutable slot that is about to happen. Not removed when the node
    /// starts: what was begun is completed from it.
    Redo(StorageIndex),
    /// What a client reported about a share: one file per report, named by its time in microseconds
    /// since 1970, which the server makes unique.
    Advisory(StorageIndex, u16, u64),
    /// Plaintext waiting to be uploaded: mode 0600, removed when the node starts.
    Spool(u64),
    /// The announcements last heard, so that the grid is found while every introducer is down.
    AnnouncementCache,
    /// The sequence number of the node's last announcement.
    AnnouncementSequence,
    /// The right to write the shared root that this node hands out as a vdrive server: mode 0600.
    VdriveRoot,
    /// The shared root that this node was given and keeps: mode 0600.
    SharedRoot,
    /// The capability of the owner's personal drive, in the node's private directory: mode 0600. Who uses
    /// the drive first makes it, and nobody writes it again.
    PersonalRoot,
}

/// One operation on the disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum DiskStep {
    /// Make an empty file and the directories above it. Fails with [`DiskError::Exists`].
    Create(StorePath),
    /// Write at an offset of an existing file. Not durable before [`DiskStep::Sync`].
    Write {
        /// The file.
        path: StorePath,
        /// Where the first byte goes.
        offset: u64,
        /// What to write.
        data: Payload,
    },
    /// Read up to `len` bytes; fewer at the end of the file. Yields [`DiskOutput::Data`].
    Read {
        /// The file.
        path: StorePath,
        /// Offset of the first byte.
        offset: u64,
        /// Most bytes to read.
        len: u64,
    },
    /// The length of a file. Yields [`DiskOutput::Length`].
    Length(StorePath),
    /// Cut a file to a length.
    Truncate(StorePath, u64),
    /// Make the content of a file durable. After a failure the content is lost: the file must not
    /// be acknowledged, and syncing again proves nothing.
    Sync(StorePath),
    /// Give a file another name, replacing what had it, making directories as needed. Not durable
    /// before [`DiskStep::SyncName`] of the new name.
    Rename(StorePath, StorePath),
    /// Make a name, or its absence, durable: the directory that holds it, and those above it in the
    /// store.
    SyncName(StorePath),
    /// Remove a file, and its directory if that is then empty. A missing file is no failure.
    Remove(StorePath),
    /// The numbers of the whole shares of a storage index. Yields [`DiskOutput::Shares`].
    ListShares(StorageIndex),
    /// The slots that have a [`StorePath::Redo`]; which have one is durable then, so that none that was
    /// removed comes back. Yields [`DiskOutput::Slots`].
    ListRedo,
    /// Bytes free for the node's user. Yields [`DiskOutput::Free`].
    FreeSpace,
    /// Replace the whole content of a file that fits into memory atomically and durably (written beside, synced,
    /// renamed, directory synced), mode 0600.
    Replace(StorePath, Payload),
    /// Make a small file with all of its content, atomically and durably, mode 0600. Fails with
    /// [`DiskError::Exists`] if there is one: what it holds is never lost.
    Make(StorePath, Payload),
    /// How much the whole shares of all storage indexes come to. Yields [`DiskOutput::Stored`]. It takes as
    /// long as listing every share.
    CountShares,
}

/// What a step that yields something yielded, in the order of the steps.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum DiskOutput {
    /// Bytes read.
    Data(Payload),
    /// A file's length.
    Length(u64),
    /// Share numbers, ascending.
    Shares(Vec<u16>),
    /// Storage indexes, ascending.
    Slots(Vec<StorageIndex>),
    /// Bytes free.
    Free(u64),
    /// How much is stored.
    Stored {
        /// Whole shares.
        shares: u64,
        /// Bytes of their files.
        bytes: u64,
    },
}

/// Why a step failed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum DiskError {
    /// There is no such file.
    NotFound,
    /// There is such a file already.
    Exists,
    /// No space is left (or the quota is used up).
    Full,
    /// The disk does not allow writing.
    ReadOnly,
    /// Anything else, in the operating system's words (without paths).
    Failed(String),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskError::NotFound => f.write_str("no such file"),
            DiskError::Exists => f.write_str("the file exists already"),
            DiskError::Full => f.write_str("the disk is full"),
            DiskError::ReadOnly => f.write_str("the disk is read-only"),
            DiskError::Failed(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for DiskError {}

/// A list of steps that stopped half-way: the steps before `step` happened, later ones did not.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DiskFailure {
    /// Index of the step that failed.
    pub step: usize,
    /// Why.
    pub error: DiskError,
}

/// The outcome of a list of steps.
pub type DiskResult = Result<Vec<DiskOutput>, DiskFailure>;
