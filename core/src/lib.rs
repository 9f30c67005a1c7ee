#![no_std]
//! core

extern crate alloc;

pub mod base32;
pub mod capability;
pub mod encoding;
pub mod erasure;
pub mod happiness;
pub mod hash;
pub mod hashtree;
pub mod netstring;
pub mod ring;
pub mod secret;
pub mod segment;
pub mod share;
pub mod storage_index;
