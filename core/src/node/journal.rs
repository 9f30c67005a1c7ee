//! What a node does for its owner and has done lately: sums, and a line for each operation.
//!
//! Holds no secrets: of a file only the storage index, which its servers know, too. Names from
//! directories are secrets: whoever reaches the web port may read this.

use crate::capability::Capability;
use crate::identity::ServerId;
use crate::limits::{JOURNAL_ACTIVE_MAX, JOURNAL_RECENT_MAX, JOURNAL_STAGES_MAX};
use crate::mutable::{ChangeStage, Subject};
use crate::operation::{Command, OperationId, Report};
use crate::storage_index::StorageIndex;
use crate::time::{Instant, Now, UnixTime};
use crate::upload::UploadStage;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use core::time::Duration;

/// Sums since the node has started. Bytes are those of the content. Reading and writing directories
/// counts, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Immutable files stored.
    pub files_uploaded: u64,
    /// Bytes of them.
    pub bytes_uploaded: u64,
    /// Reads of immutable files that came to their end.
    pub files_downloaded: u64,
    /// Bytes that reads of immutable files gave, those that broke off included.
    pub bytes_downloaded: u64,
    /// Versions of mutable files written.
    pub files_published: u64,
    /// Bytes of the files of which versions were written.
    pub bytes_published: u64,
    /// Reads of mutable files that came to their end.
    pub files_retrieved: u64,
    /// Bytes that reads of mutable files gave, those that broke off included.
    pub bytes_retrieved: u64,
    /// Operations that failed.
    pub failed: u64,
    /// Operations that somebody gave up.
    pub cancelled: u64,
}

/// What kind of operation it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// An immutable file is stored.
    Upload,
    /// An immutable file is read.
    Download,
    /// A mutable file is made or changed.
    Publish,
    /// A mutable file is read.
    Retrieve,
    /// The newest version of a mutable file is looked for, and no more.
    Mapupdate,
}

/// How far an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is under way.
    Active,
    /// It has done what was wanted.
    Finished,
    /// It has failed.
    Failed,
    /// It was given up.
    Cancelled,
}

/// What an operation is about, in the order in which it comes to it. A change of a mutable file may come
/// to some more than once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// The content of an upload comes in, and is hashed.
    Receiving,
    /// The keys of a mutable file are made.
    Keys,
    /// It waits for the servers to be known, or for another change of the file to be over.
    Queued,
    /// Servers are asked what they have, or would take.
    Asking,
    /// Segments are encoded, and their blocks sent.
    Sending,
    /// The shares get their hash trees, and are made durable.
    Closing,
    /// Content is fetched, checked and delivered.
    Fetching,
    /// A new version of a mutable file is encrypted, encoded, hashed and signed.
    Making,
    /// A new version is written.
    Writing,
    /// Another writer, who has begun, is let finish.
    Yielding,
    /// Another writer was faster: after a moment, the change is applied to what that one has made.
    Beaten,
}

/// An operation, as people see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its number: counts up from 0 with the start of the node.
    pub number: u64,
    /// What it does.
    pub activity: Activity,
    /// The file, once that is known.
    pub storage_index: Option<StorageIndex>,
    /// Bytes of the file, or of the part that is read, once that is known.
    pub size: Option<u64>,
    /// Bytes of them that are stored or delivered.
    pub done: u64,
    /// When it began.
    pub begun: UnixTime,
    /// The same on the clock that only goes forward.
    pub begun_at: Instant,
    /// How long it took until something was known: the plan of an upload, the version of a mutable
    /// file, the first bytes of a download.
    pub prepared: Option<Duration>,
    /// The stages it has gone through, each with the time it began after the operation did.
    pub stages: Vec<(Stage, Duration)>,
    /// How long it took, once it is over.
    pub took: Option<Duration>,
    /// Where its shares go, in words, or why it failed.
    pub remark: String,
    /// How far it is.
    pub standing: Standing,
}

/// Keeps count.
#[derive(Debug, Default)]
pub(super) struct Journal {
    totals: Totals,
    active: BTreeMap<OperationId, Entry>,
    /// The oldest first.
    recent: VecDeque<Entry>,
    /// How many shares of new files were put on each server.
    placed: BTreeMap<ServerId, u64>,
    next: u64,
}

