//! Mutable slots: what is asked of one, and the way to the answer.
//!
//! ```text
//! which shares ──▶ their headers ──▶ ranges, tests, leases ──▶ answer         `reading`
//!                                             └──▶ what changes                `planning`
//!                                                        └──▶ disk ──▶ answer  `super::storing`
//! ```

mod planning;
mod reading;

use super::leasing::lease_end;
use super::storing::Storing;
use super::{RequestKey, Running, StorageServer};
use crate::disk::{DiskResult, DiskStep};
use crate::limits::{SLOT_READS_MAX, SLOT_TESTS_MAX, SLOT_WRITES_MAX};
use crate::payload::Payload;
use crate::secret::{LeaseSecret, WriteEnabler};
use crate::share_set::ShareSet;
use crate::storage::protocol::{ShareVectors, StorageAnswer, StorageError};
use crate::storage::slot::container::SlotHeader;
use crate::storage_index::StorageIndex;
use crate::time::UnixTime;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

/// Something to do with the shares of a slot.
#[derive(Debug)]
pub(in crate::storage) struct SlotTask {
    pub(super) to: RequestKey,
    pub(super) index: StorageIndex,
    wish: Wish,
    /// What is read of every share.
    reads: Vec<(u64, u64)>,
    /// The shares that are looked at.
    shares: Vec<SlotShare>,
    /// Shares that are there, but cannot be read.
    unreadable: Vec<u16>,
    /// Bytes that were free when `consumed` had its value.
    free: u64,
    consumed: u64,
}

#[derive(Debug)]
enum Wish {
    Read {
        /// All, if empty.
        shares: ShareSet,
    },
    Write {
        enabler: WriteEnabler,
        lease: WantedLease,
        vectors: Vec<ShareVectors>,
        bulk: Payload,
    },
    Lease(WantedLease),
}

#[derive(Debug)]
struct WantedLease {
    renew: LeaseSecret,
    cancel: LeaseSecret,
    expiration: u32,
}

#[derive(Debug)]
struct SlotShare {
    number: u16,
    header: SlotHeader,
    /// The ranges read, without what lies behind the data.
    pieces: Vec<Payload>,
    /// What follows the data, if a lease may change.
    extra: Payload,
    /// Whether its tests hold.
    holds: bool,
}

/// What a disk action or job for a slot is about.
#[derive(Debug)]
pub(super) enum SlotStage {
    /// Which shares there are, and how much is free.
    Survey,
    /// The headers of these shares.
    Headers(Vec<u16>),
    /// Ranges, tests and leases.
    Vectors,
    /// The change.
    Storing(Box<Storing>),
}

