//! Every defect that can be put into the core is found, by a seed that is known to find it.
//! `cargo run --release -p tallac-simulator --features mutants -- mutants` hunts them anew.

use tallac_core::mutants::Mutant;
use tallac_simulator::mutants::caught;

/// The first seed that finds each.
const FOUND_BY: &[(Mutant, u64)] = &[
    (Mutant::Canary, 0),
    (Mutant::ShareUnsynced, 0),
    (Mutant::ShareNameUnsynced, 0),
    (Mutant::RenameFirst, 0),
    (Mutant::SyncTriedAgain, 0),
    (Mutant::IdleKept, 5),
    (Mutant::LeaseSecretsShared, 0),
    (Mutant::HappinessOfAnswers, 1),
    (Mutant::ShareCountedTwice, 7),
    (Mutant::BlockUnchecked, 0),
    (Mutant::NothingChecked, 0),
    (Mutant::GrantIgnored, 0),
    (Mutant::TestsSkipped, 0),
    (Mutant::PatchedInPlace, 0),
    (Mutant::BesideUnsynced, 8),
    (Mutant::RecordUnsynced, 0),
    (Mutant::RecordRemovalUnsynced, 21),
    (Mutant::RecordIgnored, 0),
    (Mutant::OldVersionRead, 32),
    (Mutant::AcceptedByOne, 1),
];

/// Defects that no run has found so far: the runs lack the fault that shows them.
const NOT_FOUND_YET: &[Mutant] = &[Mutant::FullDiskIgnored, Mutant::QuorumOfHalf];

#[test]
fn every_mutant_is_caught() {
    for mutant in Mutant::ALL.iter().filter(|mutant| !NOT_FOUND_YET.contains(mutant)) {
        let (_, seed) = FOUND_BY.iter().find(|(of, _)| of == mutant).expect("each has its seed");
        assert!(caught(*mutant, *seed).is_some(), "seed {seed} no longer shows that {}", mutant.text());
    }
}
