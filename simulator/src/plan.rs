//! What is to happen in a run, drawn from a seed and written out, so that it can be read, changed
//! and made shorter.

mod draw;
mod step;
mod without;

use crate::chance::Chance;
use crate::disk::{DiskSettings, Lie};
use crate::faults::{Fault, Faults};
use crate::form;
use crate::slots::{self, SlotFault};
use crate::{Crash, Fidelity, GridSpec, NetworkSettings};
use core::time::Duration;
use serde::{Deserialize, Serialize};
pub use step::{Step, Who};
use tallac_core::encoding::EncodingParams;
use tallac_core::operation::KeyChoice;

/// A run: a grid and what happens to it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The seed of all that is not written here: latencies, keys, which block is torn.
    pub seed: u64,
    /// The grid.
    pub grid: GridSpec,
    /// The kinds of faults that were on when it was drawn.
    #[serde(default)]
    pub faults: Faults,
    /// Servers, a bit each, that may lose or falsify shares: no more than every file can lose.
    #[serde(default)]
    pub fallible: u64,
    /// Servers, a bit each, that stay as they are when the others are healed after the storm.
    #[serde(default)]
    pub frozen: u64,
    /// What happens, by time.
    #[serde(with = "form::timed")]
    pub steps: Vec<(Duration, Step)>,
    /// What goes wrong in the small world in which slots are changed by hand, by time.
    #[serde(with = "form::timed")]
    pub slot_faults: Vec<(Duration, SlotFault)>,
    /// Whether each acknowledgement is checked against the disks as it is given.
    pub looks_under_acks: bool,
}

/// What kind of runs to draw.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Profile {
    /// How true the grid is to the bytes.
    pub fidelity: Fidelity,
    /// Servers of the grid.
    pub servers: u16,
    /// Clients of the grid.
    pub clients: u16,
    /// How many shares are needed to read a file, and how many there are; drawn, if not given.
    pub shares: Option<(u16, u16)>,
    /// Uploads and downloads begun by the plan; as many again as there are files follow at the end.
    pub operations: u64,
    /// Changes of directories and mutable files.
    pub changes: u64,
    /// Nodes that go down while operations are under way.
    pub crashes: u64,
    /// Other faults.
    pub faults: u64,
    /// One in this many puts is of the same content as others.
    pub repeats: u64,
    /// Kinds of faults that every run has; of the others, each run has half.
    pub always: Vec<Fault>,
    /// How disks lie.
    pub lie: Lie,
    /// Whether each acknowledgement is checked against the disks as it is given.
    pub looks_under_acks: bool,
}

impl Default for Profile {
    /// A grid of 13 nodes.
    fn default() -> Profile {
        Profile {
            fidelity: Fidelity::Bytes,
            servers: 10,
            clients: 2,
            shares: None,
            operations: 24,
            changes: 14,
            crashes: 4,
            faults: 12,
            repeats: 6,
            always: Vec::new(),
            lie: Lie::None,
            looks_under_acks: true,
        }
    }
}

/// How long the stormy part of a run lasts.
pub const STORM: Duration = Duration::from_secs(90);

