//! `URI:SSK:`, `URI:MDMF:` and what remains of them: files that can change.

use core::fmt;
use core::str::FromStr;

use super::fields::{Field, Fields};
use super::kind::{CapabilityError, Kind};
use crate::base32;
use crate::hash::{Hash, mutable_read_key, mutable_storage_index};
use crate::secret::{ReadKey, WriteKey};
use crate::storage_index::StorageIndex;

/// How the shares of a mutable file are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MutableFormat {
    /// One segment, written as a whole: "small distributed mutable file", called `SSK` in
    /// capabilities.
    Sdmf,
    /// Segments that can be read and written one by one: "medium distributed mutable file".
    Mdmf,
}

/// Lets its holder find, verify, read and replace one mutable file.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MutableCap {
    /// The layout of the shares.
    pub format: MutableFormat,
    /// The hash of the private key, which it decrypts; the other keys follow from it.
    pub write_key: WriteKey,
    /// The hash of the public key that signs the file.
    pub fingerprint: Hash,
}

/// Lets its holder find, verify and read one mutable file.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MutableReadCap {
    /// The layout of the shares.
    pub format: MutableFormat,
    /// Decrypts the file; the storage index follows from it.
    pub read_key: ReadKey,
    /// The hash of the public key that signs the file.
    pub fingerprint: Hash,
}

/// Lets its holder find and verify one mutable file.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MutableVerifyCap {
    /// The layout of the shares.
    pub format: MutableFormat,
    /// Where the shares are found.
    pub storage_index: StorageIndex,
    /// The hash of the public key that signs the file.
    pub fingerprint: Hash,
}

impl MutableCap {
    /// What remains when the right to write is taken away.
    pub fn read_cap(&self) -> MutableReadCap {
        let read_key = mutable_read_key(&self.write_key);
        MutableReadCap { format: self.format, read_key, fingerprint: self.fingerprint }
    }

    /// What remains when the right to read is taken away too.
    pub fn verify_cap(&self) -> MutableVerifyCap {
        self.read_cap().verify_cap()
    }

    /// Where the shares are found.
    pub fn storage_index(&self) -> StorageIndex {
        self.read_cap().storage_index()
    }

    pub(super) fn from_fields(format: MutableFormat, fields: Fields<'_>) -> Result<Self, CapabilityError> {
        let (key, fingerprint) = parse(format, Field::Key, fields)?;
        Ok(Self { format, write_key: WriteKey::from_bytes(key), fingerprint })
    }

    pub(super) fn write(&self, kind: Kind, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(kind, self.write_key.expose(), &self.fingerprint, out)
    }
}

impl MutableReadCap {
    /// What remains when the right to read is taken away.
    pub fn verify_cap(&self) -> MutableVerifyCap {
        let storage_index = self.storage_index();
        MutableVerifyCap { format: self.format, storage_index, fingerprint: self.fingerprint }
    }

    /// Where the shares are found.
    pub fn storage_index(&self) -> StorageIndex {
        mutable_storage_index(&self.read_key)
    }

    pub(super) fn from_fields(format: MutableFormat, fields: Fields<'_>) -> Result<Self, CapabilityError> {
        let (key, fingerprint) = parse(format, Field::Key, fields)?;
        Ok(Self { format, read_key: ReadKey::from_bytes(key), fingerprint })
    }

    pub(super) fn write(&self, kind: Kind, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(kind, self.read_key.expose(), &self.fingerprint, out)
    }
}

impl MutableVerifyCap {
    /// Where the shares are found.
    pub fn storage_index(&self) -> StorageIndex {
        self.storage_index
    }

    pub(super) fn from_fields(format: MutableFormat, fields: Fields<'_>) -> Result<Self, CapabilityError> {
        let (index, fingerprint) = parse(format, Field::StorageIndex, fields)?;
        Ok(Self { format, storage_index: StorageIndex(index), fingerprint })
    }

    pub(super) fn write(&self, kind: Kind, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(kind, &self.storage_index.0, &self.fingerprint, out)
    }
}

/// Reads the two fields that all kinds have. What follows them in an MDMF capability is skipped:
/// writers of the past put hints there.
fn parse(
    format: MutableFormat,
    first: Field,
    mut fields: Fields<'_>,
) -> Result<([u8; 16], Hash), CapabilityError> {
    let key = fields.base32_array(first)?;
    let fingerprint = Hash(fields.base32_array(Field::Fingerprint)?);
    if format == MutableFormat::Sdmf {
        fields.end()?;
    }
    Ok((key, fingerprint))
}

fn print(kind: Kind, key: &[u8; 16], fingerprint: &Hash, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(out, "{}{}:{}", kind.prefix(), base32::encode(key), base32::encode(&fingerprint.0))
}

macro_rules! texts {
    ($cap:ident, $sdmf:ident, $mdmf:ident) => {
        impl fmt::Display for $cap {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                let kind = match self.format {
                    MutableFormat::Sdmf => Kind::$sdmf,
                    MutableFormat::Mdmf => Kind::$mdmf,
                };
                self.write(kind, out)
            }
        }

        impl fmt::Debug for $cap {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}({:?}, {:?})", stringify!($cap), self.format, self.storage_index())
            }
        }

        impl FromStr for $cap {
            type Err = CapabilityError;

            fn from_str(text: &str) -> Result<Self, CapabilityError> {
                match Kind::$mdmf.strip(text) {
                    Ok(rest) => Self::from_fields(MutableFormat::Mdmf, Fields::new(Kind::$mdmf, rest)),
                    Err(_) => {
                        let rest = Kind::$sdmf.strip(text)?;
                        Self::from_fields(MutableFormat::Sdmf, Fields::new(Kind::$sdmf, rest))
                    }
                }
            }
        }
    };
}

texts!(MutableCap, Sdmf, Mdmf);
texts!(MutableReadCap, SdmfRead, MdmfRead);
texts!(MutableVerifyCap, SdmfVerify, MdmfVerify);
