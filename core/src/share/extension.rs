//! The URI extension block: what a capability's hash vouches for.
//!
//! Every share ends with the same block. It holds the geometry of the file and the roots of its
//! hash trees, as `key:netstring` pairs in the order of their keys; the capability holds its hash.
//! The form is that of `pack_extension` in `allmydata/uri.py`.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use super::layout::EXTENSION_LEN_MAX;
use crate::encoding::{Encoding, EncodingError};
use crate::hash::{Hash, uri_extension_hash};
use crate::netstring::{self, Decimal, NetstringError, parse_decimal};

/// A parsed extension block. Its numbers are as read, not yet checked against each other or a
/// capability: that is [`validate`](Self::validate).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Extension {
    /// The parameters of the code for all segments but the tail.
    pub codec_params: CodecParams,
    /// The parameters of the code for the tail.
    pub tail_codec_params: CodecParams,
    /// The length of the file in bytes.
    pub size: u64,
    /// The length of a segment in bytes.
    pub segment_size: u64,
    /// How many segments there are.
    pub num_segments: u64,
    /// How many shares suffice.
    pub needed: u64,
    /// How many shares there are.
    pub total: u64,
    /// The hash of the whole ciphertext.
    pub crypttext_hash: Hash,
    /// The root of the tree over the ciphertext's segments.
    pub crypttext_root_hash: Hash,
    /// The root of the tree over the shares.
    pub share_root_hash: Hash,
}

/// The parameters of the erasure code as the block spells them: `length-needed-total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodecParams {
    /// The length of the padded segment in bytes.
    pub segment_size: u64,
    /// How many blocks suffice.
    pub needed: u64,
    /// How many blocks there are.
    pub total: u64,
}

/// The only erasure code there is.
pub const CODEC_NAME: &str = "crs";

impl Extension {
    /// The extension block of a file.
    pub fn new(
        encoding: &Encoding,
        crypttext_hash: Hash,
        crypttext_root_hash: Hash,
        share_root_hash: Hash,
    ) -> Self {
        let codec_params = |segment_size: u32| CodecParams {
            segment_size: segment_size.into(),
            needed: encoding.needed().into(),
            total: encoding.total().into(),
        };
        Self {
            codec_params: codec_params(encoding.segment_size()),
            tail_codec_params: codec_params(encoding.tail_padded_size()),
            size: encoding.size(),
            segment_size: encoding.segment_size().into(),
            num_segments: encoding.num_segments(),
            needed: encoding.needed().into(),
            total: encoding.total().into(),
            crypttext_hash,
            crypttext_root_hash,
            share_root_hash,
        }
    }

    /// The length in bytes of the packed block of a file with this encoding: known before any of
    /// its hashes is.
    pub fn packed_len(encoding: &Encoding) -> usize {
        let unknown = Hash([0; 32]);
        Self::new(encoding, unknown, unknown, unknown).pack().len()
    }

    /// The block as stored and hashed.
    pub fn pack(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |key: Key, value: &[u8]| {
            out.extend_from_slice(key.name().as_bytes());
            out.push(b':');
            netstring::write(&mut out, value);
        };
        let number = Decimal::new;
        put(Key::CodecName, CODEC_NAME.as_bytes());
        put(Key::CodecParams, &self.codec_params.pack());
        put(Key::CrypttextHash, &self.crypttext_hash.0);
        put(Key::CrypttextRootHash, &self.crypttext_root_hash.0);
        put(Key::Needed, number(self.needed).as_bytes());
        put(Key::NumSegments, number(self.num_segments).as_bytes());
        put(Key::SegmentSize, number(self.segment_size).as_bytes());
        put(Key::ShareRootHash, &self.share_root_hash.0);
        put(Key::Size, number(self.size).as_bytes());
        put(Key::TailCodecParams, &self.tail_codec_params.pack());
        put(Key::Total, number(self.total).as_bytes());
        out
    }

    /// The hash that the capability holds.
    pub fn hash(&self) -> Hash {
        uri_extension_hash(&self.pack())
    }

