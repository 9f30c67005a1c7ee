//! Errands that end at a directory, which may have to be made: making one, and changing one.

use super::step::{Got, Need};
use super::walk::{Next, Walk, writable};
use super::{Done, DriveError, Keep, NewDirectory, Parents, Place};
use crate::capability::{Capability, DirectoryCap, MutableCap, MutableFormat};
use crate::directory::{
    Child, DirectoryKind, Edit, EditError, EditProblem, Metadata, Name, Outcome, Replace, Seen,
};
use crate::mutable::ChangeError;
use crate::time::Now;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// How often the way is walked anew because somebody else has made directories on it.
const ATTEMPTS_MAX: usize = 8;

/// What is wanted of the directory.
#[derive(Debug)]
enum Goal {
    /// That it is there.
    Made(NewDirectory),
    /// That it is changed.
    Edited(Parents, Vec<Edit>),
}

/// A directory that is made, or changed, or both.
#[derive(Debug)]
pub(super) struct Reach {
    /// Where it is; nowhere, if it is not linked.
    place: Option<Place>,
    goal: Goal,
    attempts: usize,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Begin,
    Walking(Box<Walk>),
    /// The directory is there and is being changed.
    Editing(MutableCap),
    /// The directory is being made.
    Making(Option<Build>),
    /// The new directory is being changed, before anybody can see it.
    Filling(Build, MutableCap),
    /// The directories around it are being made, from within.
    Surrounding(Build, Built),
    /// The outermost new directory is being linked.
    Linking(Built),
}

/// Directories to be made below one that is there.
#[derive(Debug)]
struct Build {
    below: MutableCap,
    /// Their names, outermost first.
    names: Vec<Name>,
}

/// The innermost directory, which was made.
#[derive(Debug)]
struct Built {
    cap: DirectoryCap,
    outcomes: Vec<Outcome>,
}

impl Reach {
    pub(super) fn make(place: Option<Place>, new: NewDirectory) -> Reach {
        Reach { place, goal: Goal::Made(new), attempts: 0, stage: Stage::Begin }
    }

    pub(super) fn edit(directory: Place, parents: Parents, edits: Vec<Edit>) -> Reach {
        let goal = Goal::Edited(parents, edits);
        Reach { place: Some(directory), goal, attempts: 0, stage: Stage::Begin }
    }

    pub(super) fn begin(&mut self) -> Result<Need, DriveError> {
        match &self.place {
            Some(place) => {
                let walk = Walk::new(place)?;
                self.walk(walk)
            }
            None => {
                self.stage = Stage::Making(None);
                Ok(Need::Directory(self.innermost()))
            }
        }
    }

    pub(super) fn next(&mut self, got: Got, now: Now) -> Result<Need, DriveError> {
        match (core::mem::replace(&mut self.stage, Stage::Begin), got) {
            (Stage::Walking(mut walk), Got::Table(table)) => match walk.follow(&table?) {
                Ok(()) => self.walk(*walk),
                Err(DriveError::NoSuchChild { at, of, name }) => self.missing(&walk, at, of, name),
                Err(error) => Err(error),
            },
            (Stage::Editing(cap), Got::Edited(result)) => {
                let (directory, outcomes) = (DirectoryCap::Mutable(cap), result.map_err(DriveError::Change)?);
                Ok(Need::Nothing(Box::new(Done::Edited { directory, outcomes })))
            }
            (Stage::Making(build), Got::Directory(cap)) => {
                let cap = cap?;
                match (build, &self.goal, &cap) {
                    (None, ..) => Ok(Need::Nothing(Box::new(Done::Made { cap, existed: false }))),
                    (Some(build), Goal::Edited(_, edits), DirectoryCap::Mutable(inner)) => {
                        let need = Need::Edit(inner.clone(), edits.clone());
                        self.stage = Stage::Filling(build, inner.clone());
                        Ok(need)
                    }
                    (Some(build), ..) => {
                        let innermost = cap.clone();
                        self.surround(build, cap, Built { cap: innermost, outcomes: Vec::new() }, now)
                    }
                }
            }
            (Stage::Filling(build, cap), Got::Edited(result)) => {
                let (cap, outcomes) = (DirectoryCap::Mutable(cap), result.map_err(DriveError::Change)?);
                self.surround(build, cap.clone(), Built { cap, outcomes }, now)
            }
            (Stage::Surrounding(build, built), Got::Directory(cap)) => self.surround(build, cap?, built, now),
            (Stage::Linking(built), Got::Edited(Ok(_))) => Ok(Need::Nothing(Box::new(self.done(built)))),
            (Stage::Linking(_), Got::Edited(Err(error))) => match error {
                ChangeError::Edit {
                    error: EditError { problem: EditProblem::Exists | EditProblem::Changed { .. }, .. },
                    ..
                } => {
                    // Somebody else was faster. What was made here is linked nowhere and comes to nothing.
                    self.attempts += 1;
                    if self.attempts == ATTEMPTS_MAX { Err(DriveError::Beaten) } else { self.begin() }
                }
                error => Err(DriveError::Change(error)),
            },
            (stage, got) => unreachable!("{stage:?} does not wait for {got:?}"),
        }
    }

