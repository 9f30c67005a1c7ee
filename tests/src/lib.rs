//! Grids of real processes on loopback, for end-to-end tests: the program as a user runs it, with
//! real sockets, TLS and disks.

mod content;
pub mod figures;
mod grid;

pub use content::{content, differs_at};
pub use grid::{Grid, Options, Output, program};
