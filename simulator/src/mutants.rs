//! Whether the simulator finds defects: each is put into the core and hunted with runs that have the
//! faults it needs.

use crate::exhaust::{self, Exhaust};
use crate::faults::Fault;
use crate::plan::{Plan, Profile};
use crate::run::run_plan;
use crate::slots;
use crate::writers::{self, Writers};
use core::time::Duration;
use std::panic::{self, AssertUnwindSafe};
use tallac_core::mutants::{Mutant, choose};

/// The runs in which a defect is hunted.
#[derive(Clone, Debug)]
pub enum Hunting {
    /// Whole grids.
    Grid(Profile),
    /// Slots that are changed by hand.
    Slots,
    /// Several writers of one directory.
    Writers(Writers),
    /// Every order of things in a small world, up to a bound. There is one such run only.
    Exhaust(Exhaust),
}

impl Hunting {
    /// In a word.
    pub fn name(&self) -> &'static str {
        match self {
            Hunting::Grid(_) => "grid",
            Hunting::Slots => "slots",
            Hunting::Writers(_) => "writers",
            Hunting::Exhaust(_) => "exhaust",
        }
    }
}

/// Where a defect shows.
pub fn hunting(mutant: Mutant) -> Hunting {
    // Where nothing of directories and mutable files is needed it would only take time.
    let files = Profile { changes: 0, ..Profile::default() };
    match mutant {
        Mutant::Canary
        | Mutant::ShareUnsynced
        | Mutant::ShareNameUnsynced
        | Mutant::SyncTriedAgain
        | Mutant::IdleKept
        | Mutant::LeaseSecretsShared
        | Mutant::HappinessOfAnswers
        | Mutant::GrantIgnored
        | Mutant::HappinessIgnored
        | Mutant::PromiseKept
        | Mutant::CancelIgnored
        | Mutant::SpoolKept
        | Mutant::Unencrypted
        | Mutant::RangeCut => Hunting::Grid(files),
        Mutant::ShareCountedTwice => Hunting::Grid(Profile { repeats: 1, crashes: 10, ..files }),
        Mutant::RenameFirst => {
            let always = vec![Fault::Crashes, Fault::Blackouts];
            Hunting::Grid(Profile { crashes: 16, always, ..files })
        }
        Mutant::FullDiskIgnored => {
            Hunting::Grid(Profile { faults: 30, always: vec![Fault::FullDisks], ..files })
        }
        Mutant::BlockUnchecked | Mutant::NothingChecked => {
            let always = vec![Fault::BitRot, Fault::Altered, Fault::WrongShares];
            Hunting::Grid(Profile { faults: 30, always, ..files })
        }
        Mutant::AnnouncementUnchecked => {
            Hunting::Grid(Profile { always: vec![Fault::FalseIntroducer], ..files })
        }
        Mutant::RivalIgnored => Hunting::Exhaust(Exhaust::default()),
        Mutant::TestsSkipped | Mutant::OldVersionRead | Mutant::AcceptedByOne => {
            Hunting::Writers(Writers::default())
        }
        Mutant::QuorumOfHalf => {
            // Long enough for both halves to give the other up.
            let lasting = Duration::from_secs(90);
            Hunting::Writers(Writers { faults: 16, names: 20, lasting, ..Writers::default() })
        }
        Mutant::OutsidersCounted => {
            let always = vec![Fault::Partitions];
            Hunting::Grid(Profile { operations: 4, changes: 60, crashes: 0, faults: 16, always, ..files })
        }
        Mutant::FullForgotten | Mutant::NewcomersTrusted => {
            // With few shares a few disks make the difference.
            let always = vec![Fault::Partitions, Fault::Swizzle, Fault::FullDisks];
            let shares = Some((1, 1));
            Hunting::Grid(Profile { shares, operations: 4, changes: 60, faults: 24, always, ..files })
        }
        Mutant::WrittenForgotten => Hunting::Grid(Profile { operations: 4, changes: 40, ..files }),
        Mutant::RecordsForgotten
        | Mutant::PatchedInPlace
        | Mutant::BesideUnsynced
        | Mutant::RecordUnsynced
        | Mutant::RecordRemovalUnsynced
        | Mutant::RecordIgnored => Hunting::Slots,
    }
}

/// The defect of this name.
pub fn named(name: &str) -> Option<Mutant> {
    Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name)
}

/// Does something with a defect in the core of the whole process; other threads have it, too.
pub fn with<T>(mutant: Mutant, done: impl FnOnce() -> T) -> T {
    struct Out;
    impl Drop for Out {
        fn drop(&mut self) {
            choose(None);
        }
    }
    let _out = Out;
    choose(Some(mutant));
    done()
}

/// What happens in the run of a seed in which a defect is hunted, where a plan says so.
pub fn plan(mutant: Mutant, seed: u64) -> Option<Plan> {
    match hunting(mutant) {
        Hunting::Grid(profile) => Some(Plan::draw(seed, &profile)),
        Hunting::Slots => {
            // Nothing needs to happen beside.
            Some(Plan { steps: Vec::new(), ..Plan::draw(seed, &Profile::default()) })
        }
        Hunting::Writers(_) | Hunting::Exhaust(_) => None,
    }
}

/// What a seed shows of a defect, if anything, and not without it.
pub fn caught(mutant: Mutant, seed: u64) -> Option<String> {
    let wrong = match hunting(mutant) {
        Hunting::Grid(_) => {
            let plan = plan(mutant, seed)?;
            let wrong = with(mutant, || run_plan(&plan)).wrong;
            if !wrong.is_empty() && !run_plan(&plan).is_good() {
                return None;
            }
            wrong
        }
        Hunting::Slots => {
            let plan = plan(mutant, seed)?;
            shown(mutant, || slots::run(&plan, None, false).wrong)
        }
        Hunting::Writers(spec) => shown(mutant, || writers::run(seed, &spec).wrong),
        Hunting::Exhaust(_) if seed > 0 => Vec::new(),
        Hunting::Exhaust(spec) => {
            shown(mutant, || exhaust::explore(&spec).wrong.into_iter().map(|(wrong, _)| wrong).collect())
        }
    };
    wrong.into_iter().next()
}

/// What a run complains of; a panic is a complaint.
fn shown(mutant: Mutant, run: impl FnOnce() -> Vec<String>) -> Vec<String> {
    let ended = panic::catch_unwind(AssertUnwindSafe(|| with(mutant, run)));
    ended.unwrap_or_else(|payload| vec![format!("panic: {}", crate::run::said(&*payload))])
}
