//! What is copied, and where to: the arguments of `cp` by the peer's rules.

use super::local::{self, LocalDirectory};
use super::{GridDirectory, into_local};
use crate::cli::Cp;
use crate::drive::cap::CapText;
use crate::drive::path::GridPath;
use crate::drive::{Drive, Place};
use crate::exit::{Failure, failed};
use crate::webapi::{Entry, EntryKind};
use anyhow::Result;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use tallac_core::directory::Name;

/// Where copies go.
pub(super) enum Target {
    /// The content of a mutable file that is named by its capability.
    GridFile(CapText),
    /// A directory of the grid. It may not be there yet.
    GridDirectory(Place),
    /// A directory of this machine. It may not be there yet.
    Local(PathBuf),
}

/// Something to copy.
pub(super) struct Source {
    /// The name it gets; `None`: what is in it is copied, under its own names.
    pub(super) name: Option<OsString>,
    pub(super) said: String,
    pub(super) what: What,
}

pub(super) enum What {
    LocalFile(PathBuf, u64),
    LocalDirectory(LocalDirectory),
    GridFile(Entry),
    GridDirectory(GridDirectory),
}

impl What {
    fn is_directory(&self) -> bool {
        matches!(self, What::LocalDirectory(_) | What::GridDirectory(_))
    }

    fn is_local(&self) -> bool {
        matches!(self, What::LocalFile(..) | What::LocalDirectory(_))
    }
}

impl Source {
    /// The name it gets in the grid.
    pub(super) fn grid_name(&self) -> Result<Option<Name>> {
        self.name.as_deref().map(local::grid_name).transpose()
    }
}

/// Works out the arguments; whatever makes no sense is told before anything is done.
pub(super) fn resolve(drive: &Drive, args: &Cp) -> Result<(Target, Vec<Source>)> {
    let (to, from) = args.paths.split_last().ok_or_else(|| usage("name what to copy, and where to"))?;
    let mut sources = Vec::new();
    for from in from {
        sources.push(source(drive, from)?);
    }
    if let Some(directory) = sources.iter().find(|source| source.what.is_directory() && !args.recursive) {
        return Err(usage(&format!(
            "{} is a directory; to copy it with all that is in it, add -r",
            directory.said
        )));
    }
    let all_local = sources.iter().all(|source| source.what.is_local());
    if args.caps_only && sources.iter().any(|source| source.what.is_local()) {
        return Err(usage(
            "--caps-only is for copies from the grid: files of this machine have no capability",
        ));
    }
    let target = match grid_path(to)? {
        Some(path) => grid_target(drive, &path, &mut sources)?,
        None if all_local => {
            return Err(usage("nothing of this is in the grid; to name your drive, write private:"));
        }
        None if sources.iter().any(|source| source.what.is_local()) => {
            return Err(usage(
                "a file of this machine cannot be copied to this machine; copy it with the system's cp",
            ));
        }
        None => local_target(Path::new(to), &mut sources)?,
    };
    check_names(&sources)?;
    Ok((target, sources))
}

/// The path in the grid that an argument names; `None`: it is one of this machine.
fn grid_path(argument: &OsString) -> Result<Option<GridPath>> {
    // A name that is not Unicode can only be of this machine.
    argument.to_str().map_or(Ok(None), GridPath::parse_unless_local)
}

fn source(drive: &Drive, argument: &OsString) -> Result<Source> {
    let Some(path) = grid_path(argument)? else { return local_source(Path::new(argument)) };
    let place = drive.place(&path)?;
    let entry = drive.found(&place)?;
    let name = place.names.last().map(|name| name.as_str().into());
    let said = place.said.clone();
    let what = match (entry.kind, entry.best()) {
        (EntryKind::Directory, Some(cap)) => {
            What::GridDirectory(GridDirectory::first(cap.clone(), said.clone()))
        }
        (EntryKind::File, _) if place.slash => return Err(no_directory(&said)),
        (EntryKind::File, Some(_)) => What::GridFile(entry),
        _ => return Err(usage(&format!("{said} is of a kind that this node does not know"))),
    };
    Ok(Source { name, said, what })
}

