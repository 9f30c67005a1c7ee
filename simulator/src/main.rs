//! Runs seeds and shows what happens in them. `tallac-simulator --help` lists the commands.

mod arguments;
mod many;
mod output;

use arguments::{Arguments, Command, Hands, Options};
use clap::Parser;
use core::ops::Range;
use output::{print, tell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tallac_simulator::exhaust::{self, Exhaust};
use tallac_simulator::faults::Fault;
#[cfg(feature = "mutants")]
use tallac_simulator::mutants;
use tallac_simulator::plan::{Plan, Profile};
use tallac_simulator::probes::Counts;
use tallac_simulator::run::{Outcome, Watch, matters, run_plan, run_seed, watch_plan};
use tallac_simulator::script::Script;
use tallac_simulator::shrink::shrink;
use tallac_simulator::size;
use tallac_simulator::timeline;
use tallac_simulator::writers::{self, Writers, Written};

/// One in this many seeds is run twice, to see that it does the same.
const TWICE: u64 = 20;
/// One in this many seeds is run again without one of its kinds of faults.
const WITHOUT: u64 = 8;

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { seeds, jobs, options } => Ok(run(seeds, &options, many::jobs(jobs))),
        Command::Trace { seed, options, timeline } => {
            show(&Plan::draw(seed, &options.profile()), true, timeline.as_deref())
        }
        Command::Hash { seed, options } => {
            let hash = run_seed(seed, &options.profile()).hash;
            print(hash.map_or("none: it panicked".into(), |hash| hash.to_string()));
            Ok(ExitCode::SUCCESS)
        }
        Command::Plan { seed, options } => {
            let plan = Plan::draw(seed, &options.profile());
            print(Script { shows: "nothing; it was drawn".into(), mutant: None, plan }.write().trim_end());
            Ok(ExitCode::SUCCESS)
        }
        #[cfg(feature = "mutants")]
        Command::Shrink { seed, save, mutant: Some(name), .. } => {
            make_mutant_short(seed, &name, save.as_deref())
        }
        Command::Shrink { seed, options, save, .. } => {
            make_short(&Plan::draw(seed, &options.profile()), None, save.as_deref())
        }
        Command::Replay { file, trace, timeline } => replay(&file, trace, timeline.as_deref()),
        #[cfg(feature = "mutants")]
        Command::Mutants { seeds, only } => hunt(seeds, only.as_deref()),
        Command::Size { size } => {
            let sized = size::run(&size.size());
            print(&sized);
            let good = sized.wrong.is_empty() && sized.failed == 0;
            Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Writers { seeds, jobs, hands } => {
            Ok(write_together(seeds, &hands.writers(), many::jobs(jobs)))
        }
        Command::Exhaust(bound) => Ok(exhaust_orders(&bound.exhaust())),
    };
    done.unwrap_or_else(|error| {
        tell(format_args!("tallac-simulator: {error}"));
        ExitCode::from(2)
    })
}

/// What went wrong with the program itself, for the person who called it.
type Done = Result<ExitCode, String>;

