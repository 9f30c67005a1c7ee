//! Why a share of a mutable file cannot be used.

use core::fmt;

use crate::encoding::EncodingError;
use crate::hashtree::HashTreeError;
use crate::rsa::KeyError;

/// A part of a mutable share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MutableSection {
    /// The public key.
    PublicKey,
    /// The signature of the prefix.
    Signature,
    /// The hashes that tie the share to the others.
    ShareHashes,
    /// The block hash tree.
    BlockHashes,
    /// The blocks.
    Data,
    /// The encrypted private key.
    PrivateKey,
}

impl fmt::Display for MutableSection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::PublicKey => "public key",
            Self::Signature => "signature",
            Self::ShareHashes => "share hashes",
            Self::BlockHashes => "block hash tree",
            Self::Data => "data",
            Self::PrivateKey => "private key",
        })
    }
}

/// What is wrong with a share of a mutable file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MutableShareError {
    /// Fewer bytes than needed.
    TooShort {
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        found: usize,
    },
    /// Neither SDMF (0) nor MDMF (1).
    Version {
        /// The version it says.
        version: u8,
    },
    /// The numbers do not describe a file.
    Encoding(EncodingError),
    /// A section begins before the one that it should follow.
    Order {
        /// The section.
        section: MutableSection,
    },
    /// A section has an impossible size.
    Size {
        /// The section.
        section: MutableSection,
    },
    /// A share with a number that the version does not have.
    NoSuchShare {
        /// The number.
        share: u16,
    },
    /// The public key is none.
    PublicKey(KeyError),
    /// The public key is not the one that the capability names.
    OtherPublicKey,
    /// The signature is not by the public key, or none could be made.
    Signature,
    /// The share hashes contradict the signed root or each other, or are too few.
    ShareHashes,
    /// The block hash tree contradicts its root.
    BlockHashes(HashTreeError),
    /// A block contradicts the block hash tree.
    Block {
        /// Its segment.
        segment: u64,
    },
    /// The private key is not the one that the capability belongs to.
    OtherPrivateKey,
}

impl From<EncodingError> for MutableShareError {
    fn from(error: EncodingError) -> Self {
        Self::Encoding(error)
    }
}

impl fmt::Display for MutableShareError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { needed, found } => {
                write!(out, "the share ends after {found} of {needed} bytes")
            }
            Self::Version { version } => write!(out, "mutable shares of version {version} are unknown"),
            Self::Encoding(error) => write!(out, "the share describes no file: {error}"),
            Self::Order { section } => write!(out, "the {section} of the share is out of order"),
            Self::Size { section } => write!(out, "the {section} of the share has an impossible size"),
            Self::NoSuchShare { share } => write!(out, "the file has no share {share}"),
            Self::PublicKey(error) => write!(out, "the public key in the share cannot be used: {error}"),
            Self::OtherPublicKey => write!(out, "the share belongs to another file: its public key differs"),
            Self::Signature => write!(out, "the signature is not by the file's key"),
            Self::ShareHashes => write!(out, "the share hashes do not lead to the signed root"),
            Self::BlockHashes(error) => write!(out, "the block hash tree is wrong: {error}"),
            Self::Block { segment } => write!(out, "the block of segment {segment} is damaged"),
            Self::OtherPrivateKey => write!(out, "the private key in the share is not the file's"),
        }
    }
}

impl core::error::Error for MutableShareError {}
