//! Copying into the grid: from this machine, and from elsewhere in the grid.
//!
//! A directory that is missing is made empty and linked at once, together with its siblings; then it is
//! filled. Files are stored without a name and linked in batches, many with one new version of their
//! directory. So an interrupted copy has lost little, and a second run of the same tree makes no version
//! at all: what is there is looked up first, and only what differs is linked.

use super::ends::{Source, What};
use super::filling::Target;
use super::local::{self, Found, LocalDirectory};
use super::pool::Tasks;
use super::storing::{FileFrom, replace, store_from_grid, store_local};
use super::{GridDirectory, Session, WORKERS};
use crate::drive::Place;
use crate::drive::cap::CapText;
use crate::drive::path::below;
use crate::exit::{Failed, Failure, failed};
use crate::webapi::{Entry, EntryKind, Link, Replace};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tallac_core::directory::Name;
use tallac_core::storage_index::StorageIndex;

enum Task {
    Directory { from: From, cap: CapText, said: String, is_new: bool },
    File { from: FileFrom, name: Name, into: Arc<Target> },
}

/// A directory that is copied.
enum From {
    Local(LocalDirectory),
    Grid(GridDirectory),
}

enum Content {
    Directory(From),
    File(FileFrom),
}

/// The directories of the grid that are filled: none of them is walked.
type Filled = Mutex<BTreeSet<StorageIndex>>;

/// Copies sources into a directory, which is made first if need be.
pub(super) fn copy(session: &Session, place: &Place, sources: Vec<Source>) -> Result<()> {
    let mut contents = Vec::new();
    let mut whole = None;
    for source in sources {
        let name = source.grid_name().with_context(|| source.said.clone())?;
        let content = match source.what {
            What::LocalFile(path, size) => Content::File(FileFrom::Local { path, size }),
            What::LocalDirectory(directory) => Content::Directory(From::Local(directory)),
            What::GridFile(entry) => Content::File(FileFrom::Grid(entry)),
            What::GridDirectory(directory) => Content::Directory(From::Grid(directory)),
        };
        match (name, content) {
            (Some(name), content) => contents.push((name, content)),
            (None, Content::Directory(from)) => whole = Some(from),
            (None, Content::File(_)) => {
                return Err(failed(Failure::Usage, format!("{} has no name", source.said)));
            }
        }
    }
    let filled = Filled::default();
    let (cap, is_new) = match session.gateway.look_up(&place.root, &place.names)? {
        Some(entry) => (writable(&entry)?.with_context(|| place.said.clone())?, false),
        None => {
            let cap = session.gateway.make_path(&place.root, &place.names, None)?;
            session.report.made();
            (cap, true)
        }
    };
    let mut first = Vec::new();
    if let Some(from) = whole {
        first.push(Task::Directory { from, cap, said: place.said.clone(), is_new });
    } else {
        filled.lock().expect("no worker panics with it").extend(cap.storage_index());
        let target = Target::open(session, cap, place.said.clone(), is_new)?;
        first = fill(session, &filled, &target, contents);
        if first.is_empty() {
            return Ok(());
        }
    }
    let failed_once = Mutex::new(Vec::new());
    let mut left = run(session, &filled, first, WORKERS, Some(&failed_once));
    // Alone: servers may refuse a content while the same one is being stored from another file.
    let failed_once = failed_once.into_inner().expect("no worker panics with it");
    left.extend(run(session, &filled, failed_once, 1, None));
    // After an interrupt, what has been stored is still linked.
    for task in left {
        if let Task::File { into, .. } = task {
            into.one_less(session);
        }
    }
    Ok(())
}

/// Works tasks off, and gives those that were left over. Files that fail for a reason that may pass are put
/// aside for later, if there is a later.
fn run(
    session: &Session,
    filled: &Filled,
    tasks: Vec<Task>,
    workers: usize,
    later: Option<&Mutex<Vec<Task>>>,
) -> Vec<Task> {
    Tasks::run(tasks, workers, &|| session.is_over(), &|task, tasks: &Tasks<Task>| match task {
        Task::Directory { from, cap, said, is_new } => {
            match walk(session, filled, from, cap, &said, is_new) {
                Ok(more) => tasks.add(more),
                Err(error) => session.report.failed(&said, &error),
            }
        }
        Task::File { from, name, into } => {
            if let Err(error) = file(session, &from, &name, &into) {
                if let (Some(later), true) = (later, may_pass(&error)) {
                    later.lock().expect("no worker panics with it").push(Task::File { from, name, into });
                    return;
                }
                session.report.failed(&below(&into.said, name.as_str()), &error);
            }
            into.one_less(session);
        }
    })
}

