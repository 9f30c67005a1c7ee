//! Mutable slots: reading them, testing them, and working out what a write changes.
//!
//! ```text
//! which shares ──▶ their headers ──▶ ranges, tests, leases ──▶ answer
//!                                             └──▶ what changes ──▶ [`super::storing`] ──▶ answer
//! ```

use super::leasing::lease_end;
use super::storing::{Plan, Storing};
use super::{Outputs, RequestKey, Running, StorageServer, lost};
use crate::disk::{DiskFailure, DiskResult, DiskStep, StorePath};
use crate::limits::{
    BULK_LEN_MAX, LEASES_MAX, SLOT_LEASES_MAX, SLOT_READS_MAX, SLOT_TESTS_MAX, SLOT_WRITES_MAX,
};
use crate::payload::Payload;
use crate::secret::{LeaseSecret, WriteEnabler};
use crate::share_set::ShareSet;
use crate::storage::protocol::{ShareVectors, SlotTest, StorageAnswer, StorageError};
use crate::storage::slot::change::{DataVectors, LeaseChange, creation, patch};
use crate::storage::slot::container::{
    DATA_OFFSET, SLOT_LEASE_LEN, SlotContainerError, SlotHeader, SlotLease, SlotLeases,
};
use crate::storage::slot::redo::ShareChange;
use crate::storage_index::StorageIndex;
use crate::time::UnixTime;
use alloc::boxed::Box;
use alloc::string::ToString;
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
        SlotTask { to, index, wish, reads, shares: Vec::new(), free: 0, consumed: 0 }
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
        let shares = self.shares.iter().map(lens).collect();
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

    fn slot_surveyed(&mut self, mut task: Box<SlotTask>, result: DiskResult) {
        let mut outputs = match result {
            Ok(outputs) => Outputs::new(outputs),
            Err(DiskFailure { error, .. }) => return self.end_slot(task, Err(lost(error))),
        };
        let mut shares = outputs.shares();
        task.free = outputs.free();
        let mut in_progress = self.incoming.range((task.index, 0)..=(task.index, u16::MAX));
        if in_progress.any(|(_, share)| share.has_file()) {
            return self.end_slot(task, Err(StorageError::WrongKind));
        }
        if let Wish::Read { shares: wanted } = &task.wish {
            shares.retain(|share| wanted.is_empty() || wanted.contains(*share));
        }
        self.read_headers(task, shares);
    }

    fn read_headers(&mut self, task: Box<SlotTask>, shares: Vec<u16>) {
        let steps = shares.iter().flat_map(|share| {
            let path = || StorePath::Share(task.index, *share);
            [DiskStep::Length(path()), DiskStep::Read { path: path(), offset: 0, len: DATA_OFFSET }]
        });
        let steps = steps.collect();
        self.disk(Running::Slot { task, stage: SlotStage::Headers(shares) }, steps);
    }

    fn slot_measured(&mut self, mut task: Box<SlotTask>, mut shares: Vec<u16>, result: DiskResult) {
        let mut outputs = match result {
            Ok(outputs) => Outputs::new(outputs),
            // One bad file does not keep readers from the others.
            Err(DiskFailure { step, .. }) if !task.changes() => {
                shares.remove(step / 2);
                return self.read_headers(task, shares);
            }
            Err(DiskFailure { error, .. }) => return self.end_slot(task, Err(lost(error))),
        };
        for number in shares {
            let file_len = outputs.length();
            let bytes = outputs.data();
            // A stand-in is no header: nobody writes headers that are not real bytes.
            match SlotHeader::decode(bytes.bytes().map_or(&[][..], |bytes| bytes), file_len) {
                Ok(header) => task.shares.push(SlotShare {
                    number,
                    header,
                    pieces: Vec::new(),
                    extra: Payload::empty(),
                    holds: true,
                }),
                Err(SlotContainerError::Immutable) => {
                    return self.end_slot(task, Err(StorageError::WrongKind));
                }
                // Nobody can show the right to write to a slot of which a part cannot be read.
                Err(error) if matches!(task.wish, Wish::Write { .. }) => {
                    return self.end_slot(task, Err(StorageError::Disk(error.to_string())));
                }
                Err(_) => {}
            }
        }
        if let Wish::Write { enabler, .. } = &task.wish
            && let Some(other) = task.shares.iter().find(|share| !share.header.is_enabled_by(enabler))
        {
            let recorded_by = other.header.recorded_by;
            return self.end_slot(task, Err(StorageError::WrongWriteEnabler { recorded_by }));
        }
        self.read_vectors(task);
    }

    fn read_vectors(&mut self, task: Box<SlotTask>) {
        let (mut steps, mut wanted) = (Vec::new(), 0u64);
        for share in &task.shares {
            let mut read = |(offset, len): (u64, u64)| {
                let path = StorePath::Share(task.index, share.number);
                steps.push(DiskStep::Read { path, offset, len });
            };
            for (offset, len) in task.reads.iter().filter_map(|range| share.header.readable(range.0, range.1))
            {
                wanted = wanted.saturating_add(len);
                read((offset, len));
            }
            if let Some(vectors) = task.vectors_of(share.number) {
                vectors.tests.iter().filter_map(|test| tested(&share.header, test)).for_each(&mut read);
            }
            if task.may_change_lease(share.number) {
                let extra_max = 4 + u64::from(LEASES_MAX) * SLOT_LEASE_LEN;
                read((share.header.extra_offset, extra_max));
            }
        }
        if wanted > BULK_LEN_MAX as u64 {
            let error = StorageError::BadRequest("more than an answer holds".into());
            return self.end_slot(task, Err(error));
        }
        self.disk(Running::Slot { task, stage: SlotStage::Vectors }, steps);
    }

    fn slot_read(&mut self, mut task: Box<SlotTask>, result: DiskResult) {
        let mut outputs = match result {
            Ok(outputs) => Outputs::new(outputs),
            Err(DiskFailure { error, .. }) => return self.end_slot(task, Err(lost(error))),
        };
        let mut shares = core::mem::take(&mut task.shares);
        for share in &mut shares {
            let readable = task.reads.iter().map(|range| share.header.readable(range.0, range.1));
            share.pieces = readable.map(|place| place.map_or(Payload::empty(), |_| outputs.data())).collect();
            for test in task.vectors_of(share.number).iter().flat_map(|vectors| &vectors.tests) {
                let found = tested(&share.header, test).map_or(Payload::empty(), |_| outputs.data());
                share.holds &= found.bytes().is_some_and(|found| *found == test.expected);
            }
            if task.may_change_lease(share.number) {
                share.extra = outputs.data();
            }
        }
        task.shares = shares;
        self.decide(task);
    }

    /// Everything that is asked about the slot is known.
    fn decide(&mut self, mut task: Box<SlotTask>) {
        let is_there = |number| task.shares.iter().any(|share| share.number == number);
        let of_nothing = |test: &SlotTest| test.expected.is_empty();
        let holds = match &task.wish {
            Wish::Read { .. } => {
                let answer = task.answer(true);
                return self.end_slot_with(task, Ok(answer));
            }
            Wish::Lease(_) => true,
            Wish::Write { vectors, .. } => {
                task.shares.iter().all(|share| share.holds)
                    && vectors
                        .iter()
                        .all(|vectors| is_there(vectors.share) || vectors.tests.iter().all(of_nothing))
            }
        };
        if !holds {
            self.stats.slot_tests_failed += 1;
            let answer = task.answer(false);
            return self.end_slot_with(task, Ok(answer));
        }
        let plan = match self.plan(&task) {
            Ok(plan) => plan,
            Err(error) => return self.end_slot(task, Err(error)),
        };
        let grows = plan.growth > 0 && !matches!(task.wish, Wish::Lease(_));
        if self.config.read_only && grows {
            return self.end_slot(task, Err(StorageError::ReadOnly));
        }
        if plan.growth > 0 && plan.growth > self.available(task.free, task.consumed) {
            return self.end_slot(task, Err(StorageError::Full));
        }
        self.store(task, plan);
    }

    fn plan(&self, task: &SlotTask) -> Result<Plan, StorageError> {
        let mut plan = Plan::default();
        match &task.wish {
            Wish::Read { .. } => {}
            Wish::Lease(wanted) => {
                if task.shares.is_empty() {
                    return Err(StorageError::Disk("no share of the file is sound".into()));
                }
                for share in &task.shares {
                    let (leases, lease) = self.lease_change(share, wanted)?;
                    if lease.is_none() && leases.find(share.header.schema, &wanted.renew).is_none() {
                        return Err(StorageError::BadRequest("the share has too many leases".into()));
                    }
                    let nothing = DataVectors { writes: Vec::new(), new_length: None };
                    plan.leases += u64::from(lease.is_some());
                    let (change, len) =
                        patch(&share.header, leases, lease, nothing).map_err(|_| too_long())?;
                    plan.patch(share.number, change, (share.header.file_len, len));
                }
            }
            Wish::Write { enabler, lease, vectors, bulk } => {
                let mut rest = bulk.clone();
                for vectors in vectors {
                    let writes = vectors.writes.iter().map(|(offset, len)| (*offset, rest.take_front(*len)));
                    let data = DataVectors { writes: writes.collect(), new_length: vectors.new_length };
                    let share = task.shares.iter().find(|share| share.number == vectors.share);
                    self.plan_share(&mut plan, vectors.share, share, data, (enabler, lease))?;
                }
            }
        }
        Ok(plan)
    }

    fn plan_share(
        &self,
        plan: &mut Plan,
        number: u16,
        share: Option<&SlotShare>,
        data: DataVectors,
        (enabler, wanted): (&WriteEnabler, &WantedLease),
    ) -> Result<(), StorageError> {
        match share {
            Some(_) if data.new_length == Some(0) => plan.changes.push((number, ShareChange::Remove)),
            None if data.new_length == Some(0) => {}
            Some(share) => {
                // A slot with as many leases as it can have is written without one.
                let (leases, lease) = self.lease_change(share, wanted)?;
                plan.leases += u64::from(lease.is_some());
                let (change, len) = patch(&share.header, leases, lease, data).map_err(|_| too_long())?;
                plan.patch(number, change, (share.header.file_len, len));
            }
            None => {
                let header = SlotHeader::new(self.nodeid, enabler.clone());
                let lease = self.new_lease(&header, wanted);
                let (change, len) = creation(header, lease, data).map_err(|_| too_long())?;
                plan.leases += 1;
                plan.growth = plan.growth.saturating_add(len);
                plan.changes.push((number, ShareChange::Create(change)));
            }
        }
        Ok(())
    }

    /// The leases of a share, and what of them must change.
    fn lease_change(
        &self,
        share: &SlotShare,
        wanted: &WantedLease,
    ) -> Result<(SlotLeases, Option<LeaseChange>), StorageError> {
        let extra = share.extra.bytes().map_or(&[][..], |bytes| bytes);
        let leases = share.header.leases(extra, LEASES_MAX);
        let leases = leases.map_err(|error| StorageError::Disk(error.to_string()))?;
        let change = match leases.find(share.header.schema, &wanted.renew) {
            Some(place) => {
                let old = leases.at(place).expect("it was found there");
                let later = wanted.expiration > old.expiration;
                let lease = SlotLease { expiration: wanted.expiration, ..old.clone() };
                later.then_some(LeaseChange { place, lease, renewed: true })
            }
            None => {
                let place = leases.free_place();
                let lease = self.new_lease(&share.header, wanted);
                (place < SLOT_LEASES_MAX).then_some(LeaseChange { place, lease, renewed: false })
            }
        };
        Ok((leases, change))
    }

    fn new_lease(&self, header: &SlotHeader, wanted: &WantedLease) -> SlotLease {
        SlotLease::new(header.schema, (&wanted.renew, &wanted.cancel), wanted.expiration, self.nodeid)
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

/// What is read for a test: one byte more than expected is enough to see a difference.
fn tested(header: &SlotHeader, test: &SlotTest) -> Option<(u64, u64)> {
    header.readable(test.offset, test.len.min(test.expected.len() as u64 + 1))
}

fn too_long() -> StorageError {
    StorageError::BadRequest("the share would be longer than a share may be".into())
}
