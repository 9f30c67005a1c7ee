//! The vdrive server of a node and what it wants of the rest.

use super::{Node, NodeConfig, Owner};
use crate::capability::MutableFormat;
use crate::entropy::Entropy;
use crate::machine::Machine;
use crate::mutable::{Change, Consent, Edits, Subject};
use crate::operation::{Command, OperationId, Report};
use crate::time::Now;
use crate::vdrive::{MakeRootError, SharedRoot, VdriveAction, VdriveClient, VdriveEvent, VdriveServer};
use alloc::vec::Vec;

/// How many servers must be connected before the shared root is made, where no happiness is
/// configured.
const SERVERS_DEFAULT: usize = 3;
/// Names the change that makes the root: the last of the names that no program chooses.
pub(super) const MAKING: OperationId = OperationId(u64::MAX);

pub(super) fn server(config: &NodeConfig, entropy: Entropy) -> VdriveServer {
    VdriveServer::new(config.happy.unwrap_or(SERVERS_DEFAULT), entropy)
}

impl Node {
    /// The shared root that the node keeps.
    pub fn shared_root(&self) -> Option<&SharedRoot> {
        self.shared_root.as_deref().and_then(VdriveClient::root)
    }

    pub(super) fn vdrive_event(&mut self, event: VdriveEvent, now: Now) {
        if let Some(vdrive) = &mut self.vdrive {
            vdrive.handle(event, now);
        }
    }

    pub(super) fn wake_vdrive(&mut self, now: Now) {
        if let Some(shared_root) = &mut self.shared_root
            && shared_root.deadline().is_some_and(|at| now.instant >= at)
        {
            shared_root.wake(now, &mut self.io);
        }
        if let Some(vdrive) = &mut self.vdrive {
            if vdrive.counts_servers() {
                vdrive.handle(VdriveEvent::Servers(self.peers.writable(now)), now);
            }
            if vdrive.deadline().is_some_and(|at| now.instant >= at) {
                vdrive.handle(VdriveEvent::Wake, now);
            }
        }
    }

    pub(super) fn make_root(&mut self, id: OperationId, now: Now) {
        match &mut self.vdrive {
            Some(vdrive) => vdrive.handle(VdriveEvent::Make(id), now),
            None => self.io.report(Report::RootMade { id, result: Err(MakeRootError::NoVdrive) }),
        }
    }

    pub(super) fn vdrive_action(&mut self, action: VdriveAction, now: Now) {
        match action {
            VdriveAction::Answer { key, result } => self.serving.answer_vdrive(key, result, &mut self.io),
            VdriveAction::Disk(steps) => self.disk(Owner::Vdrive, steps),
            VdriveAction::MakeRoot => {
                let subject = Subject::New { format: MutableFormat::Sdmf, key: None };
                let change = Change::Edit(Edits(Vec::new()));
                // Whoever holds vdrive.furl may write to it.
                let consent = Consent::Majority;
                let command = Command::Change { id: MAKING, subject, change, consent };
                self.operations.command(command, &self.config, &self.peers.table, now);
            }
            VdriveAction::Ready(root) => {
                if let Some(shared_root) = &mut self.shared_root {
                    shared_root.offered_by_self(root, &mut self.io);
                }
            }
            VdriveAction::Told { id, result } => self.io.report(Report::RootMade { id, result }),
            VdriveAction::Notice(level, text) => self.io.notice(level, text),
        }
    }

    /// Takes in what came of making the root.
    pub(super) fn root_report(&mut self, report: Report, now: Now) {
        if let Report::Changed { result, .. } = report {
            self.vdrive_event(VdriveEvent::Made(result.map(|changed| changed.cap)), now);
        }
    }
}