/// Whether what failed may succeed a little later.
fn may_pass(error: &anyhow::Error) -> bool {
    let failure = error.downcast_ref::<Failed>().map_or(Failure::General, |failed| failed.failure);
    matches!(failure, Failure::General | Failure::Grid | Failure::CutShort)
}

/// Replaces the content of a mutable file.
pub(super) fn overwrite(session: &Session, sources: Vec<Source>, cap: &CapText) {
    for source in sources {
        let from = match source.what {
            What::LocalFile(path, size) => FileFrom::Local { path, size },
            What::GridFile(entry) => FileFrom::Grid(entry),
            What::LocalDirectory(_) | What::GridDirectory(_) => continue,
        };
        session.report.found(from.size());
        if let Err(error) = replace(session, &from, cap) {
            session.report.failed(&source.said, &error);
        }
    }
}

/// Looks at a directory and the one it goes to, makes what directories are missing, and gives the tasks
/// that are then left.
fn walk(
    session: &Session,
    filled: &Filled,
    from: From,
    cap: CapText,
    said: &str,
    is_new: bool,
) -> Result<Vec<Task>> {
    {
        let mut filled = filled.lock().expect("no worker panics with it");
        if let From::Grid(from) = &from
            && from.cap.storage_index().is_some_and(|index| filled.contains(&index))
        {
            return Err(failed(Failure::Usage, format!("{} is not copied into itself", from.said)));
        }
        filled.extend(cap.storage_index());
    }
    let contents = match &from {
        From::Local(directory) => local_contents(session, directory)?,
        From::Grid(directory) => grid_contents(session, directory)?,
    };
    let target = Target::open(session, cap, said.to_owned(), is_new)?;
    Ok(fill(session, filled, &target, contents))
}

fn local_contents(session: &Session, directory: &LocalDirectory) -> Result<Vec<(Name, Content)>> {
    session.local_walks.count(directory.identity)?;
    let found = directory
        .list(&session.report)
        .with_context(|| format!("reading {}", local::said(&directory.path)))?;
    let content = |found| match found {
        Found::Directory(directory) => Content::Directory(From::Local(directory)),
        Found::File { path, size } => Content::File(FileFrom::Local { path, size }),
    };
    Ok(found.into_iter().map(|(name, found)| (name, content(found))).collect())
}

fn grid_contents(session: &Session, directory: &GridDirectory) -> Result<Vec<(Name, Content)>> {
    let mut contents: Vec<(Name, Content)> = Vec::new();
    let mut taken = BTreeSet::new();
    for (name, entry) in super::list(session, directory)? {
        let said = below(&directory.said, &name);
        let content = match (entry.kind, entry.best()) {
            (EntryKind::Directory, Some(cap)) => {
                directory.child(cap.clone(), said.clone()).map(From::Grid).map(Content::Directory)
            }
            _ => Ok(Content::File(FileFrom::Grid(entry))),
        };
        let name = Name::new(&name).map_err(|error| failed(Failure::Usage, error.to_string()));
        let name = name.and_then(|name| match taken.insert(name.clone()) {
            true => Ok(name),
            false => Err(failed(Failure::Usage, local::SAME_NAME)),
        });
        match name.and_then(|name| Ok((name, content?))) {
            Ok(content) => contents.push(content),
            Err(error) => session.report.failed(&said, &error),
        }
    }
    Ok(contents)
}

