//! Checking what was read of a mutable share, from the capability down to the blocks.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::error::{MutableSection, MutableShareError};
use super::layout::parse_header;
use super::version::Version;
use crate::capability::{MutableCap, MutableVerifyCap};
use crate::hash::{Hash, block_hash, mutable_fingerprint, mutable_write_key};
use crate::hashtree::IncompleteHashTree;
use crate::rsa::{PRIVATE_KEY_LEN_MAX, PrivateKey, PublicKey, Rsa};
use crate::segment::crypt_at;
use crate::share::parse_share_hashes;

/// Takes the public key from a share if it is the one that the capability names.
///
/// # Errors
/// [`MutableShareError::OtherPublicKey`], or [`MutableShareError::PublicKey`] if a file was made
/// with a key that is not fit for it.
pub fn check_public_key(fingerprint: &Hash, spki: &[u8]) -> Result<PublicKey, MutableShareError> {
    if mutable_fingerprint(spki) != *fingerprint {
        return Err(MutableShareError::OtherPublicKey);
    }
    PublicKey::from_spki(spki).map_err(MutableShareError::PublicKey)
}

/// The share hash tree of a version whose signature is good: its leaves are the roots of the block
/// hash trees.
pub fn share_tree(version: &Version) -> IncompleteHashTree {
    let mut tree = IncompleteHashTree::new(version.total.into());
    tree.set_root(version.root_hash);
    tree
}

/// Takes in what a share says of itself: the root of its block hash tree and its share hashes, as
/// stored. The root is good if this succeeds.
///
/// # Errors
/// [`MutableShareError::NoSuchShare`]; [`MutableShareError::ShareHashes`] if they do not lead from
/// the root to the one that is signed.
pub fn check_share_hashes(
    tree: &mut IncompleteHashTree,
    share: u16,
    block_root: Hash,
    share_hashes: &[u8],
) -> Result<(), MutableShareError> {
    if u64::from(share) >= tree.num_leaves() {
        return Err(MutableShareError::NoSuchShare { share });
    }
    let hashes = parse_share_hashes(share_hashes).map_err(|_| MutableShareError::ShareHashes)?;
    tree.add_leaf(share.into(), block_root, hashes).map_err(|_| MutableShareError::ShareHashes)
}

/// The block hash tree of a share whose root is good. Its leaves are the hashes of the blocks as
/// stored.
pub fn block_tree(version: &Version, block_root: Hash) -> IncompleteHashTree {
    let segments = version.encoding().map_or(0, |encoding| encoding.num_segments());
    let mut tree = IncompleteHashTree::new(segments);
    tree.set_root(block_root);
    tree
}

/// The private key as shares have it: encrypted with the write key, which is its hash.
pub fn encrypt_private_key(key: &PrivateKey) -> Vec<u8> {
    let mut encrypted = key.pkcs8().to_vec();
    crypt_at(&key.write_key(), 0, &mut encrypted);
    encrypted
}

/// Takes the private key from a share if it is the one that the capability belongs to.
///
/// # Errors
/// [`MutableShareError::OtherPrivateKey`].
pub fn decrypt_private_key(cap: &MutableCap, encrypted: &[u8]) -> Result<PrivateKey, MutableShareError> {
    if encrypted.len() > PRIVATE_KEY_LEN_MAX {
        return Err(MutableShareError::Size { section: MutableSection::PrivateKey });
    }
    let mut pkcs8 = Zeroizing::new(encrypted.to_vec());
    crypt_at(&cap.write_key, 0, &mut pkcs8);
    if !bool::from(mutable_write_key(&pkcs8).ct_eq(&cap.write_key)) {
        return Err(MutableShareError::OtherPrivateKey);
    }
    let key = PrivateKey::from_pkcs8(&pkcs8).map_err(|_| MutableShareError::OtherPrivateKey)?;
    if key.public_key().fingerprint() != cap.fingerprint {
        return Err(MutableShareError::OtherPrivateKey);
    }
    Ok(key)
}

/// Checks all of a share that a verify capability can vouch for: everything but the private key,
/// and the unused room in MDMF. Gives its version.
///
/// Takes as long as the share is long, and an RSA operation: for jobs, tests and tools.
///
/// # Errors
/// The first thing found wrong.
pub fn check_share(
    cap: &MutableVerifyCap,
    number: u16,
    share: &[u8],
    rsa: &dyn Rsa,
) -> Result<Version, MutableShareError> {
    let (version, layout) = parse_header(share)?;
    let needed = usize::try_from(layout.share_len()).unwrap_or(usize::MAX);
    if share.len() < needed {
        return Err(MutableShareError::TooShort { needed, found: share.len() });
    }
    let at = |range: Range<u64>| &share[range.start as usize..range.end as usize];

    let key = check_public_key(&cap.fingerprint, at(layout.public_key_range()))?;
    if !rsa.verify(&key, &version.signed_prefix(), at(layout.signature_range())) {
        return Err(MutableShareError::Signature);
    }
    let (nodes, _) = at(layout.block_hashes_range()).as_chunks::<{ Hash::LEN }>();
    let nodes: BTreeMap<u64, Hash> = (0..).zip(nodes.iter().copied().map(Hash)).collect();
    // There is always a root: the layout has been checked.
    let root = nodes.get(&0).copied().unwrap_or(Hash([0; 32]));
    check_share_hashes(&mut share_tree(&version), number, root, at(layout.share_hashes_range()))?;

    let mut tree = block_tree(&version, root);
    tree.add(&nodes).map_err(MutableShareError::BlockHashes)?;
    for segment in 0..layout.encoding().num_segments() {
        if tree.leaf(segment) != Some(block_hash(at(layout.block_range(segment)))) {
            return Err(MutableShareError::Block { segment });
        }
    }
    Ok(version)
}