fn local_source(path: &Path) -> Result<Source> {
    let said = local::said(path);
    let metadata = fs::metadata(path).map_err(|error| usage(&format!("{said} cannot be read: {error}")))?;
    // `.` and `x/..` have names, too; only the directory above all others has none. The last name of the
    // path is kept if it is a link: what is copied is called as it was given.
    let absolute = match path.file_name() {
        Some(name) => fs::canonicalize(above(path))?.join(name),
        None => fs::canonicalize(path)?,
    };
    let name = absolute.file_name().map(ToOwned::to_owned);
    let ends_with_slash = path.as_os_str().to_str().is_some_and(|text| text.ends_with('/'));
    let what = if metadata.is_dir() {
        What::LocalDirectory(LocalDirectory::first(&absolute, &metadata))
    } else if !metadata.is_file() {
        return Err(usage(&format!("{said} is neither a file nor a directory")));
    } else if ends_with_slash {
        return Err(no_directory(&said));
    } else {
        What::LocalFile(absolute, metadata.len())
    };
    Ok(Source { name, said, what })
}

/// A target in the grid. A single file that is to get the target's name is renamed.
fn grid_target(drive: &Drive, path: &GridPath, sources: &mut [Source]) -> Result<Target> {
    let place = drive.place(path)?;
    let said = place.said.clone();
    let entry = drive.gateway.look_up(&place.root, &place.names)?;
    if entry.as_ref().is_some_and(Entry::is_directory) {
        return Ok(Target::GridDirectory(place));
    }
    let [Source { name, what, .. }] = sources else {
        // Several sources, a directory to be made.
        return if entry.is_none() { creatable(place) } else { Err(no_directory(&said)) };
    };
    if what.is_directory() {
        return if entry.is_none() { creatable(place) } else { Err(no_directory(&said)) };
    }
    if place.slash {
        return Err(no_directory(&said));
    }
    let Some((above, last)) = place.split_last() else {
        // A bare capability, and no directory's.
        let cap = entry.and_then(|entry| entry.write).ok_or_else(|| {
            usage("the capability to copy to is neither a directory's nor one to write a mutable file with")
        })?;
        return Ok(Target::GridFile(cap));
    };
    place.check_creatable()?;
    *name = Some(last.as_str().into());
    Ok(Target::GridDirectory(above))
}

fn creatable(place: Place) -> Result<Target> {
    place.check_creatable()?;
    Ok(Target::GridDirectory(place))
}

/// A target on this machine. A single file that is to get the target's name is renamed.
fn local_target(path: &Path, sources: &mut [Source]) -> Result<Target> {
    let said = local::said(path);
    let ends_with_slash = path.as_os_str().to_str().is_some_and(|text| text.ends_with('/'));
    if path.is_dir() {
        return Ok(Target::Local(fs::canonicalize(path)?));
    }
    let there = path.exists();
    match sources {
        [Source { name, what, .. }] if !what.is_directory() => {
            let last = path.file_name().filter(|_| !ends_with_slash).ok_or_else(|| no_directory(&said))?;
            if there && !path.is_file() {
                return Err(usage(&format!("{said} is neither a file nor a directory")));
            }
            *name = Some(last.to_owned());
            let above = above(path);
            let absolute = fs::canonicalize(above).map_err(|error| {
                usage(&format!("the directory {} cannot be used: {error}", local::said(above)))
            })?;
            Ok(Target::Local(absolute))
        }
        _ if there => Err(no_directory(&said)),
        _ => Ok(Target::Local(std::path::absolute(path)?)),
    }
}

/// Each source must have a name of its own where it goes.
fn check_names(sources: &[Source]) -> Result<()> {
    let mut names = BTreeSet::new();
    for source in sources {
        match &source.name {
            None if !source.what.is_directory() => {
                return Err(usage(&format!(
                    "{} has no name; say what it is to be called, as in TO/name",
                    source.said
                )));
            }
            None if sources.len() > 1 => {
                return Err(usage(&format!(
                    "{} has no name, so what is in it would be mixed with the other sources; copy it alone",
                    source.said
                )));
            }
            None => {}
            Some(name) => {
                // Two that are one in the grid are one.
                let name = into_local::in_normal_form(name);
                if !names.insert(name) {
                    return Err(usage(&format!(
                        "two sources have the name of {}; copy one of them alone",
                        source.said
                    )));
                }
            }
        }
    }
    Ok(())
}

/// The directory that a path is in.
fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn no_directory(said: &str) -> anyhow::Error {
    usage(&format!("{said} is no directory"))
}

fn usage(text: &str) -> anyhow::Error {
    failed(Failure::Usage, text)
}
