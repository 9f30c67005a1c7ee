//! What a node must be told before it starts.

use crate::announcement::ServerInfo;
use crate::encoding::EncodingParams;
use crate::identity::ServerId;
use crate::nurl::{Service, Swissnum};
use crate::peers::{PeersConfig, Roster};
use crate::secret::{LeaseSecret, Secret, SecretBytes};
use crate::storage::StorageConfig;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

/// What a node must be told before it starts. The host reads it from the node's directory.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The program and its version, as told to other nodes.
    pub program: String,
    /// The Ed25519 key that signs announcements; the server id follows from it.
    pub announcement_key: Secret<32>,
    /// What the node announces, if it serves storage.
    pub info: ServerInfo,
    /// The sequence number of the announcement; greater than in any earlier run.
    pub sequence: u64,
    /// The storage service, if the node has one.
    pub storage: Option<StorageSetup>,
    /// The introducer's swissnum, if the node is an introducer.
    pub introducer: Option<Swissnum>,
    /// The swissnums of the vdrive service, if the node hands out the shared root.
    pub vdrive: Option<VdriveSetup>,
    /// The vdrive servers to ask for the shared root. `None`: the node has no use for one.
    pub vdrives: Option<Vec<Service>>,
    /// The introducers to publish to and to hear.
    pub introducers: Vec<Service>,
    /// Servers that stand in the configuration.
    pub servers: Roster,
    /// Servers that come first in every choice.
    pub preferred_servers: BTreeSet<ServerId>,
    /// Servers that are never used.
    pub refused_servers: BTreeSet<ServerId>,
    /// k, N and the segment size of new files.
    pub encoding: EncodingParams,
    /// How many servers must hold distinct shares of a new file. `None`: the smaller of 7, N and
    /// the number of writable servers known.
    pub happy: Option<usize>,
    /// The convergence secret.
    pub convergence: SecretBytes,
    /// The master secret for leases.
    pub lease_secret: LeaseSecret,
    /// Keys for new mutable files that are kept ready once the node has been asked for one.
    pub ready_keys: usize,
    /// Settings of the connections to servers.
    pub peers: PeersConfig,
    /// Whether the servers heard of are saved on the disk and read at start.
    pub keeps_cache: bool,
}

/// The storage service of a node.
#[derive(Clone, Debug)]
pub struct StorageSetup {
    /// Its settings.
    pub config: StorageConfig,
    /// The name under which clients ask for it.
    pub swissnum: Swissnum,
}

/// The vdrive service of a node.
#[derive(Clone, Debug)]
pub struct VdriveSetup {
    /// The name under which clients get the right to change the shared root.
    pub write: Swissnum,
    /// The name under which they get the right to read it.
    pub read_only: Swissnum,
}
