//! Contents on their way into the grid.

use super::Session;
use super::local;
use crate::drive::cap::CapText;
use crate::exit::{Failure, failed};
use crate::webapi::{Entry, Fetching, Upload, target};
use anyhow::{Context, Result};
use bytes::Bytes;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tallac_host::unix::FileState;

/// How often a file is read that changes while it is read.
const READS_MAX: usize = 3;

/// A file that is copied.
pub(super) enum FileFrom {
    Local { path: PathBuf, size: u64 },
    Grid(Entry),
}

impl FileFrom {
    /// Bytes to be moved.
    pub(super) fn size(&self) -> u64 {
        match self {
            FileFrom::Local { size, .. } => *size,
            // An immutable file is linked, not moved.
            FileFrom::Grid(_) => 0,
        }
    }
}

/// Stores a local file, unless the record says that what is there is it. Gives its capability, its length,
/// and whether bytes were moved.
pub(super) fn store_local(
    session: &Session,
    path: &Path,
    there: Option<&Entry>,
) -> Result<(CapText, u64, bool)> {
    at_rest(path, |file, state, still_good| {
        if let Some(cap) = session.record.known(path, &state)
            && there.and_then(Entry::best) == Some(&cap)
        {
            return Ok((cap, state.size, false));
        }
        let moved = |bytes| session.report.moved(bytes);
        let stored = session.gateway.store("/uri", local_upload(path, file, &state, (&moved, still_good)))?;
        session.record.note(path, &state, &stored.cap);
        Ok((stored.cap, state.size, true))
    })
}

/// Does something with a file, once more if the file changes meanwhile. One that is gone or never rests
/// fails after a few attempts.
fn at_rest<T>(
    path: &Path,
    act: impl Fn(&mut File, FileState, &dyn Fn() -> Result<()>) -> Result<T>,
) -> Result<T> {
    let mut attempt = 1;
    loop {
        let (mut file, state) = local::open(path)?;
        // What is at the path now may be another file: then that is what the user wants copied.
        let is_same = || local::state(path) == Some(state);
        let changed = || failed(Failure::General, "it changed while it was read; nothing was stored");
        match act(&mut file, state, &|| if is_same() { Ok(()) } else { Err(changed()) }) {
            Err(_) if attempt < READS_MAX && !is_same() => attempt += 1,
            done => return done,
        }
    }
}

fn local_upload<'a>(
    path: &Path,
    file: &'a mut File,
    state: &FileState,
    (moved, still_good): (&'a dyn Fn(u64), &'a dyn Fn() -> Result<()>),
) -> Upload<'a> {
    Upload { source: file, said: local::said(path), len: Some(state.size), moved, still_good }
}

/// Stores what a mutable file of the grid holds now.
pub(super) fn store_from_grid(session: &Session, cap: &CapText) -> Result<(CapText, u64)> {
    let mut source = GridReader::new(session, cap)?;
    let len = source.fetching.len;
    let moved = AtomicU64::new(0);
    let upload = Upload {
        source: &mut source,
        said: "it".into(),
        len,
        moved: &|bytes| {
            moved.fetch_add(bytes, Ordering::Relaxed);
            session.report.moved(bytes);
        },
        still_good: &|| Ok(()),
    };
    let stored = session.gateway.store("/uri", upload)?;
    Ok((stored.cap, moved.into_inner()))
}

/// Gives a mutable file a new content, unless it has it already.
pub(super) fn replace(session: &Session, from: &FileFrom, cap: &CapText) -> Result<()> {
    match from {
        FileFrom::Local { path, .. } => at_rest(path, |file, state, still_good| {
            if same(&mut GridReader::new(session, cap)?, file)? {
                still_good()?;
                session.report.kept(state.size);
                return Ok(());
            }
            file.rewind()?;
            let moved = |bytes| session.report.moved(bytes);
            replace_by(session, cap, local_upload(path, file, &state, (&moved, still_good)))
        }),
        FileFrom::Grid(entry) => {
            let open = || GridReader::new(session, entry.best().context("it cannot be read")?);
            if same(&mut GridReader::new(session, cap)?, &mut open()?)? {
                session.report.kept(from.size());
                return Ok(());
            }
            let mut source = open()?;
            let len = source.fetching.len;
            let moved = |bytes| session.report.moved(bytes);
            let still_good = || Ok(());
            let upload = Upload {
                source: &mut source,
                said: "it".into(),
                len,
                moved: &moved,
                still_good: &still_good,
            };
            replace_by(session, cap, upload)
        }
    }
}

fn replace_by(session: &Session, cap: &CapText, upload: Upload<'_>) -> Result<()> {
    let len = upload.len;
    session.gateway.store(&target(cap, &[], &[]), upload)?;
    session.report.copied(1, len.unwrap_or(0));
    Ok(())
}

/// Whether two contents are the same to their end.
fn same(one: &mut dyn Read, other: &mut dyn Read) -> Result<bool> {
    let (mut left, mut right) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let len = one.read(&mut left)?;
        if len == 0 {
            return Ok(other.read(&mut right[..1])? == 0);
        }
        match other.read_exact(&mut right[..len]) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            result => result?,
        }
        if left[..len] != right[..len] {
            return Ok(false);
        }
    }
}

/// A file of the grid as something to read from.
struct GridReader {
    fetching: Fetching,
    piece: Bytes,
}

impl GridReader {
    fn new(session: &Session, cap: &CapText) -> Result<GridReader> {
        Ok(GridReader { fetching: session.gateway.fetch(cap)?, piece: Bytes::new() })
    }
}

impl Read for GridReader {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        while self.piece.is_empty() {
            match self.fetching.piece() {
                Ok(Some(piece)) => self.piece = piece,
                Ok(None) => return Ok(0),
                Err(error) => return Err(std::io::Error::other(format!("{error:#}"))),
            }
        }
        let len = out.len().min(self.piece.len());
        out[..len].copy_from_slice(&self.piece.split_to(len));
        Ok(len)
    }
}
