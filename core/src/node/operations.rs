//! The uploads and downloads under way.

mod machines;

use super::config::NodeConfig;
use crate::capability::{ChkCap, MutableReadCap};
use crate::disk::DiskStep;
use crate::download::{Download, DownloadError, DownloadEvent, DownloadSetup};
use crate::download::{Locate, LocateEvent, Locations};
use crate::drive::DriveError;
use crate::entropy::Entropy;
use crate::identity::ServerId;
use crate::io::Io;
use crate::job::Job;
use crate::machine::Machine;
use crate::mutable::{ChangeError, ChangeEvent, ChangeFile, ChangeSetup, ChangeStage};
use crate::mutable::{Read, ReadError, ReadEvent, ReadSetup};
use crate::mutants::{self, Mutant};
use crate::operation::{Command, OperationId, Report};
use crate::payload::Payload;
use crate::peers::{Answer, AskToken, Asker, Effort, ServerTable};
use crate::storage::protocol::StorageRequest;
use crate::storage_index::StorageIndex;
use crate::task::{Outcome, Task};
use crate::time::{Instant, Now};
use crate::upload::{Upload, UploadError, UploadEvent, UploadSetup};
use crate::vdrive::MakeRootError;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

/// Servers offered to one operation, from the front of the ring.
const RING_MAX: usize = 1_024;
/// The happiness that is wanted where none is configured and the grid is large.
const HAPPY_DEFAULT: usize = 7;

/// Which operation's task it is, and the operation's number for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaskOwner {
    asker: Asker,
    id: u64,
}

/// What operations want of the rest of the node.
pub(super) enum Wish {
    Ask {
        token: AskToken,
        server: ServerId,
        request: StorageRequest,
        bulk: Vec<Payload>,
        patience: Duration,
        effort: Effort,
    },
    ForgetAsk(AskToken),
    ForgetAsker(Asker),
    Disk(TaskOwner, Vec<DiskStep>),
    Job(TaskOwner, Job),
    /// A change has come to a stage, for the journal.
    Stage(OperationId, ChangeStage),
    Report(Report),
}

pub(super) struct Operations {
    entropy: Entropy,
    uploads: BTreeMap<OperationId, Box<Upload>>,
    downloads: BTreeMap<OperationId, Box<Download>>,
    changes: BTreeMap<OperationId, Box<ChangeFile>>,
    /// Downloads of mutable files.
    reads: BTreeMap<OperationId, Box<Read>>,
    pub(super) locates: BTreeMap<OperationId, Box<Locate>>,
    /// Uploads and changes that wait for their servers.
    waiting: Vec<(OperationId, StorageIndex)>,
    /// The files that the uploads and changes under way write. Two of one file would get in each
    /// other's way, so the second waits for the first.
    storing: BTreeMap<OperationId, StorageIndex>,
    /// Downloads, and searches for shares, that came before the servers were known.
    early: Vec<Command>,
    next_spool: u64,
    /// Disk steps of operations that are under way, and removals that wait for them.
    at_disk: BTreeMap<Asker, AtDisk>,
    pub(super) wishes: VecDeque<Wish>,
}

/// What one operation has to do with the disk. A spool is removed after the last write to it has
/// ended, or that would make it anew.
#[derive(Default)]
struct AtDisk {
    under_way: usize,
    removals: Vec<(TaskOwner, Vec<DiskStep>)>,
}

impl Operations {
    pub(super) fn new(entropy: Entropy) -> Operations {
        Operations {
            entropy,
            uploads: BTreeMap::new(),
            downloads: BTreeMap::new(),
            changes: BTreeMap::new(),
            reads: BTreeMap::new(),
            locates: BTreeMap::new(),
            waiting: Vec::new(),
            storing: BTreeMap::new(),
            early: Vec::new(),
            next_spool: 0,
            at_disk: BTreeMap::new(),
            wishes: VecDeque::new(),
        }
    }

    pub(super) fn poll(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    /// How many uploads and downloads are under way.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.uploads.len(), self.downloads.len() + self.reads.len())
    }

    /// Whether no operation, ended ones included, has anything to do at the disk.
    pub(super) fn has_left_disk(&self) -> bool {
        self.at_disk.is_empty()
    }

    pub(super) fn wants_servers(&self) -> bool {
        let may_go_on = |(_, index): &(OperationId, StorageIndex)| !self.is_being_stored(index);
        self.waiting.iter().any(may_go_on) || !self.early.is_empty()
    }

