//! The real disk: carries out [`DiskStep`]s in a node directory laid out as Tahoe-LAFS 1.20 has it.

mod layout;
mod open_files;

use crate::unix::{self, Mode};
use layout::{Layout, share_number};
use open_files::OpenFiles;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tallac_core::disk::{DiskError, DiskFailure, DiskOutput, DiskResult, DiskStep, StorePath};
use tallac_core::payload::Payload;
use tallac_core::storage_index::StorageIndex;

/// What can be chosen about a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskOptions {
    /// Files in progress that stay open between actions.
    pub open_files_max: usize,
}

impl Default for DiskOptions {
    fn default() -> DiskOptions {
        DiskOptions { open_files_max: 256 }
    }
}

/// A node directory. Shared by the threads of a pool, each running one action at a time.
#[derive(Debug)]
pub struct Disk {
    layout: Layout,
    open: OpenFiles,
    /// Directories whose own names are known to be durable. A directory that this process makes is
    /// taken out, so a name is here only if it was synced since the directory was made.
    durable: Mutex<HashSet<PathBuf>>,
    next_temp: AtomicU64,
}

impl Disk {
    /// Opens a node directory that is there.
    ///
    /// # Errors
    /// If it is not there or cannot be opened.
    pub fn open(node_dir: impl AsRef<Path>, options: DiskOptions) -> io::Result<Disk> {
        let node_dir = fs::canonicalize(node_dir)?;
        unix::sync_dir(&node_dir)?;
        Ok(Disk {
            layout: Layout::new(&node_dir),
            open: OpenFiles::new(options.open_files_max),
            durable: Mutex::default(),
            next_temp: AtomicU64::new(0),
        })
    }

    /// Removes what an earlier run left unfinished: shares in progress, spooled plaintext, half
    /// replaced files. To be called before the first action.
    ///
    /// # Errors
    /// If something of this cannot be removed.
    pub fn clean(&self) -> io::Result<()> {
        self.open.forget_all();
        missing_is_fine(fs::remove_dir_all(&self.layout.incoming), ())?;
        for (directory, ours) in [
            (&self.layout.spool, is_spool_name as fn(&str) -> bool),
            (&self.layout.node, is_temp_name),
            (&self.layout.private, is_temp_name),
            (&self.layout.advisories, is_temp_name),
            (&self.layout.redo, is_temp_name),
        ] {
            let Some(entries) = missing_is_fine(fs::read_dir(directory).map(Some), None)? else { continue };
            for entry in entries {
                let entry = entry?;
                if entry.file_name().to_str().is_some_and(ours) {
                    missing_is_fine(fs::remove_file(entry.path()), ())?;
                }
            }
        }
        if self.layout.spool.is_dir() {
            unix::make_private(&self.layout.spool)?;
        }
        Ok(())
    }

    /// Runs steps, one after another, until one fails. Blocks.
    pub fn run(&self, steps: Vec<DiskStep>) -> DiskResult {
        let mut action = Action { disk: self, files: Vec::new(), outputs: Vec::new() };
        for (number, step) in steps.into_iter().enumerate() {
            action.step(step).map_err(|error| DiskFailure { step: number, error: disk_error(&error) })?;
        }
        Ok(action.outputs)
    }

    /// Makes the directories above a file, as far as they are missing.
    fn make_dirs(&self, directory: &Path) -> io::Result<()> {
        let layout = &self.layout;
        let private = [&layout.spool, &layout.private, &layout.redo].into_iter().any(|of| directory == of);
        let mode = if private { Mode::Private } else { Mode::Usual };
        let mut made = unix::create_dir(directory, mode);
        if made.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            self.make_dirs(directory.parent().ok_or(ErrorKind::NotFound)?)?;
            made = unix::create_dir(directory, mode);
        }
        match made {
            Ok(()) => {
                self.durable().remove(directory);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Does something that needs the directories above a file. Another thread may be removing
    /// them, being empty, so it is tried more than once.
    fn with_dirs<T>(&self, file: &Path, mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let directory = file.parent().ok_or(ErrorKind::NotFound)?;
        let mut result = Err(ErrorKind::NotFound.into());
        for _ in 0..TRIES {
            result = act();
            match &result {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                _ => break,
            }
            missing_is_fine(self.make_dirs(directory), ())?;
        }
        result
    }

    /// Removes directories above a file, nearest first, as long as they are empty.
    fn remove_dirs(&self, path: &StorePath, file: &Path) {
        for directory in file.ancestors().skip(1).take(self.layout.kept_only_for(path)) {
            if fs::remove_dir(directory).is_err() {
                return;
            }
        }
    }

    /// Makes a name durable: syncs the directory that has it, and the one that has that directory,
    /// and so on, up to one whose own name is known to be durable.
    fn sync_name(&self, file: &Path) -> io::Result<()> {
        let mut synced = Vec::new();
        for directory in file.ancestors().skip(1) {
            // A directory that was removed with the last name in it: its own name is in the next.
            if !missing_is_fine(unix::sync_dir(directory).map(|()| true), false)? {
                continue;
            }
            if directory == self.layout.node || self.durable().contains(directory) {
                break;
            }
            synced.push(directory);
        }
        // Directories that this process may remove could be made anew just now, unsynced.
        let lasting = synced.into_iter().filter(|directory| !self.layout.is_fleeting(directory));
        self.durable().extend(lasting.map(PathBuf::from));
        Ok(())
    }

    fn replace(&self, path: &StorePath, data: &[u8]) -> io::Result<()> {
        let target = self.layout.file(path);
        let number = self.next_temp.fetch_add(1, Ordering::Relaxed);
        let name = target.file_name().and_then(|name| name.to_str()).ok_or(ErrorKind::InvalidFilename)?;
        let temp = target.with_file_name(format!(".{name}.{number}{TEMP_SUFFIX}"));
        let file = self.with_dirs(&temp, || unix::create(&temp, Mode::Private))?;
        let replaced = unix::write_at(&file, 0, data)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&temp, &target));
        if let Err(error) = replaced {
            // Left behind it would be removed at the next start.
            let _ = fs::remove_file(&temp);
            return Err(error);
        }
        self.sync_name(&target)
    }

