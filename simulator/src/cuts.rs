//! Every power cut in short sequences of what a storage server is asked to do.
//!
//! A real storage server over a disk that forgets runs each sequence of [`Deed`]s up to a length. The
//! power fails before each step of its last deed, and after it; each combination of what was not synced
//! is left in turn; the server starts again on that, and must keep what it promised: what was acknowledged
//! is there, what was under way has happened whole or not at all, and nothing is half-open. (A cut in an
//! earlier deed is one in the last deed of a shorter sequence.) Where the start has something to complete,
//! the power fails again before each of its steps, and all or nothing of what was not synced is left.

use crate::chance::{Chance, content};
use crate::disk::{BlockFate, Disk, DiskSettings, EveryFate, Fate, Lie};
use core::fmt;
use std::collections::{BTreeMap, VecDeque};
use tallac_core::disk::{DiskFailure, DiskStep, StorePath};
use tallac_core::identity::TubId;
use tallac_core::job;
use tallac_core::machine::{ActionId, Machine};
use tallac_core::payload::Payload;
use tallac_core::secret::Secret;
use tallac_core::share_set::ShareSet;
use tallac_core::storage::protocol::{ShareVectors, StorageAnswer, StorageError, StorageRequest};
use tallac_core::storage::{
    RequestKey, StorageAction, StorageConfig, StorageEvent, StorageResult, StorageServer,
};
use tallac_core::storage_index::StorageIndex;
use tallac_core::time::Now;
use tallac_soft_rsa::SoftRsa;

/// An immutable file, of which share 0 is uploaded.
const FILE: StorageIndex = StorageIndex([0x49; 16]);
/// A slot with shares 0 and 1.
const SLOT: StorageIndex = StorageIndex([0x4d; 16]);
/// Longer than a sector, so that it can be torn.
const LEN: u64 = 1_100;

/// Something that a storage server is asked to do, or that happens to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Deed {
    /// Make room for the file's share.
    Allocate,
    /// Write its first half.
    WriteHalf,
    /// Write all of it, which completes it.
    WriteAll,
    /// Give it up.
    Abort,
    /// Add a lease to it.
    Lease,
    /// Report it as damaged.
    Advise,
    /// Change one share of the slot: it is written beside.
    SetOne,
    /// Change both shares of the slot: that takes a redo record.
    SetBoth,
    /// Make both shares of the slot longer, and change their beginnings.
    Grow,
    /// Remove one share of the slot.
    DeleteOne,
    /// Remove both: that takes a redo record.
    DeleteBoth,
    /// The program is killed and starts again.
    Restart,
}

impl Deed {
    /// All of them.
    pub const ALL: [Deed; 12] = [
        Deed::Allocate,
        Deed::WriteHalf,
        Deed::WriteAll,
        Deed::Abort,
        Deed::Lease,
        Deed::Advise,
        Deed::SetOne,
        Deed::SetBoth,
        Deed::Grow,
        Deed::DeleteOne,
        Deed::DeleteBoth,
        Deed::Restart,
    ];
}

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Cuts {
    /// The most deeds in a sequence.
    pub longest: usize,
    /// How the disk lies, which must be found out.
    pub lie: Lie,
}

/// What was tried, and what came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tried {
    /// Sequences of deeds.
    pub sequences: u64,
    /// Points at which the power failed.
    pub cuts: u64,
    /// States of the disk that a server was started on.
    pub states: u64,
    /// The first sequence after which a promise is broken, and which.
    pub wrong: Option<String>,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tried { sequences, cuts, states, wrong } = self;
        write!(f, "{sequences} sequences, {cuts} power cuts, {states} states of the disk")?;
        wrong.iter().try_for_each(|wrong| write!(f, "\n{wrong}"))
    }
}

/// Tries all sequences.
pub fn try_all(spec: &Cuts) -> Tried {
    let mut tried = Tried::default();
    let mut open: VecDeque<Vec<Deed>> = VecDeque::from([Vec::new()]);
    while let Some(before) = open.pop_front() {
        for deed in Deed::ALL {
            let sequence = [&before[..], &[deed]].concat();
            tried.sequences += 1;
            if let Err(wrong) = try_one(&sequence, spec.lie, &mut tried) {
                tried.wrong = Some(format!("{sequence:?}: {wrong}"));
                return tried;
            }
            if sequence.len() < spec.longest {
                open.push_back(sequence);
            }
        }
    }
    tried
}

