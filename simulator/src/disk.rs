//! A disk that forgets what was not synced.
//!
//! Content and names are kept apart, as on a real file system. What is written can be read at once;
//! after a power cut each 4 KiB block written since the last sync is there, is not, or is there in
//! part, and each change of a name since that name was synced is there or not. A change of a name
//! (a rename included) happens whole or not at all.

mod fate;
mod file;
mod rope;
mod settings;

use crate::chance::Chance;
use crate::stand_in;
use core::ops::Range;
pub use fate::{BlockFate, EveryFate, Fate};
use file::File;
pub use settings::{Damage, DiskSettings, Lie, Refused};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use tallac_core::disk::{DiskError, DiskOutput, DiskStep, StorePath};
use tallac_core::payload::Payload;
use tallac_core::storage::container::{HEADER_LEN, LEASE_LEN};
use tallac_core::storage_index::StorageIndex;

type FileNumber = u64;

#[derive(Clone, PartialEq, Eq, Debug)]
enum NameChange {
    Made(StorePath, FileNumber),
    Moved(StorePath, StorePath, FileNumber),
    Removed(StorePath),
}

impl NameChange {
    fn concerns(&self, directory: &Directory) -> bool {
        match self {
            NameChange::Made(path, _) | NameChange::Removed(path) => Directory::of(path) == *directory,
            NameChange::Moved(from, to, _) => {
                Directory::of(from) == *directory || Directory::of(to) == *directory
            }
        }
    }

