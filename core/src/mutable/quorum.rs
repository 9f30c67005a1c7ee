//! The rule by which concurrent changes of one mutable file do not destroy each other.
//!
//! The format knows sequence numbers and test-and-set writes on each server, nothing across servers;
//! Tahoe-LAFS's own documents admit that two writers at once may lose a change. Here a change
//! counts as made only when more than half of each of three *bodies* of servers accepted it:
//!
//! - the first servers of its ring that take shares, as many as it has shares; servers that are lost for
//!   good leave their seats there empty as long as shares are missing that nobody else can have;
//! - these and every other server known to hold a share;
//! - those that may hold one: the first of its ring, as many again, full or not, that have not said that
//!   they hold none.
//!
//! Nearly always they are the same. The last is what keeps a change from being lost when the first becomes
//! another, because servers join, are full or have room again: who has just come has nothing, and no say
//! there. He is given a share only after more than half of the last body have accepted, so whoever holds
//! something got it from them, and the last body never consists of what a minority has written. To each
//! body belong, never to answer, as many as seem to hold the shares that no known server can have.
//!
//! A writer first reads as many. Then, with `s` the highest sequence number seen:
//!
//! 1. If one version with `s` is on more than half of each, it is the base: the new version gets
//!    `s + 1` and is written everywhere.
//! 2. Otherwise, if some servers of the last body that answered have only older versions, the writer
//!    competes: its version also gets `s`, is made of the versions with `s` that can be read, and
//!    is written to those that are behind only.
//! 3. Otherwise everybody in it who answered has some version with `s`, and none has won: the new version
//!    gets `s + 1`, is made of all of them, and is written everywhere.
//!
//! If exactly one of several versions with `s` can have won, unseen, it alone is built upon by 2 and 3: each
//! contains all that was acknowledged before, and what the others have besides never counted. Their contents
//! are put together only if none can have won, or if it cannot be told which; without those that the writer has
//! made and given up himself, since his change is made again on what the others left.
//!
//! Every write tests that the server still has what the writer saw there. So a server accepts at most
//! one version with a given number, and at most one version with a given number is ever on more than
//! half of a body. Hence every version with `s + 1` contains the version with `s` that was
//! acknowledged, if one was: by 1 it is the base; by 3 it was seen, since any two majorities meet.
//! What a writer left behind half-way when it died is either merged, or has lost.
//!
//! A version that cannot be read (too few of its shares were found) is passed over only if it cannot
//! have been acknowledged; otherwise the change is refused. Whether it can have been, only the last body
//! tells: the others may have been other servers then. If nothing with `s` can be read, the new
//! version competes for `s` on the basis of what was before. That some version with `s` exists shows
//! that nothing can be acknowledged with `s - 1` any more but what was seen by its writer; to see the
//! same, all must be asked after that. If so many are behind that something with `s - 1` that does not show
//! might still be acknowledged, they are first given a version with `s - 1` that is there: as if its own
//! writer went on.
//!
//! A server that answers, but does not take what it is given (its disk is full), would be behind for ever. So
//! once nobody else is behind it counts as one that does not answer.

use crate::mutants::{self, Mutant};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// What one server that answered has: for each version there, by its name, its sequence number.
pub(super) type Held<V> = BTreeMap<V, u64>;

/// What to do, given what those with a say answered.
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
        /// Several of the bases may have been acknowledged, and nobody can tell which of them was.
        undecided: bool,
    },
    /// Give a version that is there to those who are behind it, and look again: so that no other can be
    /// acknowledged with its number any more.
    Complete {
        /// The version, which can be read.
        version: V,
        /// Those behind.
        targets: BTreeSet<S>,
    },
    /// Fewer answered than must agree.
    TooFew(Tally),
    /// The newest version cannot be read. What to do about that shows if all are asked again.
    AskAgain {
        /// The highest sequence number seen.
        known: u64,
    },
    /// A version that may be the newest acknowledged one cannot be read.
    Unreadable,
}

