//! Fetching segments of one version of a mutable file, from k shares at once.
//!
//! Shares are those that the map holds for good; new ones may appear there meanwhile. Each block is
//! checked against the signed root before it is used. A block that is late ([`Pace`]) is asked for
//! from another share, too, and whichever comes first is used.

mod picking;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use super::block::{BlockError, BlockPlan};
use crate::download::pace::{Pace, ShareKey};
use crate::hashtree::IncompleteHashTree;
use crate::identity::ServerId;
use crate::job::{Job, JobOutput, VerifiedBlock};
use crate::mutable::map::Map;
use crate::mutable::{MutableCoding, MutableShareError, Salt, Version, share_tree};
use crate::payload::Payload;
use crate::peers::{Answer, Effort};
use crate::secret::ReadKey;
use crate::share_set::ShareSet;
use crate::storage::protocol::{StorageAnswer, StorageRequest};
use crate::storage_index::StorageIndex;
use crate::task::{Outcome, Task, Tasks, Trouble, read_slot, slot_pieces};
use crate::time::Instant;

/// How long a server may be silent before a question to it is given up.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of segments that are fetched ahead of the reader, at least one segment.
const BYTES_AHEAD: u64 = 6 * 1024 * 1024;

/// What one of the tasks is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FetchTask {
    /// A block of a segment, from a share.
    Block(u64, ShareKey),
    /// Whether it is good.
    Check(u64, ShareKey),
    /// A segment.
    Decode(u64),
}

/// Whether the shares known suffice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Hunger {
    /// They do, as far as it shows.
    Fed,
    /// Some share is late, and there is none in its place.
    Late,
    /// They do not.
    Starved,
}

/// One segment on its way.
#[derive(Debug, Default)]
struct SegmentFetch {
    asked: BTreeMap<ShareKey, Asked>,
    blocks: BTreeMap<u16, VerifiedBlock>,
    /// When a block of it came last.
    last_came: Option<Instant>,
    decoding: bool,
}

#[derive(Debug)]
struct Asked {
    since: Instant,
    plan: BlockPlan,
    /// Another share was asked for the same since.
    overtaken: bool,
    /// The block has come and is being checked.
    came: bool,
}

/// Fetches segments of one version.
#[derive(Debug)]
pub(crate) struct Fetch {
    storage_index: StorageIndex,
    version: Version,
    coding: Arc<MutableCoding>,
    share_tree: IncompleteHashTree,
    /// The block hash trees of shares whose root is good.
    trees: BTreeMap<ShareKey, IncompleteHashTree>,
    /// Shares that were overtaken lately.
    slow: BTreeSet<ShareKey>,
    /// Shares that are of another version by now.
    changed: BTreeSet<ShareKey>,
    segments: BTreeMap<u64, SegmentFetch>,
    /// Decoded segments.
    ready: BTreeMap<u64, Payload>,
    /// The salts of segments that have one of their own (MDMF).
    salts: BTreeMap<u64, Salt>,
    /// The segments that have not been begun.
    ahead: Range<u64>,
    pace: Pace,
    /// When the next block counts as late.
    look_at: Option<Instant>,
    inconsistent: Option<u64>,
}

impl Fetch {
    /// Prepares to fetch the segments of a signed version that hold a range of bytes within it.
    pub(crate) fn new(
        storage_index: StorageIndex,
        version: Version,
        read_key: ReadKey,
        range: &Range<u64>,
    ) -> Fetch {
        let encoding = version.encoding().expect("a parsed version has an encoding");
        let cut = encoding.cut().filter(|_| !range.is_empty());
        let ahead =
            cut.and_then(|cut| Some(cut.segment_of(range.start)?..cut.segment_of(range.end - 1)? + 1));
        Fetch {
            storage_index,
            version,
            coding: MutableCoding::new(read_key, encoding),
            share_tree: share_tree(&version),
            trees: BTreeMap::new(),
            slow: BTreeSet::new(),
            changed: BTreeSet::new(),
            segments: BTreeMap::new(),
            ready: BTreeMap::new(),
            salts: BTreeMap::new(),
            ahead: ahead.unwrap_or_default(),
            pace: Pace::new(),
            look_at: None,
            inconsistent: None,
        }
    }

    /// A decoded segment.
    pub(crate) fn segment(&self, segment: u64) -> Option<&Payload> {
        self.ready.get(&segment)
    }

