//! The page on which a folder is chosen that something is moved to.

use super::{Crumb, Frame};
use askama::Template;

/// The folders of a drive to walk through, and a form that moves something to where one is.
#[derive(Template)]
#[template(path = "choose.html")]
pub(crate) struct Choose {
    pub(crate) frame: Frame,
    pub(crate) crumbs: Vec<Crumb>,
    /// The address of what is moved.
    pub(crate) here: String,
    /// The address of the folder that it is in, with its name there.
    pub(crate) action: String,
    /// The way to the folder that is looked at.
    pub(crate) way: Vec<Crumb>,
    /// The folders in it.
    pub(crate) folders: Vec<Step>,
    /// Other drives.
    pub(crate) drives: Vec<Offer>,
    /// The drive and the way in it, for the form.
    pub(crate) handle: String,
    pub(crate) at: String,
    /// Whether that is another drive than the one that it is in.
    pub(crate) other: bool,
    /// Whether what is moved is there already.
    pub(crate) is_there: bool,
    /// Whether anything can be moved there.
    pub(crate) writable: bool,
}

/// A folder in the one that is looked at.
pub(crate) struct Step {
    pub(crate) name: String,
    /// What a way to it goes on with. Empty, for what is moved itself.
    pub(crate) into: String,
}

/// A drive to go to.
pub(crate) struct Offer {
    pub(crate) name: String,
    pub(crate) href: String,
}
