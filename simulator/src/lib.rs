//! Whole grids in one thread, in virtual time, from one seed.
//!
//! The machines are the core's own, wire codec included; what is pretended is the world around
//! them: [network](NetworkSettings), [disks](disk), clocks. Everything that is left to chance
//! follows from a seed, so that the same seed does the same again, on any machine, to the byte: the
//! [trace hash](trace) says so.
//!
//! Three layers, each of use without the next:
//!
//! - [`World`] drives machines of any node type. It knows nothing of files. `block`, `pause`,
//!   `crash`, [`disk::Disk::tamper`] and their kin do harm.
//! - [`Grid`] is a world of introducers, servers and clients made from a [`GridSpec`], with the
//!   [`Operations`] of the programs that use it. The model these are compared with is a list:
//!   which content was stored under which capability.
//! - [`run`] draws a [`plan::Plan`] from a seed, performs it and judges: nothing wrong is ever
//!   delivered, nothing acknowledged is ever lost, nothing hangs once faults are healed, and what
//!   failed leaves nothing behind. [`shrink`] makes a failing plan short. Beside it, in a small world
//!   of the same seed, mutable slots are changed by hand.
//!
//! A run is true to the bytes, or to the protocol with [stand-ins](stand_in) for content ([`Fidelity`]):
//! the same machines decide the same in both. [`size`] tells how large a grid can be.
//!
//! What fails is made a [`script`] to read, change and replay, or a picture ([`timeline`]). What a run
//! reached is counted by [`probes`], so that what no run ever reaches can be named. With the feature
//! `mutants` defects are put into the core, to see that they are found.
//!
//! Faults ([`faults`]) stay within what must be survivable: any number of nodes down for a while, any
//! connection lost, power cuts that keep any part of what was not synced, failing syncs and full
//! disks, [hostile] clients and introducers; and servers that lie, lose or falsify shares, no
//! more of them than every file can lose.
//!
//! # A test
//!
//! ```
//! use core::time::Duration;
//! use tallac_core::operation::KeyChoice;
//! use tallac_simulator::{Crash, Ended, Grid, GridSpec, chance};
//!
//! // One introducer, ten servers, one client; 3 of 10 shares.
//! let mut grid = Grid::running(7, &GridSpec::default());
//! let client = grid.clients[0];
//! let content = chance::content(1, 100_000);
//! grid.operations.put(&mut grid.world, client, content.into(), KeyChoice::Random, true);
//! assert!(grid.finish_operations(Duration::from_secs(60)));
//!
//! // All lose power the moment the file is acknowledged. Three come back.
//! for server in grid.servers.clone() {
//!     grid.crash(server, Crash::PowerCut);
//! }
//! for server in grid.servers.clone().into_iter().skip(4).take(3) {
//!     grid.world.start(server);
//! }
//! let file = grid.operations.files()[0].clone();
//! let get = grid.operations.get(&mut grid.world, client, &file, 500..100_000);
//! assert!(grid.finish_operations(Duration::from_secs(60)));
//! assert!(matches!(grid.operations.ended(get), Some(Ended::Read)), "every byte was compared");
//! ```

pub mod chance;
pub mod changes;
pub mod cuts;
pub mod disk;
pub mod exhaust;
pub mod faults;
mod fidelity;
mod form;
mod grid;
pub mod hostile;
#[cfg(feature = "mutants")]
pub mod mutants;
mod network;
mod operations;
pub mod plan;
pub mod probes;
pub mod record;
pub mod run;
mod schedule;
pub mod script;
pub mod shrink;
pub mod size;
mod slots;
pub mod stand_in;
pub mod timeline;
pub mod trace;
mod world;
pub mod writers;

pub use fidelity::Fidelity;
pub use grid::{Grid, GridSpec};
pub use network::{NetworkCounts, NetworkSettings};
pub use operations::{Ended, Operations, StoredFile};
pub use slots::SlotFault;
pub use world::{Birth, Crash, Executor, Mouth, NodeId, NodeSetup, Stepped, World};
