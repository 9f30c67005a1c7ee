//! Which bytes of a share have been written.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// A set of byte positions, kept as ranges that do not touch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds the positions of a range.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // Ranges that overlap or touch the new one, last first: they begin no later than its end.
        while let Some((&first, &last)) = self.0.range(..=end).next_back().filter(|(_, last)| **last >= start)
        {
            self.0.remove(&first);
            start = start.min(first);
            end = end.max(last);
        }
        self.0.insert(start, end);
    }

    /// The parts of `range` that are in the set, ascending.
    pub(super) fn within(&self, range: Range<u64>) -> Vec<Range<u64>> {
        if range.is_empty() {
            return Vec::new();
        }
        let before = self.0.range(..range.start).next_back();
        before
            .into_iter()
            .chain(self.0.range(range.clone()))
            .map(|(&start, &end)| start.max(range.start)..end.min(range.end))
            .filter(|part| !part.is_empty())
            .collect()
    }

    /// The parts of `range` that are not in the set, ascending.
    pub(super) fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        let mut position = range.start;
        for part in self.within(range.clone()) {
            missing.push(position..part.start);
            position = part.end;
        }
        missing.push(position..range.end);
        missing.retain(|part| !part.is_empty());
        missing
    }

    /// Whether every position below `len` is in the set.
    pub(super) fn covers(&self, len: u64) -> bool {
        len == 0 || self.0.get(&0).is_some_and(|end| *end >= len)
    }

    /// How many separate ranges there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_row_of_flags(
            inserts in proptest::collection::vec((0u64..40, 0u64..12), 0..12),
            asked in (0u64..50, 0u64..20),
        ) {
            let mut flags = [false; 80];
            let mut ranges = Ranges::default();
            for (start, len) in inserts {
                ranges.insert(start..start + len);
                flags[start as usize..(start + len) as usize].fill(true);
            }
            let asked = asked.0..asked.0 + asked.1;
            for (parts, wanted) in [(ranges.within(asked.clone()), true), (ranges.missing(asked.clone()), false)] {
                let found: Vec<u64> = parts.iter().cloned().flatten().collect();
                let expected: Vec<u64> = asked.clone().filter(|at| flags[*at as usize] == wanted).collect();
                prop_assert_eq!(found, expected);
                prop_assert!(parts.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
            let first_gap = flags.iter().position(|flag| !flag).expect("the last are never set") as u64;
            prop_assert!(ranges.covers(first_gap) && !ranges.covers(first_gap + 1));
        }
    }
}
