//! The vocabulary of the storage service.
//!
//! It has the meaning of Tahoe-LAFS's HTTP storage protocol for immutable shares; the postcard
//! bodies of [`crate::wire`] are one codec for it. Bulk bytes ride beside: `Write` carries the data
//! to write, the answer to `Read` the bytes of its ranges, one after another.

use crate::secret::{LeaseSecret, UploadSecret};
use crate::share_set::ShareSet;
use crate::storage_index::StorageIndex;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// What a client asks of a storage server.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum StorageRequest {
    /// What it is and how much it can take.
    Version,
    /// Makes room for shares. Leases of shares that are there already are added or renewed.
    Allocate {
        /// Which file.
        storage_index: StorageIndex,
        /// Renews the lease of these shares.
        renew_secret: LeaseSecret,
        /// Would cancel the lease; stored, never honoured.
        cancel_secret: LeaseSecret,
        /// Owns the shares in progress.
        upload_secret: UploadSecret,
        /// Which shares.
        shares: ShareSet,
        /// Length of each share's data in bytes.
        allocated_size: u64,
    },
    /// Writes the bulk into a share in progress, in any order. The answer to the write that
    /// completes the share is sent when the share is durable.
    Write {
        /// Which file.
        storage_index: StorageIndex,
        /// Which share.
        share: u16,
        /// Owns the share in progress.
        upload_secret: UploadSecret,
        /// Where the first byte goes.
        offset: u64,
    },
    /// Gives a share in progress up.
    Abort {
        /// Which file.
        storage_index: StorageIndex,
        /// Which share.
        share: u16,
        /// Owns the share in progress.
        upload_secret: UploadSecret,
    },
    /// Which whole shares there are.
    List {
        /// Which file.
        storage_index: StorageIndex,
    },
    /// Reads ranges of a whole share. A range that reaches past the end is cut there.
    Read {
        /// Which file.
        storage_index: StorageIndex,
        /// Which share.
        share: u16,
        /// Offset and length of each range, at most [`crate::limits::READ_RANGES_MAX`].
        ranges: Vec<(u64, u64)>,
    },
    /// Adds a lease to every share of a file, or renews the one with the same renew secret.
    AddLease {
        /// Which file.
        storage_index: StorageIndex,
        /// Renews the lease.
        renew_secret: LeaseSecret,
        /// Would cancel the lease; stored, never honoured.
        cancel_secret: LeaseSecret,
    },
    /// Tells the server's owner that a share is damaged.
    AdviseCorrupt {
        /// Which file.
        storage_index: StorageIndex,
        /// Which share.
        share: u16,
        /// What was found.
        reason: String,
    },
}

/// What a storage server answers.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum StorageAnswer {
    /// To `Version`.
    Version {
        /// The program and its version.
        program: String,
        /// Bytes it can take, its reserve left out; 0 if it takes no shares.
        available_space: u64,
        /// Longest share it can take, in bytes.
        share_size_max: u64,
    },
    /// To `Allocate`. Shares in neither set were not taken: no space, or another upload of them is
    /// under way.
    Allocated {
        /// Whole shares of this file that the server has, asked for or not.
        already_have: ShareSet,
        /// Shares that now wait for their bytes.
        allocated: ShareSet,
    },
    /// To `Write`.
    Written {
        /// The share is whole and durable.
        finished: bool,
    },
    /// To `List`.
    Shares(ShareSet),
    /// To `Read`: the length of each range that the bulk holds.
    Data(Vec<u64>),
    /// To the rest: it is done.
    Done,
}

/// Why a storage server could not do what it was asked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum StorageError {
    /// There is no such share, or none in progress.
    NoSuchShare,
    /// The share in progress belongs to another upload secret.
    WrongSecret,
    /// The share is whole already.
    AlreadyWhole,
    /// Other bytes than these were written there before.
    Conflict,
    /// The write reaches past the allocated size.
    PastTheEnd,
    /// The disk is full.
    Full,
    /// The server takes no new shares.
    ReadOnly,
    /// The request makes no sense: too many ranges, too long a reason.
    BadRequest(String),
    /// The server does not know this request.
    Unsupported,
    /// The disk failed. What was written is lost.
    Disk(String),
}

impl StorageError {
    /// The error as it may be shown to a person: text of another node is cut, and has nothing in it
    /// that a terminal would obey.
    pub fn printable(self) -> StorageError {
        let clean = |text: String| text.chars().filter(|c| !c.is_control()).take(200).collect();
        match self {
            StorageError::BadRequest(why) => StorageError::BadRequest(clean(why)),
            StorageError::Disk(why) => StorageError::Disk(clean(why)),
            other => other,
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::NoSuchShare => f.write_str("it has no such share"),
            StorageError::WrongSecret => f.write_str("the share belongs to another upload"),
            StorageError::AlreadyWhole => f.write_str("the share is whole already"),
            StorageError::Conflict => f.write_str("other bytes were written there before"),
            StorageError::PastTheEnd => f.write_str("the write reaches past the end of the share"),
            StorageError::Full => f.write_str("its disk is full"),
            StorageError::ReadOnly => f.write_str("it takes no new shares"),
            StorageError::BadRequest(why) => write!(f, "it refused the request: {why}"),
            StorageError::Unsupported => f.write_str("it does not know the request"),
            StorageError::Disk(why) => write!(f, "its disk failed: {why}"),
        }
    }
}

impl core::error::Error for StorageError {}
