//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use core::fmt;
use core::num::NonZeroUsize;
use core::ops::Range;
use core::time::Duration;
use std::path::PathBuf;
use tallac_core::mutable::Consent;
use tallac_simulator::Fidelity;
use tallac_simulator::disk::Lie;
use tallac_simulator::exhaust::Exhaust;
use tallac_simulator::plan::Profile;
use tallac_simulator::size::Size;
use tallac_simulator::writers::Writers;

/// Runs whole grids in virtual time and shows what happens in them.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run seeds, and tell what is wrong in them and what never happened
    Run {
        /// Which seeds: from, and up to without the last
        #[arg(long, value_name = "A..B", value_parser = seeds, default_value = "0..100")]
        seeds: Range<u64>,
        /// How many seeds run at once; as many as there are processors, if not given
        #[arg(long, value_name = "N")]
        jobs: Option<NonZeroUsize>,
        #[command(flatten)]
        options: Options,
    },
    /// Run a seed and tell it event by event
    Trace {
        /// Which seed
        #[arg(long)]
        seed: u64,
        #[command(flatten)]
        options: Options,
        /// Draw it, too: a page of HTML
        #[arg(long, value_name = "FILE")]
        timeline: Option<PathBuf>,
    },
    /// Run a seed and print the hash over all that happened
    Hash {
        /// Which seed
        #[arg(long)]
        seed: u64,
        #[command(flatten)]
        options: Options,
    },
    /// Print what is to happen in a seed, as a script
    Plan {
        /// Which seed
        #[arg(long)]
        seed: u64,
        #[command(flatten)]
        options: Options,
    },
    /// Leave out of a seed whatever is not needed for it to go wrong
    Shrink {
        /// Which seed
        #[arg(long)]
        seed: u64,
        #[command(flatten)]
        options: Options,
        /// Write what is left to a file instead of printing it
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
        /// Of the runs in which this defect is hunted, with it in the core
        #[cfg(feature = "mutants")]
        #[arg(long, value_name = "NAME")]
        mutant: Option<String>,
    },
    /// Run a script
    Replay {
        /// The script, as `shrink --save` or `plan` wrote it
        file: PathBuf,
        /// Tell it event by event
        #[arg(long)]
        trace: bool,
        /// Draw it: a page of HTML
        #[arg(long, value_name = "FILE")]
        timeline: Option<PathBuf>,
    },
    /// Put defects into the core, one after another, and see after how many seeds each is found
    #[cfg(feature = "mutants")]
    Mutants {
        /// How many seeds each is given
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// Only this one
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
    /// Run one large grid, and tell its memory, its speed, and what an idle server costs
    Size {
        #[command(flatten)]
        size: SizeOptions,
    },
    /// Let several clients write to one directory at once
    Writers {
        /// Which seeds: from, and up to without the last
        #[arg(long, value_name = "A..B", value_parser = seeds, default_value = "0..100")]
        seeds: Range<u64>,
        /// How many seeds run at once; as many as there are processors, if not given
        #[arg(long, value_name = "N")]
        jobs: Option<NonZeroUsize>,
        #[command(flatten)]
        hands: Hands,
    },
    /// Try every order of things, up to a bound: three servers, two writers of one directory, one crash
    Exhaust(Bound),
}

/// How far every order of things is tried.
#[derive(Args)]
pub(crate) struct Bound {
    /// How often in one run something else happens than what is next
    #[arg(long, value_name = "N", default_value_t = Exhaust::default().turns)]
    turns: u32,
    /// At how many choices from the beginning of a run that may be; at all, if not given
    #[arg(long, value_name = "N")]
    depth: Option<u32>,
    /// How many nodes go down in one run
    #[arg(long, value_name = "N", default_value_t = Exhaust::default().crashes)]
    crashes: u32,
    /// How often in one run time passes while frames are on their way
    #[arg(long, value_name = "N", default_value_t = Exhaust::default().waits)]
    waits: u32,
    /// How many of the three shares suffice to read
    #[arg(long, value_name = "K", default_value_t = Exhaust::default().needed, value_parser = clap::value_parser!(u8).range(1..=3))]
    needed: u8,
    /// How many servers must accept a change, instead of more than half
    #[arg(long)]
    accept: Option<usize>,
    /// Who was beaten writes what he made of the version he had read, and does not look again
    #[arg(long)]
    stale: bool,
    /// Look at no more states than these
    #[arg(long, value_name = "N")]
    states: Option<usize>,
}

impl Bound {
    pub(crate) fn exhaust(&self) -> Exhaust {
        Exhaust {
            turns: self.turns,
            depth: self.depth.unwrap_or(u32::MAX),
            crashes: self.crashes,
            waits: self.waits,
            needed: self.needed,
            consent: self.accept.map_or(Consent::Majority, Consent::Servers),
            applies_again: !self.stale,
            states_max: self.states.unwrap_or(usize::MAX),
        }
    }
}

/// What kind of runs are drawn.
#[derive(Args)]
pub(crate) struct Options {
    /// How the disks lie about syncing
    #[arg(long, value_enum, default_value_t = LieName::None)]
    lie: LieName,
    /// Do not look at the disks when an upload is acknowledged
    #[arg(long)]
    blind: bool,
    /// How true the grid is to the bytes
    #[arg(long, value_enum, default_value_t = FidelityName::Bytes)]
    fidelity: FidelityName,
}

