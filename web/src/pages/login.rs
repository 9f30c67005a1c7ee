//! The page that asks who wants to use the node.

use super::Frame;
use askama::Template;

/// Asks for the login token.
#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct Login {
    pub(crate) frame: Frame,
    /// Why it is asked again; empty at first.
    pub(crate) problem: String,
    /// Where it goes on from here: an address of this node.
    pub(crate) to: String,
}
