//! What the disk said: outputs in the order of the steps, and failures in the words of the protocol.

use crate::disk::{DiskError, DiskOutput};
use crate::payload::Payload;
use crate::storage::protocol::StorageError;
use crate::storage_index::StorageIndex;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

/// What a client is told of a disk's failure.
pub(super) fn failed(error: DiskError) -> StorageError {
    match error {
        DiskError::NotFound => StorageError::NoSuchShare,
        DiskError::Full => StorageError::Full,
        DiskError::ReadOnly => StorageError::ReadOnly,
        DiskError::Exists | DiskError::Failed(_) => StorageError::Disk(error.to_string()),
    }
}

/// What a client is told when the failure concerns a file that was there: it is not simply absent.
pub(super) fn lost(error: DiskError) -> StorageError {
    match error {
        DiskError::NotFound => StorageError::Disk(error.to_string()),
        error => failed(error),
    }
}

/// What a client is told when the disk failed so late that what was asked for may be there all the same.
pub(super) fn doubtful(error: &impl ToString) -> StorageError {
    StorageError::Disk(error.to_string())
}

/// The outputs of a list of steps, in their order.
pub(super) struct Outputs(vec::IntoIter<DiskOutput>);

impl Outputs {
    pub(super) fn new(outputs: Vec<DiskOutput>) -> Outputs {
        Outputs(outputs.into_iter())
    }

    pub(super) fn length(&mut self) -> u64 {
        match self.0.next() {
            Some(DiskOutput::Length(len)) => len,
            other => panic!("a length was asked for, not {other:?}"),
        }
    }

    pub(super) fn data(&mut self) -> Payload {
        match self.0.next() {
            Some(DiskOutput::Data(data)) => data,
            other => panic!("bytes were asked for, not {other:?}"),
        }
    }

    pub(super) fn shares(&mut self) -> Vec<u16> {
        match self.0.next() {
            Some(DiskOutput::Shares(shares)) => shares,
            other => panic!("shares were asked for, not {other:?}"),
        }
    }

    pub(super) fn slots(&mut self) -> Vec<StorageIndex> {
        match self.0.next() {
            Some(DiskOutput::Slots(slots)) => slots,
            other => panic!("the slots with records were asked for, not {other:?}"),
        }
    }

    pub(super) fn free(&mut self) -> u64 {
        match self.0.next() {
            Some(DiskOutput::Free(free)) => free,
            other => panic!("the free space was asked for, not {other:?}"),
        }
    }
}
