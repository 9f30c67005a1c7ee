//! What happened in a world, as a person wants to see it: who said what to whom, what went wrong, when.

use crate::NodeId;
use core::time::Duration;
use tallac_core::storage::protocol::StorageRequest;
use tallac_core::wire::{Frame, Kind, Message};

/// More messages than this are counted, but not kept.
const SAID_MAX: usize = 30_000;

/// A world's history.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// The nodes, by number.
    pub names: Vec<String>,
    /// What nodes said to each other, by when it arrived.
    pub said: Vec<Said>,
    /// How many messages more there were.
    pub left_out: u64,
    /// What happened otherwise, by time.
    pub marks: Vec<Mark>,
}

/// A message that arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// Who sent it.
    pub from: NodeId,
    /// Who got it.
    pub to: NodeId,
    /// When it was given to the connection.
    pub sent: Duration,
    /// When all of it was there.
    pub arrived: Duration,
    /// What it is.
    pub what: String,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// When.
    pub at: Duration,
    /// What kind of thing it is.
    pub kind: MarkKind,
    /// The node it happened to, if it is about one.
    pub node: Option<NodeId>,
    /// In words.
    pub text: String,
}

/// What kind of thing happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum MarkKind {
    /// A program asked for something.
    Operation,
    /// A fault, or its end.
    Fault,
    /// A node went up.
    Up,
    /// A node went down.
    Down,
    /// A node stands still.
    Paused,
    /// It goes on.
    Resumed,
    /// Something is found wrong.
    Wrong,
}

impl Record {
    pub(crate) fn said(&mut self, said: Said) {
        if self.said.len() < SAID_MAX { self.said.push(said) } else { self.left_out += 1 }
    }
}

/// What a frame is, in a word or two; `None` for what only keeps a connection alive.
pub(crate) fn name_of(frame: &Frame) -> Option<String> {
    let message = Message::open(frame.clone()).ok()?;
    match message.envelope.kind {
        Kind::Ping | Kind::Pong => None,
        Kind::Request => {
            let body = message.body::<StorageRequest>().map(|body| format!("{body:?}")).unwrap_or_default();
            let name = body.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            Some(format!("{name} #{}", message.envelope.id))
        }
        kind => Some(format!("{kind:?} #{}", message.envelope.id)),
    }
}
