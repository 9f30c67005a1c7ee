//! Files in progress, kept open between actions.
//!
//! An operating system tells of a failed write-back once, and to handles that were open when it
//! happened. So a file that is being written keeps its handle until it is synced, renamed or
//! removed. When too many are open, the one unused for longest is synced before it is closed; if
//! that fails, the failure is kept for whoever syncs the file next.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tallac_core::disk::StorePath;

#[derive(Debug)]
pub(super) struct OpenFiles {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<StorePath, Open>,
    /// Files whose content is lost.
    lost: HashSet<StorePath>,
    uses: u64,
}

#[derive(Debug)]
struct Open {
    file: Arc<File>,
    used: u64,
}

impl OpenFiles {
    pub(super) fn new(max: usize) -> OpenFiles {
        OpenFiles { max: max.max(1), state: Mutex::default() }
    }

    pub(super) fn find(&self, path: &StorePath) -> Option<Arc<File>> {
        let mut state = self.lock();
        state.uses += 1;
        let uses = state.uses;
        let open = state.files.get_mut(path)?;
        open.used = uses;
        Some(open.file.clone())
    }

    /// Keeps a file that was just opened. If another thread was faster, its handle is the one.
    pub(super) fn keep(&self, path: &StorePath, file: File) -> Arc<File> {
        let mut state = self.lock();
        if state.files.len() >= self.max && !state.files.contains_key(path) {
            state.close_one();
        }
        state.uses += 1;
        let used = state.uses;
        state.files.entry(path.clone()).or_insert_with(|| Open { file: Arc::new(file), used }).file.clone()
    }

    /// Keeps a file that was just made: nothing that was known of its name holds any longer.
    pub(super) fn keep_new(&self, path: &StorePath, file: File) -> Arc<File> {
        self.forget(path);
        self.keep(path, file)
    }

    pub(super) fn forget(&self, path: &StorePath) {
        let mut state = self.lock();
        state.files.remove(path);
        state.lost.remove(path);
    }

    pub(super) fn forget_all(&self) {
        *self.lock() = State::default();
    }

    /// Syncs a file. Once that has failed it fails for good.
    pub(super) fn sync(&self, path: &StorePath, file: &File) -> io::Result<()> {
        if self.lock().lost.contains(path) {
            return Err(io::Error::other("the file could not be synced before"));
        }
        file.sync_data().inspect_err(|_| {
            self.lock().lost.insert(path.clone());
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Under the lock, so that nobody syncs the file through a new handle before the outcome of
    /// this sync is known.
    fn close_one(&mut self) {
        let oldest = self.files.iter().min_by_key(|(_, open)| open.used).map(|(path, _)| path.clone());
        let Some(oldest) = oldest else { return };
        if let Some(open) = self.files.remove(&oldest)
            && open.file.sync_data().is_err()
        {
            self.lost.insert(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that cannot be synced: the system refuses it for what is no file.
    fn broken() -> File {
        File::open("/dev/null").expect("every Unix has it")
    }

    #[test]
    fn a_failed_sync_stays_failed() {
        let files = OpenFiles::new(4);
        let path = StorePath::Spool(1);
        let file = files.keep_new(&path, broken());
        assert!(files.sync(&path, &file).is_err());
        let good = tempfile::tempfile().expect("a temporary file");
        assert!(files.sync(&path, &good).is_err(), "another handle proves nothing");
        assert!(files.sync(&StorePath::Spool(2), &good).is_ok());
        // Until the name is another file's.
        let file = files.keep_new(&path, good);
        assert!(files.sync(&path, &file).is_ok());
    }

    #[test]
    fn what_fails_when_it_is_closed_is_told_later() {
        let files = OpenFiles::new(1);
        files.keep_new(&StorePath::Spool(1), broken());
        files.keep_new(&StorePath::Spool(2), tempfile::tempfile().expect("a temporary file"));
        assert!(files.find(&StorePath::Spool(1)).is_none());
        let again = files.keep(&StorePath::Spool(1), tempfile::tempfile().expect("a temporary file"));
        assert!(files.sync(&StorePath::Spool(1), &again).is_err());
    }
}
