//! One block of one share: what must be read to check it, and the way from the signed root to it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;

use crate::hash::Hash;
use crate::hashtree::{HashTreeError, IncompleteHashTree, node_count};
use crate::mutable::map::HeldShare;
use crate::mutable::{MutableLayout, MutableShareError, Version, block_tree, check_share_hashes};
use crate::payload::Payload;

/// A hash tree of at most this many nodes is read whole; of a larger one, what is needed.
const WHOLE_TREE_MAX: u64 = 4096;

/// What is read for one block: the ranges, those of them that are still to be read first.
#[derive(Debug)]
pub(super) struct BlockPlan {
    segment: u64,
    version: Version,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    what: What,
    range: Range<u64>,
    known: Option<Payload>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    /// The beginning, which tells whether the share is still of the same version.
    CheckString,
    ShareHashes,
    /// Nodes of the block hash tree, from this one on.
    Nodes(u64),
    Block,
}

/// Why a block is of no use.
pub(super) enum BlockError {
    /// The share is of another version by now.
    Changed,
    /// The share is damaged.
    Bad(MutableShareError),
}

impl From<MutableShareError> for BlockError {
    fn from(why: MutableShareError) -> BlockError {
        BlockError::Bad(why)
    }
}

impl BlockPlan {
    /// What is needed for the block of a segment, given the nodes of the share's block hash tree that
    /// are known, if its root is. What the map has read already is not read again.
    pub(super) fn new(
        version: &Version,
        layout: &MutableLayout,
        tree: Option<&IncompleteHashTree>,
        segment: u64,
        held: &HeldShare,
    ) -> BlockPlan {
        let mut plan = BlockPlan { segment, version: *version, parts: Vec::new() };
        if tree.is_none() {
            plan.add(What::ShareHashes, layout.share_hashes_range(), held);
        }
        let num_segments = layout.encoding().num_segments();
        let mut wanted = match tree {
            Some(tree) => tree.needed_for_leaf(segment, true),
            None => {
                let mut wanted = IncompleteHashTree::new(num_segments).needed_for_leaf(segment, true);
                // The root is what the share hashes vouch for.
                wanted.push(0);
                wanted
            }
        };
        if !wanted.is_empty() && node_count(num_segments) <= WHOLE_TREE_MAX {
            wanted = (u64::from(tree.is_some())..node_count(num_segments)).collect();
        }
        wanted.sort_unstable();
        wanted.dedup();
        let mut wanted = wanted.into_iter().peekable();
        while let Some(first) = wanted.next() {
            let mut last = first;
            while wanted.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            let range = layout.block_node_range(first).start..layout.block_node_range(last).end;
            plan.add(What::Nodes(first), range, held);
        }
        plan.add(What::Block, layout.block_range(segment), held);
        if plan.parts.iter().any(|part| part.known.is_none()) {
            let range = 0..version.check_string().len() as u64;
            plan.parts.insert(0, Part { what: What::CheckString, range, known: None });
        }
        plan
    }

    fn add(&mut self, what: What, range: Range<u64>, held: &HeldShare) {
        let known = held.bytes(&range).map(Payload::from);
        self.parts.push(Part { what, range, known });
    }

    /// The ranges that are to be read; none if all is known.
    pub(super) fn ranges(&self) -> Vec<Range<u64>> {
        self.parts.iter().filter(|part| part.known.is_none()).map(|part| part.range.clone()).collect()
    }

    /// Checks what was read, one piece for each of the [ranges](Self::ranges), against the share hash
    /// tree. Gives the block and the hash it must have; the nodes on the way are kept in the trees.
    pub(super) fn accept(
        &self,
        share: u16,
        read: Vec<Payload>,
        share_tree: &mut IncompleteHashTree,
        tree: &mut Option<IncompleteHashTree>,
    ) -> Result<(Payload, Hash), BlockError> {
        let mut read = read.into_iter();
        let (mut chain, mut nodes, mut block) = (Bytes::new(), BTreeMap::new(), Payload::empty());
        for Part { what, range, known } in &self.parts {
            let piece = known.clone().or_else(|| read.next()).unwrap_or_default();
            if *what == What::Block {
                block = piece;
                continue;
            }
            let bytes = piece.into_bytes().unwrap_or_default();
            if *what == What::CheckString && !bytes.is_empty() && bytes != self.version.check_string() {
                return Err(BlockError::Changed);
            }
            if bytes.len() as u64 != range.end - range.start {
                let (needed, found) = (range.end as usize, range.start as usize + bytes.len());
                return Err(MutableShareError::TooShort { needed, found }.into());
            }
            match what {
                What::CheckString | What::Block => {}
                What::ShareHashes => chain = bytes,
                What::Nodes(first) => {
                    let (hashes, _) = bytes.as_chunks::<{ Hash::LEN }>();
                    nodes.extend((*first..).zip(hashes.iter().copied().map(Hash)));
                }
            }
        }
        let tree = match tree {
            Some(tree) => tree,
            None => {
                // The plan has the root where no tree is known yet.
                let root = nodes.get(&0).copied().unwrap_or(Hash([0; 32]));
                check_share_hashes(share_tree, share, root, &chain)?;
                tree.insert(block_tree(&self.version, root))
            }
        };
        tree.add(&nodes).map_err(MutableShareError::BlockHashes)?;
        let unknown = HashTreeError::NotEnough { node: tree.first_leaf() + self.segment };
        let expected = tree.leaf(self.segment).ok_or(MutableShareError::BlockHashes(unknown))?;
        let place = self.parts.last().map(|part| part.range.clone()).unwrap_or_default();
        if block.len() != place.end - place.start {
            let (needed, found) = (place.end as usize, (place.start + block.len()) as usize);
            return Err(MutableShareError::TooShort { needed, found }.into());
        }
        Ok((block, expected))
    }
}
