//! The fields of a capability string, each read strictly and blamed by name.

use core::fmt;

use super::kind::{CapabilityError, Kind};
use crate::base32;
use crate::netstring::parse_decimal;

/// A part of a capability between colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// The content of a literal capability.
    Data,
    /// The encryption key.
    Key,
    /// The storage index.
    StorageIndex,
    /// The hash of the extension block.
    ExtensionHash,
    /// The hash of the public key.
    Fingerprint,
    /// How many shares suffice.
    Needed,
    /// How many shares there are.
    Total,
    /// The length of the file in bytes.
    Size,
}

impl fmt::Display for Field {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Data => "content",
            Self::Key => "key",
            Self::StorageIndex => "storage index",
            Self::ExtensionHash => "hash",
            Self::Fingerprint => "fingerprint",
            Self::Needed => "number of needed shares",
            Self::Total => "number of shares",
            Self::Size => "file size",
        })
    }
}

/// What is wrong with a field; never with its content, which may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// The capability ends before it.
    Missing,
    /// It has another length than it must (in characters): cut off, or run into something else.
    Length {
        /// The length it must have.
        expected: usize,
        /// The length it has.
        found: usize,
    },
    /// It has characters that are not lower-case base32.
    NotBase32,
    /// It is base32 of no whole number of bytes: characters are missing or its end is altered.
    LooseBits,
    /// It is not a plain decimal number without leading zeros that fits into 64 bits.
    NotANumber,
    /// The number is outside what is possible (or, for content, it is too long).
    OutOfRange,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(out, "is missing"),
            Self::Length { expected, found } => {
                write!(out, "has {found} characters instead of {expected}")
            }
            Self::NotBase32 => write!(out, "has characters other than a to z and 2 to 7"),
            Self::LooseBits => write!(out, "is incomplete or altered at its end"),
            Self::NotANumber => write!(out, "is not a plain number"),
            Self::OutOfRange => write!(out, "is out of range"),
        }
    }
}

/// Walks over the colon-separated fields of one capability.
pub(super) struct Fields<'a> {
    kind: Kind,
    rest: Option<&'a str>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(kind: Kind, text: &'a str) -> Self {
        Self { kind, rest: Some(text) }
    }

    pub(super) fn base32_array<const N: usize>(&mut self, field: Field) -> Result<[u8; N], CapabilityError> {
        let text = self.next(field)?;
        base32::decode_array(text).ok_or_else(|| {
            let expected = base32::encoded_len(N);
            self.error(
                field,
                match text.len() {
                    0 => Problem::Missing,
                    _ if !base32::is_alphabet(text) => Problem::NotBase32,
                    found if found != expected => Problem::Length { expected, found },
                    _ => Problem::LooseBits,
                },
            )
        })
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self, field: Field) -> Result<T, CapabilityError> {
        let text = self.next(field)?;
        if text.is_empty() {
            return Err(self.error(field, Problem::Missing));
        }
        let number = parse_decimal(text.as_bytes());
        let number = number.ok_or_else(|| self.error(field, Problem::NotANumber))?;
        T::try_from(number).map_err(|_| self.error(field, Problem::OutOfRange))
    }

    pub(super) fn next(&mut self, field: Field) -> Result<&'a str, CapabilityError> {
        let rest = self.rest.ok_or_else(|| self.error(field, Problem::Missing))?;
        let (text, rest) = match rest.split_once(':') {
            Some((text, rest)) => (text, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        Ok(text)
    }

    /// Nothing, not even a colon, may follow the last field.
    pub(super) fn end(self) -> Result<(), CapabilityError> {
        match self.rest {
            None => Ok(()),
            Some(_) => Err(CapabilityError::Trailing { kind: self.kind }),
        }
    }

    pub(super) fn error(&self, field: Field, problem: Problem) -> CapabilityError {
        CapabilityError::Field { kind: self.kind, field, problem }
    }
}
