//! A grid of real nodes: introducers, servers and clients, made from a seed and a short description.

use crate::chance::{self, Chance};
use crate::changes::Changes;
use crate::disk::{Disk, DiskSettings};
use crate::form;
use crate::operations::Operations;
use crate::record::MarkKind;
use crate::stand_in;
use crate::{Birth, Crash, Fidelity, NetworkSettings, NodeId, NodeSetup, Stepped, World};
use core::time::Duration;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use tallac_core::announcement::{AnnouncementKey, ServerInfo};
use tallac_core::encoding::EncodingParams;
use tallac_core::identity::{ServerId, TubId};
use tallac_core::job::{self, Job, JobOutput};
use tallac_core::node::{Node, NodeConfig, StorageSetup};
use tallac_core::nurl::{Address, Pin, Service, Swissnum};
use tallac_core::payload::Payload;
use tallac_core::peers::{PeersConfig, Roster};
use tallac_core::secret::{Secret, SecretBytes};
use tallac_core::storage::StorageConfig;
use tallac_soft_rsa::SoftRsa;

/// What a grid is made of.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridSpec {
    /// How true it is to the bytes.
    #[serde(default)]
    pub fidelity: Fidelity,
    /// Nodes that pass announcements on.
    pub introducers: u16,
    /// Nodes that keep shares.
    pub servers: u32,
    /// Nodes that upload and download.
    pub clients: u32,
    /// k, N and the segment size.
    #[serde(with = "form::encoding")]
    pub encoding: EncodingParams,
    /// The happiness that uploads want; `None`: what the core makes of the servers known.
    pub happy: Option<usize>,
    /// Connections to servers that a client keeps.
    pub connections_max: usize,
    /// Clients have the servers in their configuration, and no server has an introducer: so it is in large
    /// grids, of which an introducer serves a small part. Servers are made when somebody calls them.
    #[serde(default)]
    pub configured: bool,
    /// Bytes that servers leave free.
    pub reserved_space: u64,
    /// What the network is like.
    pub network: NetworkSettings,
    /// What the disks are like.
    pub disk: DiskSettings,
}

impl Default for GridSpec {
    /// One introducer, ten servers, one client; 3 of 10 shares, segments of 4 KiB.
    fn default() -> GridSpec {
        GridSpec {
            fidelity: Fidelity::Bytes,
            introducers: 1,
            servers: 10,
            clients: 1,
            encoding: EncodingParams::new(3, 10, 4096).expect("within bounds"),
            happy: None,
            connections_max: 256,
            configured: false,
            reserved_space: 0,
            network: NetworkSettings::default(),
            disk: DiskSettings::default(),
        }
    }
}

/// Nodes of a grid in a world of their own, and the programs that use them.
pub struct Grid {
    /// The world they live in.
    pub world: World<Node>,
    /// The introducers.
    pub introducers: Vec<NodeId>,
    /// The storage servers.
    pub servers: Vec<NodeId>,
    /// The clients.
    pub clients: Vec<NodeId>,
    /// The servers by the id they are known under.
    pub by_id: BTreeMap<ServerId, NodeId>,
    /// The uploads and downloads.
    pub operations: Operations,
    /// The changes of directories and mutable files.
    pub changes: Changes,
    context: Rc<Context>,
    fidelity: Fidelity,
}

impl Grid {
    /// A grid of nodes that do not run yet.
    pub fn new(seed: u64, spec: &GridSpec) -> Grid {
        let mut world = World::with_fidelity(seed, spec.network.clone(), spec.fidelity);
        world.set_executor(match spec.fidelity {
            Fidelity::Bytes => Box::new(remembering(|job| job::run(job, &SoftRsa))),
            Fidelity::Protocol => Box::new(remembering(stand_in::executor(SoftRsa))),
        });
        let introducers: Vec<Identity> =
            (0..spec.introducers).map(|n| Identity::new(seed, format!("introducer{n}"))).collect();
        let furls: Vec<Service> = introducers.iter().map(|identity| identity.service("introducer")).collect();
        let server = move |number: u32| Identity::new(seed, format!("server{number}"));
        let by_id: Vec<ServerId> = (0..spec.servers).map(|number| server(number).server_id()).collect();
        let roster = if spec.configured { roster(server, &by_id) } else { Roster::default() };
        let ids = if spec.configured { by_id.clone() } else { Vec::new() };
        let context = Rc::new(Context { spec: spec.clone(), furls, roster });
        let introducers = introducers.into_iter();
        let introducers = introducers.map(|node| world.add(context.setup(node, Role::Introducer))).collect();
        let servers: Vec<NodeId> = if spec.configured {
            let context = context.clone();
            // Who makes a server in the middle of the work need not find out its id again.
            let known = move |n: u32| Identity { id: Some(ids[n as usize]), ..server(n) };
            world.add_sleeping("server", spec.servers, move |n| context.setup(known(n), Role::Server))
        } else {
            (0..spec.servers).map(|n| world.add(context.setup(server(n), Role::Server))).collect()
        };
        let clients = (0..spec.clients).map(|n| Identity::new(seed, format!("client{n}")));
        let clients = clients.map(|identity| world.add(context.setup(identity, Role::Client))).collect();
        let by_id = by_id.into_iter().zip(servers.iter().copied()).collect();
        let (operations, changes, fidelity) = (Operations::new(seed), Changes::new(seed), spec.fidelity);
        Grid { world, introducers, servers, clients, by_id, operations, changes, context, fidelity }
    }

