//! The contract between the core and whoever runs it.
//!
//! Every machine has the same three methods; knowing one is knowing all.

use crate::disk::{DiskResult, DiskStep};
use crate::job::{Job, JobOutput};
use crate::nurl::{Address, Pin};
use crate::operation::{Command, Report};
use crate::payload::Payload;
use crate::time::{Instant, Now};
use crate::wire::Frame;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A state machine without I/O.
///
/// # The driving loop
///
/// ```text
/// loop {
///     while let Some(action) = machine.poll_action() { start(action) }
///     let event = wait_for_event_until(machine.deadline()).unwrap_or(wake);
///     machine.handle(event, now());
/// }
/// ```
///
/// The one rule a driver must know: **after every `handle`, take actions until there is none**, in
/// order. Actions may be carried out in any order and at the same time, with two exceptions: what
/// is sent on one connection goes out in the order given, and the steps of one disk action run one
/// after another.
///
/// An action that can finish carries an id, and its outcome, failure included, comes back as an
/// event with that id, exactly once. A driver decides nothing: it does not retry, does not give
/// up, and has no time-outs of its own.
pub trait Machine {
    /// What can happen to it.
    type Event;
    /// What it asks for.
    type Action;

    /// Takes in one event at the time `now`, which never runs backwards.
    fn handle(&mut self, event: Self::Event, now: Now);

    /// The next thing to do; `None` until the next event.
    fn poll_action(&mut self) -> Option<Self::Action>;

    /// When to come back with a wake-up event if nothing else happens. Computed from the state
    /// without side effects; `None` means never.
    fn deadline(&self) -> Option<Instant>;
}

/// A connection. The two sides number theirs apart: the host those it accepted, the machine those
/// it asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ConnId {
    /// Accepted by the host.
    Inbound(u64),
    /// Asked for by the machine.
    Outbound(u64),
}

/// Names a disk action or a job, so that its outcome finds the way back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ActionId(pub u64);

/// What an accepted connection speaks, as the host's listener found out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// TLS with ALPN `tallac/1`: frames.
    Tallac,
    /// The web port: raw bytes of HTTP.
    Web,
}

/// Why a connection is no more, or never came to be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CloseReason {
    /// The other side closed it, or it was closed on request.
    Ended,
    /// Nobody listens there.
    Refused,
    /// The address cannot be resolved or reached.
    Unreachable(String),
    /// The other side's certificate has another key than the pin says.
    WrongKey,
    /// The TLS handshake failed, or the other side does not speak our protocol.
    Handshake(String),
    /// What came in is no frame: too long, or cut off.
    BadFrame(String),
    /// The connection broke.
    Lost(String),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Ended => f.write_str("the connection was closed"),
            CloseReason::Refused => f.write_str("nobody listens at that address"),
            CloseReason::Unreachable(why) => write!(f, "the address cannot be reached ({why})"),
            CloseReason::WrongKey => f.write_str("the certificate does not have the key that the furl names"),
            CloseReason::Handshake(why) => write!(f, "the TLS handshake failed ({why})"),
            CloseReason::BadFrame(why) => write!(f, "what came in is not our protocol ({why})"),
            CloseReason::Lost(why) => write!(f, "the connection broke ({why})"),
        }
    }
}

/// What can happen to a node.
#[derive(Clone, Hash, Debug)]
pub enum Event {
    /// The deadline has come.
    Wake,
    /// Somebody connected.
    Accepted {
        /// The new connection.
        conn: ConnId,
        /// What it speaks.
        protocol: Protocol,
        /// The other side's address, for people to read.
        from: String,
    },
    /// A connection asked for stands: TLS is up and the pin is right.
    Connected {
        /// The connection.
        conn: ConnId,
    },
    /// A connection is no more. No event of it follows.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// A whole frame came in on a `Tallac` connection.
    Frame {
        /// The connection.
        conn: ConnId,
        /// The frame.
        frame: Frame,
    },
    /// Part of a long frame came in: the other side is alive ([`crate::wire::FrameDecoder`]
    /// says when to report this).
    Partial {
        /// The connection.
        conn: ConnId,
    },
    /// Bytes came in on a `Web` connection.
    Received {
        /// The connection.
        conn: ConnId,
        /// The bytes.
        data: Payload,
    },
    /// The other side of a `Web` connection sends no more.
    ReceivedEnd {
        /// The connection.
        conn: ConnId,
    },
    /// Bytes given to `Send` or `SendBytes` have left the process.
    Sent {
        /// The connection.
        conn: ConnId,
        /// How many, in the measure of [`Frame::len`].
        bytes: u64,
    },
    /// A disk action is over.
    DiskDone {
        /// Which.
        id: ActionId,
        /// How.
        result: DiskResult,
    },
    /// A job is over.
    JobDone {
        /// Which.
        id: ActionId,
        /// How.
        output: JobOutput,
    },
    /// The embedding program wants something.
    Command(Command),
}

/// What a node asks of its host.
#[derive(Clone, Hash, Debug)]
pub enum Action {
    /// Connect, speak TLS 1.3 with ALPN `tallac/1`, check the key against the pin. Answered by
    /// `Connected` or `Closed`.
    Connect {
        /// The number of the new connection.
        conn: ConnId,
        /// Where to.
        address: Address,
        /// SHA-256 of the public key info that the other side's certificate must have.
        pin: Pin,
    },
    /// Send a frame.
    Send {
        /// The connection.
        conn: ConnId,
        /// What.
        frame: Frame,
    },
    /// Send raw bytes on a `Web` connection.
    SendBytes {
        /// The connection.
        conn: ConnId,
        /// What.
        data: Payload,
    },
    /// Allow this many more bytes to be read from a connection. It starts with nothing granted;
    /// a host may read a frame to its end once any grant is left.
    Grant {
        /// The connection.
        conn: ConnId,
        /// How many more bytes.
        bytes: u64,
    },
    /// Close a connection after everything given to `Send` has gone out. Answered by `Closed`.
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// Drop a connection at once. Answered by `Closed`.
    Abort {
        /// The connection.
        conn: ConnId,
    },
    /// Run steps on the disk, in order, until one fails. Answered by `DiskDone`.
    Disk {
        /// Names the answer.
        id: ActionId,
        /// The steps.
        steps: Vec<DiskStep>,
    },
    /// Compute something heavy, off the machine's thread. Answered by `JobDone`.
    Job {
        /// Names the answer.
        id: ActionId,
        /// What to compute.
        job: Job,
    },
    /// Tell the embedding program.
    Report(Report),
}
