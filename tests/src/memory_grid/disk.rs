//! The disks of a memory grid.

use std::collections::{BTreeMap, VecDeque};
use tallac_core::disk::{DiskError, DiskFailure, DiskOutput, DiskResult, DiskStep, StorePath};
use tallac_core::storage_index::StorageIndex;

/// What is wrong with a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// No byte more fits, whatever it says of its free space.
    Full,
    /// Nothing can be written.
    ReadOnly,
    /// Nothing works.
    Failing,
    /// What syncs, fails.
    Unsyncable,
    /// What makes names last, fails.
    ForgetfulOfNames,
}

/// A disk made of a map: nothing survives a crash, so nothing needs to be synced.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    /// The files.
    pub files: BTreeMap<StorePath, Vec<u8>>,
    /// What is wrong with it.
    pub fault: Option<Fault>,
    /// What it says is free.
    pub free: u64,
}

impl Default for MemoryDisk {
    fn default() -> MemoryDisk {
        MemoryDisk { files: BTreeMap::new(), fault: None, free: 1 << 40 }
    }
}

/// A disk action under way.
#[derive(Debug)]
pub(super) struct DiskRun {
    steps: VecDeque<DiskStep>,
    done: usize,
    outputs: Vec<DiskOutput>,
}

impl DiskRun {
    pub(super) fn new(steps: Vec<DiskStep>) -> DiskRun {
        DiskRun { steps: steps.into(), done: 0, outputs: Vec::new() }
    }
}

impl MemoryDisk {
    /// The containers of whole shares.
    pub fn shares(&mut self) -> impl Iterator<Item = (u16, &mut Vec<u8>)> {
        self.files.iter_mut().filter_map(|(path, file)| match path {
            StorePath::Share(_, share) => Some((*share, file)),
            _ => None,
        })
    }

    /// Puts a mutable share there, in a container without leases, in place of what was there.
    pub fn place(&mut self, index: StorageIndex, share: u16, data: &[u8]) {
        self.files.insert(StorePath::Share(index, share), super::slot_container(data));
    }

    /// Runs steps as a runtime would.
    pub fn run(&mut self, steps: Vec<DiskStep>) -> DiskResult {
        let mut run = DiskRun::new(steps);
        loop {
            if let Some(result) = self.go_on(&mut run) {
                return result;
            }
        }
    }

    /// Does the next step of a disk action, as a runtime would; gives how it ended, once it has.
    pub(super) fn go_on(&mut self, run: &mut DiskRun) -> Option<DiskResult> {
        if let Some(todo) = run.steps.pop_front() {
            let step = run.done;
            match self.step(todo) {
                Ok(output) => run.outputs.extend(output),
                Err(error) => return Some(Err(DiskFailure { step, error })),
            }
            run.done += 1;
        }
        run.steps.is_empty().then(|| Ok(std::mem::take(&mut run.outputs)))
    }

    fn step(&mut self, step: DiskStep) -> Result<Option<DiskOutput>, DiskError> {
        use DiskStep::*;
        let writes =
            matches!(step, Create(_) | Write { .. } | Truncate(..) | Rename(..) | Replace(..) | Make(..));
        match self.fault {
            Some(Fault::Full) if writes => return Err(DiskError::Full),
            Some(Fault::ReadOnly) if writes => return Err(DiskError::ReadOnly),
            Some(Fault::Failing) => return Err(DiskError::Failed("the disk is broken".into())),
            Some(Fault::Unsyncable) if matches!(step, Sync(_) | SyncName(_)) => {
                return Err(DiskError::Failed("the disk does not sync".into()));
            }
            Some(Fault::ForgetfulOfNames) if matches!(step, SyncName(_)) => {
                return Err(DiskError::Failed("the disk does not sync directories".into()));
            }
            _ => {}
        }
        match step {
            Create(path) => {
                if self.files.contains_key(&path) {
                    return Err(DiskError::Exists);
                }
                self.files.insert(path, Vec::new());
            }
            Write { path, offset, data } => {
                let (start, end) = (offset as usize, (offset + data.len()) as usize);
                assert!(end < 1 << 30, "nobody should have been let to write there");
                let file = self.file(&path)?;
                file.resize(file.len().max(end), 0);
                file[start..end].copy_from_slice(data.bytes().expect("real bytes"));
            }
            Read { path, offset, len } => {
                let file = self.file(&path)?;
                let start = usize::try_from(offset).map_or(file.len(), |offset| offset.min(file.len()));
                let end = start.saturating_add(len as usize).min(file.len());
                return Ok(Some(DiskOutput::Data(file[start..end].to_vec().into())));
            }
            Length(path) => return Ok(Some(DiskOutput::Length(self.file(&path)?.len() as u64))),
            Truncate(path, len) => self.file(&path)?.resize(len as usize, 0),
            Rename(from, to) => {
                let file = self.files.remove(&from).ok_or(DiskError::NotFound)?;
                self.files.insert(to, file);
            }
            Remove(path) => drop(self.files.remove(&path)),
            ListShares(wanted) => {
                let shares = self.files.keys().filter_map(|path| match path {
                    StorePath::Share(index, share) if *index == wanted => Some(*share),
                    _ => None,
                });
                return Ok(Some(DiskOutput::Shares(shares.collect())));
            }
            ListRedo => {
                let slots = self.files.keys().filter_map(|path| match path {
                    StorePath::Redo(index) => Some(*index),
                    _ => None,
                });
                return Ok(Some(DiskOutput::Slots(slots.collect())));
            }
            FreeSpace => return Ok(Some(DiskOutput::Free(self.free))),
            Replace(path, data) => {
                self.files.insert(path, data.bytes().expect("real bytes").to_vec());
            }
            Make(path, data) => {
                if self.files.contains_key(&path) {
                    return Err(DiskError::Exists);
                }
                self.files.insert(path, data.bytes().expect("real bytes").to_vec());
            }
            CountShares => {
                let stored = self.files.iter().filter(|(path, _)| matches!(path, StorePath::Share(..)));
                let (shares, bytes) =
                    stored.fold((0, 0), |(shares, bytes), (_, file)| (shares + 1, bytes + file.len() as u64));
                return Ok(Some(DiskOutput::Stored { shares, bytes }));
            }
            Sync(path) => drop(self.file(&path)?),
            SyncName(_) => {}
        }
        Ok(None)
    }

    fn file(&mut self, path: &StorePath) -> Result<&mut Vec<u8>, DiskError> {
        self.files.get_mut(path).ok_or(DiskError::NotFound)
    }
}
