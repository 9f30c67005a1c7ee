use super::*;
use proptest::prelude::*;

type Placements = BTreeMap<char, BTreeSet<u16>>;

/// `"A:0,1 B:2"` as a map.
fn placements(text: &str) -> Placements {
    let server = |text: &str| {
        let (server, shares) = text.split_once(':').expect("server:shares");
        let shares = shares.split(',').filter(|share| !share.is_empty());
        (
            server.chars().next().expect("a letter"),
            shares.map(|share| share.parse().expect("a number")).collect(),
        )
    };
    text.split_whitespace().map(server).collect()
}

fn by_server(placed: &BTreeMap<u16, char>) -> Placements {
    let mut servers = Placements::new();
    for (&share, &server) in placed {
        servers.entry(server).or_default().insert(share);
    }
    servers
}

fn together(existing: &Placements, placed: &BTreeMap<u16, char>, servers: &[char]) -> Placements {
    let mut union = by_server(placed);
    for (server, shares) in existing.iter().filter(|(server, _)| servers.contains(server)) {
        union.entry(*server).or_default().extend(shares);
    }
    union
}

fn check_happiness(text: &str, expected: usize) {
    assert_eq!(happiness(&placements(text)), expected, "{text}");
}

fn check_place(writable: &str, read_only: &str, existing: &str, total: u16, expected: &str) {
    let letters = |text: &str| text.chars().collect::<Vec<_>>();
    let placed = place(&letters(writable), &letters(read_only), &placements(existing), total);
    assert_eq!(by_server(&placed), placements(expected), "{writable} {read_only} {existing}");
}

#[test]
fn happiness_of_known_placements() {
    check_happiness("", 0);
    check_happiness("A:", 0);
    check_happiness("A:0", 1);
    check_happiness("A:0 B:0 C:0", 1);
    check_happiness("A:0,1,2,3,4,5,6,7,8,9", 1);
    check_happiness("A:0,1 B:0,1 C:0,1", 2);
    // The example in the peer's own documentation.
    check_happiness("A:1,2,3,4 B:6 C:3 D:4 E:2", 5);
    // Each needs its only share, so A has to move twice.
    check_happiness("A:0,1,2 B:0,1 C:0", 3);
    check_happiness("A:0 B:0,1 C:1,2 D:2", 3);
}

#[test]
fn an_empty_grid_is_filled_in_ring_order() {
    check_place("DBAC", "", "", 4, "D:0 B:1 A:2 C:3");
    check_place("DBAC", "", "", 2, "D:0 B:1");
    check_place("BA", "", "", 5, "B:0,2,4 A:1,3");
    check_place("", "", "", 3, "");
    check_place("A", "", "", 0, "");
}

#[test]
fn existing_shares_stay_where_they_count() {
    // A keeps one of its shares, the others get the new ones.
    check_place("ABC", "", "A:0,1", 4, "A:0,1 B:2 C:3");
    // To be happy, B has to get a share that A also has.
    check_place("AB", "", "A:0,1", 2, "A:0 B:1");
    // Three servers, three shares, and each already has one of them if chosen well.
    check_place("ABC", "", "A:0,1,2 B:0,1 C:0", 3, "A:2 B:1 C:0");
    // An unknown server's shares do not count.
    check_place("A", "", "Z:0", 1, "A:0");
    // Nor do shares that the file does not have.
    check_place("A", "", "A:7", 1, "A:0");
}

#[test]
fn read_only_servers_keep_what_they_have() {
    check_place("AB", "R", "R:0", 3, "R:0 A:1 B:2");
    check_place("AB", "R", "R:0,1,2", 3, "R:0 A:1 B:2");
    // What R has beside its own share is not relied on: one loss would take all of it.
    check_place("A", "R", "R:0,1,2", 3, "R:0 A:1,2");
    check_place("", "R", "R:0,2", 3, "R:0,2");
    // R and Q need different shares, so A's is the one that is left.
    check_place("A", "RQ", "R:0,1 Q:0 A:0,1", 3, "Q:0 R:1 A:2");
}

#[test]
fn an_ordinary_upload_survives_all_but_the_needed() {
    let ten: BTreeMap<u32, BTreeSet<u16>> = (0..10).map(|n| (n, [n as u16].into())).collect();
    assert_eq!(survivable_losses(&ten, 3), Some(7));
    assert_eq!(survivable_losses(&ten, 10), Some(0));
    assert_eq!(survivable_losses(&ten, 11), None);
    assert_eq!(survivable_losses(&ten, 0), Some(10));
}

#[test]
fn losses_count_from_the_worst() {
    let losses = |text, needed| survivable_losses(&placements(text), needed);
    assert_eq!(losses("", 1), None);
    assert_eq!(losses("A:0,1,2", 3), Some(0));
    assert_eq!(losses("A:0,1,2,3,4,5 B:6 C:7", 3), Some(0));
    assert_eq!(losses("A:0,1,2 B:3,4,5 C:6,7,8", 3), Some(2));
    // Copies: the same three shares on three servers.
    assert_eq!(losses("A:0,1,2 B:0,1,2 C:0,1,2", 3), Some(2));
    assert_eq!(losses("A:0,1 B:1,2 C:0,2", 3), Some(1));
    // A server without shares may be lost, but it is not the worst loss.
    assert_eq!(losses("A:0 B:1 C:", 1), Some(1));
}

