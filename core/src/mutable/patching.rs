//! Making a version of a large mutable file from the one that is there, of which a part is replaced.
//!
//! Only MDMF has segments, so only there is anything gained. What is sent to each server are the
//! header, the signature and the share hashes, the blocks of the segments that the part touches, and
//! the hashes above these. To make that, the block hash trees of all shares are read (their leaves must
//! lead to the signed root) and the one or two segments that are replaced in part.
//!
//! This needs every share in its place, in the version that is built on. Where that is not so, or
//! anything does not fit, the file is made as a whole, which also mends it.

use super::check::encrypt_private_key;
use super::encoding::MutableEncoding;
use super::layout::MutableLayout;
use super::making::{Made, MakeError, ShareWrite};
use super::map::Map;
use super::read::{Fetch, FetchTask, Hunger};
use super::segment::MutableCoding;
use super::share::share_chain;
use super::version::Version;
use crate::capability::{MutableFormat, MutableReadCap};
use crate::entropy::Entropy;
use crate::hash::Hash;
use crate::hashtree::{HashTree, first_leaf};
use crate::identity::ServerId;
use crate::job::{Job, JobOutput};
use crate::limits::BULK_LEN_MAX;
use crate::payload::Payload;
use crate::peers::{Answer, Effort};
use crate::rsa::PrivateKey;
use crate::share::write_share_hashes;
use crate::share_set::ShareSet;
use crate::storage::protocol::StorageAnswer;
use crate::task::{Outcome, Task, Tasks, read_slot, slot_pieces};
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;
use core::time::Duration;

/// How long a server may be silent before a question to it is given up.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most bytes of block hash trees that are read for a patch.
const TREES_LEN_MAX: u64 = 64 * 1024 * 1024;

/// What one of the tasks is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PatchTask {
    /// The block hash trees of the shares of a server.
    Read(ServerId),
    /// The trees over their leaves: as they were.
    OldTrees,
    /// The blocks of a segment.
    Encode(u64),
    /// The trees as they become.
    NewTrees,
    /// The signature.
    Sign,
}

/// Why it cannot be made in this way.
#[derive(Debug)]
pub(super) enum Retreat {
    /// The file must be made as a whole.
    Whole,
    /// Nor can it as a whole.
    Impossible(MakeError),
}

/// What to put where.
#[derive(Debug)]
pub(super) struct Patch {
    pub(super) offset: u64,
    pub(super) data: Payload,
}

/// A version being made from another.
#[derive(Debug)]
pub(super) struct Patching {
    cap: MutableReadCap,
    key: PrivateKey,
    base: Version,
    sequence: u64,
    old: MutableLayout,
    new: MutableLayout,
    coding: Arc<MutableCoding>,
    patch: Patch,
    /// The segments that become others.
    touched: Range<u64>,
    /// The servers that are asked for trees, and for which shares.
    asked: BTreeMap<ServerId, ShareSet>,
    /// The nodes of each share's tree as they are stored.
    stored: BTreeMap<u16, Vec<Hash>>,
    /// The trees over these leaves are right.
    trusted: bool,
    /// Segments of which a part stays, still to be read.
    edges: Vec<u64>,
    fetch: Option<(u64, Fetch)>,
    kept: BTreeMap<u64, Bytes>,
    encoding: BTreeSet<u64>,
    /// For each touched segment the blocks of all shares, and their hashes.
    blocks: BTreeMap<u64, Vec<(Payload, Hash)>>,
    /// What has been begun.
    stage: Stage,
    signing: Option<(Version, Vec<HashTree>, HashTree)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Reading,
    Encoding,
    Finishing,
}

