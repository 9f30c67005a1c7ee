//! Sets of share numbers.

use core::fmt;
use serde::{Deserialize, Serialize};

/// A set of share numbers from 0 to 255.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct ShareSet([u64; 4]);

impl ShareSet {
    /// No shares.
    pub const EMPTY: ShareSet = ShareSet([0; 4]);

    /// The shares 0 to `count` - 1; `count` is at most 256.
    pub fn first(count: u16) -> ShareSet {
        (0..count).collect()
    }

    /// Adds a share. Numbers past 255 are no share numbers and are ignored.
    pub fn insert(&mut self, share: u16) {
        if let Some(word) = self.0.get_mut(usize::from(share / 64)) {
            *word |= 1 << (share % 64);
        }
    }

    /// Removes a share.
    pub fn remove(&mut self, share: u16) {
        if let Some(word) = self.0.get_mut(usize::from(share / 64)) {
            *word &= !(1 << (share % 64));
        }
    }

    /// Whether a share is in the set.
    pub fn contains(&self, share: u16) -> bool {
        self.0.get(usize::from(share / 64)).is_some_and(|word| word >> (share % 64) & 1 == 1)
    }

    /// How many shares are in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no share is in the set.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// The shares, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + use<> {
        let set = *self;
        (0..256).filter(move |share| set.contains(*share))
    }
}

impl FromIterator<u16> for ShareSet {
    fn from_iter<I: IntoIterator<Item = u16>>(shares: I) -> ShareSet {
        let mut set = ShareSet::EMPTY;
        shares.into_iter().for_each(|share| set.insert(share));
        set
    }
}

impl fmt::Debug for ShareSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn holds_every_share_number_and_no_other() {
        let mut set = ShareSet::first(256);
        assert_eq!((set.len(), set.contains(255), set.contains(256)), (256, true, false));
        set.insert(300);
        set.remove(0);
        assert_eq!((set.len(), set.iter().next()), (255, Some(1)));
        assert_eq!([7, 3, 250].into_iter().collect::<ShareSet>().iter().collect::<Vec<_>>(), [3, 7, 250]);
    }
}
