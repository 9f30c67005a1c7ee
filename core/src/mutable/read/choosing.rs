//! Which version is read, and how long servers are waited for before that is clear.

use core::time::Duration;

use super::{Read, ReadError, Stage};
use crate::download::pace::SLOW_AFTER;
use crate::mutable::Version;
use crate::time::Instant;

/// Servers that have not told what they have by then are not waited for, if there is a version to read.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3);

impl Read {
    /// Looks whether it is clear what to read, and asks further servers if that seems of use.
    pub(super) fn choose(&mut self) -> Option<Stage> {
        let best = self.map.newest_readable();
        let highest = self.map.highest_sequence();
        self.highest_sequence = self.highest_sequence.max(highest);
        if self.map.is_checking() {
            return None;
        }
        if let Some(best) = best.filter(|best| best.sequence == highest) {
            // A version is written to as many servers as it has shares.
            if self.asked() < usize::from(best.total) && self.ask_more(best.total.into()) {
                return None;
            }
            return self.is_clear(&best).then(|| self.begin(best));
        }
        if self.widen() || !self.has_heard_all() {
            return None;
        }
        Some(match best {
            Some(best) => self.begin(best),
            None => {
                let error = self.not_found();
                self.failed(error)
            }
        })
    }

    /// Whether those that have not been heard of are not likely to have a newer version among
    /// themselves: there are none; or too few, if shares are spread as writers spread them, and writers
    /// did not compete for this number; or they are slow, and less than half of all; or they are silent.
    fn is_clear(&self, best: &Version) -> bool {
        let asked = self.asked().max(1);
        let shares_each = usize::from(best.total).div_ceil(asked);
        let heard = self.map.answered().count();
        let unheard = self.map.unheard();
        let too_few = unheard * shares_each < usize::from(best.needed);
        unheard == 0
            || (too_few && !self.map.has_rival(best))
            || (2 * heard > asked && self.now >= self.asked_at + SLOW_AFTER)
            || self.now >= self.asked_at + GIVE_UP_AFTER
    }

    /// Whether everybody was asked, and whoever has something to say has said it; silent ones are waited
    /// for only if there is nothing to read without them.
    pub(super) fn has_heard_all(&self) -> bool {
        let silent = self.now >= self.asked_at + GIVE_UP_AFTER && self.map.newest_readable().is_some();
        self.map.asked_all() && (self.map.is_settled() || silent)
    }

    /// When to look again whether servers are slow to tell what they have.
    pub(super) fn look_at(&self) -> Option<Instant> {
        let times = [self.asked_at + SLOW_AFTER, self.asked_at + GIVE_UP_AFTER];
        times.into_iter().find(|at| self.map.unheard() > 0 && *at > self.now)
    }

    /// Asks as many servers again as were asked before, unless answers may come any moment. `false` if
    /// none were asked.
    pub(super) fn widen(&mut self) -> bool {
        if self.map.unheard() > 0 && self.now < self.asked_at + SLOW_AFTER {
            return false;
        }
        self.ask_more(2 * self.asked())
    }

    /// Asks servers what they have until so many were asked. `false` if there are no more.
    fn ask_more(&mut self, servers: usize) -> bool {
        let mut any = false;
        while self.asked() < servers && self.map.widen(&mut self.tasks, self.now) {
            any = true;
        }
        if any {
            self.asked_at = self.now;
        }
        any
    }

    fn asked(&self) -> usize {
        self.map.asked_servers().count()
    }

    /// Why nothing can be read.
    fn not_found(&self) -> ReadError {
        match self.map.versions().into_keys().last() {
            Some(newest) => self.not_enough(newest),
            None => ReadError::NotFound { asked: self.asked(), trouble: self.map.troubles() },
        }
    }

    /// Why a version cannot be read.
    pub(super) fn not_enough(&self, version: Version) -> ReadError {
        let found = self.map.versions().get(&version).map_or(0, |seen| seen.shares.len());
        let Version { sequence, needed, total, .. } = version;
        let (asked, trouble) = (self.asked(), self.map.troubles());
        ReadError::NotEnoughShares { sequence, found, needed, total, asked, trouble }
    }
}
