//! Changing a mutable file: read what is there, make the new content, write it with tests, and begin
//! anew if somebody else was faster.
//!
//! ```text
//! Keys ──▶ Awaiting ──▶ Asking ──(decided)──▶ Gathering ──▶ Making ──▶ Writing ──▶ Done
//!  (new     servers       ▲ what is there      the bases     the new     tests
//!   file)                 │                    and the key   version       │
//!                         └──── Pausing ◀──────(beaten, or accepted by too few)
//! ```
//!
//! Whether a change counts as made is decided by the rule of `quorum`, unless only one node ever
//! writes to the file.

mod outcome;

pub use outcome::{ChangeError, Changed, Placed};

use super::gather::Gather;
use super::making::{Made, MakeTask, Making};
use super::map::{FIRST_RANGE, KeySearch, Map, MapTask};
use super::patching::{Patch, PatchTask, Patching, Retreat, spliced};
use super::quorum::{self, Decision};
use super::read::FetchTask;
use super::writing::{Target, Verdict, WriteRights, Writing};
use super::{MUTABLE_SHARES_MAX, MutableEncoding, Version};
use crate::capability::{MutableCap, MutableFormat};
use crate::directory::{Access, Child, Edit, Metadata, Name, Outcome as EditOutcome, Table};
use crate::encoding::EncodingParams;
use crate::entropy::Entropy;
use crate::identity::ServerId;
use crate::job::{Job, JobOutput};
use crate::lease::LeaseSecrets;
use crate::machine::Machine;
use crate::mutants::{self, Mutant};
use crate::payload::Payload;
use crate::peers::Candidate;
use crate::rsa::PrivateKey;
use crate::secret::{LeaseSecret, Secret};
use crate::storage_index::StorageIndex;
use crate::task::{Outcome, Task, Tasks};
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// How often a change is tried when others are faster each time.
const ATTEMPTS_MAX: u32 = 20;
/// How often a change waits for another that is under way, before it competes with it.
const WAITS_MAX: u32 = 3;
/// The first pause after having been beaten; doubled each time up to the longest, jittered.
const PAUSE_FIRST: Duration = Duration::from_millis(40);
const PAUSE_LONGEST: Duration = Duration::from_secs(3);
/// Servers that have not answered by then are not waited for if enough have.
const ENOUGH_AFTER: Duration = Duration::from_millis(1200);

/// When a change counts as made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Consent {
    /// When more than half of the file's voters have accepted it: several may write at once.
    Majority,
    /// When so many servers have accepted it: only one node ever writes to the file.
    Servers(usize),
}

/// What becomes of the file.
#[derive(Clone, Hash, Debug)]
pub enum Change {
    /// This, whatever was there.
    Overwrite(Payload),
    /// What was there, with a part replaced. Of a large MDMF file only what that touches is written.
    Patch {
        /// Where the part begins, in bytes; no further than the end of the file, which may grow.
        offset: u64,
        /// What is put there.
        data: Payload,
    },
    /// The table of a directory, edited.
    Edit(Edits),
    /// The table of a new directory.
    Children(Children),
}

/// The children of a new directory.
#[derive(Clone, Debug)]
pub struct Children(pub Vec<(Name, Child, Metadata)>);

/// For traces: only how many there are.
impl core::hash::Hash for Children {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.len().hash(state);
    }
}

/// Edits of a directory.
#[derive(Clone, Debug)]
pub struct Edits(pub Vec<Edit>);

/// For traces: edits hold capabilities, and only how many there are matters.
impl core::hash::Hash for Edits {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.len().hash(state);
    }
}

/// Which file is changed.
#[derive(Clone, Hash, Debug)]
pub enum Subject {
    /// One that is there.
    Existing(MutableCap),
    /// A new one.
    New {
        /// How its shares are laid out.
        format: MutableFormat,
        /// Its key, or none to make one.
        key: Option<PrivateKey>,
    },
}

/// What a change needs to know.
#[derive(Clone, Hash, Debug)]
pub struct ChangeSetup {
    /// The file.
    pub subject: Subject,
    /// What becomes of it.
    pub change: Change,
    /// When that counts.
    pub consent: Consent,
    /// k and N of a new file. One that is there keeps its own.
    pub params: EncodingParams,
    /// The master secret for leases.
    pub lease_secret: LeaseSecret,
}

