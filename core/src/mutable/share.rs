//! Putting mutable shares together.

use alloc::vec::Vec;

use super::check::encrypt_private_key;
use super::encoding::MutableEncoding;
use super::error::MutableShareError;
use super::layout::MutableLayout;
use super::segment::{MutableCoding, encode_segment};
use super::version::{Salt, Version};
use crate::capability::{MutableCap, MutableFormat};
use crate::hash::Hash;
use crate::hashtree::HashTree;
use crate::rsa::{PrivateKey, Rsa};
use crate::share::write_share_hashes;

/// What a share has besides its header and its blocks.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The public key, as [`PublicKey::spki`](crate::rsa::PublicKey::spki).
    pub public_key: &'a [u8],
    /// The signature of [`Version::signed_prefix`].
    pub signature: &'a [u8],
    /// What [`share_chain`] gives for this share.
    pub share_hashes: &'a [(u16, Hash)],
    /// The tree over the hashes of this share's blocks as stored.
    pub block_tree: &'a HashTree,
    /// What [`encrypt_private_key`] gives.
    pub private_key: &'a [u8],
}

/// The entries of one share in the share hash tree: what is needed to check its leaf, without it.
///
/// # Panics
/// If the tree has no such share.
pub fn share_chain(share_tree: &HashTree, share: u16) -> Vec<(u16, Hash)> {
    let mut nodes = share_tree.needed_for_leaf(share.into(), false);
    nodes.sort_unstable();
    nodes.into_iter().map(|node| (node as u16, share_tree.nodes()[node as usize])).collect()
}

/// Everything of a share but its data, as two writes: offset and bytes. The first holds the header.
///
/// # Panics
/// If the parts do not fill their places: they are of another file.
pub fn sections(layout: &MutableLayout, version: &Version, parts: &Parts<'_>) -> [(u64, Vec<u8>); 2] {
    let mut share_hashes = Vec::new();
    write_share_hashes(&mut share_hashes, parts.share_hashes);
    let block_hashes: Vec<u8> = parts.block_tree.nodes().iter().flat_map(|hash| hash.0).collect();

    let mut front = layout.header(version);
    let mut put = |range: core::ops::Range<u64>, bytes: &[u8]| {
        assert_eq!(front.len() as u64, range.start, "parts follow each other");
        front.extend_from_slice(bytes);
        assert_eq!(front.len() as u64, range.end, "a part fills its place");
    };
    let (end, tail) = match version.format() {
        MutableFormat::Sdmf => {
            put(layout.public_key_range(), parts.public_key);
            put(layout.signature_range(), parts.signature);
            put(layout.share_hashes_range(), &share_hashes);
            put(layout.block_hashes_range(), &block_hashes);
            (layout.private_key_range(), parts.private_key.to_vec())
        }
        MutableFormat::Mdmf => {
            put(layout.private_key_range(), parts.private_key);
            put(layout.share_hashes_range(), &share_hashes);
            put(layout.signature_range(), parts.signature);
            put(layout.public_key_range(), parts.public_key);
            (layout.block_hashes_range(), block_hashes)
        }
    };
    assert_eq!(end.end - end.start, tail.len() as u64, "a part fills its place");
    [(0, front), (end.start, tail)]
}

/// A whole share from its parts and its data, the blocks as stored in order.
///
/// # Panics
/// If the parts do not fill their places: they are of another file.
pub fn pack(layout: &MutableLayout, version: &Version, parts: &Parts<'_>, data: &[u8]) -> Vec<u8> {
    let [(_, mut share), (_, tail)] = sections(layout, version, parts);
    share.resize(layout.data_range().start as usize, 0);
    share.extend_from_slice(data);
    assert_eq!(share.len() as u64, layout.data_range().end, "the data fill their place");
    share.extend(tail);
    share
}

/// Encodes a whole version of a file in memory: its write capability and all its shares, in order.
///
/// The reference against which publishing is tested, and the shortest way to see how the parts fit
/// together. `salt` is asked once (SDMF) or once for each segment (MDMF).
///
/// # Errors
/// If the file is too large or the numbers of shares are impossible, and
/// [`MutableShareError::Signature`] if the key cannot sign.
pub fn build_all(
    key: &PrivateKey,
    encoding: &MutableEncoding,
    sequence: u64,
    mut salt: impl FnMut() -> Salt,
    plaintext: &[u8],
    rsa: &dyn Rsa,
) -> Result<(MutableCap, Vec<Vec<u8>>), MutableShareError> {
    assert_eq!(plaintext.len() as u64, encoding.size(), "the encoding is for this content");
    let format = encoding.format();
    let write_key = key.write_key();
    let cap = MutableCap { format, write_key, fingerprint: key.public_key().fingerprint() };
    let file = MutableCoding::new(cap.read_cap().read_key, *encoding);
    let iv = (format == MutableFormat::Sdmf).then(&mut salt);

    let all: Vec<u16> = (0..u16::from(encoding.total())).collect();
    let mut data: Vec<Vec<u8>> = all.iter().map(|_| Vec::new()).collect();
    let mut hashes: Vec<Vec<Hash>> = all.iter().map(|_| Vec::new()).collect();
    // An empty file may have a segment size of zero, but then there is nothing to cut.
    for (segnum, segment) in (0..).zip(plaintext.chunks(encoding.segment_size().max(1) as usize)) {
        let salt = iv.unwrap_or_else(&mut salt);
        let blocks = encode_segment(&file, segnum, &salt, segment.to_vec(), &all);
        for ((data, hashes), made) in data.iter_mut().zip(&mut hashes).zip(blocks) {
            data.extend_from_slice(&made.block);
            hashes.push(made.hash);
        }
    }

    let block_trees: Vec<HashTree> = hashes.into_iter().map(HashTree::from_leaves).collect();
    let share_tree = HashTree::from_leaves(block_trees.iter().map(HashTree::root).collect());
    let version = Version::new(sequence, share_tree.root(), iv, encoding);
    let signature = rsa.sign(key, &version.signed_prefix()).ok_or(MutableShareError::Signature)?;
    let (public_key, private_key) = (key.public_key().spki(), encrypt_private_key(key));
    let layout = MutableLayout::for_writing(encoding, public_key.len(), private_key.len())?;
    let share = |((number, data), block_tree): ((&u16, &Vec<u8>), &HashTree)| {
        let share_hashes = &share_chain(&share_tree, *number);
        let (signature, private_key) = (&signature, &private_key);
        pack(&layout, &version, &Parts { public_key, signature, share_hashes, block_tree, private_key }, data)
    };
    Ok((cap, all.iter().zip(&data).zip(&block_trees).map(share).collect()))
}
