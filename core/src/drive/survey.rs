//! Going through a whole tree, one directory at a time, as fast as somebody takes what is found.
//!
//! The order is the peer's: a directory itself, then of what is in it all that is of unknown kinds, then
//! the files, then the directories, each with all that is below it. Whatever has a verify capability is
//! told once, by the first way that leads to it; so cycles end.

use super::stats::TreeStats;
use super::step::{Got, Need};
use super::walk::{Next, Walk};
use super::{Done, DriveError, Place};
use crate::capability::{Capability, DirectoryCap};
use crate::directory::{Child, Name, Table};
use crate::hash::{Hash, tagged_hash};
use crate::limits::{PATH_DEPTH_MAX, SURVEY_SEEN_MAX, SURVEY_WAITING_MAX};
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bytes that a directory takes that waits for its turn, beside its name and capability.
const WAITING_LEN: usize = 128;

/// What a survey has come to.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// The way from the start of the survey to the directory.
    pub path: Vec<Name>,
    /// The directory.
    pub directory: DirectoryCap,
    /// What was found.
    pub found: Found,
    /// The sums over all that was found so far.
    pub stats: TreeStats,
}

/// What a survey has found.
#[derive(Clone, Debug)]
pub enum Found {
    /// The directory itself. It is read next.
    Directory,
    /// What is in the directory and was not told before, but for directories: these follow.
    Children(Vec<(Name, Child)>),
}

/// For traces: how much was found.
impl core::hash::Hash for Surveyed {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.path.len().hash(state);
        match &self.found {
            Found::Directory => 0,
            Found::Children(children) => children.len() + 1,
        }
        .hash(state);
    }
}

/// Which bound a tree goes beyond.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SurveyLimit {
    /// Different files and directories: at most [`SURVEY_SEEN_MAX`].
    Objects,
    /// Directories that wait for their turn: at most [`SURVEY_WAITING_MAX`] bytes.
    Waiting,
    /// Directories within each other: at most [`PATH_DEPTH_MAX`].
    Depth,
}

/// A survey.
#[derive(Debug)]
pub(super) struct Survey {
    stage: Stage,
    /// The directories still to be read, the next one last.
    waiting: Vec<Here>,
    waiting_len: usize,
    /// What was told or waits, by the hash of its verify capability.
    seen: BTreeSet<Hash>,
    stats: TreeStats,
    found: VecDeque<Surveyed>,
    /// It was told to go on before it could.
    told: bool,
}

/// Walking ──▶ Pausing ⇄ Reading ──▶ over
#[derive(Debug)]
enum Stage {
    /// On the way to where it begins.
    Walking(Box<Walk>),
    /// It goes on when it is told to.
    Pausing,
    /// The table of this directory is being read.
    Reading(Here),
}

/// A directory, and the way there.
#[derive(Debug)]
struct Here {
    directory: DirectoryCap,
    way: Option<Arc<Way>>,
}

/// A way, from its end: directories that are near each other share most of theirs.
#[derive(Debug)]
struct Way {
    name: Name,
    before: Option<Arc<Way>>,
    depth: usize,
}

impl Survey {
    pub(super) fn new(place: &Place) -> Result<Survey, DriveError> {
        Ok(Survey {
            stage: Stage::Walking(Box::new(Walk::new(place)?)),
            waiting: Vec::new(),
            waiting_len: 0,
            seen: BTreeSet::new(),
            stats: TreeStats::default(),
            found: VecDeque::new(),
            told: false,
        })
    }

    pub(super) fn begin(&mut self) -> Result<Need, DriveError> {
        let Stage::Walking(walk) = &self.stage else { return Ok(Need::Leave) };
        match walk.next()? {
            Next::Table(directory) => Ok(Need::Table(directory)),
            Next::There => {
                let directory = walk.directory()?;
                super::walk::access(&directory)?;
                self.is_new(&Capability::Directory(directory.clone()))?;
                self.wait(Here { directory, way: None })?;
                self.pause()
            }
        }
    }

    pub(super) fn next(&mut self, got: Got) -> Result<Need, DriveError> {
        match (core::mem::replace(&mut self.stage, Stage::Pausing), got) {
            (Stage::Walking(mut walk), Got::Table(table)) => {
                walk.follow(&table?)?;
                self.stage = Stage::Walking(walk);
                self.begin()
            }
            (Stage::Pausing, Got::Leave) => self.enter(),
            (Stage::Reading(here), Got::Table(table)) => self.list(&here, &table?),
            // It goes on when the table is there.
            (stage, _) => {
                (self.stage, self.told) = (stage, true);
                Ok(Need::Leave)
            }
        }
    }

