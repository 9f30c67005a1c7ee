//! A disk in memory that forgets what was not synced, and a rig that runs a server over it.

use super::protocol::{StorageAnswer, StorageError, StorageRequest};
use super::{RequestKey, StorageAction, StorageConfig, StorageEvent, StorageResult, StorageServer};
use crate::disk::{DiskError, DiskFailure, DiskOutput, DiskResult, DiskStep, StorePath};
use crate::identity::TubId;
use crate::job;
use crate::machine::{ActionId, Machine};
use crate::payload::Payload;
use crate::time::{Instant, Now, UnixTime};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

const SECTOR: u64 = 512;
/// Who the server says it is in containers of mutable shares.
pub(super) const NODEID: TubId = TubId([0x6e; 20]);

/// A small generator of chance, enough for choosing.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        // Small seeds would begin alike: the first draws would be the same for all of them.
        let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Dice((state ^ state >> 31) | 1)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    pub(super) fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }
}

/// How a disk lies about durability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lie {
    None,
    /// `Sync` does nothing.
    Sync,
    /// `SyncName` does nothing.
    SyncName,
    /// `Sync` takes effect only when the whole list of steps is long over: as if the server had
    /// answered before it.
    Late,
}

#[derive(Clone, Default)]
struct Content {
    len: u64,
    sectors: BTreeMap<u64, [u8; SECTOR as usize]>,
}

impl Content {
    fn write(&mut self, offset: u64, data: &[u8]) {
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let start = (at % SECTOR) as usize;
            let (piece, after) = rest.split_at(rest.len().min(SECTOR as usize - start));
            let sector = self.sectors.entry(at / SECTOR).or_insert([0; SECTOR as usize]);
            sector[start..start + piece.len()].copy_from_slice(piece);
            (at, rest) = (at + piece.len() as u64, after);
        }
        self.len = self.len.max(offset + data.len() as u64);
    }

    fn read(&self, offset: u64, len: u64) -> Vec<u8> {
        let end = offset.saturating_add(len).min(self.len);
        let mut bytes = alloc::vec![0; end.saturating_sub(offset) as usize];
        for (number, sector) in self.sectors.range(offset / SECTOR..end.div_ceil(SECTOR).max(offset / SECTOR))
        {
            let start = number * SECTOR;
            let (from, to) = (start.max(offset), (start + SECTOR).min(end));
            if from < to {
                bytes[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&sector[(from - start) as usize..(to - start) as usize]);
            }
        }
        bytes
    }

    fn truncate(&mut self, len: u64) {
        self.len = len;
        self.sectors.split_off(&len.div_ceil(SECTOR));
        if let Some(last) = self.sectors.get_mut(&(len / SECTOR)) {
            last[(len % SECTOR) as usize..].fill(0);
        }
    }
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Clone, Default)]
struct File {
    now: Content,
    durable: Content,
    /// What is in `now` and may or may not reach the disk.
    pending: Vec<Change>,
}

#[derive(Clone)]
enum NameChange {
    Made(StorePath, usize),
    Moved(StorePath, StorePath, usize),
    Removed(StorePath),
}

/// Which step fails, and how.
pub(super) type Fault = (fn(&DiskStep) -> bool, DiskError);

/// A disk in memory.
#[derive(Clone)]
pub(super) struct MemoryDisk {
    files: Vec<File>,
    names: BTreeMap<StorePath, usize>,
    durable_names: BTreeMap<StorePath, usize>,
    pending_names: Vec<NameChange>,
    late: Vec<StorePath>,
    pub(super) lie: Lie,
    pub(super) capacity: u64,
    /// The first step for which this is so fails with that.
    pub(super) fault: Option<Fault>,
    /// Reads for which this is so give one byte less than there is.
    pub(super) cut_short: fn(&DiskStep) -> bool,
    /// Steps until the power fails.
    pub(super) power: u64,
}

impl MemoryDisk {
    pub(super) fn new() -> MemoryDisk {
        MemoryDisk {
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            late: Vec::new(),
            lie: Lie::None,
            capacity: 1 << 40,
            fault: None,
            cut_short: |_| false,
            power: u64::MAX,
        }
    }

    /// Puts a file there, durably. `len` may reach past `pieces`: the rest is a hole.
    pub(super) fn put(&mut self, path: StorePath, len: u64, pieces: &[(u64, &[u8])]) {
        let mut file = File::default();
        pieces.iter().for_each(|(offset, data)| file.now.write(*offset, data));
        file.now.len = len;
        file.durable = file.now.clone();
        self.files.push(file);
        self.names.insert(path.clone(), self.files.len() - 1);
        self.durable_names.insert(path, self.files.len() - 1);
    }

