//! Servers that stand in a configuration.

use super::table::ServerRecord;
use crate::announcement::ServerInfo;
use crate::identity::ServerId;
use crate::time::UnixTime;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// Servers that stand in a configuration. Made once, however many nodes have it: a copy shares all of
/// it.
#[derive(Clone, Default)]
pub struct Roster(Arc<Listed>);

#[derive(Default)]
struct Listed {
    /// By id.
    servers: Vec<(ServerId, ServerRecord)>,
    /// The seeds of those that say where they are, one after the other, and which server each is of and
    /// where it ends: who goes through all of them for every file reads nothing else.
    seeds: Vec<u8>,
    places: Vec<(u32, u32)>,
}

impl Roster {
    /// How many servers are on it.
    pub fn len(&self) -> usize {
        self.0.servers.len()
    }

    /// Whether nobody is on it.
    pub fn is_empty(&self) -> bool {
        self.0.servers.is_empty()
    }

    /// The servers, by id.
    pub(super) fn servers(&self) -> &[(ServerId, ServerRecord)] {
        &self.0.servers
    }

    pub(super) fn find(&self, server: &ServerId) -> Option<&ServerRecord> {
        let found = self.0.servers.binary_search_by_key(server, |(id, _)| *id).ok()?;
        Some(&self.0.servers[found].1)
    }

    /// How many say where they are.
    pub(super) fn reachable(&self) -> usize {
        self.0.places.len()
    }

    /// The ids and permutation seeds of those that say where they are, by id.
    pub(super) fn seeds(&self) -> impl Iterator<Item = (&ServerId, &[u8])> {
        let mut start = 0;
        self.0.places.iter().map(move |(index, end)| {
            let seed = &self.0.seeds[start..*end as usize];
            start = *end as usize;
            (&self.0.servers[*index as usize].0, seed)
        })
    }
}

impl FromIterator<(ServerId, ServerInfo)> for Roster {
    /// Of two servers with one id the later counts.
    fn from_iter<I: IntoIterator<Item = (ServerId, ServerInfo)>>(servers: I) -> Roster {
        let record = |info| ServerRecord {
            info: Arc::new(info),
            sequence: 0,
            last_heard: UnixTime(0),
            configured: true,
            read_only: false,
            heard_on: None,
        };
        let mut servers: Vec<(ServerId, ServerRecord)> =
            servers.into_iter().map(|(server, info)| (server, record(info))).collect();
        servers.reverse();
        servers.sort_by_key(|(server, _)| *server);
        servers.dedup_by_key(|(server, _)| *server);
        let (mut seeds, mut places) = (Vec::new(), Vec::new());
        for (index, (_, record)) in servers.iter().enumerate() {
            if record.info.service.is_some() {
                seeds.extend_from_slice(&record.info.permutation_seed);
                places.push((index as u32, seeds.len() as u32));
            }
        }
        Roster(Arc::new(Listed { servers, seeds, places }))
    }
}

/// There may be very many, and what they are is the right to use them: only how many is shown.
impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roster({} servers)", self.len())
    }
}
