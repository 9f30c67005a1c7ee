//! Which share is asked next, whether there are enough, and which are late.

use alloc::collections::BTreeSet;

use super::{Asked, Fetch, Hunger};
use crate::download::pace::ShareKey;
use crate::identity::ServerId;
use crate::mutable::map::Map;
use crate::time::Instant;

impl Fetch {
    /// Whether the map has enough shares for what is under way.
    pub(crate) fn hunger(&self, map: &Map) -> Hunger {
        let needed = usize::from(self.version.needed);
        let mut hunger = Hunger::Fed;
        for fetch in self.segments.values().filter(|fetch| !fetch.decoding) {
            let lively = fetch.numbers(|asked| !asked.overtaken);
            if lively.len() >= needed {
                continue;
            }
            let mut all = fetch.numbers(|_| true);
            all.extend(self.usable(map).map(|key| key.1));
            hunger = hunger.max(if all.len() >= needed { Hunger::Late } else { Hunger::Starved });
        }
        hunger
    }

    /// The shares of this version that may be asked.
    fn usable(&self, map: &Map) -> impl Iterator<Item = ShareKey> {
        map.shares()
            .filter(|(.., share)| share.good().is_some_and(|(version, _)| *version == self.version))
            .map(|(server, number, _)| (server, number))
            .filter(|key| !self.changed.contains(key))
    }

    /// The share to ask for a further block of a segment, if one is needed and there is one: those
    /// whose block the map has read already before others, quick ones before slow ones, then the one
    /// with the least to do.
    pub(super) fn next_share(&self, segment: u64, map: &Map) -> Option<ShareKey> {
        let fetch = self.segments.get(&segment).filter(|fetch| !fetch.decoding)?;
        let have = fetch.numbers(|asked| !asked.overtaken);
        if have.len() >= usize::from(self.version.needed) {
            return None;
        }
        let rank = |key: &ShareKey| {
            let share = map.share(key.0, key.1);
            let block = share.and_then(|share| share.bytes(&share.good()?.1.block_range(segment)));
            (
                block.is_none(),
                self.slow.contains(key),
                self.server_load(key.0),
                self.pace.under_way(*key),
                key.1,
            )
        };
        let of_use = |key: &ShareKey| !have.contains(&key.1) && !fetch.asked.contains_key(key);
        self.usable(map).filter(of_use).min_by_key(rank)
    }

    fn server_load(&self, server: ServerId) -> usize {
        let asked = self.segments.values().flat_map(|fetch| &fetch.asked);
        asked.filter(|(key, asked)| key.0 == server && !asked.came).count()
    }

    /// Marks what takes too long, so that others are asked for the same. Of each share one block is
    /// tried with others first: on a slow line it would be slower to ask for everything twice.
    pub(super) fn overtake(&mut self, now: Instant) {
        self.look_at = None;
        let mut all_slow = false;
        let is_open = |asked: &Asked| asked.overtaken && !asked.came;
        let open = self.segments.values().flat_map(|fetch| &fetch.asked).filter(|(_, asked)| is_open(asked));
        let mut tried: BTreeSet<ShareKey> = open.map(|(key, _)| *key).collect();
        for fetch in self.segments.values_mut() {
            for (key, asked) in fetch.asked.iter_mut().filter(|(_, asked)| !asked.overtaken && !asked.came) {
                if tried.contains(key) && !self.pace.is_beaten(*key) {
                    continue;
                }
                let late_at = self.pace.late_at(*key, asked.since, fetch.last_came);
                if now < late_at {
                    self.look_at = Some(self.look_at.map_or(late_at, |at| at.min(late_at)));
                    continue;
                }
                asked.overtaken = true;
                tried.insert(*key);
                self.slow.insert(*key);
                all_slow |= self.pace.all_are_slow(*key);
            }
        }
        if all_slow {
            self.pace.all_were_slow();
        }
    }
}
