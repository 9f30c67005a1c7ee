//! Reading, encoding and sending, a bounded number of segments at a time.
//!
//! A segment is under way from the moment its plaintext is read until every live writer has a
//! confirmation of its block; how many may be under way bounds the memory of an upload. When all
//! blocks are confirmed, the hash trees and the extension block complete each share.

use super::placing::Placing;
use super::proving::Proving;
use super::report::{UploadProgress, UploadStage};
use super::source::{Segment, Source};
use super::writer::Writer;
use super::{File, Purpose};
use crate::hash::{self, Hash, TaggedHasher};
use crate::hashtree::HashTree;
use crate::identity::ServerId;
use crate::job::{EncodedSegment, Job, JobOutput};
use crate::payload::Payload;
use crate::peers::{Answer, AskError};
use crate::share::{self, Extension, ShareLayout};
use crate::share_set::ShareSet;
use crate::storage::protocol::{StorageAnswer, StorageError};
use crate::task::{Outcome, Tasks, Trouble};
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

/// Bytes of segments and their blocks under way at once, at least one segment.
const BYTES_UNDER_WAY: u64 = 24 * 1024 * 1024;
/// Blocks smaller than this are gathered into one write.
const WRITE_BATCH: u64 = 64 * 1024;
/// Longer tails are cut into writes of this size.
const WRITE_MAX: u64 = 1024 * 1024;
/// How long a write may take without a sign of life. Long, because on a slow line everybody waits for
/// this node; who is slower than the others is given up earlier, see [`STALLED_AFTER`].
const WRITE_PATIENCE: Duration = Duration::from_secs(60);
/// A server that confirms nothing for this long, while at least half of the others have confirmed all
/// they were sent, is given up: they all wait for it.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// How long it may take to make a share durable, without its length.
const CLOSE_PATIENCE: Duration = Duration::from_secs(20);
/// How fast the slowest disk is taken to be: bytes per second, added to the patience above.
const SLOWEST_DISK: u64 = 8 * 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SendTask {
    Encode(u64),
    Hash,
    Trees,
    Write {
        share: u16,
        server: ServerId,
        offset: u64,
    },
    /// Looking at a share that is there.
    Prove((ServerId, u16)),
}

/// What is to happen next.
pub(super) enum Next {
    Wait(Option<UploadProgress>),
    /// The file is stored, but some shares lost their servers and the content cannot be read again:
    /// it is to be read back from the grid. This is the hash of the extension block.
    ReadBack(Hash),
    /// Every share that could be placed is whole; this is the hash of the extension block.
    Finished(Hash),
    Failed,
}

#[derive(Debug)]
pub(super) struct Sending {
    layout: ShareLayout,
    streaming: bool,
    /// Segments that may be under way at once.
    window: u64,
    write_batch: u64,
    writers: BTreeMap<u16, Writer>,
    /// The pass over the content: which shares it makes.
    shares: ShareSet,
    first_pass: bool,
    /// The next segment to read.
    next_read: u64,
    /// A segment is being read, and where it goes cannot be said yet.
    reading: Option<u64>,
    /// The next segment to hand to the writers; encoded ones wait for their turn.
    next_write: u64,
    encoded: BTreeMap<u64, Box<EncodedSegment>>,
    block_hashes: Vec<Vec<Hash>>,
    ciphertext_hashes: Vec<Hash>,
    whole: WholeHash,
    ending: Ending,
    proving: Proving,
    pushed: ShareSet,
    reported: Option<UploadProgress>,
    /// The content of a stream has been read back once to make lost shares anew.
    read_back: bool,
    /// A share lost its server, and what that means has not been considered yet.
    lost: bool,
    /// A share lost its server at some time.
    ever_lost: bool,
    /// It is being waited for what servers further along the ring say.
    searching: bool,
}

/// The hash over the whole ciphertext, which must be fed in order.
#[derive(Debug)]
struct WholeHash {
    hasher: Option<TaggedHasher>,
    waiting: Vec<Payload>,
    /// Segments in the job under way, and segments hashed.
    at_work: u64,
    done: u64,
}

#[derive(Debug)]
enum Ending {
    /// The hash trees wait for the last segment.
    Open,
    Building,
    Built(Box<Trees>),
}

#[derive(Debug)]
pub(super) struct Trees {
    ciphertext: HashTree,
    pub(super) blocks: Vec<HashTree>,
    pub(super) shares: HashTree,
    /// Packed.
    pub(super) extension: Vec<u8>,
}

