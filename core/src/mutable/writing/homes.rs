//! Which share of a version goes to which server.

use super::super::making::Made;
use super::claims::Claims;
use super::{Aim, Target};
use crate::identity::ServerId;
use crate::limits::BULK_LEN_MAX;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

/// Which shares each server is given.
pub(in crate::mutable) type Homes = BTreeMap<ServerId, BTreeSet<u16>>;

/// Which shares of a version each server gets that is to be written to. Of a version of which there are only parts,
/// none but those it has, for without the rest a part is nothing; so of one that is there already.
pub(in crate::mutable) fn homes(made: &Made, targets: &[Target], aim: Aim) -> Homes {
    let load = Load::of(made);
    match made.content {
        Some(_) if aim != Aim::Complete => load.assign(targets),
        _ => load.keep(&targets.iter().collect::<Vec<_>>()),
    }
}

/// For how many different shares of a version there is room at these servers.
pub(in crate::mutable) fn places(made: &Made, targets: &[Target]) -> usize {
    let load = Load::of(made);
    let (takers, _) = load.takers(targets);
    distinct(&match made.content {
        Some(_) => load.deal(&takers),
        None => load.keep(&takers),
    })
}

/// Whether each server can take what is made of the shares that it has in one request.
pub(in crate::mutable) fn fits(made: &Made, targets: &[Target]) -> bool {
    let load = Load::of(made);
    targets.iter().all(|target| load.kept(target).count() <= load.room)
}

/// The most shares of so many bytes that one server can take in a request.
pub(in crate::mutable) fn room(share_len: u64) -> usize {
    (BULK_LEN_MAX as u64 / share_len.max(1)).max(1) as usize
}

/// How many different shares there are then.
fn distinct(homes: &Homes) -> usize {
    homes.values().flatten().collect::<BTreeSet<_>>().len()
}

/// What is to be placed.
struct Load {
    /// How many shares.
    total: u16,
    /// How many of them are needed to read the version.
    needed: usize,
    /// How long each is then, in bytes.
    len: u64,
    /// How many one server can take in a request.
    room: usize,
}

impl Load {
    fn of(made: &Made) -> Load {
        let (total, needed) = (made.version.total.into(), made.version.needed.into());
        Load { total, needed, len: made.share(0).len, room: room(made.most_bytes()) }
    }

    /// Which shares each server gets of a version that is written as a whole.
    ///
    /// Who takes no more than he has is given what he has: his disk may have room again.
    fn assign(&self, targets: &[Target]) -> Homes {
        let (takers, full) = self.takers(targets);
        let mut homes = self.deal(&takers);
        self.copy(&mut homes, &takers, targets.len());
        homes.append(&mut self.keep(&full));
        homes
    }