/// How many of so many servers are more than half.
fn majority(servers: usize) -> usize {
    if mutants::is_in(Mutant::QuorumOfHalf) { (servers / 2).max(1) } else { servers / 2 + 1 }
}

/// How many of a body agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tally {
    /// How many must.
    pub(super) needed: usize,
    /// Of how many.
    pub(super) servers: usize,
    /// How many do.
    pub(super) agreed: usize,
}

impl Tally {
    /// Whether it is more than half.
    pub(super) fn is_enough(&self) -> bool {
        self.agreed >= self.needed
    }
}

/// The servers that have a say.
#[derive(Clone, Debug)]
pub(super) struct Electorate<S> {
    bodies: Vec<BTreeSet<S>>,
    /// How many belong to each besides, which are not known here.
    strangers: usize,
    /// How many seats of the first body nobody has taken since their servers were lost.
    empty: usize,
}

impl<S: Copy + Ord> Electorate<S> {
    /// More than half of each of these bodies must agree, and so many strangers belong to each.
    pub(super) fn new(bodies: impl Into<Vec<BTreeSet<S>>>, strangers: usize) -> Electorate<S> {
        Electorate { bodies: bodies.into(), strangers, empty: 0 }
    }

    /// The same with so many seats of the first body empty: they count, and nobody agrees for them.
    pub(super) fn with_empty_seats(self, empty: usize) -> Electorate<S> {
        Electorate { empty, ..self }
    }

    /// Whether a server has a say.
    pub(super) fn has(&self, server: &S) -> bool {
        self.bodies.iter().any(|body| body.contains(server))
    }

    /// The servers that have a say and are known here.
    pub(super) fn known(&self) -> BTreeSet<S> {
        self.bodies.iter().flatten().copied().collect()
    }

    /// How many have a say, known or not.
    pub(super) fn len(&self) -> usize {
        self.known().len() + self.strangers
    }

    /// Whether these are more than half of the last body.
    pub(super) fn last_agrees(&self, agreeing: impl Fn(&S) -> bool) -> bool {
        self.bodies.last().is_some_and(|body| {
            let agreed = body.iter().filter(|one| agreeing(one)).count();
            agreed >= majority(body.len() + self.strangers)
        })
    }

    /// Whether a server belongs to the last body.
    fn is_in_last(&self, server: &S) -> bool {
        self.bodies.last().is_some_and(|body| body.contains(server))
    }

    /// How many are not known here.
    pub(super) fn strangers(&self) -> usize {
        self.strangers
    }

    /// How many agree if these do: of the body that is furthest from enough.
    pub(super) fn tally(&self, agreeing: &BTreeSet<S>) -> Tally {
        let of = |(index, body): (usize, &BTreeSet<S>)| {
            let servers = body.len() + self.strangers + if index == 0 { self.empty } else { 0 };
            let agreed = match mutants::is_in(Mutant::OutsidersCounted) {
                true => agreeing.len(),
                false => body.intersection(agreeing).count(),
            };
            Tally { needed: majority(servers), servers, agreed }
        };
        let none = Tally { needed: majority(self.strangers), servers: self.strangers, agreed: 0 };
        let tallies = self.bodies.iter().enumerate().map(of);
        tallies.max_by_key(|tally| tally.needed.saturating_sub(tally.agreed)).unwrap_or(none)
    }

    /// Whether these are more than half of each.
    fn agree(&self, agreeing: &BTreeSet<S>) -> bool {
        self.tally(agreeing).is_enough()
    }

    /// Whether a version that is on these servers may be, or have been, on more than half of the last body, if
    /// it is also on those of it that `may` have it, and with all strangers. Who has a say without belonging
    /// to the last body now may have belonged to it then.
    fn may_have_agreed(&self, on: &BTreeSet<S>, may: impl Fn(&S) -> bool) -> bool {
        self.bodies.last().is_none_or(|body| {
            let others = body.iter().filter(|one| !on.contains(one) && may(one)).count();
            on.len() + others + self.strangers >= majority(body.len() + self.strangers)
        })
    }
}

