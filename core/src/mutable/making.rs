//! Making a version of a mutable file: from content and key to signed shares, in memory.
//!
//! Mutable files are written as a whole, and each server takes all that it is to hold in one
//! request; so the whole version has to be in memory, and its size is bounded by that.

use super::check::encrypt_private_key;
use super::encoding::MutableEncoding;
use super::error::MutableShareError;
use super::layout::MutableLayout;
use super::segment::MutableCoding;
use super::share::{Parts, sections, share_chain};
use super::version::{Salt, Version};
use crate::capability::MutableFormat;
use crate::encoding::EncodingError;
use crate::entropy::Entropy;
use crate::hash::Hash;
use crate::hashtree::HashTree;
use crate::job::{Job, JobOutput};
use crate::limits::BULK_LEN_MAX;
use crate::payload::Payload;
use crate::rsa::PrivateKey;
use crate::share_set::ShareSet;
use crate::task::Tasks;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// What a task of making a version is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MakeTask {
    Encode(u64),
    Trees,
    Sign,
}

/// Why a version cannot be made.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum MakeError {
    /// The numbers or the size are impossible for a mutable file.
    Encoding(EncodingError),
    /// It is too large: each share must fit into one request.
    TooLarge {
        /// The size of the content, in bytes.
        size: u64,
        /// About how large it may be.
        most: u64,
    },
    /// The keys do not fit into a share.
    Key(MutableShareError),
    /// The private key cannot sign.
    CannotSign,
}

impl MakeError {
    /// That so many bytes are too many if so many shares are needed.
    pub(super) fn too_large(size: u64, needed: u8) -> MakeError {
        MakeError::TooLarge { size, most: BULK_LEN_MAX as u64 * u64::from(needed) }
    }
}

impl fmt::Display for MakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MakeError::Encoding(error) => error.fmt(f),
            MakeError::TooLarge { size, most } => {
                write!(f, "{size} bytes are too many for a mutable file, which may have about {most}")
            }
            MakeError::Key(error) => error.fmt(f),
            MakeError::CannotSign => {
                f.write_str("the file's private key cannot sign: its numbers do not fit")
            }
        }
    }
}

/// What a version holds, and what it is encrypted with: together with key and number they make it.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) bytes: Payload,
    /// Of the version (SDMF) or of each segment (MDMF).
    pub(super) salts: Vec<Salt>,
}

impl Content {
    /// What was never encrypted before.
    pub(super) fn new(bytes: Payload, encoding: &MutableEncoding, entropy: &mut Entropy) -> Content {
        let salts = match encoding.format() {
            MutableFormat::Sdmf => 1,
            MutableFormat::Mdmf => encoding.num_segments(),
        };
        Content { bytes, salts: (0..salts).map(|_| entropy.bytes()).collect() }
    }
}

/// A version being made.
#[derive(Debug)]
pub(super) struct Making {
    key: PrivateKey,
    encoding: MutableEncoding,
    layout: MutableLayout,
    sequence: u64,
    content: Content,
    encoding_now: BTreeSet<u64>,
    /// For each share the blocks as stored, and their hashes, by segment.
    blocks: Vec<Vec<(Payload, Hash)>>,
    signing: Option<(Version, Vec<HashTree>, HashTree)>,
}

/// What is written of a share.
#[derive(Debug)]
pub(super) struct ShareWrite {
    /// Pieces and their places, ascending.
    pub(super) pieces: Vec<(u64, Payload)>,
    /// How long the share is then, in bytes.
    pub(super) len: u64,
}

impl ShareWrite {
    /// A whole share, in pieces that follow each other.
    fn whole(pieces: impl Iterator<Item = Payload>) -> ShareWrite {
        let mut len = 0;
        let place = |piece: Payload| {
            let at = len;
            len += piece.len();
            (at, piece)
        };
        let pieces = pieces.map(place).collect();
        ShareWrite { pieces, len }
    }

    fn bytes(&self) -> u64 {
        self.pieces.iter().map(|(_, piece)| piece.len()).sum()
    }
}

/// A version that is ready to be written.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) version: Version,
    /// What it holds, if it was made as a whole.
    pub(super) content: Option<Content>,
    shares: Vec<ShareWrite>,
}

impl Made {
    /// A version of which parts are written over one that is there.
    pub(super) fn of_parts(version: Version, shares: Vec<ShareWrite>) -> Made {
        Made { version, content: None, shares }
    }

    /// What is written of a share.
    pub(super) fn share(&self, number: u16) -> &ShareWrite {
        &self.shares[usize::from(number)]
    }

    /// The most bytes that are written of one share.
    pub(super) fn most_bytes(&self) -> u64 {
        self.shares.iter().map(ShareWrite::bytes).max().unwrap_or(0)
    }
}

