//! The rule by which concurrent changes of one mutable file do not destroy each other.
//!
//! The format knows sequence numbers and test-and-set writes on each server, nothing across servers;
//! Tahoe-LAFS's own documents admit that two writers at once may lose a change. Here a change
//! counts as made only when more than half of the file's *voters* accepted it. The voters are the
//! servers that come first on the file's ring, as many as it has shares, and every other server known
//! to hold a share; and, never to answer, as many as must hold the shares that no known server can have.
//!
//! A writer first reads as many. Then, with `s` the highest sequence number seen:
//!
//! 1. If one version with `s` is on more than half of the voters, it is the base: the new version gets
//!    `s + 1` and is written everywhere.
//! 2. Otherwise, if some servers that answered have only older versions, or nothing, the writer
//!    competes: its version also gets `s`, is made of *all* versions with `s` that can be read, and
//!    is written to those servers only.
//! 3. Otherwise everybody who answered has some version with `s`, and none has won: the new version
//!    gets `s + 1`, is made of all of them, and is written everywhere.
//!
//! Every write tests that the server still has what the writer saw there. So a server accepts at most
//! one version with a given number, and at most one version with a given number is ever on more than
//! half of the voters. Hence every version with `s + 1` contains the version with `s` that was
//! acknowledged, if one was: by 1 it is the base; by 3 it was seen, since any two majorities meet.
//! What a writer left behind half-way when it died is either merged, or has lost.
//!
//! A version that cannot be read (too few of its shares were found) is passed over only if it cannot
//! have been acknowledged; otherwise the change is refused. If nothing with `s` can be read, the new
//! version competes for `s` on the basis of what was before. That some version with `s` exists shows
//! that nothing can be acknowledged with `s - 1` any more but what was seen by its writer; to see the
//! same, all must be asked after that.

use crate::mutants::{self, Mutant};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// What one voter that answered has: for each version there, by its name, its sequence number.
pub(super) type Held<V> = BTreeMap<V, u64>;

/// What to do, given what the voters answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Decision<S, V> {
    /// Write a new version.
    Write {
        /// Its sequence number.
        sequence: u64,
        /// The versions it is made of, each of which can be read; none for a file that is new.
        bases: Vec<V>,
        /// The servers it is written to.
        targets: BTreeSet<S>,
    },
    /// Fewer answered than must agree.
    TooFew {
        /// How many must agree.
        needed: usize,
    },
    /// The newest version cannot be read. What to do about that shows if all are asked again.
    AskAgain {
        /// The highest sequence number seen.
        known: u64,
    },
    /// A version that may be the newest acknowledged one cannot be read.
    Unreadable,
}

/// How many of so many voters are more than half.
pub(super) fn majority(voters: usize) -> usize {
    if mutants::is_in(Mutant::QuorumOfHalf) { (voters / 2).max(1) } else { voters / 2 + 1 }
}

/// Decides by the rule above. `answers` are those of the voters that answered, `voters` is how many
/// there are, `readable` are the versions of which enough shares were found, and `known` is the
/// highest sequence number that was known before the first of them was asked.
pub(super) fn decide<S: Copy + Ord, V: Copy + Ord>(
    answers: &BTreeMap<S, Held<V>>,
    voters: usize,
    readable: &BTreeSet<V>,
    known: u64,
) -> Decision<S, V> {
    let needed = majority(voters);
    if answers.len() < needed {
        return Decision::TooFew { needed };
    }
    let unheard = voters.saturating_sub(answers.len());
    let top = |among: &BTreeMap<S, Held<V>>| among.values().flat_map(BTreeMap::values).max().copied();
    let all: BTreeSet<S> = answers.keys().copied().collect();
    let Some(sequence) = top(answers) else {
        return Decision::Write { sequence: 1, bases: Vec::new(), targets: all };
    };
    let holders = siblings(answers, sequence);
    if let Some((version, _)) = holders.iter().find(|(_, count)| **count >= needed) {
        return match readable.contains(version) {
            true => Decision::Write { sequence: sequence + 1, bases: [*version].into(), targets: all },
            false => Decision::Unreadable,
        };
    }
    let behind: BTreeMap<S, Held<V>> = answers
        .iter()
        .filter(|(_, held)| held.values().all(|number| *number < sequence))
        .map(|(server, held)| (*server, held.clone()))
        .collect();
    let bases: Vec<V> = holders.keys().filter(|version| readable.contains(*version)).copied().collect();
    if bases.len() < holders.len() {
        // Could one that cannot be read have been acknowledged, or still be?
        let lost = holders.iter().filter(|(version, _)| !readable.contains(*version));
        let most = lost.map(|(_, count)| count + unheard).max().unwrap_or(0);
        if most >= needed {
            return Decision::Unreadable;
        }
    }
    if behind.is_empty() {
        return match bases.is_empty() {
            true => Decision::Unreadable,
            false => Decision::Write { sequence: sequence + 1, bases, targets: all },
        };
    }
    let targets = behind.keys().copied().collect();
    if !bases.is_empty() {
        return Decision::Write { sequence, bases, targets };
    }
    // Nothing with the highest number can be read. But that it is there settles what was acknowledged
    // before, so that this can be seen, provided that all was asked after that.
    if sequence > known {
        return Decision::AskAgain { known: sequence };
    }
    let Some(older) = top(&behind) else { return Decision::Unreadable };
    let lower = behind.values().filter(|held| held.values().all(|number| *number < older)).count();
    // Who might have, or might still get, what is not seen.
    let hidden = voters - behind.len() + lower;
    let older = siblings(&behind, older);
    let (bases, lost): (Vec<V>, Vec<V>) =
        older.keys().copied().partition(|version| readable.contains(version));
    let may_count = |version: &V| older[version] + hidden >= needed;
    match hidden >= needed || bases.is_empty() || lost.iter().any(may_count) {
        true => Decision::Unreadable,
        false => Decision::Write { sequence, bases, targets },
    }
}

/// The versions with a sequence number, and on how many servers each is.
fn siblings<S: Ord, V: Copy + Ord>(answers: &BTreeMap<S, Held<V>>, sequence: u64) -> BTreeMap<V, usize> {
    let mut holders = BTreeMap::new();
    for held in answers.values() {
        for (version, _) in held.iter().filter(|(_, number)| **number == sequence) {
            *holders.entry(*version).or_default() += 1;
        }
    }
    holders
}

#[cfg(test)]
mod tests;
