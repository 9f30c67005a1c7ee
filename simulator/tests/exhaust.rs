//! Every order of things in a small world, up to a bound: what holds, and that the search bites.
//! `cargo run --release -p tallac-simulator -- exhaust --turns 3` goes further.

use tallac_core::mutable::Consent;
use tallac_simulator::exhaust::{Exhaust, explore};

/// Two turns in each run: at any choice anything else that can happen happens, a crash among it.
#[test]
fn nothing_acknowledged_is_lost_in_any_order() {
    let explored = explore(&Exhaust::default());
    println!("{explored}");
    assert!(explored.wrong.is_none(), "{explored}");
    assert!(!explored.cut_short && explored.states > 8_000, "{explored}");
    assert!(explored.acknowledged > explored.ends, "{explored}");
}

#[test]
fn files_of_which_one_share_suffices() {
    let explored = explore(&Exhaust { needed: 1, turns: 1, waits: 2, ..Exhaust::default() });
    println!("{explored}");
    assert!(explored.wrong.is_none(), "{explored}");
}

/// One server is not enough for a change to count: two writers are told so of different ones.
#[test]
fn without_a_majority_an_order_is_found_that_loses_a_change() {
    let explored = explore(&Exhaust { consent: Consent::Servers(1), ..Exhaust::default() });
    let (wrong, story) = explored.wrong.expect("there is such an order");
    assert!(wrong.starts_with("lost: ") || wrong.starts_with("two changes"), "{wrong}");
    assert!(story.len() < 60, "{story:#?}");
}

/// Who was beaten must look again before he writes.
#[test]
fn without_looking_again_an_order_is_found_that_loses_a_change() {
    let calm = Exhaust { applies_again: false, crashes: 0, waits: 0, ..Exhaust::default() };
    let (wrong, _) = explore(&calm).wrong.expect("there is such an order");
    assert!(wrong.starts_with("lost: "), "{wrong}");
}

/// The bound is a bound: with it the search ends early and says so, and nothing is found without a turn.
#[test]
fn the_bound_holds() {
    let explored = explore(&Exhaust { states_max: 50, ..Exhaust::default() });
    assert!(explored.cut_short && explored.states == 50, "{explored}");
    let straight = explore(&Exhaust { turns: 0, consent: Consent::Servers(1), ..Exhaust::default() });
    assert_eq!((straight.runs, straight.ends, straight.wrong), (1, 1, None));
    let shallow = explore(&Exhaust { depth: 3, ..Exhaust::default() });
    let deep = explore(&Exhaust { depth: 6, ..Exhaust::default() });
    assert!(shallow.states < deep.states, "{shallow}\n{deep}");
}