    /// The content of a seed, as this grid's fidelity has it: bytes, or a stand-in for the same bytes.
    pub fn content(&self, seed: u64, len: u64) -> Payload {
        match self.fidelity {
            Fidelity::Bytes => chance::content(seed, len).into(),
            Fidelity::Protocol => stand_in::content(seed, len),
        }
    }

    /// Adds a node to a grid, which does not run yet and is not in the lists of its nodes.
    pub(crate) fn add(&mut self, identity: Identity, role: Role, spec: &GridSpec) -> NodeId {
        let disk = Disk::new(spec.disk.clone(), Chance::named(identity.seed, "one more"));
        let setup = self.context.setup(identity, role);
        self.world.add(NodeSetup { disk, ..setup })
    }

    /// A server is another one from its next start on.
    pub(crate) fn be_another(&mut self, node: NodeId, identity: &Identity) {
        self.world.replace(node, identity.pin(), self.context.maker(identity.clone(), Role::Server));
        self.by_id.insert(identity.server_id(), node);
    }

    /// Starts every node that does not run.
    pub fn start_all(&mut self) {
        self.world.nodes().for_each(|node| self.world.start(node));
    }

    /// A grid in which every node runs and every client knows every server.
    pub fn running(seed: u64, spec: &GridSpec) -> Grid {
        let mut grid = Grid::new(seed, spec);
        grid.start_all();
        let servers = spec.servers as usize;
        let deadline = grid.world.now() + Duration::from_secs(60);
        let knows_all = |grid: &Grid, client: &NodeId| {
            let now = grid.world.clock(*client);
            let node = grid.world.machine(*client).expect("it was started");
            node.status(servers, now).servers.len() == servers
        };
        while !grid.clients.iter().all(|client| knows_all(&grid, client)) {
            assert!(grid.world.now() < deadline, "the clients never hear of all servers");
            let next = grid.world.now() + Duration::from_millis(200);
            grid.run_until(next);
        }
        grid
    }

    /// Goes on to the next thing. A timer that comes out is the caller's.
    pub fn step(&mut self) -> Stepped {
        let mut stepped = self.world.step();
        if let Stepped::Timer(timer) = stepped
            && self.operations.timer(timer, &mut self.world)
        {
            stepped = Stepped::Moved;
        }
        let before = (self.operations.violations().len(), self.changes.violations().len());
        while let Some((node, report)) = self.world.poll_report() {
            if !self.changes.report(&report, &mut self.world) {
                self.operations.report(node, report, &mut self.world, &self.by_id);
            }
        }
        let wrong = self.operations.violations()[before.0..].iter();
        for wrong in wrong.chain(&self.changes.violations()[before.1..]) {
            self.world.remark(MarkKind::Wrong, None, || wrong.clone());
        }
        stepped
    }

    /// Goes on until a point in time, or until a timer of the caller's is due.
    pub fn run_until(&mut self, at: Duration) -> Option<u64> {
        while self.world.next_at().is_some_and(|next| next <= at) {
            if let Stepped::Timer(timer) = self.step() {
                return Some(timer);
            }
        }
        self.world.pass(at);
        None
    }

    /// Goes on until no operation is under way. `false` if that takes longer than `patience`.
    pub fn finish_operations(&mut self, patience: Duration) -> bool {
        let deadline = self.world.now() + patience;
        while self.operations.under_way() + self.changes.under_way() > 0 {
            if self.world.next_at().is_none_or(|next| next > deadline) {
                return false;
            }
            self.step();
        }
        true
    }

    /// Ends a node and the operations of the program on it. Gives how many those were.
    pub fn crash(&mut self, node: NodeId, crash: Crash) -> usize {
        self.world.crash(node, crash);
        self.operations.crashed(node) + self.changes.crashed(node)
    }
}

/// What nodes say of their program.
const PROGRAM: &str = "tallac-simulator/1";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Introducer,
    Server,
    Client,
}

/// What the nodes of a grid have in common.
struct Context {
    spec: GridSpec,
    furls: Vec<Service>,
    roster: Roster,
}

impl Context {
    fn setup(self: &Rc<Self>, identity: Identity, role: Role) -> NodeSetup<Node> {
        let disk = Disk::new(self.spec.disk.clone(), Chance::named(identity.seed, &identity.name));
        let (name, pin) = (identity.name.clone(), identity.pin());
        NodeSetup { name, pin, disk, make: self.maker(identity, role) }
    }