    fn apply(&self, names: &mut BTreeMap<StorePath, FileNumber>) {
        match self {
            NameChange::Made(path, file) => {
                names.insert(path.clone(), *file);
            }
            NameChange::Moved(from, to, file) => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
            NameChange::Removed(path) => {
                names.remove(path);
            }
        }
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Directory {
    Shares(StorageIndex),
    Incoming(StorageIndex),
    Redo,
    Advisories,
    Spool,
    Private,
}

impl Directory {
    fn of(path: &StorePath) -> Directory {
        match path {
            StorePath::Share(index, _) => Directory::Shares(*index),
            StorePath::Incoming(index, _) => Directory::Incoming(*index),
            StorePath::Redo(_) => Directory::Redo,
            StorePath::Advisory(..) => Directory::Advisories,
            StorePath::Spool(_) => Directory::Spool,
            StorePath::AnnouncementCache
            | StorePath::AnnouncementSequence
            | StorePath::VdriveRoot
            | StorePath::SharedRoot
            | StorePath::PersonalRoot => Directory::Private,
        }
    }
}

/// Where the data of an immutable share lie in its file.
fn data_range(file: &File) -> Option<Range<u64>> {
    let header = file.read(0, HEADER_LEN);
    let ([0, 0, 0, 1 | 2], rest) = header.bytes()?.split_first_chunk()? else { return None };
    let end = HEADER_LEN + u64::from(u32::from_be_bytes(*rest.first_chunk()?));
    (end <= file.len()).then_some(HEADER_LEN..end)
}

/// The disk of one node. A copy of it is a backup.
#[derive(Clone)]
pub struct Disk {
    settings: DiskSettings,
    chance: Chance,
    files: BTreeMap<FileNumber, File>,
    next_file: FileNumber,
    names: BTreeMap<StorePath, FileNumber>,
    durable_names: BTreeMap<StorePath, FileNumber>,
    name_changes: Vec<NameChange>,
    used: u64,
    refused: Refused,
    /// The next write to a share in progress lands somewhere else.
    misdirects: bool,
    /// Files that such writes landed in: not theirs, and no loss to them.
    strayed_into: BTreeSet<FileNumber>,
}

impl Disk {
    /// An empty disk.
    pub fn new(settings: DiskSettings, chance: Chance) -> Disk {
        Disk {
            settings,
            chance,
            files: BTreeMap::new(),
            next_file: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            used: 0,
            refused: Refused::default(),
            misdirects: false,
            strayed_into: BTreeSet::new(),
        }
    }

    /// Its settings, to be changed at any time.
    pub fn settings_mut(&mut self) -> &mut DiskSettings {
        &mut self.settings
    }

    /// The files there are now, and their lengths.
    pub fn list(&self) -> impl Iterator<Item = (&StorePath, u64)> {
        self.names.iter().map(|(path, file)| (path, self.files[file].len()))
    }

    /// The content of a file now. Of stand-ins, what they stand for.
    pub fn content(&self, path: &StorePath) -> Option<Cow<'_, [u8]>> {
        Some(self.files[self.names.get(path)?].content())
    }

    /// Changes a file behind everybody's back, name and content durable: rotten bits, a share put
    /// where it does not belong. `None` removes it.
    pub fn tamper(&mut self, path: &StorePath, content: Option<Vec<u8>>) {
        self.name_changes.retain(|change| !change.concerns(&Directory::of(path)));
        match content {
            Some(content) => {
                let before = self.names.get(path).map(|number| self.files[number].read(0, u64::MAX));
                let content = stand_in::altered(&before.unwrap_or_default(), content);
                let number = self.new_file(File::durable(content));
                self.used += self.files[&number].room();
                self.bind(path.clone(), number);
                self.durable_names.insert(path.clone(), number);
            }
            None => {
                self.names.remove(path);
                self.durable_names.remove(path);
                self.collect();
            }
        }
    }

    /// Whether a file would be there after a power cut now, with these bytes as they are.
    pub fn is_durable(&self, path: &StorePath, range: Range<u64>) -> bool {
        let durable = self.durable_names.get(path);
        durable.is_some()
            && durable == self.names.get(path)
            && durable.is_some_and(|f| self.files[f].is_durable(range))
    }

    /// Whether the data of a whole share would be there after a power cut now. Its leases need not.
    pub fn keeps_share(&self, index: StorageIndex, share: u16) -> bool {
        let path = StorePath::Share(index, share);
        let Some(file) = self.names.get(&path).map(|number| &self.files[number]) else { return false };
        let field = stand_in::bytes_of(&file.read(8, 4));
        let leases = field.first_chunk().map_or(0, |field| u64::from(u32::from_be_bytes(*field)) * LEASE_LEN);
        self.is_durable(&path, HEADER_LEN..file.len().saturating_sub(leases).max(HEADER_LEN))
    }

    /// Has the next write to a share in progress land in another file, at the same place, and be
    /// reported done.
    pub fn misdirect(&mut self) {
        self.misdirects = true;
    }

    /// Takes the content of another disk, a backup of this one. What was refused stays counted.
    pub fn restore(&mut self, backup: Disk) {
        let (settings, refused) = (self.settings.clone(), self.refused);
        *self = Disk { settings, refused, ..backup };
    }

    /// Everything is gone, as on a new disk.
    pub fn wipe(&mut self) {
        let chance = self.chance.clone();
        self.restore(Disk::new(self.settings.clone(), chance));
    }

    /// What it refused to do.
    pub fn refused(&self) -> Refused {
        self.refused
    }

    /// Bytes that files take up, in blocks.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// What the host does before a node starts: what was in progress goes away.
    pub fn clean(&mut self) {
        let of_no_use = |path: &&StorePath| matches!(path, StorePath::Incoming(..) | StorePath::Spool(_));
        for path in self.names.keys().filter(of_no_use).cloned().collect::<Vec<_>>() {
            self.names.remove(&path);
            self.name_changes.push(NameChange::Removed(path));
        }
        self.collect();
    }

    /// The power fails: what was not synced is kept or lost as it happens.
    pub fn power_cut(&mut self) -> Damage {
        let mut chance = self.chance.clone();
        let damage = self.power_cut_by(&mut chance);
        self.chance = chance;
        damage
    }

    /// The power fails, and somebody else decides what is kept.
    pub fn power_cut_by(&mut self, fate: &mut impl Fate) -> Damage {
        let mut damage = Damage::default();
        for change in core::mem::take(&mut self.name_changes) {
            if fate.keeps_name() {
                change.apply(&mut self.durable_names);
            } else {
                damage.names_lost += 1;
            }
        }
        self.names = self.durable_names.clone();
        let doubtful: Vec<(FileNumber, Payload)> = (self.names.iter())
            .filter(|(path, _)| matches!(path, StorePath::Share(..)))
            .filter(|(_, number)| !self.strayed_into.contains(number))
            .map(|(_, number)| (*number, &self.files[number]))
            .filter(|(_, file)| !file.is_durable(0..file.len()))
            .filter_map(|(number, file)| {
                let Range { start, end } = data_range(file)?;
                Some((number, file.read(start, end - start)))
            })
            .collect();
        if fate.is_thrifty() {
            self.collect();
        }
        for file in self.files.values_mut() {
            file.power_cut(fate, &mut damage);
        }
        for (number, data) in doubtful {
            let now = self.files[&number].read(HEADER_LEN, data.len());
            damage.shares_torn += u64::from(!stand_in::is_same(&now, &data));
        }
        self.collect();
        damage
    }

    /// Runs one step. A lying disk's `Sync` is remembered by the world, which calls
    /// [`Disk::settle`] later.
    pub(crate) fn run(&mut self, step: DiskStep) -> Result<Option<DiskOutput>, DiskError> {
        match step {
            DiskStep::Create(path) => {
                if self.names.contains_key(&path) {
                    return Err(DiskError::Exists);
                }
                let number = self.new_file(File::default());
                self.names.insert(path.clone(), number);
                self.name_changes.push(NameChange::Made(path, number));
                Ok(None)
            }
            DiskStep::Write { path, offset, data } => self.write(&path, offset, data).map(|()| None),
            DiskStep::Read { path, offset, len } => {
                let failures = self.settings.read_failures;
                if failures > 0 && self.chance.one_in(failures) {
                    self.refused.reads += 1;
                    return Err(DiskError::Failed("input/output error".into()));
                }
                let len = self.shortened(&path, len);
                Ok(Some(DiskOutput::Data(self.file(&path)?.read(offset, len))))
            }
            DiskStep::Length(path) => Ok(Some(DiskOutput::Length(self.file(&path)?.len()))),
            DiskStep::Truncate(path, len) => {
                let file = self.file(&path)?;
                let before = file.room();
                file.truncate(len);
                let after = file.room();
                self.used = self.used - before + after;
                Ok(None)
            }
            DiskStep::Sync(path) => {
                let failures = self.settings.sync_failures;
                let fails = failures > 0 && self.chance.one_in(failures);
                let lie = self.settings.lie;
                let file = self.file(&path)?;
                if fails {
                    file.sync_failed();
                    self.refused.syncs += 1;
                    return Err(DiskError::Failed("input/output error".into()));
                }
                if matches!(lie, Lie::None | Lie::NoNameSync) {
                    file.sync();
                }
                Ok(None)
            }
            DiskStep::SyncName(path) => {
                if matches!(self.settings.lie, Lie::None | Lie::NoContentSync) {
                    self.sync_directory(&Directory::of(&path));
                }
                Ok(None)
            }
            DiskStep::Rename(from, to) => {
                let number = self.names.remove(&from).ok_or(DiskError::NotFound)?;
                self.bind(to.clone(), number);
                self.name_changes.push(NameChange::Moved(from, to, number));
                Ok(None)
            }
            DiskStep::Remove(path) => {
                if self.names.remove(&path).is_some() {
                    self.name_changes.push(NameChange::Removed(path));
                    self.collect();
                }
                Ok(None)
            }
            DiskStep::ListShares(index) => {
                let range = StorePath::Share(index, 0)..=StorePath::Share(index, u16::MAX);
                let shares = self.names.range(range).filter_map(|(path, _)| match path {
                    StorePath::Share(_, share) => Some(*share),
                    _ => None,
                });
                Ok(Some(DiskOutput::Shares(shares.collect())))
            }
            DiskStep::ListRedo => {
                if matches!(self.settings.lie, Lie::None | Lie::NoContentSync) {
                    self.sync_directory(&Directory::Redo);
                }
                let slots = self.names.keys().filter_map(|path| match path {
                    StorePath::Redo(index) => Some(*index),
                    _ => None,
                });
                Ok(Some(DiskOutput::Slots(slots.collect())))
            }
            DiskStep::FreeSpace => {
                Ok(Some(DiskOutput::Free(self.settings.capacity.saturating_sub(self.used))))
            }
            DiskStep::Replace(path, data) => {
                let content = data.bytes().ok_or(DiskError::Failed("no bytes".into()))?.to_vec();
                if self.used + content.len() as u64 > self.settings.capacity {
                    return Err(DiskError::Full);
                }
                self.tamper(&path, Some(content));
                Ok(None)
            }
            DiskStep::Make(path, data) => {
                if self.names.contains_key(&path) {
                    return Err(DiskError::Exists);
                }
                self.run(DiskStep::Replace(path, data))
            }
            DiskStep::CountShares => {
                let shares = self.names.keys().filter(|path| matches!(path, StorePath::Share(..)));
                Ok(Some(DiskOutput::Stored { shares: shares.count() as u64, bytes: self.used }))
            }
        }
    }

    /// What a lying disk reported done long ago becomes durable.
    pub(crate) fn settle(&mut self, step: &DiskStep) {
        match step {
            DiskStep::Sync(path) => {
                // The file may have another name by now; its number would do, but a share in
                // progress has only one other name it can have.
                let renamed = match path {
                    StorePath::Incoming(index, share) => StorePath::Share(*index, *share),
                    other => other.clone(),
                };
                for path in [path, &renamed] {
                    if let Ok(file) = self.file(path) {
                        file.sync();
                    }
                }
            }
            DiskStep::SyncName(path) => self.sync_directory(&Directory::of(path)),
            _ => {}
        }
    }

    fn write(&mut self, path: &StorePath, offset: u64, data: Payload) -> Result<(), DiskError> {
        let fails = self.settings.write_failures > 0 && self.chance.one_in(self.settings.write_failures);
        let free = self.settings.capacity.saturating_sub(self.used);
        let elsewhere = self.elsewhere(path);
        let file = self.file(elsewhere.as_ref().unwrap_or(path))?;
        if fails {
            self.refused.writes += 1;
            return Err(DiskError::Failed("input/output error".into()));
        }
        let grows = file.room_with(offset, data.len()) - file.room();
        if grows > free {
            self.refused.full += 1;
            return Err(DiskError::Full);
        }
        file.write(offset, data);
        self.used += grows;
        Ok(())
    }

    /// How much of a read is carried out. A whole share may seem to end early: nobody who carries reads out
    /// takes the end of a file for anything else.
    fn shortened(&mut self, path: &StorePath, len: u64) -> u64 {
        let rate = self.settings.short_reads;
        if rate == 0 || len == 0 || !matches!(path, StorePath::Share(..)) || !self.chance.one_in(rate) {
            return len;
        }
        self.refused.short += 1;
        self.chance.below(len)
    }

    /// Where a write goes, if not where it should.
    fn elsewhere(&mut self, path: &StorePath) -> Option<StorePath> {
        if !self.misdirects || !matches!(path, StorePath::Incoming(..)) {
            return None;
        }
        let is_share = |path: &&StorePath| matches!(path, StorePath::Share(..) | StorePath::Incoming(..));
        let others: Vec<StorePath> =
            self.names.keys().filter(is_share).filter(|other| *other != path).cloned().collect();
        if others.is_empty() {
            return None;
        }
        self.misdirects = false;
        self.refused.misdirected += 1;
        let other = self.chance.pick(&others).clone();
        self.strayed_into.extend(self.names.get(&other));
        Some(other)
    }

    fn sync_directory(&mut self, directory: &Directory) {
        let (now, later) = core::mem::take(&mut self.name_changes)
            .into_iter()
            .partition::<Vec<_>, _>(|change| change.concerns(directory));
        now.iter().for_each(|change| change.apply(&mut self.durable_names));
        self.name_changes = later;
        // What has durably moved away is not under its first name any more, and need not be kept for it.
        for change in &now {
            if let NameChange::Moved(from, _, file) = change {
                let made = NameChange::Made(from.clone(), *file);
                let moved = self.name_changes.iter_mut().filter(|change| **change == made);
                moved.for_each(|change| *change = NameChange::Removed(from.clone()));
            }
        }
        self.collect();
    }

    fn file(&mut self, path: &StorePath) -> Result<&mut File, DiskError> {
        let number = self.names.get(path).ok_or(DiskError::NotFound)?;
        Ok(self.files.get_mut(number).expect("a name is of a file"))
    }

    fn new_file(&mut self, file: File) -> FileNumber {
        let number = self.next_file;
        self.next_file += 1;
        self.files.insert(number, file);
        number
    }

    fn bind(&mut self, path: StorePath, number: FileNumber) {
        if self.names.insert(path, number).is_some() {
            self.collect();
        }
    }

    /// Drops the files that no name leads to, now or after a power cut.
    fn collect(&mut self) {
        let mut named: Vec<FileNumber> =
            self.names.values().chain(self.durable_names.values()).copied().collect();
        named.extend(self.name_changes.iter().filter_map(|change| match change {
            NameChange::Made(_, file) | NameChange::Moved(_, _, file) => Some(*file),
            NameChange::Removed(_) => None,
        }));
        named.sort_unstable();
        self.files.retain(|number, _| named.binary_search(number).is_ok());
        // Space counts while the node can still see the file.
        self.used = self.names.values().map(|number| self.files[number].room()).sum();
    }
}

#[cfg(test)]
mod tests;
