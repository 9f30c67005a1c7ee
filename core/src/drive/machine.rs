//! Runs errands: each does one thing after the other, and several are under way at once.

use super::batch::Batch;
use super::fetch::{Fetch, Progress};
use super::make::Reach;
use super::shift::{Look, Shift};
use super::step::{ErrandId, Got, Need};
use super::survey::Survey;
use super::{Done, DriveError, Errand, Keep, NewDirectory};
use crate::capability::{DirectoryCap, MutableFormat};
use crate::directory::{Access, Table};
use crate::hash::Hash;
use crate::limits::{DIRECTORY_LEN_MAX, SURVEYS_MAX, TABLES_READ_MAX};
use crate::mutable::{Change, Children, Consent, Edits, Subject};
use crate::operation::{Command, KeyChoice, OperationId, Report};
use crate::payload::Payload;
use crate::storage_index::StorageIndex;
use crate::time::Now;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

/// What the machine wants of the node.
pub(crate) enum DriveAction {
    /// An operation of its own, or something about one.
    Command(Command),
    /// The answer to an errand.
    Report(Report),
}

#[derive(Debug)]
enum Running {
    Look(Look),
    Reach(Reach),
    Shift(Box<Shift>),
    Survey(Box<Survey>),
}

impl Running {
    fn new(errand: Errand) -> Result<Running, DriveError> {
        Ok(match errand {
            Errand::Look { place, list } => Running::Look(Look::new(&place, list)?),
            Errand::Make { place, new } => Running::Reach(Reach::make(place, new)),
            Errand::Edit { directory, parents, edits } => {
                Running::Reach(Reach::edit(directory, parents, edits.0))
            }
            Errand::Survey { directory } => Running::Survey(Box::new(Survey::new(&directory)?)),
            Errand::Move { from, to, replace } => Running::Shift(Box::new(Shift::new(&from, to, replace)?)),
        })
    }

    fn begin(&mut self) -> Result<Need, DriveError> {
        match self {
            Running::Look(look) => look.begin(),
            Running::Reach(reach) => reach.begin(),
            Running::Shift(shift) => shift.begin(),
            Running::Survey(survey) => survey.begin(),
        }
    }

    fn next(&mut self, got: Got, now: Now) -> Result<Need, DriveError> {
        match self {
            Running::Look(look) => look.next(got),
            Running::Reach(reach) => reach.next(got, now),
            Running::Shift(shift) => shift.next(got),
            Running::Survey(survey) => survey.next(got),
        }
    }
}

/// An operation of the node that runs for the machine.
#[derive(Debug)]
enum Inner {
    /// Reads a table for an errand.
    Fetch(ErrandId, Fetch),
    /// Makes a directory for an errand.
    New(ErrandId),
    /// Stores an immutable directory for an errand; what of it the node has not taken yet.
    Store(ErrandId, Payload),
    /// Writes the edits of a directory.
    Batch(BatchKey),
}

/// Whose edits are written together: those made with the same capability. One file has several, if
/// one of them is wrong.
type BatchKey = (StorageIndex, Hash, MutableFormat);

/// Runs errands.
pub(crate) struct Drive {
    running: BTreeMap<ErrandId, Running>,
    inner: BTreeMap<OperationId, Inner>,
    batches: BTreeMap<BatchKey, Batch>,
    /// Reads that wait for others to end: tables are held in memory.
    reads: VecDeque<(ErrandId, Fetch)>,
    /// Errands that were given a table that is not the newest.
    outdated: BTreeSet<ErrandId>,
    next: u64,
    actions: VecDeque<DriveAction>,
}

impl Drive {
    pub(crate) fn new() -> Drive {
        let (running, inner, batches) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (reads, outdated) = (VecDeque::new(), BTreeSet::new());
        Drive { running, inner, batches, reads, outdated, next: 0, actions: VecDeque::new() }
    }

    pub(crate) fn poll_action(&mut self) -> Option<DriveAction> {
        self.actions.pop_front()
    }

    /// Begins an errand.
    pub(crate) fn send(&mut self, id: ErrandId, errand: Errand, now: Now) {
        let surveys = self.running.values().filter(|running| matches!(running, Running::Survey(_))).count();
        if matches!(errand, Errand::Survey { .. }) && surveys >= SURVEYS_MAX {
            return self.end(id, Err(DriveError::Busy));
        }
        let begun = Running::new(errand).and_then(|mut running| {
            let need = running.begin()?;
            self.running.insert(id, running);
            Ok(need)
        });
        self.go_on(id, begun, now);
    }

