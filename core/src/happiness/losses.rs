//! How many servers may be lost.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

/// The greatest `m` such that after the loss of *any* `m` servers at least `needed` different
/// shares remain; `None` if there are fewer than `needed` even now. All servers may be lost only
/// if nothing is needed.
///
/// Exact when no share is on two servers, as after an ordinary upload. Otherwise the question is
/// hard in general, and the answer is searched for: exactly for up to twenty servers, and for most
/// larger grids. When the search grows too long the answer is a lower bound, found by ignoring all
/// copies of a share but one: never more than the truth. Shares from 256 on do not exist and are
/// ignored.
pub fn survivable_losses<S: Ord>(placements: &BTreeMap<S, BTreeSet<u16>>, needed: u16) -> Option<usize> {
    let mut holdings: Vec<Shares> = placements.values().map(Shares::from_set).collect();
    let all = holdings.iter().fold(Shares::default(), Shares::union);
    let needed = usize::from(needed);
    if all.count() < needed {
        return None;
    }
    // The loss of a server without shares changes nothing; whoever chooses the worst loss spares
    // those servers. If nothing can be lost for good, everything may go.
    holdings.retain(|shares| shares.count() > 0);
    if needed == 0 {
        return Some(placements.len());
    }
    let total: usize = holdings.iter().map(Shares::count).sum();
    let kept_max = if total == all.count() {
        kept_of_disjoint(holdings.iter().map(Shares::count).collect(), needed - 1)
    } else {
        Search::new(holdings.clone(), needed - 1)
            .run()
            .unwrap_or_else(|| kept_of_disjoint(without_copies(&holdings), needed - 1))
    };
    // One loss fewer than the least that leaves too little.
    Some(holdings.len() - kept_max - 1)
}

/// The most servers that together have at most `shares_max` shares, when none has a copy of
/// another's: those with the fewest.
fn kept_of_disjoint(mut counts: Vec<usize>, shares_max: usize) -> usize {
    counts.sort_unstable();
    let mut shares = 0;
    counts
        .into_iter()
        .take_while(|count| {
            shares += count;
            shares <= shares_max
        })
        .count()
}

/// How many shares each server counts for if every share counts for one of its holders only, the
/// one with the fewest so far: an even spread gives the better bound.
fn without_copies(holdings: &[Shares]) -> Vec<usize> {
    let mut counts = vec![0; holdings.len()];
    for share in 0..Shares::LEN as u16 {
        let holders = (0..holdings.len()).filter(|&server| holdings[server].contains(share));
        if let Some(server) = holders.min_by_key(|&server| counts[server]) {
            counts[server] += 1;
        }
    }
    counts
}

/// Looks for the most servers that together have at most `shares_max` different shares, by trying
/// to keep or lose each, smallest first.
struct Search {
    holdings: Vec<Shares>,
    shares_max: usize,
    best: usize,
    steps_left: u32,
}

impl Search {
    /// Enough for every subset of twenty servers; a few milliseconds.
    const STEPS_MAX: u32 = 1 << 20;

    fn new(mut holdings: Vec<Shares>, shares_max: usize) -> Self {
        holdings.sort_by_key(Shares::count);
        Self { holdings, shares_max, best: 0, steps_left: Self::STEPS_MAX }
    }

    /// `None` if it takes too long.
    fn run(mut self) -> Option<usize> {
        self.visit(0, Shares::default(), 0);
        (self.steps_left > 0).then_some(self.best)
    }

    fn visit(&mut self, from: usize, kept_shares: Shares, kept: usize) {
        self.best = self.best.max(kept);
        for server in from..self.holdings.len() {
            // Even keeping all the rest would not be better.
            if self.steps_left == 0 || kept + self.holdings.len() - server <= self.best {
                return;
            }
            self.steps_left -= 1;
            let union = kept_shares.union(&self.holdings[server]);
            if union.count() <= self.shares_max {
                self.visit(server + 1, union, kept + 1);
                if union == kept_shares {
                    // It costs nothing to keep, so the case without it is no better.
                    return;
                }
            }
        }
    }
}

/// A set of share numbers; those of one file are below 256.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Shares([u64; 4]);

impl Shares {
    const LEN: usize = 256;

    fn from_set(set: &BTreeSet<u16>) -> Self {
        let mut shares = Self::default();
        for share in set.iter().map(|&share| usize::from(share)).filter(|&share| share < Self::LEN) {
            shares.0[share / 64] |= 1 << (share % 64);
        }
        shares
    }

    fn contains(&self, share: u16) -> bool {
        self.0[usize::from(share) / 64] >> (share % 64) & 1 == 1
    }

    fn union(self, other: &Self) -> Self {
        Self(core::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_bound_is_never_above_the_truth(
            held in proptest::collection::vec(proptest::collection::btree_set(0u16..8, 1..5), 1..8),
            shares_max in 0usize..8
        ) {
            let holdings: Vec<Shares> = held.iter().map(Shares::from_set).collect();
            let exact = Search::new(holdings.clone(), shares_max).run();
            let bound = kept_of_disjoint(without_copies(&holdings), shares_max);
            prop_assert!(exact.is_some_and(|exact| exact <= bound));
        }
    }

    #[test]
    fn the_bound_without_search_is_never_too_high() {
        // Sixty servers with overlapping shares: far too many subsets to try them all.
        let placements: BTreeMap<u32, BTreeSet<u16>> = (0..60)
            .map(|server| (server, [0u16, 7, 19].map(|step| (server as u16 * 3 + step) % 90).into()))
            .collect();
        let losses = survivable_losses(&placements, 30).expect("all shares are there");
        let holdings: Vec<Shares> = placements.values().map(Shares::from_set).collect();
        // Greedily keeping servers shows one way to lose the file.
        let mut union = Shares::default();
        let mut kept = 0;
        for shares in &holdings {
            let wider = union.union(shares);
            if wider.count() <= 29 {
                union = wider;
                kept += 1;
            }
        }
        assert!(losses < holdings.len() - kept);
    }
}
