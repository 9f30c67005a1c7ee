//! Runs seeds and shows what happens in them.
//!
//! ```text
//! tallac-simulator run --seeds 0..1000 [--lie none|no-sync|late]
//! tallac-simulator trace --seed 7
//! tallac-simulator hash --seed 7
//! tallac-simulator shrink --seed 7
//! tallac-simulator writers --seeds 0..1000 --writers 5
//! ```

use core::ops::Range;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;
use tallac_core::mutable::Consent;
use tallac_simulator::disk::Lie;
use tallac_simulator::plan::{Plan, Profile};
use tallac_simulator::run::{run_plan, run_seed};
use tallac_simulator::shrink::shrink;
use tallac_simulator::writers::{self, Writers};

const USAGE: &str = "usage: tallac-simulator run --seeds A..B [--lie none|no-sync|no-content-sync|no-name-sync|late] [--blind]
       tallac-simulator trace --seed N [the same options]
       tallac-simulator hash --seed N [the same options]
       tallac-simulator plan --seed N [the same options]
       tallac-simulator shrink --seed N [the same options]
       tallac-simulator writers --seeds A..B [--writers N] [--names N] [--faults N] [--accept N] [--stale]
--lie: how the disks lie about syncing; --blind: do not look at the disks when an upload is acknowledged
--accept: how many servers must accept a change, instead of more than half;
--stale: who was beaten writes what he made of the version he had read, and does not look again";

fn main() -> ExitCode {
    match arguments(std::env::args().skip(1).collect()) {
        Some(Arguments { task, seeds, profile }) => match task {
            Task::Run => run(seeds, &profile),
            Task::Trace => trace(seeds.start, &profile),
            Task::Hash => {
                let hash = run_seed(seeds.start, &profile).hash;
                println!("{}", hash.map_or("none: it panicked".into(), |hash| hash.to_string()));
                ExitCode::SUCCESS
            }
            Task::Shrink => {
                let plan = Plan::draw(seeds.start, &profile);
                match shrink(&plan, |left, wrong| eprintln!("{left} steps left: {wrong}")) {
                    Some(small) => println!("{small:#?}"),
                    None => println!("nothing goes wrong"),
                }
                ExitCode::SUCCESS
            }
            Task::Writers(spec) => write_together(seeds, &spec),
            Task::Plan => {
                println!("{:#?}", Plan::draw(seeds.start, &profile));
                ExitCode::SUCCESS
            }
        },
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

enum Task {
    Run,
    Trace,
    Hash,
    Plan,
    Shrink,
    Writers(Writers),
}

struct Arguments {
    task: Task,
    seeds: Range<u64>,
    profile: Profile,
}

fn arguments(words: Vec<String>) -> Option<Arguments> {
    let (first, rest) = words.split_first()?;
    let task = match first.as_str() {
        "run" => Task::Run,
        "trace" => Task::Trace,
        "hash" => Task::Hash,
        "plan" => Task::Plan,
        "shrink" => Task::Shrink,
        "writers" => Task::Writers(Writers::default()),
        _ => return None,
    };
    let mut arguments = Arguments { task, seeds: 0..100, profile: Profile::default() };
    let mut rest = rest.iter().map(String::as_str);
    while let Some(option) = rest.next() {
        match option {
            "--seed" => {
                let seed = rest.next()?.parse().ok()?;
                arguments.seeds = seed..seed + 1;
            }
            "--seeds" => {
                let (from, to) = rest.next()?.split_once("..")?;
                arguments.seeds = from.parse().ok()?..to.parse().ok()?;
            }
            "--lie" => {
                arguments.profile.lie = match rest.next()? {
                    "none" => Lie::None,
                    "no-sync" => Lie::NoSync,
                    "no-content-sync" => Lie::NoContentSync,
                    "no-name-sync" => Lie::NoNameSync,
                    "late" => Lie::Late,
                    _ => return None,
                }
            }
            option @ ("--writers" | "--names" | "--faults" | "--accept") => {
                let Task::Writers(spec) = &mut arguments.task else { return None };
                let number: u16 = rest.next()?.parse().ok()?;
                match option {
                    "--writers" => spec.writers = number,
                    "--names" => spec.names = number.into(),
                    "--faults" => spec.faults = number.into(),
                    _ => spec.consent = Consent::Servers(number.into()),
                }
            }
            "--stale" => {
                let Task::Writers(spec) = &mut arguments.task else { return None };
                spec.applies_again = false;
            }
            "--blind" => arguments.profile.looks_under_acks = false,
            _ => return None,
        }
    }
    Some(arguments)
}

fn run(seeds: Range<u64>, profile: &Profile) -> ExitCode {
    let began = Instant::now();
    let (mut bad, mut operations, mut crashes, mut in_flight, mut entries, mut hours) =
        (0u64, 0, 0, 0, 0, 0.0);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let total = seeds.end.saturating_sub(seeds.start);
    for seed in seeds {
        let outcome = run_seed(seed, profile);
        if !outcome.is_good() {
            bad += 1;
            println!("{outcome}");
        }
        operations += outcome.operations;
        crashes += outcome.crashes;
        in_flight += outcome.crashes_in_flight;
        entries += outcome.entries;
        hours += outcome.time.as_secs_f64() / 3600.0;
        for (what, count) in outcome.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{total} seeds, {bad} of them bad, in {seconds:.1} s");
    println!("{operations} operations, {crashes} crashes, {in_flight} of them hit an operation in flight");
    println!(
        "per second: {:.1} seeds, {:.0} events and actions, {:.0} operations, {:.1} simulated hours",
        total as f64 / seconds,
        entries as f64 / seconds,
        operations as f64 / seconds,
        hours / seconds
    );
    for (what, count) in counts {
        println!("{count:>14} {what}");
    }
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Several writers of one directory.
fn write_together(seeds: Range<u64>, spec: &Writers) -> ExitCode {
    let (began, mut bad, mut names, mut refused, mut crashes) = (Instant::now(), 0, 0, 0, 0);
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let total = seeds.end.saturating_sub(seeds.start);
    for seed in seeds {
        let written = writers::run(seed, spec);
        if !written.wrong.is_empty() {
            bad += 1;
            println!("{written}");
        }
        names += written.acknowledged;
        refused += written.refused;
        crashes += written.crashes;
        for (why, count) in written.reasons {
            *reasons.entry(why).or_default() += count;
        }
    }
    println!("{total} seeds, {bad} of them bad, in {:.1} s", began.elapsed().as_secs_f64());
    println!("{} writers: {names} names acknowledged, {refused} refused, {crashes} crashes", spec.writers);
    let mut reasons: Vec<(usize, String)> = reasons.into_iter().map(|(why, count)| (count, why)).collect();
    reasons.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    reasons.iter().take(10).for_each(|(count, why)| println!("{count:>8} {why}"));
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn trace(seed: u64, profile: &Profile) -> ExitCode {
    let plan = Plan::draw(seed, profile);
    let outcome = run_plan(&plan, Some(Box::new(|line| println!("{line}"))));
    println!("{outcome}");
    println!("{}", outcome.hash.map_or("no hash".into(), |hash| hash.to_string()));
    if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
