//! A world small enough to try every order of things in: three servers, two writers, and nothing that
//! takes time of its own.
//!
//! Frames arrive whole and in the order of their connection; everything else about their order is
//! chosen from outside. Disks and processors are done at once. Time stands still until it is made to pass.

use crate::disk::Disk;
use crate::grid::{GridSpec, Identity, Role};
use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::DefaultHasher;
use tallac_core::disk::{DiskFailure, DiskStep};
use tallac_core::job::{self, Job, JobOutput};
use tallac_core::machine::{Action, CloseReason, ConnId, Event, Machine, Protocol};
use tallac_core::node::{Node, NodeConfig};
use tallac_core::operation::{Command, Report};
use tallac_core::peers::Roster;
use tallac_core::storage::protocol::StorageRequest;
use tallac_core::time::{Instant, Now, UnixTime};
use tallac_core::wire::{Decoded, Frame, FrameDecoder, Kind, Message};
use tallac_soft_rsa::SoftRsa;

/// Servers of this world.
pub(super) const SERVERS: usize = 3;
/// Who writes.
pub(super) const WRITERS: usize = 2;
const SEED: u64 = 4;
/// The date at which it begins: 2026-01-01.
const BEGINNING: u64 = 1_767_225_600;

/// The outcomes of jobs. Runs differ in their order only, so that most jobs were computed before.
pub(super) type Known = HashMap<u64, JobOutput>;

/// Something on its way over a connection.
struct Parcel {
    event: Event,
    /// Its order does not matter: greetings, pings, and what servers say of themselves.
    eager: bool,
    hash: u64,
}

/// A connection of a writer to a server.
struct Line {
    conns: [ConnId; 2],
    /// What is on its way to the server, and to the writer.
    queues: [VecDeque<Parcel>; 2],
    decoders: [FrameDecoder; 2],
    /// Requests whose answers do not matter.
    eager: Vec<u64>,
}

/// Which end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum To {
    Server,
    Writer,
}

struct Party {
    identity: Identity,
    config: NodeConfig,
    disk: Disk,
    node: Option<Node>,
    lives: u32,
    next_inbound: u64,
    /// What the node has heard until it last said something, and what since. In the second part the
    /// order does not matter.
    history: (u64, u64),
    /// The hash of what a server has.
    kept: u64,
}