/// Cuts the power at each point of the last deed of a sequence.
fn try_one(sequence: &[Deed], lie: Lie, tried: &mut Tried) -> Result<(), String> {
    let settings = DiskSettings { lie, ..DiskSettings::default() };
    let mut rig = Rig::new(Disk::new(settings, Chance::new(0)));
    rig.run_to_end();
    let (last, before) = sequence.split_last().expect("it is not empty");
    let mut promise = Promise::default();
    for (number, deed) in before.iter().enumerate() {
        promise = rig.perform(*deed, number, &promise)?.1;
    }
    let (meanwhile, after) = {
        // Before each step either what was or what will be may be there.
        let mut cuts = Vec::new();
        let (_, after) =
            rig.perform_watched(*last, before.len(), &promise, |disk| cuts.push(disk.clone()))?;
        (cuts, after)
    };
    let steps = meanwhile.len();
    let under_way = meanwhile.into_iter().map(|disk| (disk, vec![&promise, &after]));
    let done = (rig.disk.clone(), vec![&after]);
    for (number, (disk, allowed)) in under_way.chain([done]).enumerate() {
        tried.cuts += 1;
        let mut fate = EveryFate::default();
        loop {
            let mut left = disk.clone();
            left.power_cut_by(&mut fate);
            tried.states += 1;
            check_twice(left, &allowed, tried)
                .map_err(|wrong| format!("power cut at {number} of {steps}: {wrong}"))?;
            if !fate.advance() {
                break;
            }
        }
    }
    Ok(())
}

/// What must be there after a start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Promise {
    /// The share of the file is whole.
    whole: bool,
    /// Leases of it beyond the first that were acknowledged.
    leases: u32,
    /// The shares of the slot.
    slot: BTreeMap<u16, Vec<u8>>,
}

/// All of what was not synced is left, or nothing.
struct Extreme(bool);

impl Fate for Extreme {
    fn keeps_name(&mut self) -> bool {
        self.0
    }

    fn keeps_length(&mut self, _: bool) -> bool {
        self.0
    }

    fn block(&mut self) -> BlockFate {
        if self.0 { BlockFate::Kept } else { BlockFate::Lost }
    }
}

/// Starts a server on a disk, also with the power failing while it completes what it finds there.
fn check_twice(disk: Disk, allowed: &[&Promise], tried: &mut Tried) -> Result<(), String> {
    if disk.list().any(|(path, _)| matches!(path, StorePath::Redo(_))) {
        let mut again = Vec::new();
        Rig::new(disk.clone()).run(&mut |disk| again.push(disk.clone()));
        for (number, disk) in again.into_iter().enumerate() {
            for kept in [false, true] {
                let mut left = disk.clone();
                left.power_cut_by(&mut Extreme(kept));
                tried.states += 1;
                check(left, allowed).map_err(|wrong| format!("again at {number}: {wrong}"))?;
            }
        }
    }
    check(disk, allowed)
}

/// Starts a server on a disk and looks whether one of these promises is kept.
fn check(disk: Disk, allowed: &[&Promise]) -> Result<(), String> {
    let mut rig = Rig::new(disk);
    rig.run_to_end();
    if rig.server.stats().slots_shut > 0 {
        return Err("a slot is shut".into());
    }
    let found = rig.look()?;
    let keeps = |promise: &&&Promise| {
        // A lease more than was acknowledged does no harm.
        let leases = !promise.whole || found.leases >= promise.leases;
        (found.whole, &found.slot) == (promise.whole, &promise.slot) && leases
    };
    if !allowed.iter().any(|promise| keeps(&promise)) {
        let lens = |promise: &Promise| {
            let slot: Vec<_> = promise.slot.iter().map(|(share, data)| (*share, data.len())).collect();
            format!("whole {}, leases {}, slot {slot:?}", promise.whole, promise.leases)
        };
        let allowed: Vec<String> = allowed.iter().map(|promise| lens(promise)).collect();
        return Err(format!("there is: {}; allowed: {}", lens(&found), allowed.join(" or ")));
    }
    for (path, len) in rig.disk.list() {
        if matches!(path, StorePath::Incoming(..) | StorePath::Redo(_)) {
            return Err(format!("{path:?} of {len} bytes is left"));
        }
    }
    Ok(())
}

/// A server and its disk.
struct Rig {
    server: StorageServer,
    disk: Disk,
    requests: u64,
    answers: BTreeMap<u64, StorageResult>,
}

