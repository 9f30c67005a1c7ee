//! The one table of announced, cached and configured servers.

use crate::announcement::{Announcement, ServerInfo};
use crate::identity::{ServerId, TubId};
use crate::limits::{ANNOUNCEMENTS_MAX, FORGOTTEN_SECONDS, KNOWN_SECONDS};
use crate::ring;
use crate::storage_index::StorageIndex;
use crate::time::UnixTime;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What is kept of a server that is not in use. The bulk of it, [`ServerInfo`], is shared with
/// everybody who got it from the same place.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ServerRecord {
    /// What it announced.
    pub info: Arc<ServerInfo>,
    /// The sequence number of that announcement.
    pub sequence: u64,
    /// When it was last announced or connected.
    pub last_heard: UnixTime,
    /// It stands in the configuration: announcements do not change it, and it is never forgotten.
    pub configured: bool,
    /// It said, when last asked, that it takes no shares.
    pub read_only: bool,
}

/// A server as an upload or download needs to know it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Candidate {
    /// Its id.
    pub server: ServerId,
    /// Lease secrets are hashed with it.
    pub tub_id: TubId,
    /// Its name for people.
    pub nickname: String,
    /// It said, when last asked, that it takes no shares.
    pub read_only: bool,
}

/// What an announcement changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Learned {
    /// A server not known before.
    New,
    /// Another address, name or seed of a known server.
    Changed,
    /// Nothing but the time it was heard.
    Same,
    /// Nothing: it is older than what is known, about a refused server, or there is no room.
    Ignored,
}

/// Every server a node knows of.
#[derive(Debug, Default)]
pub struct ServerTable {
    servers: BTreeMap<ServerId, ServerRecord>,
    preferred: BTreeSet<ServerId>,
    refused: BTreeSet<ServerId>,
}

impl ServerTable {
    /// An empty table. `preferred` servers come first on every ring, `refused` ones never.
    pub fn new(preferred: BTreeSet<ServerId>, refused: BTreeSet<ServerId>) -> ServerTable {
        ServerTable { servers: BTreeMap::new(), preferred, refused }
    }

    /// Adds a server from the configuration.
    pub fn configure(&mut self, server: ServerId, info: Arc<ServerInfo>, now: UnixTime) {
        if self.refused.contains(&server) {
            return;
        }
        let record = ServerRecord { info, sequence: 0, last_heard: now, configured: true, read_only: false };
        self.servers.insert(server, record);
    }

    /// Takes in an announcement whose signature was checked, or one from the cache, last heard at
    /// `heard`.
    pub fn learn(&mut self, announcement: Announcement, heard: UnixTime) -> Learned {
        let Announcement { server, sequence, info, .. } = announcement;
        if self.refused.contains(&server) {
            return Learned::Ignored;
        }
        if let Some(record) = self.servers.get_mut(&server) {
            if record.configured || sequence < record.sequence {
                return Learned::Ignored;
            }
            record.last_heard = record.last_heard.max(heard);
            if *record.info == info {
                record.sequence = sequence;
                return Learned::Same;
            }
            if sequence == record.sequence {
                // Two different announcements under one number: keep the first.
                return Learned::Ignored;
            }
            (record.info, record.sequence) = (Arc::new(info), sequence);
            return Learned::Changed;
        }
        if self.servers.len() >= ANNOUNCEMENTS_MAX {
            return Learned::Ignored;
        }
        let record = ServerRecord {
            info: Arc::new(info),
            sequence,
            last_heard: heard,
            configured: false,
            read_only: false,
        };
        self.servers.insert(server, record);
        Learned::New
    }

    /// Notes that a server answered, and whether it takes shares.
    pub fn heard(&mut self, server: ServerId, read_only: Option<bool>, now: UnixTime) {
        if let Some(record) = self.servers.get_mut(&server) {
            record.last_heard = record.last_heard.max(now);
            record.read_only = read_only.unwrap_or(record.read_only);
        }
    }

    /// Forgets announced servers that nobody has heard of for very long.
    pub fn forget_unheard(&mut self, now: UnixTime) {
        self.servers.retain(|_, r| r.configured || r.last_heard.0.saturating_add(FORGOTTEN_SECONDS) >= now.0);
    }

    /// One server.
    pub fn find(&self, server: &ServerId) -> Option<&ServerRecord> {
        self.servers.get(server)
    }

    /// All servers, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&ServerId, &ServerRecord)> {
        self.servers.iter()
    }

    /// How many servers are known.
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Whether no server is known.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// How many servers are known to take shares, connected or not: configured, or heard of within
    /// [`KNOWN_SECONDS`]. Where no happiness is configured it follows from this number, never from
    /// who happens to answer, so that a partition does not lower the standard.
    pub fn writable(&self, now: UnixTime) -> usize {
        let known = |record: &ServerRecord| {
            record.configured || record.last_heard.0.saturating_add(KNOWN_SECONDS) >= now.0
        };
        self.servers.values().filter(|r| r.info.service.is_some() && !r.read_only && known(r)).count()
    }

    /// The first `limit` servers on the ring of a storage index.
    pub fn ring(&self, storage_index: &StorageIndex, limit: usize) -> Vec<Candidate> {
        let reachable = self.servers.iter().filter(|(_, record)| record.info.service.is_some());
        let entries = reachable.map(|(server, record)| {
            (*server, record.info.permutation_seed.as_slice(), self.preferred.contains(server))
        });
        let order = ring::permute(storage_index, entries);
        let candidate = |server: ServerId| {
            let record = &self.servers[&server];
            Candidate {
                server,
                tub_id: record.info.tub_id,
                nickname: record.info.nickname.clone(),
                read_only: record.read_only,
            }
        };
        order.into_iter().take(limit).map(candidate).collect()
    }
}
