//! Leases, and the decision which shares to take.
//!
//! Adding a lease and allocating begin alike: the whole shares of the file are found, and each gets
//! its lease added or renewed. Both are alone at the file's gate until they are answered.

use super::reading::container_layout;
use super::slots::SlotTask;
use super::{Outputs, RequestKey, Running, ShareKey, StorageServer, failed, lost};
use crate::disk::{DiskFailure, DiskResult, DiskStep, StorePath};
use crate::limits::{INCOMING_MAX, LEASE_SECONDS, LEASES_MAX};
use crate::payload::Payload;
use crate::secret::{LeaseSecret, UploadSecret};
use crate::share_set::ShareSet;
use crate::storage::container::{
    ContainerError, ContainerHeader, ContainerLayout, HEADER_LEN, LEASE_LEN, Lease, Schema, container_len,
    find_lease,
};
use crate::storage::gate::Alone;
use crate::storage::incoming::Stage;
use crate::storage::leases::{LeaseChange, addition, renewal};
use crate::storage::protocol::{StorageAnswer, StorageError};
use crate::storage_index::StorageIndex;
use crate::time::UnixTime;
use alloc::vec;
use alloc::vec::Vec;

/// Adds leases to the whole shares of a file and, for an upload, makes room for more.
#[derive(Debug)]
pub(in crate::storage) struct LeaseTask {
    to: RequestKey,
    renew: LeaseSecret,
    cancel: LeaseSecret,
    expiration: u32,
    /// What an upload wants, too.
    upload: Option<Wanted>,
    /// The whole shares by name.
    whole: ShareSet,
    /// Those of them that are sound and have the lease.
    leased: ShareSet,
    /// There are mutable shares among them.
    slot: bool,
    /// Bytes that were free when `consumed` had its value, less those of leases added since.
    free: u64,
    consumed: u64,
    /// Actions under way.
    outstanding: usize,
    /// The first failure that is not only about one damaged share.
    error: Option<StorageError>,
    allocated: ShareSet,
}

#[derive(Debug)]
struct Wanted {
    secret: UploadSecret,
    shares: ShareSet,
    size: u64,
}

/// Why nobody is told any more that he can count on a share: what a failed sync was to make durable looks
/// so from then on, and need not be.
pub(super) const DOUBTFUL: &str = "the share's name, or an earlier change of its leases, could not be synced";

/// What a disk action of the task at the gate is for.
#[derive(Debug)]
pub(super) enum LeaseStage {
    /// Which shares are there, and how much is free.
    Survey,
    /// The container's header.
    Header { share: u16 },
    /// The container's name is made durable, and its leases are read.
    Records { share: u16, layout: ContainerLayout },
    /// The change of a lease.
    Change { share: u16, change: LeaseChange },
}

impl LeaseTask {
    pub(super) fn add(to: RequestKey, secrets: (LeaseSecret, LeaseSecret), date: UnixTime) -> LeaseTask {
        LeaseTask {
            to,
            renew: secrets.0,
            cancel: secrets.1,
            expiration: lease_end(date),
            upload: None,
            whole: ShareSet::EMPTY,
            leased: ShareSet::EMPTY,
            slot: false,
            free: 0,
            consumed: 0,
            outstanding: 0,
            error: None,
            allocated: ShareSet::EMPTY,
        }
    }

    pub(super) fn allocate(
        to: RequestKey,
        secrets: (LeaseSecret, LeaseSecret),
        date: UnixTime,
        (secret, shares, size): (UploadSecret, ShareSet, u64),
    ) -> LeaseTask {
        let upload = Some(Wanted { secret, shares, size });
        LeaseTask { upload, ..LeaseTask::add(to, secrets, date) }
    }

    fn lease(&self, schema: Schema) -> Lease {
        Lease::new(schema, &self.renew, &self.cancel, self.expiration)
    }

    /// Keeps the first error; but that a share cannot be counted on is more than that there is no room.
    fn fail(&mut self, error: StorageError) {
        match &self.error {
            None => self.error = Some(error),
            Some(StorageError::Full | StorageError::ReadOnly) if matches!(error, StorageError::Disk(_)) => {
                self.error = Some(error);
            }
            Some(_) => {}
        }
    }
}

/// When a lease of this date ends, in seconds since 1970.
pub(super) fn lease_end(date: UnixTime) -> u32 {
    u32::try_from(date.0.saturating_add(LEASE_SECONDS)).unwrap_or(u32::MAX)
}

impl StorageServer {
    pub(super) fn start_leases(&mut self, index: StorageIndex) {
        let consumed = self.consumed;
        self.task(index).consumed = consumed;
        self.lease_step(index, LeaseStage::Survey, vec![DiskStep::ListShares(index), DiskStep::FreeSpace]);
    }

