//! The names by which people call what is in the grid: drives, aliases, paths, capabilities.
//!
//! [`path`] reads what stands on the command line, [`aliases`] and [`roots`] know the directories that
//! names begin at, and [`Drive`] turns the one into the other.

pub(crate) mod aliases;
pub(crate) mod cap;
pub(crate) mod path;
pub(crate) mod roots;

use crate::client::Interrupt;
use crate::exit::{Failure, failed};
use crate::webapi::{Entry, Gateway};
use aliases::Aliases;
use anyhow::Result;
use cap::CapText;
use path::{GridPath, Root};
use std::path::{Path, PathBuf};
use tallac_core::directory::Name;

/// A node directory with what its owner calls directories of the grid, and the node to reach them.
pub(crate) struct Drive {
    directory: PathBuf,
    pub(crate) gateway: Gateway,
}

/// Where something is in the grid: the names to follow from a capability.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) root: CapText,
    pub(crate) names: Vec<Name>,
    /// Whether a slash at the end says that a directory is meant.
    pub(crate) slash: bool,
    /// How to call it in messages; without capabilities.
    pub(crate) said: String,
}

impl Drive {
    /// The drive of a node directory.
    pub(crate) fn open(directory: &Path, interrupt: Interrupt) -> Result<Drive> {
        Ok(Drive { directory: directory.to_owned(), gateway: Gateway::of(directory, interrupt)? })
    }

    /// Where a path on the command line leads. Makes the personal drive if that is meant and it is not
    /// there yet.
    pub(crate) fn place(&self, path: &GridPath) -> Result<Place> {
        let root = match &path.root {
            Root::Personal => roots::personal(&self.directory, &self.gateway)?,
            Root::Shared => roots::shared(&self.directory)?,
            Root::Alias(name) => Aliases::read(&self.directory)?.directory(name)?,
            Root::Cap(cap) => cap.clone(),
        };
        Ok(Place { root, names: path.names.clone(), slash: path.slash, said: path.to_string() })
    }

    /// The same from text.
    pub(crate) fn place_of(&self, text: &str) -> Result<Place> {
        self.place(&GridPath::parse(text)?)
    }

    /// What is at a place. Nothing is an error.
    pub(crate) fn found(&self, place: &Place) -> Result<Entry> {
        let entry = self.gateway.look_up(&place.root, &place.names)?;
        entry.ok_or_else(|| place.not_there())
    }
}

impl Place {
    /// The directory it is in, and its name there; `None` if it is itself where a path begins.
    pub(crate) fn split_last(&self) -> Option<(Place, &Name)> {
        let (name, above) = self.names.split_last()?;
        let place = Place {
            root: self.root.clone(),
            names: above.to_vec(),
            slash: true,
            said: path::above(&self.said).to_owned(),
        };
        Some((place, name))
    }

    /// What is in it under a name.
    pub(crate) fn child(&self, name: &Name) -> Place {
        let mut names = self.names.clone();
        names.push(name.clone());
        Place { root: self.root.clone(), names, slash: false, said: path::below(&self.said, name.as_str()) }
    }

    /// Refuses what is reached by a capability that only reads: what is below is then read-only, too.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.names.is_empty() || !self.root.is_directory() || self.root.is_writable() {
            return Ok(());
        }
        let text = format!("you can only read {}, not change it: its capability allows no more", self.said);
        Err(failed(Failure::Usage, text))
    }

    /// Refuses what [`check_writable`](Self::check_writable) refuses, and names that nobody should be given
    /// to read: what is there already may have them, but nothing new gets them.
    pub(crate) fn check_creatable(&self) -> Result<()> {
        self.check_writable()?;
        match self.names.iter().find_map(|name| name.problem().map(|problem| (name, problem))) {
            None => Ok(()),
            Some((name, problem)) => {
                Err(failed(Failure::Usage, format!("the name {name} in {}: {problem}", self.said)))
            }
        }
    }

    /// The error for a place where nothing is.
    pub(crate) fn not_there(&self) -> anyhow::Error {
        failed(Failure::Usage, format!("{} is not there", self.said))
    }
}