/// What can be built upon.
#[derive(Debug)]
pub(super) struct Grounds<S, V> {
    /// The versions of which enough shares were found.
    pub(super) readable: BTreeSet<V>,
    /// Those that the writer has made itself and given up: they were never acknowledged.
    pub(super) given_up: BTreeSet<V>,
    /// The servers that did not take what this writer wrote for those behind, though they answer.
    pub(super) refusing: BTreeSet<S>,
    /// The highest sequence number that was known before the first server was asked.
    pub(super) known: u64,
}

impl<S, V: Copy + Ord> Grounds<S, V> {
    /// The versions that can be read, and those that cannot, unless they cannot have counted either.
    fn sort(&self, versions: &BTreeMap<V, BTreeSet<S>>) -> (Vec<V>, Vec<V>) {
        let (readable, others): (Vec<V>, Vec<V>) =
            versions.keys().copied().partition(|version| self.readable.contains(version));
        (readable, others.into_iter().filter(|version| !self.given_up.contains(version)).collect())
    }

    /// Of several versions the only one that may have counted, or all that others have made: what this writer
    /// has made he makes again. And whether more than one may have counted.
    fn choose(&self, versions: Vec<V>, may_have_counted: impl Fn(&V) -> bool) -> (Vec<V>, bool) {
        let is_rival = |version: &&V| !self.given_up.contains(version) && may_have_counted(version);
        let rivals: Vec<V> = versions.iter().filter(is_rival).copied().collect();
        let of_others: Vec<V> =
            versions.iter().filter(|version| !self.given_up.contains(version)).copied().collect();
        match rivals.len() {
            1 => (rivals, false),
            more => (if of_others.is_empty() { versions } else { of_others }, more > 1),
        }
    }
}

/// Decides by the rule above. `answers` are those of the servers that have a say and answered.
///
/// Servers that refuse are not waited for: if nobody else of the last body is behind, it is decided as if they had
/// not answered. What they take of the next version counts.
pub(super) fn decide<S: Copy + Ord, V: Copy + Ord>(
    answers: &BTreeMap<S, Held<V>>,
    electorate: &Electorate<S>,
    grounds: &Grounds<S, V>,
) -> Decision<S, V> {
    let mut decision = decide_by_all(answers, electorate, grounds);
    let behind = match &mut decision {
        Decision::Write { sequence, targets, .. } if top(answers) == Some(*sequence) => targets,
        Decision::Complete { targets, .. } => targets,
        _ => return decision,
    };
    // Whoever has nothing yet is given nothing before the others have agreed.
    let matter: BTreeSet<S> = behind.iter().copied().filter(|server| electorate.is_in_last(server)).collect();
    if matter.is_empty() || !matter.is_subset(&grounds.refusing) {
        behind.retain(|server| !grounds.refusing.contains(server));
        return decision;
    }
    let mut others = answers.clone();
    others.retain(|server, _| !matter.contains(server));
    decide(&others, electorate, grounds)
}

/// The highest sequence number among these.
fn top<S, V>(answers: &BTreeMap<S, Held<V>>) -> Option<u64> {
    answers.values().flat_map(BTreeMap::values).max().copied()
}

