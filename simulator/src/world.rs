//! Nodes, their disks and clocks, the network between them, and the one loop that drives all.

mod drive;
mod node;
mod sleep;

use crate::chance::Chance;
use crate::disk::{Damage, Disk, Refused};
use crate::fidelity::Fidelity;
use crate::network::{End, LinkId, Network, NetworkCounts, NetworkSettings, Parcel};
use crate::probes::{Counts, Probe};
use crate::record::{Mark, MarkKind, Record};
use crate::schedule::Schedule;
use crate::stand_in;
use crate::trace::Trace;
use core::time::Duration;
use drive::step_duration;
use node::{DiskRun, Node};
use serde::{Deserialize, Serialize};
use sleep::{Asleep, Dormitory, Place};
use std::collections::{BTreeMap, VecDeque};
use tallac_core::disk::DiskStep;
use tallac_core::job::{Job, JobOutput};
use tallac_core::machine::{Action, ActionId, ConnId, Event, Machine};
use tallac_core::nurl::Pin;
use tallac_core::operation::{Command, Report};
use tallac_core::time::Now;
use tallac_core::wire::Frame;
use tallac_soft_rsa::SoftRsa;

/// A node of a world, in the order in which they were added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

impl NodeId {
    /// Its place among the nodes of its world.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a node's machine is told when it is made.
pub struct Birth {
    /// How often the node was started before.
    pub life: u32,
    /// 32 bytes of entropy of this life's own.
    pub seed: [u8; 32],
    /// The node's clocks.
    pub now: Now,
}

/// A node to add to a world.
pub struct NodeSetup<M> {
    /// Its host name: what an address of it says.
    pub name: String,
    /// The pin of its certificate.
    pub pin: Pin,
    /// Its disk.
    pub disk: Disk,
    /// Makes its machine, at each start.
    pub make: Box<dyn FnMut(Birth) -> M>,
}

/// Stands between a node and its connections: what makes an honest node a hostile one, or one of
/// another version.
pub trait Mouth {
    /// The node says something; this is what gets out, in its place.
    fn say(&mut self, frame: Frame, chance: &mut Chance) -> Vec<Frame>;

    /// Something comes in. `Some`: the node does not hear it, and this is the answer.
    fn hear(&mut self, frame: &Frame, chance: &mut Chance) -> Option<Vec<Frame>> {
        let _ = (frame, chance);
        None
    }
}

/// How a node goes down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Crash {
    /// The program is killed: the system closes its connections and keeps what it wrote.
    Kill,
    /// The power fails: nobody is told, and what was not synced may be lost.
    PowerCut,
}

/// What a step of a world was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stepped {
    /// A timer set with [`World::set_timer`].
    Timer(u64),
    /// Something between the nodes.
    Moved,
    /// There is nothing to come.
    Still,
}

/// What is to happen.
pub(crate) enum Item {
    Event { node: NodeId, life: u32, event: Box<Event> },
    Wake { node: NodeId, life: u32 },
    Call(LinkId),
    Parcel(LinkId, End, Parcel),
    Broken(LinkId, End),
    Disk { node: NodeId, life: u32, id: ActionId },
    Settle { node: NodeId, life: u32, step: DiskStep },
    Job { node: NodeId, life: u32, id: ActionId, job: Box<Job> },
    Timer(u64),
}

impl Item {
    pub(crate) fn event(node: NodeId, life: u32, event: Event) -> Item {
        Item::Event { node, life, event: Box::new(event) }
    }
}

/// Computes jobs. [`tallac_core::job::run`] is the one over real bytes.
pub type Executor = Box<dyn FnMut(Job) -> JobOutput>;

/// A grid, or several, in one thread and virtual time.
///
/// Whoever owns a world calls [`World::step`] again and again, and after each step takes the
/// reports of the nodes with [`World::poll_report`].
pub struct World<M> {
    seed: u64,
    chance: Chance,
    items: Schedule<Item>,
    nodes: Vec<Place<M>>,
    dormitory: Option<Dormitory<M>>,
    /// Who listens at a host; more than one, if machines share an identity.
    names: BTreeMap<String, Vec<NodeId>>,
    network: Network,
    trace: Trace,
    executor: Executor,
    reports: VecDeque<(NodeId, Report)>,
    damage: Damage,
    cuts_within_action: u64,
    cuts_before_name_sync: u64,
    /// Marks, if a record is kept. The network has what was said.
    marks: Option<Vec<Mark>>,
}

impl<M: Machine<Event = Event, Action = Action>> World<M> {
    /// An empty world, true to the bytes.
    pub fn new(seed: u64, network: NetworkSettings) -> World<M> {
        World::with_fidelity(seed, network, Fidelity::Bytes)
    }

