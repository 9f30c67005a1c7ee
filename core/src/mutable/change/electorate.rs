//! Who has a say in a change.

use super::super::MUTABLE_SHARES_MAX;
use super::super::map::Map;
use super::super::quorum::{Electorate, Tally};
use super::{ChangeFile, Consent, Subject};
use crate::identity::ServerId;
use crate::mutants::{self, Mutant};
use alloc::collections::BTreeSet;

impl ChangeFile {
    /// The two bodies of which more than half must agree. Nobody has anything of a new file, so there is one.
    pub(super) fn electorate(&self) -> Electorate<ServerId> {
        let Some(map) = &self.map else { return Electorate::new([], 0) };
        let open = map.ring().iter().filter(|candidate| !candidate.read_only);
        let first = open.take(self.total().into()).map(|candidate| candidate.server);
        let should_have_it: BTreeSet<ServerId> = first.chain(map.holders()).collect();
        if matches!(self.setup.subject, Subject::New { .. }) {
            return Electorate::new([should_have_it], 0);
        }
        let may_have_it: BTreeSet<ServerId> = self.seats(map).collect();
        let strangers = self.strangers.max(map.strangers(self.total(), &should_have_it));
        if mutants::is_in(Mutant::NewcomersTrusted) {
            return Electorate::new([should_have_it], strangers);
        }
        Electorate::new([should_have_it, may_have_it], strangers)
    }

    /// The first servers of the ring, as many as there are shares, less those that say that they have none.
    fn seats(&self, map: &Map) -> impl Iterator<Item = ServerId> {
        let is_forgotten = |read_only| read_only && mutants::is_in(Mutant::FullForgotten);
        let holders = map
            .may_hold()
            .filter(move |(candidate, shows_some)| *shows_some || !is_forgotten(candidate.read_only));
        holders.map(|(candidate, _)| candidate.server).take(self.total().into())
    }

    /// N: of the newest version seen, or of a new file.
    pub(super) fn total(&self) -> u16 {
        let newest = self.map.as_ref().and_then(Map::newest_readable);
        newest.map_or(self.setup.params.total().min(MUTABLE_SHARES_MAX), |version| version.total.into())
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