    /// Makes room: a segment is no longer needed. Tells its salt, if it has one of its own.
    pub(crate) fn done_with(&mut self, segment: u64) -> Option<Salt> {
        self.ready.remove(&segment);
        self.salts.remove(&segment)
    }

    /// The segment whose blocks are good and yet do not fit together, if there is one.
    pub(crate) fn inconsistent(&self) -> Option<u64> {
        self.inconsistent
    }

    /// Whether some share turned out to be of another version by now.
    pub(crate) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// When to look whether blocks are late.
    pub(crate) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Does whatever can be done now.
    pub(crate) fn advance<P: From<FetchTask>>(&mut self, map: &mut Map, tasks: &mut Tasks<P>, now: Instant) {
        self.overtake(now);
        let window = (BYTES_AHEAD / self.version.segment_size.max(1)).clamp(1, 256) as usize;
        while !self.ahead.is_empty() && self.segments.len() + self.ready.len() < window {
            self.segments.insert(self.ahead.start, SegmentFetch::default());
            self.ahead.start += 1;
        }
        for segment in self.segments.keys().copied().collect::<Vec<_>>() {
            while let Some(key) = self.next_share(segment, map) {
                self.ask(segment, key, map, tasks, now);
            }
        }
    }

    /// Takes in what came of a task.
    pub(crate) fn finished<P: From<FetchTask>>(
        &mut self,
        task: FetchTask,
        outcome: Outcome,
        map: &mut Map,
        tasks: &mut Tasks<P>,
        now: Instant,
    ) {
        match (task, outcome) {
            (FetchTask::Block(segment, key), Outcome::Answer(answer)) => {
                self.answered(segment, key, answer, map, tasks, now);
            }
            (FetchTask::Check(segment, key), Outcome::Job(JobOutput::Block(block))) => match block {
                Some(block) => {
                    if let Some(fetch) = self.segments.get_mut(&segment).filter(|fetch| !fetch.decoding) {
                        fetch.asked.remove(&key);
                        fetch.blocks.entry(key.1).or_insert(block);
                        self.decode(segment, tasks);
                    }
                }
                None => self.bad_share(key, MutableShareError::Block { segment }, map, tasks),
            },
            (FetchTask::Decode(segment), Outcome::Job(JobOutput::Decoded(plaintext))) => {
                self.segments.remove(&segment);
                match plaintext {
                    Some(plaintext) => drop(self.ready.insert(segment, plaintext)),
                    None => self.inconsistent = Some(segment),
                }
            }
            (task, outcome) => debug_assert!(false, "{task:?} cannot end with {outcome:?}"),
        }
    }

    fn ask<P: From<FetchTask>>(
        &mut self,
        segment: u64,
        key: ShareKey,
        map: &mut Map,
        tasks: &mut Tasks<P>,
        now: Instant,
    ) {
        let Some(share) = map.share(key.0, key.1) else { return };
        let Some((_, layout)) = share.good() else { return };
        let plan = BlockPlan::new(&self.version, layout, self.trees.get(&key), segment, share);
        let ranges = plan.ranges();
        let asked = Asked { since: now, plan, overtaken: false, came: false };
        self.segments.entry(segment).or_default().asked.insert(key, asked);
        if ranges.is_empty() {
            return self.accept(segment, key, Vec::new(), map, tasks);
        }
        let request = read_slot(self.storage_index, ShareSet::from_iter([key.1]), &ranges);
        tasks.start(FetchTask::Block(segment, key).into(), ask(key.0, request));
        self.pace.asked(key, now);
        let late_at = self.pace.late_at(key, now, None);
        self.look_at = Some(self.look_at.map_or(late_at, |at| at.min(late_at)));
    }

