//! A grid in one process and in virtual time, in which anything between the nodes can be tampered
//! with: real nodes of the core, a network and disks made of maps.
//!
//! Servers are nodes 0, 1, ..., the client comes after them. Every frame passes the grid's
//! [`Tamper`], which may alter, multiply, delay or drop it, answer it itself, or cut the connection.

mod disk;
mod errands;
mod files;
mod strangers;

pub use disk::{Fault, MemoryDisk};
pub use files::{Got, GotMutable, Put};
pub use strangers::{Stranger, hello};

use disk::DiskRun;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tallac_core::announcement::{AnnouncementKey, ServerInfo};
use tallac_core::encoding::EncodingParams;
use tallac_core::identity::{ServerId, TubId};
use tallac_core::job;
use tallac_core::machine::{Action, ActionId, CloseReason, ConnId, Event, Machine, Protocol};
use tallac_core::node::{Node, NodeConfig, StorageSetup, VdriveSetup};
use tallac_core::nurl::{Address, Pin, Service, Swissnum};
use tallac_core::operation::{Command, OperationId, Report};
use tallac_core::peers::PeersConfig;
use tallac_core::secret::Secret;
use tallac_core::storage::StorageConfig;
use tallac_core::storage::slot::container::{DATA_OFFSET, SlotHeader};
use tallac_core::time::{Instant, Now, UnixTime};
use tallac_core::wire::{Frame, Message};
use tallac_soft_rsa::SoftRsa;

/// How long a frame is under way.
const LATENCY: Duration = Duration::from_millis(1);
/// How long a disk action, or one step of it, and a job take.
const WORK: Duration = Duration::from_micros(50);
/// What takes longer than this will never end.
const FOREVER: Duration = Duration::from_secs(600);
/// The events of connections that no node made go here.
const STRANGER: usize = usize::MAX;

/// What becomes of a frame.
#[derive(Clone, Debug)]
pub enum Passage {
    /// It, or another, goes on to where it was sent, after a time beyond the usual.
    Deliver(Duration, Frame),
    /// A frame goes back to who sent this one.
    Reply(Duration, Frame),
    /// The connection breaks.
    Cut,
}

/// The frame goes on as it is.
pub fn pass(frame: Frame) -> Vec<Passage> {
    vec![Passage::Deliver(Duration::ZERO, frame)]
}

/// What stands between the nodes.
pub trait Tamper {
    /// Decides what becomes of a frame.
    fn frame(&mut self, from: usize, to: usize, frame: Frame) -> Vec<Passage>;
}

impl<F: FnMut(usize, usize, Frame) -> Vec<Passage>> Tamper for F {
    fn frame(&mut self, from: usize, to: usize, frame: Frame) -> Vec<Passage> {
        self(from, to, frame)
    }
}

/// A network that does what it should.
#[derive(Clone, Copy, Debug)]
pub struct Honest;

impl Tamper for Honest {
    fn frame(&mut self, _from: usize, _to: usize, frame: Frame) -> Vec<Passage> {
        pass(frame)
    }
}

/// How a memory grid is made.
#[derive(Clone, Debug)]
pub struct GridSetup {
    /// How many servers.
    pub servers: usize,
    /// k and N.
    pub shares: (u16, u16),
    /// The segment size.
    pub segment: u32,
    /// The happiness that is configured.
    pub happy: Option<usize>,
    /// Servers that take no shares.
    pub read_only: Vec<usize>,
    /// Whether server 0 is a vdrive server, too, and the client holds its furl.
    pub vdrive: bool,
}

impl GridSetup {
    /// One server for each share.
    pub fn new(needed: u16, total: u16) -> GridSetup {
        let (servers, shares) = (usize::from(total), (needed, total));
        GridSetup { servers, shares, segment: 64, happy: None, read_only: Vec::new(), vdrive: false }
    }
}

/// The whole grid.
pub struct MemoryGrid<T> {
    /// What stands between the nodes.
    pub tamper: T,
    /// Whether disks take time for each step and not just for a whole action.
    pub slow_disks: bool,
    /// What is worth a line in the client's log.
    pub notices: Vec<String>,
    nodes: Vec<Node>,
    disks: Vec<MemoryDisk>,
    disk_runs: BTreeMap<(usize, ActionId), DiskRun>,
    off: BTreeSet<usize>,
    wires: BTreeMap<(usize, ConnId), (usize, ConnId)>,
    next_conn: u64,
    events: BTreeMap<(u64, u64), (usize, Event)>,
    next_event: u64,
    reports: Vec<Report>,
    heard: BTreeMap<ConnId, Vec<Message>>,
    /// Strangers that do not read, and how much waits to be sent to them.
    deaf: BTreeMap<ConnId, u64>,
    next_operation: u64,
    /// Nodes that have said that they have stopped.
    stopped: BTreeSet<usize>,
    /// How often in a row somebody was woken for a time long past.
    late_wakes: usize,
    now: Now,
}