    /// Lets a survey go on to the next directory.
    pub(crate) fn survey_next(&mut self, id: ErrandId, now: Now) {
        if matches!(self.running.get(&id), Some(Running::Survey(_))) {
            self.got(id, Got::Leave, now);
        }
    }

    /// Gives an errand up. What is being written may take effect all the same.
    pub(crate) fn cancel(&mut self, id: ErrandId) {
        if self.running.remove(&id).is_none() {
            return;
        }
        self.reads.retain(|(errand, _)| *errand != id);
        self.outdated.remove(&id);
        self.batches.values_mut().for_each(|batch| batch.forget(id));
        let of_it = |inner: &Inner| match inner {
            Inner::Fetch(errand, _) | Inner::New(errand) | Inner::Store(errand, _) => *errand == id,
            Inner::Batch(_) => false,
        };
        let ids: Vec<OperationId> =
            self.inner.iter().filter(|(_, inner)| of_it(inner)).map(|(id, _)| *id).collect();
        for id in ids {
            self.give_up(id);
        }
        self.read_next();
    }

    /// Gives up all errands, because the node stops.
    pub(crate) fn stop(&mut self) {
        for id in core::mem::take(&mut self.running).into_keys() {
            let result = Err(Box::new(DriveError::Stopping));
            self.actions.push_back(DriveAction::Report(Report::Errand { id, result }));
        }
        self.inner.clear();
        self.batches.clear();
        self.reads.clear();
        self.outdated.clear();
    }

    /// One of its own operations tells something.
    pub(crate) fn report(&mut self, id: OperationId, report: Report, now: Now) {
        match (self.inner.get_mut(&id), report) {
            (Some(Inner::Fetch(errand, fetch)), report) => {
                let errand = *errand;
                let over = matches!(report, Report::Downloaded { .. } | Report::MutableRead { .. });
                let Progress::Over(result) = fetch.report(report) else { return };
                if fetch.is_outdated() {
                    self.outdated.insert(errand);
                }
                if over {
                    self.inner.remove(&id);
                } else {
                    self.give_up(id);
                }
                self.read_next();
                self.got(errand, Got::Table(result), now);
            }
            (Some(Inner::New(errand)), Report::Changed { result, .. }) => {
                let errand = *errand;
                self.inner.remove(&id);
                let made = result.map(|changed| DirectoryCap::Mutable(changed.cap));
                self.got(errand, Got::Directory(made.map_err(|error| DriveError::Change(*error))), now);
            }
            (Some(Inner::Store(_, rest)), Report::UploadGrant { bytes, .. }) => {
                let data = rest.take_front(bytes.min(rest.len()));
                let is_all = rest.is_empty();
                if !data.is_empty() {
                    self.command(Command::UploadData { id, data });
                    if is_all {
                        self.command(Command::UploadEnd { id });
                    }
                }
            }
            (Some(Inner::Store(errand, _)), Report::Uploaded { result, .. }) => {
                let errand = *errand;
                self.inner.remove(&id);
                let stored = match result {
                    Ok(stored) => DirectoryCap::new(stored.cap).ok_or(DriveError::NotADirectory { at: 0 }),
                    Err(error) => Err(DriveError::Upload(*error)),
                };
                self.got(errand, Got::Directory(stored), now);
            }
            (Some(Inner::Batch(key)), Report::Changed { result, .. }) => {
                let key = *key;
                self.inner.remove(&id);
                let ended = self.batches.get_mut(&key).map_or(Vec::new(), |batch| batch.ended(result));
                self.write_next(key);
                for (errand, result) in ended {
                    self.got(errand, Got::Edited(result), now);
                }
            }
            _ => {}
        }
    }

    fn got(&mut self, id: ErrandId, got: Got, now: Now) {
        // It may have been given up meanwhile.
        if let Some(running) = self.running.get_mut(&id) {
            let need = running.next(got, now);
            self.go_on(id, need, now);
        }
    }

