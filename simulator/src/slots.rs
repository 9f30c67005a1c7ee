//! Mutable slots under fire: each of a few servers has [`Writer`]s that change a slot of it each, again
//! and again, while servers lose power, disks fail and connections break.
//!
//! That is a small world of its own beside the [`Grid`](crate::Grid), whose clients do not write to
//! slots by themselves.

mod writer;

use crate::chance::Chance;
use crate::disk::{Disk, DiskSettings};
use crate::form;
use crate::grid::{Identity, Role};
use crate::plan::Plan;
use crate::probes::{Counts, Probe};
use crate::record::{MarkKind, Record};
use crate::trace::TraceHash;
use crate::{Birth, Crash, NodeId, NodeSetup, World};
use core::time::Duration;
use serde::{Deserialize, Serialize};
use tallac_core::disk::StorePath;
use tallac_core::machine::{Action, Event, Machine};
use tallac_core::node::{Node, NodeConfig};
use tallac_core::operation::Command;
use tallac_core::time::{Instant, Now};
use writer::{Style, Writer};

const SERVERS: u16 = 3;
/// Slots of a server that has several, so that the power fails while more than one is being changed.
const SLOTS: u8 = 3;
/// Things that go wrong.
const FAULTS: usize = 16;
/// How long writers go on after the last fault.
const AFTER: Duration = Duration::from_secs(5);
/// How long a writer may take to look at its slot once everything is healed.
const CALM: Duration = Duration::from_secs(15 * 60);

/// Something that goes wrong in this world.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum SlotFault {
    /// A server goes down and comes back.
    Crash {
        /// Which of the three.
        server: u16,
        /// How.
        how: Crash,
        /// How long it is down.
        #[serde(with = "form::seconds")]
        down: Duration,
    },
    /// A connection breaks.
    Break {
        /// Chooses among them.
        pick: u64,
    },
    /// A server's disk is slow from now on.
    SlowDisk {
        /// Which of the three.
        server: u16,
        /// How many times as long everything takes.
        factor: u32,
    },
}

impl SlotFault {
    pub(crate) fn is_of_a_server(&self) -> bool {
        match self {
            SlotFault::Crash { server, .. } | SlotFault::SlowDisk { server, .. } => *server < SERVERS,
            SlotFault::Break { .. } => true,
        }
    }
}

/// Draws what goes wrong, and when. While a server is down nothing else does.
pub(crate) fn draw(chance: &mut Chance) -> Vec<(Duration, SlotFault)> {
    let mut at = Duration::ZERO;
    let mut fault = || {
        at += chance.duration(Duration::from_millis(200)..Duration::from_secs(4));
        let began = at;
        let server = chance.below(SERVERS.into()) as u16;
        let fault = match chance.below(8) {
            0..=4 => {
                let how = if chance.one_in(4) { Crash::Kill } else { Crash::PowerCut };
                let down = chance.duration(Duration::from_millis(50)..Duration::from_secs(3));
                at += down;
                SlotFault::Crash { server, how, down }
            }
            5 | 6 => SlotFault::Break { pick: chance.draw() },
            _ => SlotFault::SlowDisk { server, factor: 1 + chance.below(50) as u32 },
        };
        (began, fault)
    };
    core::iter::repeat_with(&mut fault).take(FAULTS).collect()
}

/// What lives in this world.
enum Party {
    Server(Box<Node>),
    Writer(Box<Writer>),
}

impl Machine for Party {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, event: Event, now: Now) {
        match self {
            Party::Server(node) => node.handle(event, now),
            Party::Writer(writer) => writer.handle(event, now),
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        match self {
            Party::Server(node) => node.poll_action(),
            Party::Writer(writer) => writer.poll_action(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Party::Server(node) => node.deadline(),
            Party::Writer(writer) => writer.deadline(),
        }
    }
}

/// What came of it.
pub(crate) struct Slots {
    pub(crate) wrong: Vec<String>,
    pub(crate) counts: Counts,
    pub(crate) hash: TraceHash,
    /// If it was asked for.
    pub(crate) record: Option<Record>,
}

/// Changes slots over the network and disks of a plan, in a storm that is drawn from its seed. `lines`
/// gets the readable trace.
pub(crate) fn run(plan: &Plan, lines: Option<Box<dyn FnMut(String)>>, records: bool) -> Slots {
    let mut storm = Storm::new(plan);
    if records {
        storm.world.keep_record();
    }
    if let Some(lines) = lines {
        storm.world.trace().tell(lines);
    }
    storm.world.nodes().for_each(|node| storm.world.start(node));
    storm.blow(&plan.slot_faults);
    storm.calm();
    storm.judge()
}

struct Storm {
    world: World<Party>,
    servers: Vec<NodeId>,
    writers: Vec<NodeId>,
}

impl Storm {
    fn new(plan: &Plan) -> Storm {
        let seed = plan.seed;
        let mut world = World::new(seed, plan.grid.network.clone());
        let (mut servers, mut writers) = (Vec::new(), Vec::new());
        for number in 0..SERVERS {
            let identity = Identity::new(seed, format!("slots{number}"));
            let config = identity.config(&plan.grid, Role::Server, Vec::new());
            let service = identity.service("storage");
            let make = move |birth: Birth| {
                let config = NodeConfig { sequence: 1 + u64::from(birth.life), ..config.clone() };
                Party::Server(Node::new(config, birth.seed, birth.now).into())
            };
            servers.push(world.add(NodeSetup {
                name: identity.name.clone(),
                pin: identity.pin(),
                disk: Disk::new(plan.grid.disk.clone(), Chance::named(seed, &identity.name)),
                make: Box::new(make),
            }));
            // One of them has slots of which parts are changed, several at once.
            let (style, slots) = if number == 1 { (Style::Patched, SLOTS) } else { (Style::Whole, 1) };
            for slot in 0..slots {
                let name = format!("writer{number}{}", ["", "b", "c"][usize::from(slot)]);
                let identity = Identity::new(seed, name);
                let chance = Chance::named(seed, &identity.name);
                let (service, network) = (service.clone(), plan.grid.network.clone());
                let disk = Disk::new(DiskSettings::default(), chance.clone());
                let make = move |_| {
                    let writer = Writer::new(service.clone(), slot, style, &network, chance.clone());
                    Party::Writer(writer.into())
                };
                let (name, pin) = (identity.name.clone(), identity.pin());
                writers.push(world.add(NodeSetup { name, pin, disk, make: Box::new(make) }));
            }
        }
        Storm { world, servers, writers }
    }

