//! Copying from the grid to this machine.
//!
//! What stands under a name is always a whole file, and an interrupted copy leaves no litter.

use super::ends::{Source, What};
use super::local;
use super::pool::Tasks;
use super::{GridDirectory, Session, WORKERS};
use crate::drive::path::below;
use crate::exit::{Failure, failed};
use crate::local_file::{Part, remove_left_parts};
use crate::webapi::{Entry, EntryKind};
use anyhow::{Context, Result};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use tallac_core::directory::Name;
use tallac_host::unix::{self, Mode};

/// Most bytes of a name that the usual file systems take.
const NAME_LEN_MAX: usize = 255;

enum Task {
    Directory { from: GridDirectory, into: PathBuf },
    File { entry: Entry, said: String, into: PathBuf },
}

/// Copies sources into a directory, which is made first if need be.
pub(super) fn copy(session: &Session, directory: &Path, sources: Vec<Source>) -> Result<()> {
    let mut first = Vec::new();
    for source in sources {
        let into = match &source.name {
            Some(name) => directory.join(safe(name)?),
            None => directory.to_owned(),
        };
        match source.what {
            What::GridDirectory(from) => first.push(Task::Directory { from, into }),
            What::GridFile(entry) => {
                session.report.found(entry.size.unwrap_or(0));
                first.push(Task::File { entry, said: source.said, into });
            }
            What::LocalFile(..) | What::LocalDirectory(_) => {
                return Err(failed(Failure::Usage, format!("{} is on this machine", source.said)));
            }
        }
    }
    make_directories(session, directory)?;
    Tasks::run(first, WORKERS, &|| session.is_over(), &|task, tasks: &Tasks<Task>| match task {
        Task::Directory { from, into } => match walk(session, &from, &into) {
            Ok(more) => tasks.add(more),
            Err(error) => session.report.failed(&from.said, &error),
        },
        Task::File { entry, said, into } => {
            if let Err(error) = file(session, &entry, &into) {
                session.report.failed(&said, &error);
            }
        }
    });
    Ok(())
}

/// Makes a directory and gives the tasks to copy what goes into it.
fn walk(session: &Session, from: &GridDirectory, into: &Path) -> Result<Vec<Task>> {
    // Before anything is made: the directory of the grid may be lost.
    let children = super::list(session, from)?;
    make_directories(session, into)?;
    remove_left_parts(into);
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for (name, entry) in children {
        let said = below(&from.said, &name);
        match task(from, &name, entry, into, said.clone()) {
            Ok(task @ Task::Directory { .. }) => directories.push(task),
            Ok(task @ Task::File { .. }) => {
                if let Task::File { entry, .. } = &task {
                    session.report.found(entry.size.unwrap_or(0));
                }
                files.push(task);
            }
            Err(error) => session.report.failed(&said, &error),
        }
    }
    files.append(&mut directories);
    Ok(files)
}

fn task(from: &GridDirectory, name: &str, entry: Entry, into: &Path, said: String) -> Result<Task> {
    let into = into.join(safe(OsStr::new(name))?);
    match (entry.kind, entry.best()) {
        (EntryKind::Directory, Some(cap)) => {
            Ok(Task::Directory { from: from.child(cap.clone(), said)?, into })
        }
        (EntryKind::File, Some(_)) => Ok(Task::File { entry, said, into }),
        _ => Err(failed(Failure::Usage, "it is of a kind that this node does not know")),
    }
}

/// Makes a directory, and those above it. One that is there, or a link to one, is used.
fn make_directories(session: &Session, path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_directories(session, above)?;
    }
    match unix::create_dir(path, Mode::Usual) {
        Ok(()) => session.report.made(),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(failed(
                Failure::Usage,
                format!("{} is there and no directory; move it away", local::said(path)),
            ));
        }
        Err(error) => return Err(error).with_context(|| format!("making {}", local::said(path))),
    }
    Ok(())
}

/// Copies a file to its place.
fn file(session: &Session, entry: &Entry, into: &Path) -> Result<()> {
    let cap = entry.read.as_ref().or(entry.write.as_ref()).context("it cannot be read")?;
    let there = fs::metadata(into).ok();
    if there.as_ref().is_some_and(|there| there.is_dir()) {
        return Err(failed(Failure::Usage, format!("{} is a directory; move it away", local::said(into))));
    }
    if there.as_ref().is_some_and(|there| !there.is_file()) {
        return Err(failed(Failure::Usage, format!("{} is no file; move it away", local::said(into))));
    }
    // What a mutable file holds may be another content by now.
    let known = || session.record.known(into, &local::state(into)?);
    if !session.caps_only && !entry.mutable && known().as_ref() == Some(cap) {
        session.report.kept(entry.size.unwrap_or(0));
        return Ok(());
    }
    let above = into.parent().context("a file is in a directory")?;
    // A capability is nobody else's business.
    let mode = if session.caps_only { Mode::Private } else { Mode::Usual };
    let mut file = Part::new_in(above, mode)?;
    let mut bytes = 0;
    let writing = || format!("writing {}", local::said(into));
    if session.caps_only {
        file.write_all(cap.expose().as_bytes()).with_context(writing)?;
    } else {
        let mut fetching = session.gateway.fetch(cap)?;
        while let Some(piece) = fetching.piece()? {
            file.write_all(&piece).with_context(writing)?;
            bytes += piece.len() as u64;
            session.report.moved(piece.len() as u64);
        }
    }
    let file = file.finish(into, there.as_ref().filter(|_| !session.caps_only))?;
    if !session.caps_only {
        // After the renaming, which counts as a change.
        session.record.note(into, &unix::file_state(&file.metadata()?), cap);
    }
    session.report.copied(1, bytes);
    Ok(())
}

/// A name from the grid that can be one file here, and nothing else. Others may give any names to what is
/// in their directories.
fn safe(name: &OsStr) -> Result<&OsStr> {
    let bytes = name.as_encoded_bytes();
    let why = match bytes {
        b"" => "its name is empty",
        b"." | b".." => "its name means another directory here",
        _ if bytes.contains(&b'/') => "its name has a slash",
        _ if bytes.contains(&0) => "its name has a null character",
        _ if bytes.len() > NAME_LEN_MAX => "its name is longer than the 255 bytes that are possible here",
        _ => return Ok(name),
    };
    Err(failed(Failure::Usage, why))
}

/// A name as it is in the grid, for comparing; one that is not Unicode is as it is.
pub(super) fn in_normal_form(name: &OsStr) -> OsString {
    let normal = name.to_str().and_then(|name| Name::existing(name).ok());
    normal.map_or_else(|| name.to_owned(), |name| name.as_str().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(256);
        for name in ["", ".", "..", "/", "a/b", "../x", "/etc/passwd", "a\0b", &long] {
            assert!(safe(OsStr::new(name)).is_err(), "{name:?}");
        }
        let long = "x".repeat(255);
        for name in ["...", "..a", "a b", "-r", "a\\b", "C:", "\u{202e}x", &long] {
            assert!(safe(OsStr::new(name)).is_ok(), "{name:?}");
        }
    }
}
