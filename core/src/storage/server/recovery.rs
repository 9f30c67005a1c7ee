//! Completing at start the writes to slots that a crash interrupted.
//!
//! ```text
//! which slots have records ──▶ for one after another: length ──▶ content ──▶ hash
//!                                                        whole: carried out ──┴──▶ removed
//! ```
//!
//! A slot with a record is closed until this is over; if it cannot be done, until the next start.

use super::storing::removal;
use super::{Outputs, RequestKey, Running, StorageServer};
use crate::disk::{DiskFailure, DiskResult, DiskStep, StorePath};
use crate::hash::Hash;
use crate::job::Job;
use crate::mutants::{self, Mutant};
use crate::payload::Payload;
use crate::storage::gate::Alone;
use crate::storage::protocol::{StorageError, StorageRequest};
use crate::storage::slot::redo::{Found, RECORD_LEN_MAX, replay};
use crate::storage_index::StorageIndex;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;

/// What is still to be completed, and what could not be.
#[derive(Debug)]
pub(super) struct Recovery {
    /// Requests that came before it was known which slots have records.
    held: Option<Vec<(RequestKey, StorageRequest, Payload)>>,
    /// Slots with records that have still to be looked at.
    waiting: VecDeque<StorageIndex>,
    /// Slots of which nobody knows what the disk holds.
    shut: BTreeSet<StorageIndex>,
    /// The records could not be listed, so that any slot may have one.
    all_shut: bool,
}

impl Default for Recovery {
    fn default() -> Recovery {
        Recovery { held: Some(Vec::new()), waiting: VecDeque::new(), shut: BTreeSet::new(), all_shut: false }
    }
}

impl Recovery {
    /// Keeps a request that came too early; gives it back if it did not.
    pub(super) fn hold(
        &mut self,
        from: RequestKey,
        request: StorageRequest,
        bulk: Payload,
    ) -> Option<(StorageRequest, Payload)> {
        match &mut self.held {
            Some(held) => {
                held.push((from, request, bulk));
                None
            }
            None => Some((request, bulk)),
        }
    }

    /// Why nothing is done with a slot, if so.
    pub(super) fn shut(&self, index: &StorageIndex) -> Option<StorageError> {
        let why =
            "an earlier write to the slot stopped half-way; it is completed when the server starts again";
        (self.all_shut || self.shut.contains(index)).then(|| StorageError::Disk(why.into()))
    }

    pub(super) fn shut_down(&mut self, index: StorageIndex) {
        self.shut.insert(index);
    }

    pub(super) fn shut_count(&self) -> u64 {
        self.shut.len() as u64
    }
}

/// What a disk action or job for a record is about.
#[derive(Debug)]
pub(super) enum RedoStage {
    Length,
    Content,
    Hashing(Found),
    CarryingOut,
    /// It is torn and thrown away.
    Removing,
}

impl StorageServer {
    pub(super) fn redo_listed(&mut self, result: DiskResult) {
        match result {
            Ok(outputs) => {
                for index in Outputs::new(outputs).slots() {
                    self.gates.entry(index).or_default().alone = Some(Alone::Slot);
                    self.recovery.waiting.push_back(index);
                }
            }
            Err(_) => self.recovery.all_shut = true,
        }
        self.redo_next();
        for (from, request, bulk) in self.recovery.held.take().unwrap_or_default() {
            self.handle_request(from, request, bulk);
        }
    }

    /// One record after another, so that only one is in memory.
    fn redo_next(&mut self) {
        if let Some(index) = self.recovery.waiting.pop_front() {
            self.redo(index, RedoStage::Length, vec![DiskStep::Length(StorePath::Redo(index))]);
        }
    }

    fn redo(&mut self, index: StorageIndex, stage: RedoStage, steps: Vec<DiskStep>) {
        self.disk(Running::Redo { index, stage }, steps);
    }

    pub(super) fn redo_step_done(&mut self, index: StorageIndex, stage: RedoStage, result: DiskResult) {
        let path = StorePath::Redo(index);
        let mut outputs = match result {
            Ok(outputs) => Outputs::new(outputs),
            Err(DiskFailure { .. }) => {
                self.recovery.shut_down(index);
                return self.redo_over(index);
            }
        };
        match stage {
            RedoStage::Length => {
                let len = outputs.length();
                if len > RECORD_LEN_MAX {
                    return self.redo(index, RedoStage::Removing, removal(&path).into());
                }
                self.redo(index, RedoStage::Content, vec![DiskStep::Read { path, offset: 0, len }]);
            }
            RedoStage::Content => match Found::open(&outputs.data()) {
                Some(found) => {
                    let (hasher, data) = found.to_hash(&index);
                    self.job(
                        Running::Redo { index, stage: RedoStage::Hashing(found) },
                        Job::Hash { hasher, data },
                    );
                }
                None => self.redo(index, RedoStage::Removing, removal(&path).into()),
            },
            RedoStage::Hashing(_) => unreachable!("a job, not a disk action"),
            RedoStage::CarryingOut => {
                self.stats.slot_writes_completed += 1;
                self.redo_over(index);
            }
            RedoStage::Removing if mutants::is_in(Mutant::RecordsForgotten) => self.leave_alone(index),
            RedoStage::Removing => self.redo_over(index),
        }
    }

    pub(super) fn redo_hashed(&mut self, index: StorageIndex, stage: RedoStage, hash: Hash) {
        let RedoStage::Hashing(found) = stage else { unreachable!("it was being hashed") };
        let path = StorePath::Redo(index);
        match found.changes(hash) {
            Some(changes) if !mutants::is_in(Mutant::RecordIgnored) => {
                // After the end of a process, unlike that of a machine, a record may be there that is not
                // durable, and after a sync that failed never will be. It must be before anything is
                // changed in its name.
                let mut steps = vec![DiskStep::Replace(path.clone(), found.file().clone())];
                steps.extend(replay(index, &changes));
                steps.extend(removal(&path));
                self.redo(index, RedoStage::CarryingOut, steps);
            }
            _ => self.redo(index, RedoStage::Removing, removal(&path).into()),
        }
    }

    fn redo_over(&mut self, index: StorageIndex) {
        self.leave_alone(index);
        self.redo_next();
    }
}
