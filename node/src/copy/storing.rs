//! Contents on their way into the grid.

use super::Session;
use super::local;
use crate::drive::cap::CapText;
use crate::exit::{Failure, failed};
use crate::webapi::{Entry, Fetching, Upload, target};
use anyhow::{Context, Result};
use bytes::Bytes;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tallac_host::unix;

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
    for attempt in 1.. {
        let (mut file, state) = local::open(path)?;
        if let Some(cap) = session.record.known(path, &state)
            && there.and_then(Entry::best) == Some(&cap)
        {
            return Ok((cap, state.size, false));
        }
        let changed = || failed(Failure::General, "it changed while it was read; nothing was stored");
        let still_good = || {
            // What is at the path now may be another file: then that is what the user wants copied.
            if local::state(path) == Some(state) { Ok(()) } else { Err(changed()) }
        };
        let stored = session.gateway.store(
            "/uri",
            Upload {
                source: &mut file,
                said: local::said(path),
                len: Some(state.size),
                moved: &|bytes| session.report.moved(bytes),
                still_good: &still_good,
            },
        );
        match stored {
            Ok(stored) => {
                session.record.note(path, &state, &stored.cap);
                return Ok((stored.cap, state.size, true));
            }
            // A file that is gone or never rests fails after a few attempts.
            Err(_)
                if attempt < READS_MAX
                    && file.metadata().is_ok_and(|now| unix::file_state(&now) != state) => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("the loop has no other end")
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
    let open = || -> Result<(Box<dyn Read + '_>, Option<u64>, String)> {
        Ok(match from {
            FileFrom::Local { path, .. } => {
                let (file, state) = local::open(path)?;
                (Box::new(file), Some(state.size), local::said(path))
            }
            FileFrom::Grid(entry) => {
                let reader = GridReader::new(session, entry.best().context("it cannot be read")?)?;
                let len = reader.fetching.len;
                (Box::new(reader), len, "it".into())
            }
        })
    };
    if same(&mut GridReader::new(session, cap)?, &mut open()?.0)? {
        session.report.kept(from.size());
        return Ok(());
    }
    let (mut source, len, said) = open()?;
    let upload = Upload {
        source: &mut source,
        said,
        len,
        moved: &|bytes| session.report.moved(bytes),
        still_good: &|| Ok(()),
    };
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
