//! The storage service: what clients ask of it, and how it keeps shares.

pub mod container;
pub mod protocol;
mod server;

pub use server::{StorageAction, StorageConfig, StorageEvent, StorageServer, StorageStats};