impl Sending {
    pub(super) fn new(
        file: &File,
        layout: ShareLayout,
        placing: &Placing,
        streaming: bool,
        chance: u64,
    ) -> Sending {
        let encoding = &file.coding.encoding;
        let total = encoding.total();
        let segment = u64::from(encoding.segment_size());
        let cost = segment + u64::from(encoding.block_size()) * u64::from(total);
        let window = (BYTES_UNDER_WAY / cost.max(1)).clamp(1, 16 * 1024);
        let half_window = u64::from(encoding.block_size()) * (window / 2).max(1);
        let mut sending = Sending {
            layout,
            streaming,
            window,
            write_batch: WRITE_BATCH.min(half_window),
            writers: BTreeMap::new(),
            shares: ShareSet::first(total),
            first_pass: true,
            next_read: 0,
            reading: None,
            next_write: 0,
            encoded: BTreeMap::new(),
            block_hashes: (0..total).map(|_| Vec::new()).collect(),
            ciphertext_hashes: Vec::new(),
            whole: WholeHash {
                hasher: Some(hash::crypttext_hasher()),
                waiting: Vec::new(),
                at_work: 0,
                done: 0,
            },
            ending: Ending::Open,
            proving: Proving::new(layout, chance),
            pushed: ShareSet::EMPTY,
            reported: None,
            read_back: false,
            lost: false,
            ever_lost: false,
            searching: false,
        };
        sending.open_writers(placing);
        sending
    }

    pub(super) fn pushed(&self) -> usize {
        self.pushed.len()
    }

    /// Makes a writer for every share that waits to be sent and has none.
    fn open_writers(&mut self, placing: &Placing) -> ShareSet {
        let wanted: BTreeSet<(u16, ServerId)> = placing.to_send().collect();
        self.writers.retain(|share, writer| writer.finished || wanted.contains(&(*share, writer.server)));
        let header = Payload::from(self.layout.header());
        let mut opened = ShareSet::EMPTY;
        for (share, server) in placing.to_send() {
            if self.writers.get(&share).is_some_and(|writer| writer.server == server) {
                continue;
            }
            self.writers.insert(share, Writer::new(server, header.clone()));
            opened.insert(share);
        }
        opened
    }

    pub(super) fn plaintext(
        &mut self,
        segment: u64,
        plaintext: Vec<Payload>,
        file: &File,
        tasks: &mut Tasks<Purpose>,
    ) {
        self.reading = None;
        let (file, shares) = (file.coding.clone(), self.shares);
        let job = Job::EncodeSegment { file, segment, plaintext, shares };
        tasks.job(Purpose::Sending(SendTask::Encode(segment)), job);
    }

