//! Runs a plan and judges what came of it.
//!
//! First the storm: operations and faults. Then every fault is healed and every operation must end.
//! Then every acknowledged file must be read back, and what failed must have left nothing behind. At
//! last slots are changed in a storm of their own.

mod canary;
mod harm;
mod storm;

use crate::faults::Fault;
use crate::plan::{Plan, Profile};
use crate::probes::{Counts, Probe};
use crate::record::{MarkKind, Record};
use crate::trace::TraceHash;
use crate::{Ended, Grid, NodeId, StoredFile, slots};
use core::any::Any;
use core::cell::RefCell;
use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use storm::Storm;
use tallac_core::disk::StorePath;
use tallac_core::limits::INCOMING_IDLE_MAX;
use tallac_core::storage::container::LEASE_LEN;
use tallac_core::storage_index::StorageIndex;

/// How the container of a mutable share begins.
const MUTABLE: &[u8] = b"Tahoe mutable container v";
/// How long operations may take once everything is healed.
const CALM: Duration = Duration::from_secs(15 * 60);
/// After so long whoever was out of reach has been called again.
const CALLED_AGAIN: Duration = Duration::from_secs(120);

/// What came of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The run's seed.
    pub seed: u64,
    /// What was found wrong; nothing, if all is well.
    pub wrong: Vec<String>,
    /// The hash over all events and actions; none after a panic.
    pub hash: Option<TraceHash>,
    /// Events and actions.
    pub entries: u64,
    /// Virtual time.
    pub time: Duration,
    /// Operations begun.
    pub operations: u64,
    /// Nodes that went down.
    pub crashes: u64,
    /// Those that went down while they worked on an operation.
    pub crashes_in_flight: u64,
    /// How each operation ended, in numbers: to be compared with another run.
    pub ends: Vec<u8>,
    /// How often what rare thing happened.
    pub counts: Counts,
    /// The history of the grid, then that of the slots' world, if they were asked for.
    pub records: Vec<Record>,
}

impl Outcome {
    /// Whether nothing was found wrong.
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { seed, .. } = self;
        write!(f, "seed {seed}: ")?;
        match self.wrong.as_slice() {
            [] => write!(f, "good, {} operations, {} crashes", self.operations, self.crashes),
            wrong => {
                write!(f, "{} things wrong", wrong.len())?;
                wrong.iter().take(10).try_for_each(|what| write!(f, "\n  {what}"))
            }
        }
    }
}

/// Draws the run of a seed and runs it.
pub fn run_seed(seed: u64, profile: &Profile) -> Outcome {
    run_plan(&Plan::draw(seed, profile))
}

/// Whether a kind of fault makes a difference in a run: without it some operation ends in another way.
/// `None` if the run has no such fault.
pub fn matters(plan: &Plan, outcome: &Outcome, fault: Fault) -> Option<bool> {
    Some(run_plan(&plan.without(fault)?).ends != outcome.ends)
}

/// Who watches a run.
#[derive(Default)]
pub struct Watch {
    /// Gets the readable trace.
    pub lines: Option<Box<dyn FnMut(String)>>,
    /// Whether [`Outcome::records`] are wanted.
    pub records: bool,
}

/// Runs a plan.
pub fn run_plan(plan: &Plan) -> Outcome {
    watch_plan(plan, Watch::default())
}

/// Runs a plan while somebody watches, which changes nothing.
pub fn watch_plan(plan: &Plan, watch: Watch) -> Outcome {
    let mut run = Run::new(plan);
    let lines = watch.lines.map(|lines| Rc::new(RefCell::new(lines)));
    // Both worlds tell the same listener, one after the other.
    let listener = || -> Option<Box<dyn FnMut(String)>> {
        let lines = lines.clone()?;
        Some(Box::new(move |line| (lines.borrow_mut())(line)))
    };
    if let Some(lines) = listener() {
        run.grid.world.trace().tell(lines);
    }
    if watch.records {
        run.grid.world.keep_record();
    }
    // A panic is a finding like any other: caught with the time at which it struck.
    let whole = panic::catch_unwind(AssertUnwindSafe(|| run.whole(plan)));
    let panicked = whole.err().map(|payload| {
        let what = format!("panic at {:?}: {}", run.grid.world.now(), said(&*payload));
        run.grid.world.remark(MarkKind::Wrong, None, || what.clone());
        what
    });
    let mut outcome = run.outcome(plan);
    if let Some(what) = panicked {
        outcome.wrong.insert(0, what);
        outcome.hash = None;
    }
    match panic::catch_unwind(AssertUnwindSafe(|| slots::run(plan, listener(), watch.records))) {
        Ok(slots) => {
            outcome.wrong.extend(slots.wrong);
            outcome.counts.merge(&slots.counts);
            outcome.hash = outcome.hash.map(|hash| hash.and(slots.hash));
            outcome.records.extend(slots.record);
        }
        Err(payload) => {
            outcome.wrong.push(format!("panic while slots are changed: {}", said(&*payload)));
            outcome.hash = None;
        }
    }
    outcome
}

