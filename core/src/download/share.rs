//! One share at one server: its metadata is read and checked when it is opened, its block hash
//! tree filled as far as its blocks are read.

use super::FileView;
use crate::capability::ChkCap;
use crate::encoding::Encoding;
use crate::hash::{self, Hash};
use crate::hashtree::IncompleteHashTree;
use crate::payload::Payload;
use crate::share::{EXTENSION_LEN_MAX, Extension, HEADER_LEN_V2, ShareLayout, parse_share_hashes};
use crate::task::covered;
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;
use core::time::Duration;

/// A hash tree of at most this many nodes is read whole; of a larger one, what is needed.
const WHOLE_TREE_MAX: u64 = 4096;
/// Trees of at most this many bytes are read together with the rest of the metadata.
const TREES_WITH_METADATA_MAX: u64 = 32 * 1024;
/// The first block is read together with the metadata if it is no longer than this.
const BLOCK_WITH_METADATA_MAX: u64 = 64 * 1024;
/// The share hash chain of 256 shares has 9 entries; nobody needs more than this many bytes.
const SHARE_HASHES_MAX: u64 = 4096;

#[derive(Debug)]
pub(super) struct ShareReader {
    share: u16,
    state: State,
    /// It was overtaken lately.
    pub(super) slow: bool,
}

#[derive(Debug)]
enum State {
    Unopened,
    Opening { since: Instant, asked: Vec<Range<u64>>, pieces: Vec<(u64, Payload)> },
    Ready { layout: ShareLayout, tree: IncompleteHashTree },
    GivenUp,
}

/// What came of opening a share.
pub(super) enum Opened {
    Ready,
    /// These ranges must be read, too.
    Needs(Vec<Range<u64>>),
}