impl<T: Tamper> MemoryGrid<T> {
    /// A grid whose client knows every server.
    pub fn new(setup: &GridSetup, tamper: T) -> MemoryGrid<T> {
        let now = Now { instant: Instant(0), unix: UnixTime(1_700_000_000) };
        let count = setup.servers;
        let nodes = (0..=count).map(|index| Node::new(config(index, setup), [index as u8; 32], now));
        let disk = MemoryDisk::default();
        let mut grid = MemoryGrid {
            tamper,
            slow_disks: false,
            notices: Vec::new(),
            nodes: nodes.collect(),
            disks: vec![disk; count + 1],
            disk_runs: BTreeMap::new(),
            off: BTreeSet::new(),
            wires: BTreeMap::new(),
            next_conn: 0,
            events: BTreeMap::new(),
            next_event: 0,
            reports: Vec::new(),
            heard: BTreeMap::new(),
            deaf: BTreeMap::new(),
            next_operation: 0,
            stopped: BTreeSet::new(),
            late_wakes: 0,
            now,
        };
        (0..=count).for_each(|index| grid.carry_out_all(index));
        grid.run(Duration::from_millis(100));
        grid
    }

    /// The client's number.
    pub fn client(&self) -> usize {
        self.nodes.len() - 1
    }

    /// A server's id.
    pub fn id(&self, server: usize) -> ServerId {
        self.nodes[server].server_id()
    }

    /// A node.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// A node's disk.
    pub fn disk(&mut self, index: usize) -> &mut MemoryDisk {
        &mut self.disks[index]
    }

    /// What time it is.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Takes a server from the net.
    pub fn switch_off(&mut self, server: usize) {
        self.off.insert(server);
        let conns: Vec<_> = self.wires.keys().filter(|(index, _)| *index == server).copied().collect();
        conns.into_iter().for_each(|(index, conn)| self.cut(index, conn));
        self.run(Duration::from_millis(10));
    }

    /// Brings a server back, and waits until the client has found it.
    pub fn switch_on(&mut self, server: usize) {
        self.off.remove(&server);
        let up = |grid: &Self| grid.node(grid.client()).status(99, grid.now).connected;
        let before = up(self);
        let begun = self.now.instant;
        while up(self) == before {
            self.run(Duration::from_millis(100));
            assert!(self.now.instant.since(begun) < FOREVER, "the server was never found again");
        }
    }

