//! The storage server.
//!
//! A share is in one of three places: nowhere, in progress (an [`Incoming`] here and a file at
//! [`StorePath::Incoming`]), or whole (a file at [`StorePath::Share`], and nothing here: the disk is
//! the only truth about whole shares). What a server promises rests on two rules:
//!
//! - A share is acknowledged as whole, listed and readable only after its content is synced, it has
//!   its final name, and that name is synced, in this order. So a crash leaves all of it or nothing.
//! - After a failed write or sync nothing is known about the file, so it is removed. Nothing is
//!   tried again: the next sync would succeed and prove nothing.
//!
//! Mutable slots have rules of their own: [`super::slot`].

mod admission;
mod interface;
mod leasing;
mod outputs;
mod reading;
mod recovery;
mod requests;
mod slots;
mod storing;
mod writing;

pub use interface::{RequestKey, StorageAction, StorageConfig, StorageEvent, StorageResult, StorageStats};
pub(super) use leasing::LeaseTask;
pub(super) use slots::SlotTask;

use super::gate::Gate;
use super::incoming::{Incoming, PendingWrite};
use super::protocol::{StorageAnswer, StorageError};
use crate::disk::{DiskFailure, DiskResult, DiskStep};
use crate::identity::TubId;
use crate::job::{Job, JobOutput};
use crate::limits::INCOMING_IDLE_MAX;
use crate::machine::{ActionId, Machine};
use crate::storage_index::StorageIndex;
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use leasing::{DOUBTFUL, LeaseStage};
use outputs::{Outputs, doubtful, failed, lost};
use reading::ReadTask;
use recovery::{Recovery, RedoStage};
use slots::SlotStage;

/// Keeps shares. See [`Machine`] for how to drive it.
#[derive(Debug)]
pub struct StorageServer {
    config: StorageConfig,
    now: Now,
    actions: VecDeque<StorageAction>,
    next_id: u64,
    running: BTreeMap<ActionId, Running>,
    gates: BTreeMap<StorageIndex, Gate>,
    incoming: BTreeMap<ShareKey, Incoming>,
    /// The shares in progress by the time they were last looked at for idleness.
    idle: BTreeSet<(Instant, ShareKey)>,
    /// Bytes of disk promised to shares in progress that these have not taken yet.
    promised: u64,
    /// Bytes of disk that shares took, ever. What free space measured earlier lacks is how much
    /// this has grown since.
    consumed: u64,
    /// Shares with a name or leases of which nobody knows whether they are on the disk.
    doubtful: BTreeSet<ShareKey>,
    nodeid: TubId,
    recovery: Recovery,
    stats: StorageStats,
}

type ShareKey = (StorageIndex, u16);

/// Whether a task that just began has ended, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    UnderWay,
    Over,
}

/// What a running disk action or job is for.
#[derive(Debug)]
enum Running {
    Version {
        to: RequestKey,
    },
    List {
        to: RequestKey,
        index: StorageIndex,
    },
    Read(ReadTask),
    /// Whether a whole share is there, for a report about it.
    Advise {
        to: RequestKey,
        key: ShareKey,
        reason: String,
    },
    Advisory {
        to: RequestKey,
    },
    /// Whether a whole share is there, for an owner's request that found none in progress.
    Owner {
        to: RequestKey,
        key: ShareKey,
    },
    Leases {
        index: StorageIndex,
        stage: LeaseStage,
    },
    Slot {
        task: Box<SlotTask>,
        stage: SlotStage,
    },
    /// Which slots have a record of an unfinished write.
    ListRedo,
    Redo {
        index: StorageIndex,
        stage: RedoStage,
    },
    Create {
        key: ShareKey,
    },
    Write {
        to: RequestKey,
        key: ShareKey,
        write: PendingWrite,
    },
    Compare {
        to: RequestKey,
        key: ShareKey,
        write: PendingWrite,
    },
    SyncEarly {
        key: ShareKey,
    },
    Finish {
        key: ShareKey,
    },
    Remove {
        key: ShareKey,
        gated: bool,
    },
}

impl StorageServer {
    /// A server over a disk that holds no share in progress. `nodeid` is what containers of mutable
    /// shares name as the server that recorded their secrets.
    ///
    /// It begins by completing what a crash interrupted; requests wait until it knows which slots
    /// that concerns.
    pub fn new(config: StorageConfig, nodeid: TubId) -> StorageServer {
        let mut server = StorageServer {
            config,
            now: Now::default(),
            actions: VecDeque::new(),
            next_id: 0,
            running: BTreeMap::new(),
            gates: BTreeMap::new(),
            incoming: BTreeMap::new(),
            idle: BTreeSet::new(),
            promised: 0,
            consumed: 0,
            doubtful: BTreeSet::new(),
            nodeid,
            recovery: Recovery::default(),
            stats: StorageStats::default(),
        };
        server.disk(Running::ListRedo, vec![DiskStep::ListRedo]);
        server
    }

    /// Whether slots are being changed. A server that stops now leaves work to its next start.
    pub fn is_changing_slots(&self) -> bool {
        self.running.values().any(|running| match running {
            Running::Slot { task, .. } => task.changes(),
            Running::Redo { .. } => true,
            _ => false,
        })
    }

    /// What it has done and is at.
    pub fn stats(&self) -> StorageStats {
        StorageStats {
            shares_in_progress: self.incoming.values().filter(|share| share.has_file()).count() as u64,
            bytes_promised: self.promised,
            slots_shut: self.recovery.shut_count(),
            ..self.stats
        }
    }
}

