//! How a node stands, for people.

use super::{Entry, Node, Totals};
use crate::identity::{ServerId, TubId};
use crate::introducer::IntroducerStatus;
use crate::nurl::Address;
use crate::peers::LinkStatus;
use crate::storage::{StorageConfig, StorageStats};
use crate::time::{Instant, Now, UnixTime};
use crate::vdrive::{RootStage, SharedRootStatus, VdriveClient, VdriveServer};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// How a node stands. Holds no secrets.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// The program and its version.
    pub program: String,
    /// The node's name for people.
    pub nickname: String,
    /// The id under which it announces itself.
    pub server_id: ServerId,
    /// The id of its certificate.
    pub tub_id: TubId,
    /// The introducers and how the connections to them stand.
    pub introducers: Vec<IntroducerStatus>,
    /// The servers known, by id.
    pub servers: Vec<ServerView>,
    /// How many of them are connected.
    pub connected: usize,
    /// The storage service, if the node has one.
    pub storage: Option<StorageStats>,
    /// Announcements kept and subscribers, if the node is an introducer.
    pub introducer: Option<(usize, usize)>,
    /// How far the shared root is, if the node is a vdrive server.
    pub vdrive: Option<RootStage>,
    /// What the node has of the shared root, if it has any use for one.
    pub shared_root: Option<SharedRootStatus>,
    /// Connections accepted from other nodes.
    pub clients: usize,
    /// Uploads and downloads under way.
    pub operations: (usize, usize),
    /// The happiness that a new upload wants now.
    pub happy: usize,
    /// k and N of new files.
    pub shares: (u16, u16),
}

/// A server as a node sees it.
#[derive(Clone, Debug)]
pub struct ServerView {
    /// Its id.
    pub server: ServerId,
    /// Its name for people.
    pub nickname: String,
    /// The program and version it announced.
    pub program: String,
    /// The connection to it.
    pub link: LinkStatus,
    /// Since when it could not be reached.
    pub down_since: Option<Instant>,
    /// When it was last heard of; 0 for one that stands in the configuration and never was.
    pub last_heard: UnixTime,
    /// Bytes it said it can take, when last asked.
    pub available_space: Option<u64>,
    /// It takes no shares.
    pub read_only: bool,
}

/// What an introducer knows and whom it tells.
#[derive(Clone, Debug)]
pub struct Introducing {
    /// The servers announced, by id.
    pub announcements: Vec<Announced>,
    /// The nodes that are told.
    pub subscribers: Vec<Subscriber>,
}

/// A server that an introducer keeps the announcement of.
#[derive(Clone, Debug)]
pub struct Announced {
    /// Its id.
    pub server: ServerId,
    /// The number of the announcement.
    pub sequence: u64,
    /// Its name for people.
    pub nickname: String,
    /// The program and version it announced.
    pub program: String,
    /// Where it listens.
    pub addresses: Vec<Address>,
}

/// A node that an introducer tells of servers.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// Where its connection comes from.
    pub from: String,
    /// The program and version it said it is.
    pub program: String,
    /// Since when it is connected.
    pub since: Instant,
}

impl Node {
    /// What the node does as an introducer, if it is one. At most so many of each are listed.
    pub fn introducing(&self, listed_max: usize) -> Option<Introducing> {
        let introducer = self.introducer.as_ref()?;
        let announced = |(server, sequence): (ServerId, u64)| {
            // It learns of every server it tells others of, unless it was told not to use that one.
            let info = self.peers.table.find(&server).map(|record| &record.info);
            Announced {
                server,
                sequence,
                nickname: info.map(|info| info.nickname.clone()).unwrap_or_default(),
                program: info.map(|info| info.program.clone()).unwrap_or_default(),
                addresses: info
                    .and_then(|info| info.service.as_ref())
                    .map(|service| service.addresses.clone())
                    .unwrap_or_default(),
            }
        };
        let subscriber = |conn| {
            let (from, program, since) = self.serving.client(conn)?;
            Some(Subscriber { from: from.into(), program: program.into(), since })
        };
        Some(Introducing {
            announcements: introducer.announcements().take(listed_max).map(announced).collect(),
            subscribers: introducer.subscribers().filter_map(subscriber).take(listed_max).collect(),
        })
    }

    /// The node's name for people.
    pub fn nickname(&self) -> &str {
        &self.config.info.nickname
    }

    /// What the node has done since it started.
    pub fn totals(&self) -> Totals {
        self.journal.totals()
    }

    /// Operations under way.
    pub fn active_operations(&self) -> impl Iterator<Item = &Entry> {
        self.journal.active()
    }

    /// Operations that are over, the last one first; only so many are kept.
    pub fn recent_operations(&self) -> impl Iterator<Item = &Entry> {
        self.journal.recent()
    }

    /// How many shares are on each server of the files stored since the node has started.
    pub fn placed(&self) -> &BTreeMap<ServerId, u64> {
        self.journal.placed()
    }

    /// The settings of the storage service, if the node has one.
    pub fn storage_settings(&self) -> Option<&StorageConfig> {
        self.config.storage.as_ref().map(|setup| &setup.config)
    }

    /// How the node stands. At most the first `servers_max` servers are listed.
    pub fn status(&self, servers_max: usize, now: Now) -> NodeStatus {
        let table = &self.peers.table;
        let view = |(server, record): (&ServerId, &crate::peers::ServerRecord)| {
            let status = self.peers.status(server);
            ServerView {
                server: *server,
                nickname: record.info.nickname.clone(),
                program: record.info.program.clone(),
                link: status.link,
                down_since: status.down_since,
                last_heard: record.last_heard,
                available_space: status.available_space,
                read_only: record.read_only,
            }
        };
        NodeStatus {
            program: self.config.program.clone(),
            nickname: self.config.info.nickname.clone(),
            server_id: self.server_id,
            tub_id: self.config.info.tub_id,
            introducers: self.introducers.status(),
            servers: table.iter().take(servers_max).map(view).collect(),
            connected: self.peers.connected(),
            storage: self.storage.as_ref().map(|storage| storage.stats()),
            introducer: self.introducer.as_ref().map(|introducer| introducer.counts()),
            vdrive: self.vdrive.as_deref().map(VdriveServer::stage),
            shared_root: self.shared_root.as_deref().map(VdriveClient::status),
            clients: self.serving.clients(),
            operations: self.operations.counts(),
            happy: super::operations::happy(&self.config, table, now),
            shares: (self.config.encoding.needed(), self.config.encoding.total()),
        }
    }
}
