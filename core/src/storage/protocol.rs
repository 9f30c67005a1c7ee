//! The vocabulary of the storage service.
//!
//! It has the meaning of Tahoe-LAFS's HTTP storage protocol; the postcard bodies of [`crate::wire`]
//! are one codec for it. Bulk bytes ride beside: `Write` and `ReadTestWrite` carry the data to write,
//! the answers to `Read`, `ReadSlot` and `ReadTestWrite` the bytes of the ranges, one after another.
//!
//! A storage index is that of an immutable file or of a mutable slot, never of both. `List`,
//! `AddLease` and `AdviseCorrupt` are for either.

use crate::identity::TubId;
use crate::secret::{LeaseSecret, UploadSecret, WriteEnabler};
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
    /// Writes to shares of a slot if all tests hold, all of it or nothing, and adds or renews the
    /// leases of these shares. Reads all shares of the slot, as they were before, in any case.
    ReadTestWrite {
        /// Which slot.
        storage_index: StorageIndex,
        /// The right to write to the slot; that of its first write.
        write_enabler: WriteEnabler,
        /// Renews the lease.
        renew_secret: LeaseSecret,
        /// Would cancel the lease; stored, never honoured.
        cancel_secret: LeaseSecret,
        /// What is tested and written, each share once.
        shares: Vec<ShareVectors>,
        /// Offset and length of each range to read of every share, at most
        /// [`crate::limits::SLOT_READS_MAX`]. A range that reaches past the end is cut there.
        reads: Vec<(u64, u64)>,
    },
    /// Reads ranges of shares of a slot. A share whose file is damaged is left out.
    ReadSlot {
        /// Which slot.
        storage_index: StorageIndex,
        /// Which shares; all there are, if empty.
        shares: ShareSet,
        /// Offset and length of each range to read of each share, at most
        /// [`crate::limits::SLOT_READS_MAX`]. A range that reaches past the end is cut there.
        ranges: Vec<(u64, u64)>,
    },
}

/// What a request tests and writes of one share of a slot.
///
/// A share that is named here and not there is made. The writes are carried out in their order, and
/// one behind the end of the data fills the gap with zeros.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ShareVectors {
    /// Which share, 0 to 255.
    pub share: u16,
    /// What must hold for anything to be written; at most [`crate::limits::SLOT_TESTS_MAX`].
    pub tests: Vec<SlotTest>,
    /// Offset and length of each piece to write. The bytes are in the bulk, share after share and
    /// piece after piece; at most [`crate::limits::SLOT_WRITES_MAX`] in a request.
    pub writes: Vec<(u64, u64)>,
    /// Cut the data to this length after the writes, if it is longer. 0 removes the share, whatever
    /// is written.
    pub new_length: Option<u64>,
}

/// A test of a share's data: the range, cut at the end of the data, holds exactly these bytes. A
/// share that is not there is as one without data, so no bytes expected of one byte at 0 means that
/// there is nothing.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SlotTest {
    /// Where the range begins.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
    /// What it must hold.
    pub expected: Vec<u8>,
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
    /// To `ReadTestWrite`.
    Tested {
        /// All tests held, and what was to be written is durable. If not, nothing was written.
        success: bool,
        /// Every share of the slot, ascending, and the length of each range that the bulk holds.
        shares: Vec<(u16, Vec<u64>)>,
    },
    /// To `ReadSlot`: the shares that were read, ascending, and the length of each range that the
    /// bulk holds.
    Slot(Vec<(u16, Vec<u64>)>),
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
    /// The disk failed. What was written may be lost; a change of a slot may be made all the same, at the
    /// server's next start. After every other error all is as it was.
    Disk(String),
    /// The slot has another write enabler.
    WrongWriteEnabler {
        /// The server that recorded it: another one if the share was moved here.
        recorded_by: TubId,
    },
    /// The storage index is that of an immutable file and the request is for a slot, or the other
    /// way round.
    WrongKind,
}

impl StorageError {
    /// Whether a change that ends with it was surely not made. What a later version of the server may say
    /// reads as [`Unsupported`](StorageError::Unsupported), and may mean anything.
    pub fn leaves_all_as_it_was(&self) -> bool {
        !matches!(self, StorageError::Disk(_) | StorageError::Unsupported)
    }

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
            StorageError::WrongWriteEnabler { recorded_by } => {
                write!(f, "the slot has another write enabler, recorded by the server {recorded_by}")
            }
            StorageError::WrongKind => f.write_str("immutable and mutable shares do not mix"),
        }
    }
}

impl core::error::Error for StorageError {}
