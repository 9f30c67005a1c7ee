//! Reading all of one version of a mutable file, from what a map shows, to build a new one on it.

use super::map::Map;
use super::{MutableCoding, MutableShareError, Version, block_tree, check_share_hashes, share_tree};
use crate::capability::MutableReadCap;
use crate::hash::Hash;
use crate::hashtree::IncompleteHashTree;
use crate::identity::ServerId;
use crate::job::{Job, JobOutput, VerifiedBlock};
use crate::payload::Payload;
use crate::peers::{Answer, Effort};
use crate::share_set::ShareSet;
use crate::storage::protocol::StorageAnswer;
use crate::task::{Outcome, Task, Tasks, Trouble, read_slot, slot_pieces};
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::ops::Range;
use core::time::Duration;

/// How long a server may take, without the length of its share.
const PATIENCE: Duration = Duration::from_secs(3);
/// A server that takes longer is overtaken by asking another.
const SLOW_AFTER: Duration = Duration::from_millis(1200);

/// What a task of reading a version is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum GatherTask {
    Share(ServerId, u16),
    Check(ServerId, u16, u64),
    Decode(u64),
}

type ShareKey = (ServerId, u16);

/// Reads all of one version.
#[derive(Debug)]
pub(super) struct Gather {
    storage_index: crate::storage_index::StorageIndex,
    coding: Option<Arc<MutableCoding>>,
    version: Version,
    share_tree: IncompleteHashTree,
    /// Shares being read, and since when.
    reading: BTreeMap<ShareKey, Instant>,
    /// Shares read, with their good blocks by segment.
    shares: BTreeMap<ShareKey, BTreeMap<u64, VerifiedBlock>>,
    /// Shares that were of no use or took too long.
    passed_over: BTreeSet<ShareKey>,
    /// Decoded segments.
    segments: BTreeMap<u64, Payload>,
    decoding: BTreeSet<u64>,
    failed: bool,
}

impl Gather {
    pub(super) fn new(cap: &MutableReadCap, version: Version) -> Gather {
        let coding =
            version.encoding().ok().map(|encoding| MutableCoding::new(cap.read_key.clone(), encoding));
        Gather {
            storage_index: cap.storage_index(),
            failed: coding.is_none(),
            coding,
            version,
            share_tree: share_tree(&version),
            reading: BTreeMap::new(),
            shares: BTreeMap::new(),
            passed_over: BTreeSet::new(),
            segments: BTreeMap::new(),
            decoding: BTreeSet::new(),
        }
    }

    fn num_segments(&self) -> u64 {
        self.coding.as_ref().map_or(0, |coding| coding.encoding().num_segments())
    }