    /// Reads a packed block whose hash has been compared with the capability's.
    ///
    /// Every field of [`Extension`] must be there once and be well-formed. Other keys are ignored:
    /// old files have hashes of the plaintext, and new ones may have what we do not know.
    ///
    /// # Errors
    /// Names the first thing that is wrong.
    pub fn parse(packed: &[u8]) -> Result<Self, ExtensionError> {
        if packed.len() > EXTENSION_LEN_MAX as usize {
            return Err(ExtensionError::TooLong { len: packed.len() });
        }
        let values = Values::parse(packed)?;
        if values.value(Key::CodecName)? != CODEC_NAME.as_bytes() {
            return Err(ExtensionError::Malformed { key: Key::CodecName });
        }
        Ok(Self {
            codec_params: values.codec_params(Key::CodecParams)?,
            tail_codec_params: values.codec_params(Key::TailCodecParams)?,
            size: values.number(Key::Size)?,
            segment_size: values.number(Key::SegmentSize)?,
            num_segments: values.number(Key::NumSegments)?,
            needed: values.number(Key::Needed)?,
            total: values.number(Key::Total)?,
            crypttext_hash: values.hash(Key::CrypttextHash)?,
            crypttext_root_hash: values.hash(Key::CrypttextRootHash)?,
            share_root_hash: values.hash(Key::ShareRootHash)?,
        })
    }

    /// Checks the block against the numbers in the capability and against itself, and gives the
    /// geometry of the file.
    ///
    /// # Errors
    /// [`ExtensionError::Contradiction`] names the field that disagrees;
    /// [`ExtensionError::Encoding`] says why the numbers are no encoding, such as segments beyond
    /// [`SEGMENT_SIZE_MAX`](crate::encoding::SEGMENT_SIZE_MAX).
    pub fn validate(&self, needed: u16, total: u16, size: u64) -> Result<Encoding, ExtensionError> {
        let contradiction = |key| Err(ExtensionError::Contradiction { key });
        if self.needed != u64::from(needed) {
            return contradiction(Key::Needed);
        }
        if self.total != u64::from(total) {
            return contradiction(Key::Total);
        }
        if self.size != size {
            return contradiction(Key::Size);
        }
        let encoding = Encoding::from_segment_size(needed, total, self.segment_size, size)
            .map_err(ExtensionError::Encoding)?;
        let expected =
            Self::new(&encoding, self.crypttext_hash, self.crypttext_root_hash, self.share_root_hash);
        if self.num_segments != expected.num_segments {
            return contradiction(Key::NumSegments);
        }
        if self.codec_params != expected.codec_params {
            return contradiction(Key::CodecParams);
        }
        if self.tail_codec_params != expected.tail_codec_params {
            return contradiction(Key::TailCodecParams);
        }
        Ok(encoding)
    }
}

impl CodecParams {
    fn pack(&self) -> Vec<u8> {
        let [segment_size, needed, total] = [self.segment_size, self.needed, self.total].map(Decimal::new);
        [segment_size.as_bytes(), needed.as_bytes(), total.as_bytes()].join(&b'-')
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut numbers = text.split(|&byte| byte == b'-').map(parse_decimal);
        let params =
            Self { segment_size: numbers.next()??, needed: numbers.next()??, total: numbers.next()?? };
        numbers.next().is_none().then_some(params)
    }
}

/// A key of the extension block that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is named as the field of `Extension` it belongs to")]
pub enum Key {
    CodecName,
    CodecParams,
    CrypttextHash,
    CrypttextRootHash,
    Needed,
    NumSegments,
    SegmentSize,
    ShareRootHash,
    Size,
    TailCodecParams,
    Total,
}

impl Key {
    /// The key as the block spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CodecName => "codec_name",
            Self::CodecParams => "codec_params",
            Self::CrypttextHash => "crypttext_hash",
            Self::CrypttextRootHash => "crypttext_root_hash",
            Self::Needed => "needed_shares",
            Self::NumSegments => "num_segments",
            Self::SegmentSize => "segment_size",
            Self::ShareRootHash => "share_root_hash",
            Self::Size => "size",
            Self::TailCodecParams => "tail_codec_params",
            Self::Total => "total_shares",
        }
    }
}