pub(super) struct Small {
    now: Duration,
    parties: Vec<Party>,
    lines: BTreeMap<(usize, usize), Line>,
    pub(super) reports: VecDeque<(usize, Report)>,
    /// Whether the order of reports is of interest: a finished operation changes what a writer is.
    pub(super) steps: u64,
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The number of a writer among the parties.
pub(super) fn writer(number: usize) -> usize {
    SERVERS + number
}

impl Small {
    /// Nodes with these disks, or empty ones, that do not run yet.
    pub(super) fn new(spec: &GridSpec, disks: Option<&[Disk]>) -> Small {
        let servers: Vec<Identity> =
            (0..SERVERS).map(|number| Identity::new(SEED, format!("server{number}"))).collect();
        let known: Roster = (servers.iter())
            .map(|identity| (identity.server_id(), identity.config(spec, Role::Server, Vec::new()).info))
            .collect();
        let writers = (0..WRITERS).map(|number| Identity::new(SEED, format!("writer{number}")));
        let party = |(number, identity): (usize, Identity)| {
            let role = if number < SERVERS { Role::Server } else { Role::Client };
            let mut config = identity.config(spec, role, Vec::new());
            if role == Role::Client {
                config.servers = known.clone();
                config.keeps_cache = false;
            }
            let empty = || Disk::new(spec.disk.clone(), crate::chance::Chance::named(SEED, &identity.name));
            let disk = disks.and_then(|disks| disks.get(number)).cloned().unwrap_or_else(empty);
            let (node, lives, next_inbound, history, kept) = (None, 0, 0, (0, 0), 0);
            Party { identity, config, disk, node, lives, next_inbound, history, kept }
        };
        let parties = servers.into_iter().chain(writers).enumerate().map(party).collect();
        Small { now: Duration::ZERO, parties, lines: BTreeMap::new(), reports: VecDeque::new(), steps: 0 }
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn is_up(&self, party: usize) -> bool {
        self.parties[party].node.is_some()
    }

    /// What the servers have on their disks.
    pub(super) fn disks(&self) -> Vec<Disk> {
        self.parties[..SERVERS].iter().map(|party| party.disk.clone()).collect()
    }

    fn clock(&self) -> Now {
        let date = BEGINNING + self.now.as_secs();
        Now { instant: Instant::ZERO + self.now, unix: UnixTime(date) }
    }

    pub(super) fn start(&mut self, party: usize, known: &mut Known) {
        let now = self.clock();
        let entry = &mut self.parties[party];
        entry.disk.clean();
        entry.lives += 1;
        let mut seed = [party as u8; 32];
        seed[..4].copy_from_slice(&entry.lives.to_le_bytes());
        let config = NodeConfig { sequence: u64::from(entry.lives), ..entry.config.clone() };
        entry.node = Some(Node::new(config, seed, now));
        self.carry_out(party, known);
    }

    /// Ends a node, and every connection of it at once; what was on its way is lost.
    pub(super) fn kill(&mut self, party: usize, known: &mut Known) {
        self.parties[party].node = None;
        let gone: Vec<(usize, usize)> =
            self.lines.keys().copied().filter(|(w, s)| *w == party || *s == party).collect();
        for key in gone {
            let line = self.lines.remove(&key).expect("just listed");
            let (other, conn) = if key.1 == party { (key.0, line.conns[1]) } else { (key.1, line.conns[0]) };
            let reason = CloseReason::Lost("the other side is gone".into());
            self.deliver_to(other, Event::Closed { conn, reason }, known);
        }
        self.settle(known);
    }

    pub(super) fn command(&mut self, writer: usize, command: Command, known: &mut Known) {
        self.deliver_to(writer, Event::Command(command), known);
        self.settle(known);
    }

    /// The connections that have something to deliver, and to which end.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (usize, usize, To)> {
        self.lines.iter().flat_map(|((writer, server), line)| {
            [To::Server, To::Writer].into_iter().filter_map(|to| {
                let is_empty = line.queues[to as usize].is_empty();
                (!is_empty).then_some((*writer, *server, to))
            })
        })
    }

    /// What comes next on a connection, in words.
    pub(super) fn next(&self, writer: usize, server: usize, to: To) -> String {
        let parcel = self.lines.get(&(writer, server)).and_then(|line| line.queues[to as usize].front());
        let Some(Parcel { event: Event::Frame { frame, .. }, .. }) = parcel else { return "nothing".into() };
        match Message::open(frame.clone()) {
            Ok(message) => match message.body::<StorageRequest>() {
                Ok(StorageRequest::ReadTestWrite { .. }) if message.envelope.kind == Kind::Request => {
                    "a test-and-set".into()
                }
                _ => format!("{:?}", message.envelope.kind),
            },
            Err(_) => "no message".into(),
        }
    }

    /// Delivers what comes next on a connection.
    pub(super) fn deliver(&mut self, writer: usize, server: usize, to: To, known: &mut Known) {
        self.steps += 1;
        self.deliver_head(writer, server, to, known);
        self.settle(known);
    }

    fn deliver_head(&mut self, writer: usize, server: usize, to: To, known: &mut Known) {
        let line = self.lines.get_mut(&(writer, server)).expect("chosen from those that are there");
        let parcel = line.queues[to as usize].pop_front().expect("chosen from those that wait");
        self.deliver_to(if to == To::Server { server } else { writer }, parcel.event, known);
    }

    /// Delivers whatever is of no interest.
    pub(super) fn settle(&mut self, known: &mut Known) {
        loop {
            let eager = self.waiting().find(|(writer, server, to)| {
                let line = &self.lines[&(*writer, *server)];
                line.queues[*to as usize].front().is_some_and(|parcel| parcel.eager)
            });
            let Some((writer, server, to)) = eager else { return };
            self.deliver_head(writer, server, to, known);
        }
    }

