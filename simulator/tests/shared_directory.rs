//! Several writers of one directory: nothing acknowledged is lost.

use tallac_core::mutable::Consent;
use tallac_simulator::writers::{Writers, run};

#[test]
fn two_writers() {
    let mut names = 0;
    for seed in 0..10 {
        let written = run(seed, &Writers::default());
        println!("{written} {:?} {:?}", written.reasons, written.time);
        assert!(written.wrong.is_empty(), "{written}");
        names += written.acknowledged;
    }
    assert!(names > 150, "only {names} names were acknowledged");
}

#[test]
fn five_writers() {
    for seed in 0..5 {
        let written = run(seed, &Writers { writers: 5, ..Writers::default() });
        println!("{written} {:?} {:?}", written.reasons, written.time);
        assert!(written.wrong.is_empty(), "{written}");
    }
}

/// Without more than half of the servers, acknowledged names are lost.
#[test]
fn without_a_majority_names_are_lost() {
    let spec = Writers { consent: Consent::Servers(3), ..Writers::default() };
    let lost = (0..20).any(|seed| run(seed, &spec).wrong.iter().any(|wrong| wrong.contains("acknowledged")));
    assert!(lost);
}

/// Without edits that are applied again to what others have written, names are lost.
#[test]
fn without_looking_again_names_are_lost() {
    let spec = Writers { applies_again: false, faults: 0, ..Writers::default() };
    let lost = (0..5).any(|seed| run(seed, &spec).wrong.iter().any(|wrong| wrong.contains("acknowledged")));
    assert!(lost);
}
