//! The storage service: what clients ask of it, and how it keeps shares.

pub mod container;
mod gate;
mod incoming;
mod leases;
pub mod protocol;
mod ranges;
mod server;
pub mod slot;
#[cfg(test)]
mod testing;

pub use server::{
    RequestKey, StorageAction, StorageConfig, StorageEvent, StorageResult, StorageServer, StorageStats,
};