    /// Lets time pass until somebody wakes. `false` if nobody ever will before `end`.
    pub(super) fn pass(&mut self, end: Duration, known: &mut Known) -> bool {
        let deadlines = self.parties.iter().filter_map(|party| party.node.as_ref()?.deadline());
        let Some(next) = deadlines.min().map(|instant| instant.since(Instant::ZERO)) else { return false };
        let next = next.max(self.now);
        if next > end {
            return false;
        }
        self.now = next;
        for party in 0..self.parties.len() {
            let due = |node: &Node| node.deadline().is_some_and(|due| due <= Instant::ZERO + next);
            if self.parties[party].node.as_ref().is_some_and(due) {
                self.deliver_to(party, Event::Wake, known);
            }
        }
        self.settle(known);
        true
    }

    fn deliver_to(&mut self, party: usize, event: Event, known: &mut Known) {
        let now = self.clock();
        let entry = &mut self.parties[party];
        let Some(node) = &mut entry.node else { return };
        entry.history.1 = entry.history.1.wrapping_add(hash_of(&(&event, now.instant)));
        node.handle(event, now);
        self.carry_out(party, known);
    }

    /// Carries out what a node asks for, and what it asks for then.
    fn carry_out(&mut self, party: usize, known: &mut Known) {
        let now = self.clock();
        let mut events = VecDeque::new();
        loop {
            while let Some(action) = self.parties[party].node.as_mut().and_then(Machine::poll_action) {
                self.begin(party, action, &mut events, known);
            }
            let Some(event) = events.pop_front() else { break };
            if let Some(node) = &mut self.parties[party].node {
                node.handle(event, now);
            }
        }
        if party < SERVERS {
            let entry = &mut self.parties[party];
            let files =
                entry.disk.list().map(|(path, _)| (hash_of(path), hash_of(&entry.disk.content(path))));
            entry.kept = hash_of(&files.collect::<Vec<_>>());
        }
    }

    fn begin(&mut self, party: usize, action: Action, events: &mut VecDeque<Event>, known: &mut Known) {
        match action {
            Action::Connect { conn, address, pin } => {
                let is_there = |other: &usize| {
                    let other = &self.parties[*other];
                    other.identity.name == address.host && other.identity.pin() == pin && other.node.is_some()
                };
                let Some(server) = (0..SERVERS).find(is_there) else {
                    return events.push_back(Event::Closed { conn, reason: CloseReason::Refused });
                };
                let inbound = ConnId::Inbound(self.parties[server].next_inbound);
                self.parties[server].next_inbound += 1;
                let from = self.parties[party].identity.name.clone();
                let accepted = Event::Accepted { conn: inbound, protocol: Protocol::Tallac, from };
                let eager = |event| VecDeque::from([Parcel { event, eager: true, hash: 0 }]);
                let queues = [eager(accepted), eager(Event::Connected { conn })];
                let decoders = [FrameDecoder::new(), FrameDecoder::new()];
                let line = Line { conns: [inbound, conn], queues, decoders, eager: Vec::new() };
                self.lines.insert((party, server), line);
            }
            Action::Send { conn, frame } => {
                events.push_back(Event::Sent { conn, bytes: frame.len() });
                self.send(party, conn, frame);
            }
            Action::Close { conn } | Action::Abort { conn } => {
                let Some(key) = self.line_of(party, conn) else { return };
                let line = self.lines.remove(&key).expect("just found");
                let (other, conn_there) =
                    if party == key.0 { (key.1, line.conns[0]) } else { (key.0, line.conns[1]) };
                events.push_back(Event::Closed { conn, reason: CloseReason::Ended });
                // The other side hears of it with the next thing that happens to it.
                let now = self.clock();
                if let Some(node) = &mut self.parties[other].node {
                    node.handle(Event::Closed { conn: conn_there, reason: CloseReason::Ended }, now);
                    while let Some(action) = node.poll_action() {
                        assert!(!matches!(action, Action::Send { .. }), "nobody answers to an end");
                    }
                }
            }
            Action::Disk { id, steps } => {
                let result = run_steps(&mut self.parties[party].disk, steps);
                events.push_back(Event::DiskDone { id, result });
            }
            Action::Job { id, job } => {
                let output = known.entry(hash_of(&job)).or_insert_with(|| compute(job)).clone();
                events.push_back(Event::JobDone { id, output });
            }
            Action::Report(report) => {
                let history = &mut self.parties[party].history;
                *history = (hash_of(&*history), 0);
                self.reports.push_back((party, report));
            }
            // Nobody is sent more than he would have granted: a directory of a few names.
            Action::Grant { .. } => {}
            Action::SendBytes { .. } => unreachable!("there is no web port here"),
        }
    }