/// What a panic said.
pub(crate) fn said(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

struct Run {
    grid: Grid,
    storm: Storm,
    wrong: Vec<String>,
}

impl Run {
    fn new(plan: &Plan) -> Run {
        let mut grid = Grid::new(plan.seed, &plan.grid);
        grid.operations.looks_under_acks = plan.looks_under_acks;
        Run { grid, storm: Storm::new(plan), wrong: Vec::new() }
    }

    fn whole(&mut self, plan: &Plan) {
        self.storm.prepare(plan, &mut self.grid);
        self.grid.start_all();
        self.storm.run(plan, &mut self.grid);
        let frozen = self.storm.heal_core(plan, &mut self.grid);
        if !frozen.is_empty() && !self.core_alone(&frozen, plan) {
            return;
        }
        self.storm.heal(&mut self.grid);
        if !self.grid.finish_operations(CALM) {
            for line in self.list_under_way() {
                self.found(format!("hangs: {line}"));
            }
            return;
        }
        self.hear_of_servers();
        self.read_back();
        self.look_back(plan);
        self.nothing_left_behind(plan);
    }

    /// With some servers out of reach for good, every operation ends, and what the others have can be
    /// read.
    fn core_alone(&mut self, frozen: &[NodeId], plan: &Plan) -> bool {
        if !self.grid.finish_operations(CALM) {
            for line in self.list_under_way() {
                self.found(format!("hangs with a healed core: {line}"));
            }
            return false;
        }
        let rest = self.grid.world.now() + CALLED_AGAIN;
        while self.grid.run_until(rest).is_some() {}
        let servers = self.grid.servers.clone().into_iter().enumerate();
        let is_good = |number: usize, node: &NodeId| {
            !(frozen.contains(node) || number < 64 && plan.fallible >> number & 1 == 1)
        };
        let good: Vec<NodeId> =
            servers.filter(|(number, node)| is_good(*number, node)).map(|(_, n)| n).collect();
        let needed = usize::from(plan.grid.encoding.needed());
        let files: Vec<StoredFile> = self.grid.operations.files().to_vec();
        let mut gets = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let Some(of) = file.cap.storage_index() else { continue };
            let mut shares = BTreeSet::new();
            for node in &good {
                let disk = self.grid.world.disk(*node);
                shares.extend(disk.list().filter_map(|(path, _)| match path {
                    StorePath::Share(index, share) if *index == of => Some(*share),
                    _ => None,
                }));
            }
            if shares.len() >= needed && !self.storm.is_squatted(&of) {
                let client = self.grid.clients[index % self.grid.clients.len()];
                let range = 0..file.content.len();
                gets.push(self.grid.operations.get(&mut self.grid.world, client, file, range));
            }
        }
        let ended = self.grid.finish_operations(CALM);
        for line in self.grid.operations.list_under_way() {
            self.found(format!("hangs while a healed core is read: {line}"));
        }
        for get in gets {
            self.grid.operations.count(Probe::CoreReads);
            if let Some(Ended::NotRead(error)) = self.grid.operations.ended(get) {
                let text = format!("out of reach: enough good shares answer, and a get fails: {error}");
                self.found(text);
            }
        }
        ended
    }

    /// Something is wrong.
    fn found(&mut self, wrong: String) {
        self.grid.world.remark(MarkKind::Wrong, None, || wrong.clone());
        self.wrong.push(wrong);
    }

    /// Clients that could not reach an introducer in all their life hear of servers once they can.
    fn hear_of_servers(&mut self) {
        let deadline = self.grid.world.now() + CALLED_AGAIN;
        let knows_none = |grid: &Grid, client: &NodeId| {
            let now = grid.world.clock(*client);
            grid.world.machine(*client).is_none_or(|node| node.status(1, now).servers.is_empty())
        };
        while self.grid.clients.iter().any(|client| knows_none(&self.grid, client)) {
            let now = self.grid.world.now();
            if now >= deadline {
                return self.found("a client hears of no server, though all is healed".into());
            }
            while self.grid.run_until(now + Duration::from_secs(1)).is_some() {}
        }
    }

    /// Every acknowledged file is there, whole and right.
    fn read_back(&mut self) {
        let files: Vec<StoredFile> = self.grid.operations.files().to_vec();
        let mut gets = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let client = self.grid.clients[index % self.grid.clients.len()];
            let range = 0..file.content.len();
            gets.push(self.grid.operations.get(&mut self.grid.world, client, file, range));
        }
        if !self.grid.finish_operations(CALM) {
            for line in self.grid.operations.list_under_way() {
                self.found(format!("hangs while reading back: {line}"));
            }
        }
        for get in gets {
            if let Some(Ended::NotRead(error)) = self.grid.operations.ended(get) {
                let text = format!("lost: a file that was acknowledged cannot be read: {error}");
                self.found(text);
            }
        }
    }

    fn list_under_way(&self) -> Vec<String> {
        [self.grid.operations.list_under_way(), self.grid.changes.list_under_way()].concat()
    }

    /// Every directory and mutable file can be read. Unless servers forget or falsify, it has everything
    /// that was acknowledged.
    fn look_back(&mut self, plan: &Plan) {
        let forgets = plan.fallible != 0 && plan.faults.iter().any(Fault::costs_memory);
        let Grid { world, changes, clients, .. } = &mut self.grid;
        changes.look_at_all(world, clients, !forgets);
        for attempt in 0.. {
            if !self.grid.finish_operations(CALM) {
                for line in self.list_under_way() {
                    self.found(format!("hangs while looking back: {line}"));
                }
                return;
            }
            // Servers that were out of reach are called again after a while.
            let rest = self.grid.world.now() + Duration::from_secs(60);
            while self.grid.run_until(rest).is_some() {}
            let Grid { world, changes, clients, .. } = &mut self.grid;
            if attempt == 3 || !changes.look_again(world, clients) {
                break;
            }
        }
        if !forgets {
            let judged = self.grid.changes.indexes().len() as u64;
            self.storm.counts.add(Probe::DirectoriesJudged, judged);
            // Servers keep one version. Where two writers and a crash, or two changes that are refused, can
            // leave too few shares of each of three versions, a file may become unreadable. It is enough that
            // more than half took the first: so it is the shares that were ever placed that count.
            let needed = usize::from(plan.grid.encoding.needed());
            for (index, line) in self.grid.changes.unread() {
                let Grid { world, servers, .. } = &mut self.grid;
                let mut placed: BTreeSet<u16> = BTreeSet::new();
                for server in servers.iter() {
                    placed.extend(world.disk(*server).list().filter_map(|(path, _)| match path {
                        StorePath::Share(of, share) => (*of == index).then_some(*share),
                        _ => None,
                    }));
                }
                if 3 * (needed - 1) < placed.len() {
                    self.found(format!("unreadable: a {line}"));
                } else {
                    self.storm.counts.add(Probe::TooManyShares, 1);
                }
            }
        }
    }

    /// No operation, no promise and no spool is left; whole shares are of files that were
    /// acknowledged, or nearly.
    fn nothing_left_behind(&mut self, plan: &Plan) {
        let (grid, mut found) = (&mut self.grid, Vec::new());
        let later = grid.world.now() + INCOMING_IDLE_MAX + Duration::from_secs(120);
        // What the storm left to be done is done already.
        while grid.run_until(later).is_some() {}
        let mut known: BTreeSet<_> = BTreeSet::new();
        known.extend(grid.operations.files().iter().filter_map(|file| file.cap.storage_index()));
        known.extend(grid.changes.indexes());
        let mut whole = Vec::new();
        for node in grid.world.nodes().collect::<Vec<NodeId>>() {
            let now = grid.world.clock(node);
            let listed = if grid.clients.contains(&node) { usize::MAX } else { 0 };
            let status = grid.world.machine(node).expect("all were started").status(listed, now);
            for server in &status.servers {
                if !server.nickname.starts_with("server") {
                    found.push(format!("{node:?} believes in a server that nobody announced"));
                }
            }
            if status.operations != (0, 0) {
                found.push(format!("{node:?} still has operations: {:?}", status.operations));
            }
            if let Some(storage) = status.storage
                && (storage.shares_in_progress, storage.bytes_promised) != (0, 0)
            {
                found.push(format!("{node:?} still promises space: {storage:?}"));
            }
            for (path, len) in grid.world.disk(node).list() {
                match path {
                    StorePath::Share(index, share)
                        if !known.contains(index) && !self.storm.is_squatted(index) =>
                    {
                        whole.push((node, *index, *share));
                    }
                    StorePath::Incoming(..) | StorePath::Spool(_) | StorePath::Redo(_) => {
                        found.push(format!("{node:?} keeps {path:?} of {len} bytes"));
                    }
                    _ => {}
                }
            }
        }
        // A mutable file may be there, whole, of which its maker was not told. The disk may have damaged some
        // of its shares since, so that they do not look like it.
        let (mut orphans, mut mutable) = (BTreeSet::new(), BTreeSet::new());
        for (node, index, share) in whole {
            match grid.world.disk(node).content(&StorePath::Share(index, share)) {
                Some(file) if file.starts_with(MUTABLE) => drop(mutable.insert(index)),
                Some(_) => drop(orphans.insert(index)),
                None => {}
            }
        }
        orphans.retain(|index| !mutable.contains(index));
        found.extend(canary::betrayed(grid));
        found.extend(shared_leases(grid, plan.fallible, |index| self.storm.is_squatted(index)));
        let torn = grid.world.damage().shares_torn;
        if grid.operations.looks_under_acks && torn > 0 {
            found.push(format!("torn: {torn} shares had their final names and not all of their data"));
        }
        let half_closed = grid.operations.half_closed();
        if orphans.len() > half_closed {
            let text = format!("{} files are whole and were never closed: {orphans:?}", orphans.len());
            found.push(format!("{text} ({half_closed} uploads were given up while they closed)"));
        }
        found.into_iter().for_each(|wrong| self.found(wrong));
    }

    fn outcome(&mut self, plan: &Plan) -> Outcome {
        let mut wrong = core::mem::take(&mut self.wrong);
        wrong.extend(self.grid.operations.violations().iter().cloned());
        wrong.extend(self.grid.changes.violations().iter().cloned());
        let mut counts = self.grid.operations.counts().clone();
        counts.merge(self.grid.changes.counts());
        counts.merge(&self.grid.world.counts());
        counts.merge(&self.storm.all_counts());
        let ends = self.grid.operations.ends().chain(self.grid.changes.ends()).collect();
        let trace = self.grid.world.trace();
        let (hash, entries) = (Some(trace.hash()), trace.entries());
        Outcome {
            seed: plan.seed,
            wrong,
            hash,
            entries,
            time: self.grid.world.now(),
            operations: (self.grid.operations.total() + self.grid.changes.total()) as u64,
            crashes: self.storm.crashes,
            crashes_in_flight: self.storm.crashes_in_flight,
            ends,
            counts,
            records: self.grid.world.take_record().into_iter().collect(),
        }
    }
}

