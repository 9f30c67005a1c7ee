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

mod leasing;
mod reading;
mod recovery;
mod slots;
mod storing;
mod writing;

pub(super) use leasing::LeaseTask;
pub(super) use slots::SlotTask;

use super::container::HEADER_LEN;
use super::gate::{Alone, Gate, Task};
use super::incoming::{Incoming, OwnerRequest, PendingWrite};
use super::protocol::{StorageAnswer, StorageError, StorageRequest};
use crate::disk::{DiskError, DiskOutput, DiskResult, DiskStep, StorePath};
use crate::identity::TubId;
use crate::job::{Job, JobOutput};
use crate::limits::{ADVISORY_REASON_MAX, INCOMING_IDLE_MAX, READ_RANGES_MAX};
use crate::machine::{ActionId, Machine};
use crate::payload::Payload;
use crate::storage_index::StorageIndex;
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use leasing::LeaseStage;
use reading::ReadTask;
use recovery::{Recovery, RedoStage};
use slots::SlotStage;

/// Names a request, so that its answer finds the way back. Chosen by the parent, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestKey(pub u64);

/// What the server's owner decides.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct StorageConfig {
    /// Bytes of the disk that shares leave free.
    pub reserved_space: u64,
    /// Take no new shares. Leases of those that are there are kept up.
    pub read_only: bool,
    /// The program and its version, for people to read.
    pub program: String,
}

/// What can happen to a storage server.
#[derive(Clone, Hash, Debug)]
pub enum StorageEvent {
    /// The deadline has come.
    Wake,
    /// Somebody asks for something.
    Request {
        /// Names the answer.
        from: RequestKey,
        /// What is asked for.
        request: StorageRequest,
        /// The bytes of a `Write` or `ReadTestWrite`; empty for any other request.
        bulk: Payload,
    },
    /// A disk action is over.
    DiskDone {
        /// Which.
        id: ActionId,
        /// How.
        result: DiskResult,
    },
    /// A job is over.
    JobDone {
        /// Which.
        id: ActionId,
        /// How.
        output: JobOutput,
    },
}

/// What an answer consists of: itself and its bulk, in pieces that follow each other.
pub type StorageResult = Result<(StorageAnswer, Vec<Payload>), StorageError>;

/// What a storage server asks for.
#[derive(Clone, Hash, Debug)]
pub enum StorageAction {
    /// Answer a request. Each gets exactly one answer, in any order.
    Answer {
        /// Which request.
        to: RequestKey,
        /// The answer.
        result: StorageResult,
    },
    /// Run steps on the disk. Answered by `DiskDone`.
    Disk {
        /// Names the answer.
        id: ActionId,
        /// The steps.
        steps: Vec<DiskStep>,
    },
    /// Compute something. Answered by `JobDone`.
    Job {
        /// Names the answer.
        id: ActionId,
        /// What to compute.
        job: Job,
    },
}

/// What a server has done since it started, and what it is at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct StorageStats {
    /// Shares that wait for bytes.
    pub shares_in_progress: u64,
    /// Bytes of disk promised to them and not yet taken.
    pub bytes_promised: u64,
    /// Requests taken in.
    pub requests: u64,
    /// Requests answered, errors included.
    pub answers: u64,
    /// Shares that became whole.
    pub shares_finished: u64,
    /// Bytes of these shares' data.
    pub bytes_finished: u64,
    /// Shares in progress that were lost because the disk failed or was full.
    pub shares_failed: u64,
    /// Shares in progress that were given up by their owner or for its silence.
    pub shares_abandoned: u64,
    /// Leases added or renewed.
    pub leases_changed: u64,
    /// Reports of damage that were kept.
    pub advisories: u64,
    /// Test-and-set writes to slots whose tests held and that are durable.
    pub slot_writes: u64,
    /// Bytes that these wrote.
    pub slot_bytes_written: u64,
    /// Test-and-set writes to slots whose tests did not hold.
    pub slot_tests_failed: u64,
    /// Writes to slots that a crash interrupted and that were completed at start.
    pub slot_writes_completed: u64,
    /// Slots that are shut until the server starts again, since the disk failed a write half-way.
    pub slots_shut: u64,
}

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
    /// Shares with leases of which nobody knows whether they are on the disk.
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
                let running = self.running.remove(&id).expect("an action ends once, and was asked for");
                self.handle_disk(running, result);
            }
            StorageEvent::JobDone { id, output } => {
                let running = self.running.remove(&id).expect("a job ends once, and was asked for");
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
        self.actions.pop_front()
    }

    /// When the share in progress that was silent for longest may have to go.
    fn deadline(&self) -> Option<Instant> {
        self.idle.first().map(|(filed, _)| *filed + INCOMING_IDLE_MAX)
    }
}

