//! `tallac cp`: copies between this machine and the grid, and within the grid.
//!
//! [`ends`] works out what is copied where. [`into_grid`] and [`into_local`] walk the sources and do the
//! work, a task for each directory and each file, several at once ([`pool`]). A failure of one file stops
//! none of the others; [`report`] keeps count. [`record`] is what makes a second run short.

mod chain;
mod ends;
mod filling;
mod into_grid;
mod into_local;
mod local;
mod pool;
mod record;
mod report;
mod storing;
mod walks;

use crate::cli::Cp;
use crate::client::Interrupt;
use crate::drive::Drive;
use crate::drive::cap::CapText;
use crate::exit::{Failure, failed};
use crate::webapi::{Entry, Gateway};
use anyhow::Result;
use chain::Chain;
use ends::Target;
use record::Record;
use report::Report;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tallac_core::storage_index::StorageIndex;
use walks::Walks;

/// Files and directories worked on at once.
const WORKERS: usize = 6;

/// What all workers share.
struct Session {
    gateway: Gateway,
    record: Record,
    report: Report,
    caps_only: bool,
    grid_walks: Walks<StorageIndex>,
    /// By device and inode.
    local_walks: Walks<(u64, u64)>,
}

impl Session {
    fn is_over(&self) -> bool {
        self.gateway.interrupt().check().is_err() || self.report.is_hopeless()
    }
}

pub(crate) fn cp(directory: &Path, args: &Cp) -> Result<()> {
    let drive = Drive::open(directory, Interrupt::on_signals())?;
    let (target, sources) = ends::resolve(&drive, args)?;
    let session = Session {
        gateway: drive.gateway.clone(),
        record: Record::of(directory),
        report: Report::new(args.quiet),
        caps_only: args.caps_only,
        grid_walks: Walks::new(),
        local_walks: Walks::new(),
    };
    let local = local_trees(&target, &sources);
    match target {
        Target::GridFile(cap) => into_grid::overwrite(&session, sources, &cap),
        Target::GridDirectory(place) => into_grid::copy(&session, &place, sources)?,
        Target::Local(path) => into_local::copy(&session, &path, sources)?,
    }
    session.record.save();
    if session.report.is_clean() && !session.is_over() {
        local.iter().for_each(|tree| session.record.forget_missing(tree));
    }
    session.report.finish(session.gateway.interrupt().check().is_err())
}

/// The trees of this machine that are copied, or copied to.
fn local_trees(target: &Target, sources: &[ends::Source]) -> Vec<PathBuf> {
    if let Target::Local(path) = target {
        return vec![path.clone()];
    }
    let tree = |source: &ends::Source| match &source.what {
        ends::What::LocalDirectory(directory) => Some(directory.path.clone()),
        _ => None,
    };
    sources.iter().filter_map(tree).collect()
}

/// What is in a directory of the grid, by name.
fn list(session: &Session, directory: &GridDirectory) -> Result<BTreeMap<String, Entry>> {
    directory.cap.storage_index().map_or(Ok(()), |index| session.grid_walks.count(index))?;
    let entry = session.gateway.look_up(&directory.cap, &[])?;
    let entry = entry.filter(Entry::is_directory);
    Ok(entry.ok_or_else(|| failed(Failure::General, "it is not there any more"))?.children)
}

/// A directory of the grid that is walked.
#[derive(Clone, Debug)]
struct GridDirectory {
    cap: CapText,
    said: String,
    /// It and those above, as the walk came.
    chain: Chain<StorageIndex>,
}

impl GridDirectory {
    fn first(cap: CapText, said: String) -> GridDirectory {
        let chain = Chain::new();
        let chain = cap.storage_index().and_then(|index| chain.to(index)).unwrap_or(chain);
        GridDirectory { cap, said, chain }
    }

    /// A directory in it.
    ///
    /// # Errors
    /// If it is one of those above, or the way is too long.
    fn child(&self, cap: CapText, said: String) -> Result<GridDirectory> {
        // Directories held in their capability cannot hold themselves.
        let chain = match cap.storage_index() {
            None => self.chain.clone(),
            Some(index) => self
                .chain
                .to(index)
                .ok_or_else(|| failed(Failure::Usage, "it is a directory that it is itself in"))?,
        };
        if chain.len() > tallac_core::limits::PATH_DEPTH_MAX {
            return Err(failed(Failure::Usage, "it is too deep in the tree"));
        }
        Ok(GridDirectory { cap, said, chain })
    }
}
