//! Handing events to machines and carrying out what they ask for.

use super::*;
use crate::disk::Lie;
use tallac_core::disk::DiskFailure;
use tallac_core::machine::{CloseReason, ConnId, Protocol};

/// A machine that wakes this often without time going on will do so for ever.
const SPINS_MAX: u32 = 1_000;
/// How long a lying disk takes to do what it reported done.
const LATE: core::ops::Range<Duration> = Duration::from_secs(5)..Duration::from_secs(30);

impl<M: Machine<Event = Event, Action = Action>> World<M> {
    /// Hands an event to a machine, unless it is not the one the event is for.
    pub(super) fn deliver(&mut self, node: NodeId, life: u32, event: Event) {
        let entry = here(&mut self.nodes, node);
        if entry.life != life || entry.machine.is_none() {
            return;
        }
        if entry.paused {
            entry.frozen.push(Item::event(node, life, event));
            return;
        }
        let at = self.items.now();
        let now = entry.clock(at);
        self.trace.record(at, node, &event, "<");
        if let Event::Frame { conn, frame } = &event {
            self.trace.explain(frame);
            if let Some(mouth) = &mut entry.mouth
                && let Some(answers) = mouth.hear(frame, &mut self.chance)
            {
                for answer in answers {
                    self.network.send(node, *conn, answer, &mut self.items);
                }
                return;
            }
        }
        entry.machine.as_mut().expect("looked at above").handle(event, now);
        self.take_actions(node);
    }

    pub(super) fn wake(&mut self, node: NodeId, life: u32) {
        let at = self.items.now();
        let entry = here(&mut self.nodes, node);
        if entry.life != life || entry.wake_at != Some(at) {
            return;
        }
        if entry.paused {
            // Found due when the node goes on.
            entry.wake_at = None;
            return;
        }
        entry.wake_at = None;
        let Some(deadline) = entry.machine.as_ref().and_then(Machine::deadline) else { return };
        if entry.world_time(deadline) > at {
            return self.plan_wake(node);
        }
        entry.spins = if entry.spins.0 == at { (at, entry.spins.1 + 1) } else { (at, 0) };
        assert!(entry.spins.1 < SPINS_MAX, "{}: its deadline stays in the past", entry.name);
        self.deliver(node, life, Event::Wake);
    }

    /// Takes every action of a machine and begins it, then plans the next wake-up.
    pub(super) fn take_actions(&mut self, node: NodeId) {
        let at = self.items.now();
        while let Some(action) = self.node_mut(node).machine.as_mut().and_then(Machine::poll_action) {
            self.trace.record(at, node, &action, ">");
            if let Action::Send { frame, .. } = &action {
                self.trace.explain(frame);
            }
            self.begin(node, action);
        }
        self.plan_wake(node);
    }

    pub(super) fn plan_wake(&mut self, node: NodeId) {
        let now = self.items.now();
        let entry = here(&mut self.nodes, node);
        let Some(deadline) = entry.machine.as_ref().and_then(Machine::deadline) else { return };
        let at = entry.world_time(deadline).max(now);
        if entry.wake_at.is_none_or(|planned| at < planned) {
            entry.wake_at = Some(at);
            let life = entry.life;
            self.items.at(at, Item::Wake { node, life });
        }
    }

    fn begin(&mut self, node: NodeId, action: Action) {
        let life = here(&mut self.nodes, node).life;
        let (network, items) = (&mut self.network, &mut self.items);
        match action {
            Action::Connect { conn, address, pin } => {
                let sleeper = self.dormitory.as_ref().and_then(|nodes| nodes.find(&address.host));
                let others = self.names.get(&address.host).map_or(&[][..], Vec::as_slice);
                let to = match (sleeper, others) {
                    (None, []) => None,
                    (Some(only), []) | (None, &[only]) => Some(only),
                    (sleeper, others) => {
                        let all: Vec<NodeId> = sleeper.iter().chain(others).copied().collect();
                        Some(*self.chance.pick(&all))
                    }
                };
                network.connect((node, life), to, conn, pin, items);
            }
            Action::Send { conn, frame } => match &mut here(&mut self.nodes, node).mouth {
                None => network.send(node, conn, frame, items),
                Some(mouth) => {
                    // It is to believe that what it said went out.
                    let sent = Event::Sent { conn, bytes: frame.len() };
                    items.after(Duration::ZERO, Item::event(node, life, sent));
                    for frame in mouth.say(frame, &mut self.chance) {
                        network.send(node, conn, frame, items);
                    }
                }
            },
            Action::SendBytes { .. } => panic!("nobody connects to a web port here"),
            Action::Grant { conn, bytes } => network.grant(node, conn, bytes, items),
            Action::Close { conn } => network.close(node, conn, items),
            Action::Abort { conn } => network.abort(node, conn, items),
            Action::Disk { id, steps } => {
                let run = DiskRun { steps: steps.into(), done: 0, outputs: Vec::new() };
                let before = self.node_mut(node).disk_runs.insert(id, run);
                assert!(before.is_none(), "an action's number is used once");
                self.plan_disk(node, life, id);
            }
            Action::Job { id, job } => {
                let pause = job_duration(&job);
                items.after(pause, Item::Job { node, life, id, job: Box::new(job) });
            }
            Action::Report(report) => self.reports.push_back((node, report)),
        }
    }

