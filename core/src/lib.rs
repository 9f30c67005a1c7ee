#![no_std]
//! core

extern crate alloc;

pub mod base32;
pub mod netstring;