/// Why an extension block cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExtensionError {
    /// Longer than [`EXTENSION_LEN_MAX`].
    TooLong {
        /// In bytes.
        len: usize,
    },
    /// It is not made of keys and netstrings; a key is malformed or there twice.
    Structure,
    /// A value is not a netstring.
    Netstring(NetstringError),
    /// A key is not there.
    Missing {
        /// The key.
        key: Key,
    },
    /// A value is not what its key calls for.
    Malformed {
        /// The key.
        key: Key,
    },
    /// A value disagrees with the capability or with the other values.
    Contradiction {
        /// The key.
        key: Key,
    },
    /// The values together are no encoding of a file, or not one this implementation reads.
    Encoding(EncodingError),
}

impl fmt::Display for ExtensionError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the extension block ")?;
        match self {
            Self::TooLong { len } => {
                write!(out, "is {len} bytes long, more than {EXTENSION_LEN_MAX}")
            }
            Self::Structure => write!(out, "is malformed"),
            Self::Netstring(error) => write!(out, "is malformed: {error}"),
            Self::Missing { key } => write!(out, "lacks {}", key.name()),
            Self::Malformed { key } => write!(out, "has a malformed {}", key.name()),
            Self::Contradiction { key } => {
                write!(out, "has a {} that contradicts the capability or itself", key.name())
            }
            Self::Encoding(error) => write!(out, "describes no readable file: {error}"),
        }
    }
}

impl core::error::Error for ExtensionError {}

/// All pairs of a block, by key.
struct Values<'a>(BTreeMap<&'a [u8], &'a [u8]>);

impl<'a> Values<'a> {
    fn parse(mut rest: &'a [u8]) -> Result<Self, ExtensionError> {
        let mut values = BTreeMap::new();
        while !rest.is_empty() {
            let colon = rest.iter().position(|&byte| byte == b':');
            let (key, value) = rest.split_at(colon.ok_or(ExtensionError::Structure)?);
            let key_ok =
                !key.is_empty() && key.iter().all(|byte| byte.is_ascii_alphabetic() || b"_-".contains(byte));
            let (value, after) = netstring::take(&value[1..], EXTENSION_LEN_MAX as usize)
                .map_err(ExtensionError::Netstring)?;
            if !key_ok || values.insert(key, value).is_some() {
                return Err(ExtensionError::Structure);
            }
            rest = after;
        }
        Ok(Self(values))
    }