    /// Makes a node's machine at each start.
    fn maker(self: &Rc<Self>, identity: Identity, role: Role) -> Box<dyn FnMut(Birth) -> Node> {
        let context = self.clone();
        Box::new(move |birth: Birth| {
            let furls = if context.spec.configured { Vec::new() } else { context.furls.clone() };
            let config = NodeConfig {
                sequence: 1 + u64::from(birth.life),
                servers: if role == Role::Client { context.roster.clone() } else { Roster::default() },
                ..identity.config(&context.spec, role, furls)
            };
            Node::new(config, birth.seed, birth.now)
        })
    }
}

/// All servers, as those who have them in their configuration know them.
fn roster(server: impl Fn(u32) -> Identity, ids: &[ServerId]) -> Roster {
    ids.iter().zip(0..).map(|(id, number)| (*id, server(number).info(*id, true))).collect()
}

/// What a node is known by; all of it follows from the seed and its name.
#[derive(Clone)]
pub(crate) struct Identity {
    seed: u64,
    /// Its host name.
    pub(crate) name: String,
    /// How many had this host name before.
    number: u32,
    /// Its id, if somebody has found it out.
    id: Option<ServerId>,
}

impl Identity {
    pub(crate) fn new(seed: u64, name: String) -> Identity {
        Identity { seed, name, number: 0, id: None }
    }

    /// Somebody else at the same host.
    pub(crate) fn another(seed: u64, name: String, number: u32) -> Identity {
        Identity { seed, name, number, id: None }
    }

    fn secret(&self, what: &str) -> [u8; 32] {
        let before = if self.number == 0 { String::new() } else { format!(" after {}", self.number) };
        let text = format!("{} {}{before} {what}", self.seed, self.name);
        Sha256::digest(text.as_bytes()).into()
    }

    pub(crate) fn pin(&self) -> Pin {
        Pin(self.secret("certificate"))
    }

    fn swissnum(&self, service: &str) -> Swissnum {
        let text: String = self.secret(service)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Swissnum::new(&text).expect("hexadecimal digits are allowed")
    }

    pub(crate) fn service(&self, service: &str) -> Service {
        let address = Address { host: self.name.clone(), port: 3457 };
        Service { pin: self.pin(), swissnum: self.swissnum(service), addresses: vec![address] }
    }

    pub(crate) fn server_id(&self) -> ServerId {
        self.id.unwrap_or_else(|| AnnouncementKey::from_bytes(&self.secret("key")).server_id())
    }

    /// What it announces.
    fn info(&self, id: ServerId, serves: bool) -> ServerInfo {
        ServerInfo {
            nickname: self.name.clone(),
            tub_id: TubId(self.secret("tub")[..20].try_into().expect("twenty bytes")),
            permutation_seed: id.0.to_vec(),
            service: serves.then(|| self.service("storage")),
            program: PROGRAM.into(),
        }
    }

    pub(crate) fn config(&self, spec: &GridSpec, role: Role, introducers: Vec<Service>) -> NodeConfig {
        let program = String::from(PROGRAM);
        let serves = role == Role::Server;
        let storage =
            StorageConfig { reserved_space: spec.reserved_space, read_only: false, program: program.clone() };
        NodeConfig {
            announcement_key: Secret::from_bytes(self.secret("key")),
            info: self.info(self.server_id(), serves),
            sequence: 1,
            storage: serves.then(|| StorageSetup { config: storage, swissnum: self.swissnum("storage") }),
            introducer: (role == Role::Introducer).then(|| self.swissnum("introducer")),
            vdrive: None,
            vdrives: None,
            introducers: if role == Role::Introducer { Vec::new() } else { introducers },
            servers: Roster::default(),
            preferred_servers: BTreeSet::new(),
            refused_servers: BTreeSet::new(),
            encoding: spec.encoding,
            happy: spec.happy,
            convergence: SecretBytes::new(self.secret("convergence").to_vec()),
            lease_secret: Secret::from_bytes(self.secret("leases")),
            // Only clients keep connections; a server is a client of nobody here.
            peers: PeersConfig {
                connections_max: if role == Role::Client { spec.connections_max } else { 0 },
                program: program.clone(),
            },
            keeps_cache: role == Role::Client,
            ready_keys: 0,
            program,
        }
    }
}

/// Computes jobs, and checks each announcement only once however many nodes hear it: checking is
/// the dearest thing a large grid does while it starts.
fn remembering(mut others: impl FnMut(Job) -> JobOutput) -> impl FnMut(Job) -> JobOutput {
    let mut known = BTreeMap::new();
    move |job| match job {
        Job::CheckAnnouncements(list) => {
            let check = |signed: tallac_core::announcement::SignedAnnouncement| {
                let key = (signed.key.clone(), signed.signature.clone(), signed.message.clone());
                known.entry(key).or_insert_with(|| tallac_core::announcement::verify(&signed)).clone()
            };
            JobOutput::Announcements(list.into_iter().map(check).collect())
        }
        other => others(other),
    }
}
