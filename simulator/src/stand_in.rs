//! Content as seed and length, and jobs that compute with descriptions instead of bytes.
//!
//! A stand-in stands for exact bytes: those of [`chance::content`] for its seed. So a run with
//! stand-ins has the same files as one with bytes, and [`bytes_of`] tells what they are. The
//! [`executor`] keeps every width and every dependency of the real arithmetic:
//!
//! | real | stand-in |
//! |---|---|
//! | AES under a key | the seed, masked with the key |
//! | a block of a segment | the ciphertext's seed, masked with the share's number |
//! | a hash of a block or segment | the same hash, of the description: seed, offset and length |
//! | the convergence hash | the same, over the bytes |
//! | hash trees, extension blocks, signatures, keys | the same |
//!
//! Masks are undone by who has the key and the share's number, so k blocks give the ciphertext and
//! the key gives the plaintext, whoever computes it. What was damaged is no longer one stand-in, or
//! another one: its hash is another, too. Where something is not a stand-in the real arithmetic is done.

use crate::chance;
use bytes::Bytes;
use std::borrow::Cow;
use tallac_core::encoding::Encoding;
use tallac_core::hash;
use tallac_core::job::{self, EncodedSegment, FileCoding, Job, JobOutput, VerifiedBlock};
use tallac_core::payload::{Payload, Synthetic};
use tallac_core::rsa::Rsa;
use tallac_core::secret::EncryptionKey;

/// Set in the offset of what was computed from content: ciphertext and blocks.
const DERIVED: u64 = 1 << 62;
/// Content that may end up in a capability is held as bytes.
const BYTES_UP_TO: u64 = 64;
/// Bytes of a stream that are made at once.
const AT_ONCE: u64 = 64 * 1024;

/// The content of a seed, of which nobody holds a byte unless it is short.
pub fn content(seed: u64, len: u64) -> Payload {
    if len <= BYTES_UP_TO {
        return chance::content(seed, len).into();
    }
    Payload::synthetic(Synthetic { seed, offset: 0, len })
}

/// The bytes that a payload holds or stands for.
pub fn bytes_of(payload: &Payload) -> Bytes {
    if let Some(bytes) = payload.bytes() {
        return bytes.clone();
    }
    let mut bytes = Vec::with_capacity(payload.len() as usize);
    payload.pieces().iter().for_each(|piece| bytes.extend_from_slice(&bytes_of_piece(piece)));
    bytes.into()
}

fn bytes_of_piece(piece: &Payload) -> Cow<'_, [u8]> {
    match (piece.bytes(), piece.as_synthetic()) {
        (Some(bytes), _) => Cow::Borrowed(bytes),
        (None, Some(Synthetic { seed, offset, len })) => Cow::Owned(chance::content_at(seed, offset, len)),
        (None, None) => unreachable!("a piece is not made of others"),
    }
}

/// A payload with other bytes, as far as they are others: what stays as it was stays a stand-in.
pub(crate) fn altered(before: &Payload, bytes: Vec<u8>) -> Payload {
    if before.bytes().is_some() {
        return bytes.into();
    }
    let mut parts = Vec::new();
    let mut start = 0;
    for piece in before.pieces() {
        let end = (start + piece.len()).min(bytes.len() as u64);
        let new = &bytes[start as usize..end as usize];
        let old = bytes_of_piece(piece);
        // The beginning and the end that are the same; harm is done in one place.
        let front = new.iter().zip(old.iter()).take_while(|(new, old)| new == old).count();
        let same_len = new.len() == old.len();
        let back = new[front..].iter().rev().zip(old[front..].iter().rev()).take_while(|(a, b)| a == b);
        let back = if same_len { back.count() } else { 0 };
        parts.push(piece.slice(0..front as u64));
        parts.push(new[front..new.len() - back].to_vec().into());
        parts.push(piece.slice(piece.len() - back as u64..piece.len()));
        start = end;
    }
    parts.push(bytes[start as usize..].to_vec().into());
    Payload::join(parts)
}

/// A payload with some bits of one byte turned.
pub(crate) fn turned(before: &Payload, at: u64, bits: u8) -> Payload {
    let byte = bytes_of(&before.slice(at..at + 1))[0] ^ bits;
    Payload::join([before.slice(0..at), vec![byte].into(), before.slice(at + 1..before.len())])
}

/// Whether two payloads hold or stand for the same bytes.
pub fn is_same(a: &Payload, b: &Payload) -> bool {
    a == b || a.len() == b.len() && !both_plain(a, b) && bytes_of(a) == bytes_of(b)
}

/// Neither has parts of different kinds, so that one look at the descriptions tells.
fn both_plain(a: &Payload, b: &Payload) -> bool {
    a.bytes().is_some() == b.bytes().is_some() && a.pieces().len() <= 1 && b.pieces().len() <= 1
}

