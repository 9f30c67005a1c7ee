//! Which share of a version goes to which server.

use super::super::making::Made;
use super::{Aim, Target};
use crate::identity::ServerId;
use crate::limits::BULK_LEN_MAX;
use alloc::collections::{BTreeMap, BTreeSet};
use core::cmp::Reverse;

/// Which shares each server is given, and has then: those alone.
pub(in crate::mutable) type Homes = BTreeMap<ServerId, BTreeSet<u16>>;

/// Which shares of a version each server gets that is to be written to. Of a version of which there are only parts,
/// none but those it has, for without the rest a part is nothing; so of one that is there already.
pub(in crate::mutable) fn homes(made: &Made, targets: &[Target], aim: Aim) -> Homes {
    let (total, room) = (made.version.total.into(), room(made.most_bytes()));
    match made.content {
        Some(_) if aim != Aim::Complete => assign(targets, total, room),
        _ => keep(targets, total, room, |_| true),
    }
}

/// How many different shares there are then.
pub(in crate::mutable) fn distinct(homes: &Homes) -> usize {
    homes.values().flatten().collect::<BTreeSet<_>>().len()
}

/// Which shares each server gets of a version that is written as a whole. What a server has it keeps; the rest goes
/// where there is least, in the order of the targets. If there is no room for all, it must be the last ones that are
/// left out, so that nobody looks for those; if what is kept stands against that, all are given out anew.
///
/// Whoever would get nothing gets a second copy of a share of the server with the most: a server without a share
/// cannot accept anything, but counts when more than half must. `room`: the most shares that one server can take
/// in a request.
fn assign(targets: &[Target], total: u16, room: usize) -> Homes {
    let kept = keep(targets, total, room, |_| true);
    let takes = |Target { candidate, .. }: &Target| match candidate.read_only {
        true => kept[&candidate.server].len(),
        false => room,
    };
    let places = targets.iter().map(takes).fold(0, usize::saturating_add);
    let in_place = fill(targets, kept, total, room);
    let placed: BTreeSet<u16> = in_place.values().flatten().copied().collect();
    let mut homes = match (0..total).take(places).all(|share| placed.contains(&share)) {
        true => in_place,
        false => fill(targets, keep(targets, total, room, |target| target.candidate.read_only), total, room),
    };
    for target in targets.iter().filter(|target| !target.candidate.read_only) {
        if homes[&target.candidate.server].is_empty()
            && let Some(share) = to_copy(&homes)
        {
            homes.entry(target.candidate.server).or_default().insert(share);
        }
    }
    homes
}

/// What those servers that `may` keep what they have, up to as many shares as there is room for; the others nothing.
fn keep(targets: &[Target], total: u16, room: usize, may: impl Fn(&Target) -> bool) -> Homes {
    let kept = |target: &Target| {
        let there = target.there.keys().copied().filter(|share| *share < total);
        let most = if may(target) { room } else { 0 };
        (target.candidate.server, there.take(most).collect())
    };
    targets.iter().map(kept).collect()
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
    keep(targets, made.version.total.into(), usize::MAX, |_| true).values().all(|shares| shares.len() <= room)
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
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn target((index, (there, read_only)): (usize, (BTreeSet<u16>, bool))) -> Target {
        let candidate = Candidate {
            server: ServerId([index as u8; 32]),
            tub_id: TubId([0; 20]),
            nickname: String::new(),
            read_only,
            lost: false,
        };
        Target { candidate, there: there.into_iter().map(|share| (share, Vec::new())).collect() }
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
            let mut places = 0;
            for Target { candidate, there } in &targets {
                let mine = &homes[&candidate.server];
                prop_assert!(mine.len() <= room && mine.iter().all(|share| *share < total));
                prop_assert!(candidate.read_only || !mine.is_empty());
                prop_assert!(!candidate.read_only || mine.iter().all(|share| there.contains_key(share)));
                places += if candidate.read_only { 0 } else { room };
            }
            prop_assert!(distinct(&homes) >= places.min(total.into()));
            // What has no room are the last ones.
            let placed: BTreeSet<u16> = homes.values().flatten().copied().collect();
            prop_assert!((0..total).take(places).all(|share| placed.contains(&share)));
            // With room for everything nothing is moved.
            if room >= 6 && targets.iter().any(|target| !target.candidate.read_only) {
                prop_assert_eq!(distinct(&homes), usize::from(total));
                for Target { candidate, there } in &targets {
                    prop_assert!(there.keys().all(|share| *share >= total || homes[&candidate.server].contains(share)));
                }
            }
        }
    }
}