impl Journal {
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// How many shares of new files are on each server, of those stored since the node has started.
    pub(super) fn placed(&self) -> &BTreeMap<ServerId, u64> {
        &self.placed
    }

    /// Operations under way, by their names.
    pub(super) fn active(&self) -> impl Iterator<Item = &Entry> {
        self.active.values()
    }

    /// Operations that are over, the last one first.
    pub(super) fn recent(&self) -> impl Iterator<Item = &Entry> {
        self.recent.iter().rev()
    }

    /// Notes what is asked for.
    pub(super) fn command(&mut self, command: &Command, now: Now) {
        let mut first = Stage::Asking;
        let (id, activity, storage_index, size) = match command {
            Command::Upload { id, len, .. } => {
                first = Stage::Receiving;
                (*id, Activity::Upload, None, *len)
            }
            Command::Download { id, cap, range } => {
                let size = range.end.saturating_sub(range.start);
                (*id, Activity::Download, Some(cap.storage_index()), Some(size))
            }
            Command::ReadMutable { id, cap, range } => {
                let looks = range.as_ref().is_some_and(|range| range.is_empty());
                let activity = if looks { Activity::Mapupdate } else { Activity::Retrieve };
                (*id, activity, Some(cap.storage_index()), None)
            }
            Command::Change { id, subject, .. } => {
                let index;
                (first, index) = match subject {
                    Subject::Existing(cap) => (Stage::Queued, Some(cap.storage_index())),
                    Subject::New { key: Some(_), .. } => (Stage::Queued, None),
                    Subject::New { key: None, .. } => (Stage::Keys, None),
                };
                (*id, Activity::Publish, index, None)
            }
            Command::Cancel { id } => {
                // Who knows enough of a file gives the search up: that is no failure.
                let mapped = |entry: &Entry| entry.activity == Activity::Mapupdate && entry.size.is_some();
                let found = self.active.get(id).is_some_and(mapped);
                return self.end(*id, if found { Standing::Finished } else { Standing::Cancelled }, now);
            }
            Command::UploadEnd { id } => {
                if let Some(entry) = self.active.get_mut(id) {
                    entry.enter(Stage::Asking, now);
                }
                return;
            }
            _ => return,
        };
        if self.active.len() >= JOURNAL_ACTIVE_MAX {
            return;
        }
        let entry = Entry {
            number: self.next,
            activity,
            storage_index,
            size,
            done: 0,
            begun: now.unix,
            begun_at: now.instant,
            prepared: None,
            stages: Vec::from([(first, Duration::ZERO)]),
            took: None,
            remark: String::new(),
            standing: Standing::Active,
        };
        self.next += 1;
        self.active.insert(id, entry);
    }

