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

mod content;
mod electorate;
mod outcome;
mod stage;
mod wanted;

pub use outcome::{ChangeError, Changed, Placed};
pub(crate) use stage::ChangeStage;
use stage::{Plan, Stage};
pub use wanted::{Change, ChangeSetup, Children, Consent, Edits, Subject};

use super::making::{Made, MakeTask};
use super::map::{FIRST_RANGE, FURTHER, Map, MapTask};
use super::patching::{PatchTask, Retreat};
use super::quorum::{self, Decision, Electorate, Grounds, Tally};
use super::read::FetchTask;
use super::writing::{self, Target, Verdict, WriteRights, Writing};
use super::{MUTABLE_SHARES_MAX, Version};
use crate::capability::{MutableCap, MutableFormat};
use crate::directory::Outcome as EditOutcome;
use crate::entropy::Entropy;
use crate::identity::ServerId;
use crate::job::{Job, JobOutput};
use crate::lease::LeaseSecrets;
use crate::machine::Machine;
use crate::mutants::{self, Mutant};
use crate::payload::Payload;
use crate::peers::Candidate;
use crate::rsa::PrivateKey;
use crate::secret::Secret;
use crate::storage_index::StorageIndex;
use crate::task::{Outcome, ServerTrouble, Task, Tasks};
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

/// How often a change is tried when others are faster each time.
const ATTEMPTS_MAX: u32 = 20;
/// How often a change waits for another that is under way, before it competes with it.
const WAITS_MAX: u32 = 3;
/// How often it is looked again which of several versions a part is to be put into.
const DIVIDED_MAX: u32 = 4;
/// The first pause after having been beaten; doubled each time up to the longest, jittered.
const PAUSE_FIRST: Duration = Duration::from_millis(40);
const PAUSE_LONGEST: Duration = Duration::from_secs(3);
/// Servers that have not answered by then are not waited for if enough have.
const ENOUGH_AFTER: Duration = Duration::from_millis(1200);

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
    /// It has come to this.
    Stage(ChangeStage),
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

