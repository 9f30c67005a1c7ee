//! Capabilities: the strings that name files and grant rights to them.
//!
//! Whoever knows the string has the right, so the types print it only through `Display`, which is
//! for handing a capability to its user; `Debug`, for logs and test failures, shows nothing that
//! grants a right. Rights are types: narrowing is a method, widening does not exist.
//!
//! Reading is strict and canonical: what parses prints back identically. The forms are those of
//! `allmydata/uri.py`.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

mod chk;
mod fields;
mod literal;
#[cfg(test)]
mod tests;

pub use chk::{ChkCap, ChkVerifyCap};
pub use fields::{Field, Problem};
pub use literal::{LITERAL_LEN_MAX, LITERAL_READ_LEN_MAX, LiteralCap};

use crate::storage_index::StorageIndex;

/// The longest capability string looked at, in bytes.
pub const CAPABILITY_LEN_MAX: usize = 8192;

/// Any capability.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Capability {
    /// A file held in the capability itself.
    Literal(LiteralCap),
    /// The right to read an immutable file.
    Chk(ChkCap),
    /// The right to verify an immutable file.
    ChkVerify(ChkVerifyCap),
    /// A kind this version does not know; it can be kept and handed on.
    Unknown(UnknownCap),
}

impl Capability {
    /// The right to verify without the right to read; `None` for literals, of which there is
    /// nothing to verify, and for unknown kinds.
    pub fn verify_cap(&self) -> Option<ChkVerifyCap> {
        match self {
            Self::Chk(cap) => Some(cap.verify_cap()),
            Self::ChkVerify(cap) => Some(cap.clone()),
            Self::Literal(_) | Self::Unknown(_) => None,
        }
    }

    /// Where the shares are found; `None` if there are none or nobody knows.
    pub fn storage_index(&self) -> Option<StorageIndex> {
        match self {
            Self::Chk(cap) => Some(cap.storage_index()),
            Self::ChkVerify(cap) => Some(cap.storage_index()),
            Self::Literal(_) | Self::Unknown(_) => None,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(cap) => cap.fmt(out),
            Self::Chk(cap) => cap.fmt(out),
            Self::ChkVerify(cap) => cap.fmt(out),
            Self::Unknown(cap) => cap.fmt(out),
        }
    }
}

impl FromStr for Capability {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        match Kind::of(text) {
            Some(Kind::Literal) => text.parse().map(Self::Literal),
            Some(Kind::Chk) => text.parse().map(Self::Chk),
            Some(Kind::ChkVerify) => text.parse().map(Self::ChkVerify),
            None => text.parse().map(Self::Unknown),
        }
    }
}

/// A capability of a kind that this version cannot use: mutable files, directories, or something
/// of the future. Told apart from a malformed capability of a known kind, which is an error.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UnknownCap {
    text: String,
}

impl UnknownCap {
    /// The part that names the kind, such as `URI:SSK` or `x-something`; it grants no right.
    pub fn kind(&self) -> &str {
        kind_name(&self.text).expect("checked when it was read")
    }
}

impl fmt::Display for UnknownCap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Debug for UnknownCap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "UnknownCap({})", self.kind())
    }
}

impl FromStr for UnknownCap {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        if text.len() > CAPABILITY_LEN_MAX {
            return Err(CapabilityError::TooLong { len: text.len() });
        }
        // Anything but visible ASCII would be a way to hide or break lines in a listing.
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible || kind_name(text).is_none() || Kind::of(text).is_some() {
            return Err(CapabilityError::NotACapability);
        }
        Ok(Self { text: text.to_owned() })
    }
}

/// The kinds this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `URI:LIT:`
    Literal,
    /// `URI:CHK:`
    Chk,
    /// `URI:CHK-Verifier:`
    ChkVerify,
}

impl Kind {
    /// The beginning of every capability of this kind, with the colon.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Literal => "URI:LIT:",
            Self::Chk => "URI:CHK:",
            Self::ChkVerify => "URI:CHK-Verifier:",
        }
    }

    fn of(text: &str) -> Option<Self> {
        [Self::Literal, Self::Chk, Self::ChkVerify].into_iter().find(|kind| text.starts_with(kind.prefix()))
    }

    fn strip(self, text: &str) -> Result<&str, CapabilityError> {
        text.strip_prefix(self.prefix()).ok_or(CapabilityError::OtherKind { expected: self })
    }
}

/// Why a string is not a capability. Says nothing about the content of a field, which may be a
/// secret, only which field it is and how it is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CapabilityError {
    /// It does not begin like any capability.
    NotACapability,
    /// It is longer than [`CAPABILITY_LEN_MAX`].
    TooLong {
        /// In bytes.
        len: usize,
    },
    /// A capability of one kind was asked for; this is something else.
    OtherKind {
        /// The kind asked for.
        expected: Kind,
    },
    /// A field of a known kind is wrong.
    Field {
        /// The kind.
        kind: Kind,
        /// The field.
        field: Field,
        /// What is wrong with it.
        problem: Problem,
    },
    /// Something follows the last field of a known kind.
    Trailing {
        /// The kind.
        kind: Kind,
    },
}

impl fmt::Display for CapabilityError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotACapability => write!(out, "this is not a capability"),
            Self::TooLong { len } => {
                write!(out, "{len} characters are too many for a capability")
            }
            Self::OtherKind { expected } => {
                write!(out, "this is not a {}... capability", expected.prefix())
            }
            Self::Field { kind, field, problem } => {
                write!(out, "the {field} of this {}... capability {problem}", kind.prefix())
            }
            Self::Trailing { kind } => {
                write!(out, "something follows the end of this {}... capability", kind.prefix())
            }
        }
    }
}

impl core::error::Error for CapabilityError {}

/// The part of `text` that names a kind, if it begins like a capability: `URI:NAME`, or a name
/// with the `x-` of experiments, followed by a colon; either may have a mark of alleged rights
/// (`ro.`, `imm.`), which belongs to the kind.
fn kind_name(text: &str) -> Option<&str> {
    let unmarked = ["ro.", "imm."].iter().find_map(|mark| text.strip_prefix(mark)).unwrap_or(text);
    let (lead, name_and_rest) = match unmarked.strip_prefix("URI:") {
        Some(rest) => ("URI:", rest),
        None => ("x-", unmarked.strip_prefix("x-")?),
    };
    let (name, _) = name_and_rest.split_once(':')?;
    let well_formed = !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let marks = text.len() - unmarked.len();
    well_formed.then(|| &text[..marks + lead.len() + name.len()])
}
