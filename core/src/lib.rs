#![no_std]
//! core

extern crate alloc;

pub mod base32;
pub mod hash;
pub mod netstring;
pub mod secret;
pub mod storage_index;
