//! The kinds of capabilities, and why a text is none of them.

use core::fmt;

use super::fields::{Field, Problem};

/// The kinds this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `URI:LIT:`
    Literal,
    /// `URI:CHK:`
    Chk,
    /// `URI:CHK-Verifier:`
    ChkVerify,
    /// `URI:SSK:`
    Sdmf,
    /// `URI:SSK-RO:`
    SdmfRead,
    /// `URI:SSK-Verifier:`
    SdmfVerify,
    /// `URI:MDMF:`
    Mdmf,
    /// `URI:MDMF-RO:`
    MdmfRead,
    /// `URI:MDMF-Verifier:`
    MdmfVerify,
    /// `URI:DIR2:`
    Directory,
    /// `URI:DIR2-RO:`
    DirectoryRead,
    /// `URI:DIR2-Verifier:`
    DirectoryVerify,
    /// `URI:DIR2-MDMF:`
    DirectoryMdmf,
    /// `URI:DIR2-MDMF-RO:`
    DirectoryMdmfRead,
    /// `URI:DIR2-MDMF-Verifier:`
    DirectoryMdmfVerify,
    /// `URI:DIR2-CHK:`
    DirectoryChk,
    /// `URI:DIR2-CHK-Verifier:`
    DirectoryChkVerify,
    /// `URI:DIR2-LIT:`
    DirectoryLiteral,
}

impl Kind {
    const ALL: [Self; 18] = [
        Self::Literal,
        Self::Chk,
        Self::ChkVerify,
        Self::Sdmf,
        Self::SdmfRead,
        Self::SdmfVerify,
        Self::Mdmf,
        Self::MdmfRead,
        Self::MdmfVerify,
        Self::Directory,
        Self::DirectoryRead,
        Self::DirectoryVerify,
        Self::DirectoryMdmf,
        Self::DirectoryMdmfRead,
        Self::DirectoryMdmfVerify,
        Self::DirectoryChk,
        Self::DirectoryChkVerify,
        Self::DirectoryLiteral,
    ];

    /// The beginning of every capability of this kind, with the colon.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Literal => "URI:LIT:",
            Self::Chk => "URI:CHK:",
            Self::ChkVerify => "URI:CHK-Verifier:",
            Self::Sdmf => "URI:SSK:",
            Self::SdmfRead => "URI:SSK-RO:",
            Self::SdmfVerify => "URI:SSK-Verifier:",
            Self::Mdmf => "URI:MDMF:",
            Self::MdmfRead => "URI:MDMF-RO:",
            Self::MdmfVerify => "URI:MDMF-Verifier:",
            Self::Directory => "URI:DIR2:",
            Self::DirectoryRead => "URI:DIR2-RO:",
            Self::DirectoryVerify => "URI:DIR2-Verifier:",
            Self::DirectoryMdmf => "URI:DIR2-MDMF:",
            Self::DirectoryMdmfRead => "URI:DIR2-MDMF-RO:",
            Self::DirectoryMdmfVerify => "URI:DIR2-MDMF-Verifier:",
            Self::DirectoryChk => "URI:DIR2-CHK:",
            Self::DirectoryChkVerify => "URI:DIR2-CHK-Verifier:",
            Self::DirectoryLiteral => "URI:DIR2-LIT:",
        }
    }

    /// Whether it grants the right to write.
    pub const fn is_writable(self) -> bool {
        matches!(self, Self::Sdmf | Self::Mdmf | Self::Directory | Self::DirectoryMdmf)
    }

    /// Whether it grants the right to read or write something that can change. As the peer has it,
    /// verify capabilities do not count.
    pub const fn is_mutable(self) -> bool {
        let readable =
            matches!(self, Self::SdmfRead | Self::MdmfRead | Self::DirectoryRead | Self::DirectoryMdmfRead);
        readable || self.is_writable()
    }

    /// Whether it grants no more than to verify and repair.
    pub const fn only_verifies(self) -> bool {
        matches!(
            self,
            Self::ChkVerify
                | Self::SdmfVerify
                | Self::MdmfVerify
                | Self::DirectoryVerify
                | Self::DirectoryMdmfVerify
                | Self::DirectoryChkVerify
        )
    }

    pub(super) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| text.starts_with(kind.prefix()))
    }

    pub(super) fn strip(self, text: &str) -> Result<&str, CapabilityError> {
        text.strip_prefix(self.prefix()).ok_or(CapabilityError::OtherKind { expected: self })
    }
}

/// What is said of a capability's rights, by a mark before it or by the place it is in. Kinds that
/// are unknown are believed to have no more rights than that; of known kinds it must be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// `ro.`: it grants no right to write.
    ReadOnly,
    /// `imm.`: nor can what it names change.
    Immutable,
}

impl Mark {
    /// The mark as written before a capability.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro.",
            Self::Immutable => "imm.",
        }
    }

    /// Takes the mark off, if there is one. Only one can be.
    pub(super) fn split(text: &str) -> (Option<Self>, &str) {
        let marks = [Self::Immutable, Self::ReadOnly].into_iter();
        let mut found = marks.filter_map(|mark| Some((Some(mark), text.strip_prefix(mark.prefix())?)));
        found.next().unwrap_or((None, text))
    }

    /// Whether it is true of a known kind.
    ///
    /// # Errors
    /// [`CapabilityError::Right`] if capabilities of this kind grant more.
    pub fn check(self, kind: Kind) -> Result<(), CapabilityError> {
        let broken = match self {
            Self::ReadOnly => kind.is_writable(),
            Self::Immutable => kind.is_mutable(),
        };
        if broken { Err(CapabilityError::Right { kind, mark: self }) } else { Ok(()) }
    }
}

/// Why a string is not a capability. Says nothing about the content of a field, which may be a
/// secret, only which field it is and how it is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CapabilityError {
    /// It does not begin like any capability.
    NotACapability,
    /// It is longer than [`CAPABILITY_LEN_MAX`](super::CAPABILITY_LEN_MAX).
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
    /// It grants more than its mark, or the place it is in, allows.
    Right {
        /// The kind.
        kind: Kind,
        /// What is allowed.
        mark: Mark,
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
            Self::Right { kind, mark: Mark::ReadOnly } => {
                write!(out, "a {}... capability grants writing where only reading is allowed", kind.prefix())
            }
            Self::Right { kind, mark: Mark::Immutable } => {
                write!(
                    out,
                    "what a {}... capability names can change, which is not allowed here",
                    kind.prefix()
                )
            }
        }
    }
}

impl core::error::Error for CapabilityError {}
