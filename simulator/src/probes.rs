//! What should happen sometimes, in some run of many: a list, so that what never does can be named.
//!
//! A simulator that never reaches a path does not test it, however many seeds it runs. Each rare thing
//! that a run can show is declared here and counted where it happens.

use std::collections::BTreeMap;

macro_rules! probes {
    ($($name:ident: $text:literal,)*) => {
        /// Something that should happen in some run.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Probe {
            $(#[doc = $text] $name,)*
        }

        impl Probe {
            /// All of them.
            pub const ALL: &'static [Probe] = &[$(Probe::$name,)*];

            /// What it counts, in words.
            pub fn text(self) -> &'static str {
                match self {
                    $(Probe::$name => $text,)*
                }
            }
        }
    };
}

probes! {
    PutsDone: "puts that succeeded",
    PutsFailed: "puts that failed",
    PutsCancelled: "cancelled puts",
    PutsInSpite: "puts that succeeded in spite of trouble",
    PutsElsewhere: "puts whose shares went elsewhere than planned",
    PutsInPlace: "puts that found shares in place",
    PutsFullServer: "puts that met a server without room",
    PutsSilentServer: "puts that met a silent server",
    PutsBadShare: "puts that saw through a bad share in place",
    GetsDone: "gets that succeeded",
    GetsFailed: "gets that failed",
    GetsCancelled: "cancelled gets",
    Connects: "connections asked for",
    Declined: "connections declined",
    Broken: "connections broken",
    Held: "parcels held back by partitions",
    Ungranted: "reads that waited for a grant",
    InParts: "frames in parts",
    NetworkBytes: "bytes through the network",
    Blackouts: "blackouts",
    BlackoutsAtAck: "blackouts at an acknowledgement",
    Pauses: "pauses",
    Partitions: "partitions",
    PartitionsOneWay: "partitions in one direction",
    SlowDisks: "disks that became slow",
    FullDisks: "disks that became full",
    Skews: "clocks set wrong",
    Rotten: "shares that rotted",
    BlocksLost: "blocks lost in power cuts",
    BlocksTorn: "blocks torn in power cuts",
    NamesLost: "names lost in power cuts",
    CutsWithinAction: "power cuts between two steps of a disk action",
    CutsBeforeNameSync: "power cuts between a rename and the sync of its name",
    SyncsFailed: "syncs that failed",
    WritesFailed: "writes that failed",
    WritesFull: "writes that a full disk refused",
    ReadsFailed: "reads that failed",
    ReadsCutShort: "reads that ended early",
    Misdirected: "writes that landed in another file",
    SharesCutShort: "shares that were cut short",
    Swizzles: "nodes cut off one after another",
    Drips: "servers that sent a byte a minute",
    BackupsRestored: "disks replaced with an old copy",
    DisksLost: "disks that were lost",
    IdentitiesLost: "identities that were lost",
    Twins: "identities that two machines had",
    LaterVersions: "connections of a later version",
    AnswersAltered: "answers with a byte altered",
    AnswersUnasked: "answers that nobody asked for",
    AnswersWithheld: "answers withheld",
    WritesThrownAway: "writes acknowledged and thrown away",
    WrongSharesGiven: "reads answered with other bytes",
    AnswersOld: "reads of slots answered with an old version",
    AnnouncementsForged: "announcements forged",
    AnnouncementsReplayed: "announcements replayed",
    AnnouncementsWithheld: "announcements withheld",
    ForeignWrites: "attacks on the uploads and slots of others",
    Squats: "storage indexes squatted",
    HalfOpen: "uploads left half-open by a hostile client",
    Nonsense: "requests that make no sense",
    FalseAlarms: "reports of damage that is not there",
    Floods: "more sent to a server than it lets one client have unanswered",
    DirectoriesMade: "directories made",
    MutableFilesMade: "mutable files made",
    MakesFailed: "directories and mutable files that could not be made",
    ChangesDone: "changes of directories and mutable files acknowledged",
    ChangesInSpite: "changes acknowledged in spite of trouble",
    ChangesTooFew: "changes refused because too few servers took part",
    ChangesUnreadable: "changes refused because what was there could not be read",
    ChangesFailed: "changes that failed otherwise",
    ChangesCancelled: "changes of directories and mutable files given up",
    ChangesCrashed: "changes and reads of nodes that went down",
    LooksDone: "directories read",
    LooksOutdated: "directories read in an older version",
    LooksFailed: "reads of directories and mutable files that failed",
    LooksCancelled: "reads of directories and mutable files given up",
    MutableReads: "mutable files read",
    TooManyShares: "directories and mutable files that two writers at once can make unreadable",
    DirectoriesJudged: "directories and mutable files that must have all that was acknowledged",
    SlotsShut: "servers with a slot that their disk had shut",
    Notices: "lines for logs",
    FrozenServers: "servers left as they were while the core was healed",
    CoreReads: "files read from the healed core alone",
    SlotWrites: "slot writes acknowledged",
    SlotWritesCutOff: "slot writes cut off",
    SlotsAsAcknowledged: "slots seen as acknowledged",
    SlotsAsCutOff: "slots changed by a write that was cut off",
    SlotDiskFailures: "slot requests that the disk failed",
    SlotsRedone: "slot changes completed by the last start",
}

/// How often what happened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts(BTreeMap<Probe, u64>);

impl Counts {
    /// How often something happened.
    pub fn of(&self, probe: Probe) -> u64 {
        self.0.get(&probe).copied().unwrap_or_default()
    }

    /// It happened so many times more.
    pub fn add(&mut self, probe: Probe, times: u64) {
        if times > 0 {
            *self.0.entry(probe).or_default() += times;
        }
    }

    /// Adds up.
    pub fn merge(&mut self, other: &Counts) {
        other.0.iter().for_each(|(probe, times)| self.add(*probe, *times));
    }

    /// What never happened.
    pub fn never(&self) -> impl Iterator<Item = Probe> + '_ {
        Probe::ALL.iter().copied().filter(|probe| self.of(*probe) == 0)
    }

    /// What happened, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Probe, u64)> + '_ {
        self.0.iter().map(|(probe, times)| (*probe, *times))
    }
}