    /// The servers that can take shares, and those that cannot, as they take no more than they have and one of their
    /// shares would grow. One whose length is not known may be long enough, if another one is.
    fn takers<'a>(&self, targets: &'a [Target]) -> (Vec<&'a Target>, Vec<&'a Target>) {
        targets.iter().partition(|target| {
            let lens: Vec<_> = self.kept(target).map(|share| target.lens.get(&share)).collect();
            let is_long = lens.iter().flatten().all(|len| **len >= self.len);
            !target.candidate.read_only || is_long && lens.iter().any(Option::is_some)
        })
    }

    /// What a server has it keeps; the rest goes where there is least, in the order of the targets. If copies take
    /// the room of others, they are not kept.
    fn deal(&self, takers: &[&Target]) -> Homes {
        let [in_place, once] =
            [self.keep(takers), self.keep_once(takers)].map(|homes| self.fill(takers, homes));
        if distinct(&once) > distinct(&in_place) { once } else { in_place }
    }

    /// Whoever would get nothing gets second copies of shares of the server with the most: a server without a share
    /// cannot accept anything, but counts when more than half must. So many, as far as the shares suffice, that more
    /// than half of the servers have enough different ones to read the version: it could be there on these alone, if
    /// its writer died then, and nobody could read it.
    ///
    /// As many as that takes count for each server, and each share for one. Who has fewer gets others that count for
    /// nobody. When there are none left, only those get copies for whom nothing counted at first, until they have as
    /// many. So what has been given is not added to by the next change, and servers are not filled with copies in the
    /// course of time.
    fn copy(&self, homes: &mut Homes, takers: &[&Target], servers: usize) {
        let enough = self.needed.div_ceil(servers / 2 + 1);
        let (full, open): (Vec<&Target>, Vec<&Target>) =
            takers.iter().partition(|target| target.candidate.read_only);
        let [full, open] = [full, open]
            .map(|targets| targets.iter().map(|target| target.candidate.server).collect::<Vec<_>>());
        let mut fewest_first = open.clone();
        fewest_first.sort_by_key(|server| homes[server].len());
        let mut claims = Claims::default();
        // Those that can be given nothing first.
        claims.stake(homes, &full, enough);
        claims.stake(homes, &fewest_first, enough);
        let shares = distinct(homes);
        for server in open {
            let at_first = claims.count(server);
            let mut count = at_first;
            while homes[&server].len() < self.room {
                if count < enough
                    && claims.len() < shares
                    && let Some(share) = to_copy(homes, server, |share| claims.is_free(share))
                {
                    claims.give(share, server);
                    count += 1;
                    homes.entry(server).or_default().insert(share);
                } else if at_first == 0
                    && homes[&server].len() < enough
                    && let Some(share) = to_copy(homes, server, |_| true)
                {
                    homes.entry(server).or_default().insert(share);
                } else {
                    break;
                }
            }
        }
    }

    /// The shares that a server has and could be given.
    fn kept<'a>(&self, target: &'a Target) -> impl Iterator<Item = u16> + 'a {
        let total = self.total;
        target.there.keys().copied().filter(move |share| *share < total)
    }

    /// Every server keeps what it has, up to as many shares as there is room for.
    fn keep(&self, targets: &[&Target]) -> Homes {
        let kept = |target: &&Target| (target.candidate.server, self.kept(target).take(self.room).collect());
        targets.iter().map(kept).collect()
    }

    /// The same, but of copies only those at servers that can be given nothing else.
    fn keep_once(&self, targets: &[&Target]) -> Homes {
        let (full, open): (Vec<&Target>, Vec<&Target>) =
            targets.iter().partition(|target| target.candidate.read_only);
        let mut placed: BTreeSet<u16> = BTreeSet::new();
        let mut kept = |target: &Target| {
            let is_copy = |share: &u16| !target.candidate.read_only && placed.contains(share);
            let kept: BTreeSet<u16> =
                self.kept(target).filter(|share| !is_copy(share)).take(self.room).collect();
            placed.extend(&kept);
            (target.candidate.server, kept)
        };
        full.into_iter().chain(open).map(&mut kept).collect()
    }

    /// Gives what nobody has, from the first share on, to those with the fewest.
    fn fill(&self, targets: &[&Target], mut homes: Homes) -> Homes {
        let placed: BTreeSet<u16> = homes.values().flatten().copied().collect();
        for share in (0..self.total).filter(|share| !placed.contains(share)) {
            let open = targets.iter().filter(|target| !target.candidate.read_only);
            let least = open.map(|target| target.candidate.server).min_by_key(|server| homes[server].len());
            if let Some(server) = least.filter(|server| homes[server].len() < self.room) {
                homes.entry(server).or_default().insert(share);
            }
        }
        homes
    }
}

