//! How long a client may keep the node waiting.
//!
//! Silence ends a connection, and so does trickling: each byte buys only a little time, so that a client
//! that sends or reads one now and then (a "slow loris") is cut hardly later than one that is silent. A line
//! that brings half a kilobyte in a second is quick enough for everything.

use std::time::Duration;
use tallac_core::time::Instant;

/// What a byte buys: with 100 bytes in a second a connection lives for as long as it likes.
const PACE: Duration = Duration::from_millis(10);
/// How long a client may be silent in the middle of a request, or idle between two.
const SENDER: Duration = Duration::from_secs(120);
/// How long a client may leave a response unread.
const READER: Duration = Duration::from_secs(600);

/// What is left of the patience with one client, for what it is to do now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    turn: Turn,
    /// It is as if nothing had been done since.
    since: Instant,
}

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// The client is to send a request, or more of one.
    Sender,
    /// The client is to read.
    Reader,
    /// The node has something to do.
    Node,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Patience {
        Patience { turn: Turn::Sender, since: now }
    }

    /// It is known anew whose turn it is. Who gets it begins with all of the patience.
    pub(super) fn turn(&mut self, turn: Turn, now: Instant) {
        if self.turn != turn {
            *self = Patience { turn, since: now };
        }
    }

    /// All of a request has come, or of its head.
    pub(super) fn renew_for_sender(&mut self, now: Instant) {
        if self.turn == Turn::Sender {
            self.since = now;
        }
    }

    /// Time was up, and what was to be done about it is done.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.since = now;
    }

    /// So many bytes were sent by who was to send, or read by who was to read.
    pub(super) fn earn(&mut self, turn: Turn, bytes: u64, now: Instant) {
        if self.turn == turn {
            let bought = PACE.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX));
            self.since = (self.since + bought).min(now);
        }
    }

    /// For how long nothing has been done, more or less.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// When it ends.
    pub(super) fn ends(&self) -> Option<Instant> {
        match self.turn {
            Turn::Sender => Some(self.since + SENDER),
            Turn::Reader => Some(self.since + READER),
            Turn::Node => None,
        }
    }
}
