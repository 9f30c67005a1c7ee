//! What has been copied, so that a copy can be taken up again and done again.
//!
//! `private/copied.redb` maps the absolute path of a local file to the state the file was in and to the
//! capability of its content, whichever way that was copied. It is a convenience: without it, or if it
//! cannot be used, everything is copied anew. Several commands may use it at the same time.

use crate::drive::cap::CapText;
use anyhow::{Context, Result};
use redb::backends::FileBackend;
use redb::{ConcurrencyMode, Database, ReadableDatabase, TableDefinition, TableError};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tallac_host::unix::{self, FileState, Mode};

const FILE: &str = "copied.redb";
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("copied");
/// The first byte of an entry: what follows are five numbers of 8 bytes, little-endian (size, modified,
/// changed, inode, device), and the capability.
const FORM: u8 = 1;
/// New entries that are kept in memory, and for how long: what is lost of them when the program is killed
/// is copied again.
const PENDING_MAX: usize = 256;
const PENDING_AGE_MAX: Duration = Duration::from_secs(1);
/// Entries that are looked at when those of files that are gone are forgotten.
const LOOKED_AT_MAX: usize = 200_000;
/// The memory the database uses for its pages.
const CACHE: usize = 16 * 1024 * 1024;

/// The record of a node directory. Shared by all workers.
pub(crate) struct Record {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    open: Option<Database>,
    pending: Vec<(Vec<u8>, Vec<u8>)>,
    written: Instant,
    /// After a failure the record is left alone.
    given_up: bool,
}

impl Record {
    pub(crate) fn of(directory: &Path) -> Record {
        let inner = Inner { open: None, pending: Vec::new(), written: Instant::now(), given_up: false };
        Record { path: directory.join("private").join(FILE), inner: Mutex::new(inner) }
    }

    /// The capability of a file's content, if the file is as it was when that was noted.
    pub(crate) fn known(&self, path: &Path, state: &FileState) -> Option<CapText> {
        let mut inner = self.lock();
        let found = self.using(&mut inner, |database| {
            let transaction = database.begin_read()?;
            let table = match transaction.open_table(TABLE) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            Ok(table.get(path.as_os_str().as_bytes())?.and_then(|entry| decode(entry.value())))
        });
        found.flatten().filter(|(noted, _)| noted == state).map(|(_, cap)| cap)
    }

    /// Notes the capability of a file's content.
    pub(crate) fn note(&self, path: &Path, state: &FileState, cap: &CapText) {
        let mut inner = self.lock();
        inner.pending.push((path.as_os_str().as_bytes().to_vec(), encode(state, cap)));
        if inner.pending.len() >= PENDING_MAX || inner.written.elapsed() >= PENDING_AGE_MAX {
            self.write(&mut inner);
        }
    }

    /// Writes what has been noted.
    pub(crate) fn save(&self) {
        self.write(&mut self.lock());
    }

    /// Forgets the files below a directory that are not there any more, as far as the work is bounded.
    pub(crate) fn forget_missing(&self, directory: &Path) {
        let mut inner = self.lock();
        self.write(&mut inner);
        let mut first = directory.as_os_str().as_bytes().to_vec();
        if first.last() != Some(&b'/') {
            first.push(b'/');
        }
        // What begins so is less than what ends with the character after the slash.
        let mut end = first.clone();
        end.pop();
        end.push(b'/' + 1);
        self.using(&mut inner, |database| {
            let mut gone = Vec::new();
            let transaction = database.begin_read()?;
            let table = match transaction.open_table(TABLE) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(()),
                table => table?,
            };
            for entry in table.range(first.as_slice()..end.as_slice())?.take(LOOKED_AT_MAX) {
                let (path, _) = entry?;
                let file = fs::symlink_metadata(OsStr::from_bytes(path.value()));
                if file.is_err_and(|error| {
                    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
                }) {
                    gone.push(path.value().to_vec());
                }
            }
            drop(table);
            drop(transaction);
            if gone.is_empty() {
                return Ok(());
            }
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(TABLE)?;
                for path in &gone {
                    table.remove(path.as_slice())?;
                }
            }
            Ok(transaction.commit()?)
        });
    }

    fn write(&self, inner: &mut Inner) {
        inner.written = Instant::now();
        let pending = std::mem::take(&mut inner.pending);
        if pending.is_empty() {
            return;
        }
        self.using(inner, |database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(TABLE)?;
                for (path, entry) in &pending {
                    table.insert(path.as_slice(), entry.as_slice())?;
                }
            }
            Ok(transaction.commit()?)
        });
    }

    /// Does something with the database, which is opened if need be.
    fn using<T>(&self, inner: &mut Inner, act: impl FnOnce(&Database) -> Result<T>) -> Option<T> {
        if inner.given_up {
            return None;
        }
        let opened = match inner.open.take() {
            Some(database) => Ok(database),
            None => self.open(),
        };
        let done = opened.and_then(|database| act(inner.open.insert(database)));
        done.inspect_err(|error| {
            inner.given_up = true;
            eprintln!(
                "The record of what has been copied cannot be used ({error:#}); all is copied anew. If this comes \
                 again, remove {}.",
                self.path.display()
            );
        })
        .ok()
    }

    fn open(&self) -> Result<Database> {
        let file = match unix::create(&self.path, Mode::Private) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                File::options().read(true).write(true).open(&self.path)
            }
            made => made,
        };
        let file = file.with_context(|| format!("opening {}", self.path.display()))?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE).set_concurrency_mode(ConcurrencyMode::MultiWriter);
        Ok(builder.create_with_backend(FileBackend::new(file)?)?)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

