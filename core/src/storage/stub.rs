#![allow(missing_docs, dead_code, unused)]
use super::protocol::*;
use crate::{disk::*, job::*, machine::*, payload::Payload, time::*};
use alloc::{string::String, vec::Vec};
#[derive(Clone, Copy, Debug)]
pub struct RequestKey(pub u64);
#[derive(Clone, Debug, Hash)]
pub struct StorageConfig {
    pub reserved_space: u64,
    pub read_only: bool,
    pub program: String,
}
#[derive(Clone, Debug)]
pub enum StorageEvent {
    Wake,
    Request { from: RequestKey, request: StorageRequest, bulk: Payload },
    DiskDone { id: ActionId, result: DiskResult },
    JobDone { id: ActionId, output: JobOutput },
}
#[derive(Clone, Debug)]
pub enum StorageAction {
    Answer { to: RequestKey, result: Result<(StorageAnswer, Vec<Payload>), StorageError> },
    Disk { id: ActionId, steps: Vec<DiskStep> },
    Job { id: ActionId, job: Job },
}
#[derive(Clone, Debug)]
pub struct StorageStats {}
pub struct StorageServer;
impl StorageServer {
    pub fn new(c: StorageConfig) -> Self {
        StorageServer
    }
    pub fn stats(&self) -> StorageStats {
        StorageStats {}
    }
}
impl Machine for StorageServer {
    type Event = StorageEvent;
    type Action = StorageAction;
    fn handle(&mut self, _e: StorageEvent, _n: Now) {}
    fn poll_action(&mut self) -> Option<StorageAction> {
        None
    }
    fn deadline(&self) -> Option<Instant> {
        None
    }
}
