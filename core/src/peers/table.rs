//! The one table of announced, cached and configured servers.

use super::roster::Roster;
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
    /// The servers of the configuration, shared with all who have the same.
    roster: Roster,
    /// Those heard of; and those of the configuration of which more is known than stands there.
    servers: BTreeMap<ServerId, ServerRecord>,
    /// How many servers are known. Asked for at every event, so it is not counted each time.
    known: usize,
    preferred: BTreeSet<ServerId>,
    refused: BTreeSet<ServerId>,
}

impl ServerTable {
    /// A table of the servers of the configuration. `preferred` servers come first on every ring,
    /// `refused` ones never.
    pub fn new(roster: Roster, preferred: BTreeSet<ServerId>, refused: BTreeSet<ServerId>) -> ServerTable {
        let mut table = ServerTable { roster, servers: BTreeMap::new(), known: 0, preferred, refused };
        table.known = table.roster.len() - table.refused_of_roster().count();
        table
    }

    /// What stands in the configuration about a server, unless it is refused.
    fn configured(&self, server: &ServerId) -> Option<&ServerRecord> {
        self.roster.find(server).filter(|_| !self.refused.contains(server))
    }

    /// The servers of the configuration that are refused.
    fn refused_of_roster(&self) -> impl Iterator<Item = &ServerRecord> {
        self.refused.iter().filter_map(|server| self.roster.find(server))
    }

