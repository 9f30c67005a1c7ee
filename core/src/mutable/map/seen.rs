//! What a map shows, as readers and writers ask it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{HeldShare, Map, ServerView, ShareState, Version};
use crate::identity::ServerId;
use crate::mutable::writing;
use crate::mutants::{self, Mutant};
use crate::peers::Candidate;
use crate::task::{ServerTrouble, Trouble};
use crate::time::Instant;

/// Where the good shares of one version are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sighting {
    /// For each share, the servers that have it.
    pub(crate) shares: BTreeMap<u16, BTreeSet<ServerId>>,
}

impl Sighting {
    /// The servers that have any share of it.
    pub(crate) fn servers(&self) -> BTreeSet<ServerId> {
        self.shares.values().flatten().copied().collect()
    }
}

impl Map {
    /// The signed versions seen, and where their shares are.
    pub(crate) fn versions(&self) -> BTreeMap<Version, Sighting> {
        let mut versions: BTreeMap<Version, Sighting> = BTreeMap::new();
        for (server, number, version) in self.good_shares() {
            let sighting = versions.entry(*version).or_default();
            sighting.shares.entry(number).or_default().insert(server);
        }
        versions
    }

    /// Whether enough distinct shares of a version were seen to read it.
    #[cfg(test)]
    pub(crate) fn recoverable(&self, version: &Version) -> bool {
        let numbers: BTreeSet<u16> =
            self.good_shares().filter(|(.., of)| *of == version).map(|(_, number, _)| number).collect();
        numbers.len() >= usize::from(version.needed)
    }

    /// The versions of which enough shares were seen, the one to be read first: the highest number,
    /// then the one on more servers, then the greater.
    pub(crate) fn readable(&self) -> Vec<Version> {
        let versions = self.versions();
        let enough =
            |(version, seen): &(&Version, &Sighting)| seen.shares.len() >= usize::from(version.needed);
        let rank =
            |(version, seen): (&Version, &Sighting)| (version.sequence, seen.servers().len(), *version);
        let mut ranked: Vec<_> = versions.iter().filter(enough).map(rank).collect();
        ranked.sort_unstable();
        if mutants::is_in(Mutant::OldVersionRead) {
            ranked.reverse();
        }
        ranked.into_iter().rev().map(|(_, _, version)| version).collect()
    }

    /// The version that a reader should have, of those that can be read.
    pub(crate) fn newest_readable(&self) -> Option<Version> {
        self.readable().first().copied()
    }

    /// Whether another version with the number of `best` would be the one to be read if those that are not
    /// heard of yet had it: it may have been acknowledged, and `best` not.
    pub(crate) fn has_rival(&self, best: &Version) -> bool {
        if mutants::is_in(Mutant::RivalIgnored) {
            return false;
        }
        let versions = self.versions();
        let on = |version| versions.get(version).map_or(0, |seen: &Sighting| seen.servers().len());
        let (unheard, on_best) = (self.unheard(), on(best));
        versions.keys().any(|other| {
            let is_sibling = other != best && other.sequence == best.sequence;
            is_sibling && (on(other) + unheard, *other) > (on_best, *best)
        })
    }

    /// The highest sequence number of any signed version seen; 0 if there is none.
    pub(crate) fn highest_sequence(&self) -> u64 {
        self.good_shares().map(|(.., version)| version.sequence).max().unwrap_or(0)
    }

    /// The signed versions that servers have shown shares of, which may have proved bad.
    pub(crate) fn shown(&self) -> BTreeSet<Version> {
        self.shares().filter_map(|(.., share)| share.shown()).map(|(version, _)| *version).collect()
    }

    /// For each server whose answer tells what it accepted last, its signed versions with their sequence
    /// numbers: what the rule for writers wants to know. What a damaged share was of can show all the same.
    ///
    /// If it does not, the server's others tell, provided that it is short: then all were written at once. Where
    /// shares are too large to go into one request, some stay of a version before, and nobody can tell.
    pub(crate) fn answers(&self) -> BTreeMap<ServerId, BTreeMap<Version, u64>> {
        let telling = self.answered().filter_map(|(server, shares)| {
            let shown = shares.values().filter_map(HeldShare::shown);
            let held: BTreeMap<Version, u64> =
                shown.map(|(version, _)| (*version, version.sequence)).collect();
            let all_tell = shares.values().all(|share| share.shown().is_some() || share.is_short());
            (all_tell && (shares.is_empty() || !held.is_empty())).then_some((server, held))
        });
        telling.collect()
    }