/// What happens to a change.
#[derive(Debug)]
pub(crate) enum ChangeEvent {
    /// The deadline has come.
    Wake,
    /// The servers, in the order of the ring.
    Servers(Vec<Candidate>),
    /// A task is over.
    Finished(u64, Outcome),
    /// Give it up. What is under way may still take effect.
    Cancel,
}

/// What a change wants.
#[derive(Debug)]
pub(crate) enum ChangeAction {
    /// Something to be done.
    Task(u64, Box<Task>),
    /// The servers for this storage index.
    WantServers(StorageIndex),
    /// It is over.
    Done(Result<Box<Changed>, Box<ChangeError>>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    Keys,
    Map(MapTask),
    Gather(FetchTask),
    Make(MakeTask),
    Patch(PatchTask),
    Write(ServerId),
}

impl From<MapTask> for Purpose {
    fn from(task: MapTask) -> Purpose {
        Purpose::Map(task)
    }
}

impl From<FetchTask> for Purpose {
    fn from(task: FetchTask) -> Purpose {
        Purpose::Gather(task)
    }
}

impl From<MakeTask> for Purpose {
    fn from(task: MakeTask) -> Purpose {
        Purpose::Make(task)
    }
}

impl From<PatchTask> for Purpose {
    fn from(task: PatchTask) -> Purpose {
        Purpose::Patch(task)
    }
}

impl From<ServerId> for Purpose {
    fn from(server: ServerId) -> Purpose {
        Purpose::Write(server)
    }
}

/// What is to be written, and where.
#[derive(Clone, Debug)]
struct Plan {
    sequence: u64,
    bases: Vec<Version>,
    targets: BTreeSet<ServerId>,
}

#[derive(Debug)]
enum Stage {
    /// The keys of a new file are being made.
    Keys,
    /// The servers are not known yet.
    Awaiting,
    /// Servers are being asked what they have: the highest sequence number known before they were, and
    /// until when all of them are waited for.
    Asking {
        known: u64,
        until: Option<Instant>,
    },
    /// The bases of the new version are being read, one after the other; the contents so far.
    Gathering {
        plan: Plan,
        gather: Option<Box<Gather>>,
        contents: Vec<Bytes>,
    },
    /// The new version is being made.
    Making {
        plan: Plan,
        making: Box<Making>,
    },
    /// It is being made from the parts that change.
    Patching {
        plan: Plan,
        patching: Box<Patching>,
    },
    /// It is being written.
    Writing {
        writing: Box<Writing>,
    },
    /// Somebody else was faster.
    Pausing {
        until: Instant,
    },
    Done,
}

/// Changes one mutable file, once.
pub(crate) struct ChangeFile {
    setup: ChangeSetup,
    entropy: Entropy,
    key: Option<PrivateKey>,
    cap: Option<MutableCap>,
    map: Option<Map>,
    stage: Stage,
    attempts: u32,
    /// How often it was waited for somebody who is writing.
    waits: u32,
    /// The contents of versions that were made here. Shares of them may be anywhere, too few to read.
    own: BTreeMap<Version, Payload>,
    /// A part of the file is replaced by making all of it anew.
    whole: bool,
    /// What edits saw under their names when they were first applied.
    pinned: bool,
    outcomes: Vec<EditOutcome>,
    tasks: Tasks<Purpose>,
    actions: VecDeque<ChangeAction>,
}

impl Machine for ChangeFile {
    type Event = ChangeEvent;
    type Action = ChangeAction;

    fn handle(&mut self, event: ChangeEvent, now: Now) {
        if matches!(self.stage, Stage::Done) {
            return;
        }
        match event {
            ChangeEvent::Wake => {}
            ChangeEvent::Cancel => {
                self.tasks.forget(|_| true);
                self.stage = Stage::Done;
                return;
            }
            ChangeEvent::Servers(ring) => self.servers(ring, now.instant),
            ChangeEvent::Finished(id, outcome) => self.finished(id, outcome, now),
        }
        while self.advance(now) {}
    }

