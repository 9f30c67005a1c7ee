//! The machines of operations: what happens to one, and what it wants.

use super::{Operations, Wish};
use crate::download::{DownloadAction, DownloadEvent};
use crate::machine::Machine;
use crate::mutable::{ChangeAction, ChangeEvent, ReadAction, ReadEvent};
use crate::operation::{OperationId, Report};
use crate::peers::Asker;
use crate::time::Now;
use crate::upload::{UploadAction, UploadEvent};

impl Operations {
    pub(super) fn upload(&mut self, id: OperationId, event: UploadEvent, now: Now) {
        if let Some(upload) = self.uploads.get_mut(&id) {
            upload.handle(event, now);
            self.drain_upload(id);
        }
    }

    pub(super) fn drain_upload(&mut self, id: OperationId) {
        let mut over = false;
        while let Some(action) = self.uploads.get_mut(&id).and_then(|upload| upload.poll_action()) {
            let report = match action {
                UploadAction::Task(task_id, task) => {
                    self.wish_for(Asker::Upload(id), task_id, *task);
                    continue;
                }
                UploadAction::WantServers(storage_index) => {
                    self.waiting.push((id, storage_index));
                    continue;
                }
                UploadAction::Grant(bytes) => Report::UploadGrant { id, bytes },
                UploadAction::Planned(plan) => Report::UploadPlanned { id, plan },
                UploadAction::Progress(progress) => Report::UploadProgress { id, progress },
                UploadAction::Done(result) => {
                    over = true;
                    Report::Uploaded { id, result }
                }
            };
            self.wishes.push_back(Wish::Report(report));
        }
        if over {
            self.uploads.remove(&id);
            self.storing.remove(&id);
            self.waiting.retain(|(waiting, _)| *waiting != id);
        }
    }

    pub(super) fn download(&mut self, id: OperationId, event: DownloadEvent, now: Now) {
        if let Some(download) = self.downloads.get_mut(&id) {
            download.handle(event, now);
            self.drain_download(id);
        }
    }

    pub(super) fn drain_download(&mut self, id: OperationId) {
        let mut over = false;
        while let Some(action) = self.downloads.get_mut(&id).and_then(|download| download.poll_action()) {
            let report = match action {
                DownloadAction::Task(task_id, task) => {
                    self.wish_for(Asker::Download(id), task_id, *task);
                    continue;
                }
                DownloadAction::Data(data) => Report::DownloadData { id, data },
                DownloadAction::Done(result) => {
                    over = true;
                    Report::Downloaded { id, result }
                }
            };
            self.wishes.push_back(Wish::Report(report));
        }
        if over {
            self.downloads.remove(&id);
        }
    }

    pub(super) fn change(&mut self, id: OperationId, event: ChangeEvent, now: Now) {
        if let Some(change) = self.changes.get_mut(&id) {
            change.handle(event, now);
            self.drain_change(id);
        }
    }

    pub(super) fn drain_change(&mut self, id: OperationId) {
        let mut over = false;
        while let Some(action) = self.changes.get_mut(&id).and_then(|change| change.poll_action()) {
            match action {
                ChangeAction::Task(task_id, task) => self.wish_for(Asker::Change(id), task_id, *task),
                ChangeAction::WantServers(storage_index) => self.waiting.push((id, storage_index)),
                ChangeAction::Stage(stage) => self.wishes.push_back(Wish::Stage(id, stage)),
                ChangeAction::Done(result) => {
                    over = true;
                    self.wishes.push_back(Wish::Report(Report::Changed { id, result }));
                }
            }
        }
        if over {
            self.changes.remove(&id);
            self.storing.remove(&id);
            self.waiting.retain(|(waiting, _)| *waiting != id);
        }
    }

    pub(super) fn read(&mut self, id: OperationId, event: ReadEvent, now: Now) {
        if let Some(read) = self.reads.get_mut(&id) {
            read.handle(event, now);
            self.drain_read(id);
        }
    }

    pub(super) fn drain_read(&mut self, id: OperationId) {
        let mut over = false;
        while let Some(action) = self.reads.get_mut(&id).and_then(|read| read.poll_action()) {
            let report = match action {
                ReadAction::Task(task_id, task) => {
                    self.wish_for(Asker::Read(id), task_id, *task);
                    continue;
                }
                ReadAction::Found(found) => Report::MutableFound { id, found },
                ReadAction::Data(data) => Report::DownloadData { id, data },
                ReadAction::Done(result) => {
                    over = true;
                    Report::MutableRead { id, result }
                }
            };
            self.wishes.push_back(Wish::Report(report));
        }
        if over {
            self.reads.remove(&id);
        }
    }

    pub(super) fn forget(&mut self, id: OperationId) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
        self.uploads.remove(&id);
        self.storing.remove(&id);
        if self.changes.remove(&id).is_some() {
            self.wishes.push_back(Wish::ForgetAsker(Asker::Change(id)));
        }
        if self.downloads.remove(&id).is_some() {
            self.wishes.push_back(Wish::ForgetAsker(Asker::Download(id)));
        }
        if self.reads.remove(&id).is_some() {
            self.wishes.push_back(Wish::ForgetAsker(Asker::Read(id)));
        }
        if self.locates.remove(&id).is_some() {
            self.wishes.push_back(Wish::ForgetAsker(Asker::Locate(id)));
        }
    }
}