    /// The servers that answered, with their shares, good or bad.
    pub(crate) fn answered(&self) -> impl Iterator<Item = (ServerId, &BTreeMap<u16, HeldShare>)> {
        self.servers.iter().filter_map(|(server, view)| match view {
            ServerView::Answered(shares) => Some((*server, shares)),
            ServerView::Waiting { .. } | ServerView::Failed(_) => None,
        })
    }

    /// The servers still waited for, and since when.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (ServerId, Instant)> {
        self.servers.iter().filter_map(|(server, view)| match view {
            ServerView::Waiting { since } => Some((*server, *since)),
            ServerView::Answered(_) | ServerView::Failed(_) => None,
        })
    }

    /// The servers that have shares in the file's slot, good or bad.
    pub(crate) fn holders(&self) -> BTreeSet<ServerId> {
        self.answered().filter(|(_, shares)| !shares.is_empty()).map(|(server, _)| server).collect()
    }

    /// The servers among those asked that have shares in the file's slot, for all that is known, in the order
    /// of the ring; and whether they show some.
    pub(crate) fn may_hold(&self) -> impl Iterator<Item = (&Candidate, bool)> {
        self.asked_servers().filter_map(|candidate| match self.servers.get(&candidate.server) {
            Some(ServerView::Answered(shares)) => (!shares.is_empty()).then_some((candidate, true)),
            Some(ServerView::Waiting { .. } | ServerView::Failed(_)) | None => Some((candidate, false)),
        })
    }

    /// How many servers that nobody here knows hold shares.
    ///
    /// A share of the `total` there are to be that no server has shown is with a server that is silent,
    /// or was meant for one that shows nothing; what neither explains is with strangers. `voters` are the
    /// servers that something may be meant for. Strangers are taken to be as many as they can be if shares are
    /// dealt out evenly; where some were moved there may be more.
    ///
    /// This is not meant against liars: shares count as shown whether they are good or not. A server that makes
    /// some up hides strangers, the more so with very many, as everybody silent may then have as many.
    pub(crate) fn strangers(&self, total: u16, voters: &BTreeSet<ServerId>) -> usize {
        let with_silent = (self.ring.len() - self.answered().count()) * self.with_each(total);
        let bare = self.answered().filter(|(server, shares)| shares.is_empty() && voters.contains(server));
        let unexplained = self.missing(total).saturating_sub(with_silent + bare.count());
        // Each has as many as the holder here with the most, or one less.
        let most = self.most_with_each();
        unexplained.div_ceil(most.max(1)).max(unexplained / most.saturating_sub(1).max(1))
    }

    /// How many shares the holder has that has the most.
    fn most_with_each(&self) -> usize {
        self.answered().map(|(_, shares)| shares.len()).max().unwrap_or(0)
    }

    /// How many shares, at least, only servers that are lost can have.
    pub(crate) fn with_lost(&self, total: u16) -> usize {
        let answered: BTreeSet<ServerId> = self.answered().map(|(server, _)| server).collect();
        let is_silent = |candidate: &&Candidate| !candidate.lost && !answered.contains(&candidate.server);
        let silent = self.ring.iter().filter(is_silent).count();
        self.missing(total).saturating_sub(silent * self.with_each(total))
    }

    /// How many of the shares that there are to be no server has shown.
    ///
    /// Of a large file not all shares are there if its servers are few: each takes as many as go into one
    /// request. They are placed from the first on, so the last ones are those that found no room.
    fn missing(&self, total: u16) -> usize {
        let shown: BTreeSet<u16> = self.shares().map(|(_, number, _)| number).collect();
        let takes_none: BTreeSet<ServerId> =
            self.asked_servers().filter(|candidate| candidate.read_only).map(|full| full.server).collect();
        let has_no_room = |(server, shares): (ServerId, &BTreeMap<u16, HeldShare>)| {
            if shares.is_empty() { takes_none.contains(&server) } else { is_full(shares) }
        };
        let placed = match self.answered().all(has_no_room) {
            true => shown.last().map_or(0, |last| last + 1).min(total),
            false => total,
        };
        (0..placed).filter(|number| !shown.contains(number)).count()
    }

    /// How many shares a server that is silent may have. With fewer servers than shares it must have several.
    fn with_each(&self, total: u16) -> usize {
        self.most_with_each().max(1).max(usize::from(total).div_ceil(self.ring.len().max(1)))
    }

    /// Whether shares are missing that none of the servers asked can have.
    pub(crate) fn lacks_shares(&self, total: u16) -> bool {
        let silent = self.asked - self.answered().count();
        self.missing(total) > silent * self.with_each(total)
    }

    /// Whether servers further along the ring may hold shares, of a file that is on the first `total` that
    /// have room.
    ///
    /// If one of these has none, as if it had come after the shares were placed, holders may have moved on
    /// as far as one shows. And others may have stood in for those of them that were full for a while. They
    /// come next: so if too few servers are met that may have shares, or one that stood in, that is known once
    /// `further` of the next have none.
    pub(crate) fn may_go_on(&self, total: usize, further: usize) -> bool {
        let holds = |candidate: &Candidate| match self.servers.get(&candidate.server)? {
            ServerView::Answered(shares) => Some(!shares.is_empty()),
            ServerView::Waiting { .. } | ServerView::Failed(_) => None,
        };
        let asked = &self.ring[..self.asked];
        let last = &asked[asked.len().saturating_sub(self.batch)..];
        let open: Vec<&Candidate> = asked.iter().filter(|candidate| !candidate.read_only).collect();
        let (first, next) = open.split_at(total.min(open.len()));
        let have_joined = first.iter().any(|candidate| holds(candidate) == Some(false));
        let known = next.iter().rev().filter_map(|candidate| holds(candidate));
        let bare = known.take_while(|holds| !holds).count();
        let stood_in = next.iter().any(|candidate| holds(candidate) == Some(true));
        have_joined && last.iter().any(|candidate| holds(candidate) == Some(true))
            || bare < further && (stood_in || self.may_hold().nth(total.saturating_sub(1)).is_none())
    }

    /// One share of a server.
    pub(crate) fn share(&self, server: ServerId, share: u16) -> Option<&HeldShare> {
        match self.servers.get(&server)? {
            ServerView::Answered(shares) => shares.get(&share),
            ServerView::Waiting { .. } | ServerView::Failed(_) => None,
        }
    }

    /// Whether nothing is under way that may show further shares to be good or bad.
    pub(crate) fn is_settled(&self) -> bool {
        self.unheard() == 0 && !self.is_checking()
    }

    /// How many servers are waited for: those that have not answered, and those that were asked for
    /// more of a share before it can be judged.
    pub(crate) fn unheard(&self) -> usize {
        let reading = |shares: &BTreeMap<u16, HeldShare>| {
            shares.values().any(|share| share.state() == ShareState::Reading)
        };
        self.waiting().count() + self.answered().filter(|(_, shares)| reading(shares)).count()
    }

    /// Whether a signature is being checked. That does not take long: nobody else is asked for it.
    pub(crate) fn is_checking(&self) -> bool {
        self.shares().any(|(.., share)| matches!(share.state(), ShareState::Checking(_)))
    }

    /// The servers in the order of the ring.
    pub(crate) fn ring(&self) -> &[Candidate] {
        &self.ring
    }

    /// The servers that were asked, in the order of the ring.
    pub(crate) fn asked_servers(&self) -> impl Iterator<Item = &Candidate> {
        self.ring[..self.asked].iter()
    }

    /// Whether every server was asked.
    pub(crate) fn asked_all(&self) -> bool {
        self.asked == self.ring.len()
    }

    /// The servers that were no help, and why: of a server with several bad shares, the first.
    pub(crate) fn troubles(&self) -> Vec<ServerTrouble> {
        let trouble = |candidate: &Candidate| {
            let trouble = match self.servers.get(&candidate.server)? {
                ServerView::Waiting { .. } => return None,
                ServerView::Failed(trouble) => trouble.clone(),
                ServerView::Answered(shares) if shares.is_empty() => Trouble::NoShares,
                ServerView::Answered(shares) => {
                    let bad = |(share, held): (&u16, &HeldShare)| Some((*share, held.bad()?));
                    let (share, why) = shares.iter().find_map(bad)?;
                    Trouble::BadMutableShare { share, why }
                }
            };
            let Candidate { server, nickname, .. } = candidate;
            Some(ServerTrouble { server: *server, nickname: nickname.clone(), trouble })
        };
        self.asked_servers().filter_map(trouble).collect()
    }

    /// Every share seen, good or bad: its server and its number.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (ServerId, u16, &HeldShare)> {
        self.answered()
            .flat_map(|(server, shares)| shares.iter().map(move |(number, share)| (server, *number, share)))
    }

    fn good_shares(&self) -> impl Iterator<Item = (ServerId, u16, &Version)> {
        self.shares().filter_map(|(server, number, share)| Some((server, number, share.good()?.0)))
    }
}

/// Whether a server has as many shares of the file as it is sent in one request.
fn is_full(shares: &BTreeMap<u16, HeldShare>) -> bool {
    let lens = shares.values().filter_map(HeldShare::share_len);
    lens.max().is_some_and(|longest| shares.len() >= writing::room(longest))
}
