//! Which share of a version goes to which server.

use super::super::making::Made;
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

    /// The servers that can take shares, and those that cannot, as they take no more than they have.
    fn takers<'a>(&self, targets: &'a [Target]) -> (Vec<&'a Target>, Vec<&'a Target>) {
        targets.iter().partition(|target| {
            !target.candidate.read_only || target.lens.values().any(|len| *len >= self.len)
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
    /// cannot accept anything, but counts when more than half must. As many as it takes for more than half to have
    /// enough to read the version, if each of them has as many: else it could be there on more than half, if its
    /// writer died then, and nobody could read it.
    fn copy(&self, homes: &mut Homes, takers: &[&Target], servers: usize) {
        let enough = self.needed.div_ceil(servers / 2 + 1).min(self.room);
        for target in takers.iter().filter(|target| !target.candidate.read_only) {
            let server = target.candidate.server;
            while homes[&server].len() < enough
                && let Some(share) = to_copy(homes, server)
            {
                homes.entry(server).or_default().insert(share);
            }
        }
    }

    /// The shares that a server has and could be given: of one that takes no more than it has, those that it has
    /// room for, if there are some.
    fn kept<'a>(&self, target: &'a Target) -> impl Iterator<Item = u16> + 'a {
        let (total, len) = (self.total, self.len);
        let is_long = move |share: &u16| target.lens.get(share).is_some_and(|there| *there >= len);
        let picks = target.candidate.read_only && target.there.keys().any(is_long);
        let there = target.there.keys().copied().filter(move |share| *share < total);
        there.filter(move |share| !picks || is_long(share))
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

/// The share to give a server another copy of, if all it has are copies: one of those with the fewest, at the server
/// that has the most.
fn to_copy(homes: &Homes, to: ServerId) -> Option<u16> {
    let mut known: BTreeMap<u16, (usize, usize)> = BTreeMap::new();
    for shares in homes.values() {
        for share in shares {
            let (copies, beside) = known.entry(*share).or_default();
            (*copies, *beside) = (*copies + 1, (*beside).max(shares.len()));
        }
    }
    let mine = &homes[&to];
    let has_copies = mine.iter().all(|share| known[share].0 > 1);
    let others = known.into_iter().filter(|(share, _)| !mine.contains(share));
    let best = others.min_by_key(|(_, (copies, beside))| (*copies, Reverse(*beside)));
    best.filter(|_| has_copies).map(|(share, _)| share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::TubId;
    use crate::peers::Candidate;
    use alloc::string::String;
    use proptest::prelude::*;

    fn target((index, (there, read_only, len)): (usize, (BTreeSet<u16>, bool, u64))) -> Target {
        let candidate = Candidate {
            server: ServerId([index as u8; 32]),
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
                // Nobody is given what he cannot take.
                prop_assert!(!taker.candidate.read_only || mine.iter().all(|share| taker.lens[share] >= 100));
                placed.extend(mine);
            }
            prop_assert!(placed.len() >= places.min(total.into()));
            // With room for everything nothing is moved.
            prop_assert!(are_kept || room < usize::from(total));
            prop_assert!(full.iter().all(|target| target.candidate.read_only));
        }
    }

    /// Where all shares were with one server, any two of three can read what they take.
    #[test]
    fn who_joins_gets_enough_copies() {
        let there = |shares: core::ops::Range<u16>| (shares.collect(), false, 100);
        let targets: Vec<Target> =
            [there(0..10), there(0..0), there(0..1)].into_iter().enumerate().map(target).collect();
        let homes = Load { total: 10, needed: 3, len: 100, room: 100 }.assign(&targets);
        let of = |server: u8| homes[&ServerId([server; 32])].clone();
        assert_eq!((of(0).len(), of(1).len(), of(2).len()), (10, 2, 2));
        assert_eq!((&of(1) | &of(2)).len(), 4);
    }
}
