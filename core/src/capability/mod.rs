//! Capabilities: the strings that name files and directories and grant rights to them.
//!
//! Whoever knows the string has the right, so the types print it only through `Display`, which is
//! for handing a capability to its user; `Debug`, for logs and test failures, shows nothing that
//! grants a right. Rights are types: narrowing is a method, widening does not exist.
//!
//! Reading is strict and canonical: what parses prints back identically, but for two things that
//! say nothing and are dropped: a true mark (`ro.`, `imm.`) before a known kind, and what follows
//! the last field of an MDMF capability. The forms are those of `allmydata/uri.py`.

use core::fmt;
use core::str::FromStr;

mod chk;
mod directory;
mod fields;
mod kind;
mod literal;
mod mutable;
#[cfg(test)]
mod tests;
mod unknown;

pub use chk::{ChkCap, ChkVerifyCap};
pub use directory::DirectoryCap;
pub use fields::{Field, Problem};
pub use kind::{CapabilityError, Kind, Mark};
pub use literal::{LITERAL_LEN_MAX, LITERAL_READ_LEN_MAX, LiteralCap};
pub use mutable::{MutableCap, MutableFormat, MutableReadCap, MutableVerifyCap};
pub use unknown::UnknownCap;

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
    /// The right to write and read a mutable file.
    Mutable(MutableCap),
    /// The right to read a mutable file.
    MutableRead(MutableReadCap),
    /// The right to verify a mutable file.
    MutableVerify(MutableVerifyCap),
    /// A right to a directory.
    Directory(DirectoryCap),
    /// A kind this version does not know; it can be kept and handed on.
    Unknown(UnknownCap),
}

impl Capability {
    /// The same without the right to write; `None` for unknown kinds, of which nobody knows how.
    pub fn read_only(&self) -> Option<Self> {
        match self {
            Self::Mutable(cap) => Some(Self::MutableRead(cap.read_cap())),
            Self::Directory(cap) => cap.file().read_only().and_then(DirectoryCap::new).map(Self::Directory),
            Self::Unknown(_) => None,
            _ => Some(self.clone()),
        }
    }

    /// The right to verify without the right to read; `None` for literals, of which there is
    /// nothing to verify, and for unknown kinds.
    pub fn verify_cap(&self) -> Option<Self> {
        match self {
            Self::Chk(cap) => Some(Self::ChkVerify(cap.verify_cap())),
            Self::Mutable(cap) => Some(Self::MutableVerify(cap.verify_cap())),
            Self::MutableRead(cap) => Some(Self::MutableVerify(cap.verify_cap())),
            Self::ChkVerify(_) | Self::MutableVerify(_) => Some(self.clone()),
            Self::Directory(cap) => cap.file().verify_cap().and_then(DirectoryCap::new).map(Self::Directory),
            Self::Literal(_) | Self::Unknown(_) => None,
        }
    }

    /// Where the shares are found; `None` if there are none or nobody knows.
    pub fn storage_index(&self) -> Option<StorageIndex> {
        match self {
            Self::Chk(cap) => Some(cap.storage_index()),
            Self::ChkVerify(cap) => Some(cap.storage_index()),
            Self::Mutable(cap) => Some(cap.storage_index()),
            Self::MutableRead(cap) => Some(cap.storage_index()),
            Self::MutableVerify(cap) => Some(cap.storage_index()),
            Self::Directory(cap) => cap.file().storage_index(),
            Self::Literal(_) | Self::Unknown(_) => None,
        }
    }

    /// The kind; `None` if it is unknown.
    pub fn kind(&self) -> Option<Kind> {
        let mutable = |format, sdmf, mdmf| match format {
            MutableFormat::Sdmf => sdmf,
            MutableFormat::Mdmf => mdmf,
        };
        Some(match self {
            Self::Literal(_) => Kind::Literal,
            Self::Chk(_) => Kind::Chk,
            Self::ChkVerify(_) => Kind::ChkVerify,
            Self::Mutable(cap) => mutable(cap.format, Kind::Sdmf, Kind::Mdmf),
            Self::MutableRead(cap) => mutable(cap.format, Kind::SdmfRead, Kind::MdmfRead),
            Self::MutableVerify(cap) => mutable(cap.format, Kind::SdmfVerify, Kind::MdmfVerify),
            Self::Directory(cap) => cap.kind(),
            Self::Unknown(_) => return None,
        })
    }

    /// Whether it grants the right to write. `false` for unknown kinds: no right that can be used.
    pub fn is_writable(&self) -> bool {
        self.kind().is_some_and(Kind::is_writable)
    }

    /// Whether it grants the right to read or write something that can change; see
    /// [`Kind::is_mutable`].
    pub fn is_mutable(&self) -> bool {
        self.kind().is_some_and(Kind::is_mutable)
    }

    /// Whether it names a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(cap) => cap.fmt(out),
            Self::Chk(cap) => cap.fmt(out),
            Self::ChkVerify(cap) => cap.fmt(out),
            Self::Mutable(cap) => cap.fmt(out),
            Self::MutableRead(cap) => cap.fmt(out),
            Self::MutableVerify(cap) => cap.fmt(out),
            Self::Directory(cap) => cap.fmt(out),
            Self::Unknown(cap) => cap.fmt(out),
        }
    }
}

impl FromStr for Capability {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        let (mark, unmarked) = Mark::split(text);
        let Some(kind) = Kind::of(unmarked) else {
            return text.parse().map(Self::Unknown);
        };
        if text.len() > CAPABILITY_LEN_MAX {
            return Err(CapabilityError::TooLong { len: text.len() });
        }
        if let Some(mark) = mark {
            mark.check(kind)?;
        }
        match kind {
            Kind::Literal => unmarked.parse().map(Self::Literal),
            Kind::Chk => unmarked.parse().map(Self::Chk),
            Kind::ChkVerify => unmarked.parse().map(Self::ChkVerify),
            Kind::Sdmf | Kind::Mdmf => unmarked.parse().map(Self::Mutable),
            Kind::SdmfRead | Kind::MdmfRead => unmarked.parse().map(Self::MutableRead),
            Kind::SdmfVerify | Kind::MdmfVerify => unmarked.parse().map(Self::MutableVerify),
            _ => unmarked.parse().map(Self::Directory),
        }
    }
}
