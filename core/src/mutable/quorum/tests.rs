use super::*;
use alloc::vec;
use proptest::prelude::*;

fn answers(held: &[(u8, &[(u8, u64)])]) -> BTreeMap<u8, Held<u8>> {
    held.iter().map(|(server, versions)| (*server, versions.iter().copied().collect())).collect()
}

/// A file that is on so many servers, none of which was ever another.
fn all<S: Copy + Ord>(servers: impl IntoIterator<Item = S>) -> Electorate<S> {
    Electorate::new([servers.into_iter().collect()], 0)
}

fn write(sequence: u64, bases: &[u8], targets: &[u8]) -> Decision<u8, u8> {
    let targets = targets.iter().copied().collect();
    Decision::Write { sequence, bases: bases.to_vec(), targets, undecided: false }
}

fn grounds<V: Copy + Ord>(readable: &BTreeSet<V>, known: u64) -> Grounds<u8, V> {
    Grounds { readable: readable.clone(), given_up: BTreeSet::new(), refusing: BTreeSet::new(), known }
}

#[test]
fn by_name() {
    let readable: BTreeSet<u8> = (0..100).collect();
    let decide = |held: &[(u8, &[(u8, u64)])], servers| {
        decide(&answers(held), &all(1..=servers), &grounds(&readable, 4))
    };
    // Nothing is there.
    assert_eq!(decide(&[(1, &[]), (2, &[])], 3), write(1, &[], &[1, 2]));
    assert_eq!(decide(&[(1, &[])], 3), Decision::TooFew(Tally { needed: 2, servers: 3, agreed: 1 }));
    // One version has won, another lags or lost.
    assert_eq!(decide(&[(1, &[(7, 4)]), (2, &[(7, 4)]), (3, &[(6, 3)])], 3), write(5, &[7], &[1, 2, 3]));
    assert_eq!(decide(&[(1, &[(7, 4)]), (2, &[(7, 4)]), (3, &[(8, 4)])], 3), write(5, &[7], &[1, 2, 3]));
    // Nobody has won yet: compete for those behind.
    assert_eq!(decide(&[(1, &[(7, 4)]), (2, &[(6, 3)]), (3, &[(6, 3)])], 3), write(4, &[7], &[2, 3]));
    // Nobody can win any more: all are merged.
    let split: &[(u8, &[(u8, u64)])] = &[(1, &[(7, 4)]), (2, &[(8, 4)]), (3, &[(9, 4)])];
    assert_eq!(decide(split, 3), write(5, &[7, 8, 9], &[1, 2, 3]));
}

/// Of several versions the one that may have been acknowledged is built upon, and no other.
#[test]
fn what_may_have_counted() {
    let readable: BTreeSet<u8> = (0..100).collect();
    let held: &[(u8, &[(u8, u64)])] = &[(1, &[(7, 4)]), (2, &[(7, 4)]), (3, &[(8, 4)]), (4, &[(9, 4)])];
    let decide = |servers, given_up: &[u8]| {
        let given_up = given_up.iter().copied().collect();
        let grounds = Grounds { given_up, ..grounds(&readable, 4) };
        decide(&answers(held), &all(1..=servers), &grounds)
    };
    // All have answered: none can have won, and all are merged.
    assert_eq!(decide(4, &[]), write(5, &[7, 8, 9], &[1, 2, 3, 4]));
    // With the fifth server, 7 may have.
    assert_eq!(decide(5, &[]), write(5, &[7], &[1, 2, 3, 4]));
    // Unless it is the writer's own, who makes his change again.
    assert_eq!(decide(5, &[7]), write(5, &[8, 9], &[1, 2, 3, 4]));
    assert_eq!(decide(4, &[7]), write(5, &[8, 9], &[1, 2, 3, 4]));
    assert_eq!(decide(4, &[7, 8, 9]), write(5, &[7, 8, 9], &[1, 2, 3, 4]));
    // With three more each may have, and nobody can tell.
    let split: &[(u8, &[(u8, u64)])] = &[(1, &[(7, 4)]), (2, &[(8, 4)]), (3, &[(8, 4)])];
    let tell = |given_up: &[u8]| {
        let given_up = given_up.iter().copied().collect();
        let grounds = Grounds { given_up, ..grounds(&readable, 4) };
        super::decide(&answers(split), &all(1..=5), &grounds)
    };
    let Decision::Write { sequence: 5, bases, undecided: true, .. } = tell(&[]) else {
        panic!("{:?}", tell(&[]))
    };
    assert_eq!(bases, [7, 8]);
    assert_eq!(tell(&[8]), write(5, &[7], &[1, 2, 3]));
    // Servers that are full and silent now may have made it count, though others stand in for them.
    let first = [3, 4, 5, 6].into();
    let electorate = Electorate::new([first, (1..=6).collect::<BTreeSet<u8>>()], 0);
    let stood_in: &[(u8, &[(u8, u64)])] = &[(3, &[(7, 4)]), (4, &[(6, 3)]), (5, &[(6, 3)]), (6, &[(7, 4)])];
    let unread = super::decide(&answers(stood_in), &electorate, &grounds(&[6].into(), 4));
    assert_eq!(unread, Decision::Unreadable);
}

