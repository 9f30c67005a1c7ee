//! Reading, encoding and sending, a bounded number of segments at a time.
//!
//! A segment is under way from the moment its plaintext is read until every live writer has a
//! confirmation of its block; how many may be under way bounds the memory of an upload. When all
//! blocks are confirmed, the hash trees and the extension block complete each share.

mod laggards;
mod passes;

pub(super) use passes::Trees;

use super::placing::Placing;
use super::proving::Proving;
use super::report::{UploadProgress, UploadStage};
use super::source::{Segment, Source};
use super::writer::Writer;
use super::{File, Purpose};
use crate::hash::{self, Hash, TaggedHasher};
use crate::identity::ServerId;
use crate::job::{EncodedSegment, Job, JobOutput};
use crate::payload::Payload;
use crate::share::ShareLayout;
use crate::share_set::ShareSet;
use crate::task::{Outcome, Tasks};
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;
use passes::Ending;

/// Bytes of segments and their blocks under way at once, at least one segment.
const BYTES_UNDER_WAY: u64 = 24 * 1024 * 1024;
/// Blocks smaller than this are gathered into one write.
const WRITE_BATCH: u64 = 64 * 1024;
/// How long a write may take without a sign of life. Long, because on a slow line everybody waits for
/// this node; who is slower than the others is given up earlier, see [`laggards`].
const WRITE_PATIENCE: Duration = Duration::from_secs(60);

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