    /// Asks a node to stop, and waits until it says that it has: nothing happens after that.
    ///
    /// # Panics
    /// If it never does.
    pub fn stop(&mut self, index: usize) {
        self.at(Duration::ZERO, index, Event::Command(Command::Stop));
        let begun = self.now.instant;
        while !self.stopped.contains(&index) {
            assert!(self.step(begun + FOREVER), "it never stops");
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now.instant + time;
        while self.step(end) {}
        self.now.instant = end;
    }

    fn operation(&mut self) -> OperationId {
        self.next_operation += 1;
        OperationId(self.next_operation)
    }

    fn command(&mut self, command: Command) {
        self.at(Duration::ZERO, self.client(), Event::Command(command));
    }

    fn next_report(&mut self, begun: Instant) -> Report {
        while self.reports.is_empty() {
            assert!(self.step(begun + FOREVER), "the operation hangs");
        }
        self.reports.remove(0)
    }

    fn at(&mut self, delay: Duration, index: usize, event: Event) {
        let at = self.now.instant + delay;
        self.events.insert((at.0, self.next_event), (index, event));
        self.next_event += 1;
    }

    /// Lets the next thing happen, unless it is later than `end`.
    fn step(&mut self, end: Instant) -> bool {
        let deadlines =
            self.nodes.iter().enumerate().filter_map(|(index, node)| Some((node.deadline()?, index)));
        let deadline = deadlines.min();
        let event = self.events.first_key_value().map(|((at, _), _)| Instant(*at));
        let (at, index, event) = match (event, deadline) {
            (Some(at), deadline) if deadline.is_none_or(|(due, _)| at <= due.max(self.now.instant)) => {
                if at > end {
                    return false;
                }
                let (_, (index, event)) = self.events.pop_first().expect("just seen");
                (at, index, event)
            }
            (_, Some((due, index))) if due <= end => (due, index, Event::Wake),
            _ => return false,
        };
        // Time always goes on a little; but a deadline that stands still is a fault.
        let late = matches!(event, Event::Wake) && at < self.now.instant;
        self.late_wakes = if late { self.late_wakes + 1 } else { 0 };
        assert!(self.late_wakes < 100, "node {index} wants to be woken at {at:?} for ever");
        let at = if matches!(event, Event::Wake) { at.max(Instant(self.now.instant.0 + 1_000)) } else { at };
        self.now.instant = self.now.instant.max(at);
        self.now.unix = UnixTime(1_700_000_000 + self.now.instant.0 / 1_000_000_000);
        if index == STRANGER {
            self.stranger(event);
        } else if let Event::DiskDone { id, .. } = event
            && self.disk_runs.contains_key(&(index, id))
        {
            self.disk_step(index, id);
        } else {
            self.nodes[index].handle(event, self.now);
            self.carry_out_all(index);
        }
        true
    }

    fn carry_out_all(&mut self, index: usize) {
        while let Some(action) = self.nodes[index].poll_action() {
            self.carry_out(index, action);
        }
    }

    fn carry_out(&mut self, index: usize, action: Action) {
        match action {
            Action::Connect { conn, address, pin } => {
                let server: usize = address.host.parse().expect("hosts are numbers here");
                if self.off.contains(&server) {
                    self.at(LATENCY, index, Event::Closed { conn, reason: CloseReason::Refused });
                } else if pin != pin_of(server) {
                    self.at(LATENCY, index, Event::Closed { conn, reason: CloseReason::WrongKey });
                } else {
                    self.join(index, conn, server);
                    self.at(2 * LATENCY, index, Event::Connected { conn });
                }
            }
            Action::Send { conn, frame } => self.send(index, conn, frame),
            Action::Close { conn } => self.end(index, conn),
            Action::Abort { conn } => self.cut(index, conn),
            Action::Disk { id, steps } => {
                self.disk_runs.insert((index, id), DiskRun::new(steps));
                self.disk_step(index, id);
            }
            Action::Job { id, job } => {
                let output = job::run(job, &SoftRsa);
                self.at(WORK, index, Event::JobDone { id, output });
            }
            Action::Report(Report::Notice(notice)) if index == self.client() => {
                self.notices.push(notice.text)
            }
            Action::Report(Report::Stopped) => drop(self.stopped.insert(index)),
            Action::Report(report) if index == self.client() => self.reports.push(report),
            // This network delivers at once, so that nobody's reading needs to be held back.
            Action::Grant { .. } | Action::Report(_) | Action::SendBytes { .. } => {}
        }
    }

    /// Goes on with a disk action: with its next step if disks are slow, else to its end. As long as it
    /// has not ended, its outcome on the way is a stand-in that only says that time has passed.
    fn disk_step(&mut self, index: usize, id: ActionId) {
        let Some(mut run) = self.disk_runs.remove(&(index, id)) else { return };
        let result = loop {
            match self.disks[index].go_on(&mut run) {
                Some(result) => break result,
                None if self.slow_disks => {
                    self.disk_runs.insert((index, id), run);
                    break Ok(Vec::new());
                }
                None => {}
            }
        };
        self.at(WORK, index, Event::DiskDone { id, result });
    }

    fn send(&mut self, index: usize, conn: ConnId, mut frame: Frame) {
        let bytes = frame.len();
        // A real wire would cut this into bytes and put it together again.
        let bulk = frame.pieces().skip(2).flat_map(|piece| piece.to_vec()).collect::<Vec<u8>>();
        frame.bulk = if bulk.is_empty() { vec![] } else { vec![bulk.into()] };
        let Some((other, other_conn)) = self.wires.get(&(index, conn)).copied() else { return };
        match self.deaf.get_mut(&other_conn) {
            Some(unread) if other == STRANGER => return *unread += bytes,
            _ => self.at(Duration::ZERO, index, Event::Sent { conn, bytes }),
        }
        let passages = if other == STRANGER { pass(frame) } else { self.tamper.frame(index, other, frame) };
        for passage in passages {
            match passage {
                Passage::Deliver(delay, frame) => {
                    // A runtime tells of long frames while they come in.
                    for _ in 0..frame.len() / (16 * 1024) {
                        self.at(LATENCY + delay, other, Event::Partial { conn: other_conn });
                    }
                    self.at(LATENCY + delay, other, Event::Frame { conn: other_conn, frame });
                }
                Passage::Reply(delay, frame) => {
                    self.at(2 * LATENCY + delay, index, Event::Frame { conn, frame });
                }
                Passage::Cut => self.cut(index, conn),
            }
        }
    }

    fn join(&mut self, from: usize, conn: ConnId, to: usize) {
        let other = ConnId::Inbound(self.next_conn);
        self.next_conn += 1;
        self.wires.insert((from, conn), (to, other));
        self.wires.insert((to, other), (from, conn));
        let accepted = Event::Accepted { conn: other, protocol: Protocol::Tallac, from: from.to_string() };
        self.at(LATENCY, to, accepted);
    }

    fn cut(&mut self, index: usize, conn: ConnId) {
        if let Some((other, other_conn)) = self.wires.get(&(index, conn)).copied() {
            self.lose(other, other_conn, self.now.instant);
        }
        self.end(index, conn);
    }

    /// One side is done with a connection. What it sent before still arrives, then the end.
    fn end(&mut self, index: usize, conn: ConnId) {
        self.lose(index, conn, self.now.instant);
        self.at(LATENCY, index, Event::Closed { conn, reason: CloseReason::Ended });
        if let Some((other, other_conn)) = self.wires.remove(&(index, conn)) {
            self.wires.remove(&(other, other_conn));
            self.lose(other, other_conn, self.now.instant + LATENCY);
            self.at(LATENCY, other, Event::Closed { conn: other_conn, reason: CloseReason::Ended });
        }
    }

    /// Drops what would happen on a connection after a time: nothing follows its end.
    fn lose(&mut self, index: usize, conn: ConnId, after: Instant) {
        self.events.retain(|(at, _), (to, event)| match event {
            Event::Frame { conn: of, .. } | Event::Sent { conn: of, .. } | Event::Connected { conn: of } => {
                *at <= after.0 || (*to, *of) != (index, conn)
            }
            _ => true,
        });
    }
}

/// The file of a mutable share without leases, with a write enabler that nobody has.
pub fn slot_container(data: &[u8]) -> Vec<u8> {
    let mut header = SlotHeader::new(TubId([0; 20]), Secret::from_bytes([0; 32]));
    header.data_len = data.len() as u64;
    header.extra_offset = DATA_OFFSET + header.data_len;
    [&header.encode(), data, &[0; 4]].concat()
}

fn pin_of(index: usize) -> Pin {
    Pin([index as u8; 32])
}

fn swissnum(index: usize) -> Swissnum {
    Swissnum::new(&format!("swissnum{index}")).expect("letters and digits")
}

fn key(index: usize) -> [u8; 32] {
    [100 + index as u8; 32]
}

fn server_info(index: usize) -> ServerInfo {
    let address = Address { host: index.to_string(), port: 1 };
    ServerInfo {
        nickname: format!("s{index}"),
        tub_id: TubId([index as u8; 20]),
        permutation_seed: vec![index as u8; 32],
        service: Some(Service { pin: pin_of(index), swissnum: swissnum(index), addresses: vec![address] }),
        program: "in memory".into(),
    }
}

/// Servers have a storage service; the client knows the servers from its configuration.
pub fn config(index: usize, setup: &GridSetup) -> NodeConfig {
    let serves = index < setup.servers;
    let hands_out = setup.vdrive && index == 0;
    let vdrive = |name| Swissnum::new(name).expect("letters");
    let furl = Service {
        pin: pin_of(0),
        swissnum: vdrive("vdrive"),
        addresses: vec![Address { host: "0".into(), port: 1 }],
    };
    let known = |server| (AnnouncementKey::from_bytes(&key(server)).server_id(), server_info(server));
    let read_only = setup.read_only.contains(&index);
    NodeConfig {
        program: "in memory".into(),
        announcement_key: Secret::from_bytes(key(index)),
        info: server_info(index),
        sequence: 1,
        storage: serves.then(|| StorageSetup {
            config: StorageConfig { reserved_space: 0, read_only, program: "in memory".into() },
            swissnum: swissnum(index),
        }),
        introducer: None,
        vdrive: hands_out
            .then(|| VdriveSetup { write: vdrive("vdrive"), read_only: vdrive("vdrive-readonly") }),
        vdrives: (setup.vdrive && !serves).then(|| vec![furl]),
        introducers: vec![],
        servers: if serves && !hands_out {
            Default::default()
        } else {
            (0..setup.servers).map(known).collect()
        },
        preferred_servers: Default::default(),
        refused_servers: Default::default(),
        encoding: EncodingParams::new(setup.shares.0, setup.shares.1, setup.segment)
            .expect("good parameters"),
        happy: setup.happy,
        convergence: tallac_core::secret::SecretBytes::new(vec![7; 32]),
        lease_secret: Secret::from_bytes([8; 32]),
        peers: PeersConfig { connections_max: 64, program: "in memory".into() },
        keeps_cache: false,
        ready_keys: 0,
    }
}
