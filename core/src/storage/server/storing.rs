//! How a change of a slot gets to the disk: see [`crate::storage::slot`] for the three ways.

use super::slots::{SlotStage, SlotTask};
use super::{Outputs, Running, StorageServer, doubtful, lost};
use crate::disk::{DiskFailure, DiskResult, DiskStep, StorePath};
use crate::hash::Hash;
use crate::job::Job;
use crate::mutants::{self, Mutant};
use crate::payload::Payload;
use crate::storage::protocol::StorageError;
use crate::storage::slot::SMALL_CONTAINER;
use crate::storage::slot::change::{FileChange, write_steps};
use crate::storage::slot::redo::{Record, ShareChange};
use crate::storage_index::StorageIndex;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// What is to change of a slot.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<(u16, ShareChange)>,
    /// Bytes by which the files become longer.
    pub(super) growth: u64,
    /// Leases added or renewed.
    pub(super) leases: u64,
    /// The lengths of the files that are patched: before, after.
    lens: Vec<(u16, u64, u64)>,
}

impl Plan {
    pub(super) fn patch(&mut self, share: u16, change: FileChange, (before, after): (u64, u64)) {
        if !change.is_nothing() {
            self.growth = self.growth.saturating_add(after.saturating_sub(before));
            self.lens.push((share, before, after));
            self.changes.push((share, ShareChange::Patch(change)));
        }
    }

    fn file_len(&self, share: u16) -> u64 {
        self.lens.iter().find(|(of, ..)| *of == share).map_or(0, |(_, before, _)| *before)
    }
}

/// A change on its way to the disk.
#[derive(Debug)]
pub(super) struct Storing {
    plan: Plan,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The container that is to be changed is read.
    Copying,
    /// The record is hashed. `names` and `ahead` are done before it is written, `undo` takes that back.
    Hashing {
        record: Record,
        names: Vec<DiskStep>,
        ahead: Vec<DiskStep>,
        undo: Vec<DiskStep>,
    },
    Running(Milestones),
    /// What was begun is taken back, because of this error.
    Undoing(StorageError),
}

/// What the failure of a step means.
#[derive(Debug)]
struct Milestones {
    /// So many steps make names last that were there before: if one fails, nobody knows what will be there.
    names: usize,
    /// From then to this step nothing is visible, and this takes back what was begun.
    doubtful_from: usize,
    undo: Vec<DiskStep>,
    /// From this step on the change is durable.
    durable_from: usize,
}

impl StorageServer {
    pub(super) fn store(&mut self, task: Box<SlotTask>, plan: Plan) {
        let index = task.index;
        self.promised = self.promised.saturating_add(plan.growth);
        let (share, change) = match &plan.changes[..] {
            [] => return self.make_last(task, plan),
            [(share, change)] => (*share, change),
            _ => return self.make_record(task, plan),
        };
        match change {
            ShareChange::Remove => {
                let path = StorePath::Share(index, share);
                let steps = vec![DiskStep::Remove(path.clone()), DiskStep::SyncName(path)];
                let milestones = Milestones { names: 0, doubtful_from: 1, undo: vec![], durable_from: 2 };
                self.run_storing(task, plan, milestones, steps);
            }
            ShareChange::Create(change) => {
                let change = change.clone();
                self.replace(task, plan, share, Payload::empty(), change);
            }
            ShareChange::Patch(_) if plan.lens.iter().all(|(_, a, b)| *a.max(b) <= SMALL_CONTAINER) => {
                let len = plan.file_len(share);
                let step = DiskStep::Read { path: StorePath::Share(index, share), offset: 0, len };
                self.storing(task, Storing { plan, stage: Stage::Copying }, vec![step]);
            }
            ShareChange::Patch(_) => self.make_record(task, plan),
        }
    }

    /// Nothing is to be changed: all is as it is wanted. Who was killed between a change and making it durable
    /// may have left it so; from now on somebody counts on it.
    fn make_last(&mut self, task: Box<SlotTask>, plan: Plan) {
        let index = task.index;
        let name = |share| DiskStep::SyncName(StorePath::Share(index, share));
        let steps: Vec<DiskStep> = task.named().into_iter().map(name).collect();
        if steps.is_empty() {
            return self.end_storing(task, plan, Ok(()));
        }
        let milestones =
            Milestones { names: steps.len(), doubtful_from: 0, undo: vec![], durable_from: steps.len() };
        self.run_storing(task, plan, milestones, steps);
    }

