//! `URI:CHK:` and `URI:CHK-Verifier:`: immutable files that are stored as shares.

use core::fmt;
use core::str::FromStr;

use super::fields::{Field, Fields, Problem};
use super::kind::{CapabilityError, Kind};
use crate::base32;
use crate::encoding::{SHARES_MAX, check_shares};
use crate::hash::{Hash, storage_index_hash};
use crate::secret::EncryptionKey;
use crate::storage_index::StorageIndex;

/// Lets its holder find, verify and read one immutable file.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ChkCap {
    /// Decrypts the file; the storage index follows from it.
    pub key: EncryptionKey,
    /// The hash of the extension block, from which everything else is verified.
    pub extension_hash: Hash,
    /// How many shares suffice; from 1.
    pub needed: u16,
    /// How many shares there are; from `needed` to 256.
    pub total: u16,
    /// The length of the file in bytes.
    pub size: u64,
}

impl ChkCap {
    /// What remains when the right to read is taken away.
    pub fn verify_cap(&self) -> ChkVerifyCap {
        ChkVerifyCap {
            storage_index: self.storage_index(),
            extension_hash: self.extension_hash,
            needed: self.needed,
            total: self.total,
            size: self.size,
        }
    }

    /// Where the shares are found.
    pub fn storage_index(&self) -> StorageIndex {
        storage_index_hash(&self.key)
    }

    pub(super) fn from_fields(mut fields: Fields<'_>) -> Result<Self, CapabilityError> {
        let key = EncryptionKey::from_bytes(fields.base32_array(Field::Key)?);
        let Tail { extension_hash, needed, total, size } = Tail::parse(fields)?;
        Ok(Self { key, extension_hash, needed, total, size })
    }

    pub(super) fn write(&self, kind: Kind, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = Tail {
            extension_hash: self.extension_hash,
            needed: self.needed,
            total: self.total,
            size: self.size,
        };
        write!(out, "{}{}:{tail}", kind.prefix(), base32::encode(self.key.expose()))
    }
}

/// Lets its holder find, verify and repair one immutable file, but not read it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ChkVerifyCap {
    /// Where the shares are found.
    pub storage_index: StorageIndex,
    /// The hash of the extension block, from which everything else is verified.
    pub extension_hash: Hash,
    /// How many shares suffice; from 1.
    pub needed: u16,
    /// How many shares there are; from `needed` to 256.
    pub total: u16,
    /// The length of the file in bytes.
    pub size: u64,
}

impl ChkVerifyCap {
    /// Where the shares are found.
    pub fn storage_index(&self) -> StorageIndex {
        self.storage_index
    }

    pub(super) fn from_fields(mut fields: Fields<'_>) -> Result<Self, CapabilityError> {
        let storage_index = StorageIndex(fields.base32_array(Field::StorageIndex)?);
        let Tail { extension_hash, needed, total, size } = Tail::parse(fields)?;
        Ok(Self { storage_index, extension_hash, needed, total, size })
    }

    pub(super) fn write(&self, kind: Kind, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = Tail {
            extension_hash: self.extension_hash,
            needed: self.needed,
            total: self.total,
            size: self.size,
        };
        write!(out, "{}{}:{tail}", kind.prefix(), self.storage_index)
    }
}

impl fmt::Display for ChkCap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(Kind::Chk, out)
    }
}

impl fmt::Display for ChkVerifyCap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(Kind::ChkVerify, out)
    }
}

impl fmt::Debug for ChkCap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "ChkCap({:?}, {}-of-{}, {} bytes)",
            self.storage_index(),
            self.needed,
            self.total,
            self.size
        )
    }
}

impl fmt::Debug for ChkVerifyCap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "ChkVerifyCap({:?}, {}-of-{}, {} bytes)",
            self.storage_index, self.needed, self.total, self.size
        )
    }
}

impl FromStr for ChkCap {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        Self::from_fields(Fields::new(Kind::Chk, Kind::Chk.strip(text)?))
    }
}

impl FromStr for ChkVerifyCap {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        Self::from_fields(Fields::new(Kind::ChkVerify, Kind::ChkVerify.strip(text)?))
    }
}

/// What both kinds have in common: everything after their first field.
struct Tail {
    extension_hash: Hash,
    needed: u16,
    total: u16,
    size: u64,
}

impl Tail {
    fn parse(mut fields: Fields<'_>) -> Result<Self, CapabilityError> {
        let extension_hash = Hash(fields.base32_array(Field::ExtensionHash)?);
        let needed = fields.number(Field::Needed)?;
        let total = fields.number(Field::Total)?;
        let size = fields.number(Field::Size)?;
        if check_shares(needed, total).is_err() {
            let field = if (1..=SHARES_MAX).contains(&needed) { Field::Total } else { Field::Needed };
            return Err(fields.error(field, Problem::OutOfRange));
        }
        fields.end()?;
        Ok(Self { extension_hash, needed, total, size })
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = base32::encode(&self.extension_hash.0);
        write!(out, "{hash}:{}:{}:{}", self.needed, self.total, self.size)
    }
}