#[test]
fn large_grids_are_quick() {
    let everything: BTreeSet<u16> = (0..256).collect();
    let servers: Vec<u32> = (0..512).collect();
    let full: BTreeMap<u32, BTreeSet<u16>> =
        servers.iter().map(|&server| (server, everything.clone())).collect();
    assert_eq!(happiness(&full), 256);
    let half: BTreeMap<u32, BTreeSet<u16>> = servers
        .iter()
        .map(|&server| (server, (0..if server % 2 == 0 { 100 } else { 130 }).collect()))
        .collect();
    assert_eq!(happiness(&half), 130);
    let placed = place(&servers[100..], &servers[..100], &half, 256);
    assert_eq!(placed.len(), 256);
    assert_eq!(placed.values().collect::<BTreeSet<_>>().len(), 256);
    assert!(survivable_losses(&full, 3).is_some());
    assert!(survivable_losses(&half, 77).is_some());
}

/// The most servers with a share of their own, by trying everything.
fn happiness_by_force(held: &[BTreeSet<u16>], taken: &mut BTreeSet<u16>) -> usize {
    let Some((first, rest)) = held.split_first() else {
        return 0;
    };
    let mut best = happiness_by_force(rest, taken);
    for &share in first {
        if taken.insert(share) {
            best = best.max(1 + happiness_by_force(rest, taken));
            taken.remove(&share);
        }
    }
    best
}

fn losses_by_force(held: &[BTreeSet<u16>], needed: usize) -> Option<usize> {
    let survives = |lost: u32| {
        let kept = held.iter().enumerate().filter(|(server, _)| lost >> server & 1 == 0);
        kept.flat_map(|(_, shares)| shares).collect::<BTreeSet<_>>().len() >= needed
    };
    let all = 0..1u32 << held.len();
    (0..=held.len())
        .take_while(|&m| all.clone().filter(|lost| lost.count_ones() as usize == m).all(survives))
        .last()
}

fn any_placements(servers: usize, shares: u16) -> impl Strategy<Value = Placements> {
    let held = proptest::collection::btree_set(0..shares, 0..=4);
    proptest::collection::vec(held, 0..=servers).prop_map(|held| ('A'..).zip(held).collect())
}

proptest! {
    #[test]
    fn happiness_equals_brute_force(placements in any_placements(7, 8)) {
        let held: Vec<_> = placements.values().cloned().collect();
        prop_assert_eq!(happiness(&placements), happiness_by_force(&held, &mut BTreeSet::new()));
    }

    #[test]
    fn losses_equal_brute_force(placements in any_placements(7, 8), needed in 0u16..9) {
        let held: Vec<_> = placements.values().cloned().collect();
        prop_assert_eq!(survivable_losses(&placements, needed), losses_by_force(&held, needed.into()));
    }

    #[test]
    fn places_with_the_greatest_happiness(
        existing in any_placements(7, 8), kinds in proptest::collection::vec(0..3, 7),
        order in proptest::collection::vec(any::<u32>(), 7), total in 0u16..=8
    ) {
        let mut letters: Vec<char> = ('A'..='G').collect();
        letters.sort_by_key(|&letter| order[letter as usize - 'A' as usize]);
        let of_kind = |kind| -> Vec<char> {
            letters.iter().copied().filter(|&letter| kinds[letter as usize - 'A' as usize] == kind).collect()
        };
        let (writable, read_only) = (of_kind(0), of_kind(1));
        let known: Vec<char> = writable.iter().chain(&read_only).copied().collect();
        let existing: Placements = existing
            .into_iter()
            .map(|(server, shares)| (server, shares.into_iter().filter(|&share| share < total).collect()))
            .collect();
        let placed = place(&writable, &read_only, &existing, total);

        // Whatever could be placed is the same as: writable servers may hold anything.
        let none = BTreeSet::new();
        let possible: Vec<BTreeSet<u16>> = known
            .iter()
            .map(|server| {
                let holds = existing.get(server).unwrap_or(&none).clone();
                if writable.contains(server) { (0..total).collect() } else { holds }
            })
            .collect();
        let best = happiness_by_force(&possible, &mut BTreeSet::new());
        prop_assert_eq!(happiness(&together(&existing, &placed, &known)), best);
        // The assignment alone is as happy, so leases on all of it are leases on enough.
        prop_assert_eq!(by_server(&placed).len(), best);

        for (share, server) in &placed {
            let holds = existing.get(server).is_some_and(|shares| shares.contains(share));
            prop_assert!(*share < total && (writable.contains(server) || read_only.contains(server) && holds));
        }
        if !writable.is_empty() {
            prop_assert_eq!(placed.len(), usize::from(total));
        }
        if existing.values().all(BTreeSet::is_empty) && !writable.is_empty() {
            let per_server = |server| placed.values().filter(|&&other| other == server).count();
            let counts: Vec<usize> = writable.iter().map(|&server| per_server(server)).collect();
            prop_assert!(counts.is_sorted_by(|a, b| a >= b), "the first on the ring have most");
            prop_assert!(counts[0] - counts[counts.len() - 1] <= 1, "evenly spread");
        }
    }

    #[test]
    fn server_ids_do_not_matter(
        existing in any_placements(5, 6), order in proptest::collection::vec(any::<u32>(), 5)
    ) {
        let ring: Vec<char> = ('A'..='E').collect();
        let mut names = ring.clone();
        names.sort_by_key(|&letter| order[letter as usize - 'A' as usize]);
        let rename = |server: char| names[server as usize - 'A' as usize];
        let renamed_ring: Vec<char> = ring.iter().map(|&server| rename(server)).collect();
        let renamed: Placements =
            existing.iter().map(|(&server, shares)| (rename(server), shares.clone())).collect();
        let placed = place(&ring, &[], &existing, 6);
        let expected: BTreeMap<u16, char> =
            placed.into_iter().map(|(share, server)| (share, rename(server))).collect();
        prop_assert_eq!(place(&renamed_ring, &[], &renamed, 6), expected);
    }
}
