//! Works out what a write, or a lease alone, changes in each share.

use super::{SlotShare, SlotTask, WantedLease, Wish};
use crate::limits::{LEASES_MAX, SLOT_LEASES_MAX};
use crate::secret::WriteEnabler;
use crate::storage::protocol::StorageError;
use crate::storage::server::StorageServer;
use crate::storage::server::storing::Plan;
use crate::storage::slot::change::{DataVectors, LeaseChange, creation, patch};
use crate::storage::slot::container::{SlotHeader, SlotLease, SlotLeases};
use crate::storage::slot::redo::ShareChange;
use alloc::string::ToString;
use alloc::vec::Vec;

impl StorageServer {
    pub(super) fn plan(&self, task: &SlotTask) -> Result<Plan, StorageError> {
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
}

fn too_long() -> StorageError {
    StorageError::BadRequest("the share would be longer than a share may be".into())
}