    fn is_being_stored(&self, storage_index: &StorageIndex) -> bool {
        self.storing.values().any(|stored| stored == storage_index)
    }

    pub(super) fn command(&mut self, command: Command, config: &NodeConfig, table: &ServerTable, now: Now) {
        match command {
            Command::Upload { id, len, key } => {
                let setup = UploadSetup {
                    params: config.encoding,
                    key,
                    len,
                    convergence: config.convergence.clone(),
                    lease_secret: config.lease_secret.clone(),
                    spool: self.next_spool,
                };
                self.next_spool += 1;
                let upload = Upload::new(setup, self.entropy.child());
                self.uploads.insert(id, Box::new(upload));
                self.drain_upload(id);
            }
            Command::UploadData { id, data } => self.upload(id, UploadEvent::Data(data), now),
            Command::UploadEnd { id } => self.upload(id, UploadEvent::End, now),
            Command::Download { .. } | Command::ReadMutable { .. } | Command::Locate { .. }
                if table.is_empty() =>
            {
                self.early.push(command);
            }
            Command::Download { id, cap, range } => self.start_download(id, cap, range, config, table, now),
            Command::ReadMutable { id, cap, range } => self.start_read(id, cap, range, config, table, now),
            Command::Locate { id, file } => self.start_locate(id, file, table, now),
            Command::DownloadGrant { id, bytes } => {
                if self.downloads.contains_key(&id) {
                    self.download(id, DownloadEvent::Grant(bytes), now);
                } else if self.reads.contains_key(&id) {
                    self.read(id, ReadEvent::Grant(bytes), now);
                } else if self.early.iter().any(|early| operation_of(early) == Some(id)) {
                    self.early.push(command);
                }
            }
            Command::Change { id, subject, change, consent } => {
                let (params, lease_secret) = (config.encoding, config.lease_secret.clone());
                let setup = ChangeSetup { subject, change, consent, params, lease_secret };
                self.changes.insert(id, Box::new(ChangeFile::new(setup, self.entropy.child())));
                self.drain_change(id);
            }
            Command::Cancel { id } => {
                self.early.retain(|early| operation_of(early) != Some(id));
                if mutants::is_in(Mutant::CancelIgnored) {
                    return;
                }
                self.upload(id, UploadEvent::Cancel, now);
                self.download(id, DownloadEvent::Cancel, now);
                self.change(id, ChangeEvent::Cancel, now);
                self.read(id, ReadEvent::Cancel, now);
                self.forget(id);
            }
            // The node sees to these itself.
            Command::Errand { .. }
            | Command::SurveyNext { .. }
            | Command::MakeRoot { .. }
            | Command::Stop => {}
        }
    }

    /// Answers a command that comes while the node is stopping.
    pub(super) fn refuse(&self, command: Command, io: &mut Io) {
        match command {
            Command::Upload { id, .. } => {
                io.report(Report::Uploaded { id, result: Err(Box::new(UploadError::Stopping)) });
            }
            Command::Download { id, .. } => {
                io.report(Report::Downloaded { id, result: Err(Box::new(DownloadError::Stopping)) });
            }
            Command::Change { id, .. } => {
                io.report(Report::Changed { id, result: Err(Box::new(ChangeError::Stopping)) });
            }
            Command::ReadMutable { id, .. } => {
                io.report(Report::MutableRead { id, result: Err(Box::new(ReadError::Stopping)) });
            }
            Command::Locate { id, .. } => {
                io.report(Report::Located { id, locations: Box::new(Locations::default()) });
            }
            Command::MakeRoot { id } => {
                io.report(Report::RootMade { id, result: Err(MakeRootError::Stopping) });
            }
            Command::Errand { id, .. } => {
                io.report(Report::Errand { id, result: Err(Box::new(DriveError::Stopping)) });
            }
            _ => {}
        }
    }