    fn poll_action(&mut self) -> Option<ChangeAction> {
        if let Some((id, task)) = self.tasks.poll() {
            return Some(ChangeAction::Task(id, Box::new(task)));
        }
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            // Once it has come only answers help.
            Stage::Asking { until, .. } => *until,
            Stage::Pausing { until } => Some(*until),
            Stage::Gathering { gather: Some(gather), .. } => gather.deadline(),
            Stage::Patching { patching, .. } => patching.deadline(),
            _ => None,
        }
    }
}

impl ChangeFile {
    /// A change that begins now.
    pub(crate) fn new(setup: ChangeSetup, mut entropy: Entropy) -> ChangeFile {
        let mut tasks = Tasks::new();
        let mut actions = VecDeque::new();
        let (key, cap, stage) = match &setup.subject {
            Subject::Existing(cap) => {
                actions.push_back(ChangeAction::WantServers(cap.storage_index()));
                (None, Some(cap.clone()), Stage::Awaiting)
            }
            Subject::New { key: None, .. } => {
                let seed = Secret::from_bytes(entropy.bytes());
                tasks.job(Purpose::Keys, Job::GenerateKeys { seed });
                (None, None, Stage::Keys)
            }
            Subject::New { format, key: Some(key) } => {
                let cap = cap_of(*format, key);
                actions.push_back(ChangeAction::WantServers(cap.storage_index()));
                (Some(key.clone()), Some(cap), Stage::Awaiting)
            }
        };
        let (map, attempts, waits, own) = (None, 0, 0, BTreeMap::new());
        let (whole, pinned, outcomes) = (false, false, Vec::new());
        ChangeFile {
            setup,
            entropy,
            key,
            cap,
            map,
            stage,
            attempts,
            waits,
            own,
            whole,
            pinned,
            outcomes,
            tasks,
            actions,
        }
    }

    fn servers(&mut self, ring: Vec<Candidate>, now: Instant) {
        let (Stage::Awaiting, Some(cap)) = (&self.stage, &self.cap) else { return };
        if ring.is_empty() {
            return self.fail(ChangeError::NoServers);
        }
        // As many that can take something as there are shares.
        let total = usize::from(self.setup.params.total().min(MUTABLE_SHARES_MAX));
        let open = ring.iter().enumerate().filter(|(_, candidate)| !candidate.read_only);
        let batch = open.take(total).last().map_or(total, |(index, _)| index + 1);
        self.map = Some(Map::new(cap.verify_cap(), ring, batch, &mut self.tasks, now));
        self.stage = asking(0, now);
    }

    fn finished(&mut self, id: u64, outcome: Outcome, now: Now) {
        let Some(purpose) = self.tasks.finish(id) else { return };
        match (purpose, outcome) {
            (Purpose::Keys, Outcome::Job(JobOutput::Keys(keys))) => match (keys, &self.setup.subject) {
                (Some(key), Subject::New { format, .. }) => {
                    let cap = cap_of(*format, &key);
                    self.actions.push_back(ChangeAction::WantServers(cap.storage_index()));
                    (self.key, self.cap, self.stage) = (Some(key), Some(cap), Stage::Awaiting);
                }
                _ => self.fail(ChangeError::NoKeys),
            },
            (Purpose::Map(task), outcome) => {
                if let Some(map) = &mut self.map {
                    map.finished(task, outcome, &mut self.tasks);
                }
            }
            (Purpose::Gather(task), outcome) => match (&mut self.stage, &mut self.map) {
                (Stage::Gathering { gather: Some(gather), .. }, Some(map)) => {
                    gather.finished(task, outcome, map, &mut self.tasks, now.instant);
                }
                (Stage::Patching { patching, .. }, Some(map)) => {
                    patching.fetched(task, outcome, map, &mut self.tasks, now.instant);
                }
                _ => {}
            },
            (Purpose::Make(task), Outcome::Job(output)) => self.made(task, output),
            (Purpose::Patch(task), outcome) => self.patched(task, outcome),
            (Purpose::Write(server), Outcome::Answer(answer)) => {
                if let Stage::Writing { writing } = &mut self.stage {
                    writing.answered(server, answer, &mut self.tasks);
                }
            }
            (purpose, outcome) => debug_assert!(false, "{purpose:?} cannot end with {outcome:?}"),
        }
    }

