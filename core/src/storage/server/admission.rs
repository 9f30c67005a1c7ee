//! Lets tasks through the gate of their file, and starts them.

use super::{Progress, Running, StorageServer};
use crate::disk::{DiskStep, StorePath};
use crate::storage::container::HEADER_LEN;
use crate::storage::gate::{Alone, Task};
use crate::storage::protocol::StorageError;
use crate::storage_index::StorageIndex;
use alloc::vec;

impl StorageServer {
    /// Does a task now if it may overlap what is going on with the file, else later.
    pub(super) fn enter(&mut self, index: StorageIndex, task: Task) {
        let gate = self.gates.entry(index).or_default();
        gate.waiting.push_back(task);
        self.admit(index);
    }

    /// A task that may overlap others is over.
    pub(super) fn leave(&mut self, index: StorageIndex) {
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
                let path = || StorePath::Share(index, share);
                // That it is whole is said only of a share whose name is durable: it may not be, after a
                // kill. An uploader that comes back counts on it.
                let steps = vec![DiskStep::Length(path()), DiskStep::SyncName(path())];
                self.disk(Running::Owner { to, key }, steps);
            }
            Task::Finish { share } => self.start_finish((index, share)),
            Task::Slot(task) => self.start_slot(task),
            Task::Leases(_) => unreachable!("goes in alone"),
        }
        Progress::UnderWay
    }

    /// The task that was alone inside is over.
    pub(super) fn leave_alone(&mut self, index: StorageIndex) {
        self.gates.get_mut(&index).expect("the task inside keeps its gate").alone = None;
        self.admit(index);
    }
}
