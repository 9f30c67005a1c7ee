//! Reading the table of a directory from the file it is kept in.

use super::DriveError;
use super::walk::access;
use crate::capability::{ChkCap, DirectoryCap, MutableReadCap};
use crate::directory::{Access, Table, TableError};
use crate::limits::DIRECTORY_LEN_MAX;
use crate::operation::{Command, OperationId, Report};
use alloc::vec::Vec;
use bytes::Bytes;

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Fetch {
    file: File,
    access: Access,
    content: Vec<u8>,
    /// Whether a newer version exists than the one that is read.
    outdated: bool,
}

#[derive(Debug)]
enum File {
    Literal(Bytes),
    Chk(ChkCap),
    Mutable(MutableReadCap),
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Progress {
    /// It goes on.
    More,
    /// There it is, or why not. The read may have to be given up.
    Over(Result<Table, DriveError>),
}

impl Fetch {
    pub(super) fn new(directory: &DirectoryCap) -> Result<Fetch, DriveError> {
        let file = match directory {
            DirectoryCap::Mutable(cap) => File::Mutable(cap.read_cap()),
            DirectoryCap::MutableRead(cap) => File::Mutable(cap.clone()),
            DirectoryCap::Chk(cap) => File::Chk(cap.clone()),
            DirectoryCap::Literal(cap) => File::Literal(Bytes::copy_from_slice(cap.data())),
            DirectoryCap::MutableVerify(_) | DirectoryCap::ChkVerify(_) => {
                return Err(DriveError::VerifyOnly);
            }
        };
        if let File::Chk(cap) = &file {
            bounded(cap.size)?;
        }
        Ok(Fetch { file, access: access(directory)?, content: Vec::new(), outdated: false })
    }

    /// The command that reads it; `None` if nobody has to be asked.
    pub(super) fn command(&self, id: OperationId) -> Option<Command> {
        match &self.file {
            File::Literal(_) => None,
            File::Chk(cap) => Some(Command::Download { id, cap: cap.clone(), range: 0..cap.size }),
            File::Mutable(cap) => Some(Command::ReadMutable { id, cap: cap.clone(), range: None }),
        }
    }

    /// The table of a directory that is held in its capability.
    pub(super) fn literal(self) -> Result<Table, DriveError> {
        match self.file {
            File::Literal(content) => Table::unpack(content, self.access).map_err(DriveError::Table),
            File::Chk(_) | File::Mutable(_) => Err(DriveError::Stopping),
        }
    }

    /// Whether a newer version of the directory was seen, of which too few shares could be reached.
    pub(super) fn is_outdated(&self) -> bool {
        self.outdated
    }

    pub(super) fn report(&mut self, report: Report) -> Progress {
        match report {
            Report::MutableFound { found, .. } => {
                self.outdated = !found.is_newest();
                match bounded(found.size()) {
                    Ok(()) => Progress::More,
                    Err(error) => Progress::Over(Err(error)),
                }
            }
            Report::DownloadData { data, .. } => {
                self.content.extend_from_slice(data.bytes().map_or(&[][..], |bytes| bytes));
                // A version that was found first may be followed by a longer one.
                match bounded(self.content.len() as u64) {
                    Ok(()) => Progress::More,
                    Err(error) => Progress::Over(Err(error)),
                }
            }
            Report::Downloaded { result, .. } => Progress::Over(
                result.map_err(|error| DriveError::Download(*error)).and_then(|()| self.table()),
            ),
            Report::MutableRead { result, .. } => {
                Progress::Over(result.map_err(|error| DriveError::Read(*error)).and_then(|()| self.table()))
            }
            _ => Progress::More,
        }
    }

    fn table(&mut self) -> Result<Table, DriveError> {
        let content = core::mem::take(&mut self.content);
        Table::unpack(content.into(), self.access.clone()).map_err(DriveError::Table)
    }
}

fn bounded(len: u64) -> Result<(), DriveError> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len <= DIRECTORY_LEN_MAX { Ok(()) } else { Err(DriveError::Table(TableError::TooLong { len })) }
}