    /// The file's voters: the first servers of its ring that can take shares, and whoever holds one.
    fn voters(&self) -> BTreeSet<ServerId> {
        let Some(map) = &self.map else { return BTreeSet::new() };
        let open = map.ring().iter().filter(|candidate| !candidate.read_only);
        let first = open.take(self.total().into()).map(|candidate| candidate.server);
        first.chain(map.holders()).collect()
    }

    /// N: of the newest version seen, or of a new file.
    fn total(&self) -> u16 {
        let newest = self.map.as_ref().and_then(Map::newest_readable);
        newest.map_or(self.setup.params.total().min(MUTABLE_SHARES_MAX), |version| version.total.into())
    }

    /// How many must answer, and then accept.
    fn needed(&self) -> usize {
        match self.setup.consent {
            _ if mutants::is_in(Mutant::AcceptedByOne) => 1,
            Consent::Majority => quorum::majority(self.voters().len()),
            Consent::Servers(count) => count.max(1),
        }
    }

    fn answered(&self) -> usize {
        let voters = self.voters();
        let map = self.map.iter();
        map.flat_map(|map| map.answered()).filter(|(server, _)| voters.contains(server)).count()
    }

    fn has_enough_answers(&self) -> bool {
        self.answered() >= self.needed()
    }

    /// Goes on as far as what is known allows. `true` if it may go on further at once.
    fn advance(&mut self, now: Now) -> bool {
        match &mut self.stage {
            Stage::Asking { known, until } => {
                *until = until.filter(|until| now.instant < *until);
                let (known, in_time) = (*known, until.is_some());
                self.look(known, in_time, now)
            }
            Stage::Gathering { .. } => self.gather(now),
            Stage::Patching { patching, .. } => {
                let Some(map) = &mut self.map else { return false };
                match patching.advance(map, &mut self.entropy, &mut self.tasks, now.instant) {
                    Ok(()) => false,
                    Err(retreat) => {
                        self.retreat(retreat);
                        true
                    }
                }
            }
            Stage::Writing { writing } if writing.is_over() => {
                self.weigh(now);
                true
            }
            Stage::Pausing { until } if now.instant >= *until => {
                if let Some(map) = &mut self.map {
                    map.ask_again(&mut self.tasks, now.instant);
                }
                self.stage = asking(0, now.instant);
                true
            }
            _ => false,
        }
    }

    /// Decides what to write, once enough is known of what is there.
    fn look(&mut self, known: u64, in_time: bool, now: Now) -> bool {
        let Some(map) = &mut self.map else { return false };
        if map.is_checking() {
            return false;
        }
        let waiting = map.waiting().next().is_some();
        if waiting && (in_time || !self.has_enough_answers()) {
            return false;
        }
        let Some(map) = &mut self.map else { return false };
        let is_new = matches!(self.setup.subject, Subject::New { .. });
        let asked = map.asked_servers().count();
        let nowhere = map.versions().is_empty() && !is_new;
        // The file may have been made when the ring was another, or with more shares.
        let few = asked < usize::from(map.newest_readable().map_or(0, |version| version.total));
        if (nowhere || few || !self.has_enough_answers())
            && self.map.as_mut().is_some_and(|map| !map.asked_all())
        {
            let Some(map) = &mut self.map else { return false };
            map.widen(&mut self.tasks, now.instant);
            self.stage = asking(known, now.instant);
            return false;
        }
        let Some(map) = &self.map else { return false };
        if nowhere {
            let trouble = map.troubles();
            self.fail(ChangeError::NotFound { trouble });
            return false;
        }
        if is_new && map.versions().keys().any(|version| !self.own.contains_key(version)) {
            self.fail(ChangeError::AlreadyThere);
            return false;
        }
        let voters = self.voters();
        let answers: BTreeMap<_, _> =
            map.answers().into_iter().filter(|(server, _)| voters.contains(server)).collect();
        let readable: BTreeSet<Version> =
            map.readable().into_iter().chain(self.own.keys().copied()).collect();
        let highest = map.highest_sequence();
        let decision = match self.setup.consent {
            Consent::Majority => quorum::decide(&answers, voters.len(), &readable, known),
            Consent::Servers(needed) if answers.len() < needed => Decision::TooFew { needed },
            Consent::Servers(_) => Decision::Write {
                sequence: map.highest_sequence() + 1,
                bases: map.newest_readable().into_iter().collect(),
                targets: answers.keys().copied().collect(),
            },
        };
        match decision {
            Decision::Write { bases, .. } if bases.is_empty() && !is_new => {
                let trouble = map.troubles();
                self.fail(ChangeError::Unreadable { trouble });
            }
            Decision::Write { sequence, .. } if sequence == highest && self.waits < WAITS_MAX => {
                // Somebody has begun to write this version; better let him finish than compete.
                self.waits += 1;
                let pause = self.entropy.jitter(PAUSE_FIRST * 2);
                self.stage = Stage::Pausing { until: now.instant + pause };
            }
            Decision::Write { sequence, bases, targets } => {
                let plan = Plan { sequence, bases, targets };
                self.stage = Stage::Gathering { plan, gather: None, contents: Vec::new() };
                return true;
            }
            Decision::TooFew { needed } => {
                let (answered, trouble) = (answers.len(), map.troubles());
                self.fail(ChangeError::TooFew { needed, voters: voters.len(), accepted: answered, trouble });
            }
            Decision::AskAgain { known } => {
                if let Some(map) = &mut self.map {
                    map.ask_again(&mut self.tasks, now.instant);
                }
                self.stage = asking(known, now.instant);
            }
            Decision::Unreadable => {
                let trouble = map.troubles();
                self.fail(ChangeError::Unreadable { trouble });
            }
        }
        false
    }

