//! The outgoing side of a node: one ordered queue of actions and the counters that number them.

use crate::disk::DiskStep;
use crate::entropy::Entropy;
use crate::job::Job;
use crate::machine::{Action, ActionId, ConnId};
use crate::nurl::{Address, Pin};
use crate::operation::{Notice, NoticeLevel, Report};
use crate::wire::Frame;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

/// What the parts of a node write their actions into.
#[derive(Debug)]
pub(crate) struct Io {
    actions: VecDeque<Action>,
    next_conn: u64,
    next_action: u64,
    pub(crate) entropy: Entropy,
}

impl Io {
    pub(crate) fn new(entropy: Entropy) -> Io {
        Io { actions: VecDeque::new(), next_conn: 0, next_action: 0, entropy }
    }

    pub(crate) fn poll(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if action.is_none() {
            // Most nodes of a large grid have nothing to do most of the time: they keep no buffer for it.
            self.actions = VecDeque::new();
        }
        action
    }

    pub(crate) fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    pub(crate) fn connect(&mut self, address: Address, pin: Pin) -> ConnId {
        let conn = ConnId::Outbound(self.next_conn);
        self.next_conn += 1;
        self.actions.push_back(Action::Connect { conn, address, pin });
        conn
    }

    pub(crate) fn send(&mut self, conn: ConnId, frame: Frame) {
        self.actions.push_back(Action::Send { conn, frame });
    }

    pub(crate) fn grant(&mut self, conn: ConnId, bytes: u64) {
        self.actions.push_back(Action::Grant { conn, bytes });
    }

    pub(crate) fn close(&mut self, conn: ConnId) {
        self.actions.push_back(Action::Close { conn });
    }

    pub(crate) fn abort(&mut self, conn: ConnId) {
        self.actions.push_back(Action::Abort { conn });
    }

    pub(crate) fn disk(&mut self, steps: Vec<DiskStep>) -> ActionId {
        let id = self.next_id();
        self.actions.push_back(Action::Disk { id, steps });
        id
    }

    pub(crate) fn job(&mut self, job: Job) -> ActionId {
        let id = self.next_id();
        self.actions.push_back(Action::Job { id, job });
        id
    }

    pub(crate) fn report(&mut self, report: Report) {
        self.actions.push_back(Action::Report(report));
    }

    pub(crate) fn notice(&mut self, level: NoticeLevel, text: String) {
        self.report(Report::Notice(Notice { level, text }));
    }

    fn next_id(&mut self) -> ActionId {
        let id = ActionId(self.next_action);
        self.next_action += 1;
        id
    }
}
