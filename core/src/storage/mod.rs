//! The storage service: what clients ask of it, and how it keeps shares.

pub mod protocol;
mod stub;
pub use stub::*;
