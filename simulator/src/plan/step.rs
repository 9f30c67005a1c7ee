//! What may happen in a run.

use crate::Crash;
use crate::changes::{Alteration, Thing};
use crate::form::{self, KeyChoiceForm, MutableFormatForm};
use crate::hostile::{Attack, Hostility};
use core::time::Duration;
use serde::{Deserialize, Serialize};
use tallac_core::capability::MutableFormat;
use tallac_core::operation::KeyChoice;

/// Which node a step is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Who {
    /// An introducer.
    Introducer(u16),
    /// A storage server.
    Server(u16),
    /// A client.
    Client(u16),
}

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Step {
    /// A client puts a file; `seed` and `len` are its content.
    Put {
        /// Which client.
        client: u16,
        /// The content's seed.
        seed: u64,
        /// The content's length in bytes.
        len: u64,
        /// How the key comes about.
        #[serde(with = "KeyChoiceForm")]
        key: KeyChoice,
        /// The length is announced.
        tell_len: bool,
    },
    /// A client gets a range of a file that is stored by then.
    Get {
        /// Which client.
        client: u16,
        /// Chooses among the files stored.
        pick: u64,
        /// The whole file; else a range chosen by `pick`.
        whole: bool,
    },
    /// A client makes a directory or a mutable file.
    Make {
        /// Which client.
        client: u16,
        /// What.
        thing: Thing,
        /// How its shares are laid out.
        #[serde(with = "MutableFormatForm")]
        format: MutableFormat,
        /// The seed of its first content, if it is a file.
        seed: u64,
        /// The length of that in bytes.
        len: u64,
    },
    /// A client changes a directory or a mutable file that is made by then.
    Alter {
        /// Which client.
        client: u16,
        /// Chooses among those made.
        pick: u64,
        /// How.
        how: Alteration,
        /// Chooses names and children; the content's seed.
        seed: u64,
        /// The length of the content in bytes, if it is a file.
        len: u64,
    },
    /// A client reads a directory or a mutable file that is made by then.
    Look {
        /// Which client.
        client: u16,
        /// Chooses among those made.
        pick: u64,
    },
    /// A client gives up one of its operations.
    Cancel {
        /// Which client.
        client: u16,
        /// Chooses among its operations.
        pick: u64,
    },
    /// A node goes down and comes back after a while.
    Crash {
        /// Which.
        who: Who,
        /// How.
        how: Crash,
        /// How long it is down.
        #[serde(with = "form::seconds")]
        down: Duration,
    },
    /// All servers lose power at once, and come back.
    Blackout {
        /// How long they are down.
        #[serde(with = "form::seconds")]
        down: Duration,
    },
    /// All servers lose power at the instant of the next acknowledged upload.
    BlackoutAtAck {
        /// How long they are down.
        #[serde(with = "form::seconds")]
        down: Duration,
    },
    /// A node stands still for a while.
    Pause {
        /// Which.
        who: Who,
        /// How long.
        #[serde(with = "form::seconds")]
        pause: Duration,
    },
    /// Some connections break.
    Break {
        /// How many.
        count: u64,
        /// Chooses among them.
        pick: u64,
    },
    /// Some servers and clients are cut off from the others, or cannot be heard by them.
    Partition {
        /// Chooses the nodes, a bit each.
        sides: u64,
        /// Only one direction is cut.
        one_way: bool,
        /// How long.
        #[serde(with = "form::seconds")]
        pause: Duration,
    },
    /// A server's disk is slow for a while.
    SlowDisk {
        /// Which server.
        server: u16,
        /// How many times as long everything takes.
        factor: u32,
        /// How long.
        #[serde(with = "form::seconds")]
        pause: Duration,
    },
    /// The disks of some servers have room for only this many more bytes for a while.
    FullDisks {
        /// Chooses the servers, a bit each.
        sides: u64,
        /// Bytes left.
        room: u64,
        /// How long.
        #[serde(with = "form::seconds")]
        pause: Duration,
    },
    /// A node's date jumps.
    Skew {
        /// Which.
        who: Who,
        /// Seconds ahead, or behind.
        seconds: i64,
    },
    /// Bytes of a whole share rot, on one of the servers that may lose shares.
    Rot {
        /// Chooses file, server and byte.
        pick: u64,
    },
    /// A whole share is cut short, on one of the servers that may lose shares.
    CutShort {
        /// Chooses file, server and length.
        pick: u64,
    },
    /// The next write to a share in progress lands in another file of the server.
    Misdirect {
        /// Which server.
        server: u16,
    },
    /// Nodes are cut off one after another, and rejoin in another order.
    Swizzle {
        /// Chooses the nodes, a bit each, and the order in which they rejoin.
        sides: u64,
        /// From one to the next.
        #[serde(with = "form::seconds")]
        gap: Duration,
    },
    /// Reads of a server's shares end early, now and then, for a while.
    ShortReads {
        /// Which server.
        server: u16,
        /// One in so many.
        one_in: u64,
        /// How long.
        #[serde(with = "form::seconds")]
        pause: Duration,
    },
    /// A server sends a byte a minute for a while.
    Drip {
        /// Which server.
        server: u16,
        /// How long.
        #[serde(with = "form::seconds")]
        pause: Duration,
    },
    /// A server's disk is copied.
    Backup {
        /// Which server.
        server: u16,
    },
    /// A server goes down and comes back with the copy of its disk, if there is one.
    Restore {
        /// Which server.
        server: u16,
        /// How long it is down.
        #[serde(with = "form::seconds")]
        down: Duration,
    },
    /// A server goes down and comes back with an empty disk.
    LoseDisk {
        /// Which server.
        server: u16,
        /// How long it is down.
        #[serde(with = "form::seconds")]
        down: Duration,
    },
    /// A server goes down and comes back as another one, with the disk it had.
    LoseIdentity {
        /// Which server.
        server: u16,
        /// How long it is down.
        #[serde(with = "form::seconds")]
        down: Duration,
    },
    /// A second machine comes up with the identity of a server, and a disk of its own.
    Twin {
        /// Which server.
        server: u16,
    },
    /// A server is hostile from now on.
    Hostile {
        /// Which server.
        server: u16,
        /// How.
        how: Hostility,
    },
    /// A node speaks a later version from now on.
    LaterVersion {
        /// Which.
        who: Who,
    },
    /// An introducer is hostile from now on.
    FalseIntroducer {
        /// Which.
        introducer: u16,
    },
    /// A hostile client, which is no other, attacks all servers that it has connections to.
    Attack {
        /// Chooses the file that it is about.
        pick: u64,
        /// What it does.
        kind: Attack,
    },
}