    /// Reads the bases as far as their contents matter, and finds the key.
    fn gather(&mut self, now: Now) -> bool {
        let Stage::Gathering { plan, gather, contents } = &mut self.stage else { return false };
        let (Some(map), Some(cap)) = (&mut self.map, &self.cap) else { return false };
        if let Some(under_way) = gather {
            match under_way.advance(map, &mut self.tasks, now.instant) {
                None => return false,
                Some(Ok(content)) => {
                    contents.push(content);
                    *gather = None;
                }
                Some(Err(())) => {
                    // Somebody may have written meanwhile, so that other bytes were read than seen.
                    let trouble = map.troubles();
                    self.again(ChangeError::Unreadable { trouble }, now);
                    return false;
                }
            }
        }
        let in_parts = matches!(self.setup.change, Change::Patch { .. }) && !self.whole && self.attempts == 0;
        let matters = matches!(self.setup.change, Change::Edit(_) | Change::Patch { .. }) && !in_parts;
        if matters && let Some(version) = plan.bases.get(contents.len()) {
            if let Some(content) = self.own.get(version).and_then(|content| content.bytes().cloned()) {
                contents.push(content);
                return true;
            }
            *gather = Some(Box::new(Gather::new(&cap.read_cap(), *version)));
            return true;
        }
        if self.key.is_none() {
            match map.private_key(cap, &mut self.tasks) {
                KeySearch::Found(key) => self.key = Some(key),
                KeySearch::Searching => return false,
                KeySearch::Nowhere => {
                    let trouble = map.troubles();
                    self.again(ChangeError::NoPrivateKey { trouble }, now);
                    return false;
                }
            }
        }
        if in_parts {
            self.begin_patch();
        } else {
            self.make(now);
        }
        true
    }

    /// Begins to make the new version from what changes, if that is possible.
    fn begin_patch(&mut self) {
        self.whole = true;
        let Stage::Gathering { plan, .. } = &self.stage else { return };
        let (Some(map), Some(cap), Some(key)) = (&self.map, &self.cap, &self.key) else { return };
        let (Change::Patch { offset, data }, [base]) = (&self.setup.change, &plan.bases[..]) else { return };
        let patch = Patch { offset: *offset, data: data.clone() };
        let (read_cap, base, sequence) = (cap.read_cap(), *base, plan.sequence);
        let patching = Patching::new(
            (read_cap, key.clone()),
            (base, sequence),
            patch,
            map,
            &plan.targets,
            &mut self.tasks,
        );
        if let Some(patching) = patching {
            self.stage = Stage::Patching { plan: plan.clone(), patching: Box::new(patching) };
        }
    }

