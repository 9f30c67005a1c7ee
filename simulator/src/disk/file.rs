//! The content of one file, and what of it would survive a power cut.

use super::{BlockFate, Damage, Fate};
use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

const BLOCK: usize = 4096;
const SECTOR: usize = 512;
pub(super) const SECTORS: usize = BLOCK / SECTOR;

/// Content, and for each block written since the last sync what was there before.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    now: Vec<u8>,
    before: BTreeMap<usize, Vec<u8>>,
    /// The length at the last sync.
    len_before: usize,
    /// Blocks whose sync failed: read well, never durable unless written anew.
    never: BTreeMap<usize, Vec<u8>>,
    /// Blocks that take up room: those that were ever written. A hole takes none.
    taken: BTreeSet<usize>,
}

impl File {
    pub(super) fn durable(content: Vec<u8>) -> File {
        let taken = (0..content.len().div_ceil(BLOCK)).collect();
        File { len_before: content.len(), now: content, taken, ..File::default() }
    }

    pub(super) fn len(&self) -> u64 {
        self.now.len() as u64
    }

    /// Bytes of the disk that it takes up.
    pub(super) fn room(&self) -> u64 {
        (self.taken.len() * BLOCK) as u64
    }

    /// Bytes of the disk that it takes up once these are written.
    pub(super) fn room_with(&self, offset: u64, len: u64) -> u64 {
        let new = (offset as usize / BLOCK..(offset + len).div_ceil(BLOCK as u64) as usize)
            .filter(|block| !self.taken.contains(block));
        self.room() + (new.count() * BLOCK) as u64
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.now
    }

    /// Whether these bytes would be as they are after a power cut now, whatever it takes away.
    pub(super) fn is_durable(&self, range: Range<usize>) -> bool {
        let same = |(block, before): (&usize, &Vec<u8>)| {
            let start = block * BLOCK;
            let (from, to) = (range.start.max(start), range.end.min(start + BLOCK));
            from >= to || before.get(from - start..to - start) == self.now.get(from..to)
        };
        self.len_before.min(self.now.len()) >= range.end && self.before.iter().chain(&self.never).all(same)
    }

    pub(super) fn read(&self, offset: u64, len: u64) -> Vec<u8> {
        let end = offset.saturating_add(len).min(self.len());
        if offset >= end { Vec::new() } else { self.now[offset as usize..end as usize].to_vec() }
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let (start, end) = (offset as usize, offset as usize + data.len());
        // A hole is zeros that nobody wrote: durable as soon as the length is.
        self.touch(start, end);
        if end > self.now.len() {
            self.now.resize(end, 0);
        }
        self.now[start..end].copy_from_slice(data);
        self.taken.extend(start / BLOCK..end.div_ceil(BLOCK));
    }

    pub(super) fn truncate(&mut self, len: u64) {
        self.touch(len as usize, self.now.len());
        self.now.resize(len as usize, 0);
        self.taken.split_off(&(len as usize).div_ceil(BLOCK));
    }

    pub(super) fn sync(&mut self) {
        self.before.clear();
        self.len_before = self.now.len();
    }

    /// The system marks the pages clean, so a later sync succeeds and proves nothing.
    pub(super) fn sync_failed(&mut self) {
        for (block, before) in core::mem::take(&mut self.before) {
            self.never.entry(block).or_insert(before);
        }
    }

    pub(super) fn power_cut(&mut self, fate: &mut impl Fate, damage: &mut Damage) {
        let grown = self.now.len();
        let kept_len = if fate.keeps_length(grown != self.len_before) { grown } else { self.len_before };
        for (block, before) in core::mem::take(&mut self.never) {
            damage.blocks_lost += 1;
            self.restore(block, &before, 0);
        }
        for (block, before) in core::mem::take(&mut self.before) {
            match fate.block() {
                BlockFate::Kept => {}
                BlockFate::Lost => {
                    damage.blocks_lost += 1;
                    self.restore(block, &before, 0);
                }
                BlockFate::Torn(sectors) => {
                    damage.blocks_torn += 1;
                    self.restore(block, &before, sectors.min(SECTORS) * SECTOR);
                }
            }
        }
        self.now.resize(kept_len, 0);
        self.len_before = kept_len;
    }

    /// Puts back what a block was, but for its first `kept` bytes. What was past the end is zeros.
    fn restore(&mut self, block: usize, before: &[u8], kept: usize) {
        let start = block * BLOCK;
        let end = (start + BLOCK).min(self.now.len().max(start + before.len()));
        if end > self.now.len() {
            self.now.resize(end, 0);
        }
        for at in (start + kept).min(end)..end {
            self.now[at] = before.get(at - start).copied().unwrap_or(0);
        }
    }

    fn touch(&mut self, start: usize, end: usize) {
        for block in start / BLOCK..end.div_ceil(BLOCK) {
            let from = (block * BLOCK).min(self.now.len());
            let to = (from + BLOCK).min(self.now.len());
            let now = &self.now[from..to];
            let before = self.never.remove(&block).unwrap_or_else(|| now.to_vec());
            self.before.entry(block).or_insert(before);
        }
    }
}
