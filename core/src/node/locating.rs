//! Where shares are, for somebody who wants to see.

use super::operations::{Operations, Wish};
use crate::download::{Locate, LocateAction, LocateEvent, LocateSetup, Sought};
use crate::limits::LOCATE_SERVERS_MAX;
use crate::machine::Machine;
use crate::operation::{OperationId, Report};
use crate::peers::{Asker, ServerTable};
use crate::time::Now;
use alloc::boxed::Box;

impl Operations {
    pub(super) fn start_locate(&mut self, id: OperationId, file: Sought, table: &ServerTable, now: Now) {
        let index = match &file {
            Sought::Immutable(cap) => cap.storage_index(),
            Sought::Mutable(index) => *index,
        };
        let (ring, ring_len) = (table.ring(&index, LOCATE_SERVERS_MAX, now), table.ring_len());
        self.locates.insert(id, Box::new(Locate::new(LocateSetup { file, ring, ring_len }, now)));
        self.drain_locate(id);
    }

    pub(super) fn locate(&mut self, id: OperationId, event: LocateEvent, now: Now) {
        if let Some(locate) = self.locates.get_mut(&id) {
            locate.handle(event, now);
            self.drain_locate(id);
        }
    }

    fn drain_locate(&mut self, id: OperationId) {
        let mut over = false;
        while let Some(action) = self.locates.get_mut(&id).and_then(|locate| locate.poll_action()) {
            match action {
                LocateAction::Task(task_id, task) => self.wish_for(Asker::Locate(id), task_id, *task),
                LocateAction::Done(locations) => {
                    over = true;
                    self.wishes.push_back(Wish::Report(Report::Located { id, locations }));
                }
            }
        }
        if over {
            self.locates.remove(&id);
        }
    }
}
