//! What the parts of a node want, of each other and of the host.

use super::operations::Wish;
use super::{Node, Owner, vdrive};
use crate::drive::DriveAction;
use crate::introducer::{IntroducerAction, IntroducerEvent};
use crate::machine::Machine;
use crate::operation::Report;
use crate::serving::Inquiry;
use crate::storage::{RequestKey, StorageAction, StorageEvent};
use crate::time::Now;
use crate::vdrive::VdriveEvent;

impl Node {
    /// Passes on what the parts want of each other and of the host, until nobody wants anything.
    pub(super) fn drain(&mut self, now: Now) {
        loop {
            let mut idle = true;
            while let Some(inquiry) = self.serving.poll_inquiry() {
                idle = false;
                self.inquiry(inquiry, now);
            }
            while let Some(action) = self.storage.as_mut().and_then(Machine::poll_action) {
                idle = false;
                self.storage_action(action);
            }
            while let Some(action) = self.introducer.as_mut().and_then(Machine::poll_action) {
                idle = false;
                self.introducer_action(action, now);
            }
            while let Some(action) = self.vdrive.as_deref_mut().and_then(Machine::poll_action) {
                idle = false;
                self.vdrive_action(action, now);
            }
            while let Some((token, _, answer)) = self.peers.poll_answer() {
                idle = false;
                self.operations.answered(token, answer, now);
            }
            while let Some(action) = self.operations.poll() {
                idle = false;
                self.operation_action(action, now);
            }
            while let Some(action) = self.drive.poll_action() {
                idle = false;
                match action {
                    DriveAction::Command(command) => self.operate(command, now),
                    DriveAction::Report(report) => self.io.report(report),
                }
            }
            if !self.stopping
                && let Some(job) = self.keys.next_job()
            {
                let id = self.io.job(job);
                self.owners.insert(id, Owner::Keys);
            }
            if self.settled && self.operations.wants_servers() && !self.stopping {
                idle = false;
                self.operations.servers_known(&self.config, &self.peers.table, now);
            }
            if idle {
                return;
            }
        }
    }

    fn inquiry(&mut self, inquiry: Inquiry, now: Now) {
        match inquiry {
            Inquiry::Storage { key, request, bulk } => {
                if let Some(storage) = &mut self.storage {
                    storage.handle(StorageEvent::Request { from: RequestKey(key), request, bulk }, now);
                }
            }
            Inquiry::Introducer { conn, key, request } => {
                if let Some(introducer) = &mut self.introducer {
                    introducer.handle(IntroducerEvent::Request { conn, key, request }, now);
                }
            }
            Inquiry::Vdrive { key, rights, request } => {
                self.vdrive_event(VdriveEvent::Request { key, rights, request }, now);
            }
        }
    }

    fn storage_action(&mut self, action: StorageAction) {
        match action {
            StorageAction::Answer { to, result } => self.serving.answer_storage(to.0, result, &mut self.io),
            StorageAction::Disk { id, steps } => self.disk(Owner::Storage(id), steps),
            StorageAction::Job { id, job } => {
                let own = self.io.job(job);
                self.owners.insert(own, Owner::Storage(id));
            }
        }
    }

    fn introducer_action(&mut self, action: IntroducerAction, now: Now) {
        match action {
            IntroducerAction::Answer { key, result } => {
                self.serving.answer_introducer(key, result, &mut self.io)
            }
            IntroducerAction::Push { conn, announcements } => {
                self.serving.push(conn, &announcements, &mut self.io)
            }
            IntroducerAction::Learned(announcement) => self.learn([Some(announcement)].into(), now),
            IntroducerAction::Job(id, job) => {
                let own = self.io.job(job);
                self.owners.insert(own, Owner::Introducer(id));
            }
        }
    }

    fn operation_action(&mut self, action: Wish, now: Now) {
        match action {
            Wish::Ask { token, server, request, bulk, patience, effort } => {
                self.peers.ask(token, server, request, bulk, patience, effort, now, &mut self.io)
            }
            Wish::ForgetAsk(token) => self.peers.abandon(token),
            Wish::ForgetAsker(asker) => self.peers.abandon_all(asker),
            Wish::Disk(owner, steps) => self.disk(Owner::Operation(owner), steps),
            Wish::Job(owner, job) => {
                let id = self.io.job(job);
                self.owners.insert(id, Owner::Operation(owner));
            }
            Wish::Stage(id, stage) => self.journal.stage(id, stage, now),
            Wish::Report(report) => self.operation_report(report, now),
        }
    }

    fn operation_report(&mut self, report: Report, now: Now) {
        self.journal.report(&report, now);
        match report.operation() {
            Some(vdrive::MAKING) => self.root_report(report, now),
            Some(id) if id.is_inner() => self.drive.report(id, report, now),
            _ => self.io.report(report),
        }
    }
}
