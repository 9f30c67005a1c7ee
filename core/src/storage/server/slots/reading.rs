//! Reads what is asked of a slot, and decides by it.

use super::{SlotShare, SlotStage, SlotTask, Wish};
use crate::disk::{DiskFailure, DiskResult, DiskStep, StorePath};
use crate::limits::{BULK_LEN_MAX, LEASES_MAX};
use crate::mutants::{self, Mutant};
use crate::payload::Payload;
use crate::storage::protocol::{SlotTest, StorageError};
use crate::storage::server::outputs::{Outputs, lost};
use crate::storage::server::{Running, StorageServer};
use crate::storage::slot::container::{DATA_OFFSET, SLOT_LEASE_LEN, SlotContainerError, SlotHeader};
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

impl StorageServer {
    pub(super) fn slot_surveyed(&mut self, mut task: Box<SlotTask>, result: DiskResult) {
        let mut outputs = match result {
            Ok(outputs) => Outputs::new(outputs),
            Err(DiskFailure { error, .. }) => return self.end_slot(task, Err(lost(error))),
        };
        let mut shares = outputs.shares();
        task.free = outputs.free();
        let mut in_progress = self.incoming.range((task.index, 0)..=(task.index, u16::MAX));
        if in_progress.any(|(_, share)| share.has_file()) {
            return self.end_slot(task, Err(StorageError::WrongKind));
        }
        if let Wish::Read { shares: wanted } = &task.wish {
            shares.retain(|share| wanted.is_empty() || wanted.contains(*share));
        }
        self.read_headers(task, shares);
    }

    fn read_headers(&mut self, task: Box<SlotTask>, shares: Vec<u16>) {
        let steps = shares.iter().flat_map(|share| {
            let path = || StorePath::Share(task.index, *share);
            [DiskStep::Length(path()), DiskStep::Read { path: path(), offset: 0, len: DATA_OFFSET }]
        });
        let steps = steps.collect();
        self.disk(Running::Slot { task, stage: SlotStage::Headers(shares) }, steps);
    }

    pub(super) fn slot_measured(
        &mut self,
        mut task: Box<SlotTask>,
        mut shares: Vec<u16>,
        result: DiskResult,
    ) {
        let mut outputs = match result {
            Ok(outputs) => Outputs::new(outputs),
            // One bad file does not keep readers from the others.
            Err(DiskFailure { step, .. }) if !task.changes() => {
                task.unreadable.push(shares.remove(step / 2));
                return self.read_headers(task, shares);
            }
            Err(DiskFailure { error, .. }) => return self.end_slot(task, Err(lost(error))),
        };
        for number in shares {
            let file_len = outputs.length();
            // A stand-in is no header: nobody writes headers that are not real bytes.
            match SlotHeader::decode(outputs.data().front_bytes(), file_len) {
                Ok(header) => task.shares.push(SlotShare {
                    number,
                    header,
                    pieces: Vec::new(),
                    extra: Payload::empty(),
                    holds: true,
                }),
                Err(SlotContainerError::Immutable) => {
                    return self.end_slot(task, Err(StorageError::WrongKind));
                }
                // Nobody can show the right to write to a slot of which a part cannot be read.
                Err(error) if matches!(task.wish, Wish::Write { .. }) => {
                    return self.end_slot(task, Err(StorageError::Disk(error.to_string())));
                }
                Err(_) => task.unreadable.push(number),
            }
        }
        if let Wish::Write { enabler, .. } = &task.wish
            && let Some(other) = task.shares.iter().find(|share| !share.header.is_enabled_by(enabler))
        {
            let recorded_by = other.header.recorded_by;
            return self.end_slot(task, Err(StorageError::WrongWriteEnabler { recorded_by }));
        }
        self.read_vectors(task);
    }