    fn pause(&mut self) -> Result<Need, DriveError> {
        self.stage = Stage::Pausing;
        if core::mem::take(&mut self.told) { self.enter() } else { Ok(Need::Leave) }
    }

    /// What was found since the last call.
    pub(super) fn poll_found(&mut self) -> Option<Surveyed> {
        self.found.pop_front()
    }

    fn enter(&mut self) -> Result<Need, DriveError> {
        let Some(here) = self.waiting.pop() else { return Ok(self.over()) };
        self.waiting_len -= here.len();
        self.stats.add_directory();
        self.tell(&here, Found::Directory);
        let directory = here.directory.clone();
        self.stage = Stage::Reading(here);
        Ok(Need::Table(directory))
    }

    fn list(&mut self, here: &Here, table: &Table) -> Result<Need, DriveError> {
        let (mut unknown, mut files, mut directories, mut count) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (name, entry) in table.iter() {
            // What cannot be used is not there, for the peer.
            let Ok(child) = entry.child else { continue };
            count += 1;
            match child.capability().cloned() {
                None => unknown.push((name.clone(), child)),
                Some(cap) if !self.is_new(&cap)? => {}
                Some(Capability::Directory(directory)) => directories.push((name.clone(), directory)),
                Some(_) => files.push((name.clone(), child)),
            }
        }
        self.stats.add_table(table.packed_len() as u64, count);
        unknown.append(&mut files);
        unknown.iter().for_each(|(_, child)| self.stats.add_child(child));
        self.tell(here, Found::Children(unknown));
        let depth = here.way.as_ref().map_or(0, |way| way.depth) + 1;
        if depth > PATH_DEPTH_MAX && !directories.is_empty() {
            return Err(DriveError::TooMuch(SurveyLimit::Depth));
        }
        for (name, directory) in directories.into_iter().rev() {
            let way = Some(Arc::new(Way { name, before: here.way.clone(), depth }));
            self.wait(Here { directory, way })?;
        }
        if self.waiting.is_empty() { Ok(self.over()) } else { self.pause() }
    }

    fn over(&mut self) -> Need {
        Need::Nothing(Box::new(Done::Surveyed(Box::new(self.stats.clone()))))
    }

    fn wait(&mut self, here: Here) -> Result<(), DriveError> {
        self.waiting_len += here.len();
        if self.waiting_len > SURVEY_WAITING_MAX {
            return Err(DriveError::TooMuch(SurveyLimit::Waiting));
        }
        self.waiting.push(here);
        Ok(())
    }

    /// Whether this was not told before. What is held in its capability is told each time: it can
    /// neither be long nor in itself.
    fn is_new(&mut self, cap: &Capability) -> Result<bool, DriveError> {
        let verify = if cap.kind().is_some_and(|kind| kind.only_verifies()) {
            Some(cap.clone())
        } else {
            cap.verify_cap()
        };
        let Some(verify) = verify else { return Ok(true) };
        let hash = tagged_hash(b"tallac survey", verify.to_string().as_bytes());
        if self.seen.contains(&hash) {
            return Ok(false);
        }
        if self.seen.len() >= SURVEY_SEEN_MAX {
            return Err(DriveError::TooMuch(SurveyLimit::Objects));
        }
        self.seen.insert(hash);
        Ok(true)
    }

    fn tell(&mut self, here: &Here, found: Found) {
        let (path, directory) = (here.path(), here.directory.clone());
        self.found.push_back(Surveyed { path, directory, found, stats: self.stats.clone() });
    }
}

impl Here {
    fn path(&self) -> Vec<Name> {
        let mut names = Vec::new();
        let mut way = self.way.as_ref();
        while let Some(step) = way {
            names.push(step.name.clone());
            way = step.before.as_ref();
        }
        names.reverse();
        names
    }

    fn len(&self) -> usize {
        let name = self.way.as_ref().map_or(0, |way| way.name.as_str().len());
        let held = match &self.directory {
            DirectoryCap::Literal(cap) => cap.data().len(),
            _ => size_of::<DirectoryCap>(),
        };
        WAITING_LEN + name + held
    }
}
