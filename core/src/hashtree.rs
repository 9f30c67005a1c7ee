//! Merkle trees over blocks, segments and shares.
//!
//! The nodes of a complete binary tree are numbered from the root: 0 is the root, the children of
//! `i` are `2i + 1` and `2i + 2`. Leaves beyond those given are filled up to a power of two with
//! hashes of their own number. Numbering and hashes are those of `allmydata/hashtree.py`.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crate::hash::{Hash, tagged_hash, tagged_pair_hash};
use crate::netstring::Decimal;

/// A tree of which every leaf is known, as an uploader has it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HashTree {
    nodes: Vec<Hash>,
}

impl HashTree {
    /// Builds the tree over `leaves`. No leaves at all give the tree of one empty leaf.
    pub fn from_leaves(leaves: Vec<Hash>) -> Self {
        let first_leaf = first_leaf(leaves.len() as u64) as usize;
        let mut nodes = Vec::with_capacity(2 * first_leaf + 1);
        nodes.resize(first_leaf, Hash([0; 32]));
        let given = leaves.len() as u64;
        nodes.extend(leaves);
        nodes.extend((given..=first_leaf as u64).map(empty_leaf_hash));
        for node in (0..first_leaf).rev() {
            nodes[node] = pair_hash(&nodes[2 * node + 1], &nodes[2 * node + 2]);
        }
        Self { nodes }
    }

    /// The hash that stands for the whole tree.
    pub fn root(&self) -> Hash {
        self.nodes[0]
    }

    /// Every node, in the order of their numbers; this is how a share stores a tree.
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// The nodes that someone who has the root needs to check leaf number `leaf`: the siblings on
    /// the way up and, if `include_leaf`, the leaf itself. From the leaf upwards, without the root
    /// (unless the root is the leaf).
    ///
    /// # Panics
    /// If there is no such leaf.
    pub fn needed_for_leaf(&self, leaf: u64, include_leaf: bool) -> Vec<u64> {
        let first_leaf = self.nodes.len() as u64 / 2;
        assert!(leaf <= first_leaf, "no such leaf");
        chain(first_leaf + leaf, include_leaf).collect()
    }
}

impl fmt::Debug for HashTree {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "HashTree({} nodes, {:?})", self.nodes.len(), self.root())
    }
}

/// A tree of which only verified nodes are known, as a downloader has it.
///
/// It begins with the root from a trusted source and takes in hashes from servers only as far as
/// they lead up to a node it already trusts. Memory is proportional to what is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IncompleteHashTree {
    num_leaves: u64,
    known: BTreeMap<u64, Hash>,
}

impl IncompleteHashTree {
    /// An empty tree over `num_leaves` leaves.
    ///
    /// # Panics
    /// If there are more than [`LEAVES_MAX`]; an [`Encoding`](crate::encoding::Encoding) has fewer
    /// segments than that.
    pub fn new(num_leaves: u64) -> Self {
        assert!(num_leaves <= LEAVES_MAX, "a bounded number of leaves");
        Self { num_leaves, known: BTreeMap::new() }
    }

    /// Sets the root, which must come from a trusted source. If it differs from the root set
    /// before, everything that was verified against that one is forgotten.
    pub fn set_root(&mut self, root: Hash) {
        if self.known.get(&0) != Some(&root) {
            self.known.clear();
            self.known.insert(0, root);
        }
    }

    /// The root, once set.
    pub fn root(&self) -> Option<Hash> {
        self.node(0)
    }

    /// The nodes still missing to check leaf number `leaf`: what [`HashTree::needed_for_leaf`]
    /// gives, without those already known.
    ///
    /// # Panics
    /// If there is no such leaf.
    pub fn needed_for_leaf(&self, leaf: u64, include_leaf: bool) -> Vec<u64> {
        chain(self.leaf_node(leaf), include_leaf).filter(|node| !self.known.contains_key(node)).collect()
    }