    fn value(&self, key: Key) -> Result<&'a [u8], ExtensionError> {
        self.0.get(key.name().as_bytes()).copied().ok_or(ExtensionError::Missing { key })
    }

    fn number(&self, key: Key) -> Result<u64, ExtensionError> {
        parse_decimal(self.value(key)?).ok_or(ExtensionError::Malformed { key })
    }

    fn hash(&self, key: Key) -> Result<Hash, ExtensionError> {
        let hash = self.value(key)?.try_into();
        hash.map(Hash).map_err(|_| ExtensionError::Malformed { key })
    }

    fn codec_params(&self, key: Key) -> Result<CodecParams, ExtensionError> {
        CodecParams::parse(self.value(key)?).ok_or(ExtensionError::Malformed { key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::{EncodingParams, SEGMENT_SIZE_MAX};
    use alloc::string::String;
    use proptest::prelude::*;

    fn extension(size: u64) -> Extension {
        let params = EncodingParams::new(3, 10, 1024).expect("valid");
        let encoding = Encoding::new(&params, size).expect("valid");
        Extension::new(&encoding, Hash([b'a'; 32]), Hash([b'b'; 32]), Hash([b'c'; 32]))
    }

    #[test]
    fn the_packed_form() {
        let packed = String::from_utf8(extension(5000).pack()).expect("the hashes are letters here");
        assert_eq!(
            packed,
            "codec_name:3:crs,codec_params:9:1026-3-10,\
             crypttext_hash:32:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,\
             crypttext_root_hash:32:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb,\
             needed_shares:1:3,num_segments:1:5,segment_size:4:1026,\
             share_root_hash:32:cccccccccccccccccccccccccccccccc,\
             size:4:5000,tail_codec_params:8:897-3-10,total_shares:2:10,"
        );
    }

    #[test]
    fn unknown_and_retired_keys_are_ignored() {
        let mut packed = b"zzz-new:0:,plaintext_hash:32:dddddddddddddddddddddddddddddddd,".to_vec();
        packed.extend(extension(5000).pack());
        assert_eq!(Extension::parse(&packed), Ok(extension(5000)));
    }

    #[test]
    fn malformed_blocks() {
        let packed = extension(5000).pack();
        let parse = |from: &str, to: &str| {
            let packed = String::from_utf8(packed.clone()).expect("letters");
            assert!(packed.contains(from));
            Extension::parse(packed.replace(from, to).as_bytes())
        };
        let malformed = |key| Err(ExtensionError::Malformed { key });
        assert_eq!(parse("3:crs", "3:rsa"), malformed(Key::CodecName));
        assert_eq!(parse("4:5000", "5:05000"), malformed(Key::Size));
        assert_eq!(parse("8:897-3-10", "6:897-10"), malformed(Key::TailCodecParams));
        assert_eq!(parse("8:897-3-10", "10:897-3-10-1"), malformed(Key::TailCodecParams));
        assert_eq!(parse("32:bbbb", "28:"), malformed(Key::CrypttextRootHash));
        assert_eq!(parse("size:4:5000,tail", "tail"), Err(ExtensionError::Missing { key: Key::Size }));
        assert_eq!(parse("size:4:5000,tail", "size:4:5000,size:4:5000,tail"), Err(ExtensionError::Structure));
        assert_eq!(parse("total_shares", "total shares"), Err(ExtensionError::Structure));
        assert_eq!(Extension::parse(&[b'a'; 2000]), Err(ExtensionError::TooLong { len: 2000 }));
    }

    #[test]
    fn contradictions() {
        let good = extension(5000);
        assert!(good.validate(3, 10, 5000).is_ok());
        let contradiction = |key| Err(ExtensionError::Contradiction { key });
        assert_eq!(good.validate(4, 10, 5000), contradiction(Key::Needed));
        assert_eq!(good.validate(3, 11, 5000), contradiction(Key::Total));
        assert_eq!(good.validate(3, 10, 5001), contradiction(Key::Size));
        let with = |change: fn(&mut Extension)| {
            let mut changed = good.clone();
            change(&mut changed);
            changed.validate(3, 10, 5000)
        };
        assert_eq!(with(|block| block.num_segments = 4), contradiction(Key::NumSegments));
        assert_eq!(with(|block| block.codec_params.segment_size += 3), contradiction(Key::CodecParams));
        assert_eq!(with(|block| block.tail_codec_params.total = 9), contradiction(Key::TailCodecParams));
        let segment_size = 2 * u64::from(SEGMENT_SIZE_MAX);
        let mut huge = good.clone();
        huge.segment_size = segment_size;
        assert_eq!(
            huge.validate(3, 10, 5000),
            Err(ExtensionError::Encoding(EncodingError::SegmentSize { segment_size }))
        );
    }

    proptest! {
        #[test]
        fn round_trip_and_every_prefix(size in 1u64..1 << 40) {
            let extension = extension(size);
            let encoding = extension.validate(3, 10, size).expect("consistent");
            let packed = extension.pack();
            prop_assert_eq!(packed.len(), Extension::packed_len(&encoding));
            prop_assert_eq!(Extension::parse(&packed), Ok(extension));
            for cut in 0..packed.len() {
                prop_assert!(Extension::parse(&packed[..cut]).is_err());
            }
        }

        #[test]
        fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300), place: prop::sample::Index, byte: u8) {
            let _ = Extension::parse(&bytes);
            let mut packed = extension(5000).pack();
            let place = place.index(packed.len());
            packed[place] = byte;
            if let Ok(block) = Extension::parse(&packed) {
                let _ = block.validate(3, 10, 5000);
            }
        }
    }
}