    fn until(&mut self, at: Duration) {
        while self.world.next_at().is_some_and(|next| next <= at) {
            self.world.step();
        }
        self.world.pass(at);
    }

    fn blow(&mut self, faults: &[(Duration, SlotFault)]) {
        for (at, fault) in faults {
            self.until(*at);
            self.world.remark(MarkKind::Fault, None, || format!("{fault:?}"));
            match fault {
                SlotFault::Crash { server, how, down } => {
                    let server = self.servers[usize::from(*server)];
                    self.world.crash(server, *how);
                    self.until(self.world.now() + *down);
                    self.world.start(server);
                }
                SlotFault::Break { pick } => drop(self.world.break_connection(*pick)),
                SlotFault::SlowDisk { server, factor } => {
                    self.world.slow_disk(self.servers[usize::from(*server)], *factor);
                }
            }
        }
        // Time for the last fault to be felt.
        self.until(self.world.now() + AFTER);
    }

    /// Heals everything; slots that the disk's failures have shut open with the next start.
    fn calm(&mut self) {
        for server in self.servers.clone() {
            self.world.slow_disk(server, 1);
            let settings = self.world.disk(server).settings_mut();
            (settings.sync_failures, settings.write_failures, settings.read_failures) = (0, 0, 0);
            self.world.crash(server, Crash::PowerCut);
            self.world.start(server);
        }
        for writer in self.writers.clone() {
            self.world.command(writer, Command::Stop);
        }
        let deadline = self.world.now() + CALM;
        while self.writers.iter().any(|writer| !self.writer(*writer).has_finished())
            && self.world.next_at().is_some_and(|next| next <= deadline)
        {
            self.world.step();
        }
    }

    fn judge(mut self) -> Slots {
        let mut wrong = Vec::new();
        let mut counts = Counts::default();
        for writer in &self.writers {
            let writer = self.writer(*writer);
            wrong.extend(writer.violations.iter().cloned());
            if !writer.has_finished() {
                wrong.push(format!("hangs: a slot cannot be read: {writer:?}"));
            }
            counts.merge(&writer.counts);
        }
        for server in &self.servers {
            for (path, len) in self.world.disk(*server).list() {
                if !matches!(path, StorePath::Share(..)) {
                    wrong.push(format!("{server:?} keeps {path:?} of {len} bytes"));
                }
            }
            let now = self.world.clock(*server);
            if let Some(Party::Server(node)) = self.world.machine(*server)
                && let Some(storage) = node.status(0, now).storage
            {
                counts.add(Probe::SlotsRedone, storage.slot_writes_completed);
            }
        }
        for what in &wrong {
            self.world.remark(MarkKind::Wrong, None, || what.clone());
        }
        counts.merge(&self.world.counts());
        Slots { wrong, counts, hash: self.world.trace().hash(), record: self.world.take_record() }
    }

    fn writer(&self, node: NodeId) -> &Writer {
        match self.world.machine(node) {
            Some(Party::Writer(writer)) => writer,
            _ => unreachable!("writers do not go down"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Lie;
    use crate::plan::Profile;

    #[test]
    fn slots_are_changed_and_cut_off_and_never_mixed() {
        let mut counts = Counts::default();
        for seed in 0..15 {
            let slots = run(&Plan::draw(seed, &Profile::default()), None, false);
            assert!(slots.wrong.is_empty(), "seed {seed}: {:?}", slots.wrong);
            counts.merge(&slots.counts);
        }
        for (what, least) in [
            (Probe::SlotWrites, 1_000),
            (Probe::SlotWritesCutOff, 50),
            (Probe::SlotsAsCutOff, 15),
            (Probe::SlotsAsAcknowledged, 100),
        ] {
            assert!(counts.of(what) >= least, "{what:?}: {counts:?}");
        }
    }

    #[test]
    fn a_disk_that_lies_is_found_out() {
        for lie in [Lie::NoSync, Lie::NoContentSync, Lie::NoNameSync, Lie::Late] {
            let profile = Profile { lie, ..Profile::default() };
            let lost = |seed| {
                let slots = run(&Plan::draw(seed, &profile), None, false);
                slots.wrong.iter().any(|wrong| wrong.starts_with("lost"))
            };
            assert!((0..15).any(lost), "{lie:?} passes for fifteen seeds");
        }
    }
}
