//! The servers a node knows, and its connections to them.
//!
//! A server that is not in use costs one record in the [`ServerTable`]. A connection is made when
//! something is asked of a server, or ahead of time while the grid is small; at most a configured
//! number are kept, the one idle for longest making room for the next.

mod asking;
mod link;
mod questions;
mod roster;
mod table;

pub use asking::{Answer, AskError, Effort, PeersConfig, ServerStatus};
pub(crate) use asking::{AskToken, Asker, Peers};
pub(crate) use link::{ConnEvent, Link, LinkEvent};
pub use link::{LinkError, LinkStatus};
pub use roster::Roster;
pub use table::{Candidate, Learned, ServerRecord, ServerTable};