impl Options {
    pub(crate) fn profile(&self) -> Profile {
        let lie = match self.lie {
            LieName::None => Lie::None,
            LieName::NoSync => Lie::NoSync,
            LieName::NoContentSync => Lie::NoContentSync,
            LieName::NoNameSync => Lie::NoNameSync,
            LieName::Late => Lie::Late,
        };
        Profile { fidelity: self.fidelity.into(), lie, looks_under_acks: !self.blind, ..Profile::default() }
    }
}

/// As they were given, for a command that repeats a run.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(lie) = self.lie.to_possible_value().filter(|lie| lie.get_name() != "none") {
            write!(f, " --lie {}", lie.get_name())?;
        }
        if self.blind {
            f.write_str(" --blind")?;
        }
        if self.fidelity == FidelityName::Protocol { f.write_str(" --fidelity protocol") } else { Ok(()) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FidelityName {
    /// Real encryption, coding and hashes; frames and disks hold bytes
    Bytes,
    /// Content as seeds and lengths
    Protocol,
}

impl From<FidelityName> for Fidelity {
    fn from(name: FidelityName) -> Fidelity {
        match name {
            FidelityName::Bytes => Fidelity::Bytes,
            FidelityName::Protocol => Fidelity::Protocol,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum LieName {
    None,
    NoSync,
    NoContentSync,
    NoNameSync,
    Late,
}

/// How large a grid, and what is done in it.
#[derive(Args)]
pub(crate) struct SizeOptions {
    /// Nodes that keep shares
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    servers: u32,
    /// Nodes that put and get files
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    clients: u32,
    /// Files that each client puts, and as many that it gets
    #[arg(long, default_value_t = 3)]
    files: u32,
    /// Bytes of the longest file; the shortest has a tenth of it
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(10..=1 << 40))]
    len: u64,
    /// Connections that each client keeps
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// One in this many servers has no power while files are got; 0 for none
    #[arg(long, default_value_t = 100)]
    down: u32,
    /// How true it is to the bytes
    #[arg(long, value_enum, default_value_t = FidelityName::Protocol)]
    fidelity: FidelityName,
    /// Names the grid
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl SizeOptions {
    pub(crate) fn size(&self) -> Size {
        let SizeOptions { servers, clients, files, len, connections, down, fidelity, seed } = *self;
        Size { seed, fidelity: fidelity.into(), servers, clients, files, len, connections, down }
    }
}

/// Who writes to one directory, and how.
#[derive(Args)]
pub(crate) struct Hands {
    /// How many servers there are; ten have shares
    #[arg(long, default_value_t = Writers::default().servers, value_parser = clap::value_parser!(u16).range(1..=1000))]
    servers: u16,
    /// How many write
    #[arg(long, default_value_t = Writers::default().writers)]
    writers: u16,
    /// How many names each adds
    #[arg(long, default_value_t = Writers::default().names)]
    names: u32,
    /// How many faults strike meanwhile
    #[arg(long, default_value_t = Writers::default().faults)]
    faults: u32,
    /// How many seconds a fault lasts at most
    #[arg(long, value_name = "SECONDS", default_value_t = Writers::default().lasting.as_secs(), value_parser = clap::value_parser!(u64).range(1..=86_400))]
    lasting: u64,
    /// Disks also become full for a while
    #[arg(long)]
    full_disks: bool,
    /// How many servers must accept a change, instead of more than half
    #[arg(long)]
    accept: Option<usize>,
    /// Who was beaten writes what he made of the version he had read, and does not look again
    #[arg(long)]
    stale: bool,
}

impl Hands {
    pub(crate) fn of(spec: &Writers) -> Hands {
        let accept = match spec.consent {
            Consent::Majority => None,
            Consent::Servers(servers) => Some(servers),
        };
        let Writers { servers, writers, names, faults, full_disks, .. } = *spec;
        let (lasting, stale) = (spec.lasting.as_secs(), !spec.applies_again);
        Hands { servers, writers, names, faults, lasting, full_disks, accept, stale }
    }

    pub(crate) fn writers(&self) -> Writers {
        Writers {
            servers: self.servers,
            writers: self.writers,
            names: self.names,
            faults: self.faults,
            lasting: Duration::from_secs(self.lasting),
            full_disks: self.full_disks,
            consent: self.accept.map_or(Consent::Majority, Consent::Servers),
            applies_again: !self.stale,
        }
    }
}

/// As they were given, for a command that repeats a run.
impl fmt::Display for Hands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hands { servers, writers, names, faults, lasting, full_disks, accept, stale } = self;
        write!(f, " --servers {servers} --writers {writers} --names {names}")?;
        write!(f, " --faults {faults} --lasting {lasting}")?;
        if *full_disks {
            f.write_str(" --full-disks")?;
        }
        if let Some(accept) = accept {
            write!(f, " --accept {accept}")?;
        }
        if *stale { f.write_str(" --stale") } else { Ok(()) }
    }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.ok_or_else(|| "seeds are given as A..B, two numbers".into())
}