impl Machine for StorageServer {
    type Event = StorageEvent;
    type Action = StorageAction;

    fn handle(&mut self, event: StorageEvent, now: Now) {
        self.now = now;
        self.drop_idle();
        match event {
            StorageEvent::Wake => {}
            StorageEvent::Request { from, request, bulk } => {
                self.stats.requests += 1;
                if let Some((request, bulk)) = self.recovery.hold(from, request, bulk) {
                    self.handle_request(from, request, bulk);
                }
            }
            StorageEvent::DiskDone { id, result } => {
                let running = self.ended(id).expect("an action ends once, and was asked for");
                self.handle_disk(running, result);
            }
            StorageEvent::JobDone { id, output } => {
                let running = self.ended(id).expect("a job ends once, and was asked for");
                match (running, output) {
                    (Running::Compare { to, key, write }, JobOutput::Same(same)) => {
                        self.compared(to, key, write, same);
                    }
                    (Running::Slot { task, stage }, JobOutput::Hashed(hasher)) => {
                        self.record_hashed(task, stage, hasher.finish());
                    }
                    (Running::Redo { index, stage }, JobOutput::Hashed(hasher)) => {
                        self.redo_hashed(index, stage, hasher.finish());
                    }
                    (running, output) => panic!("{output:?} is no outcome of {running:?}"),
                }
            }
        }
    }

    fn poll_action(&mut self) -> Option<StorageAction> {
        let action = self.actions.pop_front();
        if action.is_none() {
            // As in `Io`: who has nothing to do keeps no buffer.
            self.actions = VecDeque::new();
        }
        action
    }

    /// When the share in progress that was silent for longest may have to go.
    fn deadline(&self) -> Option<Instant> {
        self.idle.first().map(|(filed, _)| *filed + INCOMING_IDLE_MAX)
    }
}

impl StorageServer {
    /// What an action was for that has ended.
    fn ended(&mut self, id: ActionId) -> Option<Running> {
        let running = self.running.remove(&id);
        if self.running.is_empty() {
            // An empty map keeps room for eleven.
            self.running = BTreeMap::new();
        }
        running
    }

    fn handle_disk(&mut self, running: Running, result: DiskResult) {
        match running {
            Running::Version { to } => self.version(to, result),
            Running::List { to, index } => self.listed(to, index, result),
            Running::Read(task) => self.read(task, result),
            Running::Advise { to, key, reason } => self.advise(to, key, reason, result),
            Running::Advisory { to } => {
                let done = result.map(|_| StorageAnswer::Done).map_err(|failure| failed(failure.error));
                self.answer(to, done);
            }
            Running::Owner { to, key } => {
                let error = match result {
                    Ok(_) if self.doubtful.contains(&key) => StorageError::Disk(DOUBTFUL.into()),
                    Ok(_) => StorageError::AlreadyWhole,
                    Err(DiskFailure { step: 0, error }) => failed(error),
                    Err(_) => {
                        self.doubtful.insert(key);
                        StorageError::Disk(DOUBTFUL.into())
                    }
                };
                self.answer(to, Err(error));
                self.leave(key.0);
            }
            Running::Leases { index, stage } => self.lease_step_done(index, stage, result),
            Running::Slot { task, stage } => self.slot_step_done(task, stage, result),
            Running::ListRedo => self.redo_listed(result),
            Running::Redo { index, stage } => self.redo_step_done(index, stage, result),
            Running::Create { key } => self.created(key, result),
            Running::Write { to, key, write } => self.wrote(to, key, write, result),
            Running::Compare { to, key, write } => self.reread(to, key, write, result),
            Running::SyncEarly { key } => self.synced_early(key, result),
            Running::Finish { key } => self.finished(key, result),
            Running::Remove { key, gated } => self.removed(key, gated, result.is_ok()),
        }
    }

    /// Whether a share may have its final name already without being acknowledged.
    fn is_hidden(&self, key: ShareKey) -> bool {
        self.incoming.get(&key).is_some_and(Incoming::has_file)
    }

    /// Bytes that can still be promised, given what was free when `consumed` had its value.
    fn available(&self, free: u64, consumed: u64) -> u64 {
        free.saturating_sub(self.config.reserved_space)
            .saturating_sub(self.promised)
            .saturating_sub(self.consumed - consumed)
    }

    fn disk(&mut self, running: Running, steps: Vec<DiskStep>) {
        let id = self.file(running);
        self.actions.push_back(StorageAction::Disk { id, steps });
    }

    fn job(&mut self, running: Running, job: Job) {
        let id = self.file(running);
        self.actions.push_back(StorageAction::Job { id, job });
    }

    fn file(&mut self, running: Running) -> ActionId {
        let id = ActionId(self.next_id);
        self.next_id += 1;
        self.running.insert(id, running);
        id
    }

    fn answer(&mut self, to: RequestKey, result: Result<StorageAnswer, StorageError>) {
        self.answer_with(to, result.map(|answer| (answer, Vec::new())));
    }

    fn answer_with(&mut self, to: RequestKey, result: StorageResult) {
        self.stats.answers += 1;
        self.actions.push_back(StorageAction::Answer { to, result });
    }

    fn refuse(&mut self, to: RequestKey, why: &str) {
        self.answer(to, Err(StorageError::BadRequest(why.into())));
    }
}

#[cfg(test)]
mod tests;