impl Patching {
    /// Begins to make a version in place of `base`. `None` if that is not possible in this way.
    pub(super) fn new<P: From<PatchTask>>(
        (cap, key): (MutableReadCap, PrivateKey),
        (base, sequence): (Version, u64),
        patch: Patch,
        map: &Map,
        targets: &BTreeSet<ServerId>,
        tasks: &mut Tasks<P>,
    ) -> Option<Patching> {
        let end = patch.offset.checked_add(patch.data.len())?;
        if base.format() != MutableFormat::Mdmf || patch.data.is_empty() || patch.offset > base.size {
            return None;
        }
        let old = base.encoding().ok()?;
        let size = base.size.max(end);
        let new = MutableEncoding::for_writing(MutableFormat::Mdmf, base.needed, base.total, size).ok()?;
        if old.num_segments() == 0 || old.segment_size() != new.segment_size() {
            return None;
        }
        let key_len = encrypt_private_key(&key).len();
        let layout =
            |encoding| MutableLayout::for_writing(encoding, key.public_key().spki().len(), key_len).ok();
        let (old, new) = (layout(&old)?, layout(&new)?);
        let asked = homes(&base, &old, map, targets)?;
        let tree = old.block_hashes_range();
        if (tree.end - tree.start) * u64::from(base.total) > TREES_LEN_MAX {
            return None;
        }
        for (server, shares) in &asked {
            let request = read_slot(cap.storage_index(), *shares, core::slice::from_ref(&tree));
            let (patience, effort) = (PATIENCE, Effort::Insist);
            let task = Task::Ask { server: *server, request, bulk: Vec::new(), patience, effort };
            tasks.start(PatchTask::Read(*server).into(), task);
        }
        let segment_size = new.encoding().segment_size();
        let touched = patch.offset / segment_size..(end - 1) / segment_size + 1;
        let mut patching = Patching {
            coding: MutableCoding::new(cap.read_key.clone(), *new.encoding()),
            cap,
            key,
            base,
            sequence,
            old,
            new,
            patch,
            touched: touched.clone(),
            asked,
            stored: BTreeMap::new(),
            trusted: false,
            edges: Vec::new(),
            fetch: None,
            kept: BTreeMap::new(),
            encoding: BTreeSet::new(),
            blocks: BTreeMap::new(),
            stage: Stage::Reading,
            signing: None,
        };
        // Only at its ends can something of a segment stay.
        let ends = BTreeSet::from([touched.start, touched.end - 1]);
        patching.edges = ends.into_iter().filter(|segment| patching.keeps_some_of(*segment)).collect();
        Some(patching)
    }