    fn patched(&mut self, task: PatchTask, outcome: Outcome) {
        let Stage::Patching { plan, patching } = &mut self.stage else { return };
        match patching.finished(task, outcome, &mut self.tasks) {
            None => {}
            Some(Ok(made)) => {
                let plan = plan.clone();
                self.begin_writing(&plan, made);
            }
            Some(Err(retreat)) => self.retreat(retreat),
        }
    }

    /// The new version cannot be made from parts.
    fn retreat(&mut self, retreat: Retreat) {
        self.tasks.forget(|purpose| matches!(purpose, Purpose::Patch(_) | Purpose::Gather(_)));
        let stage = core::mem::replace(&mut self.stage, Stage::Done);
        match (retreat, stage) {
            (Retreat::Whole, Stage::Patching { plan, .. }) => {
                self.stage = Stage::Gathering { plan, gather: None, contents: Vec::new() };
            }
            (Retreat::Impossible(error), _) => self.fail(ChangeError::Make(error)),
            (Retreat::Whole, _) => {}
        }
    }

    /// Makes the new content from the bases, and begins to make the new version.
    fn make(&mut self, now: Now) {
        let stage = core::mem::replace(&mut self.stage, Stage::Done);
        let Stage::Gathering { plan, contents, .. } = stage else { return };
        let (Some(cap), Some(key)) = (self.cap.clone(), self.key.clone()) else { return };
        let content = match &mut self.setup.change {
            Change::Overwrite(content) => content.clone(),
            Change::Patch { offset, data } => {
                let patch = Patch { offset: *offset, data: data.clone() };
                let base = contents.last().cloned().unwrap_or_default();
                match spliced(&base, &patch) {
                    Some(content) => content,
                    None => {
                        let (offset, size) = (*offset, base.len() as u64);
                        return self.fail(ChangeError::PastEnd { offset, size });
                    }
                }
            }
            Change::Children(children) => {
                let access = Access::Write(cap.write_key.clone());
                match Table::with_children(access, children.0.iter().cloned()) {
                    Ok(table) => Payload::from(table.pack()),
                    Err(error) => return self.fail(ChangeError::Children(error)),
                }
            }
            Change::Edit(edits) => {
                let access = Access::Write(cap.write_key.clone());
                // The greatest comes last and prevails where they differ.
                let mut table = Table::empty(access.clone());
                for content in contents.into_iter().rev() {
                    match Table::unpack(content, access.clone()) {
                        Ok(other) => table.absorb(&other),
                        Err(error) => return self.fail(ChangeError::NoDirectory(error)),
                    }
                }
                if !core::mem::replace(&mut self.pinned, true) {
                    Edit::pin(&mut edits.0, &table);
                }
                match table.apply(&edits.0, now.unix) {
                    Ok(outcomes) => self.outcomes = outcomes,
                    Err(error) => {
                        let edits = Edits(core::mem::take(&mut edits.0));
                        return self.fail(ChangeError::Edit { error, edits });
                    }
                }
                Payload::from(table.pack())
            }
        };
        let (needed, total) = match plan.bases.last() {
            Some(version) => (version.needed, version.total),
            None => {
                let total = self.setup.params.total().min(MUTABLE_SHARES_MAX) as u8;
                ((self.setup.params.needed() as u8).min(total), total)
            }
        };
        let encoding = MutableEncoding::for_writing(cap.format, needed, total, content.len());
        let making = encoding.map_err(super::MakeError::Encoding).and_then(|encoding| {
            Making::new(key, encoding, plan.sequence, &content, &mut self.entropy, &mut self.tasks)
        });
        match making {
            Ok(making) => self.stage = Stage::Making { plan, making: Box::new(making) },
            Err(error) => self.fail(ChangeError::Make(error)),
        }
    }

    fn made(&mut self, task: MakeTask, output: JobOutput) {
        let Stage::Making { making, .. } = &mut self.stage else { return };
        let made = match making.finished(task, output, &mut self.tasks) {
            Ok(None) => return,
            Ok(Some(made)) => made,
            Err(error) => return self.fail(ChangeError::Make(error)),
        };
        let stage = core::mem::replace(&mut self.stage, Stage::Done);
        let Stage::Making { plan, .. } = stage else { return };
        self.begin_writing(&plan, made);
    }

