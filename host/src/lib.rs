//! What every runtime needs of the operating system: share files, TLS, keys, a pool for jobs.
//!
//! A runtime is sockets, threads or tasks, and waiting; everything else it does is here, written
//! once: [`connection`] is a connection without its socket, [`link`] shares it between threads,
//! [`drive`] is the main loop without its waiting. [`Disk`] carries out the core's disk steps in
//! the directory layout of Tahoe-LAFS 1.20.

pub mod buffer;
pub mod connection;
mod disk;
pub mod drive;
pub mod link;
pub mod links;
pub mod memory;
mod rsa;
pub mod setup;
pub mod tls;
pub mod unix;

pub use disk::{Disk, DiskOptions};
pub use rsa::HostRsa;
