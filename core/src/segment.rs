//! The heavy work on one segment: encrypting, erasure coding, hashing and their inverses.
//!
//! Pure functions without state between calls, meant to run as jobs on a worker.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use aes::Aes128;
use bytes::Bytes;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};

use crate::encoding::Encoding;
use crate::erasure::{self, Encoder, ErasureError};
use crate::hash::{Hash, block_hash, crypttext_segment_hash};
use crate::mutants::{self, Mutant};
use crate::secret::EncryptionKey;

/// Encrypts or decrypts (the same operation) `data`, which begins at byte `offset` of the file, in
/// place: AES-128-CTR with an all-zero first counter block.
///
/// The zero IV is safe because a key belongs to one content only: it is random or a hash of it.
pub fn crypt_at(key: &EncryptionKey, offset: u64, data: &mut [u8]) {
    if mutants::is_in(Mutant::Unencrypted) {
        return;
    }
    let mut cipher = Ctr128BE::<Aes128>::new(key.expose().into(), &[0; 16].into());
    cipher.seek(offset);
    cipher.apply_keystream(data);
}

/// One segment ready to be sent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EncodedSegment {
    /// The encrypted segment without padding, for the hash over the whole file.
    pub ciphertext: Bytes,
    /// This segment's leaf of the ciphertext hash tree.
    pub crypttext_segment_hash: Hash,
    /// The blocks of the shares asked for, in the order asked for. Primary blocks are slices of
    /// the same memory as `ciphertext`.
    pub blocks: Vec<EncodedBlock>,
}

/// One share's block of a segment.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EncodedBlock {
    /// The share's number.
    pub share: u16,
    /// The block as the share stores it.
    pub block: Bytes,
    /// This block's leaf of the share's block hash tree.
    pub hash: Hash,
}

// A megabyte in a log helps nobody, and plaintext must not get there: lengths and hashes are shown.

impl fmt::Debug for EncodedSegment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EncodedSegment")
            .field("ciphertext_len", &self.ciphertext.len())
            .field("crypttext_segment_hash", &self.crypttext_segment_hash)
            .field("blocks", &self.blocks)
            .finish()
    }
}

impl fmt::Debug for EncodedBlock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (share, len) = (self.share, self.block.len());
        write!(out, "EncodedBlock(share {share}, {len} bytes, {:?})", self.hash)
    }
}

/// Encrypts and encodes one segment; `wanted` are the numbers of the shares to make blocks for
/// (`0..total` for all).
///
/// # Panics
/// If `plaintext` is not as long as the segment, a wanted share does not exist, or the encoder is
/// made for other numbers of shares: mistakes of the caller, not of a peer.
pub fn encode_segment(
    key: &EncryptionKey,
    encoding: &Encoding,
    encoder: &Encoder,
    segnum: u64,
    mut plaintext: Vec<u8>,
    wanted: &[u16],
) -> EncodedSegment {
    let segment_len = encoding.segment_len(segnum) as usize;
    assert_eq!(plaintext.len(), segment_len, "a whole segment");
    assert_eq!(
        (encoder.needed(), encoder.total()),
        (encoding.needed(), encoding.total()),
        "the encoder of this file"
    );
    crypt_at(key, encoding.segment_offset(segnum), &mut plaintext);
    let crypttext_segment_hash = crypttext_segment_hash(&plaintext);
    let (padded, blocks) = cut(encoding, encoder, segnum, plaintext, wanted);
    let blocks = blocks
        .into_iter()
        .map(|(share, block)| {
            let hash = block_hash(&block);
            EncodedBlock { share, block, hash }
        })
        .collect();
    EncodedSegment { ciphertext: padded.slice(..segment_len), crypttext_segment_hash, blocks }
}

/// Erasure codes the ciphertext of a segment: the padded ciphertext and the blocks of the shares
/// wanted, in their order. Primary blocks share its memory.
pub(crate) fn cut(
    encoding: &Encoding,
    encoder: &Encoder,
    segnum: u64,
    mut ciphertext: Vec<u8>,
    wanted: &[u16],
) -> (Bytes, Vec<(u16, Bytes)>) {
    ciphertext.resize(encoding.padded_len(segnum) as usize, 0);
    let padded = Bytes::from(ciphertext);

    let block_len = encoding.block_len(segnum) as usize;
    let primaries: Vec<&[u8]> = padded.chunks_exact(block_len).collect();
    let secondary_numbers: Vec<u16> =
        wanted.iter().copied().filter(|&share| share >= encoding.needed()).collect();
    let mut secondaries = vec![Vec::new(); secondary_numbers.len()];
    encoder
        .encode(&primaries, &secondary_numbers, &mut secondaries)
        .expect("the primaries are cut from one segment and the wanted shares exist");

    let mut secondaries = secondaries.into_iter();
    let blocks = wanted
        .iter()
        .map(|&share| {
            let block = if share < encoding.needed() {
                let start = usize::from(share) * block_len;
                padded.slice(start..start + block_len)
            } else {
                Bytes::from(secondaries.next().expect("one was made for each"))
            };
            (share, block)
        })
        .collect();
    (padded, blocks)
}

