//! The one table of announced, cached and configured servers.

use super::roster::Roster;
use crate::announcement::{Announcement, ServerInfo};
use crate::identity::{ServerId, TubId};
use crate::limits::{ANNOUNCEMENTS_MAX, FORGOTTEN_SECONDS, KNOWN_SECONDS};
use crate::ring;
use crate::storage_index::StorageIndex;
use crate::time::{Instant, Now, UnixTime};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// Whoever is there is heard of within this time after the node was started.
const HEARD_WITHIN: Duration = Duration::from_secs(60 * 60);

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
    /// On which day since the node was started, from 1 on, it was last announced or connected; `None` if it was
    /// not since then. The date may jump, and then says nothing of how long somebody was silent.
    pub heard_on: Option<NonZeroU16>,
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
    /// Nothing was heard of it for so long ([`KNOWN_SECONDS`]) that nobody waits for it to come back.
    pub lost: bool,
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
    /// When it was first looked at the clock.
    started: Option<Instant>,
    /// When anybody was last heard of, as far as the cache tells: until then the node listened.
    listened_until: UnixTime,
}

impl ServerTable {
    /// A table of the servers of the configuration. `preferred` servers come first on every ring,
    /// `refused` ones never.
    pub fn new(roster: Roster, preferred: BTreeSet<ServerId>, refused: BTreeSet<ServerId>) -> ServerTable {
        let mut table = ServerTable { roster, preferred, refused, ..ServerTable::default() };
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

    /// Takes in an announcement whose signature was checked, just heard.
    pub fn hear_of(&mut self, announcement: Announcement, now: Now) -> Learned {
        let server = announcement.server;
        let learned = self.take_in(announcement, now.unix);
        if learned != Learned::Ignored {
            self.heard(server, None, now);
        }
        learned
    }

    /// Takes in an announcement from the cache, last heard at `heard`.
    pub fn learn(&mut self, announcement: Announcement, heard: UnixTime) -> Learned {
        self.listened_until = self.listened_until.max(heard);
        self.take_in(announcement, heard)
    }

    fn take_in(&mut self, announcement: Announcement, heard: UnixTime) -> Learned {
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
            heard_on: None,
        };
        self.servers.insert(server, record);
        self.known += 1;
        Learned::New
    }

    /// Notes that a server answered or announced itself, and whether it takes shares, if it said so.
    pub fn heard(&mut self, server: ServerId, read_only: Option<bool>, now: Now) {
        self.started.get_or_insert(now.instant);
        let today = self.today(now);
        if !self.servers.contains_key(&server) {
            let Some(record) = self.configured(&server).cloned() else { return };
            self.servers.insert(server, record);
        }
        if let Some(record) = self.servers.get_mut(&server) {
            // Not the greater of both: a date that was wrong must not stay.
            record.last_heard = now.unix;
            record.read_only = read_only.unwrap_or(record.read_only);
            record.heard_on = Some(today);
        }
    }

    /// Which day it is since the node was started, from 1 on.
    fn today(&self, now: Now) -> NonZeroU16 {
        let days = now.instant.since(self.started.unwrap_or(now.instant)).as_secs() / DAY_SECONDS;
        NonZeroU16::MIN.saturating_add(u16::try_from(days).unwrap_or(u16::MAX))
    }

    /// For how many seconds nothing was heard of a server while the node listened. That is the time since the
    /// start, by the clock that only grows; of who was not heard of since then also what the cache tells. The
    /// date of today says nothing: it may jump, and the node may have been off.
    fn silent_for(&self, record: &ServerRecord, today: NonZeroU16) -> u64 {
        let (heard_on, before) = match record.heard_on {
            Some(day) => (day, 0),
            None => (NonZeroU16::MIN, self.listened_until.0.saturating_sub(record.last_heard.0)),
        };
        before.saturating_add(u64::from(today.get().saturating_sub(heard_on.get())) * DAY_SECONDS)
    }

    /// When each announced server was last heard of, by the date of now and if the node had listened all the
    /// time since: what a cache keeps, so that neither wrong dates nor the time that a node is off count.
    pub fn last_heard(&self, now: Now) -> impl Iterator<Item = (&ServerId, &ServerRecord, UnixTime)> {
        let today = self.today(now);
        self.iter().filter(|(_, record)| !record.configured).map(move |(server, record)| {
            let silent = self.silent_for(record, today);
            (server, record, UnixTime(now.unix.0.saturating_sub(silent)))
        })
    }

