//! Sums over a tree of directories: how many things of each kind, and how large.
//!
//! They are those of the peer's `deep_stats.py`; the sizes of mutable files are not among them, since
//! each would have to be asked for.

use crate::capability::Capability;
use crate::directory::Child;
use alloc::collections::BTreeMap;

/// Sums over a tree. Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TreeStats {
    /// Immutable files that are kept as shares.
    pub immutable_files: u64,
    /// Mutable files.
    pub mutable_files: u64,
    /// Files that are held in their capability.
    pub literal_files: u64,
    /// Directories.
    pub directories: u64,
    /// Things of kinds that are not known here.
    pub unknown: u64,
    /// All immutable files.
    pub size_immutable_files: u64,
    /// All files held in their capability.
    pub size_literal_files: u64,
    /// The tables of all directories.
    pub size_directories: u64,
    /// The largest table.
    pub largest_directory: u64,
    /// Most children of one directory.
    pub largest_directory_children: u64,
    /// The largest immutable file.
    pub largest_immutable_file: u64,
    /// How many immutable files are how large; by the bucket's number.
    sizes: BTreeMap<u32, u64>,
}

impl TreeStats {
    /// All files.
    pub fn files(&self) -> u64 {
        self.immutable_files + self.mutable_files + self.literal_files
    }

    /// How many immutable files are how large: the smallest size of a bucket, the largest, the count.
    /// There are two buckets for each power of ten; those without files are left out.
    pub fn sizes(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        self.sizes.iter().map(|(number, count)| {
            let (least, most) = bucket(*number);
            (least, most, *count)
        })
    }

    /// A directory is met.
    pub(super) fn add_directory(&mut self) {
        self.directories += 1;
    }

    /// The table of a directory was read.
    pub(super) fn add_table(&mut self, size: u64, children: u64) {
        self.size_directories = self.size_directories.saturating_add(size);
        self.largest_directory = self.largest_directory.max(size);
        self.largest_directory_children = self.largest_directory_children.max(children);
    }

    /// A file, or something unknown, is met.
    pub(super) fn add_child(&mut self, child: &Child) {
        match child.capability() {
            None => self.unknown += 1,
            Some(Capability::Literal(cap)) => {
                self.literal_files += 1;
                self.size_literal_files = self.size_literal_files.saturating_add(cap.size());
                self.add_size(cap.size());
            }
            Some(Capability::Chk(cap)) => self.add_immutable(cap.size),
            Some(Capability::ChkVerify(cap)) => self.add_immutable(cap.size),
            Some(_) => self.mutable_files += 1,
        }
    }

    fn add_immutable(&mut self, size: u64) {
        self.immutable_files += 1;
        self.size_immutable_files = self.size_immutable_files.saturating_add(size);
        self.largest_immutable_file = self.largest_immutable_file.max(size);
        self.add_size(size);
    }

    fn add_size(&mut self, size: u64) {
        let number = (0..BUCKETS_MAX).find(|number| size <= bucket(*number).1).unwrap_or(BUCKETS_MAX);
        *self.sizes.entry(number).or_default() += 1;
    }
}

/// Number of the bucket that takes all that is larger than any file.
const BUCKETS_MAX: u32 = 39;

/// The least and the largest size in a bucket: (0, 0), (1, 3), (4, 10), (11, 31), (32, 100) and so on. The
/// largest are the powers of the root of ten, cut to whole bytes.
fn bucket(number: u32) -> (u64, u64) {
    let most = |number: u32| match number {
        0 => 0,
        number if number >= BUCKETS_MAX => u64::MAX,
        // Of an odd power, the root of the power of ten.
        number => 10_u128.pow(number).isqrt() as u64,
    };
    let least = if number == 0 { 0 } else { most(number - 1) + 1 };
    (least, most(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_the_peer() {
        let known = [(0, 0), (1, 3), (4, 10), (11, 31), (32, 100), (101, 316), (317, 1000), (1001, 3162)];
        for (number, known) in known.into_iter().enumerate() {
            assert_eq!(bucket(number as u32), known);
        }
    }

    #[test]
    fn every_size_has_its_bucket() {
        for size in [0, 1, 3, 4, 10, 11, 999, 1000, 1001, 1 << 40, 10_u64.pow(19), u64::MAX] {
            let mut stats = TreeStats::default();
            stats.add_size(size);
            let all: alloc::vec::Vec<_> = stats.sizes().collect();
            assert!(
                matches!(all[..], [(least, most, 1)] if (least..=most).contains(&size)),
                "{size} {all:?}"
            );
        }
    }
}
