//! What errands and the machine that runs them say to each other.

use super::{Done, DriveError, NewDirectory};
use crate::capability::{DirectoryCap, MutableCap};
use crate::directory::{Edit, Outcome, Table};
use crate::mutable::ChangeError;
use crate::operation::OperationId;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Names an errand: as its sender did.
pub(super) type ErrandId = OperationId;

/// What an errand needs to go on.
#[derive(Debug)]
pub(super) enum Need {
    /// The table of a directory.
    Table(DirectoryCap),
    /// A new directory, linked nowhere.
    Directory(NewDirectory),
    /// Edits made in a directory.
    Edit(MutableCap, Vec<Edit>),
    /// Leave to go on.
    Leave,
    /// Nothing more: it is over.
    Nothing(Box<Done>),
}

/// What it gets.
#[derive(Debug)]
pub(super) enum Got {
    Table(Result<Table, DriveError>),
    Directory(Result<DirectoryCap, DriveError>),
    Edited(Result<Vec<Outcome>, ChangeError>),
    Leave,
}