/// What is read for one block: hashes that are not known yet, then the block.
#[derive(Debug)]
pub(super) struct BlockRead {
    pub(super) ranges: Vec<Range<u64>>,
    /// For each range but the last, which tree it is of and its first node.
    nodes: Vec<(Tree, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tree {
    Blocks,
    Ciphertext,
}

impl ShareReader {
    pub(super) fn new(share: u16) -> ShareReader {
        ShareReader { share, state: State::Unopened, slow: false }
    }

    pub(super) fn share(&self) -> u16 {
        self.share
    }

    pub(super) fn is_unopened(&self) -> bool {
        matches!(self.state, State::Unopened)
    }

    pub(super) fn is_opening(&self) -> bool {
        matches!(self.state, State::Opening { .. })
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// Whether it is open or being opened.
    pub(super) fn is_open(&self) -> bool {
        self.is_opening() || self.is_ready()
    }

    /// Whether it is open or being opened, and was not overtaken lately.
    pub(super) fn is_lively(&self) -> bool {
        self.is_open() && !self.slow
    }

    pub(super) fn give_up(&mut self) {
        self.state = State::GivenUp;
    }

    /// When opening it counts as slow, if it does not yet.
    pub(super) fn slow_at(&self, slow_after: Duration) -> Option<Instant> {
        match &self.state {
            State::Opening { since, .. } if !self.slow => Some(*since + slow_after),
            _ => None,
        }
    }

    pub(super) fn ranges(&self) -> &[Range<u64>] {
        match &self.state {
            State::Opening { asked, .. } => asked,
            _ => &[],
        }
    }

    /// Begins to open the share: what to read, given the encoding it likely has.
    pub(super) fn open(&mut self, guess: Option<&Encoding>, now: Instant) -> Vec<Range<u64>> {
        let header = 0..HEADER_LEN_V2 as u64;
        let mut ranges = Vec::from_iter([header]);
        if let Some(encoding) = guess {
            let layout = ShareLayout::for_upload(encoding);
            let trees = layout.crypttext_tree_range().start..layout.share_hashes_range().start;
            if trees.end - trees.start <= TREES_WITH_METADATA_MAX {
                ranges.push(trees.start..metadata_end(&layout));
            } else {
                ranges.push(trees.end..metadata_end(&layout));
            }
            let block = layout.block_range(encoding, 0);
            if encoding.num_segments() == 1 && block.end - block.start <= BLOCK_WITH_METADATA_MAX {
                ranges.push(block);
            }
        }
        self.state = State::Opening { since: now, asked: ranges.clone(), pieces: Vec::new() };
        ranges
    }

    pub(super) fn ask_again(&mut self, ranges: &[Range<u64>], now: Instant) {
        if let State::Opening { since, asked, .. } = &mut self.state {
            *since = now;
            *asked = ranges.to_vec();
        }
    }

    /// Takes in what was read, one piece for each range asked for, and checks what can be checked.
    pub(super) fn opened(
        &mut self,
        read: Vec<Payload>,
        cap: &ChkCap,
        file: &mut Option<FileView>,
    ) -> Result<Opened, &'static str> {
        let State::Opening { asked, pieces, .. } = &mut self.state else {
            return Err("it was not being opened");
        };
        let second_time = !pieces.is_empty();
        pieces.extend(asked.iter().map(|range| range.start).zip(read));
        let header = pieces.iter().find(|(start, _)| *start == 0).ok_or("it has no header")?;
        // A shorter header may be there than was asked for, and a block behind it that is a stand-in.
        let layout = ShareLayout::parse(header.1.front_bytes()).map_err(|_| "its header makes no sense")?;
        let share_hashes_range = layout.share_hashes_range();
        if share_hashes_range.end - share_hashes_range.start > SHARE_HASHES_MAX {
            return Err("its share hash chain is too long");
        }
        let Some((share_hashes, extension)) = metadata(&layout, pieces)? else {
            return if second_time {
                Err("its metadata is cut short")
            } else {
                let metadata = share_hashes_range.start..metadata_end(&layout);
                Ok(Opened::Needs(Vec::from_iter([metadata])))
            };
        };
        if hash::uri_extension_hash(&extension) != cap.extension_hash {
            return Err("its extension block does not match the capability");
        }
        let view = match file {
            Some(view) => view,
            None => {
                let extension =
                    Extension::parse(&extension).map_err(|_| "its extension block makes no sense")?;
                let encoding = (extension.validate(cap.needed, cap.total, cap.size))
                    .map_err(|_| "its extension block contradicts the capability or itself")?;
                file.insert(FileView::new(cap, &extension, encoding))
            }
        };
        layout.check_against(view.encoding()).map_err(|_| "its sections are too small")?;
        let chain = parse_share_hashes(&share_hashes).map_err(|_| "its share hash chain makes no sense")?;
        view.share_tree.add(&chain).map_err(|_| "its share hash chain does not match the root")?;
        let root = view.share_tree.leaf(u64::from(self.share)).ok_or("its share hash chain is incomplete")?;
        let mut tree = IncompleteHashTree::new(view.encoding().num_segments());
        tree.set_root(root);
        // Trees that came along are used if they are good; if not, they are read again and judged then.
        let trees = [
            (layout.block_hashes_range().start, &mut tree),
            (layout.crypttext_tree_range().start, &mut view.ciphertext_tree),
        ];
        for (start, tree) in trees {
            let len = tree.node_count() * Hash::LEN as u64;
            if let Some(bytes) = covered(pieces, &(start..start + len)).and_then(Payload::into_bytes) {
                let _ = tree.add(&nodes_from(0, &bytes));
            }
        }
        self.state = State::Ready { layout, tree };
        self.slow = false;
        Ok(Opened::Ready)
    }

    /// What to read for the block of a segment.
    pub(super) fn plan_block(&self, segment: u64, file: &FileView) -> BlockRead {
        let State::Ready { layout, tree } = &self.state else { unreachable!("only open shares are read") };
        let mut plan = BlockRead { ranges: Vec::new(), nodes: Vec::new() };
        plan.add(Tree::Blocks, tree, segment, |node| layout.block_node_range(node));
        plan.add(Tree::Ciphertext, &file.ciphertext_tree, segment, |node| layout.crypttext_node_range(node));
        plan.ranges.push(layout.block_range(file.encoding(), segment));
        plan
    }

    /// Takes in what was read: checks the hashes and gives the block with the hash it must have.
    pub(super) fn accept_block(
        &mut self,
        segment: u64,
        plan: &BlockRead,
        mut pieces: Vec<Payload>,
        file: &mut FileView,
    ) -> Result<(Payload, Hash), &'static str> {
        let State::Ready { tree, .. } = &mut self.state else { return Err("it is not open") };
        let block = pieces.pop().ok_or("nothing was read")?;
        let (mut blocks, mut ciphertext) = (BTreeMap::new(), BTreeMap::new());
        for ((which, first), piece) in plan.nodes.iter().zip(pieces) {
            let bytes = piece.into_bytes().ok_or("its hash trees are not bytes")?;
            let nodes = match which {
                Tree::Blocks => &mut blocks,
                Tree::Ciphertext => &mut ciphertext,
            };
            nodes.extend(nodes_from(*first, &bytes));
        }
        tree.add(&blocks).map_err(|_| "its block hash tree does not match")?;
        file.ciphertext_tree.add(&ciphertext).map_err(|_| "its ciphertext hash tree does not match")?;
        if file.ciphertext_tree.leaf(segment).is_none() {
            return Err("its ciphertext hash tree is incomplete");
        }
        let expected = tree.leaf(segment).ok_or("its block hash tree is incomplete")?;
        if block.len() != u64::from(file.encoding().block_len(segment)) {
            return Err("a block is cut short");
        }
        Ok((block, expected))
    }
}

impl BlockRead {
    fn add(
        &mut self,
        which: Tree,
        tree: &IncompleteHashTree,
        segment: u64,
        range: impl Fn(u64) -> Range<u64>,
    ) {
        let mut wanted = tree.needed_for_leaf(segment, true);
        if wanted.is_empty() {
            return;
        }
        if tree.node_count() <= WHOLE_TREE_MAX {
            wanted = (1..tree.node_count()).collect();
        }
        wanted.sort_unstable();
        let mut wanted = wanted.into_iter().peekable();
        while let Some(first) = wanted.next() {
            let mut last = first;
            while wanted.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            self.ranges.push(range(first).start..range(last).end);
            self.nodes.push((which, first));
        }
    }
}

/// Where the metadata ends at the latest.
fn metadata_end(layout: &ShareLayout) -> u64 {
    layout.extension_range(EXTENSION_LEN_MAX).end
}

/// The share hash chain and the extension block, if what was read covers them.
fn metadata(layout: &ShareLayout, pieces: &[(u64, Payload)]) -> Result<Option<(Bytes, Bytes)>, &'static str> {
    // Blocks may be stand-ins; metadata is real bytes, or is not what it should be.
    let real = |payload: Payload| payload.into_bytes().ok_or("its metadata is no bytes");
    let Some(share_hashes) = covered(pieces, &layout.share_hashes_range()) else { return Ok(None) };
    let Some(length) = covered(pieces, &layout.extension_length_range()) else { return Ok(None) };
    let length =
        layout.parse_extension_length(&real(length)?).map_err(|_| "its extension block is too long")?;
    match covered(pieces, &layout.extension_range(length)) {
        Some(extension) => Ok(Some((real(share_hashes)?, real(extension)?))),
        None => Ok(None),
    }
}

/// The hashes of consecutive nodes.
fn nodes_from(first: u64, bytes: &Bytes) -> BTreeMap<u64, Hash> {
    let hashes = bytes.chunks_exact(Hash::LEN);
    (first..).zip(hashes.map(|hash| Hash(hash.try_into().expect("32 bytes")))).collect()
}
