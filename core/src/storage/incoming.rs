//! One share in progress.
//!
//! ```text
//! Creating ──▶ Open ──(last byte written)──▶ Finishing ──▶ a whole share, no longer ours
//!    │          │                                │
//!    └──────────┴──(failure, abort, idleness)────┴──▶ Removing ──▶ nothing, or Failed
//! ```

use super::container::container_len;
use super::protocol::StorageError;
use super::ranges::Ranges;
use super::server::RequestKey;
use crate::payload::Payload;
use crate::secret::UploadSecret;
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

/// A share in progress.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) secret: UploadSecret,
    /// Length of the share's data.
    pub(super) size: u64,
    pub(super) stage: Stage,
    /// Bytes of disk promised to it that it has not taken yet.
    pub(super) promised: u64,
    /// What is on the disk.
    pub(super) written: Ranges,
    /// What is on its way there, or being compared.
    claims: Vec<Range<u64>>,
    /// Disk actions and jobs under way for this share, the final ones left out.
    pub(super) busy: usize,
    /// Bytes written since the last sync began.
    pub(super) unsynced: u64,
    pub(super) syncing: bool,
    /// What waits for the stage to change, or for an overlapping write to be over.
    pub(super) waiting: VecDeque<(RequestKey, OwnerRequest)>,
    /// When its owner last showed itself.
    pub(super) touched: Instant,
    /// Under which time it is filed among the idle.
    pub(super) filed: Instant,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The file is being made.
    Creating,
    /// Takes writes.
    Open,
    /// Everything is written; it becomes durable and gets its name.
    Finishing {
        /// Whose write was the last.
        last: RequestKey,
        /// The request to begin has been made.
        asked: bool,
    },
    /// It is lost and goes away once nothing is under way.
    Removing(Removal),
    /// Its owner has still to learn what happened to it.
    Failed(StorageError),
}

#[derive(Debug)]
pub(super) struct Removal {
    /// What writes are answered.
    pub(super) why: StorageError,
    /// Keep the reason for later writes.
    pub(super) remember: bool,
    /// Who asked for it to be given up.
    pub(super) aborts: Vec<RequestKey>,
    pub(super) begun: bool,
}

/// What only the owner of a share in progress may ask.
#[derive(Debug)]
pub(super) enum OwnerRequest {
    Write(PendingWrite),
    Abort,
}

#[derive(Debug)]
pub(super) struct PendingWrite {
    pub(super) offset: u64,
    pub(super) data: Payload,
    /// Parts that were written before and have still to be compared, last first.
    pub(super) unchecked: Vec<Range<u64>>,
}

impl PendingWrite {
    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.data.len()
    }

    /// The bytes for a part of the range.
    pub(super) fn part(&self, part: &Range<u64>) -> Payload {
        self.data.slice(part.start - self.offset..part.end - self.offset)
    }
}

impl Incoming {
    pub(super) fn new(secret: UploadSecret, size: u64, now: Instant) -> Incoming {
        Incoming {
            secret,
            size,
            stage: Stage::Creating,
            promised: container_len(size).expect("checked before it was allocated"),
            written: Ranges::default(),
            claims: Vec::new(),
            busy: 0,
            unsynced: 0,
            syncing: false,
            waiting: VecDeque::new(),
            touched: now,
            filed: now,
        }
    }

    /// Whether there is a file of it, or may be.
    pub(super) fn has_file(&self) -> bool {
        !matches!(self.stage, Stage::Failed(_))
    }

    /// Whether a write would meet another that is still under way.
    pub(super) fn is_claimed(&self, range: &Range<u64>) -> bool {
        self.claims.iter().any(|claim| claim.start < range.end && range.start < claim.end)
    }

    pub(super) fn claim(&mut self, range: Range<u64>) {
        self.busy += 1;
        self.claims.push(range);
    }

    pub(super) fn release(&mut self, range: &Range<u64>) {
        self.busy -= 1;
        let place = self.claims.iter().position(|claim| claim == range).expect("was claimed");
        self.claims.swap_remove(place);
    }

    /// How many pieces the written part falls into, counting what is on its way.
    pub(super) fn pieces(&self) -> usize {
        self.written.count() + self.claims.len()
    }

    /// Whether nothing is under way, so that its owner's silence counts.
    pub(super) fn is_resting(&self) -> bool {
        self.busy == 0 && self.waiting.is_empty() && matches!(self.stage, Stage::Open | Stage::Failed(_))
    }
}
