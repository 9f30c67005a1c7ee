//! Bulk bytes that machines move without looking inside.
//!
//! A payload is either real bytes (reference counted: cloning and slicing copy nothing) or a
//! stand-in that only knows where its content would come from. Machines use [`Payload::len`] and
//! [`Payload::slice`]; what is inside is the business of jobs ([`crate::job`]), of the wire codec
//! and of the host's disk. That is what lets a simulator move petabytes as seeds and lengths.

use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Range;

/// Content described instead of held: `len` bytes from `offset` of the stream that `seed` names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Synthetic {
    /// Names the stream. What it means is up to the simulator's job executor.
    pub seed: u64,
    /// First byte within the stream.
    pub offset: u64,
    /// Number of bytes.
    pub len: u64,
}

/// Opaque, reference-counted bulk bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Content);

#[derive(Clone, PartialEq, Eq)]
enum Content {
    Bytes(Bytes),
    Synthetic(Synthetic),
}

impl Payload {
    /// No bytes at all.
    pub const fn empty() -> Payload {
        Payload(Content::Bytes(Bytes::new()))
    }

    /// A stand-in for content that is never materialised.
    pub fn synthetic(content: Synthetic) -> Payload {
        Payload(Content::Synthetic(content))
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Synthetic(content) => content.len,
        }
    }

    /// Whether there is no byte in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of `range` (relative to this payload), sharing its storage.
    ///
    /// # Panics
    /// If the range does not lie within the payload: callers know the length.
    pub fn slice(&self, range: Range<u64>) -> Payload {
        assert!(range.start <= range.end && range.end <= self.len(), "slice outside a payload");
        match &self.0 {
            Content::Bytes(bytes) => {
                Payload(Content::Bytes(bytes.slice(range.start as usize..range.end as usize)))
            }
            Content::Synthetic(content) => Payload(Content::Synthetic(Synthetic {
                seed: content.seed,
                offset: content.offset + range.start,
                len: range.end - range.start,
            })),
        }
    }

    /// Splits off and returns the first `len` bytes, keeping the rest.
    ///
    /// # Panics
    /// If there are fewer than `len` bytes.
    pub fn take_front(&mut self, len: u64) -> Payload {
        let front = self.slice(0..len);
        *self = self.slice(len..self.len());
        front
    }

    /// The real bytes, for jobs, codecs and hosts. `None` for a stand-in.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Content::Bytes(bytes) => Some(bytes),
            Content::Synthetic(_) => None,
        }
    }

    /// The real bytes by value. `None` for a stand-in.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self.0 {
            Content::Bytes(bytes) => Some(bytes),
            Content::Synthetic(_) => None,
        }
    }

    /// The description, if this is a stand-in.
    pub fn as_synthetic(&self) -> Option<Synthetic> {
        match &self.0 {
            Content::Bytes(_) => None,
            Content::Synthetic(content) => Some(*content),
        }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Payload {
        Payload(Content::Bytes(bytes))
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload(Content::Bytes(Bytes::from(bytes)))
    }
}

impl Default for Payload {
    fn default() -> Payload {
        Payload::empty()
    }
}

impl Hash for Payload {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Content::Bytes(bytes) => {
                state.write_u8(0);
                bytes.hash(state);
            }
            Content::Synthetic(content) => {
                state.write_u8(1);
                content.hash(state);
            }
        }
    }
}

/// Content may be plaintext, so only the length is shown.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}