fn encode(state: &FileState, cap: &CapText) -> Vec<u8> {
    let FileState { size, modified_ns, changed_ns, inode, device } = *state;
    let mut entry = vec![FORM];
    for number in [size, modified_ns as u64, changed_ns as u64, inode, device] {
        entry.extend_from_slice(&number.to_le_bytes());
    }
    entry.extend_from_slice(cap.expose().as_bytes());
    entry
}

fn decode(entry: &[u8]) -> Option<(FileState, CapText)> {
    let (&FORM, mut rest) = entry.split_first()? else { return None };
    let mut number = || {
        let (bytes, after) = rest.split_first_chunk::<8>()?;
        rest = after;
        Some(u64::from_le_bytes(*bytes))
    };
    let state = FileState {
        size: number()?,
        modified_ns: number()? as i64,
        changed_ns: number()? as i64,
        inode: number()?,
        device: number()?,
    };
    Some((state, CapText::told(std::str::from_utf8(rest).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    fn directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("private")).unwrap();
        dir
    }

    fn state(inode: u64) -> FileState {
        FileState { size: 5, modified_ns: -7, changed_ns: i64::MAX, inode, device: 3 }
    }

    #[test]
    fn what_was_noted_is_known_until_the_file_changes() {
        let dir = directory();
        let cap = CapText::told("URI:LIT:krugkidfnzsa");
        let record = Record::of(dir.path());
        assert!(record.known(Path::new("/a"), &state(1)).is_none());
        record.note(Path::new("/a"), &state(1), &cap);
        record.save();
        let again = Record::of(dir.path());
        assert_eq!(again.known(Path::new("/a"), &state(1)), Some(cap));
        assert!(again.known(Path::new("/a"), &state(2)).is_none());
        assert!(again.known(Path::new("/b"), &state(1)).is_none());
        let mode = fs::metadata(dir.path().join("private").join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn files_that_are_gone_are_forgotten() {
        let dir = directory();
        let record = Record::of(dir.path());
        let top = dir.path().join("tree");
        fs::create_dir(&top).unwrap();
        fs::write(top.join("there"), "").unwrap();
        let paths = ["tree/there", "tree/gone", "tree/there/below a file", "tree2", "tree0", "tre"];
        let known = |record: &Record, path: &str| record.known(&dir.path().join(path), &state(1)).is_some();
        for path in paths {
            record.note(&dir.path().join(path), &state(1), &CapText::told("URI:LIT:aa"));
        }
        record.forget_missing(&top);
        let kept: Vec<_> = paths.into_iter().filter(|path| known(&record, path)).collect();
        assert_eq!(kept, ["tree/there", "tree2", "tree0", "tre"]);
        record.forget_missing(Path::new("/"));
        let kept: Vec<_> = paths.into_iter().filter(|path| known(&record, path)).collect();
        assert_eq!(kept, ["tree/there"]);
    }

    #[test]
    fn several_use_it_at_once() {
        let dir = directory();
        std::thread::scope(|scope| {
            for command in 0..3u64 {
                let dir = dir.path();
                scope.spawn(move || {
                    let record = Record::of(dir);
                    for index in 0..1_000 {
                        let path = PathBuf::from(format!("/{command}/{index}"));
                        record.note(&path, &state(command), &CapText::told("URI:LIT:aa"));
                    }
                    record.save();
                });
            }
        });
        let record = Record::of(dir.path());
        for command in 0..3 {
            for index in 0..1_000 {
                let path = PathBuf::from(format!("/{command}/{index}"));
                assert!(record.known(&path, &state(command)).is_some(), "{command} {index}");
            }
        }
    }

    #[test]
    fn a_damaged_record_is_done_without() {
        let dir = directory();
        fs::write(dir.path().join("private").join(FILE), vec![b'x'; 10_000]).unwrap();
        let record = Record::of(dir.path());
        record.note(Path::new("/a"), &state(1), &CapText::told("URI:LIT:aa"));
        record.save();
        assert!(record.known(Path::new("/a"), &state(1)).is_none());
    }

    proptest! {
        #[test]
        fn entries_are_read_as_written(numbers: [u64; 5], cap in "URI:[a-z0-9:]{0,40}") {
            let [size, modified, changed, inode, device] = numbers;
            let (modified_ns, changed_ns) = (modified as i64, changed as i64);
            let state = FileState { size, modified_ns, changed_ns, inode, device };
            let entry = encode(&state, &CapText::told(&cap));
            prop_assert_eq!(decode(&entry), Some((state, CapText::told(&cap))));
            for len in 0..41 {
                prop_assert!(decode(&entry[..len]).is_none());
            }
        }
    }
}
