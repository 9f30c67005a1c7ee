//! Shares of immutable files: what is in them and how it is laid out.

use alloc::vec::Vec;

mod chain;
mod extension;
mod layout;

pub use chain::{SHARE_HASH_LEN, entry_count, parse_share_hashes, share_hashes, write_share_hashes};
pub use extension::{CODEC_NAME, CodecParams, Extension, ExtensionError, Key};
pub use layout::{
    EXTENSION_LEN_MAX, HEADER_LEN_V1, HEADER_LEN_V2, Section, ShareError, ShareLayout, Version,
};

use crate::capability::ChkCap;
use crate::encoding::{Encoding, EncodingError, EncodingParams};
use crate::erasure::Encoder;
use crate::hash::crypttext_hasher;
use crate::hashtree::HashTree;
use crate::secret::EncryptionKey;
use crate::segment::encode_segment;

/// Everything that follows the blocks of a share, from [`ShareLayout::tail_offset`] to its end.
///
/// # Panics
/// If the parts do not fill their sections: they are of another file.
pub fn tail(
    layout: &ShareLayout,
    crypttext_tree: &HashTree,
    block_tree: &HashTree,
    share_hashes: &[(u16, crate::hash::Hash)],
    packed_extension: &[u8],
) -> Vec<u8> {
    let len = layout.allocated_size(packed_extension.len()) - layout.tail_offset();
    let mut out = Vec::with_capacity(len as usize);
    let position = |out: &Vec<u8>| layout.tail_offset() + out.len() as u64;

    out.resize((layout.crypttext_tree_range().start - layout.tail_offset()) as usize, 0);
    crypttext_tree.nodes().iter().for_each(|hash| out.extend_from_slice(&hash.0));
    assert_eq!(position(&out), layout.block_hashes_range().start, "a tree over the segments");
    block_tree.nodes().iter().for_each(|hash| out.extend_from_slice(&hash.0));
    assert_eq!(position(&out), layout.share_hashes_range().start, "a tree over the blocks");
    write_share_hashes(&mut out, share_hashes);
    assert_eq!(position(&out), layout.extension_length_range().start, "a chain up to the root");
    layout.write_extension_length(&mut out, packed_extension.len());
    out.extend_from_slice(packed_extension);
    out
}

/// Encodes a whole file in memory: its capability and all its shares, in order.
///
/// The reference against which the streaming upload is tested, and the shortest way to see how the
/// parts fit together; it holds file and shares at once, so it is not for large files.
///
/// # Errors
/// As [`Encoding::new`]: an empty file has no shares, for example.
pub fn build_all(
    params: &EncodingParams,
    key: &EncryptionKey,
    plaintext: &[u8],
) -> Result<(ChkCap, Vec<Vec<u8>>), EncodingError> {
    let encoding = Encoding::new(params, plaintext.len() as u64)?;
    Ok(build(&encoding, &ShareLayout::for_upload(&encoding), key, plaintext))
}

/// [`build_all`] with version 2 shares whatever their size, to test readers.
///
/// # Errors
/// As `build_all`.
pub fn build_all_v2(
    params: &EncodingParams,
    key: &EncryptionKey,
    plaintext: &[u8],
) -> Result<(ChkCap, Vec<Vec<u8>>), EncodingError> {
    let encoding = Encoding::new(params, plaintext.len() as u64)?;
    Ok(build(&encoding, &ShareLayout::force_v2(&encoding), key, plaintext))
}

fn build(
    encoding: &Encoding,
    layout: &ShareLayout,
    key: &EncryptionKey,
    plaintext: &[u8],
) -> (ChkCap, Vec<Vec<u8>>) {
    let encoder = Encoder::new(encoding.needed(), encoding.total())
        .expect("the encoding has checked the numbers of shares");
    let all_shares: Vec<u16> = (0..encoding.total()).collect();

    let mut shares: Vec<Vec<u8>> = all_shares.iter().map(|_| layout.header()).collect();
    let mut block_hashes: Vec<Vec<_>> = all_shares.iter().map(|_| Vec::new()).collect();
    let mut segment_hashes = Vec::new();
    let mut whole = crypttext_hasher();
    for (segnum, segment) in (0..).zip(plaintext.chunks(encoding.segment_size() as usize)) {
        let encoded = encode_segment(key, encoding, &encoder, segnum, segment.to_vec(), &all_shares);
        whole.update(&encoded.ciphertext);
        segment_hashes.push(encoded.crypttext_segment_hash);
        for ((share, hashes), made) in shares.iter_mut().zip(&mut block_hashes).zip(encoded.blocks) {
            share.extend_from_slice(&made.block);
            hashes.push(made.hash);
        }
    }

    let crypttext_tree = HashTree::from_leaves(segment_hashes);
    let block_trees: Vec<HashTree> = block_hashes.into_iter().map(HashTree::from_leaves).collect();
    let share_tree = HashTree::from_leaves(block_trees.iter().map(HashTree::root).collect());
    let extension = Extension::new(encoding, whole.finish(), crypttext_tree.root(), share_tree.root());
    let packed = extension.pack();
    for ((number, share), block_tree) in all_shares.iter().zip(&mut shares).zip(&block_trees) {
        let chain = share_hashes(&share_tree, *number);
        share.extend(tail(layout, &crypttext_tree, block_tree, &chain, &packed));
    }
    let cap = ChkCap {
        key: key.clone(),
        extension_hash: extension.hash(),
        needed: encoding.needed(),
        total: encoding.total(),
        size: encoding.size(),
    };
    (cap, shares)
}
