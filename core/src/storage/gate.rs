//! Keeps apart what must not overlap on the shares of one file.
//!
//! Listing, reading and finishing shares may overlap each other; changing leases, deciding which
//! shares to take and writing to a slot must be alone, since all look at the whole shares and act on
//! what they saw.
//! First come, first served, so that nobody waits for ever.

use super::incoming::OwnerRequest;
use super::server::{LeaseTask, RequestKey, SlotTask};
use crate::secret::UploadSecret;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

/// The gate to one file's whole shares.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// How many tasks that may overlap are inside.
    pub(super) shared: usize,
    /// The task that is alone inside.
    pub(super) alone: Option<Alone>,
    pub(super) waiting: VecDeque<Task>,
}

impl Gate {
    /// The next task that may go in now.
    pub(super) fn admit(&mut self) -> Option<Task> {
        let free = self.alone.is_none() && (self.shared == 0 || !self.waiting.front()?.wants_to_be_alone());
        if free { self.waiting.pop_front() } else { None }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.shared == 0 && self.alone.is_none() && self.waiting.is_empty()
    }
}

/// What is alone inside.
#[derive(Debug)]
pub(super) enum Alone {
    Leases(Box<LeaseTask>),
    /// A change of a slot, which goes from one disk action to the next.
    Slot,
}

/// Something to do with the whole shares of one file.
#[derive(Debug)]
pub(super) enum Task {
    List {
        to: RequestKey,
    },
    Read {
        to: RequestKey,
        share: u16,
        ranges: Vec<(u64, u64)>,
    },
    Advise {
        to: RequestKey,
        share: u16,
        reason: String,
    },
    /// An owner's request for a share that was not in progress when it came.
    Owner {
        to: RequestKey,
        share: u16,
        secret: UploadSecret,
        request: OwnerRequest,
    },
    Finish {
        share: u16,
    },
    Leases(Box<LeaseTask>),
    Slot(Box<SlotTask>),
}

impl Task {
    fn wants_to_be_alone(&self) -> bool {
        match self {
            Task::Leases(_) => true,
            Task::Slot(task) => task.changes(),
            Task::List { .. }
            | Task::Read { .. }
            | Task::Advise { .. }
            | Task::Owner { .. }
            | Task::Finish { .. } => false,
        }
    }
}