/// Computes jobs over stand-ins, and those over real bytes as [`job::run`] does.
pub fn executor(rsa: impl Rsa) -> impl FnMut(Job) -> JobOutput {
    move |job| run(job, &rsa)
}

fn run(job: Job, rsa: &dyn Rsa) -> JobOutput {
    match job {
        Job::Hash { mut hasher, data } => {
            for piece in data.iter().flat_map(Payload::pieces) {
                match piece.as_synthetic() {
                    // Nobody cuts a ciphertext before it is hashed, so its description will do.
                    Some(derived) if derived.offset & DERIVED != 0 => hasher.update(&description(&derived)),
                    // Where content is cut makes no difference to its key.
                    Some(Synthetic { seed, offset, len }) => {
                        for from in (0..len).step_by(AT_ONCE as usize) {
                            let len = AT_ONCE.min(len - from);
                            hasher.update(&chance::content_at(seed, offset + from, len));
                        }
                    }
                    None => hasher.update(&bytes_of_piece(piece)),
                }
            }
            JobOutput::Hashed(hasher)
        }
        Job::EncodeSegment { file, segment, plaintext, shares } => {
            let plaintext = Payload::join(plaintext);
            match plaintext.as_synthetic() {
                Some(plain) => {
                    let shares = shares.iter();
                    JobOutput::Encoded(Box::new(encode(&file, segment, plain, shares)))
                }
                None => {
                    let plaintext = vec![bytes_of(&plaintext).into()];
                    job::run(Job::EncodeSegment { file, segment, plaintext, shares }, rsa)
                }
            }
        }
        Job::CheckBlock { block, expected } => {
            let described = block.as_synthetic();
            if described.is_some_and(|block| hash::block_hash(&description(&block)) == expected) {
                return JobOutput::Block(Some(VerifiedBlock::vouch(block)));
            }
            job::run(Job::CheckBlock { block: bytes_of(&block).into(), expected }, rsa)
        }
        Job::DecodeSegment { file, segment, blocks, expected } => {
            let ciphertext = gather(&file.encoding, segment, &blocks);
            match ciphertext.filter(|text| hash::crypttext_segment_hash(&description(text)) == expected) {
                Some(ciphertext) => {
                    let plain = Synthetic {
                        seed: ciphertext.seed ^ mask(&file.key),
                        offset: ciphertext.offset & !DERIVED,
                        len: ciphertext.len,
                    };
                    JobOutput::Decoded(Some(Payload::synthetic(plain)))
                }
                None => {
                    let real = |(share, block): &(u16, VerifiedBlock)| {
                        (*share, VerifiedBlock::vouch(bytes_of(block.payload()).into()))
                    };
                    let blocks = blocks.iter().map(real).collect();
                    job::run(Job::DecodeSegment { file, segment, blocks, expected }, rsa)
                }
            }
        }
        Job::SameContent(a, b) => JobOutput::Same(is_same(&a, &b)),
        Job::EncodeMutableSegment { file, segment, salt, plaintext, shares } => {
            let plaintext = vec![bytes_of(&Payload::join(plaintext)).into()];
            job::run(Job::EncodeMutableSegment { file, segment, salt, plaintext, shares }, rsa)
        }
        other => job::run(other, rsa),
    }
}

/// The blocks of a segment that is a stand-in.
fn encode(
    file: &FileCoding,
    segment: u64,
    plain: Synthetic,
    shares: impl Iterator<Item = u16>,
) -> EncodedSegment {
    let encoding = &file.encoding;
    assert_eq!(plain.len, u64::from(encoding.segment_len(segment)), "a whole segment");
    let ciphertext =
        Synthetic { seed: plain.seed ^ mask(&file.key), offset: plain.offset | DERIVED, len: plain.len };
    let block = |share: u16| {
        let len = encoding.block_len(segment).into();
        let block = Synthetic { seed: ciphertext.seed ^ mask_of(share), offset: ciphertext.offset, len };
        (share, Payload::synthetic(block), hash::block_hash(&description(&block)))
    };
    EncodedSegment {
        ciphertext: Payload::synthetic(ciphertext),
        ciphertext_hash: hash::crypttext_segment_hash(&description(&ciphertext)),
        blocks: shares.map(block).collect(),
    }
}

/// The ciphertext of which these are blocks, if they are of one.
fn gather(encoding: &Encoding, segment: u64, blocks: &[(u16, VerifiedBlock)]) -> Option<Synthetic> {
    let mut ciphertext = None;
    for (share, block) in blocks {
        let block = block.payload().as_synthetic()?;
        let len = encoding.segment_len(segment).into();
        let of = Synthetic { seed: block.seed ^ mask_of(*share), offset: block.offset, len };
        if block.len != u64::from(encoding.block_len(segment)) || *ciphertext.get_or_insert(of) != of {
            return None;
        }
    }
    ciphertext
}

