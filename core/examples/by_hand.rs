//! A small grid driven by hand: what a host does that embeds the core without a runtime of ours.
//!
//! Three storage nodes and a client live in one process. The "network" hands frames from one node
//! to another, the "disk" is a map, jobs run where they are asked for, and time is a counter. A
//! file is stored, one server is switched off, and the file is read back.
//!
//! Run it: `cargo run -p tallac-core --example by_hand`

use std::collections::{BTreeMap, VecDeque};
use tallac_core::announcement::{AnnouncementKey, ServerInfo};
use tallac_core::capability::{Capability, ChkCap};
use tallac_core::disk::{DiskError, DiskFailure, DiskOutput, DiskResult, DiskStep, StorePath};
use tallac_core::encoding::EncodingParams;
use tallac_core::identity::TubId;
use tallac_core::job;
use tallac_core::machine::{Action, CloseReason, ConnId, Event, Machine, Protocol};
use tallac_core::node::{Node, NodeConfig, StorageSetup};
use tallac_core::nurl::{Address, Pin, Service, Swissnum};
use tallac_core::operation::{Command, KeyChoice, OperationId, Report};
use tallac_core::payload::Payload;
use tallac_core::peers::PeersConfig;
use tallac_core::rsa::NoRsa;
use tallac_core::secret::{Secret, SecretBytes};
use tallac_core::storage::StorageConfig;
use tallac_core::time::{Instant, Now, UnixTime};

const SERVERS: usize = 3;
const CLIENT: usize = SERVERS;

/// Everything around the machines.
struct Host {
    nodes: Vec<Node>,
    disks: Vec<BTreeMap<StorePath, Vec<u8>>>,
    /// Which connection of which node is joined to which of which.
    wires: BTreeMap<(usize, ConnId), (usize, ConnId)>,
    next_inbound: u64,
    /// What is to be handed to whom, in order.
    events: VecDeque<(usize, Event)>,
    reports: Vec<Report>,
    switched_off: Option<usize>,
    now: Now,
}

