//! Every defect that can be put into the core is found, by a seed that is known to find it.
//! `cargo run --release -p tallac-simulator --features mutants -- mutants` hunts them anew.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tallac_core::mutants::Mutant;
use tallac_simulator::mutants::{caught, named, with};
use tallac_simulator::run::run_plan;
use tallac_simulator::script::Script;

/// A defect is in the core of the whole process: one test after another.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The first seed that finds each.
const FOUND_BY: &[(Mutant, u64)] = &[
    (Mutant::Canary, 0),
    (Mutant::ShareUnsynced, 0),
    (Mutant::ShareNameUnsynced, 0),
    (Mutant::RenameFirst, 20),
    (Mutant::SyncTriedAgain, 18),
    (Mutant::FullDiskIgnored, 2),
    (Mutant::IdleKept, 6),
    (Mutant::LeaseSecretsShared, 0),
    (Mutant::HappinessOfAnswers, 0),
    (Mutant::ShareCountedTwice, 10),
    (Mutant::BlockUnchecked, 9),
    (Mutant::NothingChecked, 9),
    (Mutant::GrantIgnored, 0),
    (Mutant::TestsSkipped, 0),
    (Mutant::PatchedInPlace, 1),
    (Mutant::BesideUnsynced, 5),
    (Mutant::RecordUnsynced, 0),
    (Mutant::RecordRemovalUnsynced, 0),
    (Mutant::RecordIgnored, 1),
    (Mutant::HappinessIgnored, 0),
    (Mutant::PromiseKept, 0),
    (Mutant::CancelIgnored, 1),
    (Mutant::SpoolKept, 2),
    (Mutant::Unencrypted, 0),
    (Mutant::AnnouncementUnchecked, 0),
    (Mutant::RangeCut, 0),
    (Mutant::OldVersionRead, 77),
    (Mutant::QuorumOfHalf, 3),
    (Mutant::AcceptedByOne, 6),
    (Mutant::OutsidersCounted, 8),
    (Mutant::FullForgotten, 70),
    (Mutant::NewcomersTrusted, 70),
    (Mutant::RecordsForgotten, 89),
    (Mutant::WrittenForgotten, 5),
    (Mutant::RivalIgnored, 0),
];

/// How many seeds a defect is given if the one that was known no longer shows it.
const OTHERS: u64 = 400;

/// Whatever changes the order of things in the core changes what a seed shows. Then another must.
#[test]
fn every_mutant_is_caught() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(Mutant::ALL.len() >= 25);
    let missed = Mutant::ALL.iter().filter_map(|mutant| {
        let (_, seed) = FOUND_BY.iter().find(|(of, _)| of == mutant).expect("each has its seed");
        if caught(*mutant, *seed).is_some() {
            return None;
        }
        match (0..OTHERS).find(|seed| caught(*mutant, *seed).is_some()) {
            Some(now) => {
                println!("{} is shown by seed {now} now, and no longer by {seed}", mutant.name());
                None
            }
            None => Some(format!("no seed shows {}: {}", mutant.name(), mutant.text())),
        }
    });
    let missed: Vec<String> = missed.collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Defects of which a short script was kept show in it, and without them nothing is wrong there. They are of
/// somebody who had not seen the simulator.
#[test]
fn scripts_of_defects_show_them() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions/of-defects");
    let mut scripts = 0;
    for entry in std::fs::read_dir(directory).expect("the scripts are there") {
        let path = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let script = Script::read(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = script.mutant.as_deref().expect("a defect");
        let mutant = named(name).unwrap_or_else(|| panic!("there is no {name}"));
        assert!(script.plan.steps.len() + script.plan.slot_faults.len() <= 20, "{name}: it is long");
        let sound = run_plan(&script.plan);
        assert!(sound.is_good(), "{name} is not needed: {sound}");
        assert!(!with(mutant, || run_plan(&script.plan)).is_good(), "{} no longer shows", path.display());
        scripts += 1;
    }
    assert!(scripts >= 3, "{scripts} scripts were found");
}