impl Making {
    /// Begins to make a version.
    pub(super) fn new<P: From<MakeTask>>(
        key: PrivateKey,
        encoding: MutableEncoding,
        sequence: u64,
        content: Content,
        tasks: &mut Tasks<P>,
    ) -> Result<Making, MakeError> {
        let size = content.bytes.len();
        let private_key_len = encrypt_private_key(&key).len();
        let layout = MutableLayout::for_writing(&encoding, key.public_key().spki().len(), private_key_len)
            .map_err(MakeError::Key)?;
        if layout.share_len() > BULK_LEN_MAX as u64 {
            return Err(MakeError::too_large(size, encoding.needed()));
        }
        let segments = encoding.num_segments();
        let write_key = key.write_key();
        let coding = MutableCoding::new(crate::hash::mutable_read_key(&write_key), encoding);
        for segment in 0..segments {
            let start = segment * encoding.segment_size();
            let end = (start + encoding.segment_size()).min(size);
            let salt = match encoding.format() {
                MutableFormat::Sdmf => content.salts[0],
                MutableFormat::Mdmf => content.salts[segment as usize],
            };
            let plaintext = Vec::from([content.bytes.slice(start..end)]);
            let shares = ShareSet::first(encoding.total().into());
            let file = coding.clone();
            let job = Job::EncodeMutableSegment { file, segment, salt, plaintext, shares };
            tasks.job(MakeTask::Encode(segment).into(), job);
        }
        let no_block = (Payload::from(Vec::new()), Hash([0; 32]));
        let blocks = vec![vec![no_block; segments as usize]; encoding.total().into()];
        let encoding_now: BTreeSet<u64> = (0..segments).collect();
        let mut making =
            Making { key, encoding, layout, sequence, content, encoding_now, blocks, signing: None };
        making.build_trees(tasks);
        Ok(making)
    }

    /// Once all blocks are there, asks for the trees over them.
    fn build_trees<P: From<MakeTask>>(&mut self, tasks: &mut Tasks<P>) {
        if self.encoding_now.is_empty() {
            let hashes = |share: &Vec<(Payload, Hash)>| share.iter().map(|(_, hash)| *hash).collect();
            let leaves = self.blocks.iter().map(hashes).collect();
            tasks.job(MakeTask::Trees.into(), Job::BuildTrees(leaves));
        }
    }

    /// Takes in the output of a job. Gives the version when it is ready.
    pub(super) fn finished<P: From<MakeTask>>(
        &mut self,
        task: MakeTask,
        output: JobOutput,
        tasks: &mut Tasks<P>,
    ) -> Result<Option<Made>, MakeError> {
        match (task, output) {
            (MakeTask::Encode(segment), JobOutput::MutableEncoded(made)) => {
                for (share, block, hash) in made {
                    self.blocks[usize::from(share)][segment as usize] = (block, hash);
                }
                self.encoding_now.remove(&segment);
                self.build_trees(tasks);
                Ok(None)
            }
            (MakeTask::Trees, JobOutput::Trees(block_trees)) => {
                let share_tree = HashTree::from_leaves(block_trees.iter().map(HashTree::root).collect());
                let is_sdmf = self.encoding.format() == MutableFormat::Sdmf;
                let iv = self.content.salts.first().copied().filter(|_| is_sdmf);
                let version = Version::new(self.sequence, share_tree.root(), iv, &self.encoding);
                let (key, message) = (self.key.clone(), version.signed_prefix());
                tasks.job(MakeTask::Sign.into(), Job::Sign { key, message });
                self.signing = Some((version, block_trees, share_tree));
                Ok(None)
            }
            (MakeTask::Sign, JobOutput::Signed(signature)) => {
                let signature = signature.ok_or(MakeError::CannotSign)?;
                Ok(self.pack(&signature))
            }
            (task, output) => {
                debug_assert!(false, "{task:?} cannot end with {output:?}");
                Ok(None)
            }
        }
    }

    fn pack(&mut self, signature: &[u8]) -> Option<Made> {
        let (version, block_trees, share_tree) = self.signing.take()?;
        let private_key = encrypt_private_key(&self.key);
        let public_key = self.key.public_key().spki();
        let data_start = self.layout.data_range().start;
        let numbers = 0..u16::from(self.encoding.total());
        let shares = numbers.zip(&block_trees).zip(core::mem::take(&mut self.blocks));
        let shares = shares.map(|((number, block_tree), blocks)| {
            let share_hashes = &share_chain(&share_tree, number);
            let parts = Parts { public_key, signature, share_hashes, block_tree, private_key: &private_key };
            let [(_, mut front), (_, tail)] = sections(&self.layout, &version, &parts);
            // MDMF has room before the data.
            front.resize(data_start as usize, 0);
            let blocks = blocks.into_iter().map(|(block, _)| block);
            ShareWrite::whole([Payload::from(front)].into_iter().chain(blocks).chain([Payload::from(tail)]))
        });
        let content = Some(self.content.clone());
        Some(Made { version, content, shares: shares.collect() })
    }
}