    fn answered<P: From<FetchTask>>(
        &mut self,
        segment: u64,
        key: ShareKey,
        answer: Answer,
        map: &mut Map,
        tasks: &mut Tasks<P>,
        now: Instant,
    ) {
        let Some(fetch) = self.segments.get_mut(&segment).filter(|fetch| !fetch.decoding) else { return };
        let Some(asked) = fetch.asked.get_mut(&key) else { return };
        let ranges = asked.plan.ranges();
        let read = match answer {
            Ok((StorageAnswer::Slot(shares), bulk)) => slot_pieces(shares, bulk, &ranges),
            Ok(_) => Err(Trouble::Nonsense("no answer to a read of a slot")),
            Err(error) => Err(Trouble::Ask(error)),
        };
        let read = match read {
            Ok(read) => read.into_iter().find(|(number, _)| *number == key.1),
            Err(trouble) => {
                map.fail(key.0, trouble);
                return self.lose(|other| other.0 == key.0);
            }
        };
        asked.came = true;
        fetch.last_came = Some(now);
        self.pace.came(key, now);
        for (other, _) in fetch.asked.iter().filter(|(other, a)| **other != key && a.overtaken && !a.came) {
            self.pace.beaten(*other);
        }
        self.slow.remove(&key);
        // A share that is gone is one that ends before everything.
        let read = read.map(|(_, pieces)| pieces).unwrap_or_default();
        self.accept(segment, key, read, map, tasks);
    }

    /// Checks what was read for a block, and has the block itself checked.
    fn accept<P: From<FetchTask>>(
        &mut self,
        segment: u64,
        key: ShareKey,
        read: Vec<Payload>,
        map: &mut Map,
        tasks: &mut Tasks<P>,
    ) {
        let Some(fetch) = self.segments.get_mut(&segment) else { return };
        let Some(asked) = fetch.asked.get_mut(&key) else { return };
        asked.came = true;
        let mut tree = self.trees.remove(&key);
        let accepted = asked.plan.accept(key.1, read, &mut self.share_tree, &mut tree);
        match accepted {
            Ok((block, expected)) => {
                self.trees.extend(tree.map(|tree| (key, tree)));
                tasks.job(FetchTask::Check(segment, key).into(), Job::CheckBlock { block, expected });
            }
            Err(BlockError::Changed) => {
                self.changed.insert(key);
                self.lose(|other| *other == key);
            }
            Err(BlockError::Bad(why)) => self.bad_share(key, why, map, tasks),
        }
    }

    /// A share's data are wrong: it is no longer used, and its server is told.
    fn bad_share<P: From<FetchTask>>(
        &mut self,
        key: ShareKey,
        why: MutableShareError,
        map: &mut Map,
        tasks: &mut Tasks<P>,
    ) {
        let request = StorageRequest::AdviseCorrupt {
            storage_index: self.storage_index,
            share: key.1,
            reason: why.to_string(),
        };
        tasks.start_blind(ask(key.0, request));
        map.condemn(key.0, key.1, why);
        self.lose(|other| *other == key);
    }

    fn lose(&mut self, lost: impl Fn(&ShareKey) -> bool) {
        for fetch in self.segments.values_mut() {
            for key in fetch.asked.keys().filter(|key| lost(key)) {
                self.pace.ended(*key);
            }
            fetch.asked.retain(|key, _| !lost(key));
        }
        self.trees.retain(|key, _| !lost(key));
    }

    fn decode<P: From<FetchTask>>(&mut self, segment: u64, tasks: &mut Tasks<P>) {
        let needed = usize::from(self.version.needed);
        let Some(fetch) = self.segments.get_mut(&segment).filter(|fetch| fetch.blocks.len() >= needed) else {
            return;
        };
        fetch.decoding = true;
        for (key, _) in core::mem::take(&mut fetch.asked).into_iter().filter(|(_, asked)| !asked.came) {
            self.pace.dropped(key);
        }
        let blocks: Vec<_> = core::mem::take(&mut fetch.blocks).into_iter().take(needed).collect();
        if self.version.iv.is_none() {
            // All have the same, or it is not decoded.
            let stored = blocks.first().and_then(|(_, block)| block.payload().bytes());
            self.salts.extend(stored.and_then(|stored| Some((segment, *stored.first_chunk()?))));
        }
        let (file, iv) = (self.coding.clone(), self.version.iv);
        tasks.job(FetchTask::Decode(segment).into(), Job::DecodeMutableSegment { file, segment, iv, blocks });
    }
}

impl SegmentFetch {
    /// The numbers of the blocks that are there or under way from shares of which something is true.
    fn numbers(&self, of_use: impl Fn(&Asked) -> bool) -> BTreeSet<u16> {
        let asked = self.asked.iter().filter(|(_, asked)| of_use(asked)).map(|(key, _)| key.1);
        self.blocks.keys().copied().chain(asked).collect()
    }
}

fn ask(server: ServerId, request: StorageRequest) -> Task {
    Task::Ask { server, request, bulk: Vec::new(), patience: PATIENCE, effort: Effort::Insist }
}
