//! What every runtime needs of the operating system: share files, TLS, keys, a pool for jobs.

pub mod buffer;
pub mod tls;
