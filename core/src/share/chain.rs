//! The hashes in a share that tie it to the others.
//!
//! The roots of all shares' block hash trees are the leaves of the share hash tree, whose root is
//! in the extension block. Each share carries the nodes needed to check its own root: its leaf and
//! the siblings on the way up, as entries of a 2-byte node number (big-endian) and a 32-byte hash.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::layout::{Section, ShareError};
use crate::hash::Hash;
use crate::hashtree::HashTree;

/// The length of one entry, in bytes.
pub const SHARE_HASH_LEN: usize = 2 + Hash::LEN;

/// The entries of one share, in the order in which the peer writes them.
///
/// # Panics
/// If the tree has no such share.
pub fn share_hashes(share_tree: &HashTree, share: u16) -> Vec<(u16, Hash)> {
    let siblings = share_tree.needed_for_leaf(share.into(), false);
    let leaf_node = share_tree.nodes().len() as u64 / 2 + u64::from(share);
    let hash = |node: u64| (node as u16, share_tree.nodes()[node as usize]);
    peer_order(&siblings, leaf_node).into_iter().map(hash).collect()
}

/// Writes entries one after the other.
pub fn write_share_hashes(out: &mut Vec<u8>, entries: &[(u16, Hash)]) {
    for (node, hash) in entries {
        out.extend_from_slice(&node.to_be_bytes());
        out.extend_from_slice(&hash.0);
    }
}

/// Reads the entries of one share, in any order, for
/// [`IncompleteHashTree::add`](crate::hashtree::IncompleteHashTree::add).
///
/// # Errors
/// [`ShareError::Size`] if the bytes are not whole entries, [`ShareError::Contradiction`] if a node
/// has two different hashes.
pub fn parse_share_hashes(bytes: &[u8]) -> Result<BTreeMap<u64, Hash>, ShareError> {
    let (entries, []) = bytes.as_chunks::<SHARE_HASH_LEN>() else {
        return Err(ShareError::Size { section: Section::ShareHashes });
    };
    let mut hashes = BTreeMap::new();
    for [high, low, hash @ ..] in entries {
        let node = u16::from_be_bytes([*high, *low]);
        let hash = Hash(*hash);
        if hashes.insert(node.into(), hash).is_some_and(|given| given != hash) {
            return Err(ShareError::Contradiction { node });
        }
    }
    Ok(hashes)
}

/// How many entries each share of a file with `total` shares has.
pub fn entry_count(total: u16) -> usize {
    // One sibling for each level of the tree, and the leaf.
    usize::from(total).next_power_of_two().ilog2() as usize + 1
}

/// The order in which the peer writes the entries.
///
/// To a reader the order means nothing. The peer happens to write them in the order of a CPython
/// set of small integers, that is, by the place each gets in an open-addressed table; doing the
/// same makes our shares equal to the peer's byte for byte, so that they can be compared plainly.
/// A set of fewer than five numbers has 8 places, a larger one 32; the chain has at most 9.
fn peer_order(siblings: &[u64], leaf_node: u64) -> Vec<u64> {
    let mut table = Table::new(8);
    for &node in siblings.iter().chain([&leaf_node]) {
        table.insert(node);
        if table.places.len() == 8 && table.used() == 5 {
            let small = core::mem::replace(&mut table, Table::new(32));
            small.places.into_iter().flatten().for_each(|node| table.insert(node));
        }
    }
    table.places.into_iter().flatten().collect()
}

/// CPython's set as of 3.7 (`Objects/setobject.c`): a run of neighbours is tried before jumping,
/// but only where a run of ten does not reach past the end.
struct Table {
    places: Vec<Option<u64>>,
}

impl Table {
    const NEIGHBOURS: usize = 9;

    fn new(len: usize) -> Self {
        Self { places: vec![None; len] }
    }

    fn used(&self) -> usize {
        self.places.iter().flatten().count()
    }

    fn insert(&mut self, node: u64) {
        let mask = self.places.len() - 1;
        let mut perturbation = node as usize;
        let mut place = node as usize & mask;
        loop {
            let run = if place + Self::NEIGHBOURS <= mask { Self::NEIGHBOURS } else { 0 };
            for neighbour in &mut self.places[place..=place + run] {
                if neighbour.is_none_or(|there| there == node) {
                    *neighbour = Some(node);
                    return;
                }
            }
            perturbation >>= 5;
            place = (place * 5 + 1 + perturbation) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::tagged_hash;
    use proptest::prelude::*;

    fn tree(total: u16) -> HashTree {
        HashTree::from_leaves((0..total).map(|share| tagged_hash(b"", &share.to_be_bytes())).collect())
    }

    #[test]
    fn every_share_has_what_its_leaf_needs() {
        for total in 1..=256 {
            let tree = tree(total);
            for share in 0..total {
                let entries = share_hashes(&tree, share);
                assert_eq!(entries.len(), entry_count(total));
                let mut written = Vec::new();
                write_share_hashes(&mut written, &entries);
                let read = parse_share_hashes(&written).expect("whole entries");
                let mut needed = tree.needed_for_leaf(share.into(), true);
                needed.sort_unstable();
                assert!(read.keys().eq(&needed));
            }
        }
    }

    #[test]
    fn malformed_entries() {
        assert_eq!(parse_share_hashes(&[0; 33]), Err(ShareError::Size { section: Section::ShareHashes }));
        let mut twice = vec![0; 68];
        assert_eq!(parse_share_hashes(&twice).map(|hashes| hashes.len()), Ok(1));
        twice[67] = 1;
        assert_eq!(parse_share_hashes(&twice), Err(ShareError::Contradiction { node: 0 }));
    }

    proptest! {
        #[test]
        fn arbitrary_entries(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let whole = bytes.len() % SHARE_HASH_LEN == 0;
            prop_assert!(whole || parse_share_hashes(&bytes).is_err());
        }
    }
}
