//! Heavy arithmetic, asked for by machines and carried out elsewhere.
//!
//! A runtime runs jobs on a pool, the simulator inline; [`run`] is the one implementation over real
//! bytes. Jobs are pure: the same job always has the same output, with one exception. A host's RSA
//! has randomness of its own, so that keys and signatures made there differ; a simulator's has not.
//! Jobs are the only part of the core that looks inside a [`Payload`].

use crate::announcement::{self, Announcement, SignedAnnouncement};
use crate::encoding::Encoding;
use crate::erasure::Encoder;
use crate::hash::{self, TaggedHasher};
use crate::hashtree::HashTree;
use crate::mutable::{self, MutableCoding, Salt};
use crate::mutants::{self, Mutant};
use crate::payload::Payload;
use crate::rsa::{PrivateKey, PublicKey, Rsa};
use crate::secret::{EncryptionKey, Secret};
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
    /// Makes the keys of a mutable file.
    GenerateKeys {
        /// All the randomness for who has no own.
        seed: Secret<32>,
    },
    /// Signs a version of a mutable file.
    Sign {
        /// Its private key.
        key: PrivateKey,
        /// The signed prefix of the version.
        message: Vec<u8>,
    },
    /// Checks the signature of a version of a mutable file.
    CheckSignature {
        /// The public key, whose fingerprint the capability has.
        key: PublicKey,
        /// The signed prefix of the version.
        message: Vec<u8>,
        /// What the share has as its signature.
        signature: Vec<u8>,
    },
    /// Encrypts a segment of a mutable file, codes it into blocks and hashes these.
    EncodeMutableSegment {
        /// The file.
        file: Arc<MutableCoding>,
        /// Which segment.
        segment: u64,
        /// Drawn anew for this segment (MDMF) or for this version of the file (SDMF).
        salt: Salt,
        /// Its plaintext, in pieces that follow each other.
        plaintext: Vec<Payload>,
        /// The shares whose blocks are wanted.
        shares: crate::share_set::ShareSet,
    },
    /// Decodes and decrypts a segment of a mutable file.
    DecodeMutableSegment {
        /// The file.
        file: Arc<MutableCoding>,
        /// Which segment.
        segment: u64,
        /// The salt of an SDMF version; in MDMF each block has its own.
        iv: Option<Salt>,
        /// k checked blocks as stored, with their share numbers.
        blocks: Vec<(u16, VerifiedBlock)>,
    },
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
    /// The plaintext of a segment, if its ciphertext hashed to what was expected, or if its blocks
    /// fit together where nothing is expected of it.
    Decoded(Option<Payload>),
    /// The hash trees, in the order given.
    Trees(Vec<HashTree>),
    /// Whether the contents were the same.
    Same(bool),
    /// Those announcements whose signatures are good, in the order given.
    Announcements(Vec<Option<Announcement>>),
    /// The keys, if any could be made.
    Keys(Option<PrivateKey>),
    /// The signature, if the key could sign.
    Signed(Option<Vec<u8>>),
    /// Whether the signature is good.
    SignatureGood(bool),
    /// The blocks of a mutable file's segment that were wanted: share number, block as stored (in
    /// MDMF with its salt before it), its hash.
    MutableEncoded(Vec<(u16, Payload, hash::Hash)>),
}

/// Computes a job over real bytes, with the RSA of whoever runs it.
///
/// # Panics
/// If a payload is a stand-in: who makes stand-ins runs the jobs that meet them.
pub fn run(job: Job, rsa: &dyn Rsa) -> JobOutput {
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
            let unchecked = mutants::is_in(Mutant::BlockUnchecked) || mutants::is_in(Mutant::NothingChecked);
            let good = hash::block_hash(real(&block)) == expected || unchecked;
            JobOutput::Block(good.then_some(VerifiedBlock(block)))
        }
        Job::DecodeSegment { file, segment, blocks, expected } => {
            let blocks: Vec<(u16, Bytes)> =
                blocks.into_iter().map(|(share, block)| (share, into_real(block.0))).collect();
            let decoded = segment::decode_segment(&file.key, &file.encoding, segment, &blocks).ok();
            let unchecked = mutants::is_in(Mutant::NothingChecked);
            let mut good = decoded.filter(|decoded| decoded.crypttext_segment_hash == expected || unchecked);
            if let Some(decoded) = &mut good
                && mutants::is_in(Mutant::Canary)
            {
                decoded.plaintext.iter_mut().take(1).for_each(|byte| *byte ^= 1);
            }
            JobOutput::Decoded(good.map(|decoded| decoded.plaintext.into()))
        }
        Job::BuildTrees(trees) => JobOutput::Trees(trees.into_iter().map(HashTree::from_leaves).collect()),
        Job::SameContent(a, b) => JobOutput::Same(real(&a) == real(&b)),
        Job::CheckAnnouncements(list) => {
            JobOutput::Announcements(list.iter().map(announcement::verify).collect())
        }
        Job::GenerateKeys { seed } => JobOutput::Keys(rsa.generate(&seed)),
        Job::Sign { key, message } => JobOutput::Signed(rsa.sign(&key, &message)),
        Job::CheckSignature { key, message, signature } => {
            JobOutput::SignatureGood(rsa.verify(&key, &message, &signature))
        }
        Job::EncodeMutableSegment { file, segment, salt, plaintext, shares } => {
            let shares: Vec<u16> = shares.iter().collect();
            let blocks = mutable::encode_segment(&file, segment, &salt, gather(plaintext), &shares);
            let stored = |block: segment::EncodedBlock| (block.share, block.block.into(), block.hash);
            JobOutput::MutableEncoded(blocks.into_iter().map(stored).collect())
        }
        Job::DecodeMutableSegment { file, segment, iv, blocks } => {
            let blocks: Vec<(u16, Bytes)> =
                blocks.into_iter().map(|(share, block)| (share, into_real(block.0))).collect();
            let decoded = mutable::decode_segment(&file, segment, iv.as_ref(), &blocks).ok();
            JobOutput::Decoded(decoded.map(Payload::from))
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
