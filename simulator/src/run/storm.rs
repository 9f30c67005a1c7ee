//! The stormy part of a run: steps of the plan, and what must follow them.

use super::harm::Harm;
use crate::chance::Chance;
use crate::plan::{Plan, STORM, Step, Who};
use crate::probes::{Counts, Probe};
use crate::record::MarkKind;
use crate::{Crash, Grid, NodeId};
use core::time::Duration;
use tallac_core::capability::Capability;
use tallac_core::disk::StorePath;
use tallac_core::storage_index::StorageIndex;

/// Timers below this are steps of the plan.
const AFTERMATH: u64 = 1 << 32;

/// What a fault leaves to be done.
#[derive(Clone, Debug)]
enum Aftermath {
    Start(NodeId),
    Resume(NodeId),
    Heal,
    QuickDisk(NodeId),
    EmptyDisk(NodeId, u64),
    WholeReads(NodeId),
    Isolate(NodeId),
    Rejoin(NodeId),
    Undrip(NodeId),
    /// A step that could not be done yet.
    Again(Step),
}

pub(super) struct Storm {
    aftermaths: Vec<Aftermath>,
    blackout_at_ack: Option<(u64, Duration)>,
    partitions: u64,
    /// Servers, a bit each, that may lose shares.
    fallible: u64,
    /// The harm that needs more than the world: copies of disks, other identities, hostile nodes.
    harm: Harm,
    pub(super) crashes: u64,
    pub(super) crashes_in_flight: u64,
    pub(super) counts: Counts,
}

impl Storm {
    pub(super) fn new(plan: &Plan) -> Storm {
        Storm {
            aftermaths: Vec::new(),
            blackout_at_ack: None,
            partitions: 0,
            fallible: plan.fallible,
            harm: Harm::new(plan),
            crashes: 0,
            crashes_in_flight: 0,
            counts: Counts::default(),
        }
    }

    /// Adds the nodes that only the harm needs.
    pub(super) fn prepare(&mut self, plan: &Plan, grid: &mut Grid) {
        self.harm.prepare(plan, grid);
    }

    /// Performs the plan until its last step, or until the time is over.
    pub(super) fn run(&mut self, plan: &Plan, grid: &mut Grid) {
        for (index, (at, _)) in plan.steps.iter().enumerate() {
            grid.world.set_timer(*at, index as u64);
        }
        loop {
            let until = grid.world.next_at().map_or(STORM, |next| next.min(STORM));
            match grid.run_until(until) {
                Some(timer) if timer >= AFTERMATH => self.follow((timer - AFTERMATH) as usize, grid),
                Some(timer) => self.perform(&plan.steps[timer as usize].1, grid),
                None if until >= STORM => return,
                None => {}
            }
            if let Some((acks, down)) = self.blackout_at_ack
                && grid.operations.acks() > acks
            {
                self.blackout_at_ack = None;
                self.count(Probe::BlackoutsAtAck);
                self.blackout(down, grid);
            }
        }
    }

    /// Ends the faults of all nodes but some servers, and has those stay as they are or worse.
    pub(super) fn heal_core(&mut self, plan: &Plan, grid: &mut Grid) -> Vec<NodeId> {
        let is_frozen = |number: usize| number < 64 && plan.frozen >> number & 1 == 1;
        let servers = grid.servers.clone().into_iter().enumerate();
        let frozen: Vec<NodeId> = servers.filter(|(number, _)| is_frozen(*number)).map(|(_, n)| n).collect();
        let down: Vec<NodeId> = frozen.iter().copied().filter(|node| !grid.world.is_up(*node)).collect();
        if frozen.is_empty() {
            return frozen;
        }
        self.heal(grid);
        let mut chance = Chance::named(plan.seed, "frozen");
        for node in frozen.iter().copied() {
            self.count(Probe::FrozenServers);
            match chance.below(4) {
                _ if down.contains(&node) => drop(grid.crash(node, Crash::PowerCut)),
                0 => grid.world.pause(node),
                1 => grid.world.isolate(node),
                2 => grid.world.slow_disk(node, 1_000),
                _ => drop(grid.crash(node, Crash::Kill)),
            }
        }
        frozen
    }

