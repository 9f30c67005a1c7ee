//! Files and directories of this machine.

use super::chain::Chain;
use super::report::Report;
use crate::drive::path::shown;
use crate::exit::{Failure, failed};
use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tallac_core::directory::Name;
use tallac_host::unix::{self, FileState};

/// How finely systems tell the times of changes apart, at least.
const CLOCK_STEP: Duration = Duration::from_millis(50);
/// The same for file systems that keep whole seconds, as those of memory cards do.
const COARSE_STEP: Duration = Duration::from_secs(2);
/// How often a file is waited for that has just been changed.
const WAITS_MAX: usize = 10;

/// Why one of two names is not copied that would be one in the grid.
pub(crate) const SAME_NAME: &str =
    "another file here has the same name when both are written in Unicode's normal form";

/// A directory that is walked.
#[derive(Clone, Debug)]
pub(crate) struct LocalDirectory {
    pub(crate) path: PathBuf,
    /// Device and inode.
    pub(crate) identity: (u64, u64),
    /// The same of it and of those above, as the walk came.
    chain: Chain<(u64, u64)>,
}

/// What is in a directory and can be copied.
pub(crate) enum Found {
    Directory(LocalDirectory),
    File { path: PathBuf, size: u64 },
}

impl LocalDirectory {
    /// Where a walk begins.
    pub(crate) fn first(path: &Path, metadata: &Metadata) -> LocalDirectory {
        let identity = identity(metadata);
        let chain = Chain::new().to(identity).unwrap_or_else(Chain::new);
        LocalDirectory { path: path.to_owned(), identity, chain }
    }

    /// What is in it, by name; what cannot be copied is told.
    pub(crate) fn list(&self, report: &Report) -> Result<Vec<(Name, Found)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let said = said(&path);
            match self.classify(&path) {
                Ok(Some(found)) => match grid_name(path.file_name().unwrap_or_default()) {
                    Ok(name) => entries.push((name, found)),
                    Err(error) => report.failed(&said, &error),
                },
                Ok(None) => report.skipped(&said, "it is neither a file nor a directory"),
                Err(error) => report.failed(&said, &error),
            }
        }
        // The order of the system means nothing.
        entries.sort_by(|(one, found), (other, also)| (one, found.path()).cmp(&(other, also.path())));
        let mut last: Option<Name> = None;
        entries.retain(|(name, found)| {
            let taken = last.as_ref() == Some(name);
            if taken {
                report.failed(&said(found.path()), &failed(Failure::Usage, SAME_NAME));
            }
            last = Some(name.clone());
            !taken
        });
        Ok(entries)
    }

    /// What a path leads to; `None` for what is not copied.
    fn classify(&self, path: &Path) -> Result<Option<Found>> {
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound if path.is_symlink() => {
                failed(Failure::Usage, "it is a link that leads nowhere")
            }
            ErrorKind::NotFound => failed(Failure::General, "it vanished while the directory was read"),
            _ => error.into(),
        })?;
        if metadata.is_file() {
            return Ok(Some(Found::File { path: path.to_owned(), size: metadata.len() }));
        }
        if !metadata.is_dir() {
            return Ok(None);
        }
        let identity = identity(&metadata);
        let chain = self
            .chain
            .to(identity)
            .ok_or_else(|| failed(Failure::Usage, "it is a link that leads back to a directory it is in"))?;
        Ok(Some(Found::Directory(LocalDirectory { path: path.to_owned(), identity, chain })))
    }
}

impl Found {
    fn path(&self) -> &Path {
        match self {
            Found::Directory(directory) => &directory.path,
            Found::File { path, .. } => path,
        }
    }
}

/// The name that something of this machine gets in the grid.
pub(crate) fn grid_name(name: &OsStr) -> Result<Name> {
    let text = name.to_str().ok_or_else(|| {
        failed(Failure::Usage, "its name is not in Unicode (UTF-8), as names in the grid are; rename it")
    })?;
    Name::new(text).map_err(|error| failed(Failure::Usage, error.to_string()))
}

/// A path of this machine as it is shown.
pub(crate) fn said(path: &Path) -> String {
    shown(&path.to_string_lossy())
}