    /// Sends the new version to the servers.
    fn begin_writing(&mut self, plan: &Plan, made: Made) {
        let (Some(map), Some(cap)) = (&self.map, &self.cap) else { return };
        let leases = LeaseSecrets::new(&self.setup.lease_secret, &cap.storage_index());
        let rights = WriteRights::new(&cap.write_key, leases);
        let target = |candidate: &Candidate| {
            let (_, shares) = map.answered().find(|(server, _)| *server == candidate.server)?;
            let there = shares.iter().map(|(number, share)| (*number, begins(share.first_bytes()))).collect();
            Some(Target { candidate: candidate.clone(), there })
        };
        let chosen = map.ring().iter().filter(|candidate| plan.targets.contains(&candidate.server));
        let targets: Vec<Target> = chosen.filter_map(target).collect();
        let reads = [(FIRST_RANGE.start, FIRST_RANGE.end - FIRST_RANGE.start)];
        // Nobody else writes to a file that is new, or has only one writer.
        let gated = self.setup.consent == Consent::Majority && !plan.bases.is_empty();
        if let Some(content) = &made.content {
            self.own.insert(made.version, content.clone());
        }
        let writing = Writing::new(made, &targets, &rights, &reads, gated, &mut self.tasks);
        self.stage = Stage::Writing { writing: Box::new(writing) };
    }

    /// All servers have said what they think of the new version.
    fn weigh(&mut self, now: Now) {
        let Stage::Writing { writing } = core::mem::replace(&mut self.stage, Stage::Done) else { return };
        let needed = self.needed();
        let voters = self.voters().len();
        let version = writing.made.version;
        let taken = writing.taken();
        let distinct: BTreeSet<u16> = taken.values().flatten().copied().collect();
        let mut beaten = false;
        let Some(map) = &mut self.map else { return };
        for (server, verdict) in writing.verdicts {
            match verdict {
                Verdict::Taken(_) => {}
                Verdict::Beaten(shares, bulk) => {
                    beaten = true;
                    map.put(server, shares, bulk, &mut self.tasks);
                }
                Verdict::Failed(trouble) => map.fail(server, trouble),
            }
        }
        if taken.len() >= needed && distinct.len() >= usize::from(version.needed) {
            let trouble = map.troubles();
            let cap = self.cap.clone().expect("a file that was written has a capability");
            let (outcomes, total) = (core::mem::take(&mut self.outcomes), version.total);
            let placed = taken.into_iter().map(|(server, shares)| Placed { server, shares }).collect();
            let changed = Changed { cap, version, total, placed, voters, outcomes, trouble };
            return self.end(Ok(Box::new(changed)));
        }
        if !beaten {
            let (accepted, trouble) = (taken.len(), map.troubles());
            return self.fail(ChangeError::TooFew { needed, voters, accepted, trouble });
        }
        self.again(ChangeError::Beaten { attempts: self.attempts + 1 }, now);
    }

    /// Begins anew after a pause, unless that was tried often enough.
    fn again(&mut self, error: ChangeError, now: Now) {
        self.attempts += 1;
        if self.attempts >= ATTEMPTS_MAX {
            return self.fail(error);
        }
        let pause = PAUSE_FIRST.saturating_mul(1 << self.attempts.min(10)).min(PAUSE_LONGEST);
        self.stage = Stage::Pausing { until: now.instant + self.entropy.jitter(pause) };
    }

    fn fail(&mut self, error: ChangeError) {
        self.end(Err(Box::new(error)));
    }

    fn end(&mut self, result: Result<Box<Changed>, Box<ChangeError>>) {
        self.tasks.forget(|_| true);
        self.stage = Stage::Done;
        self.actions.push_back(ChangeAction::Done(result));
    }
}

fn cap_of(format: MutableFormat, key: &PrivateKey) -> MutableCap {
    MutableCap { format, write_key: key.write_key(), fingerprint: key.public_key().fingerprint() }
}

fn asking(known: u64, now: Instant) -> Stage {
    Stage::Asking { known, until: Some(now + ENOUGH_AFTER) }
}

/// How a share begins, as far as it tells versions apart: the longest check string.
fn begins(first: &[u8]) -> Vec<u8> {
    const CHECK_LEN: usize = 57;
    first[..first.len().min(CHECK_LEN)].to_vec()
}