    /// How often what harm was done.
    pub(super) fn all_counts(&self) -> Counts {
        let mut counts = self.counts.clone();
        counts.merge(&self.harm.tally.borrow());
        counts
    }

    /// Whether shares under this storage index may be of a hostile client.
    pub(super) fn is_squatted(&self, index: &StorageIndex) -> bool {
        self.harm.squatted.contains(index)
    }

    /// Ends every fault.
    pub(super) fn heal(&mut self, grid: &mut Grid) {
        grid.world.heal();
        for node in grid.world.nodes().collect::<Vec<_>>() {
            grid.world.slow_disk(node, 1);
            let settings = grid.world.disk(node).settings_mut();
            (settings.capacity, settings.sync_failures, settings.write_failures) = (1 << 40, 0, 0);
            (settings.read_failures, settings.short_reads) = (0, 0);
            grid.world.drip(node, None);
            grid.world.resume(node);
            let now = grid.world.clock(node);
            let storage = grid.world.machine(node).and_then(|machine| machine.status(0, now).storage);
            if storage.is_some_and(|storage| storage.slots_shut > 0) {
                // What a failing disk has shut opens with the next start.
                self.count(Probe::SlotsShut);
                grid.crash(node, Crash::Kill);
            }
        }
        grid.start_all();
    }

    fn count(&mut self, what: Probe) {
        self.counts.add(what, 1);
    }

    fn later(&mut self, pause: Duration, aftermath: Aftermath, grid: &mut Grid) {
        grid.world.set_timer(pause, AFTERMATH + self.aftermaths.len() as u64);
        self.aftermaths.push(aftermath);
    }

    fn follow(&mut self, index: usize, grid: &mut Grid) {
        match self.aftermaths[index].clone() {
            Aftermath::Start(node) => grid.world.start(node),
            Aftermath::Resume(node) => grid.world.resume(node),
            Aftermath::Heal => {
                self.partitions -= 1;
                if self.partitions == 0 {
                    grid.world.heal();
                }
            }
            Aftermath::QuickDisk(node) => grid.world.slow_disk(node, 1),
            Aftermath::EmptyDisk(node, capacity) => grid.world.disk(node).settings_mut().capacity = capacity,
            Aftermath::WholeReads(node) => grid.world.disk(node).settings_mut().short_reads = 0,
            Aftermath::Isolate(node) => grid.world.isolate(node),
            Aftermath::Rejoin(node) => grid.world.rejoin(node),
            Aftermath::Undrip(node) => grid.world.drip(node, None),
            Aftermath::Again(step) => self.perform(&step, grid),
        }
    }

