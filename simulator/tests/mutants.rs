//! Every defect that can be put into the core is found, by a seed that is known to find it.
//! `cargo run --release -p tallac-simulator --features mutants -- mutants` hunts them anew.

use tallac_core::mutants::Mutant;
use tallac_simulator::mutants::caught;

const FOUND_BY: &[(Mutant, u64)] = &[];

#[test]
fn every_mutant_is_caught() {
    for mutant in Mutant::ALL {
        let (_, seed) = FOUND_BY.iter().find(|(of, _)| of == mutant).expect("each has its seed");
        assert!(caught(*mutant, *seed).is_some(), "seed {seed} no longer shows that {}", mutant.text());
    }
}
