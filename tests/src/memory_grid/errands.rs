//! What is done in the drives of a grid in memory.

use super::{MemoryGrid, Tamper};
use std::collections::BTreeMap;
use tallac_core::drive::{Done, DriveError, Errand};
use tallac_core::operation::{Command, OperationId, Report};

impl<T: Tamper> MemoryGrid<T> {
    fn begin_errand(&mut self, errand: Errand) -> OperationId {
        let id = self.operation();
        self.command(Command::Errand { id, errand: Box::new(errand) });
        id
    }

    /// Sends errands all at once, and waits for them.
    pub fn run_errands(
        &mut self,
        errands: impl IntoIterator<Item = Errand>,
    ) -> Vec<Result<Box<Done>, Box<DriveError>>> {
        let begun = self.now.instant;
        let ids: Vec<OperationId> = errands.into_iter().map(|errand| self.begin_errand(errand)).collect();
        let mut results = BTreeMap::new();
        while results.len() < ids.len() {
            if let Report::Errand { id, result } = self.next_report(begun) {
                results.insert(id, result);
            }
        }
        ids.iter().map(|id| results.remove(id).expect("each is answered once")).collect()
    }

    /// Sends an errand, and waits for it.
    pub fn errand(&mut self, errand: Errand) -> Result<Box<Done>, Box<DriveError>> {
        self.run_errands([errand]).remove(0)
    }
}