    pub(super) fn bytes(&self, path: &StorePath) -> Option<Vec<u8>> {
        self.tail(path, 0)
    }

    pub(super) fn read_at(&self, path: &StorePath, offset: u64, len: u64) -> Vec<u8> {
        self.files[self.names[path]].now.read(offset, len)
    }

    /// The bytes from an offset to the end of a file.
    pub(super) fn tail(&self, path: &StorePath, offset: u64) -> Option<Vec<u8>> {
        Some(self.files[*self.names.get(path)?].now.read(offset, u64::MAX))
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &StorePath> {
        self.names.keys()
    }

    /// The power fails: of what was not synced some is there and some is not, in pieces of a
    /// sector. Shares in progress are removed, as a host does when it starts.
    pub(super) fn crash(&mut self, dice: &mut Dice) {
        for file in &mut self.files {
            let mut content = file.durable.clone();
            for change in file.pending.drain(..) {
                match change {
                    Change::Write(offset, data) => {
                        let end = offset + data.len() as u64;
                        let mut at = offset;
                        while at < end {
                            let next = ((at / SECTOR + 1) * SECTOR).min(end);
                            if dice.one_in(2) {
                                content.write(at, &data[(at - offset) as usize..(next - offset) as usize]);
                            }
                            at = next;
                        }
                        if dice.one_in(2) {
                            content.len = content.len.max(end);
                        }
                    }
                    Change::Truncate(len) if dice.one_in(2) => content.truncate(len),
                    Change::Truncate(_) => {}
                }
            }
            (file.now, file.durable) = (content.clone(), content);
        }
        let mut names = self.durable_names.clone();
        for change in self.pending_names.drain(..) {
            if dice.one_in(2) {
                change.apply(&mut names);
            }
        }
        names.retain(|path, _| !matches!(path, StorePath::Incoming(..)));
        (self.names, self.durable_names) = (names.clone(), names);
        self.late.clear();
        self.power = u64::MAX;
        self.fault = None;
    }

    /// Removes shares in progress, as a host does when it starts.
    fn remove_unfinished(&mut self) {
        let unfinished = self.names.keys().filter(|path| matches!(path, StorePath::Incoming(..)));
        for path in unfinished.cloned().collect::<Vec<_>>() {
            self.change_name(NameChange::Removed(path));
        }
    }

    fn step(&mut self, step: &DiskStep, outputs: &mut Vec<DiskOutput>) -> Result<(), DiskError> {
        if self.fault.as_ref().is_some_and(|(hit, _)| hit(step)) {
            if let DiskStep::Sync(path) = step {
                // What could not be written counts as written from now on, and is lost.
                let file = self.find(path)?;
                self.files[file].pending.clear();
            }
            return Err(self.fault.take().expect("it was just there").1);
        }
        match step {
            DiskStep::Create(path) => {
                if self.names.contains_key(path) {
                    return Err(DiskError::Exists);
                }
                self.files.push(File::default());
                self.change_name(NameChange::Made(path.clone(), self.files.len() - 1));
            }
            DiskStep::Write { path, offset, data } => {
                if self.used() + data.len() > self.capacity {
                    return Err(DiskError::Full);
                }
                let file = self.find(path)?;
                let data = data.bytes().expect("real bytes").to_vec();
                self.files[file].now.write(*offset, &data);
                self.files[file].pending.push(Change::Write(*offset, data));
            }
            DiskStep::Read { path, offset, len } => {
                let mut data = self.files[self.find(path)?].now.read(*offset, *len);
                if (self.cut_short)(step) {
                    data.pop();
                }
                outputs.push(DiskOutput::Data(data.into()));
            }
            DiskStep::Length(path) => outputs.push(DiskOutput::Length(self.files[self.find(path)?].now.len)),
            DiskStep::Truncate(path, len) => {
                let file = self.find(path)?;
                self.files[file].now.truncate(*len);
                self.files[file].pending.push(Change::Truncate(*len));
            }
            DiskStep::Sync(path) => {
                self.find(path)?;
                match self.lie {
                    Lie::None | Lie::SyncName => self.sync(path),
                    Lie::Sync => {}
                    Lie::Late => self.late.push(path.clone()),
                }
            }
            DiskStep::Rename(from, to) => {
                let file = self.find(from)?;
                self.change_name(NameChange::Moved(from.clone(), to.clone(), file));
            }
            DiskStep::SyncName(path) if self.lie != Lie::SyncName => self.sync_name(path),
            DiskStep::SyncName(_) => {}
            DiskStep::Remove(path) => self.change_name(NameChange::Removed(path.clone())),
            DiskStep::ListShares(index) => {
                let shares = self.names.keys().filter_map(|path| match path {
                    StorePath::Share(of, share) if of == index => Some(*share),
                    _ => None,
                });
                outputs.push(DiskOutput::Shares(shares.collect()));
            }
            DiskStep::ListRedo => {
                if self.lie != Lie::SyncName {
                    let changed = self.pending_names.iter().filter_map(|change| match change {
                        NameChange::Made(path @ StorePath::Redo(_), _)
                        | NameChange::Removed(path @ StorePath::Redo(_)) => Some(path.clone()),
                        _ => None,
                    });
                    changed.collect::<Vec<_>>().iter().for_each(|path| self.sync_name(path));
                }
                let slots = self.names.keys().filter_map(|path| match path {
                    StorePath::Redo(index) => Some(*index),
                    _ => None,
                });
                outputs.push(DiskOutput::Slots(slots.collect()));
            }
            DiskStep::FreeSpace => outputs.push(DiskOutput::Free(self.capacity.saturating_sub(self.used()))),
            DiskStep::Replace(path, data) => {
                let data = data.bytes().expect("real bytes").clone();
                self.put(path.clone(), data.len() as u64, &[(0, &data)]);
            }
            DiskStep::Make(path, data) => {
                if self.names.contains_key(path) {
                    return Err(DiskError::Exists);
                }
                let data = data.bytes().expect("real bytes").clone();
                self.put(path.clone(), data.len() as u64, &[(0, &data)]);
            }
            DiskStep::CountShares => {
                let shares = self.names.keys().filter(|path| matches!(path, StorePath::Share(..)));
                outputs.push(DiskOutput::Stored { shares: shares.count() as u64, bytes: self.used() });
            }
        }
        Ok(())
    }

    fn find(&self, path: &StorePath) -> Result<usize, DiskError> {
        self.names.get(path).copied().ok_or(DiskError::NotFound)
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].now.sectors.len() as u64 * SECTOR).sum()
    }

    fn sync(&mut self, path: &StorePath) {
        if let Some(file) = self.names.get(path) {
            let file = &mut self.files[*file];
            // Not simply what is there now: what a failed sync lost stays lost.
            for change in file.pending.drain(..) {
                match change {
                    Change::Write(offset, data) => file.durable.write(offset, &data),
                    Change::Truncate(len) => file.durable.truncate(len),
                }
            }
        }
    }

    fn sync_name(&mut self, path: &StorePath) {
        match self.names.get(path) {
            Some(file) => self.durable_names.insert(path.clone(), *file),
            None => self.durable_names.remove(path),
        };
        let pending = core::mem::take(&mut self.pending_names);
        self.pending_names = pending
            .into_iter()
            .filter_map(|change| match change {
                NameChange::Made(made, _) if made == *path => None,
                NameChange::Removed(removed) if removed == *path => None,
                NameChange::Moved(from, to, _) if to == *path => Some(NameChange::Removed(from)),
                other => Some(other),
            })
            .collect();
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<StorePath, usize>) {
        match self {
            NameChange::Made(path, file) => drop(names.insert(path.clone(), *file)),
            NameChange::Moved(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            NameChange::Removed(path) => drop(names.remove(path)),
        }
    }
}

