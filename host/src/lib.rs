//! What every runtime needs of the operating system: share files, TLS, keys, a pool for jobs.

mod disk;
mod unix;

pub use disk::{Disk, DiskOptions};