    fn perform(&mut self, step: &Step, grid: &mut Grid) {
        let kind = match step {
            Step::Put { .. } | Step::Get { .. } | Step::Cancel { .. } => MarkKind::Operation,
            Step::Make { .. } | Step::Alter { .. } | Step::Look { .. } => MarkKind::Operation,
            _ => MarkKind::Fault,
        };
        grid.world.remark(kind, None, || format!("{step:?}"));
        match step {
            Step::Put { client, seed, len, key, tell_len } => {
                let client = grid.clients[usize::from(*client)];
                if !grid.world.is_up(client) {
                    return self.later(Duration::from_secs(1), Aftermath::Again(step.clone()), grid);
                }
                let content = grid.content(*seed, *len);
                grid.operations.put(&mut grid.world, client, content, *key, *tell_len);
            }
            Step::Get { client, pick, whole } => self.get(step, *client, *pick, *whole, grid),
            Step::Make { client, .. } | Step::Alter { client, .. } | Step::Look { client, .. } => {
                let client = grid.clients[usize::from(*client)];
                let (world, changes) = (&mut grid.world, &mut grid.changes);
                let begun = world.is_up(client)
                    && match step {
                        Step::Make { thing, format, seed, len, .. } => {
                            changes.make(world, client, *thing, *format, (*seed, *len));
                            true
                        }
                        Step::Alter { pick, how, seed, len, .. } => {
                            changes.alter(world, client, *pick, *how, (*seed, *len)).is_some()
                        }
                        Step::Look { pick, .. } => changes.look(world, client, *pick).is_some(),
                        _ => true,
                    };
                if !begun {
                    self.later(Duration::from_secs(1), Aftermath::Again(step.clone()), grid);
                }
            }
            Step::Cancel { client, pick } => {
                let client = grid.clients[usize::from(*client)];
                let mut open = grid.operations.open_on(client);
                open.extend(grid.changes.open_on(client));
                if !open.is_empty() {
                    let id = open[(*pick % open.len() as u64) as usize];
                    grid.operations.cancel(&mut grid.world, id);
                    grid.changes.cancel(&mut grid.world, id);
                }
            }
            Step::Crash { who, how, down } => {
                let node = node_of(*who, grid);
                self.crash(node, *how, *down, grid);
            }
            Step::Blackout { down } => self.blackout(*down, grid),
            Step::BlackoutAtAck { down } => self.blackout_at_ack = Some((grid.operations.acks(), *down)),
            Step::Pause { who, pause } => {
                let node = node_of(*who, grid);
                if grid.world.is_up(node) {
                    self.count(Probe::Pauses);
                    grid.world.pause(node);
                    self.later(*pause, Aftermath::Resume(node), grid);
                }
            }
            Step::Break { count, pick } => {
                for index in 0..*count {
                    grid.world.break_connection(pick.wrapping_add(index.wrapping_mul(0x9e37_79b9)));
                }
            }
            Step::Partition { sides, one_way, pause } => {
                self.count(if *one_way { Probe::PartitionsOneWay } else { Probe::Partitions });
                self.partitions += 1;
                let apart = |node: NodeId| (sides >> (node.0 % 64)) & 1 == 1;
                for from in grid.world.nodes() {
                    for to in grid.world.nodes() {
                        if apart(from) != apart(to) && (!one_way || apart(from)) {
                            grid.world.block(from, to);
                        }
                    }
                }
                self.later(*pause, Aftermath::Heal, grid);
            }
            Step::SlowDisk { server, factor, pause } => {
                let node = grid.servers[usize::from(*server)];
                self.count(Probe::SlowDisks);
                grid.world.slow_disk(node, *factor);
                self.later(*pause, Aftermath::QuickDisk(node), grid);
            }
            Step::FullDisks { sides, room, pause } => {
                let servers = grid.servers.clone().into_iter().enumerate();
                for (_, node) in servers.filter(|(number, _)| sides >> (number % 64) & 1 == 1) {
                    self.count(Probe::FullDisks);
                    let disk = grid.world.disk(node);
                    let full = disk.used() + room;
                    let before = core::mem::replace(&mut disk.settings_mut().capacity, full);
                    self.later(*pause, Aftermath::EmptyDisk(node, before), grid);
                }
            }
            Step::Skew { who, seconds } => {
                let node = node_of(*who, grid);
                self.count(Probe::Skews);
                grid.world.set_skew(node, *seconds);
            }
            Step::Rot { pick } => self.rot(*pick, grid, |content, pick| {
                let at = (pick >> 24) as usize % content.len();
                content[at] ^= 1 << (pick >> 60 & 7);
                Probe::Rotten
            }),
            Step::CutShort { pick } => self.rot(*pick, grid, |content, pick| {
                content.truncate((pick >> 24) as usize % content.len());
                Probe::SharesCutShort
            }),
            Step::ShortReads { server, one_in, pause } => {
                let node = grid.servers[usize::from(*server)];
                grid.world.disk(node).settings_mut().short_reads = *one_in;
                self.later(*pause, Aftermath::WholeReads(node), grid);
            }
            Step::Swizzle { sides, gap } => {
                let nodes: Vec<NodeId> =
                    grid.world.nodes().filter(|node| sides >> (node.0 % 64) & 1 == 1).collect();
                let mut chance = Chance::new(*sides);
                for (index, node) in nodes.iter().enumerate() {
                    self.count(Probe::Swizzles);
                    self.later(*gap * index as u32, Aftermath::Isolate(*node), grid);
                    let back = nodes.len() as u64 + chance.below(nodes.len() as u64);
                    self.later(*gap * back as u32, Aftermath::Rejoin(*node), grid);
                }
            }
            Step::Drip { server, pause } => {
                let node = grid.servers[usize::from(*server)];
                self.count(Probe::Drips);
                grid.world.drip(node, Some(Duration::from_secs(60)));
                self.later(*pause, Aftermath::Undrip(node), grid);
            }
            Step::Restore { server, down }
            | Step::LoseDisk { server, down }
            | Step::LoseIdentity { server, down } => {
                let node = grid.servers[usize::from(*server)];
                self.crash(node, Crash::Kill, *down, grid);
                let harmed = if grid.world.is_up(node) { None } else { self.harm.change(step, node, grid) };
                harmed.into_iter().for_each(|probe| self.count(probe));
            }
            other => {
                let harmed = self.harm.begin(other, grid);
                harmed.into_iter().for_each(|probe| self.count(probe));
            }
        }
    }