impl Rig {
    /// As the host starts a server.
    fn new(mut disk: Disk) -> Rig {
        disk.clean();
        Rig { server: start(), disk, requests: 0, answers: BTreeMap::new() }
    }

    fn run_to_end(&mut self) {
        self.run(&mut |_| {});
    }

    /// Does all that the server wants done. `watch` sees the disk before each step.
    fn run(&mut self, watch: &mut impl FnMut(&Disk)) {
        while let Some(action) = self.server.poll_action() {
            let event = match action {
                StorageAction::Answer { to, result } => {
                    self.answers.insert(to.0, result);
                    continue;
                }
                StorageAction::Disk { id, steps } => self.run_steps(id, steps, watch),
                StorageAction::Job { id, job } => {
                    StorageEvent::JobDone { id, output: job::run(job, &SoftRsa) }
                }
            };
            self.server.handle(event, Now::default());
        }
    }

    fn run_steps(
        &mut self,
        id: ActionId,
        steps: Vec<DiskStep>,
        watch: &mut impl FnMut(&Disk),
    ) -> StorageEvent {
        let mut outputs = Vec::new();
        for (step, what) in steps.into_iter().enumerate() {
            let changes = !matches!(
                what,
                DiskStep::Read { .. } | DiskStep::Length(_) | DiskStep::ListShares(_) | DiskStep::FreeSpace
            );
            if changes {
                watch(&self.disk);
            }
            match self.disk.run(what) {
                Ok(output) => outputs.extend(output),
                Err(error) => return StorageEvent::DiskDone { id, result: Err(DiskFailure { step, error }) },
            }
        }
        StorageEvent::DiskDone { id, result: Ok(outputs) }
    }

    fn ask(
        &mut self,
        request: StorageRequest,
        bulk: Vec<u8>,
        watch: &mut impl FnMut(&Disk),
    ) -> StorageResult {
        self.requests += 1;
        let event = StorageEvent::Request {
            from: RequestKey(self.requests),
            request,
            bulk: if bulk.is_empty() { Payload::default() } else { bulk.into() },
        };
        self.server.handle(event, Now::default());
        self.run(watch);
        self.answers.remove(&self.requests).expect("every request is answered once the disk is done")
    }

    fn perform(&mut self, deed: Deed, number: usize, before: &Promise) -> Result<(bool, Promise), String> {
        self.perform_watched(deed, number, before, |_| {})
    }

    /// Does something; gives what is promised from then on, and whether it was done at all.
    fn perform_watched(
        &mut self,
        deed: Deed,
        number: usize,
        before: &Promise,
        mut watch: impl FnMut(&Disk),
    ) -> Result<(bool, Promise), String> {
        let secret = |which: u8| Secret::from_bytes([which; 32]);
        let mut after = before.clone();
        let request = match deed {
            Deed::Restart => {
                (self.server, self.answers) = (start(), BTreeMap::new());
                watch(&self.disk);
                self.disk.clean();
                self.run(&mut watch);
                return Ok((true, after));
            }
            Deed::Allocate => StorageRequest::Allocate {
                storage_index: FILE,
                renew_secret: secret(1),
                cancel_secret: secret(2),
                upload_secret: secret(3),
                shares: ShareSet::first(1),
                allocated_size: LEN,
            },
            Deed::WriteHalf | Deed::WriteAll => {
                StorageRequest::Write { storage_index: FILE, share: 0, upload_secret: secret(3), offset: 0 }
            }
            Deed::Abort => StorageRequest::Abort { storage_index: FILE, share: 0, upload_secret: secret(3) },
            Deed::Lease => StorageRequest::AddLease {
                storage_index: FILE,
                renew_secret: secret(16 + number as u8),
                cancel_secret: secret(32 + number as u8),
            },
            Deed::Advise => StorageRequest::AdviseCorrupt {
                storage_index: FILE,
                share: 0,
                reason: "it does not look well".into(),
            },
            Deed::SetOne | Deed::SetBoth | Deed::Grow | Deed::DeleteOne | Deed::DeleteBoth => {
                return self.change_slot(deed, number, after, &mut watch);
            }
        };
        let file = content(1, LEN);
        let bulk = match deed {
            Deed::WriteHalf => file[..file.len() / 2].to_vec(),
            Deed::WriteAll => file,
            _ => Vec::new(),
        };
        let result = self.ask(request, bulk, &mut watch);
        match &result {
            Ok((StorageAnswer::Written { finished }, _)) => after.whole |= *finished,
            Ok((StorageAnswer::Done, _)) if deed == Deed::Lease => after.leases += 1,
            Ok(_) => {}
            Err(StorageError::Disk(why)) => return Err(format!("a disk that is well fails: {why}")),
            Err(_) => {}
        }
        Ok((result.is_ok(), after))
    }

