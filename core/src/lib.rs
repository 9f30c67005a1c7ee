#![no_std]
//! core

extern crate alloc;

pub mod base32;
pub mod capability;
pub mod encoding;
pub mod hash;
pub mod hashtree;
pub mod netstring;
pub mod secret;
pub mod storage_index;