    /// Takes in hashes from an untrusted source, by node number: all of them or, if any cannot be
    /// verified, none. The nodes computed on the way up become known too.
    ///
    /// # Errors
    /// [`HashTreeError::NoSuchNode`] for a number outside the tree, [`HashTreeError::BadHash`] for
    /// a contradiction with a trusted node or with another of the given ones,
    /// [`HashTreeError::NotEnough`] when the way up to a trusted node has a gap.
    pub fn add(&mut self, hashes: &BTreeMap<u64, Hash>) -> Result<(), HashTreeError> {
        let mut new = BTreeMap::new();
        for (&node, &hash) in hashes {
            if node >= self.node_count() {
                return Err(HashTreeError::NoSuchNode { node });
            }
            match self.known.get(&node) {
                Some(known) if *known == hash => {}
                Some(_) => return Err(HashTreeError::BadHash { node }),
                None => {
                    new.insert(node, hash);
                }
            }
        }

        // Node numbers grow with depth, so the greatest unchecked number is always on the deepest
        // level; its sibling is the neighbouring number.
        let mut unchecked = new.clone();
        while let Some((node, hash)) = unchecked.pop_last() {
            if node == 0 {
                // Only `set_root` may say what the root is; here it would be trusted untested.
                return Err(HashTreeError::NotEnough { node });
            }
            let sibling_node = sibling(node);
            let sibling_hash = new.get(&sibling_node).or(self.known.get(&sibling_node));
            let sibling_hash = *sibling_hash.ok_or(HashTreeError::NotEnough { node })?;
            unchecked.remove(&sibling_node);

            let parent_node = parent(node);
            let parent_hash = if node < sibling_node {
                pair_hash(&hash, &sibling_hash)
            } else {
                pair_hash(&sibling_hash, &hash)
            };
            match new.get(&parent_node).or(self.known.get(&parent_node)) {
                Some(expected) if *expected == parent_hash => {}
                Some(_) => return Err(HashTreeError::BadHash { node: parent_node }),
                None => {
                    new.insert(parent_node, parent_hash);
                    unchecked.insert(parent_node, parent_hash);
                }
            }
        }
        self.known.append(&mut new);
        Ok(())
    }

    /// Takes in one leaf, by leaf number, together with other hashes that it may need; else as
    /// [`add`](Self::add).
    ///
    /// # Errors
    /// As `add`; also [`HashTreeError::BadHash`] if `hashes` has another value for the leaf.
    ///
    /// # Panics
    /// If there is no such leaf.
    pub fn add_leaf(
        &mut self,
        leaf: u64,
        hash: Hash,
        mut hashes: BTreeMap<u64, Hash>,
    ) -> Result<(), HashTreeError> {
        let node = self.leaf_node(leaf);
        if hashes.insert(node, hash).is_some_and(|given| given != hash) {
            return Err(HashTreeError::BadHash { node });
        }
        self.add(&hashes)
    }

    /// The hash of a leaf, by leaf number, if it has been verified.
    ///
    /// # Panics
    /// If there is no such leaf.
    pub fn leaf(&self, leaf: u64) -> Option<Hash> {
        self.node(self.leaf_node(leaf))
    }

    /// The hash of a node, if it has been verified.
    pub fn node(&self, node: u64) -> Option<Hash> {
        self.known.get(&node).copied()
    }

    /// The number of leaves the tree was made for, without the padding.
    pub fn num_leaves(&self) -> u64 {
        self.num_leaves
    }

    /// The number of nodes, known or not.
    pub fn node_count(&self) -> u64 {
        node_count(self.num_leaves)
    }

    /// The node number of leaf 0; the other leaves follow.
    pub fn first_leaf(&self) -> u64 {
        first_leaf(self.num_leaves)
    }

    fn leaf_node(&self, leaf: u64) -> u64 {
        assert!(leaf < self.num_leaves.max(1), "no such leaf");
        self.first_leaf() + leaf
    }
}

/// The most leaves a tree may have; it keeps node numbers and sizes in bytes within a `u64`.
pub const LEAVES_MAX: u64 = 1 << 56;

/// The number of nodes of a tree over `num_leaves` leaves (at most [`LEAVES_MAX`]).
pub fn node_count(num_leaves: u64) -> u64 {
    2 * first_leaf(num_leaves) + 1
}

