//! What a disk is like, and what it has done to what was to be kept.

use serde::{Deserialize, Serialize};

/// How a disk lies about durability; what must make runs fail.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Lie {
    /// It does not.
    #[default]
    None,
    /// `Sync` and `SyncName` do nothing.
    NoSync,
    /// `Sync` does nothing, `SyncName` works.
    NoContentSync,
    /// `SyncName` does nothing, `Sync` works.
    NoNameSync,
    /// Both are reported done at once and take effect seconds later, as if the server had answered
    /// before them.
    Late,
}

/// What a disk is like.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskSettings {
    /// Bytes it holds.
    pub capacity: u64,
    /// How it lies.
    pub lie: Lie,
    /// One in this many syncs fails and loses what it was to sync; 0 for none.
    pub sync_failures: u64,
    /// One in this many writes fails; 0 for none.
    pub write_failures: u64,
    /// One in this many reads fails; 0 for none.
    #[serde(default)]
    pub read_failures: u64,
    /// One in this many reads of whole shares ends early, as if the file did; 0 for none.
    #[serde(default)]
    pub short_reads: u64,
}

impl Default for DiskSettings {
    fn default() -> DiskSettings {
        DiskSettings {
            capacity: 1 << 40,
            lie: Lie::None,
            sync_failures: 0,
            write_failures: 0,
            read_failures: 0,
            short_reads: 0,
        }
    }
}

/// What a power cut did to a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Damage {
    /// Blocks that went back to what they were.
    pub blocks_lost: u64,
    /// Blocks of which a part is new and the rest old.
    pub blocks_torn: u64,
    /// Changes of names that never happened.
    pub names_lost: u64,
    /// Immutable shares that have their final name, and not all of their data.
    pub shares_torn: u64,
}

/// What a disk did not do, or not as it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Refused {
    /// Syncs that failed.
    pub syncs: u64,
    /// Writes that failed.
    pub writes: u64,
    /// Writes there was no room for.
    pub full: u64,
    /// Reads that failed.
    pub reads: u64,
    /// Reads that ended early.
    pub short: u64,
    /// Writes that went somewhere else.
    pub misdirected: u64,
}
