//! Files of this machine that are written whole or not at all.

use anyhow::{Context, Result};
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
use tallac_host::unix::{self, Mode};
use tempfile::NamedTempFile;

/// What the names of files begin with that are not yet whole.
const PREFIX: &str = ".tallac-part-";
/// How long such a file must have rested before it counts as left over.
const LEFT_AFTER: Duration = Duration::from_secs(60);

/// A file on its way to its place. It is written beside it and renamed when it is whole, so that what stands
/// under a name is always a whole file; dropped before, it leaves nothing. A link that stands there is
/// replaced, not followed.
pub(crate) struct Part {
    file: NamedTempFile<File>,
}

impl Part {
    /// Begins a file that is to come into a directory.
    pub(crate) fn new_in(directory: &Path, mode: Mode) -> Result<Part> {
        let file = tempfile::Builder::new()
            .prefix(PREFIX)
            .make_in(directory, |path| unix::create(path, mode))
            .with_context(|| format!("making a file in {}", directory.display()))?;
        // Says that somebody is at it. Where that is impossible, its age tells.
        let _ = file.as_file().try_lock();
        Ok(Part { file })
    }

    /// Gives it its place, with the permissions of the file that is there. Only if the system says that
    /// all of it is on the disk: some tell no sooner that a disk is full.
    pub(crate) fn finish(self, path: &Path, there: Option<&Metadata>) -> Result<File> {
        let finish = || -> io::Result<File> {
            if let Some(there) = there {
                self.file.as_file().set_permissions(there.permissions())?;
            }
            self.file.as_file().sync_data()?;
            self.file.persist(path).map_err(|error| error.error)
        };
        finish().with_context(|| format!("writing {}", path.display()))
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// Removes what earlier commands that were killed have left in a directory, as far as that is possible.
pub(crate) fn remove_left_parts(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let rests = |metadata: Metadata| {
            let age = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
            metadata.is_file() && age.is_some_and(|age| age >= LEFT_AFTER)
        };
        // The metadata are the entry's own, so that no link is followed.
        if entry.metadata().is_ok_and(rests)
            && unix::open_at_once(&entry.path()).is_ok_and(|file| file.try_lock().is_ok())
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}