    /// An empty world. Its jobs are computed as its fidelity wants it.
    pub fn with_fidelity(seed: u64, network: NetworkSettings, fidelity: Fidelity) -> World<M> {
        let executor: Executor = match fidelity {
            Fidelity::Bytes => Box::new(|job| tallac_core::job::run(job, &SoftRsa)),
            Fidelity::Protocol => Box::new(stand_in::executor(SoftRsa)),
        };
        World {
            seed,
            chance: Chance::named(seed, "world"),
            items: Schedule::new(),
            nodes: Vec::new(),
            dormitory: None,
            names: BTreeMap::new(),
            network: Network::new(network, fidelity, seed),
            trace: Trace::default(),
            executor,
            reports: VecDeque::new(),
            damage: Damage::default(),
            cuts_within_action: 0,
            cuts_before_name_sync: 0,
            marks: None,
        }
    }

    /// Computes jobs with something else than [`tallac_core::job::run`].
    pub fn set_executor(&mut self, executor: Executor) {
        self.executor = executor;
    }

    /// The record of all that happened.
    pub fn trace(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// Keeps a record of what happens from now on.
    pub fn keep_record(&mut self) {
        self.marks = Some(Vec::new());
        self.network.record = Some(Record::default());
    }

    /// The record, if one was kept; it ends here.
    pub fn take_record(&mut self) -> Option<Record> {
        let mut record = self.network.record.take()?;
        record.marks = self.marks.take().unwrap_or_default();
        record.names = self.nodes().map(|node| self.name_of(node)).collect();
        Some(record)
    }

    /// The time since the world began.
    pub fn now(&self) -> Duration {
        self.items.now()
    }

    /// When the next thing happens.
    pub fn next_at(&self) -> Option<Duration> {
        self.items.peek()
    }

    /// Adds a node, which does not run yet.
    pub fn add(&mut self, setup: NodeSetup<M>) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.names.entry(setup.name.clone()).or_default().push(id);
        self.nodes.push(Place::Here(Box::new(Node::new(setup, self.seed))));
        id
    }

    /// The nodes of this world.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<M> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// The name of a node.
    pub fn name(&self, node: NodeId) -> String {
        self.name_of(node)
    }

    /// The machine of a node, while it runs. One that nobody has needed yet is not there.
    pub fn machine(&self, node: NodeId) -> Option<&M> {
        self.node(node)?.machine.as_ref()
    }

    /// The disk of a node.
    pub fn disk(&mut self, node: NodeId) -> &mut Disk {
        &mut self.node_mut(node).disk
    }

    /// How many of a node's disk actions are under way.
    pub fn disk_runs(&self, node: NodeId) -> usize {
        self.node(node).map_or(0, |node| node.disk_runs.len())
    }

    /// A node's clocks.
    pub fn clock(&self, node: NodeId) -> Now {
        match &self.nodes[node.index()] {
            Place::Here(node) => node.clock(self.now()),
            Place::Asleep(_) => node::first_clock(self.seed, &self.name_of(node), self.now()),
        }
    }

    /// Sets a node's date this many seconds off; its monotonic clock goes on undisturbed.
    pub fn set_skew(&mut self, node: NodeId, seconds: i64) {
        self.node_mut(node).skew = seconds;
    }

    /// How many times as long as usual a node's disk takes.
    pub fn slow_disk(&mut self, node: NodeId, factor: u32) {
        self.node_mut(node).disk_factor = factor.max(1);
    }

