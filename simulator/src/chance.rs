//! Chance from a seed.
//!
//! Every purpose has a stream of its own, named, so that drawing more for one purpose does not
//! change what another draws. That keeps a run recognisable when a plan is shrunk.

use core::ops::Range;
use core::time::Duration;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of pseudo-random numbers (SplitMix64): quick, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Chance {
        Chance(mix(seed ^ 0x7461_6c6c_6163_2121))
    }

    /// The stream for one purpose.
    pub fn named(seed: u64, purpose: &str) -> Chance {
        let folded = purpose.bytes().fold(seed, |state, byte| mix(state ^ u64::from(byte)));
        Chance::new(folded)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// A number of a range, which must not be empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// Whether the rare of `sides` cases happens.
    pub fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    /// One of several, which must not be none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// A duration of a range.
    pub fn duration(&mut self, range: Range<Duration>) -> Duration {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.within(nanos(range.start)..nanos(range.end)))
    }
}

/// Content of `len` bytes that no other seed has.
pub fn content(seed: u64, len: u64) -> Vec<u8> {
    let mut chance = Chance::new(seed);
    let mut content = Vec::with_capacity(len as usize + 8);
    while (content.len() as u64) < len {
        content.extend_from_slice(&chance.draw().to_le_bytes());
    }
    content.truncate(len as usize);
    content
}

/// Part of the content of a seed: `len` bytes from `offset`.
pub fn content_at(seed: u64, offset: u64, len: u64) -> Vec<u8> {
    let Chance(start) = Chance::new(seed);
    let word = |index: u64| mix(start.wrapping_add((index + 1).wrapping_mul(STEP))).to_le_bytes();
    let (first, last) = (offset / 8, (offset + len).div_ceil(8));
    let mut content: Vec<u8> = (first..last).flat_map(word).collect();
    content.drain(..(offset % 8) as usize);
    content.truncate(len as usize);
    content
}

/// Bits that depend on all bits given, and on which all of those depend.
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