    /// When somebody will have taken too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let lively = self.reading.iter().filter(|(key, _)| !self.passed_over.contains(*key));
        lively.map(|(_, since)| *since + SLOW_AFTER).min()
    }

    /// Goes on. The content once it is there; an error if it cannot be had from the shares known.
    pub(super) fn advance<P: From<GatherTask>>(
        &mut self,
        map: &mut Map,
        tasks: &mut Tasks<P>,
        now: Instant,
    ) -> Option<Result<Bytes, ()>> {
        if self.failed {
            return Some(Err(()));
        }
        if self.segments.len() as u64 == self.num_segments() {
            return Some(Ok(self.content()));
        }
        for (key, since) in &self.reading {
            if now >= *since + SLOW_AFTER {
                self.passed_over.insert(*key);
            }
        }
        let needed = usize::from(self.version.needed);
        loop {
            let lively = self.reading.keys().filter(|key| !self.passed_over.contains(*key));
            let have: BTreeSet<u16> = self.shares.keys().chain(lively).map(|(_, number)| *number).collect();
            if have.len() >= needed {
                break;
            }
            let untried = map.shares().find_map(|(server, number, share)| {
                let (version, layout) = share.good()?;
                let key = (server, number);
                let tried = self.passed_over.contains(&key) || self.reading.contains_key(&key);
                (*version == self.version && !have.contains(&number) && !tried)
                    .then(|| (key, ranges(layout), ranges(layout).map(|range| share.bytes(&range))))
            });
            let Some((key, ranges, known)) = untried else {
                let hopes = self.reading.len() + self.shares.len();
                return (hopes < needed).then_some(Err(()));
            };
            if let [Some(chain), Some(tree), Some(data)] = known {
                self.take(key, [chain, tree, data], map, tasks);
                continue;
            }
            let request = read_slot(self.storage_index, ShareSet::from_iter([key.1]), &ranges);
            let (server, bulk, effort) = (key.0, Vec::new(), Effort::Insist);
            let ask = Task::Ask { server, request, bulk, patience: PATIENCE, effort };
            tasks.start(GatherTask::Share(key.0, key.1).into(), ask);
            self.reading.insert(key, now);
        }
        None
    }

    pub(super) fn finished<P: From<GatherTask>>(
        &mut self,
        task: GatherTask,
        outcome: Outcome,
        map: &mut Map,
        tasks: &mut Tasks<P>,
        _now: Instant,
    ) {
        match (task, outcome) {
            (GatherTask::Share(server, number), Outcome::Answer(answer)) => {
                let key = (server, number);
                self.reading.remove(&key);
                let layout = map
                    .share(server, number)
                    .and_then(|share| share.good())
                    .map(|(_, layout)| ranges(layout));
                match layout.ok_or(Trouble::NoShares).and_then(|ranges| pieces(answer, number, &ranges)) {
                    Ok(pieces) => self.take(key, pieces, map, tasks),
                    Err(trouble) => {
                        self.passed_over.insert(key);
                        map.fail(server, trouble);
                    }
                }
            }
            (GatherTask::Check(server, number, segment), Outcome::Job(JobOutput::Block(block))) => {
                let key = (server, number);
                match (block, self.shares.get_mut(&key)) {
                    (Some(block), Some(blocks)) => {
                        blocks.insert(segment, block);
                        self.decode(segment, tasks);
                    }
                    (None, Some(_)) => self.condemn(key, MutableShareError::Block { segment }, map),
                    (_, None) => {}
                }
            }
            (GatherTask::Decode(segment), Outcome::Job(JobOutput::Decoded(plaintext))) => match plaintext {
                Some(plaintext) => drop(self.segments.insert(segment, plaintext)),
                // Every block was as signed, so the file's writer made nonsense.
                None => self.failed = true,
            },
            (task, outcome) => debug_assert!(false, "{task:?} cannot end with {outcome:?}"),
        }
    }

    fn condemn(&mut self, key: ShareKey, why: MutableShareError, map: &mut Map) {
        self.shares.remove(&key);
        self.passed_over.insert(key);
        map.condemn(key.0, key.1, why);
    }

    /// Takes in a share: its chain, its block hash tree, its data.
    fn take<P: From<GatherTask>>(
        &mut self,
        key: ShareKey,
        [chain, tree, data]: [Bytes; 3],
        map: &mut Map,
        tasks: &mut Tasks<P>,
    ) {
        self.passed_over.remove(&key);
        match self.check(key.1, &chain, &tree) {
            Err(why) => self.condemn(key, why, map),
            Ok(leaves) => {
                self.shares.insert(key, BTreeMap::new());
                let Some(coding) = self.coding.clone() else { return };
                for (segment, expected) in (0..).zip(leaves) {
                    let range = coding.encoding().stored_range(segment);
                    let block = data.slice(range.start as usize..range.end as usize).into();
                    let task = GatherTask::Check(key.0, key.1, segment);
                    tasks.job(task.into(), Job::CheckBlock { block, expected });
                }
            }
        }
    }

    /// The hashes of a share's blocks, if its trees lead to what is signed.
    fn check(&mut self, number: u16, chain: &[u8], tree: &[u8]) -> Result<Vec<Hash>, MutableShareError> {
        let (nodes, _) = tree.as_chunks::<{ Hash::LEN }>();
        let nodes: BTreeMap<u64, Hash> = (0..).zip(nodes.iter().copied().map(Hash)).collect();
        let root = nodes.get(&0).copied().ok_or(MutableShareError::ShareHashes)?;
        check_share_hashes(&mut self.share_tree, number, root, chain)?;
        let mut tree = block_tree(&self.version, root);
        tree.add(&nodes).map_err(MutableShareError::BlockHashes)?;
        Ok((0..self.num_segments()).filter_map(|segment| tree.leaf(segment)).collect())
    }

    fn decode<P: From<GatherTask>>(&mut self, segment: u64, tasks: &mut Tasks<P>) {
        let needed = usize::from(self.version.needed);
        let mut blocks: BTreeMap<u16, VerifiedBlock> = BTreeMap::new();
        for ((_, number), have) in &self.shares {
            if let Some(block) = have.get(&segment) {
                blocks.entry(*number).or_insert_with(|| block.clone());
            }
        }
        if blocks.len() < needed || !self.decoding.insert(segment) {
            return;
        }
        let Some(file) = self.coding.clone() else { return };
        let (blocks, iv) = (blocks.into_iter().take(needed).collect(), self.version.iv);
        tasks
            .job(GatherTask::Decode(segment).into(), Job::DecodeMutableSegment { file, segment, iv, blocks });
    }

    fn content(&self) -> Bytes {
        let mut content = BytesMut::new();
        for segment in self.segments.values() {
            content.extend_from_slice(segment.bytes().map_or(&[][..], |bytes| bytes));
        }
        content.freeze()
    }
}

/// What of a share is read: share hash chain, block hash tree, data.
fn ranges(layout: &super::MutableLayout) -> [Range<u64>; 3] {
    [layout.share_hashes_range(), layout.block_hashes_range(), layout.data_range()]
}

fn pieces(answer: Answer, number: u16, ranges: &[Range<u64>; 3]) -> Result<[Bytes; 3], Trouble> {
    let shares = match answer {
        Ok((StorageAnswer::Slot(shares), bulk)) => slot_pieces(shares, bulk, ranges)?,
        Ok(_) => return Err(Trouble::Nonsense("no answer to a read of a slot")),
        Err(error) => return Err(Trouble::Ask(error)),
    };
    let (_, pieces) = shares.into_iter().find(|(share, _)| *share == number).ok_or(Trouble::NoShares)?;
    let whole = |(piece, range): (Payload, &Range<u64>)| {
        piece.into_bytes().filter(|bytes| bytes.len() as u64 == range.end - range.start)
    };
    let pieces: Vec<Bytes> = pieces.into_iter().zip(ranges).filter_map(whole).collect();
    <[Bytes; 3]>::try_from(pieces).map_err(|_| Trouble::Nonsense("its share ends too early"))
}