/// A disk action that is being carried out, step by step.
struct Flight {
    id: ActionId,
    steps: Vec<DiskStep>,
    done: usize,
    outputs: Vec<DiskOutput>,
}

/// A server, its disk, and the actions between them.
pub(super) struct Rig {
    pub(super) server: StorageServer,
    pub(super) disk: MemoryDisk,
    pub(super) now: Now,
    /// Chooses which of the actions under way goes on; in order without it.
    pub(super) order: Option<Dice>,
    pub(super) answers: BTreeMap<RequestKey, StorageResult>,
    /// Every disk action asked for, in order.
    pub(super) seen: Vec<Vec<DiskStep>>,
    flights: VecDeque<Flight>,
    next_request: u64,
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::over(
            MemoryDisk::new(),
            StorageConfig { reserved_space: 0, read_only: false, program: "test".into() },
        )
    }

    pub(super) fn over(disk: MemoryDisk, config: StorageConfig) -> Rig {
        let mut rig = Rig {
            server: StorageServer::new(config, NODEID),
            disk,
            now: Now { instant: Instant(1), unix: UnixTime(1_700_000_000) },
            order: None,
            answers: BTreeMap::new(),
            seen: Vec::new(),
            flights: VecDeque::new(),
            next_request: 0,
        };
        rig.take_actions();
        rig.settle();
        rig.seen.clear();
        rig
    }

    /// The server starts again over the same disk after a crash of the machine.
    pub(super) fn restart(&mut self, dice: &mut Dice) {
        self.disk.crash(dice);
        self.start();
    }

    /// The server starts again after its process was killed: what was written is there, durable or not.
    pub(super) fn restart_killed(&mut self) {
        self.disk.power = u64::MAX;
        self.disk.remove_unfinished();
        self.start();
    }

    fn start(&mut self) {
        let config = StorageConfig { reserved_space: 0, read_only: false, program: "test".into() };
        self.server = StorageServer::new(config, NODEID);
        self.flights.clear();
        self.answers.clear();
        self.take_actions();
    }

    /// Hands in a request without waiting for its answer.
    pub(super) fn send(&mut self, request: StorageRequest, bulk: &[u8]) -> RequestKey {
        let from = RequestKey(self.next_request);
        self.next_request += 1;
        self.handle(StorageEvent::Request { from, request, bulk: Payload::from(bulk.to_vec()) });
        from
    }

    /// Hands in a request and does everything until nothing is left to do.
    pub(super) fn ask(
        &mut self,
        request: StorageRequest,
        bulk: &[u8],
    ) -> Result<StorageAnswer, StorageError> {
        let key = self.send(request, bulk);
        self.settle();
        self.answers.remove(&key).expect("every request is answered").map(|(answer, _)| answer)
    }

    /// Like [`Rig::ask`] for a read: the bytes of each range.
    pub(super) fn read(&mut self, request: StorageRequest) -> Result<Vec<Vec<u8>>, StorageError> {
        let key = self.send(request, b"");
        self.settle();
        let (answer, bulk) = self.answers.remove(&key).expect("every request is answered")?;
        let pieces: Vec<Vec<u8>> =
            bulk.into_iter().map(|piece| piece.into_bytes().expect("real bytes").to_vec()).collect();
        let lengths = pieces.iter().map(|piece| piece.len() as u64).collect();
        assert_eq!(answer, StorageAnswer::Data(lengths));
        Ok(pieces)
    }

    /// Lets time pass, waking the server when it wants to be woken.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.instant + time;
        while let Some(wake) = self.server.deadline().filter(|wake| *wake <= end) {
            self.set_time(wake.max(self.now.instant));
            self.handle(StorageEvent::Wake);
            self.settle();
        }
        self.set_time(end);
    }

    pub(super) fn settle(&mut self) {
        while self.step() {}
    }

    /// Carries out one step of one action. `false` if there is none, or no power.
    pub(super) fn step(&mut self) -> bool {
        if self.flights.is_empty() || self.disk.power == 0 {
            return false;
        }
        self.disk.power -= 1;
        let choice = match &mut self.order {
            Some(dice) => dice.below(self.flights.len() as u64) as usize,
            None => 0,
        };
        let flight = &mut self.flights[choice];
        let failure = match flight.steps.get(flight.done) {
            Some(step) => {
                let result = self.disk.step(step, &mut flight.outputs);
                flight.done += 1;
                result.err().map(|error| DiskFailure { step: flight.done - 1, error })
            }
            None => None,
        };
        if failure.is_some() || flight.done >= flight.steps.len() {
            let flight = self.flights.remove(choice).expect("it was chosen");
            let result: DiskResult = failure.map_or(Ok(flight.outputs), Err);
            self.handle(StorageEvent::DiskDone { id: flight.id, result });
            for path in core::mem::take(&mut self.disk.late) {
                // Late syncs come true once another action has begun to run.
                if !self.flights.is_empty() {
                    self.disk.sync(&path);
                }
            }
        }
        true
    }

    fn handle(&mut self, event: StorageEvent) {
        self.server.handle(event, self.now);
        self.take_actions();
    }

    fn take_actions(&mut self) {
        while let Some(action) = self.server.poll_action() {
            match action {
                StorageAction::Answer { to, result } => {
                    assert!(self.answers.insert(to, result).is_none(), "one answer each");
                }
                StorageAction::Disk { id, steps } => {
                    self.seen.push(steps.clone());
                    self.flights.push_back(Flight { id, steps, done: 0, outputs: Vec::new() });
                }
                StorageAction::Job { id, job } => {
                    let output = job::run(job, &crate::rsa::NoRsa);
                    self.handle(StorageEvent::JobDone { id, output });
                }
            }
        }
    }

    fn set_time(&mut self, instant: Instant) {
        let passed = instant.since(self.now.instant).as_secs();
        self.now = Now { instant, unix: UnixTime(self.now.unix.0 + passed) };
    }
}
