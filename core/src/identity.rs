//! The names a node goes by.
//!
//! All three follow Tahoe-LAFS 1.20: a server's id is its Ed25519 announcement key, its tub id is
//! derived from its TLS certificate (lease secrets are hashed with it), and the permutation seed
//! places it on the ring.

use crate::base32;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// A server's id: its Ed25519 public key. Printed as `v0-` and 52 base32 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServerId(pub [u8; 32]);

impl ServerId {
    /// The first characters, enough for a person to tell the servers of a grid apart.
    pub fn short(&self) -> String {
        base32::encode(&self.0)[..8].into()
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v0-{}", base32::encode(&self.0))
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v0-{}..", self.short())
    }
}

/// A string that is not `v0-` and 52 base32 characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadServerId;

impl fmt::Display for BadServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a server id is `v0-` followed by 52 base32 characters")
    }
}

impl core::error::Error for BadServerId {}

impl FromStr for ServerId {
    type Err = BadServerId;
    fn from_str(text: &str) -> Result<ServerId, BadServerId> {
        text.strip_prefix("v0-").and_then(base32::decode_array).map(ServerId).ok_or(BadServerId)
    }
}

/// SHA-1 of the DER form of a node's TLS certificate, 20 bytes; base32 in print and in `my_nodeid`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TubId(pub [u8; 20]);

impl fmt::Display for TubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32::encode(&self.0))
    }
}

impl fmt::Debug for TubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