/// Changes one mutable file, once.
pub(crate) struct ChangeFile {
    setup: ChangeSetup,
    entropy: Entropy,
    key: Option<PrivateKey>,
    cap: Option<MutableCap>,
    map: Option<Map>,
    stage: Stage,
    /// What was told of the stage last.
    told: Option<ChangeStage>,
    attempts: u32,
    /// How often it was waited for somebody who is writing.
    waits: u32,
    /// How often nobody could tell which of several versions to put a part into.
    divided: u32,
    /// The most strangers that showed when a version was decided on: shares that were written since, and
    /// did not count, would hide them.
    strangers: usize,
    /// The contents of versions that were made here. Shares of them may be anywhere, too few to read.
    own: BTreeMap<Version, Payload>,
    /// The versions that were made here and not accepted by enough.
    given_up: BTreeSet<Version>,
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
        let stage = self.stage.told();
        if stage != self.told {
            self.told = stage;
            self.actions.extend(stage.map(ChangeAction::Stage));
        }
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
            Stage::Pausing { until, .. } => Some(*until),
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
        let (whole, pinned, outcomes, strangers) = (false, false, Vec::new(), 0);
        ChangeFile {
            setup,
            entropy,
            key,
            cap,
            map,
            told: stage.told(),
            stage,
            attempts,
            waits,
            divided: 0,
            strangers,
            own,
            given_up: BTreeSet::new(),
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
        let open = ring.iter().enumerate().filter(|(_, candidate)| !candidate.read_only && !candidate.lost);
        let batch = open.take(total + further(&self.setup)).last().map_or(total, |(index, _)| index + 1);
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
                if let Stage::Writing { writing, .. } = &mut self.stage {
                    writing.answered(server, answer, &mut self.tasks);
                }
            }
            (purpose, outcome) => debug_assert!(false, "{purpose:?} cannot end with {outcome:?}"),
        }
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
            Stage::Writing { writing, .. } if writing.is_over() => {
                self.weigh(now);
                true
            }
            Stage::Pausing { until, .. } if now.instant >= *until => {
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
        let Some(map) = &self.map else { return false };
        let electorate = self.electorate();
        // Nobody waits for those further along the ring once all who have a say have answered.
        let waiting = map.unheard() > 0;
        let all_answered = {
            let answered: BTreeSet<ServerId> = map.answered().map(|(server, _)| server).collect();
            electorate.known().is_subset(&answered)
        };
        if waiting && !all_answered && (in_time || !self.has_enough_answers(&electorate)) {
            return false;
        }
        let is_new = matches!(self.setup.subject, Subject::New { .. });
        let asked = map.asked_servers().count();
        let nowhere = map.versions().is_empty() && !is_new;
        // The file may have been made when the ring was another, or with more shares. If more than half of
        // the first servers are others by now, these do not know what was acknowledged last.
        let few = !is_new
            && (asked < self.total().into()
                || map.lacks_shares(self.total())
                || map.may_go_on(self.total().into(), further(&self.setup)));
        if (nowhere || few || !self.has_enough_answers(&electorate))
            && self.map.as_mut().is_some_and(|map| !map.asked_all())
        {
            let Some(map) = &mut self.map else { return false };
            map.widen(&mut self.tasks, now.instant);
            self.stage = asking(known, now.instant);
            return false;
        }
        let Some(map) = &self.map else { return false };
        if nowhere {
            if !waiting {
                let trouble = map.troubles();
                self.fail(ChangeError::NotFound { trouble });
            }
            return false;
        }
        if is_new && map.versions().keys().any(|version| !self.own.contains_key(version)) {
            self.fail(ChangeError::AlreadyThere);
            return false;
        }
        let has_a_say =
            |server: &ServerId| electorate.has(server) || mutants::is_in(Mutant::OutsidersCounted);
        let answers: BTreeMap<_, _> =
            map.answers().into_iter().filter(|(server, _)| has_a_say(server)).collect();
        let readable = map.readable().into_iter().chain(self.own.keys().copied()).collect();
        let grounds = Grounds { readable, given_up: self.given_up.clone(), known };
        let highest = map.highest_sequence();
        self.strangers = electorate.strangers();
        let decision = match self.setup.consent {
            Consent::Majority => quorum::decide(&answers, &electorate, &grounds),
            Consent::Servers(needed) if answers.len() < needed => {
                Decision::TooFew(Tally { needed, servers: electorate.len(), agreed: answers.len() })
            }
            Consent::Servers(_) => Decision::Write {
                sequence: map.highest_sequence().saturating_add(1),
                bases: map.newest_readable().into_iter().collect(),
                targets: answers.keys().copied().collect(),
                undecided: false,
            },
        };
        // Parts of two versions cannot be put together.
        let is_divided = |undecided: bool| undecided && matches!(self.setup.change, Change::Patch { .. });
        let fails = match &decision {
            Decision::Write { bases, undecided, .. } => bases.is_empty() && !is_new || is_divided(*undecided),
            Decision::TooFew(_) | Decision::Unreadable => true,
            Decision::AskAgain { .. } => false,
        };
        if fails && waiting {
            // Whoever has not answered yet may be of help.
            return false;
        }
        match decision {
            Decision::Write { bases, .. } if bases.is_empty() && !is_new => {
                let trouble = map.troubles();
                self.fail(ChangeError::Unreadable { trouble });
            }
            Decision::Write { undecided, .. } if is_divided(undecided) => {
                // Whoever wrote them may come to an end.
                self.divided += 1;
                if self.divided > DIVIDED_MAX {
                    let trouble = map.troubles();
                    self.fail(ChangeError::Unreadable { trouble });
                    return false;
                }
                let pause = self.entropy.jitter(PAUSE_FIRST * (1 << self.divided));
                self.stage = Stage::Pausing { until: now.instant + pause, beaten: false };
            }
            Decision::Write { sequence, .. } if sequence == highest && self.waits < WAITS_MAX => {
                // Somebody has begun to write this version; better let him finish than compete.
                self.waits += 1;
                let pause = self.entropy.jitter(PAUSE_FIRST * 2);
                self.stage = Stage::Pausing { until: now.instant + pause, beaten: false };
            }
            Decision::Write { sequence, bases, mut targets, .. } => {
                if sequence > highest {
                    // Damaged shares are replaced, though nobody counts on who has them.
                    targets.extend(map.holders().into_iter().filter(|server| electorate.has(server)));
                }
                let plan = Plan { electorate, sequence, bases, targets };
                self.stage = Stage::Gathering { plan, gather: None, contents: Vec::new() };
                return true;
            }
            Decision::TooFew(tally) => {
                let trouble = map.troubles();
                self.fail(too_few(tally, &electorate, trouble));
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
        if made.content.is_none() && !writing::fits(&made, &targets) {
            // As a whole, shares can go to others, too.
            return self.retreat(Retreat::Whole);
        }
        let reads = [(FIRST_RANGE.start, FIRST_RANGE.end - FIRST_RANGE.start)];
        let competes = map.highest_sequence() == plan.sequence;
        // Nobody else writes to a file that is new, or has only one writer.
        let gated = self.setup.consent == Consent::Majority && !plan.bases.is_empty();
        if let Some(content) = &made.content {
            self.own.insert(made.version, content.clone());
        }
        self.given_up.insert(made.version);
        let electorate = plan.electorate.clone();
        let writing = Writing::new(made, &targets, electorate, &rights, &reads, gated, &mut self.tasks);
        self.stage = Stage::Writing { writing: Box::new(writing), competes };
    }

    /// All servers have said what they think of the new version.
    fn weigh(&mut self, now: Now) {
        let stage = core::mem::replace(&mut self.stage, Stage::Done);
        let Stage::Writing { writing, competes } = stage else { return };
        let electorate = writing.electorate.clone();
        let version = writing.made.version;
        let taken = writing.taken();
        let answers = self.map.as_ref().map(Map::answers).unwrap_or_default();
        let accepted = taken.keys().filter(|server| answers.contains_key(server)).copied().collect();
        let accepted = self.tally(&electorate, &accepted);
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
        if accepted.is_enough() && distinct.len() >= usize::from(version.needed) {
            let trouble = map.troubles();
            let cap = self.cap.clone().expect("a file that was written has a capability");
            let (outcomes, total) = (core::mem::take(&mut self.outcomes), version.total);
            let placed = taken.into_iter().map(|(server, shares)| Placed { server, shares }).collect();
            let voters = electorate.len();
            let changed = Changed { cap, version, total, placed, voters, outcomes, trouble };
            return self.end(Ok(Box::new(changed)));
        }
        if !beaten {
            let trouble = map.troubles();
            let error = too_few(accepted, &electorate, trouble);
            if competes && !taken.is_empty() {
                // There were too few to win; but now all have a version with this number, of which the
                // next is made and written to all.
                return self.again(error, now);
            }
            return self.fail(error);
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
        self.stage = Stage::Pausing { until: now.instant + self.entropy.jitter(pause), beaten: true };
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

/// How many servers are asked past those that the file should be on, to see whether there is more.
fn further(setup: &ChangeSetup) -> usize {
    match (&setup.subject, setup.consent) {
        (Subject::Existing(_), Consent::Majority) => FURTHER,
        (Subject::New { .. }, _) | (_, Consent::Servers(_)) => 0,
    }
}

fn cap_of(format: MutableFormat, key: &PrivateKey) -> MutableCap {
    MutableCap { format, write_key: key.write_key(), fingerprint: key.public_key().fingerprint() }
}

fn too_few(tally: Tally, electorate: &Electorate<ServerId>, trouble: Vec<ServerTrouble>) -> ChangeError {
    let Tally { needed, servers: voters, agreed: accepted } = tally;
    ChangeError::TooFew { needed, voters, strangers: electorate.strangers(), accepted, trouble }
}

fn asking(known: u64, now: Instant) -> Stage {
    Stage::Asking { known, until: Some(now + ENOUGH_AFTER) }
}

/// How a share begins, as far as it tells versions apart: the longest check string.
fn begins(first: &[u8]) -> Vec<u8> {
    const CHECK_LEN: usize = 57;
    first[..first.len().min(CHECK_LEN)].to_vec()
}
