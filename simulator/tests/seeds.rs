//! Runs drawn from seeds: good ones stay good, the same seed does the same, and disks that lie are
//! found out. `cargo run --release -p tallac-simulator -- run --seeds 0..1000` runs more of them.

use std::process::Command;
use tallac_simulator::disk::Lie;
use tallac_simulator::plan::Profile;
use tallac_simulator::run::run_seed;

#[test]
fn thirty_seeds() {
    let (mut operations, mut crashes, mut in_flight) = (0, 0, 0);
    for seed in 0..30 {
        let outcome = run_seed(seed, &Profile::default());
        assert!(outcome.is_good(), "{outcome}");
        assert!(outcome.operations >= 20, "{outcome}");
        operations += outcome.operations;
        crashes += outcome.crashes;
        in_flight += outcome.crashes_in_flight;
    }
    println!("{operations} operations, {crashes} crashes, {in_flight} of them hit an operation in flight");
    assert!(in_flight >= 30, "only {in_flight} crashes hit an operation in flight");
}

/// Two processes agree. Where `TALLAC_SIMULATOR` names the program built otherwise (for release,
/// say), that one agrees, too.
#[test]
fn the_same_seed_does_the_same() {
    let other = std::env::var("TALLAC_SIMULATOR").ok();
    let program = other.unwrap_or_else(|| env!("CARGO_BIN_EXE_tallac-simulator").into());
    for seed in [3, 4] {
        let here = run_seed(seed, &Profile::default()).hash.expect("it does not panic").to_string();
        let output = Command::new(&program).args(["hash", "--seed", &seed.to_string()]).output().unwrap();
        assert_eq!(here, String::from_utf8(output.stdout).unwrap().trim());
    }
    let hashes = [5, 6].map(|seed| run_seed(seed, &Profile::default()).hash);
    assert_ne!(hashes[0], hashes[1]);
}

/// Without the sync, or with answers before it, files are lost, and that is noticed from outside:
/// nobody looks at the disks when an upload is acknowledged.
#[test]
fn a_disk_that_lies_is_found_out() {
    for lie in [Lie::NoSync, Lie::NoContentSync, Lie::NoNameSync, Lie::Late] {
        let profile = Profile { lie, looks_under_acks: false, ..Profile::default() };
        let found = (0..10).map(|seed| run_seed(seed, &profile)).find(|outcome| !outcome.is_good());
        let found = found.unwrap_or_else(|| panic!("{lie:?} passes for ten seeds"));
        let lost = found.wrong.iter().any(|wrong| wrong.starts_with("lost"));
        assert!(lost, "{lie:?}: {found}");
    }
}