    fn walk(&mut self, walk: Walk) -> Result<Need, DriveError> {
        match walk.next() {
            Ok(Next::Table(directory)) => {
                self.stage = Stage::Walking(Box::new(walk));
                Ok(Need::Table(directory))
            }
            Ok(Next::There) => self.there(&walk),
            Err(error) => Err(error),
        }
    }

    /// The way has led to something that is there.
    fn there(&mut self, walk: &Walk) -> Result<Need, DriveError> {
        match &self.goal {
            Goal::Made(_) => match walk.directory() {
                Ok(cap) => Ok(Need::Nothing(Box::new(Done::Made { cap, existed: true }))),
                Err(error) => match self.place.as_ref().and_then(|place| place.path.split_last()) {
                    Some((_, name)) => Err(DriveError::Exists { name: name.clone() }),
                    None => Err(error),
                },
            },
            Goal::Edited(_, edits) => {
                let cap = writable(walk)?;
                let need = Need::Edit(cap.clone(), edits.clone());
                self.stage = Stage::Editing(cap);
                Ok(need)
            }
        }
    }

    /// From here on the directories of the path are not there.
    fn missing(&mut self, walk: &Walk, at: usize, of: usize, name: Name) -> Result<Need, DriveError> {
        if let Goal::Edited(Parents::Expect, _) = self.goal {
            return Err(DriveError::NoSuchChild { at, of, name });
        }
        let names = walk.missing().to_vec();
        if let Some((name, problem)) = names.iter().find_map(|name| Some((name, name.problem()?))) {
            return Err(DriveError::Name { name: name.clone(), problem });
        }
        let below = writable(walk)?;
        self.stage = Stage::Making(Some(Build { below, names }));
        Ok(Need::Directory(self.innermost()))
    }

    fn innermost(&self) -> NewDirectory {
        match &self.goal {
            Goal::Made(new) => new.clone(),
            Goal::Edited(..) => NewDirectory::empty(MutableFormat::Sdmf),
        }
    }

    /// Puts a directory around the one that was made last, or links that if it is the outermost.
    fn surround(
        &mut self,
        mut build: Build,
        made: DirectoryCap,
        built: Built,
        now: Now,
    ) -> Result<Need, DriveError> {
        let name = build.names.pop().ok_or(DriveError::NoName)?;
        let child = Child::of(Capability::Directory(made), DirectoryKind::Mutable)
            .map_err(|problem| DriveError::Unusable { name: name.clone(), problem })?;
        if build.names.is_empty() {
            let (replace, seen) = (Replace::Nothing, Seen::Nothing);
            let link = Edit::Link { name, child, metadata: None, replace, seen };
            self.stage = Stage::Linking(built);
            return Ok(Need::Edit(build.below, vec![link]));
        }
        let metadata = Metadata::linked(None, None, now.unix);
        let keep = Keep::Mutable(MutableFormat::Sdmf, None);
        self.stage = Stage::Surrounding(build, built);
        Ok(Need::Directory(NewDirectory { keep, children: vec![(name, child, metadata)] }))
    }

    fn done(&self, built: Built) -> Done {
        let Built { cap, outcomes } = built;
        match self.goal {
            Goal::Made(_) => Done::Made { cap, existed: false },
            Goal::Edited(..) => Done::Edited { directory: cap, outcomes },
        }
    }
}