/// Who answers and takes nothing keeps nobody from going on.
#[test]
fn who_takes_nothing_does_not_count_as_behind() {
    let readable: BTreeSet<u8> = [6, 7, 8].into();
    let decide = |held: &[(u8, &[(u8, u64)])], refusing: &[u8]| {
        let refusing = refusing.iter().copied().collect();
        decide(&answers(held), &all(1..=5), &Grounds { refusing, ..grounds(&readable, 4) })
    };
    let held: &[(u8, &[(u8, u64)])] =
        &[(1, &[(7, 4)]), (2, &[(7, 4)]), (3, &[(6, 3)]), (4, &[(6, 3)]), (5, &[(6, 3)])];
    assert_eq!(decide(held, &[]), write(4, &[7], &[3, 4, 5]));
    // The others are given something first.
    assert_eq!(decide(held, &[3]), write(4, &[7], &[4, 5]));
    let held: &[(u8, &[(u8, u64)])] =
        &[(1, &[(7, 4)]), (2, &[(7, 4)]), (3, &[(6, 3)]), (4, &[(8, 4)]), (5, &[(8, 4)])];
    let Decision::Write { sequence: 5, undecided: true, targets, .. } = decide(held, &[3]) else {
        panic!("{:?}", decide(held, &[3]))
    };
    assert_eq!(targets, [1, 2, 4, 5].into());
    // The others must be more than half.
    let held: &[(u8, &[(u8, u64)])] =
        &[(1, &[(7, 4)]), (2, &[(7, 4)]), (3, &[(6, 3)]), (4, &[(6, 3)]), (5, &[(6, 3)])];
    let too_few = Decision::TooFew(Tally { needed: 3, servers: 5, agreed: 2 });
    assert_eq!(decide(held, &[3, 4, 5]), too_few);
    // Who has the newest version refuses nothing that matters.
    assert_eq!(decide(held, &[1, 2]), write(4, &[7], &[3, 4, 5]));
    // Who has just come has nothing, and is not given anything before the others have agreed.
    let bodies: [BTreeSet<u8>; 2] = [(1..=5).collect(), (1..=4).collect()];
    let grounds_of = Grounds { refusing: [4].into(), ..grounds(&readable, 4) };
    let joined: &[(u8, &[(u8, u64)])] =
        &[(1, &[(7, 4)]), (2, &[(7, 4)]), (3, &[(7, 4)]), (4, &[(6, 3)]), (5, &[])];
    let decided = super::decide(&answers(joined), &Electorate::new(bodies.clone(), 0), &grounds_of);
    assert_eq!(decided, write(5, &[7], &[1, 2, 3, 4, 5]));
    let joined: &[(u8, &[(u8, u64)])] =
        &[(1, &[(7, 4)]), (2, &[(7, 4)]), (3, &[(8, 4)]), (4, &[(6, 3)]), (5, &[])];
    let decided = super::decide(&answers(joined), &Electorate::new(bodies, 0), &grounds_of);
    assert_eq!(decided, write(5, &[7], &[1, 2, 3, 5]));
    // With what is completed it is the same.
    let held: &[(u8, &[(u8, u64)])] =
        &[(1, &[(9, 5)]), (2, &[(7, 4)]), (3, &[(7, 4)]), (4, &[(6, 3)]), (5, &[(6, 3)])];
    let complete = |held, refusing: &[u8]| {
        let refusing = refusing.iter().copied().collect();
        super::decide(&answers(held), &all(1..=5), &Grounds { refusing, ..grounds(&readable, 5) })
    };
    assert_eq!(complete(held, &[4]), Decision::Complete { version: 7, targets: [5].into() });
    let rest: &[(u8, &[(u8, u64)])] =
        &[(1, &[(9, 5)]), (2, &[(7, 4)]), (3, &[(7, 4)]), (4, &[(6, 3)]), (5, &[(7, 4)])];
    assert_eq!(complete(rest, &[4]), write(5, &[7], &[2, 3, 5]));
}

