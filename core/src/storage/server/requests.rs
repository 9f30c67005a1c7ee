//! Where each request goes, after what can be refused at once.

use super::slots::SlotTask;
use super::{LeaseTask, RequestKey, Running, StorageServer};
use crate::disk::DiskStep;
use crate::limits::{ADVISORY_REASON_MAX, READ_RANGES_MAX};
use crate::payload::Payload;
use crate::storage::gate::Task;
use crate::storage::incoming::{OwnerRequest, PendingWrite};
use crate::storage::protocol::StorageRequest;
use alloc::vec;
use alloc::vec::Vec;

impl StorageServer {
    pub(super) fn handle_request(&mut self, from: RequestKey, request: StorageRequest, bulk: Payload) {
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
}
