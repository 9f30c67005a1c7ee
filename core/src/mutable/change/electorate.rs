//! Who has a say in a change.

use super::super::MUTABLE_SHARES_MAX;
use super::super::map::Map;
use super::super::quorum::{Electorate, Tally};
use super::{ChangeFile, Consent, Subject};
use crate::identity::ServerId;
use crate::mutants::{self, Mutant};
use alloc::collections::BTreeSet;

impl ChangeFile {
    /// The bodies of which more than half must agree. Nobody has anything of a new file, so there is one.
    pub(super) fn electorate(&self) -> Electorate<ServerId> {
        let Some(map) = &self.map else { return Electorate::new([], 0) };
        let total = usize::from(self.total());
        let open = || map.ring().iter().filter(|candidate| !candidate.read_only);
        let present = open().filter(|candidate| !candidate.lost);
        let first: BTreeSet<ServerId> = present.take(total).map(|candidate| candidate.server).collect();
        // Others have taken the seats of the lost once they have their shares.
        let empty = (open().count().min(total) - first.len()).min(map.with_lost(self.total()));
        if matches!(self.setup.subject, Subject::New { .. }) {
            return Electorate::new([&first | &map.holders()], 0);
        }
        let should_have_it = &first | &map.holders();
        let may_have_it: BTreeSet<ServerId> = self.seats(map).collect();
        let strangers = self.strangers.max(map.strangers(self.total(), &should_have_it));
        match mutants::is_in(Mutant::NewcomersTrusted) {
            true => Electorate::new([first, should_have_it], strangers),
            false => Electorate::new([first, should_have_it, may_have_it], strangers),
        }
        .with_empty_seats(empty)
    }

    /// The first servers of the ring, as many as there are shares, less those that say that they have none,
    /// and those of which nothing was heard for long.
    fn seats(&self, map: &Map) -> impl Iterator<Item = ServerId> {
        let is_forgotten = |read_only| read_only && mutants::is_in(Mutant::FullForgotten);
        let holders = map.may_hold().filter(move |(candidate, shows_some)| {
            *shows_some || !candidate.lost && !is_forgotten(candidate.read_only)
        });
        holders.map(|(candidate, _)| candidate.server).take(self.total().into())
    }

    /// N: of the versions seen, the most; or of a new file.
    pub(super) fn total(&self) -> u16 {
        let shown = self.map.as_ref().map(Map::shown).unwrap_or_default();
        let most = shown.iter().chain(&self.given_up).map(|version| version.total).max();
        most.map_or(self.setup.params.total().min(MUTABLE_SHARES_MAX), u16::from)
    }

    /// How many agree if these servers do, and how many must.
    pub(super) fn tally(&self, electorate: &Electorate<ServerId>, agreeing: &BTreeSet<ServerId>) -> Tally {
        let tally = electorate.tally(agreeing);
        match self.setup.consent {
            _ if mutants::is_in(Mutant::AcceptedByOne) => Tally { needed: 1, ..tally },
            Consent::Majority => tally,
            Consent::Servers(count) => Tally {
                needed: count.max(1),
                servers: electorate.len(),
                agreed: electorate.known().intersection(agreeing).count(),
            },
        }
    }

    /// Whether so many have answered as must accept.
    pub(super) fn has_enough_answers(&self, electorate: &Electorate<ServerId>) -> bool {
        let answers = self.map.as_ref().map(Map::answers).unwrap_or_default();
        self.tally(electorate, &answers.into_keys().collect()).is_enough()
    }
}
