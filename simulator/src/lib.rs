//! Whole grids in one thread, in virtual time, from one seed.

pub mod chance;
pub mod disk;
mod grid;
mod network;
mod operations;
pub mod plan;
pub mod run;
mod schedule;
pub mod trace;
mod world;

pub use grid::{Grid, GridSpec};
pub use network::{NetworkCounts, NetworkSettings};
pub use operations::{Ended, Operations, StoredFile};
pub use world::{Birth, Crash, Executor, NodeId, NodeSetup, Stepped, World};
