//! Runs a plan and judges what came of it.
//!
//! First the storm: operations and faults. Then every fault is healed and every operation must end.
//! Then every acknowledged file must be read back, and what failed must have left nothing behind. At
//! last slots are changed in a storm of their own.

mod storm;

use crate::plan::{Plan, Profile};
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

/// How long operations may take once everything is healed.
const CALM: Duration = Duration::from_secs(15 * 60);

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
    /// How often what rare thing happened.
    pub counts: BTreeMap<&'static str, u64>,
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
                writeln!(f, "{} things wrong", wrong.len())?;
                wrong.iter().take(10).try_for_each(|what| writeln!(f, "  {what}"))?;
                write!(f, "repeat: cargo run --release -p tallac-simulator -- trace --seed {seed}")
            }
        }
    }
}

/// Draws the run of a seed and runs it.
pub fn run_seed(seed: u64, profile: &Profile) -> Outcome {
    run_plan(&Plan::draw(seed, profile), None)
}

/// Runs a plan. `lines` gets the readable trace.
pub fn run_plan(plan: &Plan, lines: Option<Box<dyn FnMut(String)>>) -> Outcome {
    let mut run = Run::new(plan);
    let lines = lines.map(|lines| Rc::new(RefCell::new(lines)));
    // Both worlds tell the same listener, one after the other.
    let listener = || -> Option<Box<dyn FnMut(String)>> {
        let lines = lines.clone()?;
        Some(Box::new(move |line| (lines.borrow_mut())(line)))
    };
    if let Some(lines) = listener() {
        run.grid.world.trace().tell(lines);
    }
    // A panic is a finding like any other: caught with the time at which it struck.
    let whole = panic::catch_unwind(AssertUnwindSafe(|| run.whole(plan)));
    let mut outcome = run.outcome(plan);
    if let Err(payload) = whole {
        outcome.wrong.insert(0, format!("panic at {:?}: {}", run.grid.world.now(), said(&*payload)));
        outcome.hash = None;
    }
    match panic::catch_unwind(AssertUnwindSafe(|| slots::run(plan, listener()))) {
        Ok(slots) => {
            outcome.wrong.extend(slots.wrong);
            outcome.counts.extend(slots.counts);
            outcome.hash = outcome.hash.map(|hash| hash.and(slots.hash));
        }
        Err(payload) => {
            outcome.wrong.push(format!("panic while slots are changed: {}", said(&*payload)));
            outcome.hash = None;
        }
    }
    outcome
}

/// What a panic said.
fn said(payload: &(dyn Any + Send)) -> &str {
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
        self.grid.start_all();
        self.storm.run(plan, &mut self.grid);
        self.storm.heal(&mut self.grid);
        if !self.grid.finish_operations(CALM) {
            for line in self.grid.operations.list_under_way() {
                self.wrong.push(format!("hangs: {line}"));
            }
            return;
        }
        self.read_back();
        self.nothing_left_behind();
    }

    /// Every acknowledged file is there, whole and right.
    fn read_back(&mut self) {
        let files: Vec<StoredFile> = self.grid.operations.files().to_vec();
        let mut gets = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let client = self.grid.clients[index % self.grid.clients.len()];
            let range = 0..file.content.len() as u64;
            gets.push(self.grid.operations.get(&mut self.grid.world, client, file, range));
        }
        if !self.grid.finish_operations(CALM) {
            for line in self.grid.operations.list_under_way() {
                self.wrong.push(format!("hangs while reading back: {line}"));
            }
        }
        for get in gets {
            if let Some(Ended::NotRead(error)) = self.grid.operations.ended(get) {
                self.wrong.push(format!("lost: a file that was acknowledged cannot be read: {error}"));
            }
        }
    }

    /// No operation, no promise and no spool is left; whole shares are of files that were
    /// acknowledged, or nearly.
    fn nothing_left_behind(&mut self) {
        let grid = &mut self.grid;
        let later = grid.world.now() + INCOMING_IDLE_MAX + Duration::from_secs(120);
        // What the storm left to be done is done already.
        while grid.run_until(later).is_some() {}
        let mut known: BTreeSet<_> = BTreeSet::new();
        known.extend(grid.operations.files().iter().filter_map(|file| file.cap.storage_index()));
        let mut orphans = BTreeSet::new();
        for node in grid.world.nodes().collect::<Vec<NodeId>>() {
            let date = grid.world.clock(node).unix;
            let status = grid.world.machine(node).expect("all were started").status(0, date);
            if status.operations != (0, 0) {
                self.wrong.push(format!("{node:?} still has operations: {:?}", status.operations));
            }
            if let Some(storage) = status.storage
                && (storage.shares_in_progress, storage.bytes_promised) != (0, 0)
            {
                self.wrong.push(format!("{node:?} still promises space: {storage:?}"));
            }
            for (path, len) in grid.world.disk(node).list() {
                match path {
                    StorePath::Share(index, _) if !known.contains(index) => drop(orphans.insert(*index)),
                    StorePath::Incoming(..) | StorePath::Spool(_) | StorePath::Redo(_) => {
                        self.wrong.push(format!("{node:?} keeps {path:?} of {len} bytes"));
                    }
                    _ => {}
                }
            }
        }
        let half_closed = grid.operations.half_closed();
        if orphans.len() > half_closed {
            let text = format!("{} files are whole and were never closed: {orphans:?}", orphans.len());
            self.wrong.push(format!("{text} ({half_closed} uploads were given up while they closed)"));
        }
    }

    fn outcome(&mut self, plan: &Plan) -> Outcome {
        let mut wrong = core::mem::take(&mut self.wrong);
        wrong.extend(self.grid.operations.violations().iter().cloned());
        let mut counts = self.grid.operations.counts().clone();
        let network = self.grid.world.network_counts();
        let damage = self.grid.world.damage();
        for (what, count) in [
            ("connections asked for", network.connects),
            ("connections declined", network.declined),
            ("connections broken", network.broken),
            ("parcels held back by partitions", network.held),
            ("reads that waited for a grant", network.ungranted),
            ("frames in parts", network.partial),
            ("bytes through the network", network.bytes),
            ("blocks lost in power cuts", damage.blocks_lost),
            ("blocks torn in power cuts", damage.blocks_torn),
            ("names lost in power cuts", damage.names_lost),
        ] {
            counts.insert(what, count);
        }
        for (what, count) in &self.storm.counts {
            *counts.entry(what).or_default() += count;
        }
        let trace = self.grid.world.trace();
        let (hash, entries) = (Some(trace.hash()), trace.entries());
        Outcome {
            seed: plan.seed,
            wrong,
            hash,
            entries,
            time: self.grid.world.now(),
            operations: self.grid.operations.total() as u64,
            crashes: self.storm.crashes,
            crashes_in_flight: self.storm.crashes_in_flight,
            counts,
        }
    }
}