/// What is hashed of a stand-in.
fn description(content: &Synthetic) -> [u8; 32] {
    let mut text = *b"stand-in........................";
    text[8..16].copy_from_slice(&content.seed.to_le_bytes());
    text[16..24].copy_from_slice(&content.offset.to_le_bytes());
    text[24..].copy_from_slice(&content.len.to_le_bytes());
    text
}

fn mask(key: &EncryptionKey) -> u64 {
    let half = |at: usize| u64::from_le_bytes(key.expose()[at..at + 8].try_into().expect("eight bytes"));
    chance::mix(half(0) ^ chance::mix(half(8)))
}

fn mask_of(share: u16) -> u64 {
    chance::mix(u64::from(share) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallac_core::encoding::EncodingParams;
    use tallac_soft_rsa::SoftRsa;

    fn file() -> std::sync::Arc<FileCoding> {
        let params = EncodingParams::new(3, 10, 4096).unwrap();
        FileCoding::new(EncryptionKey::from_bytes([5; 16]), Encoding::new(&params, 10_000).unwrap())
    }

    fn encoded(plaintext: Vec<Payload>) -> EncodedSegment {
        let job = Job::EncodeSegment { file: file(), segment: 1, plaintext, shares: (0..10).collect() };
        match run(job, &SoftRsa) {
            JobOutput::Encoded(encoded) => *encoded,
            other => panic!("{other:?}"),
        }
    }

    fn check(block: Payload, expected: hash::Hash) -> Option<VerifiedBlock> {
        match run(Job::CheckBlock { block, expected }, &SoftRsa) {
            JobOutput::Block(block) => block,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_stand_in_stands_for_the_content_of_its_seed() {
        let whole = chance::content(9, 1000);
        for range in [0..1000, 0..1, 7..8, 8..17, 500..999, 1000..1000] {
            let part = content(9, 1000).slice(range.clone());
            assert_eq!(bytes_of(&part), &whole[range.start as usize..range.end as usize]);
        }
        let mixed = Payload::join([content(9, 1000).slice(0..100), whole[100..].to_vec().into()]);
        assert!(is_same(&mixed, &content(9, 1000)));
        assert!(!is_same(&mixed, &content(8, 1000)));
    }

    /// However the content is cut, and from any k blocks.
    #[test]
    fn what_was_encoded_is_decoded() {
        let plain = content(9, 10_000).slice(4_098..8_196);
        let once = encoded(vec![plain.clone()]);
        let cut = encoded(vec![plain.slice(0..1), plain.slice(1..4_000), plain.slice(4_000..4_098)]);
        assert_eq!((once.ciphertext_hash, &once.ciphertext), (cut.ciphertext_hash, &cut.ciphertext));
        let real = encoded(vec![bytes_of(&plain).into()]);
        for (stand_in, real) in once.blocks.iter().zip(&real.blocks) {
            assert_eq!((stand_in.0, stand_in.1.len()), (real.0, real.1.len()), "equal widths");
        }
        for of in [[0, 1, 2], [3, 9, 5], [7, 0, 8]] {
            let blocks = of.map(|share: usize| {
                let (number, block, expected) = once.blocks[share].clone();
                (number, check(block, expected).expect("it is good"))
            });
            let expected = once.ciphertext_hash;
            let job = Job::DecodeSegment { file: file(), segment: 1, blocks: blocks.into(), expected };
            assert!(matches!(run(job, &SoftRsa), JobOutput::Decoded(Some(found)) if found == plain));
        }
    }

    /// One byte, another place, another length, another share's block: all are noticed.
    #[test]
    fn damage_is_noticed() {
        let once = encoded(vec![content(9, 10_000).slice(4_098..8_196)]);
        let (_, block, expected) = once.blocks[4].clone();
        let at = |at: u64| block.slice(at..at + 1);
        let altered = |byte: u8| Payload::from(vec![bytes_of(&at(7))[0] ^ byte]);
        let with = |piece| Payload::join([block.slice(0..7), piece, block.slice(8..block.len())]);
        assert!(check(with(altered(1)), expected).is_none());
        assert!(check(with(at(8)), expected).is_none());
        assert!(check(block.slice(0..block.len() - 1), expected).is_none());
        assert!(check(once.blocks[3].1.clone(), expected).is_none());
        assert!(check(with(at(7)), expected).is_some(), "as it was");
        // Blocks of two segments do not fit together, whoever vouches for them.
        let other = encoded(vec![content(8, 10_000).slice(4_098..8_196)]);
        let blocks = [&once.blocks[0], &once.blocks[1], &other.blocks[2]]
            .map(|(share, block, _)| (*share, VerifiedBlock::vouch(block.clone())));
        let expected = once.ciphertext_hash;
        let job = Job::DecodeSegment { file: file(), segment: 1, blocks: blocks.into(), expected };
        assert!(matches!(run(job, &SoftRsa), JobOutput::Decoded(None)));
    }
}
