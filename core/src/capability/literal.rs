//! `URI:LIT:`: a file so small that the capability holds its content.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::fields::{Field, Fields, Problem};
use super::kind::{CapabilityError, Kind};
use crate::base32;

/// The longest content, in bytes, that is *written* as a literal: a rule of the grid, so that
/// equal uploads give equal capabilities.
pub const LITERAL_LEN_MAX: usize = 55;

/// The longest literal that is *read*, in bytes: other writers may draw the line elsewhere.
pub const LITERAL_READ_LEN_MAX: usize = 4096;

/// The capability of a file of a few bytes: the bytes themselves. Nothing is stored on servers.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LiteralCap {
    data: Vec<u8>,
}

impl LiteralCap {
    /// The capability for `data`, or `None` if it is longer than [`LITERAL_LEN_MAX`] and has to be
    /// uploaded.
    pub fn new(data: Vec<u8>) -> Option<Self> {
        (data.len() <= LITERAL_LEN_MAX).then_some(Self { data })
    }

    /// The content of the file.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The length of the file in bytes.
    pub fn size(&self) -> u64 {
        self.data.len() as u64
    }

    pub(super) fn from_fields(mut fields: Fields<'_>) -> Result<Self, CapabilityError> {
        let content = fields.next(Field::Data)?;
        let problem = if content.len() > base32::encoded_len(LITERAL_READ_LEN_MAX) {
            Problem::OutOfRange
        } else if !base32::is_alphabet(content) {
            Problem::NotBase32
        } else if let Some(data) = base32::decode(content) {
            fields.end()?;
            return Ok(Self { data });
        } else {
            Problem::LooseBits
        };
        Err(fields.error(Field::Data, problem))
    }

    pub(super) fn write(&self, kind: Kind, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", kind.prefix(), base32::encode(&self.data))
    }
}

impl fmt::Display for LiteralCap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(Kind::Literal, out)
    }
}

impl fmt::Debug for LiteralCap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LiteralCap(<{} bytes>)", self.data.len())
    }
}

impl FromStr for LiteralCap {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        Self::from_fields(Fields::new(Kind::Literal, Kind::Literal.strip(text)?))
    }
}
