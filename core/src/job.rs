//! Heavy arithmetic, asked for by machines and carried out elsewhere.
//!
//! A runtime runs jobs on a pool, the simulator inline; [`run`] is the one implementation over real
//! bytes. Jobs are pure: the same job always has the same output. They are the only part of the
//! core that looks inside a [`Payload`].

use crate::announcement::{self, Announcement, SignedAnnouncement};
use crate::encoding::Encoding;
use crate::erasure::Encoder;
use crate::hash::{self, TaggedHasher};
use crate::hashtree::HashTree;
use crate::payload::Payload;
use crate::secret::EncryptionKey;
use crate::segment;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::hash::{Hash, Hasher};

/// Everything that stays the same for all segments of a file.
pub struct FileCoding {
    /// The AES-128 key of the file.
    pub key: EncryptionKey,
    /// How the file is cut up.
    pub encoding: Encoding,
    /// The erasure code's matrix for its k and N.
    pub encoder: Encoder,
}

impl FileCoding {
    /// Prepares the coding of a file.
    pub fn new(key: EncryptionKey, encoding: Encoding) -> Arc<FileCoding> {
        let encoder = Encoder::new(encoding.needed(), encoding.total())
            .expect("an encoding has a checked number of shares");
        Arc::new(FileCoding { key, encoding, encoder })
    }
}

impl fmt::Debug for FileCoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCoding").field("encoding", &self.encoding).finish_non_exhaustive()
    }
}

impl Hash for FileCoding {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
        self.encoding.hash(state);
    }
}

/// Something to compute.
#[derive(Clone, Hash, Debug)]
pub enum Job {
    /// Feeds bytes to a hash.
    Hash {
        /// The hash so far.
        hasher: TaggedHasher,
        /// The bytes that follow.
        data: Vec<Payload>,
    },
    /// Encrypts a segment, codes it into blocks and hashes these.
    EncodeSegment {
        /// The file.
        file: Arc<FileCoding>,
        /// Which segment.
        segment: u64,
        /// Its plaintext, in pieces that follow each other.
        plaintext: Vec<Payload>,
        /// The shares whose blocks are wanted.
        shares: crate::share_set::ShareSet,
    },
    /// Checks a block against the hash its hash tree vouches for.
    CheckBlock {
        /// The block as a server gave it.
        block: Payload,
        /// What it must hash to.
        expected: hash::Hash,
    },
    /// Decodes and decrypts a segment.
    DecodeSegment {
        /// The file.
        file: Arc<FileCoding>,
        /// Which segment.
        segment: u64,
        /// k checked blocks with their share numbers.
        blocks: Vec<(u16, VerifiedBlock)>,
        /// What the ciphertext must hash to.
        expected: hash::Hash,
    },
    /// Builds hash trees over leaves.
    BuildTrees(Vec<Vec<hash::Hash>>),
    /// Whether two payloads hold the same bytes.
    SameContent(Payload, Payload),
    /// Checks the signatures of announcements and reads them.
    CheckAnnouncements(Vec<SignedAnnouncement>),
}

/// A block that hashes to what its hash tree vouches for. Only [`Job::CheckBlock`] makes one, so
/// that nothing unchecked can reach the decoder.
#[derive(Clone, Hash, Debug)]
pub struct VerifiedBlock(Payload);

impl VerifiedBlock {
    /// For executors of jobs that do not run [`run`].
    pub fn vouch(block: Payload) -> VerifiedBlock {
        VerifiedBlock(block)
    }

    /// The block.
    pub fn payload(&self) -> &Payload {
        &self.0
    }
}

/// The blocks of a segment.
#[derive(Clone, Hash, Debug)]
pub struct EncodedSegment {
    /// The encrypted segment, without padding.
    pub ciphertext: Payload,
    /// The tagged hash of the ciphertext.
    pub ciphertext_hash: hash::Hash,
    /// The blocks that were wanted: share number, block, hash of the block.
    pub blocks: Vec<(u16, Payload, hash::Hash)>,
}

/// What a job computed.
#[derive(Clone, Hash, Debug)]
pub enum JobOutput {
    /// The hash after the bytes.
    Hashed(TaggedHasher),
    /// The blocks of a segment.
    Encoded(Box<EncodedSegment>),
    /// The block, if it is good.
    Block(Option<VerifiedBlock>),
    /// The plaintext of a segment, if its ciphertext hashed to what was expected.
    Decoded(Option<Payload>),
    /// The hash trees, in the order given.
    Trees(Vec<HashTree>),
    /// Whether the contents were the same.
    Same(bool),
    /// Those announcements whose signatures are good, in the order given.
    Announcements(Vec<Option<Announcement>>),
}

/// Computes a job over real bytes.
///
/// # Panics
/// If a payload is a stand-in: who makes stand-ins runs the jobs that meet them.
pub fn run(job: Job) -> JobOutput {
    match job {
        Job::Hash { mut hasher, data } => {
            data.iter().for_each(|piece| hasher.update(real(piece)));
            JobOutput::Hashed(hasher)
        }
        Job::EncodeSegment { file, segment, plaintext, shares } => {
            let shares: Vec<u16> = shares.iter().collect();
            let FileCoding { key, encoding, encoder } = &*file;
            let encoded =
                segment::encode_segment(key, encoding, encoder, segment, gather(plaintext), &shares);
            let blocks = encoded.blocks.into_iter().map(|b| (b.share, b.block.into(), b.hash)).collect();
            JobOutput::Encoded(Box::new(EncodedSegment {
                ciphertext: encoded.ciphertext.into(),
                ciphertext_hash: encoded.crypttext_segment_hash,
                blocks,
            }))
        }
        Job::CheckBlock { block, expected } => {
            let good = hash::block_hash(real(&block)) == expected;
            JobOutput::Block(good.then_some(VerifiedBlock(block)))
        }
        Job::DecodeSegment { file, segment, blocks, expected } => {
            let blocks: Vec<(u16, Bytes)> =
                blocks.into_iter().map(|(share, block)| (share, into_real(block.0))).collect();
            let decoded = segment::decode_segment(&file.key, &file.encoding, segment, &blocks).ok();
            let good = decoded.filter(|decoded| decoded.crypttext_segment_hash == expected);
            JobOutput::Decoded(good.map(|decoded| decoded.plaintext.into()))
        }
        Job::BuildTrees(trees) => JobOutput::Trees(trees.into_iter().map(HashTree::from_leaves).collect()),
        Job::SameContent(a, b) => JobOutput::Same(real(&a) == real(&b)),
        Job::CheckAnnouncements(list) => {
            JobOutput::Announcements(list.iter().map(announcement::verify).collect())
        }
    }
}

fn real(payload: &Payload) -> &Bytes {
    payload.bytes().expect("jobs over real bytes get real bytes")
}

fn into_real(payload: Payload) -> Bytes {
    payload.into_bytes().expect("jobs over real bytes get real bytes")
}

/// Puts pieces together into one buffer; a single piece that nobody else holds is not copied.
fn gather(pieces: Vec<Payload>) -> Vec<u8> {
    let mut pieces = pieces.into_iter().map(into_real);
    let first = pieces.next().unwrap_or_default();
    let mut buffer = Vec::from(first);
    pieces.for_each(|piece| buffer.extend_from_slice(&piece));
    buffer
}
