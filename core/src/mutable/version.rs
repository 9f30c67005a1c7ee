//! One version of a mutable file, and the prefix of its shares that is signed.

use alloc::vec::Vec;

use super::encoding::MutableEncoding;
use super::error::MutableShareError;
use crate::capability::MutableFormat;
use crate::encoding::EncodingError;
use crate::hash::Hash;

/// The length of a salt in bytes.
pub const SALT_LEN: usize = 16;

/// Makes the AES key of a segment (MDMF) or of a version (SDMF), together with the read key; see
/// [`mutable_data_key`](crate::hash::mutable_data_key). Random, public, never used twice.
pub type Salt = [u8; SALT_LEN];

/// What tells one version of a mutable file from another; all its shares have the same.
///
/// The greater is the later, in the peer's order: by number, and of several with one number, which
/// come from writers that did not know of each other, by root hash and then the rest. So all
/// readers agree on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Counts the versions, from 1.
    pub sequence: u64,
    /// The root of the tree over the roots of the shares' block hash trees.
    pub root_hash: Hash,
    /// The salt of the file in SDMF; MDMF has one for each segment instead.
    pub iv: Option<Salt>,
    /// The length of every segment but the last, in bytes.
    pub segment_size: u64,
    /// The length of the file, in bytes.
    pub size: u64,
    /// How many shares suffice.
    pub needed: u8,
    /// How many shares there are.
    pub total: u8,
}

impl Version {
    /// A version as its writer makes it.
    ///
    /// # Panics
    /// Unless there is an `iv` exactly for SDMF.
    pub fn new(sequence: u64, root_hash: Hash, iv: Option<Salt>, encoding: &MutableEncoding) -> Self {
        let version = Self {
            sequence,
            root_hash,
            iv,
            segment_size: encoding.segment_size(),
            size: encoding.size(),
            needed: encoding.needed(),
            total: encoding.total(),
        };
        assert_eq!(version.format(), encoding.format(), "SDMF has one salt, MDMF many");
        version
    }

    /// The layout of its shares.
    pub const fn format(&self) -> MutableFormat {
        match self.iv {
            Some(_) => MutableFormat::Sdmf,
            None => MutableFormat::Mdmf,
        }
    }

    /// The geometry of the file.
    ///
    /// # Errors
    /// If the numbers do not describe a file.
    pub fn encoding(&self) -> Result<MutableEncoding, EncodingError> {
        let Self { needed, total, segment_size, size, .. } = *self;
        MutableEncoding::from_segment_size(self.format(), needed, total, segment_size, size)
    }

    /// What the signature signs: the beginning of each share, up to the offsets.
    pub fn signed_prefix(&self) -> Vec<u8> {
        let mut prefix = self.check_string();
        prefix.extend([self.needed, self.total]);
        prefix.extend(self.segment_size.to_be_bytes());
        prefix.extend(self.size.to_be_bytes());
        prefix
    }

    /// The beginning of the prefix that already tells versions apart: what a writer tests before
    /// it replaces a share.
    pub fn check_string(&self) -> Vec<u8> {
        let mut prefix = Vec::with_capacity(prefix_len(self.format()));
        prefix.push(format_byte(self.format()));
        prefix.extend(self.sequence.to_be_bytes());
        prefix.extend(self.root_hash.0);
        prefix.extend(self.iv.iter().flatten());
        prefix
    }

    /// Reads the prefix at the beginning of a share.
    ///
    /// # Errors
    /// If there are too few bytes, or the numbers do not describe a file.
    pub fn parse(share: &[u8]) -> Result<Self, MutableShareError> {
        let format = match share.first() {
            Some(0) => MutableFormat::Sdmf,
            Some(1) => MutableFormat::Mdmf,
            Some(&version) => return Err(MutableShareError::Version { version }),
            None => return Err(MutableShareError::TooShort { needed: 1, found: 0 }),
        };
        let needed = prefix_len(format);
        let too_short = MutableShareError::TooShort { needed, found: share.len() };
        let mut fields = share.get(1..needed).ok_or(too_short)?;
        let number = |fields: &mut &[u8]| u64::from_be_bytes(take(fields));
        let sequence = number(&mut fields);
        let root_hash = Hash(take(&mut fields));
        let iv = (format == MutableFormat::Sdmf).then(|| take(&mut fields));
        let [needed, total] = take(&mut fields);
        let (segment_size, size) = (number(&mut fields), number(&mut fields));
        let version = Self { sequence, root_hash, iv, segment_size, size, needed, total };
        version.encoding()?;
        Ok(version)
    }
}

/// The length of the signed prefix.
pub(super) const fn prefix_len(format: MutableFormat) -> usize {
    match format {
        MutableFormat::Sdmf => 75,
        MutableFormat::Mdmf => 59,
    }
}

const fn format_byte(format: MutableFormat) -> u8 {
    match format {
        MutableFormat::Sdmf => 0,
        MutableFormat::Mdmf => 1,
    }
}

fn take<const N: usize>(fields: &mut &[u8]) -> [u8; N] {
    let (field, rest) = fields.split_first_chunk().expect("the length of the prefix was checked");
    *fields = rest;
    *field
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(sequence: u64, root: u8, iv: Option<Salt>) -> Version {
        let (segment_size, size) = (6, 5);
        Version { sequence, root_hash: Hash([root; 32]), iv, segment_size, size, needed: 3, total: 10 }
    }

    #[test]
    fn later_is_greater() {
        let ordered = [
            version(1, 9, None),
            version(2, 1, Some([9; 16])),
            version(2, 2, Some([1; 16])),
            version(2, 2, Some([2; 16])),
            Version { size: 6, ..version(2, 2, Some([2; 16])) },
            version(10, 0, None),
        ];
        assert!(ordered.is_sorted());
        assert!(ordered.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn prefixes() {
        for version in [version(7, 3, None), version(7, 3, Some([5; 16]))] {
            let prefix = version.signed_prefix();
            assert_eq!(prefix.len(), prefix_len(version.format()));
            assert!(prefix.starts_with(&version.check_string()));
            assert_eq!(Version::parse(&prefix), Ok(version));
            for found in 0..prefix.len() {
                let needed = if found == 0 { 1 } else { prefix.len() };
                let expected = Err(MutableShareError::TooShort { needed, found });
                assert_eq!(Version::parse(&prefix[..found]), expected);
            }
        }
        assert_eq!(Version::parse(&[2; 100]), Err(MutableShareError::Version { version: 2 }));
    }

    proptest! {
        #[test]
        fn arbitrary_prefixes(format in 0u8..3, rest in proptest::collection::vec(any::<u8>(), 0..90)) {
            let bytes = [&[format][..], &rest].concat();
            if let Ok(version) = Version::parse(&bytes) {
                prop_assert!(bytes.starts_with(&version.signed_prefix()));
            }
        }
    }
}
