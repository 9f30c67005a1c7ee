//! The programs that change directories and mutable files through a grid's clients, several of them at
//! once, and what must be there in the end.
//!
//! The model is a register for each name of a directory and for each mutable file: what was written,
//! and when that was acknowledged. Names, children and contents are canaries: each is of one write only,
//! and no server may see any.

mod model;
mod register;

use crate::chance::{Chance, content};
use crate::probes::{Counts, Probe};
use crate::{NodeId, World};
use core::time::Duration;
use model::{Holds, Made, canary, child, place};
use register::{Register, WriteNumber};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tallac_core::capability::{DirectoryCap, MutableCap, MutableFormat};
use tallac_core::directory::{Edit, Name, Only, Outcome, Replace, Seen, Table};
use tallac_core::drive::{Done, Errand, Keep, NewDirectory};
use tallac_core::mutable::{Change, Consent, Subject};
use tallac_core::node::Node;
use tallac_core::operation::{Command, OperationId, Report};
use tallac_core::payload::Payload;
use tallac_core::storage_index::StorageIndex;

/// Operations from here on are this module's.
const OWN_IDS: u64 = 1 << 32;
/// Names of a directory that everybody uses.
const SHARED_NAMES: u64 = 4;

/// What is changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Thing {
    /// A directory.
    Directory,
    /// A mutable file.
    File,
}

/// How a directory or a mutable file is changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Alteration {
    /// A child is linked under a name that nobody else ever uses.
    Add,
    /// A child is linked under a name that everybody uses, whatever is there.
    Replace,
    /// Such a name becomes another such name.
    Rename,
    /// Such a name is removed.
    Unlink,
    /// The file gets another content.
    Overwrite,
}

impl Alteration {
    /// Of what.
    pub fn thing(self) -> Thing {
        match self {
            Alteration::Overwrite => Thing::File,
            Alteration::Add | Alteration::Replace | Alteration::Rename | Alteration::Unlink => {
                Thing::Directory
            }
        }
    }
}

/// Where an operation writes.
#[derive(Clone, Debug)]
enum Written {
    Name(usize, String, WriteNumber),
    Content(usize, WriteNumber),
}

enum Kind {
    Make(Thing, u64, u64),
    Write(Vec<Written>),
    Look(usize),
    Read { of: usize, bytes: Vec<u8>, granted: u64 },
}

struct Operation {
    node: NodeId,
    kind: Kind,
    ended: bool,
    /// How: 0 for no end, 1 for a good one, 2 for another, 3 if it was given up.
    end: u8,
    began: Duration,
}

/// Changes under way and done.
pub struct Changes {
    chance: Chance,
    operations: BTreeMap<u64, Operation>,
    under_way: usize,
    made: Vec<Made>,
    next: u64,
    /// Whether every read must show what was acknowledged before it began.
    judging: bool,
    violations: Vec<String>,
    counts: Counts,
    /// Why changes and reads failed, as people get to know it, and the lines of logs.
    complaints: Vec<String>,
    /// Reads that failed since it was last asked.
    unread: Vec<(usize, String)>,
}

