//! Moving something to another place, and looking at a place.

use super::step::{Got, Need};
use super::walk::{Next, Walk, access, writable};
use super::{Done, DriveError, Place, Sight};
use crate::capability::{Capability, DirectoryCap, MutableCap};
use crate::directory::{Edit, Move, Name, Outcome, Replace, Seen, Table};
use crate::mutable::ChangeError;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Looks what is at a place.
#[derive(Debug)]
pub(super) struct Look {
    walk: Option<Walk>,
    list: bool,
}

impl Look {
    pub(super) fn new(place: &Place, list: bool) -> Result<Look, DriveError> {
        Ok(Look { walk: Some(Walk::new(place)?), list })
    }

    pub(super) fn begin(&mut self) -> Result<Need, DriveError> {
        let Some(walk) = &self.walk else { return Err(DriveError::NoName) };
        match walk.next()? {
            Next::Table(directory) => Ok(Need::Table(directory)),
            Next::There => match walk.directory() {
                Ok(directory) if self.list => Ok(Need::Table(directory)),
                _ => Ok(self.seen(None)),
            },
        }
    }

    pub(super) fn next(&mut self, got: Got) -> Result<Need, DriveError> {
        let Got::Table(table) = got else { unreachable!("a look only reads") };
        let table = table?;
        let Some(walk) = &mut self.walk else { return Err(DriveError::NoName) };
        if walk.missing().is_empty() {
            return Ok(self.seen(Some(table)));
        }
        walk.follow(&table)?;
        self.begin()
    }

    fn seen(&mut self, table: Option<Table>) -> Need {
        let (child, link) = self.walk.take().expect("it ends once").into_found();
        Need::Nothing(Box::new(Done::Seen(Box::new(Sight { child, link, table, outdated: false }))))
    }
}

/// Moves something to another place.
#[derive(Debug)]
pub(super) struct Shift {
    to: Place,
    replace: Replace,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Walking to the directory that has it; its name there.
    From(Walk, Name),
    /// The directory is being read: what it says of the child matters.
    To {
        walk: Walk,
        to: Name,
        from: MutableCap,
        name: Name,
        table: Table,
    },
    /// One edit does it.
    Renaming(MutableCap),
    /// The link is being made; the other is to be removed afterwards.
    Linking {
        to: MutableCap,
        from: MutableCap,
        unlink: Edit,
    },
    /// The old link is being removed.
    Unlinking {
        to: MutableCap,
        outcomes: Vec<Outcome>,
    },
    Over,
}

impl Shift {
    pub(super) fn new(from: &Place, to: Place, replace: Replace) -> Result<Shift, DriveError> {
        let (walk, name) = Walk::to_parent(from)?;
        Ok(Shift { to, replace, stage: Stage::From(walk, name) })
    }

    pub(super) fn begin(&mut self) -> Result<Need, DriveError> {
        match core::mem::replace(&mut self.stage, Stage::Over) {
            Stage::From(walk, name) => {
                let directory = match walk.next()? {
                    Next::Table(directory) => directory,
                    Next::There => DirectoryCap::Mutable(writable(&walk)?),
                };
                self.stage = Stage::From(walk, name);
                Ok(Need::Table(directory))
            }
            Stage::To { walk, to, from, name, table } => match walk.next()? {
                Next::Table(directory) => {
                    self.stage = Stage::To { walk, to, from, name, table };
                    Ok(Need::Table(directory))
                }
                Next::There => self.shift(&walk, to, from, &name, &table),
            },
            _ => unreachable!("it begins once"),
        }
    }

    pub(super) fn next(&mut self, got: Got) -> Result<Need, DriveError> {
        match (core::mem::replace(&mut self.stage, Stage::Over), got) {
            (Stage::From(mut walk, name), Got::Table(table)) => {
                let table = table?;
                if walk.missing().is_empty() {
                    let (from, (walk, to)) = (writable(&walk)?, Walk::to_parent(&self.to)?);
                    self.stage = Stage::To { walk, to, from, name, table };
                } else {
                    walk.follow(&table)?;
                    self.stage = Stage::From(walk, name);
                }
                self.begin()
            }
            (Stage::To { mut walk, to, from, name, table }, Got::Table(next)) => {
                walk.follow(&next?)?;
                self.stage = Stage::To { walk, to, from, name, table };
                self.begin()
            }
            (Stage::Renaming(directory), Got::Edited(result)) => {
                Ok(edited(directory, result.map_err(DriveError::Change)?))
            }
            (Stage::Linking { to, from, unlink }, Got::Edited(result)) => {
                let outcomes = result.map_err(DriveError::Change)?;
                self.stage = Stage::Unlinking { to, outcomes };
                Ok(Need::Edit(from, vec![unlink]))
            }
            (Stage::Unlinking { to, outcomes }, Got::Edited(result)) => {
                result.map_err(DriveError::LeftBehind)?;
                Ok(edited(to, outcomes))
            }
            (stage, got) => unreachable!("{stage:?} does not wait for {got:?}"),
        }
    }

    /// Both ends are known.
    fn shift(
        &mut self,
        walk: &Walk,
        to: Name,
        from: MutableCap,
        name: &Name,
        table: &Table,
    ) -> Result<Need, DriveError> {
        let target = writable(walk)?;
        if let Some(entry) = table.get(name)
            && let Ok(child) = &entry.child
            && let Some(Capability::Directory(moved)) = child.capability()
            && walk.touches(moved)
        {
            return Err(DriveError::IntoItself);
        }
        let there = Table::empty(access(&DirectoryCap::Mutable(target.clone()))?);
        let way = table.moving(name, &there, to, self.replace, Seen::Unchecked);
        match way.map_err(|error| ChangeError::edit(error, false)).map_err(DriveError::Change)? {
            Move::Within(edit) => {
                self.stage = Stage::Renaming(target.clone());
                Ok(Need::Edit(target, vec![edit]))
            }
            Move::Between { link, unlink } => {
                self.stage = Stage::Linking { to: target.clone(), from, unlink };
                Ok(Need::Edit(target, vec![link]))
            }
        }
    }
}

fn edited(directory: MutableCap, outcomes: Vec<Outcome>) -> Need {
    Need::Nothing(Box::new(Done::Edited { directory: DirectoryCap::Mutable(directory), outcomes }))
}