/// Lease secrets of one file that are of use at more than one server. On servers that may lose shares the
/// place of a secret may hold anything: a lease that was written into another file leaves zeros there.
fn shared_leases(
    grid: &mut Grid,
    fallible: u64,
    is_squatted: impl Fn(&StorageIndex) -> bool,
) -> Option<String> {
    let mut owners: BTreeMap<(StorageIndex, Vec<u8>), NodeId> = BTreeMap::new();
    let servers = grid.servers.clone().into_iter().enumerate();
    let is_true = |number: usize| number >= 64 || fallible >> number & 1 == 0;
    for (_, node) in servers.filter(|(number, _)| is_true(*number)) {
        let disk = grid.world.disk(node);
        for (path, _) in disk.list() {
            let StorePath::Share(index, _) = path else { continue };
            if is_squatted(index) {
                continue;
            }
            let content = disk.content(path).expect("it is listed");
            // The first lease of an immutable share: its owner, then the secret that renews it.
            let ([0, 0, 0, 2], rest) = content.split_first_chunk::<4>().unwrap_or((&[0; 4], &[])) else {
                continue;
            };
            let leases =
                rest.get(4..8).and_then(|field| field.first_chunk()).copied().map_or(0, u32::from_be_bytes);
            let first = (content.len() as u64).saturating_sub(u64::from(leases) * LEASE_LEN) as usize + 4;
            let Some(secret) = content.get(first..first + 32) else { continue };
            let owner = *owners.entry((*index, secret.to_vec())).or_insert(node);
            if owner != node {
                return Some(format!("secrets: {owner:?} can renew the leases that {node:?} has of a file"));
            }
        }
    }
    None
}
