//! The directories that `private:` and `global:` begin at.

use super::cap::CapText;
use crate::exit::{Failure, failed};
use crate::secrets;
use crate::webapi::Gateway;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

/// Holds the capability of the personal drive's directory, one line.
const PERSONAL_FILE: &str = "personal-root.cap";
/// Holds the capability of the shared drive's directory, one line. The node writes it.
const SHARED_FILE: &str = "shared-root.cap";

/// Keeps other commands on the node directory waiting while it lives.
pub(crate) struct Lock {
    _directory: File,
}

/// Waits until no other command makes a root or an alias. Makes `private/` if it is not there.
pub(crate) fn lock(directory: &Path) -> Result<Lock> {
    let private = directory.join("private");
    secrets::make_private_dir(&private)?;
    let opened = File::open(&private).with_context(|| format!("opening {}", private.display()))?;
    // A file system that cannot lock makes it possible that one of two commands at once fails or waits
    // in vain; nothing is overwritten all the same.
    let _ = opened.lock();
    Ok(Lock { _directory: opened })
}

/// The personal drive's directory, made first if it is not there.
pub(crate) fn personal(directory: &Path, gateway: &Gateway) -> Result<CapText> {
    let path = directory.join("private").join(PERSONAL_FILE);
    if let Some(cap) = read(&path)? {
        return Ok(cap);
    }
    let _lock = lock(directory)?;
    if let Some(cap) = read(&path)? {
        return Ok(cap);
    }
    let cap = gateway.make_directory(None).context("making the personal drive")?;
    match secrets::write_new_private(&path, &format!("{}\n", cap.expose())) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // Somebody else's is there now; ours is empty and nobody knows it.
            return read(&path)?.ok_or_else(|| damaged(&path));
        }
        Err(error) => return Err(error).with_context(|| format!("writing {}", path.display())),
    }
    eprintln!(
        "Your personal drive has been made. This is its capability; it is also in {}:\n\n{}\n\n\
         Keep a copy of it in a safe place: whoever has it can read and change all that is in the drive, \
         and if it is lost, all that is in the drive is lost.",
        path.display(),
        cap.expose()
    );
    Ok(cap)
}

/// The shared drive's directory.
pub(crate) fn shared(directory: &Path) -> Result<CapText> {
    let path = directory.join("private").join(SHARED_FILE);
    read(&path)?.ok_or_else(|| {
        failed(
            Failure::Usage,
            format!(
                "this node knows no shared drive: ask whoever runs the grid for the file vdrive.furl, copy it \
                 to {}, and start the node again",
                directory.display()
            ),
        )
    })
}

/// The capability in a file; `None` if there is no such file.
fn read(path: &Path) -> Result<Option<CapText>> {
    match fs::read_to_string(path) {
        Ok(text) => CapText::parse_directory(&text).map(Some).map_err(|_| damaged(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn damaged(path: &Path) -> anyhow::Error {
    failed(
        Failure::Usage,
        format!(
            "{} is damaged: it must hold one line, the capability of a directory. Restore it from a copy",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_root_is_not_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PERSONAL_FILE);
        assert!(read(&path).unwrap().is_none());
        for bad in ["", "\n", "URI:LIT:krugkidfnzsa\n", "URI:DIR2:secret\n"] {
            fs::write(&path, bad).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("damaged") && !error.contains("URI"), "{error}");
        }
    }

    #[test]
    fn without_a_shared_drive_it_is_said_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        assert!(shared(dir.path()).unwrap_err().to_string().contains("vdrive.furl"));
    }
}