/// What the writer itself has given up was not acknowledged, whether it can be read or not.
#[test]
fn own_versions_that_cannot_be_read() {
    let held: &[(u8, &[(u8, u64)])] = &[(1, &[(7, 4)]), (2, &[(7, 4)]), (3, &[(6, 3)]), (4, &[(6, 3)])];
    let with = |given_up: &[u8]| {
        let given_up = given_up.iter().copied().collect();
        decide(&answers(held), &all(1..=6), &Grounds { given_up, ..grounds(&[6].into(), 4) })
    };
    assert_eq!(with(&[]), Decision::Unreadable);
    assert_eq!(with(&[7]), Decision::Unreadable);
    let five: &[(u8, &[(u8, u64)])] = &[(1, &[(7, 4)]), (2, &[(6, 3)]), (3, &[(6, 3)]), (4, &[(6, 3)])];
    let with = |given_up: &[u8]| {
        let given_up = given_up.iter().copied().collect();
        decide(&answers(five), &all(1..=6), &Grounds { given_up, ..grounds(&[6].into(), 4) })
    };
    assert_eq!(with(&[7]), write(4, &[6], &[2, 3, 4]));
}

/// Seats of servers that are lost count until others have taken them.
#[test]
fn empty_seats_agree_to_nothing() {
    let four: BTreeSet<u8> = (1..=4).collect();
    let electorate = Electorate::new([four.clone(), four.clone(), four.clone()], 0).with_empty_seats(6);
    assert_eq!(electorate.tally(&four), Tally { needed: 6, servers: 10, agreed: 4 });
    let joined: BTreeSet<u8> = (1..=6).collect();
    let electorate = Electorate::new([joined.clone(), joined.clone(), four], 0).with_empty_seats(4);
    assert!(electorate.tally(&joined).is_enough());
}

/// Who has the key may have used up all numbers.
#[test]
fn the_last_number_is_the_last() {
    let readable: BTreeSet<u8> = [7, 8].into();
    let won: &[(u8, &[(u8, u64)])] = &[(1, &[(7, u64::MAX)])];
    assert_eq!(decide(&answers(won), &all(1..=1), &grounds(&readable, 4)), Decision::Unreadable);
    let split: &[(u8, &[(u8, u64)])] = &[(1, &[(7, u64::MAX)]), (2, &[(8, u64::MAX)])];
    assert_eq!(decide(&answers(split), &all(1..=2), &grounds(&readable, 4)), Decision::Unreadable);
}

#[test]
fn what_cannot_be_read() {
    let readable: BTreeSet<u8> = [6].into();
    let decide = |held: &[(u8, &[(u8, u64)])], servers| {
        decide(&answers(held), &all(1..=servers), &grounds(&readable, 4))
    };
    // A beginning that was given up: what was before counts, and the beginning is not built upon.
    let given_up: &[(u8, &[(u8, u64)])] = &[(1, &[(7, 4)]), (2, &[(6, 3)]), (3, &[(6, 3)])];
    assert_eq!(decide(given_up, 3), write(4, &[6], &[2, 3]));
    // With the third server it may have been acknowledged.
    assert_eq!(decide(&given_up[..2], 3), Decision::Unreadable);
    // Several beginnings; what was before is still seen, and nothing else can have counted.
    let several: &[(u8, &[(u8, u64)])] =
        &[(1, &[(7, 4)]), (2, &[(8, 4)]), (3, &[(6, 3)]), (4, &[(6, 3)]), (5, &[(6, 3)])];
    assert_eq!(decide(several, 5), write(4, &[6], &[3, 4, 5]));
    assert_eq!(decide(several, 7), Decision::Unreadable);
    // Something unseen could still count with the number before: those who are behind are given what is seen.
    let late: &[(u8, &[(u8, u64)])] =
        &[(1, &[(7, 4)]), (2, &[(6, 3)]), (3, &[(6, 3)]), (4, &[(5, 2)]), (5, &[(5, 2)])];
    assert_eq!(decide(late, 5), Decision::Complete { version: 6, targets: [4, 5].into() });
    assert_eq!(decide(late, 6), Decision::Complete { version: 6, targets: [4, 5].into() });
    // Or it may count already.
    assert_eq!(decide(late, 9), Decision::Unreadable);
    let again = super::decide(&answers(several), &all(1..=5), &grounds(&readable, 3));
    assert_eq!(again, Decision::AskAgain { known: 4 });
    assert_eq!(decide(&[(1, &[(7, 4)]), (2, &[(7, 4)]), (3, &[(6, 3)])], 3), Decision::Unreadable);
}

