//! What a power cut leaves of what was not synced: by chance, or each possibility in turn.

use super::file::SECTORS;
use crate::chance::Chance;

/// What becomes of a block that was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockFate {
    /// It was written.
    Kept,
    /// It was not.
    Lost,
    /// So many of its first sectors were.
    Torn(u64),
}

/// Decides what is left when the power fails.
pub trait Fate {
    /// Whether a change of a name happened.
    fn keeps_name(&mut self) -> bool;

    /// Whether a file has the length that it was last given; `matters` if that is another than it had.
    fn keeps_length(&mut self, matters: bool) -> bool;

    /// What becomes of a block.
    fn block(&mut self) -> BlockFate;

    /// Whether nobody is to be asked about files that no name leads to any more.
    fn is_thrifty(&self) -> bool {
        false
    }
}

impl Fate for Chance {
    fn keeps_name(&mut self) -> bool {
        self.one_in(2)
    }

    fn keeps_length(&mut self, _: bool) -> bool {
        !self.one_in(2)
    }

    fn block(&mut self) -> BlockFate {
        match self.below(8) {
            0..=3 => BlockFate::Kept,
            4..=6 => BlockFate::Lost,
            _ => BlockFate::Torn(self.below(SECTORS)),
        }
    }
}

/// Goes through every combination of what can be left: each change of a name happened or not, each file
/// has its old or its new length, each block is old, new, or new in its first sector only.
///
/// After each power cut [`EveryFate::advance`] says whether there is another combination to be tried, on
/// another copy of the same disk.
#[derive(Clone, Debug, Default)]
pub struct EveryFate {
    /// What was decided, and of how many possibilities.
    decided: Vec<(u8, u8)>,
    at: usize,
}

impl EveryFate {
    fn decide(&mut self, possibilities: u8) -> u8 {
        if self.at == self.decided.len() {
            self.decided.push((0, possibilities));
        }
        let (decision, _) = self.decided[self.at];
        self.at += 1;
        decision
    }

    /// Goes on to the next combination; `false` if that was the last.
    pub fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((decision, possibilities)) = self.decided.pop() {
            if decision + 1 < possibilities {
                self.decided.push((decision + 1, possibilities));
                return true;
            }
        }
        false
    }
}

impl Fate for EveryFate {
    fn keeps_name(&mut self) -> bool {
        self.decide(2) == 1
    }

    fn keeps_length(&mut self, matters: bool) -> bool {
        !matters || self.decide(2) == 1
    }

    fn block(&mut self) -> BlockFate {
        match self.decide(3) {
            0 => BlockFate::Lost,
            1 => BlockFate::Kept,
            _ => BlockFate::Torn(1),
        }
    }

    fn is_thrifty(&self) -> bool {
        true
    }
}