impl Plan {
    /// Draws a run.
    pub fn draw(seed: u64, profile: &Profile) -> Plan {
        let mut chance = Chance::named(seed, "plan");
        let mut faults = Faults::draw(&mut Chance::named(seed, "faults"), &profile.always);
        if profile.changes == 0 {
            // There is nothing of which it could have an old version.
            faults.take_out(Fault::OldVersions);
        }
        let grid = draw_grid(&mut chance, profile, &faults);
        let mut fallible = draw_fallible(&mut chance, &grid);
        let mut changing = Chance::named(seed, "changes");
        if profile.changes > 0 && changing.one_in(2) {
            // Of directories nothing may be lost only while no server forgets or falsifies.
            fallible = 0;
        }
        // No more servers than uploads can do without, so that some still succeed.
        let frozen = if chance.one_in(2) { chance.draw() & chance.draw() & chance.draw() } else { 0 };
        let mut steps = Vec::new();
        let mut at = Duration::from_secs(1);
        let pause = STORM * 3 / 4 / profile.operations.max(1) as u32;
        for index in 0..profile.operations {
            at += chance.duration(pause / 4..pause * 7 / 4);
            let step = draw_operation(&mut chance, index, profile, &grid);
            let is_put = matches!(step, Step::Put { .. });
            steps.push((at, step));
            if chance.one_in(8) {
                let client = chance.below(profile.clients.into()) as u16;
                let pause = chance.duration(Duration::ZERO..Duration::from_secs(2));
                steps.push((at + pause, Step::Cancel { client, pick: chance.draw() }));
            }
            if is_put && faults.has(Fault::Blackouts) && chance.one_in(6) {
                let down = chance.duration(Duration::from_secs(1)..Duration::from_secs(8));
                let step = match chance.below(2) {
                    0 => Step::BlackoutAtAck { down },
                    _ => Step::Blackout { down },
                };
                let pause = Duration::from_millis(chance.below(200));
                steps.push((at + pause, step));
            }
        }
        // Faults strike while something is under way: shortly after an operation begins.
        let begins: Vec<Duration> = steps.iter().map(|(at, _)| *at).collect();
        let strike = |chance: &mut Chance| {
            let spread = *chance.pick(&[30, 200, 200, 5_000]);
            *chance.pick(&begins) + Duration::from_millis(chance.below(spread))
        };
        for _ in 0..if faults.has(Fault::Crashes) { profile.crashes } else { 0 } {
            let at = strike(&mut chance);
            let who = draw::who(&mut chance, profile);
            let how = if chance.one_in(3) { Crash::Kill } else { Crash::PowerCut };
            let down = chance.duration(Duration::from_millis(50)..Duration::from_secs(20));
            steps.push((at, Step::Crash { who, how, down }));
        }
        for _ in 0..profile.faults {
            let at = strike(&mut chance);
            steps.extend(draw::fault(&mut chance, profile, &faults, fallible).map(|step| (at, step)));
        }
        steps.extend(draw::beginnings(&mut chance, profile, &faults, fallible));
        steps.extend(draw::changes(&mut changing, profile));
        steps.sort_by_key(|(at, _)| *at);
        let slot_faults = slots::draw(&mut Chance::named(seed, "slots"));
        let looks_under_acks = profile.looks_under_acks;
        Plan { seed, grid, faults, fallible, frozen, steps, slot_faults, looks_under_acks }
    }
}

/// The most nodes of a kind, and bytes of a file, that a script may ask for.
const NODES_MAX: u16 = 10_000;
const LEN_MAX: u64 = 1 << 30;
const MUTABLE_LEN_MAX: u64 = 1 << 22;

impl Plan {
    /// Whether its steps are of nodes that the grid has.
    pub(crate) fn check(&self) -> Result<(), String> {
        let GridSpec { introducers, servers, clients, .. } = self.grid;
        let counted = |count: u32| u16::try_from(count).ok().filter(|count| (1..=NODES_MAX).contains(count));
        let (Some(introducers), Some(servers), Some(clients)) =
            (counted(introducers.into()), counted(servers), counted(clients))
        else {
            return Err(format!("a grid has introducers, servers and clients, up to {NODES_MAX} of each"));
        };
        for (at, step) in &self.steps {
            let is_there = match step {
                Step::Put { client, len, .. } => *client < clients && *len <= LEN_MAX,
                Step::Make { client, len, .. } | Step::Alter { client, len, .. } => {
                    *client < clients && *len <= MUTABLE_LEN_MAX
                }
                Step::Get { client, .. } | Step::Cancel { client, .. } | Step::Look { client, .. } => {
                    *client < clients
                }
                Step::Crash { who, .. } | Step::Pause { who, .. } | Step::Skew { who, .. } => match who {
                    Who::Introducer(number) => *number < introducers,
                    Who::Server(number) => *number < servers,
                    Who::Client(number) => *number < clients,
                },
                Step::LaterVersion { who } => match who {
                    Who::Introducer(number) => *number < introducers,
                    Who::Server(number) => *number < servers,
                    Who::Client(number) => *number < clients,
                },
                Step::SlowDisk { server, .. }
                | Step::Misdirect { server }
                | Step::ShortReads { server, .. }
                | Step::Drip { server, .. }
                | Step::Backup { server }
                | Step::Restore { server, .. }
                | Step::LoseDisk { server, .. }
                | Step::LoseIdentity { server, .. }
                | Step::Twin { server }
                | Step::Hostile { server, .. } => *server < servers,
                Step::FalseIntroducer { introducer } => *introducer < introducers,
                Step::Swizzle { .. } | Step::CutShort { .. } | Step::Attack { .. } => true,
                Step::Blackout { .. }
                | Step::BlackoutAtAck { .. }
                | Step::Break { .. }
                | Step::Partition { .. }
                | Step::FullDisks { .. }
                | Step::Rot { .. } => true,
            };
            if !is_there {
                return Err(format!("there is no such node, or it is too much: at {at:?}, {step:?}"));
            }
        }
        match self.slot_faults.iter().find(|(_, fault)| !fault.is_of_a_server()) {
            Some((at, fault)) => Err(format!("there is no such server: at {at:?}, {fault:?}")),
            None => Ok(()),
        }
    }
}