    fn read_vectors(&mut self, task: Box<SlotTask>) {
        let (mut steps, mut wanted) = (Vec::new(), 0u64);
        for share in &task.shares {
            let mut read = |(offset, len): (u64, u64)| {
                let path = StorePath::Share(task.index, share.number);
                steps.push(DiskStep::Read { path, offset, len });
            };
            for (offset, len) in task.reads.iter().filter_map(|range| share.header.readable(range.0, range.1))
            {
                wanted = wanted.saturating_add(len);
                read((offset, len));
            }
            if let Some(vectors) = task.vectors_of(share.number) {
                vectors.tests.iter().filter_map(|test| tested(&share.header, test)).for_each(&mut read);
            }
            if task.may_change_lease(share.number) {
                let extra_max = 4 + u64::from(LEASES_MAX) * SLOT_LEASE_LEN;
                read((share.header.extra_offset, extra_max));
            }
        }
        if wanted > BULK_LEN_MAX as u64 {
            let error = StorageError::BadRequest("more than an answer holds".into());
            return self.end_slot(task, Err(error));
        }
        self.disk(Running::Slot { task, stage: SlotStage::Vectors }, steps);
    }

    pub(super) fn slot_read(&mut self, mut task: Box<SlotTask>, result: DiskResult) {
        let mut outputs = match result {
            Ok(outputs) => Outputs::new(outputs),
            Err(DiskFailure { error, .. }) => return self.end_slot(task, Err(lost(error))),
        };
        for mut share in core::mem::take(&mut task.shares) {
            let mut is_whole = true;
            let mut read = |(_, len): (u64, u64)| {
                let data = outputs.data();
                is_whole &= data.len() == len;
                data
            };
            let readable = task.reads.iter().map(|range| share.header.readable(range.0, range.1));
            share.pieces = readable.map(|place| place.map_or(Payload::empty(), &mut read)).collect();
            for test in task.vectors_of(share.number).iter().flat_map(|vectors| &vectors.tests) {
                let found = tested(&share.header, test).map_or(Payload::empty(), &mut read);
                share.holds &= found.bytes().is_some_and(|found| *found == test.expected);
            }
            if task.may_change_lease(share.number) {
                share.extra = outputs.data();
            }
            // The header says that there is more. Who asks must not take the share for a shorter one.
            match is_whole {
                true => task.shares.push(share),
                false if !task.changes() => task.unreadable.push(share.number),
                false => {
                    let error = StorageError::Disk(SlotContainerError::TooShort.to_string());
                    return self.end_slot(task, Err(error));
                }
            }
        }
        self.decide(task);
    }

    /// Everything that is asked about the slot is known.
    fn decide(&mut self, mut task: Box<SlotTask>) {
        let is_there = |number| task.shares.iter().any(|share| share.number == number);
        let of_nothing = |test: &SlotTest| test.expected.is_empty();
        let holds = match &task.wish {
            Wish::Read { .. } => {
                let answer = task.answer(true);
                return self.end_slot_with(task, Ok(answer));
            }
            Wish::Lease(_) => true,
            Wish::Write { vectors, .. } => {
                task.shares.iter().all(|share| share.holds)
                    && vectors
                        .iter()
                        .all(|vectors| is_there(vectors.share) || vectors.tests.iter().all(of_nothing))
            }
        };
        if !holds && !mutants::is_in(Mutant::TestsSkipped) {
            self.stats.slot_tests_failed += 1;
            let answer = task.answer(false);
            return self.end_slot_with(task, Ok(answer));
        }
        let plan = match self.plan(&task) {
            Ok(plan) => plan,
            Err(error) => return self.end_slot(task, Err(error)),
        };
        let grows = plan.growth > 0 && !matches!(task.wish, Wish::Lease(_));
        if self.config.read_only && grows {
            return self.end_slot(task, Err(StorageError::ReadOnly));
        }
        if plan.growth > 0 && plan.growth > self.available(task.free, task.consumed) {
            return self.end_slot(task, Err(StorageError::Full));
        }
        self.store(task, plan);
    }
}

/// What is read for a test: one byte more than expected is enough to see a difference.
fn tested(header: &SlotHeader, test: &SlotTest) -> Option<(u64, u64)> {
    header.readable(test.offset, test.len.min(test.expected.len() as u64 + 1))
}