/// Opens a file to be read from its beginning to its end, and gives the state it is in.
pub(crate) fn open(path: &Path) -> Result<(File, FileState)> {
    // A pipe may have taken the file's place. It is not waited for.
    let file = unix::open_at_once(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => failed(Failure::General, "it vanished before it was read"),
        _ => anyhow::Error::new(error).context("it cannot be read"),
    })?;
    // A change that follows another within a step of the clock cannot be told from it. So what was changed
    // just now is not read before the clock has gone on.
    for _ in 0..WAITS_MAX {
        let metadata = file.metadata().context("it cannot be read")?;
        if !metadata.is_file() {
            return Err(failed(Failure::General, "it is no file any more"));
        }
        let state = unix::file_state(&metadata);
        match still_fresh(&state, SystemTime::now()) {
            None => return Ok((file, state)),
            Some(wait) => std::thread::sleep(wait),
        }
    }
    Err(failed(Failure::General, "it was changed all the while it was read; nothing was stored"))
}

/// How long a state is too fresh to be told from one that follows.
fn still_fresh(state: &FileState, now: SystemTime) -> Option<Duration> {
    let whole = |ns: i64| ns % 1_000_000_000 == 0;
    let step = if whole(state.changed_ns) && whole(state.modified_ns) { COARSE_STEP } else { CLOCK_STEP };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let changed = Duration::from_nanos(u64::try_from(state.changed_ns).unwrap_or(0));
    // A time to come is that of a clock that was set back.
    step.checked_sub(now.checked_sub(changed)?).filter(|wait| !wait.is_zero())
}

/// The state of the file at a path; `None` if there is no file.
pub(crate) fn state(path: &Path) -> Option<FileState> {
    let metadata = fs::metadata(path).ok().filter(Metadata::is_file)?;
    Some(unix::file_state(&metadata))
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    let state = unix::file_state(metadata);
    (state.device, state.inode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    fn listed(path: &Path) -> (Vec<String>, String) {
        let report = Report::new(true);
        let first = LocalDirectory::first(path, &fs::metadata(path).unwrap());
        let names = first.list(&report).unwrap().into_iter().map(|(name, found)| {
            let mark = if matches!(found, Found::Directory(_)) { "/" } else { "" };
            format!("{}{mark}", name.as_str())
        });
        let names = names.collect();
        (names, report.finish(false).err().map(|error| error.to_string()).unwrap_or_default())
    }

    #[test]
    fn what_is_in_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("b"), "x").unwrap();
        fs::create_dir(at("a")).unwrap();
        symlink(at("b"), at("link")).unwrap();
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        assert_eq!(listed(dir.path()), (vec!["a/".into(), "b".into(), "link".into()], String::new()));
        // Each of these is a failure, and the rest is listed all the same.
        symlink(dir.path(), at("loop")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        symlink("self", at("self")).unwrap();
        fs::write(dir.path().join(OsStr::from_bytes(b"\xff")), "").unwrap();
        fs::write(at("new\nline"), "").unwrap();
        fs::write(at("caf\u{e9}"), "").unwrap();
        fs::write(at("cafe\u{301}"), "").unwrap();
        let (names, error) = listed(dir.path());
        assert_eq!(names, ["a/", "b", "caf\u{e9}", "link"]);
        assert!(error.starts_with("6 files or directories"), "{error}");
    }

    #[test]
    fn pipes_are_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(open(&pipe).unwrap_err().to_string().contains("no file any more"));
        assert!(state(&pipe).is_none());
    }

    #[test]
    fn what_was_changed_just_now_is_waited_for() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let check = |changed_ns: i64, expected_ms: Option<u64>| {
            let state = FileState { size: 0, modified_ns: changed_ns, changed_ns, inode: 0, device: 0 };
            assert_eq!(still_fresh(&state, now), expected_ms.map(Duration::from_millis), "{changed_ns}");
        };
        check(999_990_000_000, Some(40));
        check(999_950_000_000, None);
        check(999_000_000_001, None);
        // Whole seconds.
        check(999_000_000_000, Some(1_000));
        check(998_000_000_000, None);
        // From before the clock was set back, and from before there were clocks.
        check(1_000_000_000_001, None);
        check(-5, None);
    }

    #[test]
    fn a_change_with_size_and_time_kept_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        let (_, before) = open(&path).unwrap();
        let times = fs::FileTimes::new().set_modified(fs::metadata(&path).unwrap().modified().unwrap());
        fs::write(&path, "two").unwrap();
        File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
        let after = state(&path).unwrap();
        assert_eq!(
            (after.size, after.modified_ns, after.inode),
            (before.size, before.modified_ns, before.inode)
        );
        assert_ne!(after, before);
    }
}
