//! The content of one file, and what of it would survive a power cut.

use super::rope::{Rope, zeros};
use super::{BlockFate, Damage, Fate};
use crate::stand_in;
use core::ops::Range;
use std::borrow::Cow;
use std::collections::BTreeMap;
use tallac_core::payload::Payload;

const BLOCK: u64 = 4096;
const SECTOR: u64 = 512;
pub(super) const SECTORS: u64 = BLOCK / SECTOR;

/// Content, and for each block written since the last sync what was there before.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    now: Rope,
    before: BTreeMap<u64, Payload>,
    /// The length at the last sync.
    len_before: u64,
    /// Blocks whose sync failed: read well, never durable unless written anew.
    never: BTreeMap<u64, Payload>,
    /// Blocks that take up room: those that were ever written. A hole takes none.
    taken: Ranges,
}

impl File {
    pub(super) fn durable(content: Payload) -> File {
        let mut taken = Ranges::default();
        taken.add(0..content.len().div_ceil(BLOCK));
        File { len_before: content.len(), now: Rope::new(content), taken, ..File::default() }
    }

    pub(super) fn len(&self) -> u64 {
        self.now.len()
    }

    /// Bytes of the disk that it takes up.
    pub(super) fn room(&self) -> u64 {
        self.taken.total() * BLOCK
    }

    /// Bytes of the disk that it takes up once these are written.
    pub(super) fn room_with(&self, offset: u64, len: u64) -> u64 {
        let new = self.taken.missing(offset / BLOCK..(offset + len).div_ceil(BLOCK));
        self.room() + new * BLOCK
    }

    pub(super) fn content(&self) -> Cow<'_, [u8]> {
        self.now.bytes()
    }

    /// Whether these bytes would be as they are after a power cut now, whatever it takes away.
    pub(super) fn is_durable(&self, range: Range<u64>) -> bool {
        let same = |(block, before): (&u64, &Payload)| {
            let start = block * BLOCK;
            let (from, to) = (range.start.max(start), range.end.min(start + BLOCK));
            from >= to
                || to - start <= before.len()
                    && to <= self.len()
                    && stand_in::is_same(&before.slice(from - start..to - start), &self.now.slice(from..to))
        };
        self.len_before.min(self.len()) >= range.end && self.before.iter().chain(&self.never).all(same)
    }

    pub(super) fn read(&self, offset: u64, len: u64) -> Payload {
        self.now.slice(offset..offset.saturating_add(len))
    }

    pub(super) fn write(&mut self, offset: u64, data: Payload) {
        let (start, end) = (offset, offset + data.len());
        // A hole is zeros that nobody wrote: durable as soon as the length is.
        self.touch(start, end);
        if data.is_empty() {
            self.now.resize(self.len().max(end));
        }
        self.now.write(offset, data);
        self.taken.add(start / BLOCK..end.div_ceil(BLOCK));
    }

    pub(super) fn truncate(&mut self, len: u64) {
        self.touch(len, self.len());
        self.now.resize(len);
        self.taken.cut(len.div_ceil(BLOCK));
    }

    pub(super) fn sync(&mut self) {
        self.before.clear();
        self.len_before = self.len();
    }

    /// The system marks the pages clean, so a later sync succeeds and proves nothing.
    pub(super) fn sync_failed(&mut self) {
        for (block, before) in core::mem::take(&mut self.before) {
            self.never.entry(block).or_insert(before);
        }
    }

    pub(super) fn power_cut(&mut self, fate: &mut impl Fate, damage: &mut Damage) {
        let grown = self.len();
        let kept_len = if fate.keeps_length(grown != self.len_before) { grown } else { self.len_before };
        for (block, before) in core::mem::take(&mut self.never) {
            damage.blocks_lost += 1;
            self.restore(block, before, 0);
        }
        for (block, before) in core::mem::take(&mut self.before) {
            match fate.block() {
                BlockFate::Kept => {}
                BlockFate::Lost => {
                    damage.blocks_lost += 1;
                    self.restore(block, before, 0);
                }
                BlockFate::Torn(sectors) => {
                    damage.blocks_torn += 1;
                    self.restore(block, before, sectors.min(SECTORS) * SECTOR);
                }
            }
        }
        self.now.resize(kept_len);
        self.len_before = kept_len;
    }

    /// Puts back what a block was, but for its first `kept` bytes. What was past the end is zeros.
    fn restore(&mut self, block: u64, before: Payload, kept: u64) {
        let start = block * BLOCK;
        let end = (start + BLOCK).min(self.len().max(start + before.len()));
        let from = (start + kept).min(end);
        self.now.resize(self.len().max(end));
        let old = before.slice((from - start).min(before.len())..before.len().min(end - start));
        let zeros = zeros(end - from - old.len());
        self.now.write(from, Payload::join([old, zeros]));
    }

    fn touch(&mut self, start: u64, end: u64) {
        for block in start / BLOCK..end.div_ceil(BLOCK) {
            let now = |rope: &Rope| rope.slice(block * BLOCK..(block + 1) * BLOCK);
            let before = self.never.remove(&block).unwrap_or_else(|| now(&self.now));
            self.before.entry(block).or_insert(before);
        }
    }
}

/// A set of numbers that mostly follow each other.
#[derive(Clone, Debug, Default)]
struct Ranges(Vec<Range<u64>>);

impl Ranges {
    fn total(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// How many of these are not in it.
    fn missing(&self, of: Range<u64>) -> u64 {
        let within = |range: &Range<u64>| range.end.min(of.end).saturating_sub(range.start.max(of.start));
        (of.end - of.start) - self.0.iter().map(within).sum::<u64>()
    }

    fn add(&mut self, new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        let first = self.0.partition_point(|range| range.end < new.start);
        let last = self.0.partition_point(|range| range.start <= new.end);
        let start = self.0.get(first).map_or(new.start, |range| range.start.min(new.start));
        let end = if last > first { self.0[last - 1].end.max(new.end) } else { new.end };
        self.0.splice(first..last, [if last > first { start..end } else { new }]);
    }

    /// Takes out all from this one on.
    fn cut(&mut self, from: u64) {
        self.0.retain(|range| range.start < from);
        if let Some(last) = self.0.last_mut() {
            last.end = last.end.min(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn ranges_are_a_set(steps in prop::collection::vec((any::<bool>(), 0u64..40, 0u64..12), 0..30)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (adds, from, len) in steps {
                let missing = (from..from + len).filter(|number| !set.contains(number)).count();
                prop_assert_eq!(ranges.missing(from..from + len), missing as u64);
                if adds {
                    ranges.add(from..from + len);
                    set.extend(from..from + len);
                } else {
                    ranges.cut(from);
                    set.split_off(&from);
                }
                prop_assert_eq!(ranges.total(), set.len() as u64);
            }
        }
    }
}