    fn storing(&mut self, task: Box<SlotTask>, storing: Storing, steps: Vec<DiskStep>) {
        self.disk(Running::Slot { task, stage: SlotStage::Storing(storing.into()) }, steps);
    }

    fn run_storing(&mut self, task: Box<SlotTask>, plan: Plan, milestones: Milestones, steps: Vec<DiskStep>) {
        self.storing(task, Storing { plan, stage: Stage::Running(milestones) }, steps);
    }

    /// Writes a share's file beside and gives it its name.
    fn replace(&mut self, task: Box<SlotTask>, plan: Plan, share: u16, old: Payload, change: FileChange) {
        let (beside, path) = (StorePath::Incoming(task.index, share), StorePath::Share(task.index, share));
        let mut steps = vec![DiskStep::Create(beside.clone())];
        if !old.is_empty() {
            steps.push(DiskStep::Write { path: beside.clone(), offset: 0, data: old });
        }
        steps.extend(change.steps(&beside));
        if !mutants::is_in(Mutant::BesideUnsynced) {
            steps.push(DiskStep::Sync(beside.clone()));
        }
        steps.extend([DiskStep::Rename(beside.clone(), path.clone()), DiskStep::SyncName(path)]);
        let (doubtful_from, durable_from) = (steps.len() - 1, steps.len());
        let (names, undo) = (0, vec![DiskStep::Remove(beside)]);
        self.run_storing(task, plan, Milestones { names, doubtful_from, undo, durable_from }, steps);
    }

    /// Writes ahead what needs room and hashes the record of the rest.
    fn make_record(&mut self, task: Box<SlotTask>, mut plan: Plan) {
        let index = task.index;
        let (mut names, mut ahead, mut undo) = (Vec::new(), Vec::new(), Vec::new());
        let lens = core::mem::take(&mut plan.lens);
        let mut recorded = Vec::new();
        for (share, change) in plan.changes.drain(..) {
            let path = StorePath::Share(index, share);
            let change = match change {
                ShareChange::Patch(mut change) => {
                    // It may have been written beside by who was killed before its name was durable. What
                    // the record builds on must last as long as the record.
                    names.push(DiskStep::SyncName(path.clone()));
                    let before =
                        lens.iter().find(|(of, ..)| *of == share).map_or(0, |(_, before, _)| *before);
                    let tail = change.split_tail(before);
                    if !tail.is_empty() {
                        ahead.extend(write_steps(&path, &tail));
                        ahead.push(DiskStep::Sync(path.clone()));
                        undo.push(DiskStep::Truncate(path, before));
                    }
                    ShareChange::Patch(change)
                }
                ShareChange::Create(change) => {
                    let beside = StorePath::Incoming(index, share);
                    ahead.push(DiskStep::Create(beside.clone()));
                    ahead.extend(change.steps(&beside));
                    ahead.push(DiskStep::Sync(beside.clone()));
                    undo.push(DiskStep::Remove(beside));
                    ShareChange::Create(change)
                }
                ShareChange::Remove => ShareChange::Remove,
            };
            recorded.push((share, change));
        }
        plan.changes = recorded;
        let record = Record::new(&plan.changes);
        let (hasher, data) = record.to_hash(&index);
        let stage = Stage::Hashing { record, names, ahead, undo };
        let stage = SlotStage::Storing(Storing { plan, stage }.into());
        self.job(Running::Slot { task, stage }, Job::Hash { hasher, data });
    }