    pub(super) fn stop(&mut self, now: Now) {
        for id in self.uploads.keys().copied().collect::<Vec<_>>() {
            self.upload(id, UploadEvent::Cancel, now);
            let result = Err(Box::new(UploadError::Stopping));
            self.wishes.push_back(Wish::Report(Report::Uploaded { id, result }));
        }
        for id in self.downloads.keys().copied().collect::<Vec<_>>() {
            let result = Err(Box::new(DownloadError::Stopping));
            self.wishes.push_back(Wish::Report(Report::Downloaded { id, result }));
        }
        for id in core::mem::take(&mut self.changes).into_keys() {
            let result = Err(Box::new(ChangeError::Stopping));
            self.wishes.push_back(Wish::Report(Report::Changed { id, result }));
        }
        for id in self.reads.keys().copied() {
            let result = Err(Box::new(ReadError::Stopping));
            self.wishes.push_back(Wish::Report(Report::MutableRead { id, result }));
        }
        for id in core::mem::take(&mut self.locates).into_keys() {
            let locations = Box::new(Locations::default());
            self.wishes.push_back(Wish::Report(Report::Located { id, locations }));
        }
        self.uploads.clear();
        for command in core::mem::take(&mut self.early) {
            let report = match command {
                Command::Download { id, .. } => {
                    Report::Downloaded { id, result: Err(Box::new(DownloadError::Stopping)) }
                }
                Command::ReadMutable { id, .. } => {
                    Report::MutableRead { id, result: Err(Box::new(ReadError::Stopping)) }
                }
                Command::Locate { id, .. } => {
                    Report::Located { id, locations: Box::new(Locations::default()) }
                }
                _ => continue,
            };
            self.wishes.push_back(Wish::Report(report));
        }
        self.downloads.clear();
        self.reads.clear();
        self.waiting.clear();
        self.storing.clear();
    }

    /// The grid is known as far as it can be: lets those go on that wait for it.
    pub(super) fn servers_known(&mut self, config: &NodeConfig, table: &ServerTable, now: Now) {
        for (id, storage_index) in core::mem::take(&mut self.waiting) {
            if self.is_being_stored(&storage_index) {
                self.waiting.push((id, storage_index));
                continue;
            }
            self.storing.insert(id, storage_index);
            let ring = table.ring(&storage_index, RING_MAX, now);
            if self.changes.contains_key(&id) {
                self.change(id, ChangeEvent::Servers(ring), now);
                continue;
            }
            let happy = happy(config, table, now);
            self.upload(id, UploadEvent::Servers { ring, happy }, now);
        }
        for command in core::mem::take(&mut self.early) {
            match command {
                Command::Download { id, cap, range } => {
                    self.start_download(id, cap, range, config, table, now);
                }
                Command::ReadMutable { id, cap, range } => {
                    self.start_read(id, cap, range, config, table, now);
                }
                Command::Locate { id, file } => self.start_locate(id, file, table, now),
                command => self.command(command, config, table, now),
            }
        }
    }

    fn start_download(
        &mut self,
        id: OperationId,
        cap: ChkCap,
        range: Range<u64>,
        config: &NodeConfig,
        table: &ServerTable,
        now: Now,
    ) {
        let ring = table.ring(&cap.storage_index(), RING_MAX, now);
        let likely_segment_size = config.encoding.max_segment_size();
        let setup = DownloadSetup { cap, range, ring, likely_segment_size };
        self.downloads.insert(id, Box::new(Download::new(setup, now)));
        self.drain_download(id);
    }

    fn start_read(
        &mut self,
        id: OperationId,
        cap: MutableReadCap,
        range: Option<Range<u64>>,
        config: &NodeConfig,
        table: &ServerTable,
        now: Now,
    ) {
        let ring = table.ring(&cap.storage_index(), RING_MAX, now);
        let batch = config.encoding.total().into();
        self.reads.insert(id, Box::new(Read::new(ReadSetup { cap, range, ring, batch }, now)));
        self.drain_read(id);
    }

    pub(super) fn answered(&mut self, token: AskToken, answer: Answer, now: Now) {
        let owner = TaskOwner { asker: token.asker, id: token.id };
        self.finished(owner, Outcome::Answer(answer), now);
    }

    pub(super) fn finished(&mut self, owner: TaskOwner, outcome: Outcome, now: Now) {
        if matches!(outcome, Outcome::Disk(_)) {
            self.left_disk(owner.asker);
        }
        match owner.asker {
            Asker::Upload(id) => self.upload(id, UploadEvent::Finished(owner.id, outcome), now),
            Asker::Download(id) => self.download(id, DownloadEvent::Finished(owner.id, outcome), now),
            Asker::Change(id) => self.change(id, ChangeEvent::Finished(owner.id, outcome), now),
            Asker::Read(id) => self.read(id, ReadEvent::Finished(owner.id, outcome), now),
            Asker::Locate(id) => self.locate(id, LocateEvent::Finished(owner.id, outcome), now),
            Asker::Node(_) => {}
        }
    }