    /// Notes what an operation tells.
    pub(super) fn report(&mut self, report: &Report, now: Now) {
        let Some(entry) = report.operation().and_then(|id| self.active.get_mut(&id)) else { return };
        let since = now.instant.since(entry.begun_at);
        match report {
            Report::UploadPlanned { plan, .. } => {
                entry.prepared.get_or_insert(since);
                entry.remark = plan.to_string();
                entry.enter(Stage::Sending, now);
            }
            Report::UploadProgress { progress, .. } => {
                if progress.stage == UploadStage::Closing {
                    entry.enter(Stage::Closing, now);
                }
                (entry.done, entry.size) = (progress.confirmed, Some(progress.size));
            }
            Report::Uploaded { id, result } => {
                if let Ok(uploaded) = result {
                    let size = match &uploaded.cap {
                        Capability::Literal(cap) => cap.size(),
                        Capability::Chk(cap) => cap.size,
                        _ => 0,
                    };
                    (entry.storage_index, entry.size) = (uploaded.cap.storage_index(), Some(size));
                    entry.done = size;
                    for share in uploaded.plan.iter().flat_map(|plan| &plan.shares) {
                        *self.placed.entry(share.server).or_default() += 1;
                    }
                    self.totals.files_uploaded += 1;
                    self.totals.bytes_uploaded += size;
                }
                self.end_with(*id, result, now);
            }
            Report::DownloadData { data, .. } => {
                entry.prepared.get_or_insert(since);
                entry.enter(Stage::Fetching, now);
                entry.done += data.len();
                match entry.activity {
                    Activity::Download => self.totals.bytes_downloaded += data.len(),
                    _ => self.totals.bytes_retrieved += data.len(),
                }
            }
            Report::Downloaded { id, result } => {
                self.totals.files_downloaded += u64::from(result.is_ok());
                self.end_with(*id, result, now);
            }
            Report::MutableFound { found, .. } => {
                entry.prepared.get_or_insert(since);
                entry.size = Some(match entry.activity {
                    Activity::Mapupdate => found.size(),
                    _ => found.range.end.saturating_sub(found.range.start),
                });
            }
            Report::MutableRead { id, result } => {
                let read = result.is_ok() && entry.activity == Activity::Retrieve;
                self.totals.files_retrieved += u64::from(read);
                self.end_with(*id, result, now);
            }
            Report::Changed { id, result } => {
                if let Ok(changed) = result {
                    entry.storage_index = Some(changed.cap.storage_index());
                    entry.size = Some(changed.version.size);
                    entry.done = changed.version.size;
                    entry.remark = changed.to_string();
                    self.totals.files_published += 1;
                    self.totals.bytes_published += changed.version.size;
                }
                // What a directory holds is nobody's business here.
                let result = result.as_ref().map_err(|error| error.without_names());
                self.end_with(*id, &result, now);
            }
            _ => {}
        }
    }

    /// A change has come to a stage.
    pub(super) fn stage(&mut self, id: OperationId, stage: ChangeStage, now: Now) {
        let Some(entry) = self.active.get_mut(&id) else { return };
        if stage == ChangeStage::Writing {
            entry.prepared.get_or_insert(now.instant.since(entry.begun_at));
        }
        entry.come_to(Stage::from(stage), now);
    }

    /// An operation is over. What failed says why: in these errors, there is no capability and no name.
    fn end_with<T, E: Display>(&mut self, id: OperationId, result: &Result<T, E>, now: Now) {
        let standing = match result {
            Ok(_) => Standing::Finished,
            Err(error) => {
                if let Some(entry) = self.active.get_mut(&id) {
                    entry.remark = error.to_string();
                }
                Standing::Failed
            }
        };
        self.end(id, standing, now);
    }

    fn end(&mut self, id: OperationId, standing: Standing, now: Now) {
        let Some(mut entry) = self.active.remove(&id) else { return };
        entry.took = Some(now.instant.since(entry.begun_at));
        entry.standing = standing;
        match standing {
            Standing::Failed => self.totals.failed += 1,
            Standing::Cancelled => self.totals.cancelled += 1,
            Standing::Active | Standing::Finished => {}
        }
        if self.recent.len() >= JOURNAL_RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(entry);
    }
}

impl Entry {
    /// A stage begins. Those before it are over, whatever else is told of them.
    fn enter(&mut self, stage: Stage, now: Now) {
        let began = now.instant.since(self.begun_at);
        if self.stages.last().is_none_or(|(last, _)| *last < stage) {
            self.stages.push((stage, began));
        }
    }

    /// A stage begins, perhaps one that there was already. What took no time is left out.
    fn come_to(&mut self, stage: Stage, now: Now) {
        let began = now.instant.since(self.begun_at);
        self.stages.pop_if(|(_, last)| *last == began);
        let goes_on = self.stages.last().is_some_and(|(last, _)| *last == stage);
        if !goes_on && self.stages.len() < JOURNAL_STAGES_MAX {
            self.stages.push((stage, began));
        }
    }
}

impl From<ChangeStage> for Stage {
    fn from(stage: ChangeStage) -> Stage {
        match stage {
            ChangeStage::Keys => Stage::Keys,
            ChangeStage::Queued => Stage::Queued,
            ChangeStage::Asking => Stage::Asking,
            ChangeStage::Reading => Stage::Fetching,
            ChangeStage::Making => Stage::Making,
            ChangeStage::Writing => Stage::Writing,
            ChangeStage::Yielding => Stage::Yielding,
            ChangeStage::Beaten => Stage::Beaten,
        }
    }
}

#[cfg(test)]
mod tests;