    /// Everything that is to be written is known: what is ahead, the record, the change.
    pub(super) fn record_hashed(&mut self, task: Box<SlotTask>, stage: SlotStage, hash: Hash) {
        let SlotStage::Storing(storing) = stage else { unreachable!("only records are hashed") };
        let Storing { plan, stage: Stage::Hashing { record, names: mut steps, ahead, undo } } = *storing
        else {
            unreachable!("it was being hashed")
        };
        let redo = StorePath::Redo(task.index);
        let names = steps.len();
        steps.extend(ahead);
        if mutants::is_in(Mutant::PatchedInPlace) {
            let doubtful_from = steps.len();
            steps.extend(carrying_out(task.index, &plan.changes));
            let durable_from = steps.len();
            let milestones = Milestones { names, doubtful_from, undo, durable_from };
            return self.run_storing(task, plan, milestones, steps);
        }
        steps.push(DiskStep::Create(redo.clone()));
        steps.extend(write_steps(&redo, &record.writes(&hash)));
        let is_synced = !mutants::is_in(Mutant::RecordUnsynced);
        if is_synced {
            steps.push(DiskStep::Sync(redo.clone()));
        }
        let doubtful_from = steps.len();
        if is_synced {
            steps.push(DiskStep::SyncName(redo.clone()));
        }
        steps.extend(carrying_out(task.index, &plan.changes));
        let durable_from = steps.len();
        steps.extend(removal(&redo));
        // The record first: it may be whole though writing it failed, and it builds on what is ahead.
        let undo = removal(&redo).into_iter().chain(undo).collect();
        self.run_storing(task, plan, Milestones { names, doubtful_from, undo, durable_from }, steps);
    }

    pub(super) fn stored(&mut self, task: Box<SlotTask>, storing: Storing, result: DiskResult) {
        let Storing { plan, stage } = storing;
        match (stage, result) {
            (Stage::Copying, Ok(outputs)) => {
                let Some((share, ShareChange::Patch(change))) = plan.changes.first().cloned() else {
                    unreachable!("it was to be patched")
                };
                self.replace(task, plan, share, Outputs::new(outputs).data(), change);
            }
            (Stage::Copying, Err(DiskFailure { error, .. })) => {
                self.end_storing(task, plan, Err(lost(error)))
            }
            (Stage::Hashing { .. }, _) => unreachable!("a job, not a disk action"),
            (Stage::Running(_), Ok(_)) => self.end_storing(task, plan, Ok(())),
            (Stage::Running(milestones), Err(DiskFailure { step, error })) => {
                if step < milestones.names || step >= milestones.doubtful_from {
                    self.recovery.shut_down(task.index);
                    let result = if step >= milestones.durable_from { Ok(()) } else { Err(doubtful(&error)) };
                    return self.end_storing(task, plan, result);
                }
                let stage = Stage::Undoing(lost(error));
                self.storing(task, Storing { plan, stage }, milestones.undo);
            }
            (Stage::Undoing(error), result) => {
                let error = match result {
                    Ok(_) => error,
                    // A record that is still there may be whole.
                    Err(_) => {
                        self.recovery.shut_down(task.index);
                        doubtful(&error)
                    }
                };
                self.end_storing(task, plan, Err(error));
            }
        }
    }

    fn end_storing(&mut self, mut task: Box<SlotTask>, plan: Plan, result: Result<(), StorageError>) {
        self.promised -= plan.growth;
        let result = result.map(|()| {
            self.consumed += plan.growth;
            self.stats.leases_changed += plan.leases;
            if let Some(bytes) = task.written() {
                self.stats.slot_writes += 1;
                self.stats.slot_bytes_written += bytes;
            }
            task.answer(true)
        });
        self.end_slot_with(task, result);
    }
}

/// The steps of a change whose record is durable and whose new files are there beside.
fn carrying_out(index: StorageIndex, changes: &[(u16, ShareChange)]) -> Vec<DiskStep> {
    let steps = changes.iter().flat_map(|(share, change)| {
        let path = StorePath::Share(index, *share);
        match change {
            ShareChange::Create(_) => vec![
                DiskStep::Rename(StorePath::Incoming(index, *share), path.clone()),
                DiskStep::SyncName(path),
            ],
            ShareChange::Patch(change) => {
                let sync = DiskStep::Sync(path.clone());
                change.steps(&path).into_iter().chain([sync]).collect()
            }
            ShareChange::Remove => vec![DiskStep::Remove(path.clone()), DiskStep::SyncName(path)],
        }
    });
    steps.collect()
}

/// Removes a record for good: one that came back after a later change would undo that.
pub(super) fn removal(redo: &StorePath) -> [DiskStep; 2] {
    if mutants::is_in(Mutant::RecordRemovalUnsynced) {
        return [DiskStep::Remove(redo.clone()), DiskStep::Remove(redo.clone())];
    }
    [DiskStep::Remove(redo.clone()), DiskStep::SyncName(redo.clone())]
}