impl Changes {
    pub(crate) fn new(seed: u64) -> Changes {
        Changes {
            chance: Chance::named(seed, "changes of this run"),
            operations: BTreeMap::new(),
            under_way: 0,
            made: Vec::new(),
            next: OWN_IDS,
            judging: false,
            violations: Vec::new(),
            counts: Counts::default(),
            complaints: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// How many operations have not ended.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// The operations under way on a node.
    pub fn open_on(&self, node: NodeId) -> Vec<OperationId> {
        let open = |operation: &Operation| operation.node == node && !operation.ended;
        self.operations.iter().filter(|(_, of)| open(of)).map(|(id, _)| OperationId(*id)).collect()
    }

    /// Gives an operation up. What it was to write may take effect all the same, at any time.
    pub fn cancel(&mut self, world: &mut World<Node>, id: OperationId) {
        if let Some(operation) = self.operations.get_mut(&id.0).filter(|operation| !operation.ended) {
            operation.ended = true;
            operation.end = 3;
            let (node, is_read) =
                (operation.node, matches!(operation.kind, Kind::Look(_) | Kind::Read { .. }));
            self.under_way -= 1;
            self.count(if is_read { Probe::LooksCancelled } else { Probe::ChangesCancelled });
            world.command(node, Command::Cancel { id });
        }
    }

    /// The operations that have not ended: what they are, and since when.
    pub fn list_under_way(&self) -> Vec<String> {
        let open = self.operations.iter().filter(|(_, operation)| !operation.ended);
        open.map(|(id, operation)| {
            let what = match &operation.kind {
                Kind::Make(thing, ..) => format!("a new {thing:?}"),
                Kind::Write(_) => "a change".into(),
                Kind::Look(_) => "a look into a directory".into(),
                Kind::Read { .. } => "a read of a mutable file".into(),
            };
            format!("{what} ({}) on {:?} since {:?}", id - OWN_IDS, operation.node, operation.began)
        })
        .collect()
    }

    /// What was found wrong.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// How often what happened.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many operations there were.
    pub fn total(&self) -> usize {
        self.operations.len()
    }

    /// How many operations have ended in which way, one after another: to compare two runs.
    pub(crate) fn ends(&self) -> impl Iterator<Item = u8> {
        self.operations.values().map(|operation| operation.end)
    }

    /// The storage indexes of what was made.
    pub fn indexes(&self) -> Vec<StorageIndex> {
        self.made.iter().map(|made| made.cap.storage_index()).collect()
    }

    /// What nodes gave as reasons when a change or a read failed, and what they said for their logs.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// What is in what was made: names, children, contents. Who is told why something failed knows them.
    pub(crate) fn contents(&self) -> Vec<(Vec<u8>, &'static str)> {
        self.made.iter().flat_map(Made::contents).collect()
    }

    /// The rights to what was made.
    pub(crate) fn keys(&self) -> Vec<(Vec<u8>, &'static str)> {
        self.made.iter().flat_map(Made::keys).collect()
    }

    fn count(&mut self, what: Probe) {
        self.counts.add(what, 1);
    }

    fn begin(&mut self, world: &World<Node>, node: NodeId, kind: Kind) -> OperationId {
        let id = self.next;
        self.next += 1;
        self.operations.insert(id, Operation { node, kind, ended: false, end: 0, began: world.now() });
        self.under_way += 1;
        OperationId(id)
    }

    /// Has a client make a directory or a mutable file; `seed` and `len` are its first content.
    pub fn make(
        &mut self,
        world: &mut World<Node>,
        node: NodeId,
        thing: Thing,
        format: MutableFormat,
        (seed, len): (u64, u64),
    ) -> OperationId {
        let id = self.begin(world, node, Kind::Make(thing, seed, len));
        let command = match thing {
            Thing::Directory => {
                let new = NewDirectory { keep: Keep::Mutable(format, None), children: Vec::new() };
                Command::Errand { id, errand: Box::new(Errand::Make { place: None, new }) }
            }
            Thing::File => Command::Change {
                id,
                subject: Subject::New { format, key: None },
                change: Change::Overwrite(Payload::from(content(seed, len))),
                consent: Consent::Majority,
            },
        };
        world.command(node, command);
        id
    }

    /// Has a client change one of the things made, chosen by `pick`. `None` if there is none of the kind.
    pub fn alter(
        &mut self,
        world: &mut World<Node>,
        node: NodeId,
        pick: u64,
        how: Alteration,
        (seed, len): (u64, u64),
    ) -> Option<OperationId> {
        let (of, now) = (self.choose(pick, how.thing())?, world.now());
        let cap = self.made[of].cap.clone();
        let shared = |number: u64| format!("shared {}", canary(of as u64, number % SHARED_NAMES));
        let (name, other) = match how {
            Alteration::Add => (format!("own {}", canary(seed, 1)), None),
            Alteration::Rename => (shared(seed), Some(shared(seed + 1 + (seed >> 8) % (SHARED_NAMES - 1)))),
            _ => (shared(seed), None),
        };
        let (mut written, mut edit) = (Vec::new(), None);
        match &mut self.made[of].what {
            Holds::Content(register) => {
                written.push(Written::Content(of, register.begin(Some((seed, len)), now)));
            }
            Holds::Names(names) => {
                let mut write = |name: &String, child| {
                    let nothing = || Register::holding(None, Duration::ZERO);
                    let number = names.entry(name.clone()).or_insert_with(nothing).begin(child, now);
                    written.push(Written::Name(of, name.clone(), number));
                };
                let (seen, must_exist, only) = (Seen::Unchecked, true, Only::Anything);
                let named = |name: &str| Name::new(name).expect("a good name");
                edit = Some(match (how, &other) {
                    (Alteration::Rename, Some(to)) => {
                        write(&name, Some(None));
                        // Whatever was under the other name.
                        write(to, None);
                        let (replace, seen_to) = (Replace::Anything, Seen::Unchecked);
                        Edit::Rename { from: named(&name), to: named(to), replace, seen_from: seen, seen_to }
                    }
                    (Alteration::Unlink, _) => {
                        write(&name, Some(None));
                        Edit::Unlink { name: named(&name), must_exist, only, seen }
                    }
                    _ => {
                        write(&name, Some(Some(seed)));
                        let child = child(seed);
                        Edit::Link {
                            name: named(&name),
                            child,
                            metadata: None,
                            replace: Replace::Anything,
                            seen,
                        }
                    }
                });
            }
        }
        let id = self.begin(world, node, Kind::Write(written));
        let command = match edit {
            Some(edit) => Command::Errand { id, errand: Box::new(Errand::edit(place(&cap), edit)) },
            None => Command::Change {
                id,
                subject: Subject::Existing(cap),
                change: Change::Overwrite(Payload::from(content(seed, len))),
                consent: Consent::Majority,
            },
        };
        world.command(node, command);
        Some(id)
    }

    /// Has a client look at one of the things made, chosen by `pick`. `None` if there is none.
    pub fn look(&mut self, world: &mut World<Node>, node: NodeId, pick: u64) -> Option<OperationId> {
        if self.made.is_empty() {
            return None;
        }
        Some(self.look_at(world, node, (pick % self.made.len() as u64) as usize))
    }

    fn look_at(&mut self, world: &mut World<Node>, node: NodeId, of: usize) -> OperationId {
        let cap = self.made[of].cap.clone();
        match self.made[of].what {
            Holds::Names(_) => {
                let id = self.begin(world, node, Kind::Look(of));
                let errand = Errand::Look { place: place(&cap), list: true };
                world.command(node, Command::Errand { id, errand: Box::new(errand) });
                id
            }
            Holds::Content(_) => {
                let id = self.begin(world, node, Kind::Read { of, bytes: Vec::new(), granted: 0 });
                world.command(node, Command::ReadMutable { id, cap: cap.read_cap(), range: None });
                self.allow(id.0, world);
                id
            }
        }
    }

    /// Has clients look at everything that was made, and judges what they see.
    pub(crate) fn look_at_all(&mut self, world: &mut World<Node>, clients: &[NodeId], judging: bool) {
        self.judging = judging;
        self.unread.clear();
        for of in 0..self.made.len() {
            self.look_at(world, clients[of % clients.len()], of);
        }
    }

    /// Has those looked at again that could not be read. `false` if there are none.
    pub(crate) fn look_again(&mut self, world: &mut World<Node>, clients: &[NodeId]) -> bool {
        let again = core::mem::take(&mut self.unread);
        for (of, _) in &again {
            self.look_at(world, clients[(of + 1) % clients.len()], *of);
        }
        !again.is_empty()
    }

    /// What could not be read the last time: where it is stored, and why.
    pub(crate) fn unread(&self) -> Vec<(StorageIndex, String)> {
        let tell = |(of, why): &(usize, String)| {
            (self.made[*of].cap.storage_index(), format!("{} {of}: {why}", self.called(*of)))
        };
        self.unread.iter().map(tell).collect()
    }

    fn called(&self, of: usize) -> &'static str {
        match self.made[of].what {
            Holds::Names(_) => "directory",
            Holds::Content(_) => "mutable file",
        }
    }

    fn choose(&self, pick: u64, thing: Thing) -> Option<usize> {
        let is_of = |made: &Made| matches!(made.what, Holds::Names(_)) == (thing == Thing::Directory);
        let all: Vec<usize> = (0..self.made.len()).filter(|of| is_of(&self.made[*of])).collect();
        (!all.is_empty()).then(|| all[(pick % all.len() as u64) as usize])
    }

    fn allow(&mut self, id: u64, world: &mut World<Node>) {
        let Some(Operation { node, kind: Kind::Read { bytes, granted, .. }, ended: false, .. }) =
            self.operations.get_mut(&id)
        else {
            return;
        };
        if *granted <= bytes.len() as u64 {
            let more = 1 + self.chance.below(50_000);
            *granted += more;
            world.command(*node, Command::DownloadGrant { id: OperationId(id), bytes: more });
        }
    }

    /// The programs on a node are gone with it.
    pub(crate) fn crashed(&mut self, node: NodeId) -> usize {
        let mut hit = 0;
        for operation in self.operations.values_mut().filter(|of| of.node == node && !of.ended) {
            operation.ended = true;
            hit += 1;
        }
        self.under_way -= hit;
        self.counts.add(Probe::ChangesCrashed, hit as u64);
        hit
    }

    /// Takes a report, if it is of one of these operations, or a line for a log.
    pub(crate) fn report(&mut self, report: &Report, world: &mut World<Node>) -> bool {
        if let Report::Notice(notice) = report {
            self.counts.add(Probe::Notices, 1);
            self.complaints.push(notice.text.clone());
            return true;
        }
        let Some(OperationId(id)) = report.operation().filter(|id| id.0 >= OWN_IDS) else { return false };
        let Some(operation) = self.operations.get_mut(&id).filter(|operation| !operation.ended) else {
            return id < self.next;
        };
        let now = world.now();
        match report {
            Report::MutableFound { .. } => return true,
            Report::DownloadData { data, .. } => {
                if let Kind::Read { bytes, granted, .. } = &mut operation.kind {
                    bytes.extend_from_slice(data.bytes().expect("real bytes are downloaded here"));
                    if bytes.len() as u64 > *granted {
                        self.violations
                            .push("a read of a mutable file delivers more than was granted".into());
                    }
                }
                self.allow(id, world);
                return true;
            }
            _ => {}
        }
        operation.ended = true;
        let is_good = matches!(
            report,
            Report::Errand { result: Ok(_), .. }
                | Report::Changed { result: Ok(_), .. }
                | Report::MutableRead { result: Ok(()), .. }
        );
        operation.end = if is_good { 1 } else { 2 };
        self.under_way -= 1;
        let (began, kind) = (operation.began, core::mem::replace(&mut operation.kind, Kind::Look(0)));
        match (kind, report) {
            (Kind::Make(thing, seed, len), Report::Errand { result: Ok(done), .. }) => {
                if let Done::Made { cap: DirectoryCap::Mutable(cap), .. } = &**done {
                    self.was_made(thing, cap.clone(), (seed, len), now);
                }
            }
            (Kind::Make(thing, seed, len), Report::Changed { result: Ok(changed), .. }) => {
                self.was_made(thing, changed.cap.clone(), (seed, len), now);
            }
            (Kind::Write(written), Report::Errand { result: Ok(done), .. }) => {
                if let Done::Edited { outcomes, .. } = &**done {
                    self.judge_outcomes(&written, outcomes);
                }
                self.was_written(written, now);
            }
            (Kind::Write(written), Report::Changed { result: Ok(changed), .. }) => {
                if !changed.trouble.is_empty() {
                    self.count(Probe::ChangesInSpite);
                }
                self.was_written(written, now);
            }
            (Kind::Look(of), Report::Errand { result: Ok(done), .. }) => {
                if let Done::Seen(sight) = &**done {
                    match &sight.table {
                        Some(table) => self.seen(of, table, sight.outdated),
                        None => self.violations.push(format!("directory {of} is seen without its table")),
                    }
                }
            }
            (Kind::Read { of, bytes, .. }, Report::MutableRead { result: Ok(()), .. }) => {
                self.was_read(of, &bytes, began);
            }
            (kind, report) => self.failed(&kind, report),
        }
        true
    }

    fn failed(&mut self, kind: &Kind, report: &Report) {
        let why = match report {
            Report::Errand { result: Err(error), .. } => error.to_string(),
            Report::Changed { result: Err(error), .. } => error.to_string(),
            Report::MutableRead { result: Err(error), .. } => error.to_string(),
            other => return self.violations.push(format!("no end of a change: {other:?}")),
        };
        match kind {
            Kind::Make(..) => self.count(Probe::MakesFailed),
            Kind::Write(_) => self.count(match () {
                () if why.contains("needs") => Probe::ChangesTooFew,
                () if why.contains("cannot be read") => Probe::ChangesUnreadable,
                () => Probe::ChangesFailed,
            }),
            Kind::Look(of) | Kind::Read { of, .. } => {
                self.count(Probe::LooksFailed);
                self.unread.push((*of, why.clone()));
            }
        }
        self.complaints.push(why);
    }

    fn was_made(&mut self, thing: Thing, cap: MutableCap, first: (u64, u64), now: Duration) {
        let (what, probe) = match thing {
            Thing::Directory => (Holds::Names(BTreeMap::new()), Probe::DirectoriesMade),
            Thing::File => (Holds::Content(Register::holding(first, now)), Probe::MutableFilesMade),
        };
        self.count(probe);
        self.made.push(Made { cap, what });
    }

    fn was_written(&mut self, written: Vec<Written>, now: Duration) {
        self.count(Probe::ChangesDone);
        for written in written {
            match written {
                Written::Name(of, name, number) => {
                    if let Holds::Names(names) = &mut self.made[of].what
                        && let Some(register) = names.get_mut(&name)
                    {
                        register.acknowledge(number, now);
                    }
                }
                Written::Content(of, number) => {
                    if let Holds::Content(register) = &mut self.made[of].what {
                        register.acknowledge(number, now);
                    }
                }
            }
        }
    }

    /// A program is told how its own edit went, and not how another's did.
    fn judge_outcomes(&mut self, written: &[Written], outcomes: &[Outcome]) {
        let ([outcome], Some(Written::Name(of, name, _))) = (outcomes, written.last()) else {
            let text = format!("told: {} outcomes of an edit of one", outcomes.len());
            return self.violations.push(text);
        };
        if let Some(wrong) = self.made[*of].judge_outcome(name, outcome) {
            self.violations.push(format!("told: {wrong}, of directory {of}"));
        }
    }

    fn seen(&mut self, of: usize, table: &Table, outdated: bool) {
        self.count(if outdated { Probe::LooksOutdated } else { Probe::LooksDone });
        let wrong = self.made[of].judge_table(table, self.judging);
        self.violations.extend(wrong.into_iter().map(|wrong| format!("{wrong}, of directory {of}")));
    }

    fn was_read(&mut self, of: usize, bytes: &[u8], began: Duration) {
        self.count(Probe::MutableReads);
        let wrong = self.made[of].judge_content(bytes, self.judging);
        self.violations
            .extend(wrong.map(|wrong| format!("{wrong}: mutable file {of}, as read from {began:?} on")));
    }
}
