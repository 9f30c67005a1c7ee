//! A node of a world: its machine, if it runs, and what outlives it.

use super::{Birth, Item, Mouth, NodeSetup};
use crate::chance::Chance;
use crate::disk::Disk;
use core::time::Duration;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use tallac_core::disk::{DiskOutput, DiskStep};
use tallac_core::machine::ActionId;
use tallac_core::nurl::Pin;
use tallac_core::time::{Instant, Now, UnixTime};

/// The date at which every world begins: 2026-01-01.
const BEGINNING: u64 = 1_767_225_600;

pub(super) struct Node<M> {
    pub(super) name: String,
    pub(super) pin: Pin,
    pub(super) disk: Disk,
    pub(super) disk_factor: u32,
    pub(super) machine: Option<M>,
    /// Which life this is; 0 before the first.
    pub(super) life: u32,
    /// It is down and its system, too: calls get no answer.
    pub(super) silent: bool,
    pub(super) paused: bool,
    /// What happened to it while it was paused.
    pub(super) frozen: Vec<Item>,
    pub(super) disk_runs: BTreeMap<ActionId, DiskRun>,
    pub(super) next_inbound: u64,
    /// When the earliest wake-up on the schedule is due.
    pub(super) wake_at: Option<Duration>,
    /// Wake-ups in a row at the same time.
    pub(super) spins: (Duration, u32),
    pub(super) skew: i64,
    /// Alters what it says and hears.
    pub(super) mouth: Option<Box<dyn Mouth>>,
    /// The monotonic clock's origin lies this far before the world's beginning.
    origin: Duration,
    seed: u64,
    make: Box<dyn FnMut(Birth) -> M>,
}

/// A disk action under way.
pub(super) struct DiskRun {
    pub(super) steps: VecDeque<DiskStep>,
    pub(super) done: usize,
    pub(super) outputs: Vec<DiskOutput>,
}

impl<M> Node<M> {
    pub(super) fn new(setup: NodeSetup<M>, seed: u64) -> Node<M> {
        let NodeSetup { name, pin, disk, make } = setup;
        Node {
            name,
            pin,
            disk,
            disk_factor: 1,
            machine: None,
            life: 0,
            silent: false,
            paused: false,
            frozen: Vec::new(),
            disk_runs: BTreeMap::new(),
            next_inbound: 0,
            wake_at: None,
            spins: (Duration::ZERO, 0),
            skew: 0,
            mouth: None,
            origin: Duration::ZERO,
            seed,
            make,
        }
    }

    /// It is somebody else from its next start on; its disk stays.
    pub(super) fn replace(&mut self, pin: Pin, make: Box<dyn FnMut(Birth) -> M>) {
        (self.pin, self.make) = (pin, make);
    }

    pub(super) fn clock(&self, now: Duration) -> Now {
        clock(self.origin, self.skew, now)
    }

    /// When a point on the node's monotonic clock comes.
    pub(super) fn world_time(&self, instant: Instant) -> Duration {
        instant.since(Instant::ZERO + self.origin)
    }

    pub(super) fn start(&mut self, now: Duration) {
        self.disk.clean();
        self.life += 1;
        self.origin = origin(self.seed, self.life, &self.name);
        let seed = Sha256::new()
            .chain_update(b"tallac simulator, entropy of a node\n")
            .chain_update(self.seed.to_le_bytes())
            .chain_update(self.life.to_le_bytes())
            .chain_update(self.name.as_bytes())
            .finalize()
            .into();
        let birth = Birth { life: self.life - 1, seed, now: self.clock(now) };
        self.machine = Some((self.make)(birth));
        (self.wake_at, self.silent, self.next_inbound) = (None, false, 0);
    }

    pub(super) fn stop(&mut self) -> Option<M> {
        self.disk_runs.clear();
        self.frozen.clear();
        self.paused = false;
        self.machine.take()
    }
}

/// How long before the world's beginning a node's monotonic clock began. Each life has a clock of its
/// own, which gives away who compares those of two.
fn origin(seed: u64, life: u32, name: &str) -> Duration {
    let mut chance = Chance::named(seed ^ u64::from(life), name);
    chance.duration(Duration::ZERO..Duration::from_secs(1_000_000))
}

fn clock(origin: Duration, skew: i64, now: Duration) -> Now {
    let date = BEGINNING + now.as_secs();
    Now { instant: Instant::ZERO + origin + now, unix: UnixTime(date.saturating_add_signed(skew)) }
}

/// The clocks of a node in its first life.
pub(super) fn first_clock(seed: u64, name: &str, now: Duration) -> Now {
    clock(origin(seed, 1, name), 0, now)
}
