//! Encrypting and coding one segment of a mutable file, and back.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash as HashTrait, Hasher};

use bytes::Bytes;

use super::encoding::MutableEncoding;
use super::version::{SALT_LEN, Salt};
use crate::capability::MutableFormat;
use crate::erasure::{Encoder, ErasureError};
use crate::hash::{block_hash, mutable_data_key};
use crate::secret::ReadKey;
use crate::segment::{EncodedBlock, crypt_at, cut, join};

/// Everything that stays the same for all segments of one version of a mutable file.
pub struct MutableCoding {
    read_key: ReadKey,
    encoding: MutableEncoding,
    encoder: Encoder,
}

impl MutableCoding {
    /// Prepares the coding of a file.
    pub fn new(read_key: ReadKey, encoding: MutableEncoding) -> Arc<Self> {
        let encoder = Encoder::new(encoding.needed().into(), encoding.total().into())
            .expect("an encoding has a checked number of shares");
        Arc::new(Self { read_key, encoding, encoder })
    }

    /// How the file is cut up.
    pub fn encoding(&self) -> &MutableEncoding {
        &self.encoding
    }
}

impl fmt::Debug for MutableCoding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("MutableCoding").field("encoding", &self.encoding).finish_non_exhaustive()
    }
}

impl HashTrait for MutableCoding {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.read_key.hash(state);
        self.encoding.hash(state);
    }
}

/// Encrypts and encodes one segment: the blocks of the shares `wanted`, as stored, in the order
/// asked for.
///
/// # Panics
/// If there is no such segment or `plaintext` is not as long as it, or a wanted share does not
/// exist: mistakes of the caller.
pub fn encode_segment(
    file: &MutableCoding,
    segnum: u64,
    salt: &Salt,
    mut plaintext: Vec<u8>,
    wanted: &[u16],
) -> Vec<EncodedBlock> {
    let encoding = file.encoding.cut().expect("an empty file has no segments");
    assert_eq!(plaintext.len(), encoding.segment_len(segnum) as usize, "a whole segment");
    crypt_at(&mutable_data_key(salt, &file.read_key), 0, &mut plaintext);
    let (_, blocks) = cut(encoding, &file.encoder, segnum, plaintext, wanted);
    let stored = |block: Bytes| match file.encoding.format() {
        MutableFormat::Sdmf => block,
        MutableFormat::Mdmf => Bytes::from([&salt[..], &block].concat()),
    };
    blocks
        .into_iter()
        .map(|(share, block)| {
            let block = stored(block);
            let hash = block_hash(&block);
            EncodedBlock { share, block, hash }
        })
        .collect()
}

/// Decodes and decrypts one segment from exactly k blocks as stored, of different shares. `iv` is
/// the salt of an SDMF version.
///
/// # Errors
/// If the blocks are not as many, as long and of such shares as the encoding says, or if their
/// salts differ: a writer that signs such things is broken or means ill.
///
/// # Panics
/// If there is no such segment.
pub fn decode_segment(
    file: &MutableCoding,
    segnum: u64,
    iv: Option<&Salt>,
    blocks: &[(u16, Bytes)],
) -> Result<Vec<u8>, SegmentError> {
    let encoding = file.encoding.cut().expect("an empty file has no segments");
    let (salt, blocks) = match (file.encoding.format(), iv) {
        (MutableFormat::Sdmf, Some(iv)) => (*iv, blocks.to_vec()),
        (MutableFormat::Sdmf, None) => return Err(SegmentError::Salt),
        (MutableFormat::Mdmf, _) => split_salts(blocks)?,
    };
    let mut segment = join(encoding, segnum, &blocks).map_err(SegmentError::Blocks)?;
    crypt_at(&mutable_data_key(&salt, &file.read_key), 0, &mut segment);
    Ok(segment)
}

fn split_salts(blocks: &[(u16, Bytes)]) -> Result<(Salt, Vec<(u16, Bytes)>), SegmentError> {
    let mut common = None;
    let mut bare = Vec::with_capacity(blocks.len());
    for (share, stored) in blocks {
        let salt = *stored.first_chunk::<SALT_LEN>().ok_or(SegmentError::Blocks(ErasureError::Length))?;
        if *common.get_or_insert(salt) != salt {
            return Err(SegmentError::Salt);
        }
        bare.push((*share, stored.slice(SALT_LEN..)));
    }
    Ok((common.ok_or(SegmentError::Blocks(ErasureError::Count))?, bare))
}

/// Why a segment of a mutable file cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SegmentError {
    /// The salt is missing, or the blocks have different ones.
    Salt,
    /// The blocks do not fit together.
    Blocks(ErasureError),
}

impl fmt::Display for SegmentError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Salt => write!(out, "the blocks of a segment have no common salt"),
            Self::Blocks(error) => error.fmt(out),
        }
    }
}

impl core::error::Error for SegmentError {}
