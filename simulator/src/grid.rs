//! A grid of real nodes: introducers, servers and clients, made from a seed and a short description.

use crate::chance::Chance;
use crate::changes::Changes;
use crate::disk::{Disk, DiskSettings};
use crate::form;
use crate::operations::Operations;
use crate::record::MarkKind;
use crate::{Birth, Crash, NetworkSettings, NodeId, NodeSetup, Stepped, World};
use core::time::Duration;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use tallac_core::announcement::{AnnouncementKey, ServerInfo};
use tallac_core::encoding::EncodingParams;
use tallac_core::identity::{ServerId, TubId};
use tallac_core::job::{self, Job, JobOutput};
use tallac_core::node::{Node, NodeConfig, StorageSetup};
use tallac_core::nurl::{Address, Pin, Service, Swissnum};
use tallac_core::peers::PeersConfig;
use tallac_core::secret::{Secret, SecretBytes};
use tallac_core::storage::StorageConfig;
use tallac_soft_rsa::SoftRsa;

/// What a grid is made of.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridSpec {
    /// Nodes that pass announcements on.
    pub introducers: u16,
    /// Nodes that keep shares.
    pub servers: u16,
    /// Nodes that upload and download.
    pub clients: u16,
    /// k, N and the segment size.
    #[serde(with = "form::encoding")]
    pub encoding: EncodingParams,
    /// The happiness that uploads want; `None`: what the core makes of the servers known.
    pub happy: Option<usize>,
    /// Connections to servers that a client keeps.
    pub connections_max: usize,
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
            introducers: 1,
            servers: 10,
            clients: 1,
            encoding: EncodingParams::new(3, 10, 4096).expect("within bounds"),
            happy: None,
            connections_max: 256,
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
    furls: Vec<Service>,
}

impl Grid {
    /// A grid of nodes that do not run yet.
    pub fn new(seed: u64, spec: &GridSpec) -> Grid {
        let mut world = World::new(seed, spec.network.clone());
        world.set_executor(Box::new(remembering()));
        let introducers: Vec<Identity> =
            (0..spec.introducers).map(|n| Identity::new(seed, format!("introducer{n}"))).collect();
        let furls: Vec<Service> = introducers.iter().map(|identity| identity.service("introducer")).collect();
        let servers: Vec<Identity> =
            (0..spec.servers).map(|n| Identity::new(seed, format!("server{n}"))).collect();
        let by_id: Vec<ServerId> = servers.iter().map(Identity::server_id).collect();
        let clients = (0..spec.clients).map(|n| Identity::new(seed, format!("client{n}")));
        let mut add = |identity: Identity, role: Role| -> NodeId {
            let disk = Disk::new(spec.disk.clone(), Chance::named(seed, &identity.name));
            let make = identity.maker(spec, role, furls.clone());
            world.add(NodeSetup { name: identity.name.clone(), pin: identity.pin(), disk, make })
        };
        let introducers = introducers.into_iter().map(|identity| add(identity, Role::Introducer)).collect();
        let servers: Vec<NodeId> = servers.into_iter().map(|identity| add(identity, Role::Server)).collect();
        let clients = clients.map(|identity| add(identity, Role::Client)).collect();
        let by_id = by_id.into_iter().zip(servers.iter().copied()).collect();
        let (operations, changes) = (Operations::new(seed), Changes::new(seed));
        Grid { world, introducers, servers, clients, by_id, operations, changes, furls }
    }

    /// Adds a node to a grid, which does not run yet and is not in the lists of its nodes.
    pub(crate) fn add(&mut self, identity: Identity, role: Role, spec: &GridSpec) -> NodeId {
        let disk = Disk::new(spec.disk.clone(), Chance::named(identity.seed, "one more"));
        let make = identity.maker(spec, role, self.furls.clone());
        self.world.add(NodeSetup { name: identity.name.clone(), pin: identity.pin(), disk, make })
    }

    /// A server is another one from its next start on.
    pub(crate) fn be_another(&mut self, node: NodeId, identity: &Identity, spec: &GridSpec) {
        self.world.replace(node, identity.pin(), identity.maker(spec, Role::Server, self.furls.clone()));
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
        let servers = usize::from(spec.servers);
        let deadline = grid.world.now() + Duration::from_secs(60);
        let knows_all = |grid: &Grid, client: &NodeId| {
            let date = grid.world.clock(*client).unix;
            let node = grid.world.machine(*client).expect("it was started");
            node.status(servers, date).servers.len() == servers
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

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Introducer,
    Server,
    Client,
}

/// What a node is known by; all of it follows from the seed and its name.
pub(crate) struct Identity {
    seed: u64,
    /// Its host name.
    pub(crate) name: String,
    /// How many had this host name before.
    number: u32,
}

impl Identity {
    pub(crate) fn new(seed: u64, name: String) -> Identity {
        Identity { seed, name, number: 0 }
    }

    /// Somebody else at the same host.
    pub(crate) fn another(seed: u64, name: String, number: u32) -> Identity {
        Identity { seed, name, number }
    }

    /// Makes a node's machine at each start.
    fn maker(&self, spec: &GridSpec, role: Role, furls: Vec<Service>) -> Box<dyn FnMut(Birth) -> Node> {
        let config = self.config(spec, role, furls);
        Box::new(move |birth: Birth| {
            let config = NodeConfig { sequence: 1 + u64::from(birth.life), ..config.clone() };
            Node::new(config, birth.seed, birth.now)
        })
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
        AnnouncementKey::from_bytes(&self.secret("key")).server_id()
    }

    pub(crate) fn config(&self, spec: &GridSpec, role: Role, introducers: Vec<Service>) -> NodeConfig {
        let program = String::from("tallac-simulator/1");
        let serves = role == Role::Server;
        let tub_id = TubId(self.secret("tub")[..20].try_into().expect("twenty bytes"));
        let storage =
            StorageConfig { reserved_space: spec.reserved_space, read_only: false, program: program.clone() };
        NodeConfig {
            announcement_key: Secret::from_bytes(self.secret("key")),
            info: ServerInfo {
                nickname: self.name.clone(),
                tub_id,
                permutation_seed: self.server_id().0.to_vec(),
                service: serves.then(|| self.service("storage")),
                program: program.clone(),
            },
            sequence: 1,
            storage: serves.then(|| StorageSetup { config: storage, swissnum: self.swissnum("storage") }),
            introducer: (role == Role::Introducer).then(|| self.swissnum("introducer")),
            vdrive: None,
            vdrives: None,
            introducers: if role == Role::Introducer { Vec::new() } else { introducers },
            servers: Vec::new(),
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
fn remembering() -> impl FnMut(Job) -> JobOutput {
    let mut known = BTreeMap::new();
    move |job| match job {
        Job::CheckAnnouncements(list) => {
            let check = |signed: tallac_core::announcement::SignedAnnouncement| {
                let key = (signed.key.clone(), signed.signature.clone(), signed.message.clone());
                known.entry(key).or_insert_with(|| tallac_core::announcement::verify(&signed)).clone()
            };
            JobOutput::Announcements(list.into_iter().map(check).collect())
        }
        other => job::run(other, &SoftRsa),
    }
}
