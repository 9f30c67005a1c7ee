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
    let (total, room) = (made.version.total.into(), room(made.most_bytes()));
    match made.content {
        Some(_) if aim != Aim::Complete => assign(targets, total, room),
        _ => keep(targets, total, room),
    }
}

/// For how many different shares of a version there is room at these servers. Who takes no more than he has takes
/// none that is longer.
pub(in crate::mutable) fn places(made: &Made, targets: &[Target]) -> usize {
    let takes_some = |target: &&Target| !target.candidate.read_only || target.longest >= made.share(0).len;
    let takers: Vec<Target> = targets.iter().filter(takes_some).cloned().collect();
    distinct(&homes(made, &takers, Aim::Win))
}

/// How many different shares there are then.
fn distinct(homes: &Homes) -> usize {
    homes.values().flatten().collect::<BTreeSet<_>>().len()
}

/// Which shares each server gets of a version that is written as a whole. What a server has it keeps; the rest goes
/// where there is least, in the order of the targets. If copies take the room of others, they are not kept.
///
/// Whoever would get nothing gets a second copy of a share of the server with the most: a server without a share
/// cannot accept anything, but counts when more than half must. `room`: the most shares that one server can take
/// in a request.
fn assign(targets: &[Target], total: u16, room: usize) -> Homes {
    let [in_place, once] =
        [keep, keep_once].map(|keep| fill(targets, keep(targets, total, room), total, room));
    let mut homes = if distinct(&once) > distinct(&in_place) { once } else { in_place };
    for target in targets.iter().filter(|target| !target.candidate.read_only) {
        if homes[&target.candidate.server].is_empty()
            && let Some(share) = to_copy(&homes)
        {
            homes.entry(target.candidate.server).or_default().insert(share);
        }
    }
    homes
}

/// Every server keeps what it has, up to as many shares as there is room for.
fn keep(targets: &[Target], total: u16, room: usize) -> Homes {
    targets.iter().map(|target| (target.candidate.server, target.kept(total).take(room).collect())).collect()
}

/// The same, but of copies only those at servers that can be given nothing else.
fn keep_once(targets: &[Target], total: u16, room: usize) -> Homes {
    let (full, open): (Vec<&Target>, Vec<&Target>) =
        targets.iter().partition(|target| target.candidate.read_only);
    let mut placed: BTreeSet<u16> = BTreeSet::new();
    let mut kept = |target: &Target| {
        let is_copy = |share: &u16| !target.candidate.read_only && placed.contains(share);
        let kept: BTreeSet<u16> = target.kept(total).filter(|share| !is_copy(share)).take(room).collect();
        placed.extend(&kept);
        (target.candidate.server, kept)
    };
    full.into_iter().chain(open).map(&mut kept).collect()
}

/// Gives what nobody has, from the first share on, to those with the fewest.
fn fill(targets: &[Target], mut homes: Homes, total: u16, room: usize) -> Homes {
    let placed: BTreeSet<u16> = homes.values().flatten().copied().collect();
    for share in (0..total).filter(|share| !placed.contains(share)) {
        let open = targets.iter().filter(|target| !target.candidate.read_only);
        let least = open.map(|target| target.candidate.server).min_by_key(|server| homes[server].len());
        if let Some(server) = least.filter(|server| homes[server].len() < room) {
            homes.entry(server).or_default().insert(share);
        }
    }
    homes
}

/// Whether each server can take what is made of the shares that it has in one request.
pub(in crate::mutable) fn fits(made: &Made, targets: &[Target]) -> bool {
    let room = room(made.most_bytes());
    keep(targets, made.version.total.into(), usize::MAX).values().all(|shares| shares.len() <= room)
}

/// The most shares of so many bytes that one server can take in a request.
pub(in crate::mutable) fn room(share_len: u64) -> usize {
    (BULK_LEN_MAX as u64 / share_len.max(1)).max(1) as usize
}

/// The share to make another copy of: one of those with the fewest, at the server that has the most.
fn to_copy(homes: &BTreeMap<ServerId, BTreeSet<u16>>) -> Option<u16> {
    let mut known: BTreeMap<u16, (usize, usize)> = BTreeMap::new();
    for shares in homes.values() {
        for share in shares {
            let (copies, beside) = known.entry(*share).or_default();
            (*copies, *beside) = (*copies + 1, (*beside).max(shares.len()));
        }
    }
    known.into_iter().min_by_key(|(_, (copies, beside))| (*copies, Reverse(*beside))).map(|(share, _)| share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::TubId;
    use crate::peers::Candidate;
    use alloc::string::String;
    use proptest::prelude::*;

    fn target((index, (there, read_only)): (usize, (BTreeSet<u16>, bool))) -> Target {
        let candidate = Candidate {
            server: ServerId([index as u8; 32]),
            tub_id: TubId([0; 20]),
            nickname: String::new(),
            read_only,
            lost: false,
        };
        let there = there.into_iter().map(|share| (share, Vec::new())).collect();
        Target { candidate, there, longest: 0 }
    }

    fn targets(total: u16) -> impl Strategy<Value = Vec<Target>> {
        let there = prop::collection::btree_set(0..total + 3, 0..6);
        let target_of = (there, prop::bool::weighted(0.2));
        prop::collection::vec(target_of, 1..8)
            .prop_map(|all| all.into_iter().enumerate().map(target).collect())
    }

    proptest! {
        #[test]
        fn as_many_as_there_is_room_for(
            (total, targets) in (1u16..12).prop_flat_map(|total| (Just(total), targets(total))),
            room in 1usize..8,
        ) {
            let homes = assign(&targets, total, room);
            let (mut places, mut are_kept) = (0, true);
            for target in &targets {
                let mine = &homes[&target.candidate.server];
                prop_assert!(mine.len() <= room && mine.iter().all(|share| *share < total));
                prop_assert!(target.candidate.read_only || !mine.is_empty());
                prop_assert!(!target.candidate.read_only || mine.iter().all(|share| target.there.contains_key(share)));
                places += if target.candidate.read_only { 0 } else { room };
                are_kept &= target.kept(total).all(|share| mine.contains(&share));
            }
            prop_assert!(distinct(&homes) >= places.min(total.into()));
            // With room for everything nothing is moved.
            prop_assert!(are_kept || room < usize::from(total));
        }
    }
}