    fn get(&mut self, step: &Step, client: u16, pick: u64, whole: bool, grid: &mut Grid) {
        let client = grid.clients[usize::from(client)];
        let files = grid.operations.files();
        if !grid.world.is_up(client) || files.is_empty() {
            return self.later(Duration::from_secs(1), Aftermath::Again(step.clone()), grid);
        }
        let file = files[(pick % files.len() as u64) as usize].clone();
        let len = file.content.len();
        let (from, to) = ((pick >> 20) % (len + 1), (pick >> 40) % (len + 1));
        let range = if whole { 0..len } else { from.min(to)..from.max(to) };
        grid.operations.get(&mut grid.world, client, &file, range);
    }

    fn crash(&mut self, node: NodeId, how: Crash, down: Duration, grid: &mut Grid) {
        if !grid.world.is_up(node) {
            return;
        }
        let now = grid.world.clock(node);
        let storage = grid.world.machine(node).and_then(|machine| machine.status(0, now).storage);
        let at_work = storage.is_some_and(|s| s.shares_in_progress > 0 || s.requests > s.answers);
        let hit = grid.crash(node, how) > 0 || (at_work && grid.operations.under_way() > 0);
        self.crashes += 1;
        self.crashes_in_flight += u64::from(hit);
        self.later(down, Aftermath::Start(node), grid);
    }

    fn blackout(&mut self, down: Duration, grid: &mut Grid) {
        self.count(Probe::Blackouts);
        for node in grid.servers.clone() {
            self.crash(node, Crash::PowerCut, down, grid);
        }
    }

    /// Harms a whole share on a server that may lose shares.
    fn rot(&mut self, pick: u64, grid: &mut Grid, harm: impl FnOnce(&mut Vec<u8>, u64) -> Probe) {
        let files = grid.operations.files().iter();
        let caps: Vec<StorageIndex> = files
            .filter(|file| matches!(file.cap, Capability::Chk(_)))
            .filter_map(|file| file.cap.storage_index())
            .collect();
        let may_lose = |number: &usize| *number < 64 && self.fallible >> number & 1 == 1;
        let servers: Vec<usize> = (0..grid.servers.len()).filter(may_lose).collect();
        if caps.is_empty() || servers.is_empty() {
            return;
        }
        let index = caps[(pick % caps.len() as u64) as usize];
        let server = grid.servers[servers[((pick >> 16) % servers.len() as u64) as usize]];
        let disk = grid.world.disk(server);
        let is_of_file = |path: &&StorePath| matches!(path, StorePath::Share(i, _) if *i == index);
        let Some(path) = disk.list().map(|(path, _)| path).find(is_of_file).cloned() else { return };
        let mut content = disk.content(&path).expect("just listed").to_vec();
        let probe = harm(&mut content, pick);
        disk.tamper(&path, Some(content));
        self.count(probe);
    }
}

pub(super) fn node_of(who: Who, grid: &Grid) -> NodeId {
    match who {
        Who::Introducer(n) => grid.introducers[usize::from(n)],
        Who::Server(n) => grid.servers[usize::from(n)],
        Who::Client(n) => grid.clients[usize::from(n)],
    }
}