fn run(seeds: Range<u64>, options: &Options, jobs: usize) -> ExitCode {
    let (profile, began) = (options.profile(), Instant::now());
    let (mut bad, mut operations, mut crashes, mut in_flight, mut entries, mut hours) =
        (0u64, 0, 0, 0, 0, 0.0);
    let (mut counts, mut tried) = (Counts::default(), Tried::new());
    let total = seeds.end.saturating_sub(seeds.start);
    many::in_order(
        seeds,
        jobs,
        |seed| run_checked(seed, &profile),
        |(outcome, difference)| {
            let seed = outcome.seed;
            if let Some((fault, made_one)) = difference {
                let (times, differences) = tried.entry(fault).or_default();
                (*times, *differences) = (*times + 1, *differences + u64::from(made_one));
            }
            if !outcome.is_good() {
                bad += 1;
                print(&outcome);
                print(format_args!("faults: {}", Plan::draw(seed, &profile).faults));
                print(format_args!(
                    "repeat: cargo run --release -p tallac-simulator -- trace --seed {seed}{options}"
                ));
            }
            operations += outcome.operations;
            crashes += outcome.crashes;
            in_flight += outcome.crashes_in_flight;
            entries += outcome.entries;
            hours += outcome.time.as_secs_f64() / 3600.0;
            counts.merge(&outcome.counts);
        },
    );
    let seconds = began.elapsed().as_secs_f64();
    print(format_args!("{total} seeds, {bad} of them bad, in {seconds:.1} s"));
    print(format_args!(
        "{operations} operations, {crashes} crashes, {in_flight} of them hit an operation in flight"
    ));
    print(format_args!(
        "per second: {:.1} seeds, {:.0} events and actions, {:.0} operations, {:.1} simulated hours",
        total as f64 / seconds,
        entries as f64 / seconds,
        operations as f64 / seconds,
        hours / seconds
    ));
    for (probe, count) in counts.iter() {
        print(format_args!("{count:>14} {}", probe.text()));
    }
    for probe in counts.never() {
        print(format_args!("{:>14} {}", "never", probe.text()));
    }
    print("runs that end otherwise without a kind of fault, of those tried:");
    for fault in Fault::ALL {
        let (times, differences) = tried.get(fault).copied().unwrap_or_default();
        print(format_args!("{differences:>8} of {times:>3} {}", fault.text()));
    }
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// For each kind of fault: how many runs were made again without it, and how many of them ended otherwise.
type Tried = BTreeMap<Fault, (u64, u64)>;

/// Runs a seed, and some seeds twice, to see that they do the same.
/// Some are run again without one kind of fault, to see whether that made a difference.
fn run_checked(seed: u64, profile: &Profile) -> (Outcome, Option<(Fault, bool)>) {
    let plan = Plan::draw(seed, profile);
    let mut outcome = run_plan(&plan);
    if seed.is_multiple_of(TWICE) && run_seed(seed, profile).hash != outcome.hash {
        outcome.wrong.push("the same seed did not do the same twice".into());
    }
    let difference = seed.is_multiple_of(WITHOUT).then(|| {
        // Another kind each time; of those that are on some never strike.
        let faults: Vec<Fault> = plan.faults.iter().collect();
        let first = (seed / WITHOUT) as usize;
        let nth = |n: usize| faults[(first + n) % faults.len()];
        (0..faults.len()).map(nth).find_map(|fault| Some((fault, matters(&plan, &outcome, fault)?)))
    });
    (outcome, difference.flatten())
}

/// Runs a plan once, told line by line or drawn.
fn show(plan: &Plan, trace: bool, timeline: Option<&Path>) -> Done {
    let lines = trace.then(|| -> Box<dyn FnMut(String)> { Box::new(print) });
    let outcome = watch_plan(plan, Watch { lines, records: timeline.is_some() });
    if let Some(file) = timeline {
        write(file, &timeline::html(plan, &outcome))?;
    }
    print(&outcome);
    print(outcome.hash.map_or("no hash".into(), |hash| hash.to_string()));
    Ok(verdict(&outcome))
}

fn verdict(outcome: &Outcome) -> ExitCode {
    if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Of a run in which a defect is hunted.
#[cfg(feature = "mutants")]
fn make_mutant_short(seed: u64, name: &str, save: Option<&Path>) -> Done {
    let mutant = mutants::named(name).ok_or_else(|| format!("there is no mutant {name}"))?;
    let Some(plan) = mutants::plan(mutant, seed) else {
        return Err(format!("{name} is hunted in runs that do not follow a plan"));
    };
    with_mutant(name, || make_short(&plan, Some(name), save))
}

fn make_short(plan: &Plan, mutant: Option<&str>, save: Option<&Path>) -> Done {
    let Some(plan) = shrink(plan, |left, wrong| tell(format_args!("{left} steps left: {wrong}"))) else {
        print("nothing goes wrong");
        return Ok(ExitCode::SUCCESS);
    };
    let shows = run_plan(&plan).wrong.into_iter().next().unwrap_or_default();
    let text = Script { shows, mutant: mutant.map(str::to_owned), plan }.write();
    match save {
        Some(file) => {
            write(file, &text)?;
            let file = file.display();
            print(format_args!("repeat: cargo run --release -p tallac-simulator -- replay {file} --trace"));
        }
        None => print(text.trim_end()),
    }
    Ok(ExitCode::FAILURE)
}

fn replay(file: &PathBuf, trace: bool, timeline: Option<&Path>) -> Done {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let script = Script::read(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    match &script.mutant {
        None => show(&script.plan, trace, timeline),
        Some(name) => with_mutant(name, || show(&script.plan, trace, timeline)),
    }
}

#[cfg(feature = "mutants")]
fn with_mutant(name: &str, done: impl FnOnce() -> Done) -> Done {
    let mutant = mutants::named(name).ok_or_else(|| format!("there is no mutant {name}"))?;
    mutants::with(mutant, done)
}

#[cfg(not(feature = "mutants"))]
fn with_mutant(name: &str, _: impl FnOnce() -> Done) -> Done {
    Err(format!("the script is of the mutant {name}: build with --features mutants to replay it"))
}

/// Hunts mutants and prints a table.
#[cfg(feature = "mutants")]
fn hunt(seeds: u64, only: Option<&str>) -> Done {
    let chosen = match only {
        Some(name) => vec![mutants::named(name).ok_or_else(|| format!("there is no mutant {name}"))?],
        None => tallac_core::mutants::Mutant::ALL.to_vec(),
    };
    // What panics is found, and told below.
    std::panic::set_hook(Box::new(|_| {}));
    let mut all = true;
    for mutant in chosen {
        let began = Instant::now();
        let caught: Option<(u64, String)> =
            (0..seeds).find_map(|seed| Some((seed, mutants::caught(mutant, seed)?)));
        let seconds = began.elapsed().as_secs_f64();
        let hunting = mutants::hunting(mutant).name();
        all &= caught.is_some();
        match caught {
            Some((seed, wrong)) => {
                print(format_args!(
                    "{:<24} {:>5} seeds {seconds:>6.1} s  {hunting:<8} {wrong:.90}",
                    mutant.name(),
                    seed + 1
                ));
            }
            None => print(format_args!("{:<24} lives after {seeds} seeds of {hunting}", mutant.name())),
        }
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

/// Every order of things, up to a bound.
fn exhaust_orders(spec: &Exhaust) -> ExitCode {
    let began = Instant::now();
    let explored = exhaust::explore(spec);
    print(&explored);
    print(format_args!("in {:.1} s", began.elapsed().as_secs_f64()));
    if explored.wrong.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Several writers of one directory.
fn write_together(seeds: Range<u64>, spec: &Writers, jobs: usize) -> ExitCode {
    let (began, mut bad, mut names, mut refused, mut crashes) = (Instant::now(), 0, 0, 0, 0);
    let (mut full_disks, mut beside_full) = (0, 0);
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let total = seeds.end.saturating_sub(seeds.start);
    let tell = |written: Written| {
        if !written.wrong.is_empty() {
            bad += 1;
            print(&written);
            let (seed, next, hands) = (written.seed, written.seed + 1, Hands::of(spec));
            print(format_args!(
                "repeat: cargo run --release -p tallac-simulator -- writers --seeds {seed}..{next}{hands}"
            ));
        }
        names += written.acknowledged;
        refused += written.refused;
        crashes += written.crashes;
        full_disks += written.full_disks;
        beside_full += written.beside_full;
        for (why, count) in written.reasons {
            *reasons.entry(why).or_default() += count;
        }
    };
    many::in_order(seeds, jobs, |seed| writers::run(seed, spec), tell);
    print(format_args!("{total} seeds, {bad} of them bad, in {:.1} s", began.elapsed().as_secs_f64()));
    print(format_args!(
        "{} writers: {names} names acknowledged, {refused} refused, {crashes} crashes",
        spec.writers
    ));
    if full_disks > 0 {
        print(format_args!(
            "disks became full {full_disks} times, as was known at the end of {beside_full} changes"
        ));
    }
    let mut reasons: Vec<(usize, String)> = reasons.into_iter().map(|(why, count)| (count, why)).collect();
    reasons.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    reasons.iter().take(10).for_each(|(count, why)| print(format_args!("{count:>8} {why}")));
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
