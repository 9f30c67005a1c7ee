//! Runs that are true to the bytes and runs with stand-ins for content do the same.

use core::cell::RefCell;
use std::rc::Rc;
use tallac_simulator::Fidelity;
use tallac_simulator::plan::{Plan, Profile};
use tallac_simulator::run::{Outcome, Watch, watch_plan};

/// A run, and what it told, line by line.
fn told(plan: &Plan, fidelity: Fidelity) -> (Outcome, Vec<String>) {
    let mut plan = plan.clone();
    plan.grid.fidelity = fidelity;
    let lines = Rc::new(RefCell::new(Vec::new()));
    let told = lines.clone();
    let listener = Box::new(move |line: String| told.borrow_mut().push(without_hashes(&line)));
    let outcome = watch_plan(&plan, Watch { lines: Some(listener), records: false });
    (outcome, lines.take())
}

/// A line of a trace, but for hashes and what holds them.
fn without_hashes(line: &str) -> String {
    let mut parts = line.split('#');
    let first = parts.next().unwrap_or_default().to_owned();
    let is_digit = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit();
    parts.fold(first, |text, part| text + "#" + &part[part.chars().take_while(is_digit).take(8).count()..])
}

/// Every event and every action comes at the same time, at the same node, with the same lengths; under
/// all faults.
#[test]
fn the_same_happens_under_all_faults() {
    let mut lines_compared = 0;
    for seed in 0..12 {
        let plan = Plan::draw(seed, &Profile::default());
        let (bytes, bytes_told) = told(&plan, Fidelity::Bytes);
        let (protocol, protocol_told) = told(&plan, Fidelity::Protocol);
        for (number, (a, b)) in bytes_told.iter().zip(&protocol_told).enumerate() {
            assert!(a == b, "seed {seed}, line {number}:\n{a}\n{b}");
        }
        assert_eq!(bytes_told.len(), protocol_told.len(), "seed {seed}");
        assert!(bytes.is_good() && protocol.is_good(), "{bytes}\n{protocol}");
        assert_eq!(
            (bytes.counts, bytes.time, bytes.entries, bytes.operations),
            (protocol.counts, protocol.time, protocol.entries, protocol.operations),
            "seed {seed}"
        );
        lines_compared += bytes_told.len();
    }
    println!("{lines_compared} lines are the same");
}
