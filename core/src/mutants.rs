//! Defects that can be put into the core while it runs, to see whether tests find them.
//!
//! Most are bugs that storage systems had, Tahoe-LAFS first of all, or promises of `ARCHITECTURE.md`
//! broken. One build holds all of them; which one is in is chosen at run time, for the whole process.
//! The feature `mutants` is for the simulator's tests only: without it every question is answered with
//! a constant and the compiler leaves the defects out.

macro_rules! mutants {
    ($($name:ident $word:literal: $text:literal,)*) => {
        /// A defect.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Mutant {
            $(#[doc = $text] $name,)*
        }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Mutant] = &[$(Mutant::$name,)*];

            /// What it is called.
            pub fn name(self) -> &'static str {
                match self {
                    $(Mutant::$name => $word,)*
                }
            }

            /// What is wrong with it, in words.
            pub fn text(self) -> &'static str {
                match self {
                    $(Mutant::$name => $text,)*
                }
            }
        }
    };
}

mutants! {
    Canary "canary": "a download alters the first byte of each segment",
    ShareUnsynced "share-unsynced": "a share is acknowledged, its content not synced",
    ShareNameUnsynced "share-name-unsynced": "a share is acknowledged, its name not synced",
    RenameFirst "rename-first": "a share gets its name before its content is synced",
    SyncTriedAgain "sync-tried-again": "a sync that failed is tried again, and believed then",
    FullDiskIgnored "full-disk-ignored": "a write that a full disk refused counts as done",
    IdleKept "idle-kept": "uploads that were left half-open are kept for ever",
    LeaseSecretsShared "lease-secrets-shared": "all servers are given the same lease secrets",
    HappinessOfAnswers "happiness-of-answers": "no more happiness is wanted than servers answer",
    ShareCountedTwice "share-counted-twice": "a share on two servers counts as two in happiness",
    BlockUnchecked "block-unchecked": "a block is not compared with its hash",
    NothingChecked "nothing-checked": "neither blocks nor segments are compared with their hashes",
    GrantIgnored "grant-ignored": "a download delivers more than was granted",
    TestsSkipped "tests-skipped": "a write to a slot does not look whether its tests hold",
    PatchedInPlace "patched-in-place": "shares of a slot are changed in place, without a record",
    BesideUnsynced "beside-unsynced": "a slot's share written beside gets its name unsynced",
    RecordUnsynced "record-unsynced": "a redo record is not synced before the change begins",
    RecordRemovalUnsynced "record-removal-unsynced": "a redo record is removed, but not for good",
    RecordIgnored "record-ignored": "a start throws redo records away",
    HappinessIgnored "happiness-ignored": "an upload is acknowledged as soon as one share is placed",
    PromiseKept "promise-kept": "the space promised to an upload that was given up is never free again",
    CancelIgnored "cancel-ignored": "an upload that was cancelled is not given up",
    SpoolKept "spool-kept": "plaintext spooled for an upload stays on the disk",
    Unencrypted "unencrypted": "segments of immutable files are not encrypted",
    AnnouncementUnchecked "announcement-unchecked": "signatures of announcements are not checked",
    RangeCut "range-cut": "a download ends one byte early if it ends within a segment",
    OldVersionRead "old-version-read": "of the versions of a mutable file the oldest is read",
    QuorumOfHalf "quorum-of-half": "half of the servers that have a say are enough for a change",
    AcceptedByOne "accepted-by-one": "a change counts once one server has accepted it",
    OutsidersCounted "outsiders-counted": "servers without a say count when a change is decided",
    FullForgotten "full-forgotten": "full servers that are silent have no say, though they may hold shares",
    NewcomersTrusted "newcomers-trusted": "servers that have just come are given shares, and a say, like all others",
    RecordsForgotten "records-forgotten": "after a torn redo record a start looks at no other",
    WrittenForgotten "written-forgotten": "an edit that is given up is taken out of those being written",
    RivalIgnored "rival-ignored": "a reader does not wait for who decides between two versions with one number",
}

#[cfg(feature = "mutants")]
mod chosen {
    use super::Mutant;
    use core::sync::atomic::{AtomicUsize, Ordering};

    /// None, or one more than a mutant's place.
    static CHOSEN: AtomicUsize = AtomicUsize::new(0);

    /// Puts one defect in, for the whole process, or takes it out.
    pub fn choose(mutant: Option<Mutant>) {
        CHOSEN.store(mutant.map_or(0, |mutant| mutant as usize + 1), Ordering::SeqCst);
    }

    pub(crate) fn is_in(mutant: Mutant) -> bool {
        CHOSEN.load(Ordering::Relaxed) == mutant as usize + 1
    }
}

#[cfg(feature = "mutants")]
pub use chosen::choose;
#[cfg(feature = "mutants")]
pub(crate) use chosen::is_in;

/// Whether this defect is in: never, in this build.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn is_in(_: Mutant) -> bool {
    false
}