impl StorageServer {
    fn handle_request(&mut self, from: RequestKey, request: StorageRequest, bulk: Payload) {
        let writes = matches!(request, StorageRequest::Write { .. } | StorageRequest::ReadTestWrite { .. });
        if !bulk.is_empty() && !writes {
            return self.refuse(from, "only a write carries data");
        }
        match request {
            StorageRequest::Version => self.disk(Running::Version { to: from }, vec![DiskStep::FreeSpace]),
            StorageRequest::Allocate {
                storage_index,
                renew_secret,
                cancel_secret,
                upload_secret,
                shares,
                allocated_size,
            } => {
                let task = LeaseTask::allocate(
                    from,
                    (renew_secret, cancel_secret),
                    self.now.unix,
                    (upload_secret, shares, allocated_size),
                );
                self.enter(storage_index, Task::Leases(task.into()));
            }
            StorageRequest::AddLease { storage_index, renew_secret, cancel_secret } => {
                let task = LeaseTask::add(from, (renew_secret, cancel_secret), self.now.unix);
                self.enter(storage_index, Task::Leases(task.into()));
            }
            StorageRequest::Write { storage_index, share, upload_secret, offset } => {
                let write = PendingWrite { offset, data: bulk, unchecked: Vec::new() };
                self.owner_request(from, (storage_index, share), upload_secret, OwnerRequest::Write(write));
            }
            StorageRequest::Abort { storage_index, share, upload_secret } => {
                self.owner_request(from, (storage_index, share), upload_secret, OwnerRequest::Abort);
            }
            StorageRequest::List { storage_index } => self.enter(storage_index, Task::List { to: from }),
            StorageRequest::Read { ranges, .. } if ranges.len() > READ_RANGES_MAX => {
                self.refuse(from, "too many ranges");
            }
            StorageRequest::Read { storage_index, share, ranges } => {
                self.enter(storage_index, Task::Read { to: from, share, ranges });
            }
            StorageRequest::AdviseCorrupt { reason, .. } if reason.len() > ADVISORY_REASON_MAX => {
                self.refuse(from, "the reason is too long");
            }
            StorageRequest::AdviseCorrupt { storage_index, share, reason } => {
                self.enter(storage_index, Task::Advise { to: from, share, reason });
            }
            StorageRequest::ReadTestWrite {
                storage_index,
                write_enabler,
                renew_secret,
                cancel_secret,
                shares,
                reads,
            } => {
                let secrets = (write_enabler, renew_secret, cancel_secret);
                let date = self.now.unix;
                match SlotTask::write(from, storage_index, secrets, date, (shares, bulk), reads) {
                    Ok(task) => self.enter(storage_index, Task::Slot(task.into())),
                    Err(why) => self.refuse(from, why),
                }
            }
            StorageRequest::ReadSlot { storage_index, shares, ranges } => {
                match SlotTask::read(from, storage_index, shares, ranges) {
                    Ok(task) => self.enter(storage_index, Task::Slot(task.into())),
                    Err(why) => self.refuse(from, why),
                }
            }
        }
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
                    Ok(_) => StorageError::AlreadyWhole,
                    Err(failure) => failed(failure.error),
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
            Running::Remove { key, gated } => self.removed(key, gated),
        }
    }

    /// Does a task now if it may overlap what is going on with the file, else later.
    fn enter(&mut self, index: StorageIndex, task: Task) {
        let gate = self.gates.entry(index).or_default();
        gate.waiting.push_back(task);
        self.admit(index);
    }

    /// A task that may overlap others is over.
    fn leave(&mut self, index: StorageIndex) {
        self.gates.get_mut(&index).expect("a task inside keeps its gate").shared -= 1;
        self.admit(index);
    }

    /// Starts what may start now. Each turn of the loop sees what the turns before it changed.
    fn admit(&mut self, index: StorageIndex) {
        while let Some(gate) = self.gates.get_mut(&index) {
            let Some(task) = gate.admit() else {
                if gate.is_idle() {
                    self.gates.remove(&index);
                }
                return;
            };
            match task {
                Task::Leases(task) => {
                    gate.alone = Some(Alone::Leases(task));
                    self.start_leases(index);
                }
                Task::Slot(task) if task.changes() => {
                    gate.alone = Some(Alone::Slot);
                    self.start_slot(task);
                }
                task => {
                    gate.shared += 1;
                    if self.start_shared(index, task) == Progress::Over {
                        self.gates.get_mut(&index).expect("a task inside keeps its gate").shared -= 1;
                    }
                }
            }
        }
    }

    fn start_shared(&mut self, index: StorageIndex, task: Task) -> Progress {
        match task {
            Task::List { to } => {
                self.disk(Running::List { to, index }, vec![DiskStep::ListShares(index)]);
            }
            Task::Read { to, share, ranges } => self.start_read(to, (index, share), ranges),
            Task::Advise { to, share, reason } => {
                let key = (index, share);
                if self.is_hidden(key) {
                    self.answer(to, Err(StorageError::NoSuchShare));
                    return Progress::Over;
                }
                let path = StorePath::Share(index, share);
                let step = DiskStep::Read { path, offset: 0, len: HEADER_LEN };
                self.disk(Running::Advise { to, key, reason }, vec![step]);
            }
            Task::Owner { to, share, secret, request } => {
                let key = (index, share);
                if self.incoming.contains_key(&key) {
                    self.owner_request(to, key, secret, request);
                    return Progress::Over;
                }
                let step = DiskStep::Length(StorePath::Share(index, share));
                self.disk(Running::Owner { to, key }, vec![step]);
            }
            Task::Finish { share } => self.start_finish((index, share)),
            Task::Slot(task) => self.start_slot(task),
            Task::Leases(_) => unreachable!("goes in alone"),
        }
        Progress::UnderWay
    }

    /// The task that was alone inside is over.
    fn leave_alone(&mut self, index: StorageIndex) {
        self.gates.get_mut(&index).expect("the task inside keeps its gate").alone = None;
        self.admit(index);
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

/// What a client is told of a disk's failure.
fn failed(error: DiskError) -> StorageError {
    match error {
        DiskError::NotFound => StorageError::NoSuchShare,
        DiskError::Full => StorageError::Full,
        DiskError::ReadOnly => StorageError::ReadOnly,
        DiskError::Exists | DiskError::Failed(_) => StorageError::Disk(error.to_string()),
    }
}

/// What a client is told when the failure concerns a file that was there: it is not simply absent.
fn lost(error: DiskError) -> StorageError {
    match error {
        DiskError::NotFound => StorageError::Disk(error.to_string()),
        error => failed(error),
    }
}

/// The outputs of a list of steps, in their order.
struct Outputs(vec::IntoIter<DiskOutput>);

impl Outputs {
    fn new(outputs: Vec<DiskOutput>) -> Outputs {
        Outputs(outputs.into_iter())
    }

    fn length(&mut self) -> u64 {
        match self.0.next() {
            Some(DiskOutput::Length(len)) => len,
            other => panic!("a length was asked for, not {other:?}"),
        }
    }

    fn data(&mut self) -> Payload {
        match self.0.next() {
            Some(DiskOutput::Data(data)) => data,
            other => panic!("bytes were asked for, not {other:?}"),
        }
    }

    fn shares(&mut self) -> Vec<u16> {
        match self.0.next() {
            Some(DiskOutput::Shares(shares)) => shares,
            other => panic!("shares were asked for, not {other:?}"),
        }
    }

    fn slots(&mut self) -> Vec<StorageIndex> {
        match self.0.next() {
            Some(DiskOutput::Slots(slots)) => slots,
            other => panic!("the slots with records were asked for, not {other:?}"),
        }
    }

    fn free(&mut self) -> u64 {
        match self.0.next() {
            Some(DiskOutput::Free(free)) => free,
            other => panic!("the free space was asked for, not {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests;