    /// How often what rare thing happened in it.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        let NetworkCounts { connects, declined, broken, held, ungranted, partial, bytes } =
            self.network.counts;
        let Damage { blocks_lost, blocks_torn, names_lost, shares_torn: _ } = self.damage;
        for (probe, times) in [
            (Probe::Connects, connects),
            (Probe::Declined, declined),
            (Probe::Broken, broken),
            (Probe::Held, held),
            (Probe::Ungranted, ungranted),
            (Probe::InParts, partial),
            (Probe::NetworkBytes, bytes),
            (Probe::BlocksLost, blocks_lost),
            (Probe::BlocksTorn, blocks_torn),
            (Probe::NamesLost, names_lost),
            (Probe::CutsWithinAction, self.cuts_within_action),
            (Probe::CutsBeforeNameSync, self.cuts_before_name_sync),
        ] {
            counts.add(probe, times);
        }
        for node in self.nodes().filter_map(|node| self.node(node)) {
            let Refused { syncs, writes, full, reads, short, misdirected } = node.disk.refused();
            counts.add(Probe::ReadsFailed, reads);
            counts.add(Probe::ReadsCutShort, short);
            counts.add(Probe::Misdirected, misdirected);
            counts.add(Probe::SyncsFailed, syncs);
            counts.add(Probe::WritesFailed, writes);
            counts.add(Probe::WritesFull, full);
        }
        counts
    }

    /// What the network did.
    pub fn network_counts(&self) -> NetworkCounts {
        self.network.counts
    }

    /// How many connections a node has, made and accepted.
    pub fn connections(&self, node: NodeId) -> usize {
        self.network.count(node)
    }

    /// What power cuts did to disks.
    pub fn damage(&self) -> Damage {
        self.damage
    }

    /// The next report of a node to its embedding program.
    pub fn poll_report(&mut self) -> Option<(NodeId, Report)> {
        self.reports.pop_front()
    }

    /// Has [`Stepped::Timer`] come out of [`World::step`] after a while.
    pub fn set_timer(&mut self, pause: Duration, timer: u64) {
        self.items.after(pause, Item::Timer(timer));
    }

    /// Gives a node a command, if it runs.
    pub fn command(&mut self, node: NodeId, command: Command) {
        let life = self.node_mut(node).life;
        self.items.after(Duration::ZERO, Item::event(node, life, Event::Command(command)));
    }

    /// Whether a node runs (or is paused).
    pub fn is_up(&self, node: NodeId) -> bool {
        match &self.nodes[node.index()] {
            Place::Here(node) => node.machine.is_some(),
            Place::Asleep(asleep) => matches!(asleep, Asleep::Up { .. }),
        }
    }

    /// Starts a node that does not run.
    pub fn start(&mut self, node: NodeId) {
        if self.is_up(node) {
            return;
        }
        self.remark(MarkKind::Up, Some(node), || format!("start {node:?}"));
        if let Place::Asleep(_) = self.nodes[node.index()] {
            self.start_asleep(node);
            return self.network.back(node, &mut self.items);
        }
        let now = self.now();
        self.node_mut(node).start(now);
        self.network.back(node, &mut self.items);
        self.take_actions(node);
    }

    /// Ends a node without asking it.
    pub fn crash(&mut self, node: NodeId, crash: Crash) {
        self.rouse(node);
        if crash == Crash::PowerCut {
            self.note_cut(node);
        }
        if self.node_mut(node).stop().is_none() {
            return;
        }
        self.remark(MarkKind::Down, Some(node), || format!("crash {node:?} ({crash:?})"));
        let told = crash == Crash::Kill;
        self.node_mut(node).silent = !told;
        self.network.died(node, told, &mut self.items);
        if crash == Crash::PowerCut {
            let Damage { blocks_lost, blocks_torn, names_lost, shares_torn } =
                self.node_mut(node).disk.power_cut();
            self.damage.shares_torn += shares_torn;
            self.damage.blocks_lost += blocks_lost;
            self.damage.blocks_torn += blocks_torn;
            self.damage.names_lost += names_lost;
        }
    }

    /// Looks how far a node's disk actions are when its power fails.
    fn note_cut(&mut self, node: NodeId) {
        let Some(entry) = self.node(node) else { return };
        let runs = entry.disk_runs.values().filter(|run| run.done > 0);
        let cut: Vec<bool> =
            runs.filter_map(|run| Some(matches!(run.steps.front()?, DiskStep::SyncName(_)))).collect();
        self.cuts_within_action += cut.len() as u64;
        self.cuts_before_name_sync += cut.iter().filter(|before_name_sync| **before_name_sync).count() as u64;
    }

    /// A node's program stands still, as if the system had stopped it.
    pub fn pause(&mut self, node: NodeId) {
        self.remark(MarkKind::Paused, Some(node), || format!("pause {node:?}"));
        self.node_mut(node).paused = true;
    }

    /// A paused node goes on.
    pub fn resume(&mut self, node: NodeId) {
        if core::mem::take(&mut self.node_mut(node).paused) {
            self.remark(MarkKind::Resumed, Some(node), || format!("resume {node:?}"));
        }
        for item in core::mem::take(&mut self.node_mut(node).frozen) {
            self.items.after(Duration::ZERO, item);
        }
        self.plan_wake(node);
    }

    /// Nothing gets from `from` to `to` until [`World::heal`].
    pub fn block(&mut self, from: NodeId, to: NodeId) {
        self.remark(MarkKind::Fault, Some(from), || format!("block {from:?} to {to:?}"));
        self.network.block(from, to);
    }

    /// Separates a set of nodes from the others, in both directions.
    pub fn partition(&mut self, apart: &[NodeId]) {
        for a in self.nodes() {
            for b in self.nodes() {
                if apart.contains(&a) != apart.contains(&b) {
                    self.network.block(a, b);
                }
            }
        }
        self.remark(MarkKind::Fault, None, || format!("partition {apart:?}"));
    }

    /// Every node reaches every other again.
    pub fn heal(&mut self) {
        self.remark(MarkKind::Fault, None, || "heal".into());
        self.network.heal(&mut self.items);
    }

    /// Nothing gets from a node to any other, nor back, until [`World::rejoin`] or [`World::heal`].
    pub fn isolate(&mut self, node: NodeId) {
        self.remark(MarkKind::Fault, Some(node), || format!("isolate {node:?}"));
        for other in self.nodes().filter(|other| *other != node) {
            self.network.block(node, other);
            self.network.block(other, node);
        }
    }

    /// A node reaches every other again, and they it.
    pub fn rejoin(&mut self, node: NodeId) {
        self.remark(MarkKind::Fault, Some(node), || format!("rejoin {node:?}"));
        self.network.rejoin(node, &mut self.items);
    }

    /// A node sends one byte at a time with this pause after each; as usual again, without one.
    pub fn drip(&mut self, node: NodeId, pause: Option<Duration>) {
        self.remark(MarkKind::Fault, Some(node), || format!("{node:?} sends a byte each {pause:?}"));
        self.network.drip(node, pause);
    }

    /// Puts something between a node and its connections, for good.
    pub fn set_mouth(&mut self, node: NodeId, mouth: Box<dyn Mouth>) {
        self.network.alter(node);
        self.node_mut(node).mouth = Some(mouth);
    }

    /// Has a node be somebody else from its next start on. Its host name and disk stay.
    pub fn replace(&mut self, node: NodeId, pin: Pin, make: Box<dyn FnMut(Birth) -> M>) {
        self.node_mut(node).replace(pin, make);
    }

    /// The connections of a node that stand, and who is at the other end.
    pub fn standing(&self, node: NodeId) -> Vec<(ConnId, NodeId)> {
        self.network.standing(node)
    }

    /// Sends a frame on a connection that stands, as if the machine of a node with a [`Mouth`] had.
    pub fn inject(&mut self, node: NodeId, conn: ConnId, frame: &Frame) {
        self.network.send(node, conn, frame.clone(), &mut self.items);
    }

    /// Breaks one of the connections that stand. `false` if there is none.
    pub fn break_connection(&mut self, pick: u64) -> bool {
        self.remark(MarkKind::Fault, None, || "break a connection".into());
        self.network.break_one(pick, &mut self.items)
    }

    /// Goes on to the next thing and lets it happen.
    pub fn step(&mut self) -> Stepped {
        let Some(item) = self.items.pop() else { return Stepped::Still };
        match item {
            Item::Timer(timer) => return Stepped::Timer(timer),
            Item::Event { node, life, event } => self.deliver(node, life, *event),
            Item::Wake { node, life } => self.wake(node, life),
            Item::Call(id) => self.call(id),
            Item::Parcel(id, end, parcel) => self.parcel(id, end, parcel),
            Item::Broken(id, end) => self.network.learn_broken(id, end, &mut self.items),
            Item::Disk { node, life, id } => self.disk_step(node, life, id),
            Item::Settle { node, life, step } => {
                if self.lives(node, life) {
                    self.node_mut(node).disk.settle(&step);
                }
            }
            Item::Job { node, life, id, job } => {
                if self.lives(node, life) {
                    let output = (self.executor)(*job);
                    self.deliver(node, life, Event::JobDone { id, output });
                }
            }
        }
        Stepped::Moved
    }

    /// Lets time pass until `at`, before which nothing may be left to happen.
    pub(crate) fn pass(&mut self, at: Duration) {
        self.items.pass(at);
    }

    /// Notes something about the world rather than what a machine does.
    pub(crate) fn remark(&mut self, kind: MarkKind, node: Option<NodeId>, text: impl Fn() -> String) {
        let at = self.now();
        self.trace.remark(at, &text);
        if let Some(marks) = &mut self.marks {
            marks.push(Mark { at, kind, node, text: text() });
        }
    }

    /// A node, if it is there.
    fn node(&self, node: NodeId) -> Option<&Node<M>> {
        match &self.nodes[node.index()] {
            Place::Here(node) => Some(node),
            Place::Asleep(_) => None,
        }
    }

    /// A node, which is made if it is not there yet.
    fn node_mut(&mut self, node: NodeId) -> &mut Node<M> {
        self.rouse(node);
        here(&mut self.nodes, node)
    }

    /// Whether a node still lives this life.
    fn lives(&self, node: NodeId, life: u32) -> bool {
        self.node(node).is_some_and(|node| node.life == life && node.machine.is_some())
    }
}

/// A node to which something happens: so it is there.
fn here<M>(nodes: &mut [Place<M>], node: NodeId) -> &mut Node<M> {
    match &mut nodes[node.index()] {
        Place::Here(node) => node,
        Place::Asleep(_) => unreachable!("nothing happens to a node that sleeps"),
    }
}
