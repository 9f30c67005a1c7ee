//! Behaviour suites and end-to-end tests over every runtime.
//!
//! [`conformance`] holds what every runtime must do, written once. [`Grid`] runs grids of real
//! processes on loopback: the program as a user runs it, with real sockets, TLS and disks.
//! [`memory_grid`] runs nodes of the core in one process and in virtual time, and lies to them;
//! [`mutable_files`] changes files there, [`asking`] asks its servers by hand. [`lonely`] is a web port in virtual time.
//! [`peer`] runs Tahoe-LAFS itself, [`browser`] a browser, for which [`film`] makes something to see.

pub mod asking;
pub mod browser;
pub mod conformance;
mod content;
pub mod figures;
pub mod film;
mod grid;
pub mod liar;
pub mod lonely;
pub mod memory_grid;
pub mod mutable_files;
pub mod peer;
pub mod puppet;
mod trees;
mod user;
pub mod web;

pub use content::{content, differs_at};
pub use grid::{Grid, Options, Output, free_port, program};
pub use trees::{assert_same, tree};
pub use user::User;