    /// Forgets announced servers that nobody has heard of for very long. Those not heard of since the node
    /// was started are given an hour.
    pub fn forget_unheard(&mut self, now: Now) {
        let started = *self.started.get_or_insert(now.instant);
        let is_early = now.instant < started + HEARD_WITHIN;
        let today = self.today(now);
        let is_over = |record: &ServerRecord| {
            let may_be_heard_of = record.heard_on.is_none() && is_early;
            let is_silent = self.silent_for(record, today) > FORGOTTEN_SECONDS;
            !record.configured && !may_be_heard_of && is_silent
        };
        let over: Vec<ServerId> =
            self.servers.iter().filter(|(_, record)| is_over(record)).map(|(server, _)| *server).collect();
        for server in &over {
            self.servers.remove(server);
        }
        self.known -= over.len();
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
    pub fn writable(&self, now: Now) -> usize {
        let today = self.today(now);
        let reachable = |record: &&ServerRecord| record.info.service.is_some();
        let configured = self.roster.reachable() - self.refused_of_roster().filter(reachable).count();
        let of_servers = self.servers.values().filter(reachable);
        let (full, heard_of) = of_servers.fold((0, 0), |(full, heard_of), record| {
            let is_known = self.silent_for(record, today) <= KNOWN_SECONDS;
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
    pub fn ring(&self, storage_index: &StorageIndex, limit: usize, now: Now) -> Vec<Candidate> {
        let today = self.today(now);
        let entries = self.seeds().map(|(server, seed)| (server, seed, self.preferred.contains(server)));
        let order = ring::first(storage_index, entries, limit);
        let candidate = |server: &ServerId| {
            let (server, record) = (*server, self.find(server).expect("it is known"));
            Candidate {
                server,
                tub_id: record.info.tub_id,
                nickname: record.info.nickname.clone(),
                read_only: record.read_only,
                lost: !record.configured && self.silent_for(record, today) > KNOWN_SECONDS,
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

    /// What a plain list says of a server.
    #[derive(Default)]
    struct Known {
        configured: bool,
        sequence: u64,
        heard: u64,
        full: bool,
        day: Option<u64>,
    }

    impl Known {
        fn silent(&self, day: u64, listened_until: u64) -> u64 {
            match self.day {
                Some(heard) => (day - heard) * DAY_SECONDS,
                None => day * DAY_SECONDS + listened_until.saturating_sub(self.heard),
            }
        }
    }

    fn at(days: u64, date: u64) -> Now {
        Now { instant: Instant::ZERO + Duration::from_secs(days * DAY_SECONDS), unix: UnixTime(date) }
    }

    /// The date may jump by years. Whoever was heard of is still there.
    #[test]
    fn a_jump_of_the_date_makes_nobody_forgotten() {
        let (today, later) = (1_000 * DAY_SECONDS, 4_000 * DAY_SECONDS);
        let mut table = ServerTable::default();
        table.learn(told(1, 1), UnixTime(today));
        table.hear_of(told(2, 1), at(0, today));
        table.hear_of(told(3, 1), at(0, later));
        for day in [0, 1] {
            table.forget_unheard(at(day, later));
            assert_eq!((table.len(), table.writable(at(day, later))), (3, 3));
        }
        // They are when nothing was heard of them for more than a year in which the node listened.
        table.heard(id(3), None, at(300, later));
        table.forget_unheard(at(366, today));
        assert!(table.find(&id(1)).is_none() && table.find(&id(2)).is_none());
        assert_eq!((table.len(), table.writable(at(366, today))), (1, 0));
        assert_eq!(table.writable(at(330, today)), 1);
    }

    /// A start does not make servers known again that were silent for long before; nor does it forget any
    /// that were silent because the node was off.
    #[test]
    fn who_was_silent_before_the_start_still_is() {
        let mut table = ServerTable::default();
        table.learn(told(1, 1), UnixTime(1_000 * DAY_SECONDS));
        table.learn(told(2, 1), UnixTime(940 * DAY_SECONDS));
        table.learn(told(3, 1), UnixTime(600 * DAY_SECONDS));
        for date in [1_000, 3_000, 0] {
            assert_eq!(table.writable(at(0, date * DAY_SECONDS)), 1);
        }
        table.forget_unheard(at(0, 1_000 * DAY_SECONDS));
        assert_eq!(table.len(), 3, "it may still be heard of");
        let later = Now { instant: Instant::ZERO + HEARD_WITHIN, unix: UnixTime(1_000 * DAY_SECONDS) };
        table.forget_unheard(later);
        assert_eq!(table.len(), 2);
    }

    proptest! {
        /// A shared roster changes nothing: a plain list of records says the same.
        #[test]
        fn a_roster_is_as_good_as_records(
            configured in prop::collection::btree_set(0u8..20, 0..12),
            refused in prop::collection::btree_set(0u8..20, 0..4),
            preferred in prop::collection::btree_set(0u8..20, 0..4),
            steps in prop::collection::vec((0u8..5, 0u8..20, 0u64..3, any::<bool>()), 0..30),
            now in 0u64..3,
        ) {
            let ids = |numbers: &BTreeSet<u8>| numbers.iter().map(|number| id(*number)).collect();
            let roster: Roster = configured.iter().map(|number| (id(*number), info(*number))).collect();
            let mut table = ServerTable::new(roster, ids(&preferred), ids(&refused));
            let known = |number: &u8| (*number, Known { configured: true, ..Known::default() });
            let mut model: BTreeMap<u8, Known> = configured.difference(&refused).map(known).collect();
            let mut day = 0;
            let mut listened_until = 0;
            table.forget_unheard(at(0, 0));
            for (kind, number, sequence, read_only) in steps {
                let date = sequence * 200 * DAY_SECONDS;
                if kind == 0 {
                    listened_until = date.max(listened_until);
                }
                match (kind, model.get_mut(&number)) {
                    (0 | 1, Some(known)) if !known.configured && sequence >= known.sequence => {
                        (known.sequence, known.heard) = (sequence, known.heard.max(date));
                        if kind == 1 {
                            (known.heard, known.day) = (date, Some(day));
                        }
                    }
                    (0 | 1, None) if !refused.contains(&number) => {
                        let day = (kind == 1).then_some(day);
                        model.insert(number, Known { sequence, heard: date, day, ..Known::default() });
                    }
                    (2, Some(known)) => {
                        (known.heard, known.full) = (date, read_only);
                        known.day = Some(day);
                    }
                    _ => {}
                }
                match kind {
                    0 => drop(table.learn(told(number, sequence), UnixTime(date))),
                    1 => drop(table.hear_of(told(number, sequence), at(day, date))),
                    2 => table.heard(id(number), Some(read_only), at(day, date)),
                    3 => day += [0, 1, 400][sequence as usize],
                    _ => {
                        table.forget_unheard(at(day, date));
                        model.retain(|_, known| {
                            let is_early = day == 0 && known.day.is_none();
                            let silent = known.silent(day, listened_until);
                            known.configured || is_early || silent <= FORGOTTEN_SECONDS
                        });
                    }
                }
            }
            let date = now * 2 * KNOWN_SECONDS;
            let found: Vec<_> = table.iter()
                .map(|(server, r)| (server.0[0], (r.configured, r.sequence, r.last_heard.0, r.read_only)))
                .collect();
            let expected = |(number, k): (&u8, &Known)| (*number, (k.configured, k.sequence, k.heard, k.full));
            prop_assert_eq!(&found, &model.iter().map(expected).collect::<Vec<_>>());
            prop_assert_eq!((table.len(), table.is_empty()), (model.len(), model.is_empty()));
            for number in 0..20 {
                prop_assert_eq!(table.find(&id(number)).is_some(), model.contains_key(&number));
            }
            let takes = |(number, known): (&u8, &Known)| {
                let is_known = known.configured || known.silent(day, listened_until) <= KNOWN_SECONDS;
                !number.is_multiple_of(5) && !known.full && is_known
            };
            prop_assert_eq!(table.writable(at(day, date)), model.iter().filter(|e| takes(*e)).count());
            let index = StorageIndex([9; 16]);
            let there: Vec<u8> = model.keys().copied().filter(|number| !number.is_multiple_of(5)).collect();
            let whole = ring::permute(&index, there.iter().map(|n| (*n, [n / 2; 20], preferred.contains(n))));
            prop_assert_eq!(table.ring_len(), whole.len());
            for limit in [0, 1, 3, 20] {
                let found: Vec<u8> = table.ring(&index, limit, at(day, 0)).iter().map(|c| c.server.0[0]).collect();
                prop_assert_eq!(&found, &whole[..limit.min(whole.len())]);
            }
        }
    }
}
