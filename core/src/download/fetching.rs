//! Fetching segments: which blocks are asked for, who is overtaken, and what is decoded.

use super::pace::{SLOW_AFTER, ShareKey};
use super::share::ShareReader;
use super::{Asked, BYTES_AHEAD, Download, Purpose, SegmentFetch, ask};
use crate::job::Job;
use crate::peers::Answer;
use crate::task::{pieces, read};
use crate::time::Instant;
use alloc::collections::BTreeSet;

impl Download {
    /// Notes that a block came in.
    pub(super) fn came(&mut self, segment: u64, key: ShareKey, now: Instant) {
        let Some(fetch) = self.segments.get_mut(&segment).filter(|fetch| fetch.asked.contains_key(&key))
        else {
            return;
        };
        fetch.last_came = Some(now);
        self.pace.came(key, now);
        let mut beaten = false;
        for (other, _) in fetch.asked.iter().filter(|(other, a)| **other != key && a.overtaken && !a.came) {
            self.pace.beaten(*other);
            beaten = true;
        }
        // From now on others of its segment are waited for, and perhaps no longer everybody.
        let look_at = if self.all_slow || beaten { now } else { now + SLOW_AFTER };
        self.overtake_at = Some(self.overtake_at.map_or(look_at, |at| at.min(look_at)));
    }

    /// Marks what takes too long, so that others are asked for the same.
    pub(super) fn overtake(&mut self, now: Instant) {
        if self.overtake_at.is_some_and(|at| now >= at) {
            (self.overtake_at, self.all_slow) = (None, false);
            let mut overtook_all_slow = false;
            // Of each share one block is tried with others first.
            let mut tried: BTreeSet<ShareKey> = BTreeSet::new();
            for fetch in self.segments.values_mut() {
                tried.extend(fetch.asked.iter().filter(|(_, a)| a.overtaken && !a.came).map(|(key, _)| *key));
            }
            for fetch in self.segments.values_mut() {
                for (key, asked) in fetch.asked.iter_mut().filter(|(_, a)| !a.overtaken && !a.came) {
                    let late_at = self.pace.late_at(*key, asked.since, fetch.last_came);
                    if tried.contains(key) && !self.pace.is_beaten(*key) {
                        continue;
                    }
                    let nobody_gives = self.pace.all_are_slow(*key);
                    if now < late_at {
                        self.all_slow |= nobody_gives;
                        self.overtake_at = Some(self.overtake_at.map_or(late_at, |at| at.min(late_at)));
                        continue;
                    }
                    asked.overtaken = true;
                    tried.insert(*key);
                    overtook_all_slow |= nobody_gives;
                    if let Some(share) = self.shares.get_mut(key) {
                        share.slow = true;
                    }
                }
            }
            if overtook_all_slow {
                self.pace.all_were_slow();
            }
        }
        for share in self.shares.values_mut() {
            if share.slow_at(SLOW_AFTER).is_some_and(|at| now >= at) {
                share.slow = true;
            }
        }
    }

    pub(super) fn start_segments(&mut self) {
        let Some(file) = &self.file else { return };
        let encoding = file.encoding();
        let first = encoding.segment_of(self.range.start).expect("a range within the file");
        let last = encoding.segment_of(self.range.end - 1).expect("a range within the file");
        self.next_segment = self.next_segment.max(first);
        let window = (BYTES_AHEAD / u64::from(encoding.segment_size()).max(1)).clamp(1, 256) as usize;
        while self.next_segment <= last && self.segments.len() + self.ready.len() < window {
            self.segments.insert(self.next_segment, SegmentFetch::default());
            self.next_segment += 1;
        }
    }

    /// Asks open shares for the blocks that segments lack.
    pub(super) fn fetch_blocks(&mut self, now: Instant) {
        let Some(file) = &mut self.file else { return };
        let needed = usize::from(self.cap.needed);
        for (&segment, fetch) in &mut self.segments {
            loop {
                let lively = fetch.asked.iter().filter(|(_, asked)| !asked.overtaken).map(|(key, _)| key.1);
                let have: BTreeSet<u16> = fetch.blocks.keys().copied().chain(lively).collect();
                if fetch.decoding || have.len() >= needed {
                    break;
                }
                let of_use = |(key, share): &(&ShareKey, &ShareReader)| {
                    share.is_ready() && !have.contains(&key.1) && !fetch.asked.contains_key(*key)
                };
                // Quick shares before slow ones, then the one with the least to do.
                let pace = &self.pace;
                let rank = |(key, share): &(&ShareKey, &ShareReader)| {
                    (share.slow, pace.under_way(**key), key.1, key.0)
                };
                let Some(key) = self.shares.iter().filter(of_use).min_by_key(rank).map(|(key, _)| *key)
                else {
                    break;
                };
                let share = self.shares.get_mut(&key).expect("just found");
                let read_plan = share.plan_block(segment, file);
                let request = read(self.storage_index, key.1, &read_plan.ranges);
                self.tasks.start(Purpose::Block(segment, key), ask(key.0, request));
                self.pace.asked(key, now);
                let asked = Asked { since: now, read: read_plan, overtaken: false, came: false };
                let slow_at = now + SLOW_AFTER;
                self.overtake_at = Some(self.overtake_at.map_or(slow_at, |at| at.min(slow_at)));
                fetch.asked.insert(key, asked);
            }
        }
    }

    pub(super) fn block_read(&mut self, segment: u64, key: ShareKey, answer: Answer) {
        let Some(fetch) = self.segments.get_mut(&segment) else { return };
        let Some(asked) = fetch.asked.get_mut(&key) else { return };
        asked.came = true;
        let (Some(share), Some(file)) = (self.shares.get_mut(&key), &mut self.file) else { return };
        let pieces = match pieces(answer, &asked.read.ranges) {
            Ok(pieces) => pieces,
            Err(trouble) => return self.lose_share(key, trouble),
        };
        match share.accept_block(segment, &asked.read, pieces, file) {
            Ok((block, expected)) => {
                share.slow = self
                    .segments
                    .values()
                    .any(|fetch| fetch.asked.get(&key).is_some_and(|asked| asked.overtaken && !asked.came));
                self.tasks.job(Purpose::Check(segment, key), Job::CheckBlock { block, expected });
            }
            Err(how) => self.bad_share(key, how),
        }
    }

    pub(super) fn decode(&mut self) {
        let Some(file) = &self.file else { return };
        let mut begun = false;
        for (&segment, fetch) in &mut self.segments {
            if fetch.decoding || fetch.blocks.len() < usize::from(self.cap.needed) {
                continue;
            }
            let Some(expected) = file.ciphertext_tree.leaf(segment) else { continue };
            (fetch.decoding, begun) = (true, true);
            for (key, asked) in core::mem::take(&mut fetch.asked) {
                if !asked.came {
                    self.pace.dropped(key);
                }
            }
            let blocks =
                core::mem::take(&mut fetch.blocks).into_iter().take(usize::from(self.cap.needed)).collect();
            let job = Job::DecodeSegment { file: file.coding.clone(), segment, blocks, expected };
            self.tasks.job(Purpose::Decode(segment), job);
        }
        if begun {
            // Blocks that come too late are no longer of use.
            let segments = &self.segments;
            self.tasks.forget(|purpose| match purpose {
                Purpose::Block(segment, _) => segments.get(segment).is_none_or(|fetch| fetch.decoding),
                _ => false,
            });
        }
    }
}
