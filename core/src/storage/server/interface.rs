//! What happens to a storage server, what it asks for, and what it tells of itself.

use crate::disk::{DiskResult, DiskStep};
use crate::job::{Job, JobOutput};
use crate::machine::ActionId;
use crate::payload::Payload;
use crate::storage::protocol::{StorageAnswer, StorageError, StorageRequest};
use alloc::string::String;
use alloc::vec::Vec;

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