fn decide_by_all<S: Copy + Ord, V: Copy + Ord>(
    answers: &BTreeMap<S, Held<V>>,
    electorate: &Electorate<S>,
    grounds: &Grounds<S, V>,
) -> Decision<S, V> {
    let readable = &grounds.readable;
    let write = |sequence, bases, targets| match sequence {
        Some(sequence) => Decision::Write { sequence, bases, targets, undecided: false },
        // Somebody with the key has used up all numbers.
        None => Decision::Unreadable,
    };
    let all: BTreeSet<S> = answers.keys().copied().collect();
    let tally = electorate.tally(&all);
    if !tally.is_enough() {
        return Decision::TooFew(tally);
    }
    let is_unheard = |server: &S| !answers.contains_key(server);
    let Some(sequence) = top(answers) else {
        return write(Some(1), Vec::new(), all);
    };
    let holders = siblings(answers, sequence);
    if let Some((version, _)) = holders.iter().find(|(_, on)| electorate.agree(on)) {
        return match readable.contains(version) {
            true => write(sequence.checked_add(1), [*version].into(), all),
            false => Decision::Unreadable,
        };
    }
    let behind: BTreeMap<S, Held<V>> = answers
        .iter()
        .filter(|(_, held)| held.values().all(|number| *number < sequence))
        .map(|(server, held)| (*server, held.clone()))
        .collect();
    // Could it have been acknowledged, or still be?
    let may_win = |version: &V| electorate.may_have_agreed(&holders[version], is_unheard);
    let (bases, lost) = grounds.sort(&holders);
    if lost.iter().any(may_win) {
        return Decision::Unreadable;
    }
    let (bases, undecided) = grounds.choose(bases, may_win);
    // Whoever has nothing is given a share once the others have agreed: with him alone nobody wins.
    if !behind.keys().any(|server| electorate.is_in_last(server)) {
        return match (bases.is_empty(), sequence.checked_add(1)) {
            (false, Some(sequence)) => Decision::Write { sequence, bases, targets: all, undecided },
            _ => Decision::Unreadable,
        };
    }
    let targets = behind.keys().copied().collect();
    if !bases.is_empty() {
        return Decision::Write { sequence, bases, targets, undecided };
    }
    // Nothing with the highest number can be read. But that it is there settles what was acknowledged
    // before, so that this can be seen, provided that all was asked after that.
    if sequence > grounds.known {
        return Decision::AskAgain { known: sequence };
    }
    let Some(older) = top(&behind) else { return Decision::Unreadable };
    let on = siblings(&behind, older);
    let (bases, lost) = grounds.sort(&on);
    // Who may have had what is not seen, and who may still get it.
    let had = |server: &S| !behind.contains_key(server);
    let is_late =
        |server: &S| behind.get(server).is_some_and(|held| held.values().all(|number| *number < older));
    let unseen = |may: &dyn Fn(&S) -> bool| {
        let nowhere = BTreeSet::new();
        let mut places = lost.iter().map(|version| &on[version]).chain([&nowhere]);
        places.any(|on| electorate.may_have_agreed(on, may))
    };
    // If something unseen may count already it is of no use to give anybody anything.
    if bases.is_empty() || unseen(&had) {
        return Decision::Unreadable;
    }
    let hides = |server: &S| had(server) || is_late(server);
    if unseen(&hides) {
        let late = |server: &&S| electorate.is_in_last(server) && is_late(server);
        let targets = behind.keys().filter(late).copied().collect();
        let best = bases.into_iter().max_by_key(|version| {
            (electorate.may_have_agreed(&on[version], had), on[version].len(), *version)
        });
        return best.map_or(Decision::Unreadable, |version| Decision::Complete { version, targets });
    }
    let (bases, undecided) = grounds.choose(bases, |version| electorate.may_have_agreed(&on[version], hides));
    Decision::Write { sequence, bases, targets, undecided }
}

/// The versions with a sequence number, and on which servers each is.
fn siblings<S: Copy + Ord, V: Copy + Ord>(
    answers: &BTreeMap<S, Held<V>>,
    sequence: u64,
) -> BTreeMap<V, BTreeSet<S>> {
    let mut holders: BTreeMap<V, BTreeSet<S>> = BTreeMap::new();
    for (server, held) in answers {
        for (version, _) in held.iter().filter(|(_, number)| **number == sequence) {
            holders.entry(*version).or_default().insert(*server);
        }
    }
    holders
}

#[cfg(test)]
mod tests;