fn draw_grid(chance: &mut Chance, profile: &Profile, faults: &Faults) -> GridSpec {
    let drawn = *chance.pick(&[(3, 10), (3, 10), (3, 10), (1, 3), (2, 5), (5, 8), (1, 1), (7, 10)]);
    let (needed, total) = profile.shares.unwrap_or(drawn);
    let segment = *chance.pick(&[4096, 4096, 1000, 16_384, 131_072]);
    let (latency_max, jitter) = *chance.pick(&[(1, 1), (20, 1), (20, 40), (150, 10)]);
    let on =
        |fault, rates: &[u64], chance: &mut Chance| if faults.has(fault) { *chance.pick(rates) } else { 0 };
    GridSpec {
        // Beside a false introducer there is an honest one.
        introducers: if faults.has(Fault::FalseIntroducer) { 2 } else { 1 },
        fidelity: profile.fidelity,
        servers: profile.servers.into(),
        clients: profile.clients.into(),
        encoding: EncodingParams::new(needed, total, segment).expect("within bounds"),
        // As the core would have it once it knows all servers, and from the beginning.
        happy: Some(usize::from(total.min(profile.servers)).min(7)),
        connections_max: *chance.pick(&[256, 256, 256, 6]),
        configured: false,
        reserved_space: 0,
        network: NetworkSettings {
            latency_max: Duration::from_millis(latency_max),
            jitter: Duration::from_millis(jitter),
            stragglers: *chance.pick(&[0, 0, 200, 50]),
            bandwidth: *chance.pick(&[100_000_000, 10_000_000, 1_000_000]),
            buffer: *chance.pick(&[8 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024]),
            parcel: *chance.pick(&[1_400, 16 * 1024, 64 * 1024]),
        },
        disk: DiskSettings {
            capacity: 1 << 30,
            lie: profile.lie,
            sync_failures: on(Fault::SyncFailures, &[0, 40], chance),
            write_failures: on(Fault::WriteFailures, &[0, 400], chance),
            read_failures: on(Fault::ReadFailures, &[0, 100], chance),
            // Of some servers only: a step.
            short_reads: 0,
        },
    }
}

fn draw_operation(chance: &mut Chance, index: u64, profile: &Profile, grid: &GridSpec) -> Step {
    let client = chance.below(profile.clients.into()) as u16;
    if index >= 3 && chance.below(100) < 45 {
        return Step::Get { client, pick: chance.draw(), whole: chance.one_in(2) };
    }
    let segment = u64::from(grid.encoding.max_segment_size());
    let len = match chance.below(13) {
        0 => chance.below(58),
        1 => 56,
        2 | 3 => chance.within(56..1_000),
        4 | 5 => segment - 2 + chance.below(5),
        6 => 2 * segment - 2 + chance.below(5),
        7 | 8 => chance.within(1_000..20_000),
        9 | 10 => chance.within(20_000..200_000),
        // Past a mebibyte an upload spools.
        11 => chance.within(1_040_000..1_300_000),
        _ => chance.within(200_000..800_000),
    };
    // Many small segments take long and show little more than some do.
    let len = len.min(150 * segment);
    let key = if chance.one_in(3) { KeyChoice::Random } else { KeyChoice::Convergent };
    // Sometimes what was put before is put again.
    let seed = if chance.one_in(profile.repeats.max(1)) { 1 } else { chance.draw() };
    let len = if seed == 1 { 30_000 } else { len };
    Step::Put { client, seed, len, key, tell_len: !chance.one_in(3) }
}

/// Servers that may lose shares: as many as every acknowledged file can lose, or fewer.
fn draw_fallible(chance: &mut Chance, grid: &GridSpec) -> u64 {
    let spare = grid.happy.unwrap_or(1).saturating_sub(usize::from(grid.encoding.needed()));
    let mut fallible = 0;
    for _ in 0..chance.below(spare as u64 + 1) {
        fallible |= 1 << chance.below(u64::from(grid.servers.min(64)));
    }
    fallible
}