    fn change_slot(
        &mut self,
        deed: Deed,
        number: usize,
        mut after: Promise,
        watch: &mut impl FnMut(&Disk),
    ) -> Result<(bool, Promise), String> {
        let shares: &[u16] = if matches!(deed, Deed::SetOne | Deed::DeleteOne) { &[0] } else { &[0, 1] };
        let (mut vectors, mut bulk) = (Vec::new(), Vec::new());
        for share in shares.iter().copied() {
            let seed = 100 * number as u64 + u64::from(share);
            let there = after.slot.get(&share).map_or(0, Vec::len) as u64;
            let (writes, new_length) = match deed {
                Deed::DeleteOne | Deed::DeleteBoth => (Vec::new(), Some(0)),
                Deed::Grow => (vec![(0, 40), (there, LEN)], None),
                _ => (vec![(0, LEN)], Some(LEN)),
            };
            let data = content(seed, writes.iter().map(|(_, len)| len).sum());
            match new_length {
                Some(0) => drop(after.slot.remove(&share)),
                Some(_) => drop(after.slot.insert(share, data.clone())),
                None => {
                    let held = after.slot.entry(share).or_default();
                    held.resize(there.max(40) as usize, 0);
                    held[..40].copy_from_slice(&data[..40]);
                    held.truncate(there as usize + LEN as usize);
                    held.resize(there as usize + LEN as usize, 0);
                    held[there as usize..].copy_from_slice(&data[40..]);
                }
            }
            bulk.extend_from_slice(&data);
            vectors.push(ShareVectors { share, tests: Vec::new(), writes, new_length });
        }
        let request = StorageRequest::ReadTestWrite {
            storage_index: SLOT,
            write_enabler: Secret::from_bytes([7; 32]),
            renew_secret: Secret::from_bytes([8; 32]),
            cancel_secret: Secret::from_bytes([9; 32]),
            shares: vectors,
            reads: Vec::new(),
        };
        match self.ask(request, bulk, watch) {
            Ok((StorageAnswer::Tested { success: true, .. }, _)) => Ok((true, after)),
            other => Err(format!("a change of a slot is answered with {other:?}")),
        }
    }

    /// What is there.
    fn look(&mut self) -> Result<Promise, String> {
        let mut found = Promise::default();
        let list = self.ask(StorageRequest::List { storage_index: FILE }, Vec::new(), &mut |_| {});
        let Ok((StorageAnswer::Shares(shares), _)) = list else { return Err(format!("no list: {list:?}")) };
        found.whole = shares.contains(0);
        if found.whole {
            let ranges = vec![(0, 10 * LEN)];
            let read = StorageRequest::Read { storage_index: FILE, share: 0, ranges };
            let (_, data) = self.ask(read, Vec::new(), &mut |_| {}).map_err(|error| error.to_string())?;
            if joined(&data) != content(1, LEN) {
                return Err("the share of the file is listed and is not what was written".into());
            }
            let file = self.disk.content(&StorePath::Share(FILE, 0)).unwrap_or_default();
            let count = file.get(8..12).and_then(|field| field.try_into().ok()).map_or(0, u32::from_be_bytes);
            found.leases = count.saturating_sub(1);
        }
        let ranges = vec![(0, 10 * LEN)];
        let read = StorageRequest::ReadSlot { storage_index: SLOT, shares: ShareSet::EMPTY, ranges };
        match self.ask(read, Vec::new(), &mut |_| {}) {
            Ok((StorageAnswer::Slot(shares), bulk)) => {
                let mut rest = joined(&bulk);
                for (share, lens) in shares {
                    let later = rest.split_off(lens.iter().sum::<u64>() as usize);
                    found.slot.insert(share, core::mem::replace(&mut rest, later));
                }
            }
            Ok(other) => return Err(format!("no slot: {other:?}")),
            Err(error) => return Err(error.to_string()),
        }
        Ok(found)
    }
}

fn joined(pieces: &[Payload]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| piece.bytes().expect("real bytes").to_vec()).collect()
}

fn start() -> StorageServer {
    let config = StorageConfig { reserved_space: 0, read_only: false, program: "tallac-simulator/1".into() };
    StorageServer::new(config, TubId([0x6e; 20]))
}