/// Which of such shares to give a server a copy of: one of those with the fewest, at the server that has the most.
fn to_copy(homes: &Homes, to: ServerId, is_such: impl Fn(u16) -> bool) -> Option<u16> {
    let mut known: BTreeMap<u16, (usize, usize)> = BTreeMap::new();
    for shares in homes.values() {
        for share in shares {
            let (copies, beside) = known.entry(*share).or_default();
            (*copies, *beside) = (*copies + 1, (*beside).max(shares.len()));
        }
    }
    let others = known.into_iter().filter(|(share, _)| is_such(*share) && !homes[&to].contains(share));
    others.min_by_key(|(_, (copies, beside))| (*copies, Reverse(*beside))).map(|(share, _)| share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::TubId;
    use crate::peers::Candidate;
    use alloc::string::String;
    use proptest::prelude::*;

    fn id(index: usize) -> ServerId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(index as u64).to_le_bytes());
        ServerId(id)
    }

    fn target((index, (there, read_only, len)): (usize, (BTreeSet<u16>, bool, u64))) -> Target {
        let candidate = Candidate {
            server: id(index),
            tub_id: TubId([0; 20]),
            nickname: String::new(),
            read_only,
            lost: false,
        };
        let lens = there.iter().map(|share| (*share, len + u64::from(*share))).collect();
        let there = there.into_iter().map(|share| (share, Vec::new())).collect();
        Target { candidate, there, lens }
    }

    fn targets(total: u16) -> impl Strategy<Value = Vec<Target>> {
        let there = prop::collection::btree_set(0..total + 3, 0..6);
        let target_of = (there, prop::bool::weighted(0.2), 95..105u64);
        prop::collection::vec(target_of, 1..8)
            .prop_map(|all| all.into_iter().enumerate().map(target).collect())
    }

    proptest! {
        #[test]
        fn as_many_as_there_is_room_for(
            (total, targets) in (1u16..12).prop_flat_map(|total| (Just(total), targets(total))),
            needed in 1usize..4,
            room in 1usize..8,
        ) {
            let load = Load { total, needed: needed.min(total.into()), len: 100, room };
            let homes = load.assign(&targets);
            let (takers, full) = load.takers(&targets);
            let (mut places, mut are_kept, mut placed) = (0, true, BTreeSet::<u16>::new());
            for target in &targets {
                let mine = &homes[&target.candidate.server];
                prop_assert!(mine.len() <= room && mine.iter().all(|share| *share < total));
                if target.candidate.read_only {
                    prop_assert!(mine.iter().all(|share| target.there.contains_key(share)));
                } else {
                    prop_assert!(!mine.is_empty());
                    are_kept &= target.there.keys().all(|share| *share >= total || mine.contains(share));
                    places += room;
                }
            }
            for taker in takers {
                let mine = &homes[&taker.candidate.server];
                // Nobody is counted on to take what he cannot.
                prop_assert!(!taker.candidate.read_only || mine.iter().all(|share| taker.lens[share] >= 100));
                placed.extend(mine);
            }
            prop_assert!(placed.len() >= places.min(total.into()));
            // With room for everything nothing is moved.
            prop_assert!(are_kept || room < usize::from(total));
            prop_assert!(full.iter().all(|target| target.candidate.read_only));
        }
    }

    proptest! {
        /// With room for everything: what was given once is not added to by the next change, in whatever order the
        /// servers come then, and any that are more than half have enough if the shares suffice for that.
        #[test]
        fn nobody_is_given_more_and_more(
            (total, mut targets) in (1u16..12).prop_flat_map(|total| (Just(total), targets(total))),
            needed in 1usize..12,
            seed in any::<u64>(),
        ) {
            let needed = needed.min(total.into());
            let load = Load { total, needed, len: 100, room: 100 };
            let homes = load.assign(&targets);
            let count = targets.len();
            let more = count / 2 + 1;
            let enough = needed.div_ceil(more);
            if targets.iter().all(|target| !target.candidate.read_only) && count * enough <= total.into() {
                for chosen in (0u32..1 << count).filter(|chosen| chosen.count_ones() as usize == more) {
                    let chosen = (0..count).filter(|index| chosen >> index & 1 == 1);
                    let of = chosen.flat_map(|index| &homes[&targets[index].candidate.server]);
                    prop_assert!(of.collect::<BTreeSet<_>>().len() >= needed, "{homes:?}");
                }
            }
            take(&mut targets, &homes);
            targets.sort_by_key(|target| (u64::from(target.candidate.server.0[0]) + 1).wrapping_mul(seed | 1));
            prop_assert_eq!(load.assign(&targets), homes);
        }
    }

    fn homes_of(needed: usize, there: &[&[u16]]) -> Vec<BTreeSet<u16>> {
        let there = there.iter().map(|shares| (shares.iter().copied().collect(), false, 100));
        let targets: Vec<Target> = there.enumerate().map(target).collect();
        let homes = Load { total: 10, needed, len: 100, room: 100 }.assign(&targets);
        targets.iter().map(|target| homes[&target.candidate.server].clone()).collect()
    }

    /// Where all shares were with one server, any two of three can read what they take, in whatever order the others
    /// have joined.
    #[test]
    fn who_joins_gets_enough_copies() {
        let all: Vec<u16> = (0..10).collect();
        for needed in 1..=8 {
            let homes = homes_of(needed, &[&all, &[], &[]]);
            assert!((&homes[1] | &homes[2]).len() >= needed, "{homes:?}");
            stays(needed, &homes);
        }
        for there in [&[&all[..], &[], &[0]], &[&all, &[0, 1], &[0, 1]], &[&all, &[], &[]]] {
            let homes = homes_of(3, there);
            assert_eq!(homes[0].len(), 10);
            assert!((&homes[1] | &homes[2]).len() >= 3, "{homes:?}");
            assert!(homes[1].len() + homes[2].len() <= 6, "{homes:?}");
            stays(3, &homes);
        }
    }

    /// Those who have shares of their own get no others because somebody joins, nor later.
    #[test]
    fn owners_get_no_copies() {
        let one: Vec<[u16; 1]> = (0..10).map(|share| [share]).collect();
        let there: Vec<&[u16]> = [&[][..]].into_iter().chain(one.iter().map(|share| &share[..])).collect();
        let homes = homes_of(7, &there);
        assert!(homes[1..].iter().all(|shares| shares.len() == 1), "{homes:?}");
        assert_eq!(homes[0].len(), 2);
        stays(7, &homes);
    }

    /// The same with five that come before those that have shares. What they are given is not given on.
    #[test]
    fn copies_are_not_given_on() {
        let one: Vec<[u16; 1]> = (0..10).map(|share| [share]).collect();
        let there: Vec<&[u16]> = [&[][..]; 5].into_iter().chain(one.iter().map(|share| &share[..])).collect();
        let homes = homes_of(3, &there);
        assert!(homes.iter().all(|shares| shares.len() == 1), "{homes:?}");
        stays(3, &homes);
    }

    /// A server that was silent for a change comes back, and its share is also with another one.
    #[test]
    fn who_comes_back_keeps_what_he_has() {
        let one: Vec<[u16; 1]> = (0..10).map(|share| [share]).collect();
        let mut there: Vec<&[u16]> = one.iter().map(|share| &share[..]).collect();
        (there[0], there[1]) = (&[0, 9], &[0, 1]);
        let homes = homes_of(3, &there);
        assert_eq!(homes.iter().map(BTreeSet::len).sum::<usize>(), 12, "{homes:?}");
        stays(3, &homes);
    }

    /// The servers take what they are given, but for those that are full, which keep what they have.
    fn take(targets: &mut [Target], homes: &Homes) {
        for target in targets.iter_mut().filter(|target| !target.candidate.read_only) {
            let mine = &homes[&target.candidate.server];
            target.there = mine.iter().map(|share| (*share, Vec::new())).collect();
        }
    }

    /// Shares where they were put: nothing more is put anywhere.
    fn stays(needed: usize, homes: &[BTreeSet<u16>]) {
        let there: Vec<Vec<u16>> = homes.iter().map(|shares| shares.iter().copied().collect()).collect();
        assert_eq!(homes_of(needed, &there.iter().map(Vec::as_slice).collect::<Vec<_>>()), homes);
    }

    /// A grid of more servers than shares: it takes no time, and nobody gets more than he needs, nor later.
    #[test]
    fn very_many_servers() {
        let load = Load { total: 255, needed: 200, len: 100, room: 255 };
        let there = (0..510u16).map(|server| (server.checked_sub(255).into_iter().collect(), false, 100));
        let mut targets: Vec<Target> = there.enumerate().map(target).collect();
        for _ in 0..3 {
            let homes = load.assign(&targets);
            assert!(homes.values().all(|shares| shares.len() == 1));
            take(&mut targets, &homes);
        }
    }
}
