//! `URI:DIR2...`: directories, each a table kept in a file.

use core::fmt;
use core::str::FromStr;

use super::fields::Fields;
use super::kind::{CapabilityError, Kind};
use super::{
    Capability, ChkCap, ChkVerifyCap, LiteralCap, MutableCap, MutableFormat, MutableReadCap, MutableVerifyCap,
};

/// The right to a directory: a right to the file that holds its table, under another name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DirectoryCap {
    /// To read and change it.
    Mutable(MutableCap),
    /// To read it; others may change it.
    MutableRead(MutableReadCap),
    /// To verify a directory that can change.
    MutableVerify(MutableVerifyCap),
    /// To read a directory that never changes.
    Chk(ChkCap),
    /// To verify a directory that never changes.
    ChkVerify(ChkVerifyCap),
    /// A small directory that never changes, held in the capability itself.
    Literal(LiteralCap),
}

impl DirectoryCap {
    /// The directory whose table is in this file; `None` if no directory can be in it: it is one
    /// itself, or of an unknown kind.
    pub fn new(file: Capability) -> Option<Self> {
        Some(match file {
            Capability::Mutable(cap) => Self::Mutable(cap),
            Capability::MutableRead(cap) => Self::MutableRead(cap),
            Capability::MutableVerify(cap) => Self::MutableVerify(cap),
            Capability::Chk(cap) => Self::Chk(cap),
            Capability::ChkVerify(cap) => Self::ChkVerify(cap),
            Capability::Literal(cap) => Self::Literal(cap),
            Capability::Directory(_) | Capability::Unknown(_) => return None,
        })
    }

    /// The file that holds the table.
    pub fn file(&self) -> Capability {
        match self.clone() {
            Self::Mutable(cap) => Capability::Mutable(cap),
            Self::MutableRead(cap) => Capability::MutableRead(cap),
            Self::MutableVerify(cap) => Capability::MutableVerify(cap),
            Self::Chk(cap) => Capability::Chk(cap),
            Self::ChkVerify(cap) => Capability::ChkVerify(cap),
            Self::Literal(cap) => Capability::Literal(cap),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        let mutable = |format, sdmf, mdmf| match format {
            MutableFormat::Sdmf => sdmf,
            MutableFormat::Mdmf => mdmf,
        };
        match self {
            Self::Mutable(cap) => mutable(cap.format, Kind::Directory, Kind::DirectoryMdmf),
            Self::MutableRead(cap) => mutable(cap.format, Kind::DirectoryRead, Kind::DirectoryMdmfRead),
            Self::MutableVerify(cap) => mutable(cap.format, Kind::DirectoryVerify, Kind::DirectoryMdmfVerify),
            Self::Chk(_) => Kind::DirectoryChk,
            Self::ChkVerify(_) => Kind::DirectoryChkVerify,
            Self::Literal(_) => Kind::DirectoryLiteral,
        }
    }
}

impl fmt::Display for DirectoryCap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Mutable(cap) => cap.write(kind, out),
            Self::MutableRead(cap) => cap.write(kind, out),
            Self::MutableVerify(cap) => cap.write(kind, out),
            Self::Chk(cap) => cap.write(kind, out),
            Self::ChkVerify(cap) => cap.write(kind, out),
            Self::Literal(cap) => cap.write(kind, out),
        }
    }
}

impl FromStr for DirectoryCap {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        use MutableFormat::{Mdmf, Sdmf};
        let other = CapabilityError::OtherKind { expected: Kind::Directory };
        let kind = Kind::of(text).ok_or(other)?;
        let fields = Fields::new(kind, kind.strip(text)?);
        match kind {
            Kind::Directory => MutableCap::from_fields(Sdmf, fields).map(Self::Mutable),
            Kind::DirectoryMdmf => MutableCap::from_fields(Mdmf, fields).map(Self::Mutable),
            Kind::DirectoryRead => MutableReadCap::from_fields(Sdmf, fields).map(Self::MutableRead),
            Kind::DirectoryMdmfRead => MutableReadCap::from_fields(Mdmf, fields).map(Self::MutableRead),
            Kind::DirectoryVerify => MutableVerifyCap::from_fields(Sdmf, fields).map(Self::MutableVerify),
            Kind::DirectoryMdmfVerify => MutableVerifyCap::from_fields(Mdmf, fields).map(Self::MutableVerify),
            Kind::DirectoryChk => ChkCap::from_fields(fields).map(Self::Chk),
            Kind::DirectoryChkVerify => ChkVerifyCap::from_fields(fields).map(Self::ChkVerify),
            Kind::DirectoryLiteral => LiteralCap::from_fields(fields).map(Self::Literal),
            _ => Err(other),
        }
    }
}
