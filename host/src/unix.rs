//! What only Unix gives. No other module of the product crates is bound to Unix.

use rustix::buffer::spare_capacity;
use rustix::fs::{OFlags, fstatvfs};
use rustix::io::{Errno, pread};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Who may read what is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Whoever the process's umask lets.
    Usual,
    /// The node's user alone.
    Private,
}

/// Opens a file that is there. What the last name points to, if it is a link, is no file of ours.
pub(crate) fn open(path: &Path, write: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(write).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path)
}

/// Opens a file for reading, following links, without waiting for anything: a pipe that nobody writes to
/// is opened, too, and told by its metadata.
pub fn open_at_once(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)
}

/// What tells one state of a file from another without reading it. The time of change is set by the
/// system alone, so that a content changed with its size and time of modification kept is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileState {
    /// Bytes.
    pub size: u64,
    /// When its content was modified, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// When its content or what is known of it was changed, in nanoseconds since 1970.
    pub changed_ns: i64,
    /// Which file of its device it is.
    pub inode: u64,
    /// Which device it is on.
    pub device: u64,
}

/// The state of a file at the time its metadata were read.
pub fn file_state(metadata: &Metadata) -> FileState {
    let ns = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    FileState {
        size: metadata.len(),
        modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
        changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
        device: metadata.dev(),
    }
}

/// Lets the process have this many files and connections open at once, if it may have fewer now and the
/// system allows more: many systems begin with 1,024, which are for programs that use select(2). Gives how
/// many it may have.
pub fn allow_open_files(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let (now, most) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let then = wanted.min(most).max(now);
    let raised = Rlimit { current: Some(then), maximum: limit.maximum };
    if then == now || setrlimit(Resource::Nofile, raised).is_ok() { then } else { now }
}

/// Makes a file that is not there.
pub fn create(path: &Path, mode: Mode) -> io::Result<File> {
    let mode = match mode {
        Mode::Usual => 0o666,
        Mode::Private => 0o600,
    };
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)
}

/// Makes a directory in one that is there.
pub fn create_dir(path: &Path, mode: Mode) -> io::Result<()> {
    let mode = match mode {
        Mode::Usual => 0o777,
        Mode::Private => 0o700,
    };
    DirBuilder::new().mode(mode).create(path)
}

/// Shuts a directory to all but the node's user.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Reads up to `len` bytes, fewer only at the end of the file.
pub(crate) fn read_at(file: &File, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    // A caller may ask for more than there is; memory is taken for what there is.
    let len =
        if len <= READ_UNMEASURED { len } else { len.min(file.metadata()?.len().saturating_sub(offset)) };
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    while bytes.len() < len {
        // A vector may have more room than was asked for; what comes too much is cut off below.
        let position = offset + bytes.len() as u64;
        match pread(file, spare_capacity(&mut bytes), position) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

/// Writes all of `data`.
pub(crate) fn write_at(file: &File, offset: u64, data: &[u8]) -> io::Result<()> {
    file.write_all_at(data, offset)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Bytes free for an ordinary user on the file system that holds a directory.
pub(crate) fn free_space(path: &Path) -> io::Result<u64> {
    let stats = fstatvfs(File::open(path)?)?;
    Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
}

/// Up to this many bytes are read without asking how long the file is.
const READ_UNMEASURED: u64 = 64 * 1024;