    fn lease_step(&mut self, index: StorageIndex, stage: LeaseStage, steps: Vec<DiskStep>) {
        self.task(index).outstanding += 1;
        self.disk(Running::Leases { index, stage }, steps);
    }

    pub(super) fn lease_step_done(&mut self, index: StorageIndex, stage: LeaseStage, result: DiskResult) {
        self.task(index).outstanding -= 1;
        match stage {
            LeaseStage::Survey => self.surveyed(index, result),
            LeaseStage::Header { share } => self.measured(index, share, result),
            LeaseStage::Records { share, layout } => self.searched(index, share, &layout, result),
            LeaseStage::Change { share, change } => self.changed(index, share, change, result),
        }
        if self.task(index).outstanding == 0 {
            self.leases_done(index);
        }
    }

    fn surveyed(&mut self, index: StorageIndex, result: DiskResult) {
        let mut outputs = match result {
            Ok(outputs) => Outputs::new(outputs),
            Err(DiskFailure { error, .. }) => return self.task(index).fail(failed(error)),
        };
        let whole: ShareSet = outputs.shares().into_iter().collect();
        let task = self.task(index);
        task.whole = whole;
        task.free = outputs.free();
        for share in whole.iter() {
            let path = || StorePath::Share(index, share);
            let steps =
                vec![DiskStep::Length(path()), DiskStep::Read { path: path(), offset: 0, len: HEADER_LEN }];
            self.lease_step(index, LeaseStage::Header { share }, steps);
        }
    }

    fn measured(&mut self, index: StorageIndex, share: u16, result: DiskResult) {
        let layout = match result {
            // A damaged container has no lease to renew. The file stays for its owner to look at.
            Ok(outputs) => match container_layout(&mut Outputs::new(outputs)) {
                Ok(layout) => layout,
                Err(ContainerError::Mutable) => return self.task(index).slot = true,
                Err(_) => return,
            },
            Err(DiskFailure { error, .. }) => return self.task(index).fail(lost(error)),
        };
        if self.doubtful.contains(&(index, share)) {
            return self.task(index).fail(StorageError::Disk(DOUBTFUL.into()));
        }
        let path = StorePath::Share(index, share);
        let (offset, records) = (layout.lease_offset(0), layout.leases().min(LEASES_MAX));
        // Who was killed between giving a share its name and making the name durable has left one that the
        // next failure of the power takes away. From now on somebody counts on it. (Its content was durable
        // before it had the name.)
        let name = DiskStep::SyncName(path.clone());
        let read = DiskStep::Read { path, offset, len: u64::from(records) * LEASE_LEN };
        self.lease_step(index, LeaseStage::Records { share, layout }, vec![name, read]);
    }

    fn searched(&mut self, index: StorageIndex, share: u16, layout: &ContainerLayout, result: DiskResult) {
        let records = match result {
            Ok(outputs) => Outputs::new(outputs).data(),
            Err(DiskFailure { step, error }) => {
                if step == 0 {
                    // Whatever the disk says of it, the share is not to be counted on.
                    self.doubtful.insert((index, share));
                    return self.task(index).fail(StorageError::Disk(DOUBTFUL.into()));
                }
                return self.task(index).fail(lost(error));
            }
        };
        let records = records.bytes().map_or(&[][..], |bytes| bytes);
        // A lease is small beside what shares are promised; only the reserve stops it.
        let available = self.task_ref(index).free.saturating_sub(self.config.reserved_space);
        let task = self.task(index);
        let path = StorePath::Share(index, share);
        let change = match find_lease(records, layout.schema(), &task.renew) {
            Some((_, old)) if old >= task.expiration => {
                task.leased.insert(share);
                return;
            }
            Some((place, old)) => renewal(&path, layout, place, old, task.expiration),
            None if layout.leases() >= LEASES_MAX => {
                return task.fail(StorageError::BadRequest("the share has too many leases".into()));
            }
            None if available < LEASE_LEN => return task.fail(StorageError::Full),
            None => {
                task.free -= LEASE_LEN;
                addition(&path, layout, &task.lease(layout.schema()))
            }
        };
        let steps = change.steps.clone();
        self.lease_step(index, LeaseStage::Change { share, change }, steps);
    }

    fn changed(&mut self, index: StorageIndex, share: u16, change: LeaseChange, result: DiskResult) {
        match result {
            Ok(_) => {
                self.task(index).leased.insert(share);
                self.stats.leases_changed += 1;
            }
            Err(DiskFailure { step, error }) => {
                if change.is_sync(step) {
                    self.doubtful.insert((index, share));
                }
                self.task(index).fail(lost(error));
                if let Some(undo) = change.undo.filter(|_| step < change.undo_before) {
                    // Alone at the gate still, so that nobody reads in between.
                    let change = LeaseChange { steps: vec![], undo_before: 0, undo: None };
                    self.lease_step(index, LeaseStage::Change { share, change }, vec![undo]);
                }
            }
        }
    }