fn main() {
    let mut host = Host::new();
    let content: Vec<u8> = (0..1_000_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let cap = host.store(&content);
    println!("stored {} bytes", content.len());
    host.switch_off(0);
    assert_eq!(host.fetch(cap), content);
    println!("read them back with one of {SERVERS} servers gone");
}

impl Host {
    fn new() -> Host {
        let now = Now { instant: Instant(0), unix: UnixTime(1_700_000_000) };
        let infos: Vec<_> = (0..SERVERS).map(server_info).collect();
        let nodes = (0..=SERVERS).map(|index| Node::new(config(index, &infos), [index as u8; 32], now));
        Host {
            nodes: nodes.collect(),
            disks: vec![BTreeMap::new(); SERVERS + 1],
            wires: BTreeMap::new(),
            next_inbound: 0,
            events: VecDeque::new(),
            reports: Vec::new(),
            switched_off: None,
            now,
        }
    }

    fn store(&mut self, content: &[u8]) -> ChkCap {
        let id = OperationId(1);
        let len = Some(content.len() as u64);
        self.command(Command::Upload { id, len, key: KeyChoice::Convergent });
        let mut rest = Payload::from(content.to_vec());
        loop {
            match self.next_report() {
                Report::UploadGrant { bytes, .. } => {
                    let data = rest.take_front(bytes.min(rest.len()));
                    self.command(Command::UploadData { id, data });
                }
                Report::UploadPlanned { plan, .. } => println!("{plan}"),
                Report::Uploaded { result: Ok(uploaded), .. } => match uploaded.cap {
                    Capability::Chk(cap) => return cap,
                    _ => unreachable!("the content is too long for a literal"),
                },
                Report::Uploaded { result: Err(error), .. } => panic!("{error}"),
                _ => {}
            }
        }
    }

    fn fetch(&mut self, cap: ChkCap) -> Vec<u8> {
        let (id, range) = (OperationId(2), 0..cap.size);
        self.command(Command::Download { id, cap, range });
        self.command(Command::DownloadGrant { id, bytes: u64::MAX });
        let mut content = Vec::new();
        loop {
            match self.next_report() {
                Report::DownloadData { data, .. } => content.extend(data.bytes().expect("real bytes").iter()),
                Report::Downloaded { result: Ok(()), .. } => return content,
                Report::Downloaded { result: Err(error), .. } => panic!("{error}"),
                _ => {}
            }
        }
    }

    fn command(&mut self, command: Command) {
        self.events.push_back((CLIENT, Event::Command(command)));
    }

    /// Runs the grid until the client reports something.
    fn next_report(&mut self) -> Report {
        loop {
            if !self.reports.is_empty() {
                return self.reports.remove(0);
            }
            self.step();
        }
    }

    /// The driving loop: actions until there is none, then one event, or the next deadline.
    fn step(&mut self) {
        for index in 0..self.nodes.len() {
            while let Some(action) = self.nodes[index].poll_action() {
                self.carry_out(index, action);
            }
        }
        let (index, event) = self.events.pop_front().unwrap_or_else(|| {
            let deadlines = self.nodes.iter().enumerate().filter_map(|(i, node)| Some((node.deadline()?, i)));
            let (at, index) = deadlines.min().expect("a node that waits for nothing has nothing to report");
            self.now.instant = self.now.instant.max(at);
            (index, Event::Wake)
        });
        self.now.instant = Instant(self.now.instant.0 + 1_000);
        self.nodes[index].handle(event, self.now);
    }

    fn carry_out(&mut self, index: usize, action: Action) {
        match action {
            Action::Connect { conn, address, pin } => {
                let server: usize = address.host.parse().expect("hosts are numbers here");
                let event = if self.switched_off == Some(server) {
                    Event::Closed { conn, reason: CloseReason::Refused }
                } else if pin != pin_of(server) {
                    Event::Closed { conn, reason: CloseReason::WrongKey }
                } else {
                    let other = ConnId::Inbound(self.next_inbound);
                    self.next_inbound += 1;
                    self.wires.insert((index, conn), (server, other));
                    self.wires.insert((server, other), (index, conn));
                    let (protocol, from) = (Protocol::Tallac, index.to_string());
                    self.events.push_back((server, Event::Accepted { conn: other, protocol, from }));
                    Event::Connected { conn }
                };
                self.events.push_back((index, event));
            }
            Action::Send { conn, mut frame } => {
                let bytes = frame.len();
                // A real wire would cut this into bytes and put it together again.
                let bulk = frame.pieces().skip(2).flat_map(|piece| piece.to_vec()).collect::<Vec<u8>>();
                frame.bulk = if bulk.is_empty() { vec![] } else { vec![bulk.into()] };
                if let Some((other, other_conn)) = self.wires.get(&(index, conn)).copied() {
                    self.events.push_back((other, Event::Frame { conn: other_conn, frame }));
                }
                self.events.push_back((index, Event::Sent { conn, bytes }));
            }
            Action::Close { conn } | Action::Abort { conn } => self.cut(index, conn),
            Action::Disk { id, steps } => {
                let result = run_steps(&mut self.disks[index], steps);
                self.events.push_back((index, Event::DiskDone { id, result }));
            }
            Action::Job { id, job } => {
                self.events.push_back((index, Event::JobDone { id, output: job::run(job, &NoRsa) }));
            }
            Action::Report(report) if index == CLIENT => self.reports.push(report),
            // This network delivers at once, so that nobody's reading needs to be held back.
            Action::Grant { .. } | Action::Report(_) | Action::SendBytes { .. } => {}
        }
    }

    fn cut(&mut self, index: usize, conn: ConnId) {
        if let Some((other, other_conn)) = self.wires.remove(&(index, conn)) {
            self.wires.remove(&(other, other_conn));
            self.events.push_back((other, Event::Closed { conn: other_conn, reason: CloseReason::Ended }));
        }
        self.events.push_back((index, Event::Closed { conn, reason: CloseReason::Ended }));
    }

    fn switch_off(&mut self, server: usize) {
        self.switched_off = Some(server);
        let conns: Vec<ConnId> =
            self.wires.keys().filter(|(index, _)| *index == server).map(|(_, conn)| *conn).collect();
        conns.into_iter().for_each(|conn| self.cut(server, conn));
    }
}

/// A disk without a disk: nothing here survives a crash, so nothing needs to be synced.
fn run_steps(disk: &mut BTreeMap<StorePath, Vec<u8>>, steps: Vec<DiskStep>) -> DiskResult {
    let mut outputs = Vec::new();
    for (step, todo) in steps.into_iter().enumerate() {
        let missing = DiskFailure { step, error: DiskError::NotFound };
        match todo {
            // Both are for what is not there yet: what is there is never lost.
            DiskStep::Create(path) | DiskStep::Make(path, _) if disk.contains_key(&path) => {
                return Err(DiskFailure { step, error: DiskError::Exists });
            }
            DiskStep::Create(path) => {
                disk.insert(path, Vec::new());
            }
            DiskStep::Write { path, offset, data } => {
                let file = disk.get_mut(&path).ok_or(missing)?;
                let (start, end) = (offset as usize, (offset + data.len()) as usize);
                file.resize(file.len().max(end), 0);
                file[start..end].copy_from_slice(data.bytes().expect("real bytes"));
            }
            DiskStep::Read { path, offset, len } => {
                let file = disk.get(&path).ok_or(missing)?;
                let start = (offset as usize).min(file.len());
                let end = start.saturating_add(len as usize).min(file.len());
                outputs.push(DiskOutput::Data(file[start..end].to_vec().into()));
            }
            DiskStep::Length(path) => {
                outputs.push(DiskOutput::Length(disk.get(&path).ok_or(missing)?.len() as u64))
            }
            DiskStep::Truncate(path, len) => disk.get_mut(&path).ok_or(missing)?.resize(len as usize, 0),
            DiskStep::Rename(from, to) => {
                let file = disk.remove(&from).ok_or(missing)?;
                disk.insert(to, file);
            }
            DiskStep::Remove(path) => {
                disk.remove(&path);
            }
            DiskStep::ListShares(wanted) => {
                let shares = disk.keys().filter_map(|path| match path {
                    StorePath::Share(index, share) if *index == wanted => Some(*share),
                    _ => None,
                });
                outputs.push(DiskOutput::Shares(shares.collect()));
            }
            DiskStep::ListRedo => outputs.push(DiskOutput::Slots(Vec::new())),
            DiskStep::FreeSpace => outputs.push(DiskOutput::Free(1 << 40)),
            DiskStep::Replace(path, data) | DiskStep::Make(path, data) => {
                disk.insert(path, data.bytes().expect("real bytes").to_vec());
            }
            DiskStep::CountShares => outputs.push(DiskOutput::Stored { shares: 0, bytes: 0 }),
            DiskStep::Sync(_) | DiskStep::SyncName(_) => {}
        }
    }
    Ok(outputs)
}

fn pin_of(index: usize) -> Pin {
    Pin([index as u8; 32])
}

fn server_info(index: usize) -> ServerInfo {
    let address = Address { host: index.to_string(), port: 1 };
    ServerInfo {
        nickname: format!("s{index}"),
        tub_id: TubId([index as u8; 20]),
        permutation_seed: vec![index as u8; 32],
        service: Some(Service { pin: pin_of(index), swissnum: swissnum(index), addresses: vec![address] }),
        program: "by hand".into(),
    }
}

fn swissnum(index: usize) -> Swissnum {
    Swissnum::new(&format!("swissnum{index}")).expect("letters and digits")
}

/// Servers have a storage service; the client knows the servers from its configuration.
fn config(index: usize, infos: &[ServerInfo]) -> NodeConfig {
    let key = |index: usize| [100 + index as u8; 32];
    let ids = (0..infos.len()).map(|index| AnnouncementKey::from_bytes(&key(index)).server_id());
    let serves = index < SERVERS;
    NodeConfig {
        program: "by hand".into(),
        announcement_key: Secret::from_bytes(key(index)),
        info: server_info(index),
        sequence: 1,
        storage: serves.then(|| StorageSetup {
            config: StorageConfig { reserved_space: 0, read_only: false, program: "by hand".into() },
            swissnum: swissnum(index),
        }),
        introducer: None,
        vdrive: None,
        vdrives: None,
        introducers: vec![],
        servers: if serves { Default::default() } else { ids.zip(infos.iter().cloned()).collect() },
        preferred_servers: Default::default(),
        refused_servers: Default::default(),
        encoding: EncodingParams::new(2, 3, 128 * 1024).expect("good parameters"),
        happy: None,
        convergence: SecretBytes::new(vec![7; 32]),
        lease_secret: Secret::from_bytes([8; 32]),
        peers: PeersConfig { connections_max: 64, program: "by hand".into() },
        keeps_cache: false,
        ready_keys: 0,
    }
}