/// The inverse of [`cut`]: the ciphertext of a segment without its padding.
pub(crate) fn join(
    encoding: &Encoding,
    segnum: u64,
    blocks: &[(u16, Bytes)],
) -> Result<Vec<u8>, ErasureError> {
    let shares: Vec<(u16, &[u8])> = blocks.iter().map(|(share, block)| (*share, block.as_ref())).collect();
    let mut segment = vec![0; encoding.padded_len(segnum) as usize];
    erasure::decode_into(encoding.needed(), encoding.total(), &shares, &mut segment)?;
    segment.truncate(encoding.segment_len(segnum) as usize);
    Ok(segment)
}

/// One segment as decoded, not yet verified.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DecodedSegment {
    /// The decrypted segment without padding.
    pub plaintext: Vec<u8>,
    /// To be compared with the segment's leaf of the ciphertext hash tree before `plaintext` is
    /// given to anybody: verified blocks can still come from an uploader who encoded nonsense.
    pub crypttext_segment_hash: Hash,
}

impl fmt::Debug for DecodedSegment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.plaintext.len();
        write!(out, "DecodedSegment(<{len} bytes>, {:?})", self.crypttext_segment_hash)
    }
}

/// Decodes and decrypts one segment from exactly `needed` blocks of different shares.
///
/// # Errors
/// If the blocks are not as many, as long and of such shares as the encoding says.
///
/// # Panics
/// If there is no such segment.
pub fn decode_segment(
    key: &EncryptionKey,
    encoding: &Encoding,
    segnum: u64,
    blocks: &[(u16, Bytes)],
) -> Result<DecodedSegment, ErasureError> {
    let mut segment = join(encoding, segnum, blocks)?;
    let crypttext_segment_hash = crypttext_segment_hash(&segment);
    crypt_at(key, encoding.segment_offset(segnum), &mut segment);
    Ok(DecodedSegment { plaintext: segment, crypttext_segment_hash })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::EncodingParams;
    use proptest::prelude::*;

    fn encoding(needed: u16, total: u16, size: u64) -> Encoding {
        let params = EncodingParams::new(needed, total, 100).expect("valid");
        Encoding::new(&params, size).expect("valid")
    }

    #[test]
    fn first_counter_blocks() {
        // The key stream for a zero key begins with AES-128 of the zero block (FIPS 197 / NIST).
        let mut data = [0; 16];
        crypt_at(&EncryptionKey::from_bytes([0; 16]), 0, &mut data);
        assert_eq!(data[..4], [0x66, 0xe9, 0x4b, 0xd4]);
    }

    #[test]
    fn only_the_wanted_blocks_in_their_order() {
        let encoding = encoding(3, 10, 250);
        let encoder = Encoder::new(3, 10).expect("valid");
        let key = EncryptionKey::from_bytes([1; 16]);
        let plaintext = vec![5; encoding.segment_len(1) as usize];
        let all: Vec<u16> = (0..10).collect();
        let all = encode_segment(&key, &encoding, &encoder, 1, plaintext.clone(), &all);
        let some = encode_segment(&key, &encoding, &encoder, 1, plaintext, &[7, 0, 3]);
        assert_eq!(some.ciphertext, all.ciphertext);
        assert_eq!(some.blocks, [7, 0, 3].map(|share: usize| all.blocks[share].clone()));
        assert_eq!(all.blocks[0].block.as_ptr(), all.ciphertext.as_ptr(), "nothing was copied");
    }

    #[test]
    fn wrong_blocks_are_errors() {
        let encoding = encoding(2, 4, 90);
        let key = EncryptionKey::from_bytes([1; 16]);
        let block = Bytes::from_static(&[0; 45]);
        let short = Bytes::from_static(&[0; 44]);
        let decode = |blocks: &[(u16, Bytes)]| decode_segment(&key, &encoding, 0, blocks);
        assert_eq!(decode(&[(0, block.clone())]), Err(ErasureError::Count));
        assert_eq!(decode(&[(0, short.clone()), (1, short)]), Err(ErasureError::Length));
        assert!(decode(&[(0, block.clone()), (3, block)]).is_ok());
    }

    proptest! {
        #[test]
        fn any_range_decrypts(
            offset in prop_oneof![0u64..5000, any::<u64>().prop_map(|offset| offset >> 1)],
            len in 0usize..100, cut in 0usize..100
        ) {
            let key = EncryptionKey::from_bytes([9; 16]);
            let mut whole = vec![0; len];
            crypt_at(&key, offset, &mut whole);
            let cut = cut.min(len);
            let mut pieces = vec![0; len];
            crypt_at(&key, offset, &mut pieces[..cut]);
            crypt_at(&key, offset + cut as u64, &mut pieces[cut..]);
            prop_assert_eq!(whole, pieces);
        }
    }
}