/// The node number of leaf 0 in a tree over `num_leaves` leaves (at most [`LEAVES_MAX`]).
pub fn first_leaf(num_leaves: u64) -> u64 {
    debug_assert!(num_leaves <= LEAVES_MAX);
    num_leaves.next_power_of_two() - 1
}

/// Why hashes were not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashTreeError {
    /// The hash of this node contradicts what lies below it, or what is known: something given is
    /// wrong.
    BadHash {
        /// Where the contradiction shows.
        node: u64,
    },
    /// This node cannot be verified: its sibling or the root is missing.
    NotEnough {
        /// The node that lacks something.
        node: u64,
    },
    /// The tree has no node of this number.
    NoSuchNode {
        /// The number given.
        node: u64,
    },
}

impl fmt::Display for HashTreeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadHash { node } => write!(out, "the hash of node {node} does not match"),
            Self::NotEnough { node } => {
                write!(out, "there are not enough hashes to verify node {node}")
            }
            Self::NoSuchNode { node } => write!(out, "the hash tree has no node {node}"),
        }
    }
}

impl core::error::Error for HashTreeError {}

fn chain(leaf_node: u64, include_leaf: bool) -> impl Iterator<Item = u64> {
    let up = core::iter::successors(Some(leaf_node), |&node| (node > 0).then(|| parent(node)));
    let siblings = up.filter(|&node| node > 0).map(sibling);
    include_leaf.then_some(leaf_node).into_iter().chain(siblings)
}

fn parent(node: u64) -> u64 {
    (node - 1) / 2
}

fn sibling(node: u64) -> u64 {
    // Left children have odd numbers.
    if node % 2 == 1 { node + 1 } else { node - 1 }
}

fn empty_leaf_hash(leaf: u64) -> Hash {
    tagged_hash(b"Merkle tree empty leaf", Decimal::new(leaf).as_bytes())
}