/// Makes and links the directories that are missing, and gives the tasks to copy what is in them, and the
/// files.
fn fill(
    session: &Session,
    filled: &Filled,
    target: &Arc<Target>,
    contents: Vec<(Name, Content)>,
) -> Vec<Task> {
    let (mut files, mut directories, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for (name, content) in contents {
        match content {
            Content::File(from) => {
                session.report.found(from.size());
                files.push(Task::File { from, name, into: target.clone() });
            }
            Content::Directory(from) => match directory_in(session, filled, target, &name, &from) {
                Ok((cap, is_new)) => {
                    let said = below(&target.said, name.as_str());
                    if is_new {
                        new.push((name, Link::directory(cap.clone())));
                    }
                    directories.push(Task::Directory { from, cap, said, is_new });
                }
                Err(error) => session.report.failed(&below(&target.said, name.as_str()), &error),
            },
        }
    }
    link_directories(session, target, &new, &mut directories);
    target.expect(files.len());
    files.append(&mut directories);
    files
}

/// Links new directories. If somebody else has made some of them meanwhile, those are filled instead: a
/// directory that is there is never replaced. What fails is told, and not filled.
fn link_directories(session: &Session, target: &Target, new: &[(Name, Link)], tasks: &mut Vec<Task>) {
    if new.is_empty() {
        return;
    }
    let gateway = session.gateway.uninterrupted();
    let what = || format!("linking directories in {}", target.said);
    match gateway.set_children(&target.cap, new, Replace::Nothing) {
        Ok(true) => {}
        Ok(false) => {
            let mut names = new.iter();
            tasks.retain_mut(|task| {
                let Task::Directory { cap, said, is_new, .. } = task else { return true };
                if !*is_new {
                    return true;
                }
                let Some((name, _)) = names.next() else { return false };
                // Gives the one that is there.
                match gateway.make_path(&target.cap, std::slice::from_ref(name), None) {
                    Ok(there) => {
                        (*cap, *is_new) = (there, false);
                        true
                    }
                    Err(error) => {
                        session.report.failed(said, &error);
                        false
                    }
                }
            });
        }
        Err(error) => {
            session.report.failed_many(new.len() as u64, &what(), &error);
            tasks.retain(|task| !matches!(task, Task::Directory { is_new: true, .. }));
        }
    }
}

/// The directory of a name, made if there is none, and whether it was made.
fn directory_in(
    session: &Session,
    filled: &Filled,
    target: &Target,
    name: &Name,
    from: &From,
) -> Result<(CapText, bool)> {
    let Some(entry) = target.children.get(name.as_str()) else {
        // Before an empty directory is made in vain.
        if let From::Grid(from) = from
            && let Some(index) = from.cap.storage_index()
            && filled.lock().expect("no worker panics with it").contains(&index)
        {
            return Err(failed(Failure::Usage, format!("{} is not copied into itself", from.said)));
        }
        session.gateway.interrupt().check()?;
        let cap = session.gateway.make_directory(None)?;
        session.report.made();
        return Ok((cap, true));
    };
    Ok((writable(entry)??, false))
}

/// The capability to change a directory.
fn writable(entry: &Entry) -> Result<Result<CapText>> {
    if !entry.is_directory() {
        return Err(failed(Failure::Usage, "a file is where a directory should be; move it away"));
    }
    let cap = entry.write.clone();
    Ok(cap.ok_or_else(|| failed(Failure::Usage, "you can only read that directory, not change it")))
}

/// Copies a file into a directory.
fn file(session: &Session, from: &FileFrom, name: &Name, into: &Target) -> Result<()> {
    let there = into.children.get(name.as_str());
    if there.is_some_and(Entry::is_directory) {
        return Err(failed(Failure::Usage, "a directory is where the file should be; move it away"));
    }
    if there.is_some_and(|there| there.kind == EntryKind::Unknown) {
        let why =
            "something of a kind that this node does not know is where the file should be; move it away";
        return Err(failed(Failure::Usage, why));
    }
    // A mutable file keeps its capability, and whoever has it sees the new content.
    if let Some(cap) = there.filter(|there| there.mutable).and_then(|there| there.write.as_ref())
        && !session.caps_only
    {
        return replace(session, from, cap);
    }
    match from {
        FileFrom::Local { path, .. } => {
            let (cap, bytes, moved) = store_local(session, path, there)?;
            if there.and_then(Entry::best) == Some(&cap) {
                session.report.kept(if moved { 0 } else { bytes });
                return Ok(());
            }
            into.add(session, name, Link::file(cap), Some(bytes));
        }
        FileFrom::Grid(entry) if entry.mutable && !session.caps_only => {
            let readable = entry.read.as_ref().or(entry.write.as_ref()).context("it cannot be read")?;
            let (cap, bytes) = store_from_grid(session, readable)?;
            if there.and_then(Entry::best) == Some(&cap) {
                session.report.kept(0);
                return Ok(());
            }
            into.add(session, name, Link::file(cap), Some(bytes));
        }
        FileFrom::Grid(entry) => {
            if entry.best().is_none() {
                return Err(failed(Failure::Usage, "it is of a kind that this node does not know"));
            }
            if there.and_then(Entry::best) == entry.best() {
                session.report.kept(entry.size.unwrap_or(0));
                return Ok(());
            }
            into.add(session, name, entry.to_link(), None);
        }
    }
    Ok(())
}