    fn go_on(&mut self, id: ErrandId, need: Result<Need, DriveError>, now: Now) {
        if let Some(Running::Survey(survey)) = self.running.get_mut(&id) {
            while let Some(found) = survey.poll_found() {
                let found = Box::new(found);
                self.actions.push_back(DriveAction::Report(Report::Surveyed { id, found }));
            }
        }
        match need {
            Ok(Need::Table(directory)) => match Fetch::new(&directory) {
                Ok(fetch) if matches!(directory, DirectoryCap::Literal(_)) => {
                    self.got(id, Got::Table(fetch.literal()), now);
                }
                Ok(fetch) => {
                    self.reads.push_back((id, fetch));
                    self.read_next();
                }
                Err(error) => self.end(id, Err(error)),
            },
            Ok(Need::Directory(new)) => self.make(id, new, now),
            Ok(Need::Edit(_, edits)) if edits.is_empty() => {
                self.got(id, Got::Edited(Ok(Vec::new())), now);
            }
            Ok(Need::Edit(cap, edits)) => {
                let key = (cap.storage_index(), cap.fingerprint, cap.format);
                self.batches.entry(key).or_insert_with(|| Batch::new(cap)).add(id, edits);
                self.write_next(key);
            }
            Ok(Need::Leave) => {}
            Ok(Need::Nothing(done)) => self.end(id, Ok(done)),
            Err(error) => self.end(id, Err(error)),
        }
    }

    fn make(&mut self, errand: ErrandId, new: NewDirectory, now: Now) {
        let NewDirectory { keep, children } = new;
        let id = self.inner_id();
        match keep {
            Keep::Mutable(format, key) => {
                self.inner.insert(id, Inner::New(errand));
                let (subject, change) = (Subject::New { format, key }, Change::Children(Children(children)));
                self.command(Command::Change { id, subject, change, consent: Consent::Majority });
            }
            Keep::Immutable => match Table::with_children(Access::Immutable, children) {
                Ok(table) => {
                    let content = Payload::from(table.pack());
                    let len = Some(content.len());
                    let empty = content.is_empty();
                    self.inner.insert(id, Inner::Store(errand, content));
                    self.command(Command::Upload { id, len, key: KeyChoice::Convergent });
                    if empty {
                        self.command(Command::UploadEnd { id });
                    }
                }
                Err(error) => self.got(errand, Got::Directory(Err(DriveError::Children(error))), now),
            },
        }
    }

    /// Writes the edits that wait for a directory, unless others are being written.
    fn write_next(&mut self, key: BatchKey) {
        let Some(batch) = self.batches.get_mut(&key) else { return };
        let Some(edits) = batch.next() else {
            if batch.is_empty() {
                self.batches.remove(&key);
            }
            return;
        };
        let subject = Subject::Existing(batch.cap().clone());
        let id = self.inner_id();
        self.inner.insert(id, Inner::Batch(key));
        let change = Change::Edit(Edits(edits));
        self.command(Command::Change { id, subject, change, consent: Consent::Majority });
    }

    fn read_next(&mut self) {
        let reading = |inner: &&Inner| matches!(inner, Inner::Fetch(..));
        while self.inner.values().filter(reading).count() < TABLES_READ_MAX
            && let Some((errand, fetch)) = self.reads.pop_front()
        {
            let id = self.inner_id();
            let command = fetch.command(id);
            self.inner.insert(id, Inner::Fetch(errand, fetch));
            self.actions.extend(command.map(DriveAction::Command));
            self.command(Command::DownloadGrant { id, bytes: DIRECTORY_LEN_MAX as u64 + 1 });
        }
    }

    fn give_up(&mut self, id: OperationId) {
        self.inner.remove(&id);
        self.command(Command::Cancel { id });
    }

    fn end(&mut self, id: ErrandId, mut result: Result<Box<Done>, DriveError>) {
        self.running.remove(&id);
        let outdated = self.outdated.remove(&id);
        if let Ok(done) = &mut result
            && let Done::Seen(sight) = &mut **done
        {
            sight.outdated = outdated;
        }
        let result = result.map_err(Box::new);
        self.actions.push_back(DriveAction::Report(Report::Errand { id, result }));
    }

    fn command(&mut self, command: Command) {
        self.actions.push_back(DriveAction::Command(command));
    }

    fn inner_id(&mut self) -> OperationId {
        self.next += 1;
        OperationId::inner(self.next)
    }
}