impl SlotTask {
    pub(super) fn read(
        to: RequestKey,
        index: StorageIndex,
        shares: ShareSet,
        reads: Vec<(u64, u64)>,
    ) -> Result<SlotTask, &'static str> {
        if reads.len() > SLOT_READS_MAX {
            return Err("too many ranges");
        }
        Ok(SlotTask::new(to, index, Wish::Read { shares }, reads))
    }

    pub(super) fn write(
        to: RequestKey,
        index: StorageIndex,
        (enabler, renew, cancel): (WriteEnabler, LeaseSecret, LeaseSecret),
        date: UnixTime,
        (vectors, bulk): (Vec<ShareVectors>, Payload),
        reads: Vec<(u64, u64)>,
    ) -> Result<SlotTask, &'static str> {
        if reads.len() > SLOT_READS_MAX {
            return Err("too many ranges");
        }
        check(&vectors, bulk.len())?;
        let lease = WantedLease { renew, cancel, expiration: lease_end(date) };
        Ok(SlotTask::new(to, index, Wish::Write { enabler, lease, vectors, bulk }, reads))
    }

    pub(super) fn lease(
        to: RequestKey,
        index: StorageIndex,
        (renew, cancel): (LeaseSecret, LeaseSecret),
        expiration: u32,
    ) -> SlotTask {
        SlotTask::new(to, index, Wish::Lease(WantedLease { renew, cancel, expiration }), Vec::new())
    }

    fn new(to: RequestKey, index: StorageIndex, wish: Wish, reads: Vec<(u64, u64)>) -> SlotTask {
        SlotTask { to, index, wish, reads, shares: Vec::new(), unreadable: Vec::new(), free: 0, consumed: 0 }
    }

    /// The shares that there are, and those that it names.
    pub(super) fn named(&self) -> BTreeSet<u16> {
        let there = self.shares.iter().map(|share| share.number);
        match &self.wish {
            Wish::Write { vectors, .. } => there.chain(vectors.iter().map(|vectors| vectors.share)).collect(),
            Wish::Read { .. } | Wish::Lease(_) => there.collect(),
        }
    }

    /// Whether it may change the slot.
    pub(in crate::storage) fn changes(&self) -> bool {
        !matches!(self.wish, Wish::Read { .. })
    }

    /// The write's own bytes, if it is one.
    pub(super) fn written(&self) -> Option<u64> {
        match &self.wish {
            Wish::Write { bulk, .. } => Some(bulk.len()),
            Wish::Read { .. } | Wish::Lease(_) => None,
        }
    }

    fn vectors_of(&self, share: u16) -> Option<&ShareVectors> {
        match &self.wish {
            Wish::Write { vectors, .. } => vectors.iter().find(|vectors| vectors.share == share),
            Wish::Read { .. } | Wish::Lease(_) => None,
        }
    }

    fn may_change_lease(&self, share: u16) -> bool {
        matches!(self.wish, Wish::Lease(_)) || self.vectors_of(share).is_some()
    }

    /// The answer, once nothing is left to do.
    pub(super) fn answer(&mut self, success: bool) -> (StorageAnswer, Vec<Payload>) {
        let lens = |share: &SlotShare| (share.number, share.pieces.iter().map(Payload::len).collect());
        // Those that cannot be read are told as empty ones: who asks must not take them for gone.
        let unreadable = self.unreadable.iter().map(|number| (*number, vec![0; self.reads.len()]));
        let mut shares: Vec<(u16, Vec<u64>)> = self.shares.iter().map(lens).chain(unreadable).collect();
        shares.sort_unstable_by_key(|(number, _)| *number);
        let bulk = self.shares.drain(..).flat_map(|share| share.pieces).filter(|piece| !piece.is_empty());
        match self.wish {
            Wish::Read { .. } => (StorageAnswer::Slot(shares), bulk.collect()),
            Wish::Write { .. } => (StorageAnswer::Tested { success, shares }, bulk.collect()),
            Wish::Lease(_) => (StorageAnswer::Done, Vec::new()),
        }
    }
}

impl StorageServer {
    pub(super) fn start_slot(&mut self, mut task: Box<SlotTask>) {
        task.consumed = self.consumed;
        let steps = vec![DiskStep::ListShares(task.index), DiskStep::FreeSpace];
        self.disk(Running::Slot { task, stage: SlotStage::Survey }, steps);
    }

    pub(super) fn slot_step_done(&mut self, task: Box<SlotTask>, stage: SlotStage, result: DiskResult) {
        if let Some(error) = self.recovery.shut(&task.index)
            && !matches!(stage, SlotStage::Storing(_))
        {
            return self.end_slot(task, Err(error));
        }
        match stage {
            SlotStage::Survey => self.slot_surveyed(task, result),
            SlotStage::Headers(shares) => self.slot_measured(task, shares, result),
            SlotStage::Vectors => self.slot_read(task, result),
            SlotStage::Storing(storing) => self.stored(task, *storing, result),
        }
    }

    pub(super) fn end_slot(&mut self, task: Box<SlotTask>, result: Result<StorageAnswer, StorageError>) {
        self.end_slot_with(task, result.map(|answer| (answer, Vec::new())));
    }

    pub(super) fn end_slot_with(&mut self, task: Box<SlotTask>, result: super::StorageResult) {
        self.answer_with(task.to, result);
        if task.changes() { self.leave_alone(task.index) } else { self.leave(task.index) }
    }
}

/// Checks what can be checked before the slot is looked at.
fn check(vectors: &[ShareVectors], bulk_len: u64) -> Result<(), &'static str> {
    let (mut seen, mut pieces, mut bytes) = (ShareSet::EMPTY, 0, 0u64);
    for ShareVectors { share, tests, writes, new_length: _ } in vectors {
        if *share >= 256 || seen.contains(*share) {
            return Err("a share number past 255, or twice");
        }
        if tests.len() > SLOT_TESTS_MAX {
            return Err("too many tests of a share");
        }
        seen.insert(*share);
        pieces += writes.len();
        bytes = writes.iter().fold(bytes, |sum, (_, len)| sum.saturating_add(*len));
    }
    if pieces > SLOT_WRITES_MAX {
        return Err("too many writes");
    }
    if bytes != bulk_len { Err("the writes are not as long as their data") } else { Ok(()) }
}