    fn plan_disk(&mut self, node: NodeId, life: u32, id: ActionId) {
        let entry = here(&mut self.nodes, node);
        let Some(run) = entry.disk_runs.get(&id) else { return };
        let pause = step_duration(&mut self.chance, run.steps.front()) * entry.disk_factor;
        self.items.after(pause, Item::Disk { node, life, id });
    }

    /// The next step of a disk action takes effect.
    pub(super) fn disk_step(&mut self, node: NodeId, life: u32, id: ActionId) {
        let entry = here(&mut self.nodes, node);
        if entry.life != life {
            return;
        }
        let Some(run) = entry.disk_runs.get_mut(&id) else { return };
        if entry.paused {
            entry.frozen.push(Item::Disk { node, life, id });
            return;
        }
        let mut failure = None;
        if let Some(step) = run.steps.pop_front() {
            let is_sync = matches!(step, DiskStep::Sync(_) | DiskStep::SyncName(_));
            if is_sync && entry.disk.settings_mut().lie == Lie::Late {
                let pause = self.chance.duration(LATE);
                self.items.after(pause, Item::Settle { node, life, step: step.clone() });
            }
            match entry.disk.run(step) {
                Ok(output) => run.outputs.extend(output),
                Err(error) => failure = Some(DiskFailure { step: run.done, error }),
            }
            run.done += 1;
        }
        if failure.is_none() && !run.steps.is_empty() {
            return self.plan_disk(node, life, id);
        }
        let run = entry.disk_runs.remove(&id).expect("looked at above");
        let result = failure.map_or(Ok(run.outputs), Err);
        self.deliver(node, life, Event::DiskDone { id, result });
    }

    /// A call reaches the node that is called.
    pub(super) fn call(&mut self, id: LinkId) {
        let Some((callee, pin)) = self.network.call(id) else { return };
        self.rouse(callee);
        let entry = here(&mut self.nodes, callee);
        if entry.paused {
            entry.frozen.push(Item::Call(id));
        } else if entry.machine.is_none() && entry.silent {
            self.network.hold_call(id);
        } else if entry.machine.is_none() {
            self.network.decline(id, CloseReason::Refused, &mut self.items);
        } else if entry.pin != pin {
            self.network.decline(id, CloseReason::WrongKey, &mut self.items);
        } else {
            let conn = ConnId::Inbound(entry.next_inbound);
            entry.next_inbound += 1;
            let life = entry.life;
            let caller = self.network.accept(id, conn, life, &mut self.items);
            let from = self.name_of(caller);
            self.deliver(callee, life, Event::Accepted { conn, protocol: Protocol::Tallac, from });
        }
    }

    pub(super) fn parcel(&mut self, id: LinkId, end: End, parcel: Parcel) {
        let Some(at) = self.network.node_at(id, end) else { return };
        let up = self.is_up(at);
        self.network.arrive(id, end, parcel, up, &mut self.items);
    }
}

/// How long a step on a disk takes, or to find that there is none.
pub(super) fn step_duration(chance: &mut Chance, step: Option<&DiskStep>) -> Duration {
    Duration::from_micros(match step {
        None => 1,
        Some(DiskStep::Sync(_) | DiskStep::SyncName(_) | DiskStep::Replace(..) | DiskStep::Make(..)) => {
            chance.within(500..10_000)
        }
        Some(DiskStep::Write { data, .. }) => chance.within(20..500) + data.len() / 500,
        Some(DiskStep::Read { len, .. }) => chance.within(20..2_000) + len.min(&(1 << 22)) / 500,
        Some(_) => chance.within(10..300),
    })
}

/// How long a job keeps a processor busy.
fn job_duration(job: &Job) -> Duration {
    let bytes = match job {
        Job::Hash { data, .. } => data.iter().map(|piece| piece.len()).sum(),
        Job::EncodeSegment { plaintext, .. } => 4 * plaintext.iter().map(|piece| piece.len()).sum::<u64>(),
        Job::CheckBlock { block, .. } => block.len(),
        Job::DecodeSegment { blocks, .. } => 4 * blocks.iter().map(|(_, b)| b.payload().len()).sum::<u64>(),
        Job::BuildTrees(trees) => 64 * trees.iter().map(|tree| tree.len() as u64).sum::<u64>(),
        Job::SameContent(a, _) => a.len() / 8,
        Job::CheckAnnouncements(list) => 50_000 * list.len() as u64,
        Job::GenerateKeys { .. } => 100_000_000,
        Job::Sign { .. } => 1_000_000,
        Job::CheckSignature { .. } => 30_000,
        Job::EncodeMutableSegment { plaintext, .. } => {
            4 * plaintext.iter().map(|piece| piece.len()).sum::<u64>()
        }
        Job::DecodeMutableSegment { blocks, .. } => {
            4 * blocks.iter().map(|(_, b)| b.payload().len()).sum::<u64>()
        }
    };
    Duration::from_micros(5) + Duration::from_nanos(bytes)
}