    pub(super) fn finished(
        &mut self,
        task: SendTask,
        outcome: Outcome,
        file: &File,
        placing: &mut Placing,
        tasks: &mut Tasks<Purpose>,
        now: Now,
    ) {
        match (task, outcome) {
            (SendTask::Encode(segment), Outcome::Job(JobOutput::Encoded(encoded))) => {
                self.encoded.insert(segment, encoded);
            }
            (SendTask::Hash, Outcome::Job(JobOutput::Hashed(hasher))) => {
                self.whole.hasher = Some(hasher);
                self.whole.done += core::mem::take(&mut self.whole.at_work);
            }
            (SendTask::Trees, Outcome::Job(JobOutput::Trees(trees))) => self.trees_built(trees, file),
            (SendTask::Write { share, server, offset }, Outcome::Answer(answer)) => {
                if let Some(writer) = self.writers.get_mut(&share) {
                    writer.waited_for = Some(now.instant);
                }
                self.written(share, server, offset, answer, file, placing, tasks);
            }
            (SendTask::Prove(key), outcome) => {
                if let Ending::Built(trees) = &self.ending {
                    self.proving.finished(key, outcome, trees, file, placing, tasks);
                }
            }
            (task, outcome) => debug_assert!(false, "{task:?} cannot end with {outcome:?}"),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn written(
        &mut self,
        share: u16,
        server: ServerId,
        offset: u64,
        answer: Answer,
        file: &File,
        placing: &mut Placing,
        tasks: &mut Tasks<Purpose>,
    ) {
        let Some(writer) = self.writers.get_mut(&share).filter(|writer| writer.server == server) else {
            return;
        };
        writer.under_way.remove(&offset);
        let trouble = match answer {
            Ok((StorageAnswer::Written { finished }, _)) => {
                writer.finished |= finished;
                if finished && !writer.closing {
                    Some(Trouble::Nonsense("a share complete before its end was sent"))
                } else if writer.closing && !writer.finished && writer.under_way.is_empty() {
                    Some(Trouble::Nonsense("a share not complete though all of it was sent"))
                } else {
                    None
                }
            }
            // Taken up again after a crash, the upload meets a share that it had completed.
            Err(AskError::Server(StorageError::AlreadyWhole)) if writer.closing => {
                writer.finished = true;
                None
            }
            Ok(_) => Some(Trouble::Nonsense("no answer to a write")),
            Err(error) => Some(Trouble::Ask(error)),
        };
        if let Some(trouble) = trouble {
            self.lose(share, trouble, file, placing, tasks);
        } else if self.writers[&share].finished {
            self.pushed.insert(share);
            placing.finished(server, share);
        }
    }

    /// The share's server failed: give the share up there.
    fn lose(
        &mut self,
        share: u16,
        trouble: Trouble,
        file: &File,
        placing: &mut Placing,
        tasks: &mut Tasks<Purpose>,
    ) {
        let Some(writer) = self.writers.remove(&share) else { return };
        tasks.forget(|purpose| {
            matches!(purpose, Purpose::Sending(SendTask::Write { share: s, server, .. })
                if *s == share && *server == writer.server)
        });
        placing.abort(file, writer.server, share, tasks);
        placing.lost(writer.server, share, trouble);
        (self.lost, self.ever_lost) = (true, true);
    }

    pub(super) fn advance(
        &mut self,
        file: &File,
        placing: &mut Placing,
        source: &mut Source,
        tasks: &mut Tasks<Purpose>,
        now: Now,
    ) -> Next {
        self.note_waits(now.instant);
        self.lose_stalled(file, placing, tasks, now.instant);
        let next = loop {
            if let Some(next) = self.advance_pass(file, placing, source, tasks, now.instant) {
                break next;
            }
        };
        self.note_waits(now.instant);
        next
    }

    /// Whether most writers wait for the rest: then it is not this node's line that is slow.
    fn is_held_up(&self) -> bool {
        let idle = self.writers.values().filter(|writer| writer.under_way.is_empty()).count();
        2 * idle >= self.writers.len()
    }

    /// Notes who is waited for. The wait for the laggards begins when the others are done.
    fn note_waits(&mut self, now: Instant) {
        let held_up = self.is_held_up();
        for writer in self.writers.values_mut() {
            let since = writer.waited_for.filter(|_| held_up).unwrap_or(now);
            writer.waited_for = (!writer.under_way.is_empty()).then_some(since);
        }
    }

    /// Gives up the shares of servers that hold up all others.
    fn lose_stalled(&mut self, file: &File, placing: &mut Placing, tasks: &mut Tasks<Purpose>, now: Instant) {
        let stalled = |writer: &Writer| {
            !writer.closing && writer.waited_for.is_some_and(|since| now >= since + STALLED_AFTER)
        };
        let shares: Vec<u16> = self.writers.iter().filter(|(_, w)| stalled(w)).map(|(s, _)| *s).collect();
        for share in shares {
            self.lose(share, Trouble::Ask(AskError::Silent(STALLED_AFTER)), file, placing, tasks);
        }
    }

    /// When a server will have held up the others for too long, or the search has taken long enough.
    pub(super) fn deadline(&self, placing: &Placing) -> Option<Instant> {
        if self.searching {
            return placing.deadline();
        }
        let waiting = self.writers.values().filter(|writer| !writer.closing);
        let first = waiting.filter_map(|writer| writer.waited_for).min();
        first.filter(|_| self.is_held_up()).map(|since| since + STALLED_AFTER)
    }

    /// Goes on with the pass over the content. `None` if it is over and another begins.
    fn advance_pass(
        &mut self,
        file: &File,
        placing: &mut Placing,
        source: &mut Source,
        tasks: &mut Tasks<Purpose>,
        now: Instant,
    ) -> Option<Next> {
        let encoding = &file.coding.encoding;
        let segments = encoding.num_segments();
        self.hand_out(file, tasks);
        while self.reading.is_none()
            && self.next_read < segments
            && self.next_read < self.low_water(file) + self.window
        {
            let segment = self.next_read;
            match source.segment(segment, encoding.segment_range(segment), tasks) {
                Segment::Ready(plaintext) => {
                    self.next_read += 1;
                    self.plaintext(segment, plaintext, file, tasks);
                }
                Segment::Started => {
                    self.next_read += 1;
                    self.reading = Some(segment);
                }
                Segment::NotYet => break,
            }
        }
        if self.next_write < segments || self.writers.values().any(|w| !w.closing && !w.under_way.is_empty())
        {
            // Not worth finishing if too few servers are left, or those that are cannot be used
            // because there is no second pass.
            let hopeless = |placing: &Placing| {
                if self.streaming {
                    !placing.is_happy()
                } else {
                    !placing.could_be_happy() && !placing.could_widen()
                }
            };
            if core::mem::take(&mut self.lost) && hopeless(placing) {
                return Some(Next::Failed);
            }
            return Some(Next::Wait(self.progress(file)));
        }
        self.end_pass(file, placing, tasks, now)
    }

    /// All blocks of this pass are confirmed. `None` if another pass begins.
    fn end_pass(
        &mut self,
        file: &File,
        placing: &mut Placing,
        tasks: &mut Tasks<Purpose>,
        now: Instant,
    ) -> Option<Next> {
        self.searching = false;
        if placing.awaits_allocations() {
            return Some(Next::Wait(self.progress(file)));
        }
        match &self.ending {
            Ending::Open if self.whole.hasher.is_some() && self.whole.waiting.is_empty() => {
                let mut leaves = Vec::from([core::mem::take(&mut self.ciphertext_hashes)]);
                leaves.append(&mut self.block_hashes);
                tasks.job(Purpose::Sending(SendTask::Trees), Job::BuildTrees(leaves));
                self.ending = Ending::Building;
                return Some(Next::Wait(self.progress(file)));
            }
            Ending::Open | Ending::Building => return Some(Next::Wait(self.progress(file))),
            // Nothing is completed before it is known what the shares found in place are worth.
            Ending::Built(trees) => {
                if !self.proving.advance(trees, file, placing, tasks) {
                    return Some(Next::Wait(self.progress(file)));
                }
            }
        }
        // Shares whose server failed go to another, in a further pass; the rest stays open so long,
        // so that nothing is whole before enough can be.
        let closing = self.writers.values().any(|writer| writer.closing && !writer.finished);
        if !closing && !self.streaming {
            if self.assign(file, placing, tasks, now) {
                return Some(Next::Wait(self.progress(file)));
            }
            placing.drop_doubles(file, tasks);
            if self.begin_pass(placing) {
                return None;
            }
        }
        let enough = placing.is_happy() && placing.is_readable(file.coding.encoding.needed());
        if !closing && !enough {
            return Some(Next::Failed);
        }
        self.close_writers(file, tasks);
        if self.writers.values().any(|writer| !writer.finished) {
            return Some(Next::Wait(self.progress(file)));
        }
        let Ending::Built(trees) = &self.ending else { unreachable!("checked above") };
        let extension_hash = hash::uri_extension_hash(&trees.extension);
        if self.streaming && !self.read_back {
            if self.assign(file, placing, tasks, now) {
                return Some(Next::Wait(self.progress(file)));
            }
            self.read_back = true;
            placing.drop_doubles(file, tasks);
            if self.begin_pass(placing) {
                return Some(Next::ReadBack(extension_hash));
            }
        }
        Some(Next::Finished(extension_hash))
    }

    /// Gives shares without a server a new one, further along the ring if need be. `true` while that
    /// is not decided.
    fn assign(
        &mut self,
        file: &File,
        placing: &mut Placing,
        tasks: &mut Tasks<Purpose>,
        now: Instant,
    ) -> bool {
        placing.ask_next_batch(file, tasks);
        self.searching = !placing.located(now);
        if self.searching || placing.assign(file, tasks) {
            return true;
        }
        let settled = placing.is_happy() && (placing.is_complete() || !self.ever_lost);
        if settled || !placing.widen(now) {
            return false;
        }
        placing.ask_next_batch(file, tasks);
        self.searching = true;
        true
    }

    /// Begins a further pass for the shares that have been given a new server. `false` if there are
    /// none.
    fn begin_pass(&mut self, placing: &Placing) -> bool {
        let opened = self.open_writers(placing);
        if opened.is_empty() {
            return false;
        }
        (self.shares, self.first_pass) = (opened, false);
        (self.next_read, self.next_write) = (0, 0);
        true
    }

    /// The content could not be read back: does without the shares that are not whole.
    pub(super) fn give_up_pass(&mut self, file: &File, placing: &mut Placing, tasks: &mut Tasks<Purpose>) {
        let open: Vec<u16> =
            self.writers.iter().filter(|(_, w)| !w.finished).map(|(share, _)| *share).collect();
        for share in open {
            self.lose(share, Trouble::NoSpace, file, placing, tasks);
        }
        self.next_read = file.coding.encoding.num_segments();
        self.next_write = self.next_read;
    }

    /// Hands encoded segments to the writers, in order.
    fn hand_out(&mut self, file: &File, tasks: &mut Tasks<Purpose>) {
        while let Some(encoded) = self.encoded.remove(&self.next_write) {
            self.next_write += 1;
            let EncodedSegment { ciphertext, ciphertext_hash, blocks } = *encoded;
            if self.first_pass {
                self.ciphertext_hashes.push(ciphertext_hash);
                self.whole.waiting.push(ciphertext);
            }
            for (share, block, hash) in blocks {
                if self.first_pass {
                    self.block_hashes[usize::from(share)].push(hash);
                }
                if let Some(writer) = self.writers.get_mut(&share).filter(|writer| !writer.closing)
                    && writer.gather(block) >= self.write_batch
                {
                    writer.send(share, file, WRITE_PATIENCE, tasks);
                }
            }
        }
        if !self.whole.waiting.is_empty()
            && let Some(hasher) = self.whole.hasher.take()
        {
            let data = core::mem::take(&mut self.whole.waiting);
            self.whole.at_work = data.len() as u64;
            tasks.job(Purpose::Sending(SendTask::Hash), Job::Hash { hasher, data });
        }
    }

    fn trees_built(&mut self, mut trees: Vec<HashTree>, file: &File) {
        let blocks = trees.split_off(1);
        let ciphertext = trees.remove(0);
        let shares = HashTree::from_leaves(blocks.iter().map(HashTree::root).collect());
        let whole = self.whole.hasher.take().expect("the hash was whole when the trees were asked for");
        let extension =
            Extension::new(&file.coding.encoding, whole.finish(), ciphertext.root(), shares.root());
        self.ending =
            Ending::Built(Box::new(Trees { ciphertext, blocks, shares, extension: extension.pack() }));
    }

    /// Sends the tail of every share that is not being closed yet.
    fn close_writers(&mut self, file: &File, tasks: &mut Tasks<Purpose>) {
        let Ending::Built(trees) = &self.ending else { return };
        let seconds = self.layout.allocated_size(trees.extension.len()) / SLOWEST_DISK;
        let patience = CLOSE_PATIENCE + Duration::from_secs(seconds);
        for (share, writer) in &mut self.writers {
            if core::mem::replace(&mut writer.closing, true) {
                continue;
            }
            let chain = share::share_hashes(&trees.shares, *share);
            let block_tree = &trees.blocks[usize::from(*share)];
            let tail = share::tail(&self.layout, &trees.ciphertext, block_tree, &chain, &trees.extension);
            let mut tail = Payload::from(tail);
            while !tail.is_empty() {
                let piece = tail.take_front(tail.len().min(WRITE_MAX));
                let gathered = writer.gather(piece);
                if tail.is_empty() || gathered >= WRITE_MAX {
                    writer.send(*share, file, patience, tasks);
                }
            }
        }
    }

    /// Segments before this one need no memory any more.
    fn low_water(&self, file: &File) -> u64 {
        let open = self.writers.iter().filter(|(share, w)| !w.closing && self.shares.contains(**share));
        let block_size = u64::from(file.coding.encoding.block_size()).max(1);
        let start = self.layout.header().len() as u64;
        let confirmed = open.map(|(_, writer)| writer.confirmed().saturating_sub(start) / block_size);
        let hashed = if self.first_pass { self.whole.done } else { u64::MAX };
        confirmed.min().unwrap_or(self.next_write).min(self.next_write).min(hashed)
    }

    fn progress(&mut self, file: &File) -> Option<UploadProgress> {
        let encoding = &file.coding.encoding;
        let size = encoding.size();
        let closing = self.writers.values().any(|writer| writer.closing);
        let confirmed = (self.low_water(file) * u64::from(encoding.segment_size())).min(size);
        let progress = if closing || !self.first_pass {
            UploadProgress { stage: UploadStage::Closing, confirmed: size, size }
        } else {
            UploadProgress { stage: UploadStage::Sending, confirmed, size }
        };
        let step = (size / 200).max(256 * 1024);
        let worth_telling = self
            .reported
            .is_none_or(|last| last.stage != progress.stage || progress.confirmed >= last.confirmed + step);
        worth_telling.then(|| *self.reported.insert(progress))
    }
}