/// A file as a set of edits, servers as registers with test-and-set, writers as what they do next.
#[derive(Debug)]
struct World {
    /// What each server has: an index into `versions`.
    servers: Vec<Option<usize>>,
    versions: Vec<Version>,
    acknowledged: BTreeSet<usize>,
    /// On how many servers a version must be to be read.
    shares: usize,
    /// The servers that answer, but have room for nothing.
    full: BTreeSet<usize>,
    /// With the rule, or without parts of it.
    mutant: Mutant,
}

#[derive(Clone, Debug)]
struct Version {
    sequence: u64,
    edits: BTreeSet<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mutant {
    None,
    /// Acknowledges when it was accepted anywhere.
    NoQuorum,
    /// Overwrites what it was beaten by.
    NoMerge,
}

#[derive(Clone, Debug)]
struct Writer {
    edit: usize,
    /// The versions that it has made and that were not accepted by enough.
    given_up: BTreeSet<usize>,
    /// The servers that have refused what it wrote.
    refusing: BTreeSet<usize>,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Asking servers one after the other, in its own order.
    Reading {
        order: Vec<usize>,
        seen: BTreeMap<usize, Option<usize>>,
        known: u64,
    },
    Writing {
        version: usize,
        todo: Vec<usize>,
        seen: BTreeMap<usize, Option<usize>>,
        accepted: usize,
        /// It was there before.
        completes: bool,
    },
    Over,
}

impl World {
    fn step(&mut self, writer: &mut Writer, reach: usize) {
        let count = self.servers.len();
        match &mut writer.state {
            State::Over => {}
            State::Reading { order, seen, known } => {
                if seen.len() < reach.min(order.len()) {
                    let server = order[seen.len()];
                    seen.insert(server, self.servers[server]);
                    return;
                }
                let held = |version: &Option<usize>| -> Held<usize> {
                    version.iter().map(|v| (*v, self.versions[*v].sequence)).collect()
                };
                let answers: BTreeMap<usize, Held<usize>> =
                    seen.iter().map(|(server, version)| (*server, held(version))).collect();
                let on = |version: &usize| seen.values().flatten().filter(|v| *v == version).count();
                let readable: BTreeSet<usize> =
                    seen.values().flatten().copied().filter(|v| on(v) >= self.shares).collect();
                let (given_up, refusing) = (writer.given_up.clone(), writer.refusing.clone());
                let grounds = Grounds { readable, given_up, refusing, known: *known };
                let (sequence, bases, targets) = match decide(&answers, &all(0..count), &grounds) {
                    Decision::Write { sequence, bases, targets, .. } => (sequence, bases, targets),
                    Decision::Complete { version, targets } => {
                        let todo = order.iter().copied().filter(|server| targets.contains(server)).collect();
                        let (seen, accepted, completes) = (seen.clone(), 0, true);
                        writer.state = State::Writing { version, todo, seen, accepted, completes };
                        return;
                    }
                    Decision::AskAgain { known: top } => {
                        (*seen, *known) = (BTreeMap::new(), top);
                        return;
                    }
                    Decision::TooFew(_) | Decision::Unreadable => {
                        writer.state = State::Over;
                        return;
                    }
                };
                let bases =
                    if self.mutant == Mutant::NoMerge { bases.into_iter().take(1).collect() } else { bases };
                let mut edits: BTreeSet<usize> =
                    bases.iter().flat_map(|base| self.versions[*base].edits.iter().copied()).collect();
                edits.insert(writer.edit);
                self.versions.push(Version { sequence, edits });
                let version = self.versions.len() - 1;
                let todo = order.iter().copied().filter(|server| targets.contains(server)).collect();
                let (seen, accepted, completes) = (seen.clone(), 0, false);
                writer.state = State::Writing { version, todo, seen, accepted, completes };
            }
            State::Writing { version, todo, seen, accepted, completes } => {
                let Some(server) = todo.pop() else {
                    let enough = if self.mutant == Mutant::NoQuorum { 1 } else { majority(count) };
                    if *accepted >= enough && !*completes {
                        self.acknowledged.insert(writer.edit);
                        writer.state = State::Over;
                    } else {
                        if !*completes {
                            writer.given_up.insert(*version);
                        }
                        let order: Vec<usize> = seen.keys().rev().copied().chain(0..count).collect();
                        let mut unique = BTreeSet::new();
                        let order = order.into_iter().filter(|s| unique.insert(*s)).collect();
                        writer.state = State::Reading { order, seen: BTreeMap::new(), known: 0 };
                    }
                    return;
                };
                if self.full.contains(&server) {
                    writer.refusing.insert(server);
                } else if self.servers[server] == seen[&server] {
                    self.servers[server] = Some(*version);
                    *accepted += 1;
                }
            }
        }
    }
}

/// Lets writers do their steps in any order, some of them dying in between; then a last writer reads
/// everything. Returns the acknowledged edits that it does not find.
fn lost(history: &History, mutant: Mutant) -> BTreeSet<usize> {
    let History { servers, shares, orders, schedule, deaths, full, full_from } = history;
    let (servers, shares) = (*servers, *shares);
    let mut world = World {
        servers: vec![None; servers],
        versions: vec![],
        acknowledged: BTreeSet::new(),
        shares,
        full: BTreeSet::new(),
        mutant,
    };
    let mut writers: Vec<Writer> = orders
        .iter()
        .enumerate()
        .map(|(edit, order)| {
            let order = order.iter().copied().filter(|server| *server < servers).collect();
            let state = State::Reading { order, seen: BTreeMap::new(), known: 0 };
            Writer { edit, given_up: BTreeSet::new(), refusing: BTreeSet::new(), state }
        })
        .collect();
    for (at, (who, reach)) in schedule.iter().enumerate() {
        if at == *full_from {
            // More than half take something.
            let at_most = servers - majority(servers);
            world.full = full.iter().copied().filter(|server| *server < servers).take(at_most).collect();
        }
        let who = who % writers.len();
        if deaths.get(who).is_some_and(|death| at >= *death) {
            continue;
        }
        let reach = majority(servers) + reach % (servers - majority(servers) + 1);
        world.step(&mut writers[who], reach);
    }
    let last = writers.len();
    let mut writer = Writer {
        edit: last,
        given_up: BTreeSet::new(),
        refusing: BTreeSet::new(),
        state: State::Reading { order: (0..servers).collect(), seen: BTreeMap::new(), known: 0 },
    };
    for _ in 0..20 * servers {
        world.step(&mut writer, servers);
    }
    let found: BTreeSet<usize> =
        world.versions.last().map(|version| version.edits.clone()).unwrap_or_default();
    if !world.acknowledged.contains(&last) {
        assert!(
            shares > 1,
            "alone, a writer gets through as long as everything can be read and more than half have room"
        );
        return BTreeSet::new();
    }
    world.acknowledged.difference(&found).copied().collect()
}

/// What happens to a file.
#[derive(Clone, Debug)]
struct History {
    servers: usize,
    shares: usize,
    /// In which order each writer asks.
    orders: Vec<Vec<usize>>,
    /// Who does a step, and how many more than half it asks.
    schedule: Vec<(usize, usize)>,
    /// When each writer dies.
    deaths: Vec<usize>,
    /// The servers that have no room, but for some, from a time on.
    full: Vec<usize>,
    full_from: usize,
}

prop_compose! {
    fn histories()(
        (servers, shares) in (2usize..11, 1usize..5),
        orders in prop::collection::vec(Just((0..10usize).collect::<Vec<_>>()).prop_shuffle(), 2..6),
        schedule in prop::collection::vec((0usize..5, 0usize..10), 0..250),
        deaths in prop::collection::vec(0usize..250, 5),
        full in prop::sample::subsequence((0..10usize).collect::<Vec<_>>(), 0..=4),
        full_from in 0usize..250,
    ) -> History {
        History { servers, shares, orders, schedule, deaths, full, full_from }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn no_acknowledged_edit_is_lost(history in histories()) {
        let lost = lost(&history, Mutant::None);
        prop_assert!(lost.is_empty(), "lost {:?}", lost);
    }
}

/// The model can tell: without the rule it finds losses.
#[test]
fn without_the_rule_edits_are_lost() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    for mutant in [Mutant::NoQuorum, Mutant::NoMerge] {
        let mut runner = TestRunner::deterministic();
        let found = (0..20_000).any(|_| {
            let history = histories().new_tree(&mut runner).unwrap().current();
            !lost(&history, mutant).is_empty()
        });
        assert!(found, "{mutant:?} loses nothing");
    }
}