    /// Puts an operation's task among the wishes.
    pub(super) fn wish_for(&mut self, asker: Asker, id: u64, task: Task) {
        let owner = TaskOwner { asker, id };
        let wish = match task {
            Task::Ask { server, request, bulk, patience, effort } => {
                Wish::Ask { token: AskToken { asker, id }, server, request, bulk, patience, effort }
            }
            Task::Disk(steps) => {
                let at_disk = self.at_disk.entry(asker).or_default();
                let removes = steps.iter().any(|step| matches!(step, DiskStep::Remove(_)));
                if removes && at_disk.under_way > 0 {
                    at_disk.removals.push((owner, steps));
                    return;
                }
                at_disk.under_way += 1;
                Wish::Disk(owner, steps)
            }
            Task::Job(job) => Wish::Job(owner, job),
            Task::Forget(task) => Wish::ForgetAsk(AskToken { asker, id: task }),
        };
        self.wishes.push_back(wish);
    }

    /// Disk steps of an operation have ended.
    fn left_disk(&mut self, asker: Asker) {
        let Some(at_disk) = self.at_disk.get_mut(&asker) else { return };
        at_disk.under_way -= 1;
        if at_disk.under_way > 0 {
            return;
        }
        let removals = core::mem::take(&mut at_disk.removals);
        at_disk.under_way = removals.len();
        if removals.is_empty() {
            self.at_disk.remove(&asker);
        }
        self.wishes.extend(removals.into_iter().map(|(owner, steps)| Wish::Disk(owner, steps)));
    }

    pub(super) fn wake(&mut self, now: Now) {
        let due = |deadline: Option<Instant>| deadline.is_some_and(|at| now.instant >= at);
        let uploads = self.uploads.iter().filter(|(_, upload)| due(upload.deadline()));
        for id in uploads.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.upload(id, UploadEvent::Wake, now);
        }
        let downloads = self.downloads.iter().filter(|(_, download)| due(download.deadline()));
        for id in downloads.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.download(id, DownloadEvent::Wake, now);
        }
        let changes = self.changes.iter().filter(|(_, change)| due(change.deadline()));
        for id in changes.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.change(id, ChangeEvent::Wake, now);
        }
        let reads = self.reads.iter().filter(|(_, read)| due(read.deadline()));
        for id in reads.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.read(id, ReadEvent::Wake, now);
        }
        let locates = self.locates.iter().filter(|(_, locate)| due(locate.deadline()));
        for id in locates.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.locate(id, LocateEvent::Wake, now);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let uploads = self.uploads.values().filter_map(|upload| upload.deadline());
        let downloads = self.downloads.values().filter_map(|download| download.deadline());
        let changes = self.changes.values().filter_map(|change| change.deadline());
        let reads = self.reads.values().filter_map(|read| read.deadline());
        let locates = self.locates.values().filter_map(|locate| locate.deadline());
        uploads.chain(downloads).chain(changes).chain(reads).chain(locates).min()
    }
}

/// The happiness that a new upload wants: what is configured, else what follows from the number of
/// writable servers known (never from who happens to answer).
pub(super) fn happy(config: &NodeConfig, table: &ServerTable, now: Now) -> usize {
    let total = usize::from(config.encoding.total());
    config.happy.unwrap_or_else(|| {
        // A grid of which nobody has heard for long is not taken for a small one.
        let known = match table.writable(now) {
            0 => table.len(),
            known => known,
        };
        HAPPY_DEFAULT.min(total).min(known.max(1))
    })
}

fn operation_of(command: &Command) -> Option<OperationId> {
    match command {
        Command::Upload { id, .. }
        | Command::UploadData { id, .. }
        | Command::UploadEnd { id }
        | Command::Download { id, .. }
        | Command::ReadMutable { id, .. }
        | Command::DownloadGrant { id, .. }
        | Command::Change { id, .. }
        | Command::Locate { id, .. }
        | Command::MakeRoot { id }
        | Command::Errand { id, .. }
        | Command::SurveyNext { id }
        | Command::Cancel { id } => Some(*id),
        Command::Stop => None,
    }
}
