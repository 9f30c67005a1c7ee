//! Every defect that can be put into the core is found, by a seed that is known to find it.
//! `cargo run --release -p tallac-simulator --features mutants -- mutants` hunts them anew.

use tallac_core::mutants::Mutant;
use tallac_simulator::mutants::caught;

/// The first seed that finds each.
const FOUND_BY: &[(Mutant, u64)] = &[
    (Mutant::Canary, 0),
    (Mutant::ShareUnsynced, 0),
    (Mutant::ShareNameUnsynced, 0),
    (Mutant::RenameFirst, 17),
    (Mutant::SyncTriedAgain, 18),
    (Mutant::FullDiskIgnored, 2),
    (Mutant::IdleKept, 6),
    (Mutant::LeaseSecretsShared, 0),
    (Mutant::HappinessOfAnswers, 0),
    (Mutant::ShareCountedTwice, 7),
    (Mutant::BlockUnchecked, 1),
    (Mutant::NothingChecked, 1),
    (Mutant::GrantIgnored, 0),
    (Mutant::TestsSkipped, 0),
    (Mutant::PatchedInPlace, 1),
    (Mutant::BesideUnsynced, 8),
    (Mutant::RecordUnsynced, 1),
    (Mutant::RecordRemovalUnsynced, 12),
    (Mutant::RecordIgnored, 1),
    (Mutant::HappinessIgnored, 0),
    (Mutant::PromiseKept, 1),
    (Mutant::CancelIgnored, 2),
    (Mutant::SpoolKept, 2),
    (Mutant::Unencrypted, 0),
    (Mutant::AnnouncementUnchecked, 1),
    (Mutant::RangeCut, 1),
    (Mutant::OldVersionRead, 264),
    (Mutant::QuorumOfHalf, 3),
    (Mutant::AcceptedByOne, 37),
    (Mutant::RivalIgnored, 0),
];

#[test]
fn every_mutant_is_caught() {
    assert!(Mutant::ALL.len() >= 25);
    let missed = Mutant::ALL.iter().filter_map(|mutant| {
        let (_, seed) = FOUND_BY.iter().find(|(of, _)| of == mutant).expect("each has its seed");
        let found = caught(*mutant, *seed).is_some();
        (!found).then(|| format!("seed {seed} no longer shows {}: {}", mutant.name(), mutant.text()))
    });
    let missed: Vec<String> = missed.collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