fn pair_hash(left: &Hash, right: &Hash) -> Hash {
    tagged_pair_hash(b"Merkle tree internal node", &left.0, &right.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(num_leaves: u64) -> HashTree {
        HashTree::from_leaves((0..num_leaves).map(|leaf| tagged_hash(b"leaf", &leaf.to_be_bytes())).collect())
    }

    fn nodes(tree: &HashTree, numbers: &[u64]) -> BTreeMap<u64, Hash> {
        numbers.iter().map(|&node| (node, tree.nodes()[node as usize])).collect()
    }

    fn incomplete(tree: &HashTree, num_leaves: u64) -> IncompleteHashTree {
        let mut incomplete = IncompleteHashTree::new(num_leaves);
        incomplete.set_root(tree.root());
        incomplete
    }

    #[test]
    fn numbering() {
        let tree = tree(6);
        assert_eq!(tree.nodes().len(), 15);
        assert_eq!(tree.needed_for_leaf(0, true), [7, 8, 4, 2]);
        assert_eq!(tree.needed_for_leaf(5, false), [11, 6, 1]);
        assert_eq!([0, 1, 2, 3, 4, 5].map(node_count), [1, 1, 3, 7, 7, 15]);
    }

    #[test]
    fn a_lone_leaf_is_the_root() {
        let tree = tree(1);
        assert_eq!(tree.nodes().len(), 1);
        assert_eq!(tree.needed_for_leaf(0, true), [0]);
        assert!(tree.needed_for_leaf(0, false).is_empty());
        let mut incomplete = incomplete(&tree, 1);
        assert!(incomplete.needed_for_leaf(0, true).is_empty());
        assert_eq!(incomplete.add(&nodes(&tree, &[0])), Ok(()));
        assert_eq!(incomplete.leaf(0), Some(tree.root()));
    }

    #[test]
    fn a_root_must_be_set_not_given() {
        let tree = tree(2);
        let mut rootless = IncompleteHashTree::new(2);
        let before = rootless.clone();
        assert_eq!(rootless.add(&nodes(&tree, &[0, 1, 2])), Err(HashTreeError::NotEnough { node: 0 }));
        assert_eq!(rootless.add(&nodes(&tree, &[1, 2])), Err(HashTreeError::NotEnough { node: 0 }));
        assert_eq!(rootless, before);
    }

    #[test]
    fn gaps_strangers_and_contradictions() {
        let tree = tree(8);
        let mut incomplete = incomplete(&tree, 8);
        let before = incomplete.clone();
        assert_eq!(incomplete.add(&nodes(&tree, &[7, 8, 2])), Err(HashTreeError::NotEnough { node: 3 }));
        let stranger = BTreeMap::from([(15, tree.root())]);
        assert_eq!(incomplete.add(&stranger), Err(HashTreeError::NoSuchNode { node: 15 }));
        let mut hashes = nodes(&tree, &[7, 8, 4, 2]);
        hashes.insert(3, tree.root());
        assert_eq!(incomplete.add(&hashes), Err(HashTreeError::BadHash { node: 3 }));
        assert_eq!(incomplete, before);
        hashes.remove(&3);
        assert_eq!(incomplete.add(&hashes), Ok(()));
        assert_eq!(incomplete.needed_for_leaf(2, true), [9, 10]);
        assert_eq!(incomplete.leaf(2), None);
    }

    #[test]
    fn another_root_forgets() {
        let tree = tree(2);
        let mut incomplete = incomplete(&tree, 2);
        incomplete.add(&nodes(&tree, &[1, 2])).expect("the right hashes");
        incomplete.set_root(tree.root());
        assert_eq!(incomplete.leaf(1), Some(tree.nodes()[2]));
        incomplete.set_root(Hash([0; 32]));
        assert_eq!(incomplete.leaf(1), None);
    }

    #[test]
    fn huge_trees_cost_nothing() {
        let tree = IncompleteHashTree::new(crate::encoding::SEGMENTS_MAX);
        assert_eq!(tree.needed_for_leaf(crate::encoding::SEGMENTS_MAX - 1, true).len(), 33);
    }

    proptest! {
        #[test]
        fn needed_hashes_are_enough_and_all_necessary(
            num_leaves in 1u64..40, order in proptest::collection::vec(any::<u64>(), 1..10)
        ) {
            let tree = tree(num_leaves);
            let mut incomplete = incomplete(&tree, num_leaves);
            for leaf in order.into_iter().map(|leaf| leaf % num_leaves) {
                let needed = incomplete.needed_for_leaf(leaf, true);
                for missing in &needed {
                    let mut too_few = nodes(&tree, &needed);
                    too_few.remove(missing);
                    let mut copy = incomplete.clone();
                    let refused = copy.add(&too_few);
                    let not_enough = matches!(refused, Err(HashTreeError::NotEnough { .. }));
                    prop_assert!(not_enough);
                    prop_assert_eq!(&copy, &incomplete);
                }
                for wrong in &needed {
                    let mut tampered = nodes(&tree, &needed);
                    tampered.get_mut(wrong).expect("it is among the needed").0[31] ^= 1;
                    let mut copy = incomplete.clone();
                    let refused = copy.add(&tampered);
                    let bad_hash = matches!(refused, Err(HashTreeError::BadHash { .. }));
                    prop_assert!(bad_hash);
                    prop_assert_eq!(&copy, &incomplete);
                }
                incomplete.add(&nodes(&tree, &needed)).expect("they are right and enough");
                prop_assert!(incomplete.needed_for_leaf(leaf, true).is_empty());
                let node = incomplete.first_leaf() + leaf;
                prop_assert_eq!(incomplete.leaf(leaf), Some(tree.nodes()[node as usize]));
            }
        }

        #[test]
        fn arbitrary_hashes_never_enter(
            num_leaves in 1u64..20,
            hashes in proptest::collection::btree_map(0u64..50, any::<[u8; 32]>().prop_map(Hash), 1..8)
        ) {
            let tree = tree(num_leaves);
            let mut incomplete = incomplete(&tree, num_leaves);
            let before = incomplete.clone();
            prop_assert!(incomplete.add(&hashes).is_err());
            prop_assert_eq!(incomplete, before);
        }
    }
}
