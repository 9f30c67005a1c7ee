//! The kinds of faults that a run may have. Each is on or off for a whole run, drawn from its seed:
//! runs that have some kinds and not others find more than runs that have a little of everything.

use crate::chance::Chance;
use core::fmt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

macro_rules! faults {
    ($($name:ident: $text:literal,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub enum Fault {
            $(#[doc = $text] $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Fault] = &[$(Fault::$name,)*];

            /// What it is, in words.
            pub fn text(self) -> &'static str {
                match self {
                    $(Fault::$name => $text,)*
                }
            }
        }
    };
}

faults! {
    Breaks: "connections break",
    Partitions: "some nodes are cut off from the others",
    OneWay: "some nodes are not heard by the others",
    Swizzle: "nodes are cut off one after another, and rejoin in another order",
    Drip: "a server sends a byte a minute",
    Crashes: "nodes are killed or lose power",
    Blackouts: "all servers lose power at once",
    Pauses: "nodes stand still",
    Backups: "a server's disk is replaced with an old copy of itself",
    LostDisks: "a server comes back with an empty disk",
    LostIdentities: "a server comes back as another, its disk intact",
    SyncFailures: "syncs fail and lose what they were to sync",
    WriteFailures: "writes fail",
    ReadFailures: "reads fail",
    FullDisks: "disks are full for a while",
    SlowDisks: "disks are slow for a while",
    BitRot: "bytes of whole shares rot",
    Misdirected: "a write lands in another file",
    ShortFiles: "a whole share is cut short",
    Skews: "dates jump",
    Versions: "nodes of a later version add fields and messages",
    Altered: "a server alters what is read from it",
    WrongShares: "a server gives out other shares than it is asked for",
    Deaf: "a server says that it has stored what it threw away",
    Silent: "a server accepts connections and answers nothing",
    Unasked: "a server answers questions that nobody asked",
    Twins: "two machines have one identity",
    FalseIntroducer: "an introducer forges, replays and withholds announcements",
    Attacks: "a client writes to what is not its own, squats, leaves uploads half-open, talks nonsense",
    OldVersions: "a server shows old versions of mutable files",
    ShortReads: "reads of whole shares end early",
}

impl Fault {
    /// Whether a server that it strikes may lose or falsify whole shares for good. At most as many
    /// servers are struck by such faults as every acknowledged file can lose.
    pub fn costs_shares(self) -> bool {
        use Fault::*;
        matches!(
            self,
            Drip | Backups
                | LostDisks
                | LostIdentities
                | BitRot
                | Misdirected
                | ShortFiles
                | ShortReads
                | Altered
                | WrongShares
                | Deaf
                | Silent
                | Unasked
                | OldVersions
                | Twins
        )
    }
}

impl Fault {
    /// Whether a server that it strikes may forget or falsify what it said it has: one that is silent or slow
    /// does not.
    pub fn costs_memory(self) -> bool {
        self.costs_shares() && !matches!(self, Fault::Drip | Fault::Silent | Fault::Unasked)
    }
}

/// The kinds of faults of a run.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Faults(BTreeSet<Fault>);

impl Faults {
    /// Each is on in half of the runs; those in `always` are on in all.
    pub fn draw(chance: &mut Chance, always: &[Fault]) -> Faults {
        let drawn = Fault::ALL.iter().copied().filter(|_| chance.one_in(2)).collect::<BTreeSet<Fault>>();
        Faults(drawn.into_iter().chain(always.iter().copied()).collect())
    }

    /// Without this kind.
    pub(crate) fn take_out(&mut self, fault: Fault) {
        self.0.remove(&fault);
    }

    /// Whether runs have this kind.
    pub fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    /// The kinds that are on.
    pub fn iter(&self) -> impl Iterator<Item = Fault> + '_ {
        self.0.iter().copied()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault:?}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}