    fn line_of(&self, party: usize, conn: ConnId) -> Option<(usize, usize)> {
        let of = |((writer, server), line): (&(usize, usize), &Line)| {
            let end = if *server == party { line.conns[0] } else { line.conns[1] };
            ((*writer == party || *server == party) && end == conn).then_some((*writer, *server))
        };
        self.lines.iter().find_map(of)
    }

    fn send(&mut self, party: usize, conn: ConnId, frame: Frame) {
        let Some(key) = self.line_of(party, conn) else { return };
        let line = self.lines.get_mut(&key).expect("just found");
        let to = if party == key.1 { To::Writer } else { To::Server };
        let frame = as_it_arrives(&mut line.decoders[to as usize], &frame);
        let message = Message::open(frame.clone()).expect("nodes send messages");
        let id = message.envelope.id;
        let eager = match message.envelope.kind {
            Kind::Request => {
                let of_no_interest = matches!(message.body(), Ok(StorageRequest::Version));
                line.eager.extend(of_no_interest.then_some(id));
                of_no_interest
            }
            Kind::Answer | Kind::Failure => line.eager.contains(&id),
            _ => true,
        };
        let event = Event::Frame { conn: line.conns[to as usize], frame };
        let hash = hash_of(&event);
        line.queues[to as usize].push_back(Parcel { event, eager, hash });
        if !eager {
            let history = &mut self.parties[party].history;
            *history = (hash_of(&*history), 0);
        }
    }

    /// What all that comes follows from: two worlds with the same number go on in the same way. Of what a
    /// writer has heard since it last said something the order does not count.
    pub(super) fn state(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.now.hash(&mut hasher);
        for (number, party) in self.parties.iter().enumerate() {
            (party.node.is_some(), party.lives).hash(&mut hasher);
            if number < SERVERS { party.kept.hash(&mut hasher) } else { party.history.hash(&mut hasher) }
        }
        for (key, line) in &self.lines {
            key.hash(&mut hasher);
            for queue in &line.queues {
                queue.len().hash(&mut hasher);
                queue.iter().for_each(|parcel| parcel.hash.hash(&mut hasher));
            }
        }
        hasher.finish()
    }
}

/// A frame after its way through the codec, which joins pieces.
fn as_it_arrives(decoder: &mut FrameDecoder, frame: &Frame) -> Frame {
    let mut arrived = None;
    for piece in frame.pieces() {
        let take = |decoded| {
            if let Decoded::Frame(frame) = decoded {
                arrived = Some(frame);
            }
        };
        decoder.push(&piece, take).expect("nodes send frames");
    }
    arrived.expect("it is whole")
}

fn run_steps(disk: &mut Disk, steps: Vec<DiskStep>) -> tallac_core::disk::DiskResult {
    let mut outputs = Vec::new();
    for (step, what) in steps.into_iter().enumerate() {
        match disk.run(what) {
            Ok(output) => outputs.extend(output),
            Err(error) => return Err(DiskFailure { step, error }),
        }
    }
    Ok(outputs)
}

fn compute(job: Job) -> JobOutput {
    job::run(job, &SoftRsa)
}