    /// When somebody will have taken too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.fetch.as_ref().and_then(|(_, fetch)| fetch.look_at())
    }

    /// Goes on with whatever can be done.
    pub(super) fn advance<P: From<PatchTask> + From<FetchTask>>(
        &mut self,
        map: &mut Map,
        entropy: &mut Entropy,
        tasks: &mut Tasks<P>,
        now: Instant,
    ) -> Result<(), Retreat> {
        if self.stage != Stage::Reading {
            return Ok(());
        }
        loop {
            if let Some((segment, fetch)) = &mut self.fetch {
                fetch.advance(map, tasks, now);
                let Some(content) = fetch.segment(*segment) else {
                    let hopeless = fetch.hunger(map) == Hunger::Starved || fetch.inconsistent().is_some();
                    return if hopeless { Err(Retreat::Whole) } else { Ok(()) };
                };
                self.kept.insert(*segment, content.bytes().cloned().unwrap_or_default());
                self.fetch = None;
            }
            let Some(segment) = self.edges.pop() else { break };
            let range = self.old_range(segment);
            let read_key = self.cap.read_key.clone();
            self.fetch = Some((segment, Fetch::new(self.cap.storage_index(), self.base, read_key, &range)));
        }
        if self.trusted {
            self.encode(entropy, tasks);
        }
        Ok(())
    }

    /// For tasks of reading the segments that stay in part.
    pub(super) fn fetched<P: From<FetchTask>>(
        &mut self,
        task: FetchTask,
        outcome: Outcome,
        map: &mut Map,
        tasks: &mut Tasks<P>,
        now: Instant,
    ) {
        if let Some((_, fetch)) = &mut self.fetch {
            fetch.finished(task, outcome, map, tasks, now);
        }
    }

    /// Takes in what came of a task. Gives the version when it is ready.
    pub(super) fn finished<P: From<PatchTask>>(
        &mut self,
        task: PatchTask,
        outcome: Outcome,
        tasks: &mut Tasks<P>,
    ) -> Option<Result<Made, Retreat>> {
        match (task, outcome) {
            (PatchTask::Read(server), Outcome::Answer(answer)) => {
                if !self.take_trees(server, answer) {
                    return Some(Err(Retreat::Whole));
                }
                if self.stored.len() == usize::from(self.base.total) {
                    let leaves = self.stored.values().map(|nodes| self.leaves(nodes).to_vec()).collect();
                    tasks.job(PatchTask::OldTrees.into(), Job::BuildTrees(leaves));
                }
            }
            (PatchTask::OldTrees, Outcome::Job(JobOutput::Trees(trees))) => {
                let roots = trees.iter().map(HashTree::root).collect();
                if HashTree::from_leaves(roots).root() != self.base.root_hash {
                    return Some(Err(Retreat::Whole));
                }
                self.trusted = true;
            }
            (PatchTask::Encode(segment), Outcome::Job(JobOutput::MutableEncoded(made))) => {
                self.blocks.insert(segment, made.into_iter().map(|(_, block, hash)| (block, hash)).collect());
                self.encoding.remove(&segment);
                if self.encoding.is_empty() {
                    self.stage = Stage::Finishing;
                    tasks.job(PatchTask::NewTrees.into(), Job::BuildTrees(self.new_leaves()));
                }
            }
            (PatchTask::NewTrees, Outcome::Job(JobOutput::Trees(trees))) => {
                let share_tree = HashTree::from_leaves(trees.iter().map(HashTree::root).collect());
                let version = Version::new(self.sequence, share_tree.root(), None, self.new.encoding());
                let (key, message) = (self.key.clone(), version.signed_prefix());
                tasks.job(PatchTask::Sign.into(), Job::Sign { key, message });
                self.signing = Some((version, trees, share_tree));
            }
            (PatchTask::Sign, Outcome::Job(JobOutput::Signed(signature))) => {
                return Some(match signature {
                    Some(signature) => self.pack(&signature).ok_or(Retreat::Whole),
                    None => Err(Retreat::Impossible(MakeError::CannotSign)),
                });
            }
            (task, outcome) => debug_assert!(false, "{task:?} cannot end with {outcome:?}"),
        }
        None
    }

    /// Whether everything that it answered is there.
    fn take_trees(&mut self, server: ServerId, answer: Answer) -> bool {
        let range = self.old.block_hashes_range();
        let Ok((StorageAnswer::Slot(shares), bulk)) = answer else { return false };
        let Ok(read) = slot_pieces(shares, bulk, core::slice::from_ref(&range)) else { return false };
        let mut missing = self.asked.get(&server).map(|shares| shares.iter().collect()).unwrap_or_default();
        let missing: &mut BTreeSet<u16> = &mut missing;
        for (share, pieces) in read {
            let Some(bytes) = pieces.first().and_then(Payload::bytes) else { return false };
            let (nodes, rest) = bytes.as_chunks::<{ Hash::LEN }>();
            if bytes.len() as u64 != range.end - range.start || !rest.is_empty() || !missing.remove(&share) {
                return false;
            }
            self.stored.insert(share, nodes.iter().map(|node| Hash(*node)).collect());
        }
        missing.is_empty()
    }

    fn leaves<'a>(&self, nodes: &'a [Hash]) -> &'a [Hash] {
        let segments = self.old.encoding().num_segments();
        let first = first_leaf(segments) as usize;
        &nodes[first..first + segments as usize]
    }

    fn new_leaves(&self) -> Vec<Vec<Hash>> {
        let segments = self.new.encoding().num_segments() as usize;
        let of = |(share, nodes): (&u16, &Vec<Hash>)| {
            let mut leaves = self.leaves(nodes).to_vec();
            leaves.resize(segments, Hash([0; 32]));
            for (segment, blocks) in &self.blocks {
                leaves[*segment as usize] = blocks[usize::from(*share)].1;
            }
            leaves
        };
        self.stored.iter().map(of).collect()
    }

    /// The bytes that a segment has in the version there is; none if it is new.
    fn old_range(&self, segment: u64) -> Range<u64> {
        let segment_size = self.old.encoding().segment_size();
        let start = (segment * segment_size).min(self.base.size);
        start..(start + segment_size).min(self.base.size)
    }

    fn keeps_some_of(&self, segment: u64) -> bool {
        let old = self.old_range(segment);
        let end = self.patch.offset + self.patch.data.len();
        !old.is_empty() && (old.start < self.patch.offset || end < old.end)
    }

    fn encode<P: From<PatchTask>>(&mut self, entropy: &mut Entropy, tasks: &mut Tasks<P>) {
        self.stage = Stage::Encoding;
        let (segment_size, size) = (self.new.encoding().segment_size(), self.new.encoding().size());
        let part = self.patch.offset..self.patch.offset + self.patch.data.len();
        for segment in self.touched.clone() {
            let range = segment * segment_size..((segment + 1) * segment_size).min(size);
            let kept = self.kept.remove(&segment).unwrap_or_default();
            let (from, to) = (part.start.max(range.start), part.end.min(range.end));
            let mut plaintext = Vec::new();
            let before = (from - range.start) as usize;
            let after = (to - range.start) as usize;
            plaintext.push(Payload::from(kept.slice(..before.min(kept.len()))));
            plaintext.push(self.patch.data.slice(from - part.start..to - part.start));
            plaintext.push(Payload::from(kept.slice(after.min(kept.len())..)));
            plaintext.retain(|piece| !piece.is_empty());
            let (file, salt) = (self.coding.clone(), entropy.bytes());
            let shares = ShareSet::first(self.base.total.into());
            let job = Job::EncodeMutableSegment { file, segment, salt, plaintext, shares };
            tasks.job(PatchTask::Encode(segment).into(), job);
            self.encoding.insert(segment);
        }
    }

    fn pack(&mut self, signature: &[u8]) -> Option<Made> {
        let (version, block_trees, share_tree) = self.signing.take()?;
        let mut shares = Vec::new();
        for (number, tree) in (0..).zip(&block_trees) {
            let mut pieces = Vec::from([(0, Payload::from(self.new.header(&version)))]);
            let mut chain = Vec::new();
            write_share_hashes(&mut chain, &share_chain(&share_tree, number));
            chain.extend_from_slice(signature);
            pieces.push((self.new.share_hashes_range().start, Payload::from(chain)));
            for (segment, blocks) in &self.blocks {
                pieces.push((self.new.block_range(*segment).start, blocks[usize::from(number)].0.clone()));
            }
            let stored = self.stored.get(&number).map_or(&[][..], Vec::as_slice);
            let same_place = self.new.block_hashes_range() == self.old.block_hashes_range();
            for run in changed(if same_place { stored } else { &[] }, tree.nodes()) {
                let bytes: Vec<u8> = tree.nodes()[run.clone()].iter().flat_map(|hash| hash.0).collect();
                pieces.push((self.new.block_node_range(run.start as u64).start, Payload::from(bytes)));
            }
            shares.push(ShareWrite { pieces, len: self.new.share_len() });
        }
        let made = Made::of_parts(version, shares);
        (made.most_bytes() <= BULK_LEN_MAX as u64).then_some(made)
    }
}

