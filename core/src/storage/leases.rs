//! The writes that change leases, in an order no crash can hurt.
//!
//! **Adding** a lease appends its record, syncs, then counts it in the header, and syncs again.
//! Before the count is durable the container has its old leases, after it the new one too; the data
//! ends where the header's length says all the while ([`super::container`]). A share of 2^32-1
//! bytes or more has no length in its header, so the low 32 bits of its length are put there first
//! (and synced) and taken back together with the count: both lie in one sector.
//!
//! **Renewing** a lease overwrites the four bytes of its expiration date. Where these straddle two
//! sectors a crash could mix an old and a new half into an earlier date, so the high half goes
//! first and is synced: every mixture is then later than the old date.

use super::container::{
    ContainerHeader, ContainerLayout, EXPIRATION_OFFSET, HEADER_LEN, LEASE_LEN, LENGTH_SATURATED, Lease,
    saturated,
};
use crate::disk::{DiskStep, StorePath};
use crate::payload::Payload;
use alloc::vec;
use alloc::vec::Vec;

/// Steps that change a lease.
#[derive(Debug)]
pub(super) struct LeaseChange {
    pub(super) steps: Vec<DiskStep>,
    /// If a step before this one fails, `undo` takes back what is visible of the change.
    pub(super) undo_before: usize,
    pub(super) undo: Option<DiskStep>,
}

impl LeaseChange {
    /// Whether the failure of this step leaves unknown what a crash would leave: what a failed
    /// sync was to write looks written and may never be.
    pub(super) fn is_sync(&self, step: usize) -> bool {
        matches!(self.steps.get(step), Some(DiskStep::Sync(_)))
    }
}

/// Adds a lease to a container.
pub(super) fn addition(path: &StorePath, layout: &ContainerLayout, lease: &Lease) -> LeaseChange {
    let offset = layout.lease_offset(layout.leases());
    let write = |offset, data: Vec<u8>| DiskStep::Write { path: path.clone(), offset, data: data.into() };
    let sync = || DiskStep::Sync(path.clone());
    let at_rest = ContainerHeader {
        schema: layout.schema(),
        stated_len: saturated(layout.data_len()),
        lease_count: layout.leases() + 1,
    };
    let mut steps = vec![];
    if layout.stated_len() == LENGTH_SATURATED {
        let marked =
            ContainerHeader { stated_len: layout.data_len() as u32, lease_count: layout.leases(), ..at_rest };
        steps.extend([
            write(STATED_LEN_OFFSET, marked.encode()[STATED_LEN_OFFSET as usize..].to_vec()),
            sync(),
        ]);
    }
    if layout.file_len() > offset + LEASE_LEN {
        // What is there is no lease: left by a crash, or put there by nobody we know.
        steps.push(DiskStep::Truncate(path.clone(), offset));
    }
    steps.extend([write(offset, lease.encode().to_vec()), sync()]);
    let undo_before = steps.len();
    steps.extend([write(STATED_LEN_OFFSET, at_rest.encode()[STATED_LEN_OFFSET as usize..].to_vec()), sync()]);
    LeaseChange { steps, undo_before, undo: Some(DiskStep::Truncate(path.clone(), offset)) }
}

/// Moves a lease's expiration date from `old` to `new`, which is later.
pub(super) fn renewal(
    path: &StorePath,
    layout: &ContainerLayout,
    place: u32,
    old: u32,
    new: u32,
) -> LeaseChange {
    debug_assert!(old < new, "a lease is never shortened");
    let offset = layout.lease_offset(place) + EXPIRATION_OFFSET;
    let high_len = (offset.next_multiple_of(SECTOR_LEN) - offset).min(4) as usize;
    let (old, new) = (old.to_be_bytes(), new.to_be_bytes());
    let write = |from: usize, to: usize| DiskStep::Write {
        path: path.clone(),
        offset: offset + from as u64,
        data: Payload::from(new[from..to].to_vec()),
    };
    let sync = || DiskStep::Sync(path.clone());
    let straddles = (1..4).contains(&high_len) && old[..high_len] != new[..high_len];
    let steps = if straddles {
        vec![write(0, high_len), sync(), write(high_len, 4), sync()]
    } else {
        vec![write(0, 4), sync()]
    };
    LeaseChange { steps, undo_before: 0, undo: None }
}

/// Disks write at least this much at once, or nothing of it.
const SECTOR_LEN: u64 = 512;
/// The header's length and count, which change together.
const STATED_LEN_OFFSET: u64 = 4;
const _: () = assert!(HEADER_LEN <= SECTOR_LEN);
