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

mod alarms;
mod content;
mod deciding;
mod electorate;
mod outcome;
mod placing;
mod stage;
mod wanted;

use alarms::Alarms;
pub use outcome::{ChangeError, Changed, Placed};
pub(crate) use stage::ChangeStage;
use stage::Stage;
pub use wanted::{Change, ChangeSetup, Children, Consent, Edits, Subject};

use super::making::{Content, MakeTask};
use super::map::{FURTHER, Map, MapTask};
use super::patching::PatchTask;
use super::quorum::{Electorate, Tally};
use super::read::FetchTask;
use super::{MUTABLE_SHARES_MAX, Version};
use crate::capability::{MutableCap, MutableFormat};
use crate::directory::Outcome as EditOutcome;
use crate::entropy::Entropy;
use crate::identity::ServerId;
use crate::job::{Job, JobOutput};
use crate::machine::Machine;
use crate::peers::Candidate;
use crate::rsa::PrivateKey;
use crate::secret::Secret;
use crate::storage_index::StorageIndex;
use crate::task::{Outcome, ServerTrouble, Task, Tasks, Trouble};
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

/// How often a change is tried: when others are faster, or those behind have to be given something first.
const ATTEMPTS_MAX: u32 = 20;
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
    /// How often nobody could tell which of several versions to put a part into, or not all of it was there.
    divided: u32,
    /// The most strangers that showed when a version was decided on: shares that were written since, and
    /// did not count, would hide them.
    strangers: usize,
    /// The contents of versions that were made here. Shares of them may be anywhere, too few to read.
    own: BTreeMap<Version, Content>,
    /// The versions that were made here and not accepted by enough.
    given_up: BTreeSet<Version>,
    /// The servers that were behind and did not take what they were given, and why.
    refusing: BTreeMap<ServerId, Trouble>,
    /// Some servers have, or may have, a version that was made here.
    may_show_up: bool,
    /// Servers that said that somebody else was faster.
    alarms: Alarms,
    /// How often others were faster.
    beaten: u32,
    /// How often a version that was there already was given to those behind it.
    completed: u32,
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
            refusing: BTreeMap::new(),
            may_show_up: false,
            alarms: Alarms::default(),
            beaten: 0,
            completed: 0,
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

    /// Begins anew after a pause, unless that was tried often enough.
    fn again(&mut self, error: ChangeError, now: Now) {
        self.attempts += 1;
        if self.attempts >= ATTEMPTS_MAX {
            return self.fail(error);
        }
        let beaten = matches!(error, ChangeError::Beaten { .. });
        let pause = PAUSE_FIRST.saturating_mul(1 << self.attempts.min(10)).min(PAUSE_LONGEST);
        self.stage = Stage::Pausing { until: now.instant + self.entropy.jitter(pause), beaten };
    }

    fn too_few(&self, tally: Tally, electorate: &Electorate<ServerId>) -> ChangeError {
        let Tally { needed, servers: voters, agreed: accepted } = tally;
        let (strangers, trouble) = (electorate.strangers(), self.troubles());
        let may_show_up = self.may_show_up;
        ChangeError::TooFew { needed, voters, strangers, accepted, may_show_up, trouble }
    }

    fn unreadable(&self) -> ChangeError {
        ChangeError::Unreadable { may_show_up: self.may_show_up, trouble: self.troubles() }
    }

    /// What is to be told of the servers: also of those that answer and take nothing.
    fn troubles(&self) -> Vec<ServerTrouble> {
        let Some(map) = &self.map else { return Vec::new() };
        let mut troubles = map.troubles();
        troubles.retain(|told| !self.refusing.contains_key(&told.server));
        troubles.extend(map.ring().iter().filter_map(|candidate| {
            let (server, nickname) = (candidate.server, candidate.nickname.clone());
            let trouble = self.refusing.get(&server)?.clone();
            Some(ServerTrouble { server, nickname, trouble })
        }));
        troubles
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

fn asking(known: u64, now: Instant) -> Stage {
    Stage::Asking { known, until: Some(now + ENOUGH_AFTER) }
}

/// How a share begins, as far as it tells versions apart: the longest check string.
fn begins(first: &[u8]) -> Vec<u8> {
    const CHECK_LEN: usize = 57;
    first[..first.len().min(CHECK_LEN)].to_vec()
}