/// Which shares are asked for at which server: each share once. `None` unless all of them are in their
/// places, as far as those know that will be written to.
fn homes(
    base: &Version,
    layout: &MutableLayout,
    map: &Map,
    targets: &BTreeSet<ServerId>,
) -> Option<BTreeMap<ServerId, ShareSet>> {
    let mut homes: BTreeMap<ServerId, ShareSet> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for (server, shares) in map.answered().filter(|(server, _)| targets.contains(server)) {
        for (number, share) in shares {
            let (version, place) = share.good()?;
            if version != base || place != layout {
                return None;
            }
            if found.insert(*number) {
                homes.entry(server).or_insert(ShareSet::EMPTY).insert(*number);
            }
        }
    }
    (found.len() == usize::from(base.total)).then_some(homes)
}

/// The runs of nodes that differ; all of them if the trees have different lengths.
fn changed(old: &[Hash], new: &[Hash]) -> Vec<Range<usize>> {
    if old.len() != new.len() {
        return core::iter::once(0..new.len()).collect();
    }
    let mut runs: Vec<Range<usize>> = Vec::new();
    for at in (0..new.len()).filter(|at| old[*at] != new[*at]) {
        match runs.last_mut() {
            Some(run) if run.end == at => run.end += 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

/// A content with a part of it replaced, for a file that is made as a whole. `None` if the part begins
/// past the end.
pub(super) fn spliced(content: &Bytes, patch: &Patch) -> Option<Payload> {
    let offset = usize::try_from(patch.offset).ok()?;
    let (front, back) = content.split_at_checked(offset)?;
    let part = patch.data.bytes().map_or(&[][..], |bytes| bytes);
    let back = back.get(part.len()..).unwrap_or_default();
    Some(Payload::from([front, part, back].concat()))
}