    /// Makes a small file that is not there.
    fn make(&self, path: &StorePath, data: &[u8]) -> io::Result<()> {
        let target = self.layout.file(path);
        let directory = target.parent().ok_or(ErrorKind::InvalidFilename)?;
        // A crash leaves a name that is cleared away at the next start.
        let mut temp = tempfile::Builder::new();
        let temp = temp.prefix(".").suffix(TEMP_SUFFIX);
        let mut file = self.with_dirs(&target, || temp.tempfile_in(directory))?;
        file.write_all(data)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(&target)?;
        self.sync_name(&target)
    }

    fn free_space(&self) -> io::Result<u64> {
        let nearest = self.layout.shares.ancestors().find(|directory| directory.is_dir());
        unix::free_space(nearest.unwrap_or(&self.layout.node))
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A list of steps under way.
struct Action<'a> {
    disk: &'a Disk,
    /// Files that stay open until the action ends.
    files: Vec<(StorePath, Arc<File>, Access)>,
    outputs: Vec<DiskOutput>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Access {
    Read,
    Write,
}

impl Action<'_> {
    fn step(&mut self, step: DiskStep) -> io::Result<()> {
        let layout = &self.disk.layout;
        match step {
            DiskStep::Create(path) => {
                let file = layout.file(&path);
                let mode = layout.mode(&path);
                let file = self.disk.with_dirs(&file, || unix::create(&file, mode))?;
                let file =
                    if is_in_progress(&path) { self.disk.open.keep_new(&path, file) } else { Arc::new(file) };
                self.files.push((path, file, Access::Write));
            }
            DiskStep::Write { path, offset, data } => {
                let file = self.file(&path, Access::Write)?;
                unix::write_at(&file, offset, real(&data)?)?;
            }
            DiskStep::Read { path, offset, len } => {
                let bytes = unix::read_at(&*self.file(&path, Access::Read)?, offset, len)?;
                self.outputs.push(DiskOutput::Data(bytes.into()));
            }
            DiskStep::Length(path) => {
                let len = self.file(&path, Access::Read)?.metadata()?.len();
                self.outputs.push(DiskOutput::Length(len));
            }
            DiskStep::Truncate(path, len) => self.file(&path, Access::Write)?.set_len(len)?,
            DiskStep::Sync(path) => {
                let file = self.file(&path, Access::Write)?;
                if is_in_progress(&path) {
                    self.disk.open.sync(&path, &file)?;
                } else {
                    file.sync_data()?;
                }
            }
            DiskStep::Rename(from, to) => {
                let (source, target) = (layout.file(&from), layout.file(&to));
                // A missing source looks like a missing directory of the target.
                fs::symlink_metadata(&source)?;
                self.disk.with_dirs(&target, || fs::rename(&source, &target))?;
                self.forget(&from);
                self.forget(&to);
                self.disk.remove_dirs(&from, &source);
            }
            DiskStep::SyncName(path) => self.disk.sync_name(&layout.file(&path))?,
            DiskStep::Remove(path) => {
                let file = layout.file(&path);
                missing_is_fine(fs::remove_file(&file), ())?;
                self.forget(&path);
                self.disk.remove_dirs(&path, &file);
            }
            DiskStep::ListShares(index) => {
                let shares = list_shares(&layout.shares_of(&index))?;
                self.outputs.push(DiskOutput::Shares(shares));
            }
            DiskStep::ListRedo => {
                // A process that was killed may have removed one, and not durably.
                self.disk.sync_name(&layout.redo.join("any"))?;
                let slots = list_redo(&layout.redo)?;
                self.outputs.push(DiskOutput::Slots(slots));
            }
            DiskStep::FreeSpace => self.outputs.push(DiskOutput::Free(self.disk.free_space()?)),
            DiskStep::Replace(path, data) => {
                self.disk.replace(&path, real(&data)?)?;
                self.forget(&path);
            }
            DiskStep::Make(path, data) => {
                self.disk.make(&path, real(&data)?)?;
                self.forget(&path);
            }
            DiskStep::CountShares => {
                let (shares, bytes) = count_shares(&layout.shares, &layout.incoming)?;
                self.outputs.push(DiskOutput::Stored { shares, bytes });
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &StorePath, access: Access) -> io::Result<Arc<File>> {
        let open = self.files.iter().find(|(of, _, has)| of == path && *has >= access);
        if let Some((_, file, _)) = open {
            return Ok(file.clone());
        }
        let (file, access) = if is_in_progress(path) {
            let file = match self.disk.open.find(path) {
                Some(file) => file,
                None => self.disk.open.keep(path, unix::open(&self.disk.layout.file(path), true)?),
            };
            (file, Access::Write)
        } else {
            (Arc::new(unix::open(&self.disk.layout.file(path), access == Access::Write)?), access)
        };
        self.files.push((path.clone(), file.clone(), access));
        Ok(file)
    }

    fn forget(&mut self, path: &StorePath) {
        self.files.retain(|(of, _, _)| of != path);
        self.disk.open.forget(path);
    }
}

/// How often the directories above a file are made anew while others remove them.
const TRIES: usize = 16;
const TEMP_SUFFIX: &str = ".tallac-new";

/// Written by several actions, so that its handle outlives each of them.
fn is_in_progress(path: &StorePath) -> bool {
    matches!(path, StorePath::Incoming(..) | StorePath::Spool(_))
}

fn is_temp_name(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(TEMP_SUFFIX)
}

fn is_spool_name(name: &str) -> bool {
    name.parse::<u64>().is_ok_and(|number| number.to_string() == name)
}

fn list_shares(directory: &Path) -> io::Result<Vec<u16>> {
    let Some(entries) = missing_is_fine(fs::read_dir(directory).map(Some), None)? else {
        return Ok(Vec::new());
    };
    let mut shares = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some(share) = entry.file_name().to_str().and_then(share_number)
            && entry.file_type()?.is_file()
        {
            shares.push(share);
        }
    }
    shares.sort_unstable();
    Ok(shares)
}

/// How many whole shares there are, and how long their files are together. What vanishes meanwhile does not
/// count.
fn count_shares(directory: &Path, incoming: &Path) -> io::Result<(u64, u64)> {
    let (mut shares, mut bytes) = (0, 0);
    let Some(prefixes) = missing_is_fine(fs::read_dir(directory).map(Some), None)? else {
        return Ok((0, 0));
    };
    for prefix in prefixes {
        let prefix = prefix?.path();
        if prefix == incoming || !prefix.is_dir() {
            continue;
        }
        for index in fs::read_dir(&prefix)?.flatten() {
            let Ok(files) = fs::read_dir(index.path()) else { continue };
            for file in files.flatten() {
                if file.file_name().to_str().and_then(share_number).is_some()
                    && let Ok(metadata) = file.metadata()
                {
                    (shares, bytes) = (shares + 1, bytes + metadata.len());
                }
            }
        }
    }
    Ok((shares, bytes))
}

fn list_redo(directory: &Path) -> io::Result<Vec<StorageIndex>> {
    let Some(entries) = missing_is_fine(fs::read_dir(directory).map(Some), None)? else {
        return Ok(Vec::new());
    };
    let mut slots = Vec::new();
    for entry in entries {
        if let Some(index) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            slots.push(index);
        }
    }
    slots.sort_unstable();
    Ok(slots)
}

fn missing_is_fine<T>(result: io::Result<T>, otherwise: T) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(otherwise),
        result => result,
    }
}

fn real(data: &Payload) -> io::Result<&[u8]> {
    let bytes = data.bytes().ok_or_else(|| io::Error::other("a stand-in has no bytes to write"))?;
    Ok(bytes)
}

/// The error in the core's words. What the system says has no paths in it.
fn disk_error(error: &io::Error) -> DiskError {
    match error.kind() {
        ErrorKind::NotFound => DiskError::NotFound,
        ErrorKind::AlreadyExists => DiskError::Exists,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DiskError::Full,
        ErrorKind::ReadOnlyFilesystem => DiskError::ReadOnly,
        _ => DiskError::Failed(error.to_string()),
    }
}