    /// Every whole share has its lease, or cannot have it.
    fn leases_done(&mut self, index: StorageIndex) {
        let task = self.task(index);
        if let Some(error) = task.error.take() {
            return self.end_leases(index, Err(error));
        }
        if task.slot {
            return self.leave_to_slots(index);
        }
        match task.upload.take() {
            Some(wanted) => self.take_shares(index, wanted),
            None if task.whole.is_empty() => self.end_leases(index, Err(StorageError::NoSuchShare)),
            None if task.leased.is_empty() => {
                let error = StorageError::Disk("no share of the file is sound".into());
                self.end_leases(index, Err(error));
            }
            None => self.end_leases(index, Ok(StorageAnswer::Done)),
        }
    }

    /// The file turned out to be a slot.
    fn leave_to_slots(&mut self, index: StorageIndex) {
        let task = self.task(index);
        if task.upload.is_some() || !task.leased.is_empty() {
            return self.end_leases(index, Err(StorageError::WrongKind));
        }
        let lease =
            SlotTask::lease(task.to, index, (task.renew.clone(), task.cancel.clone()), task.expiration);
        self.gates.get_mut(&index).expect("the task inside keeps its gate").alone = Some(Alone::Slot);
        self.start_slot(lease.into());
    }

    /// Makes room for the shares of an upload, as far as there is room.
    fn take_shares(&mut self, index: StorageIndex, wanted: Wanted) {
        let (free, consumed) = (self.task_ref(index).free, self.task_ref(index).consumed);
        let whole = self.task_ref(index).whole;
        for number in wanted.shares.iter().filter(|number| !whole.contains(*number)) {
            let key = (index, number);
            if let Some(share) = self.incoming.get_mut(&key) {
                let same_upload = share.secret == wanted.secret && share.size == wanted.size;
                match &share.stage {
                    Stage::Failed(_) => drop(self.forget(key)),
                    // An uploader that lost its connection goes on.
                    Stage::Open | Stage::Finishing { .. } if same_upload => {
                        share.touched = self.now.instant;
                        self.task(index).allocated.insert(number);
                        continue;
                    }
                    Stage::Creating | Stage::Open | Stage::Finishing { .. } | Stage::Removing(_) => continue,
                }
            }
            let Some(len) = container_len(wanted.size) else { continue };
            let room = len <= self.available(free, consumed) && self.incoming.len() < INCOMING_MAX;
            if self.config.read_only || !room {
                continue;
            }
            let steps = self.creation(key, wanted.size);
            self.task(index).outstanding += 1;
            self.create(key, wanted.secret.clone(), wanted.size, steps);
        }
        if self.task(index).outstanding == 0 {
            self.allocation_done(index);
        }
    }

    /// The lease is in the file from the start, so that no share is whole without one.
    fn creation(&mut self, (index, number): ShareKey, size: u64) -> Vec<DiskStep> {
        let header = ContainerHeader::new(size, 1);
        let lease = self.task(index).lease(header.schema);
        let path = || StorePath::Incoming(index, number);
        let write = |offset, data: &[u8]| DiskStep::Write {
            path: path(),
            offset,
            data: Payload::from(data.to_vec()),
        };
        vec![DiskStep::Create(path()), write(0, &header.encode()), write(HEADER_LEN + size, &lease.encode())]
    }

    /// The file of a share in progress is there, or failed to be made.
    pub(super) fn allocated(&mut self, key: ShareKey, error: Option<StorageError>) {
        let task = self.task(key.0);
        task.outstanding -= 1;
        match error {
            None => task.allocated.insert(key.1),
            // No room is an answer in itself.
            Some(StorageError::Full) => {}
            Some(error) => task.fail(error),
        }
        if task.outstanding == 0 {
            self.allocation_done(key.0);
        }
    }

    fn allocation_done(&mut self, index: StorageIndex) {
        let task = self.task(index);
        let (already_have, allocated) = (task.leased, task.allocated);
        let result = match task.error.take() {
            Some(error) if allocated.is_empty() => Err(error),
            _ => Ok(StorageAnswer::Allocated { already_have, allocated }),
        };
        self.end_leases(index, result);
    }

    fn end_leases(&mut self, index: StorageIndex, result: Result<StorageAnswer, StorageError>) {
        let to = self.task(index).to;
        self.answer(to, result);
        self.leave_alone(index);
    }

    fn task(&mut self, index: StorageIndex) -> &mut LeaseTask {
        match self.gates.get_mut(&index).and_then(|gate| gate.alone.as_mut()) {
            Some(Alone::Leases(task)) => task,
            other => unreachable!("it is inside, not {other:?}"),
        }
    }

    fn task_ref(&self, index: StorageIndex) -> &LeaseTask {
        match self.gates[&index].alone.as_ref() {
            Some(Alone::Leases(task)) => task,
            other => unreachable!("it is inside, not {other:?}"),
        }
    }
}