    /// Takes in an announcement whose signature was checked, or one from the cache, last heard at
    /// `heard`.
    pub fn learn(&mut self, announcement: Announcement, heard: UnixTime) -> Learned {
        let Announcement { server, sequence, info, .. } = announcement;
        if self.refused.contains(&server) {
            return Learned::Ignored;
        }
        if self.configured(&server).is_some() {
            return Learned::Ignored;
        }
        if let Some(record) = self.servers.get_mut(&server) {
            if sequence < record.sequence {
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
        if self.len() >= ANNOUNCEMENTS_MAX {
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
        self.known += 1;
        Learned::New
    }

    /// Notes that a server answered, and whether it takes shares.
    pub fn heard(&mut self, server: ServerId, read_only: Option<bool>, now: UnixTime) {
        if !self.servers.contains_key(&server) {
            let Some(record) = self.configured(&server).cloned() else { return };
            self.servers.insert(server, record);
        }
        if let Some(record) = self.servers.get_mut(&server) {
            record.last_heard = record.last_heard.max(now);
            record.read_only = read_only.unwrap_or(record.read_only);
        }
    }

    /// Forgets announced servers that nobody has heard of for very long.
    pub fn forget_unheard(&mut self, now: UnixTime) {
        let before = self.servers.len();
        self.servers.retain(|_, r| r.configured || r.last_heard.0.saturating_add(FORGOTTEN_SECONDS) >= now.0);
        self.known -= before - self.servers.len();
    }

    /// One server.
    pub fn find(&self, server: &ServerId) -> Option<&ServerRecord> {
        self.servers.get(server).or_else(|| self.configured(server))
    }

    /// All servers, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&ServerId, &ServerRecord)> {
        let mut own = self.servers.iter().peekable();
        let roster = self.roster.servers().iter().filter(|(server, _)| !self.refused.contains(server));
        let mut roster = roster.map(|(server, record)| (server, record)).peekable();
        core::iter::from_fn(move || match (own.peek(), roster.peek()) {
            (Some((a, _)), Some((b, _))) => {
                let order = a.cmp(b);
                // What is known of one goes before what stands of it.
                let configured = order.is_ge().then(|| roster.next()).flatten();
                if order.is_le() { own.next() } else { configured }
            }
            (Some(_), None) => own.next(),
            (None, _) => roster.next(),
        })
    }

    /// How many servers are known.
    pub fn len(&self) -> usize {
        self.known
    }

    /// Whether no server is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many servers are known to take shares, connected or not: configured, or heard of within
    /// [`KNOWN_SECONDS`]. Where no happiness is configured it follows from this number, never from
    /// who happens to answer, so that a partition does not lower the standard.
    pub fn writable(&self, now: UnixTime) -> usize {
        let reachable = |record: &&ServerRecord| record.info.service.is_some();
        let configured = self.roster.reachable() - self.refused_of_roster().filter(reachable).count();
        let of_servers = self.servers.values().filter(reachable);
        let (full, heard_of) = of_servers.fold((0, 0), |(full, heard_of), record| {
            let is_known = record.last_heard.0.saturating_add(KNOWN_SECONDS) >= now.0;
            match (record.configured, record.read_only) {
                (true, read_only) => (full + usize::from(read_only), heard_of),
                (false, read_only) => (full, heard_of + usize::from(is_known && !read_only)),
            }
        });
        configured - full + heard_of
    }

    /// The servers that say where they are, each with its permutation seed: those that rings are made of.
    fn seeds(&self) -> impl Iterator<Item = (&ServerId, &[u8])> {
        let configured = self.roster.seeds().filter(|(server, _)| !self.refused.contains(*server));
        let heard_of = self.servers.iter().filter(|(_, r)| !r.configured && r.info.service.is_some());
        configured.chain(heard_of.map(|(server, record)| (server, record.info.permutation_seed.as_slice())))
    }

    /// How many servers are on a ring, which is the same for all storage indexes.
    pub fn ring_len(&self) -> usize {
        self.seeds().count()
    }

    /// The first `limit` servers on the ring of a storage index.
    pub fn ring(&self, storage_index: &StorageIndex, limit: usize) -> Vec<Candidate> {
        let entries = self.seeds().map(|(server, seed)| (server, seed, self.preferred.contains(server)));
        let order = ring::first(storage_index, entries, limit);
        let candidate = |server: &ServerId| {
            let (server, record) = (*server, self.find(server).expect("it is known"));
            Candidate {
                server,
                tub_id: record.info.tub_id,
                nickname: record.info.nickname.clone(),
                read_only: record.read_only,
            }
        };
        order.into_iter().map(candidate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nurl::{Pin, Service, Swissnum};
    use alloc::format;
    use proptest::prelude::*;

    fn id(number: u8) -> ServerId {
        ServerId([number; 32])
    }

    fn info(number: u8) -> ServerInfo {
        let swissnum = Swissnum::new("abc").expect("letters");
        let service = Service { pin: Pin([number; 32]), swissnum, addresses: Vec::new() };
        ServerInfo {
            nickname: format!("{number}"),
            tub_id: TubId([number; 20]),
            // Some have the same.
            permutation_seed: [number / 2; 20].into(),
            service: (!number.is_multiple_of(5)).then_some(service),
            program: "p".into(),
        }
    }

    fn told(number: u8, sequence: u64) -> Announcement {
        Announcement { server: id(number), service: "storage".into(), sequence, info: info(number) }
    }

    proptest! {
        /// A shared roster changes nothing: a plain list of records says the same.
        #[test]
        fn a_roster_is_as_good_as_records(
            configured in prop::collection::btree_set(0u8..20, 0..12),
            refused in prop::collection::btree_set(0u8..20, 0..4),
            preferred in prop::collection::btree_set(0u8..20, 0..4),
            steps in prop::collection::vec((0u8..3, 0u8..20, 0u64..3, any::<bool>()), 0..30),
            now in 0u64..3,
        ) {
            let ids = |numbers: &BTreeSet<u8>| numbers.iter().map(|number| id(*number)).collect();
            let roster: Roster = configured.iter().map(|number| (id(*number), info(*number))).collect();
            let mut table = ServerTable::new(roster, ids(&preferred), ids(&refused));
            // Number, configured, sequence, last heard, read-only.
            let mut model: BTreeMap<u8, (bool, u64, u64, bool)> =
                configured.difference(&refused).map(|number| (*number, (true, 0, 0, false))).collect();
            for (kind, number, sequence, read_only) in steps {
                match (kind, model.get_mut(&number)) {
                    (0, Some((false, newest, heard, _))) if sequence >= *newest => {
                        (*newest, *heard) = (sequence, (*heard).max(sequence));
                    }
                    (0, None) if !refused.contains(&number) => {
                        model.insert(number, (false, sequence, sequence, false));
                    }
                    (1, Some((_, _, heard, full))) => (*heard, *full) = ((*heard).max(sequence), read_only),
                    _ => {}
                }
                if kind == 2 {
                    let now = sequence * FORGOTTEN_SECONDS;
                    table.forget_unheard(UnixTime(now));
                    model.retain(|_, (configured, _, heard, _)| {
                        *configured || *heard + FORGOTTEN_SECONDS >= now
                    });
                }
                match kind {
                    0 => drop(table.learn(told(number, sequence), UnixTime(sequence))),
                    1 => table.heard(id(number), Some(read_only), UnixTime(sequence)),
                    _ => {}
                }
            }
            let now = now * KNOWN_SECONDS;
            let found: Vec<_> = table.iter()
                .map(|(server, r)| (server.0[0], (r.configured, r.sequence, r.last_heard.0, r.read_only)))
                .collect();
            prop_assert_eq!(&found, &model.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!((table.len(), table.is_empty()), (model.len(), model.is_empty()));
            for number in 0..20 {
                prop_assert_eq!(table.find(&id(number)).is_some(), model.contains_key(&number));
            }
            let takes = |(number, (configured, _, heard, full)): (&u8, &(bool, u64, u64, bool))| {
                !number.is_multiple_of(5) && !full && (*configured || heard + KNOWN_SECONDS >= now)
            };
            prop_assert_eq!(table.writable(UnixTime(now)), model.iter().filter(|e| takes(*e)).count());
            let index = StorageIndex([9; 16]);
            let there: Vec<u8> = model.keys().copied().filter(|number| !number.is_multiple_of(5)).collect();
            let whole = ring::permute(&index, there.iter().map(|n| (*n, [n / 2; 20], preferred.contains(n))));
            prop_assert_eq!(table.ring_len(), whole.len());
            for limit in [0, 1, 3, 20] {
                let found: Vec<u8> = table.ring(&index, limit).iter().map(|c| c.server.0[0]).collect();
                prop_assert_eq!(&found, &whole[..limit.min(whole.len())]);
            }
        }
    }
}
