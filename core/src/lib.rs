//! The protocol of a Tallac grid as pure state machines.
//!
//! This crate decides everything: what an upload does next, which servers a download asks, when a
//! share may be acknowledged. It does nothing: it opens no socket, reads no clock, draws no random
//! number, touches no file. A host feeds it [`machine::Event`]s and carries out the
//! [`machine::Action`]s it asks for; see [`machine::Machine`] for the loop every driver runs, and
//! `examples/by_hand.rs` for a node driven without any runtime.
//!
//! Formats (capabilities, shares, containers, announcements) are those of Tahoe-LAFS 1.20, byte for
//! byte. The map of the modules is in `ARCHITECTURE.md`.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::std_instead_of_core, clippy::std_instead_of_alloc, clippy::alloc_instead_of_core)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod announcement;
pub mod base32;
pub mod capability;
pub mod directory;
pub mod disk;
pub mod download;
pub mod drive;
pub mod encoding;
pub mod entropy;
pub mod erasure;
pub mod happiness;
pub mod hash;
pub mod hashtree;
pub mod identity;
pub mod introducer;
mod io;
pub mod job;
mod lease;
pub mod limits;
pub mod machine;
pub mod mutable;
#[cfg_attr(not(feature = "mutants"), doc(hidden))]
pub mod mutants;
pub mod netstring;
pub mod node;
pub mod nurl;
pub mod operation;
pub mod payload;
pub mod peers;
pub mod ring;
pub mod rsa;
pub mod secret;
pub mod segment;
mod serving;
pub mod share;
pub mod share_set;
pub mod storage;
pub mod storage_index;
pub mod task;
pub mod time;
pub mod upload;
pub mod vdrive;
pub mod wire;
