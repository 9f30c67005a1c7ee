//! One outgoing connection to a service: made, greeted, watched, made again.
//!
//! ```text
//! Down ──connect──▶ Connecting ──welcome──▶ Up
//!   ▲                   │ every address failed, or patience ran out
//!   └───────────────────┴──────────◀── closed, or a ping went unanswered ── Up
//! ```

use crate::io::Io;
use crate::limits::{CONNECT_PATIENCE, PEER_WINDOW};
use crate::machine::{CloseReason, ConnId};
use crate::nurl::Service;
use crate::payload::Payload;
use crate::time::{Instant, Now};
use crate::wire::{Frame, Hello, Kind, Message, PROTOCOL_VERSION, Refusal, ServiceKind, Welcome};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use serde::Serialize;

/// An idle connection is pinged this often.
const PING_AFTER: Duration = Duration::from_secs(30);
/// A ping unanswered for this long means the other side is gone.
pub(super) const PONG_PATIENCE: Duration = Duration::from_secs(15);
/// Pings of the other side that follow each other faster than this are no pings.
const PINGS_APART: Duration = Duration::from_secs(1);
/// The first pause before a failed connection is tried again; doubled each time, jittered.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The longest pause.
const RETRY_LONGEST: Duration = Duration::from_secs(120);
/// A connection that stood for this long was a good one: the pauses begin anew after it.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// Why there is no connection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LinkError {
    /// It could not be made, or it broke.
    Closed(CloseReason),
    /// Nobody greeted back in time.
    Silent,
    /// The other side declined.
    Refused(Refusal),
    /// The other side says what the protocol does not allow.
    Misbehaved(&'static str),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Closed(reason) => reason.fmt(f),
            LinkError::Silent => {
                write!(f, "it did not answer within {} seconds", CONNECT_PATIENCE.as_secs())
            }
            LinkError::Refused(refusal) => refusal.fmt(f),
            LinkError::Misbehaved(how) => write!(f, "it broke the protocol: {how}"),
        }
    }
}

/// How a connection stands, for people.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LinkStatus {
    /// Not connected; why, if it was tried.
    Down(Option<LinkError>),
    /// Being made.
    Connecting,
    /// It stands.
    Up {
        /// Since when.
        since: Instant,
        /// The other side's program and version.
        program: String,
    },
}

/// What happened on a connection.
pub(crate) enum ConnEvent {
    Connected,
    Closed(CloseReason),
    Frame(Frame),
    Partial,
    /// So many bytes have left.
    Sent(u64),
}

/// What a link tells its owner.
pub(crate) enum LinkEvent {
    Up,
    Down(LinkError),
    Message(Message),
}

pub(crate) struct Link {
    service: Service,
    kind: ServiceKind,
    program: String,
    state: State,
    failures: u32,
    retry_at: Option<Instant>,
    last_error: Option<LinkError>,
    /// Since when it has not stood, if it was tried.
    down_since: Option<Instant>,
    /// When it was last tried to connect.
    tried_at: Instant,
    /// When the last ping of the other side was answered.
    ponged: Option<Instant>,
}

enum State {
    Down,
    /// Every address is tried at once; the first that welcomes us wins. `true`: TLS stands.
    Connecting {
        since: Instant,
        tries: BTreeMap<ConnId, bool>,
    },
    Up {
        conn: ConnId,
        since: Instant,
        program: String,
        last_heard: Instant,
        /// A ping is under way and must be answered by then.
        pong_due: Option<Instant>,
    },
}

impl Link {
    pub(crate) fn new(service: Service, kind: ServiceKind, program: String) -> Link {
        Link {
            service,
            kind,
            program,
            state: State::Down,
            failures: 0,
            retry_at: None,
            last_error: None,
            down_since: None,
            tried_at: Instant::ZERO,
            ponged: None,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    pub(crate) fn is_down(&self) -> bool {
        matches!(self.state, State::Down)
    }

    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    pub(crate) fn last_error(&self) -> Option<&LinkError> {
        self.last_error.as_ref()
    }

    /// When a link that is down wants to be tried again.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Since when the connection has not stood, if it was tried and does not stand.
    pub(crate) fn down_since(&self) -> Option<Instant> {
        self.down_since
    }

    /// When it was last tried to connect.
    pub(crate) fn tried_at(&self) -> Instant {
        self.tried_at
    }

    pub(crate) fn status(&self) -> LinkStatus {
        match &self.state {
            State::Down => LinkStatus::Down(self.last_error.clone()),
            State::Connecting { .. } => LinkStatus::Connecting,
            State::Up { since, program, .. } => LinkStatus::Up { since: *since, program: program.clone() },
        }
    }

    /// Starts connecting, if the link is down. Returns the connections whose events belong here.
    pub(crate) fn connect(&mut self, now: Now, io: &mut Io) -> Vec<ConnId> {
        if !self.is_down() {
            return Vec::new();
        }
        let pin = self.service.pin;
        let conns: Vec<ConnId> =
            self.service.addresses.iter().map(|address| io.connect(address.clone(), pin)).collect();
        let tries = conns.iter().map(|conn| (*conn, false)).collect();
        self.state = State::Connecting { since: now.instant, tries };
        self.tried_at = now.instant;
        conns
    }

    pub(crate) fn handle(
        &mut self,
        conn: ConnId,
        event: ConnEvent,
        now: Now,
        io: &mut Io,
    ) -> Option<LinkEvent> {
        match event {
            ConnEvent::Connected => {
                self.greet(conn, io);
                None
            }
            ConnEvent::Closed(reason) => self.closed(conn, reason, now, io),
            ConnEvent::Sent(_) => None,
            ConnEvent::Partial => {
                self.heard(conn, now);
                None
            }
            ConnEvent::Frame(frame) => {
                let len = frame.len();
                match Message::open(frame) {
                    Ok(message) => {
                        // A push is granted by who works it off.
                        if message.envelope.kind != Kind::Push {
                            io.grant(conn, len);
                        }
                        self.message(conn, message, now, io)
                    }
                    Err(_) => self.misbehaved(conn, "a message without an envelope", now, io),
                }
            }
        }
    }

    /// Sends a message, if the link is up. Returns its length in bytes.
    pub(crate) fn send(
        &mut self,
        kind: Kind,
        id: u64,
        body: &impl Serialize,
        bulk: Vec<Payload>,
        io: &mut Io,
    ) -> u64 {
        let State::Up { conn, .. } = self.state else { return 0 };
        let frame = Message::seal(kind, id, body, bulk);
        let len = frame.len();
        io.send(conn, frame);
        len
    }

    /// Gives the connection up at once.
    pub(crate) fn drop_now(&mut self, io: &mut Io) {
        self.abort(io);
        self.state = State::Down;
    }

    fn abort(&self, io: &mut Io) {
        match &self.state {
            State::Down => {}
            State::Connecting { tries, .. } => tries.keys().for_each(|conn| io.abort(*conn)),
            State::Up { conn, .. } => io.abort(*conn),
        }
    }

    /// Ends the connection after what was sent has gone out.
    pub(crate) fn close(&mut self, io: &mut Io) {
        match self.state {
            State::Up { conn, .. } => {
                self.state = State::Down;
                io.close(conn);
            }
            _ => self.drop_now(io),
        }
    }

    /// Asks for a sign of life. Without one within `patience`, the connection is given up.
    pub(crate) fn ping(&mut self, patience: Duration, now: Now, io: &mut Io) {
        if let State::Up { conn, pong_due, .. } = &mut self.state {
            let due = now.instant + patience;
            if pong_due.is_none() {
                io.send(*conn, Message::seal(Kind::Ping, 0, &(), Vec::new()));
            }
            *pong_due = Some(pong_due.map_or(due, |before| before.min(due)));
        }
    }

    pub(crate) fn wake(&mut self, now: Now, io: &mut Io) -> Option<LinkEvent> {
        match &self.state {
            State::Connecting { since, .. } if now.instant >= *since + CONNECT_PATIENCE => {
                self.fail(LinkError::Silent, now, io)
            }
            State::Up { pong_due: Some(due), .. } if now.instant >= *due => {
                self.fail(LinkError::Silent, now, io)
            }
            State::Up { last_heard, pong_due: None, .. } if now.instant >= *last_heard + PING_AFTER => {
                self.ping(PONG_PATIENCE, now, io);
                None
            }
            _ => None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Down => None,
            State::Connecting { since, .. } => Some(*since + CONNECT_PATIENCE),
            State::Up { pong_due: Some(due), .. } => Some(*due),
            State::Up { last_heard, .. } => Some(*last_heard + PING_AFTER),
        }
    }

    fn greet(&mut self, conn: ConnId, io: &mut Io) {
        let State::Connecting { tries, .. } = &mut self.state else { return };
        let Some(greeted) = tries.get_mut(&conn) else { return };
        *greeted = true;
        let hello = Hello {
            versions: (PROTOCOL_VERSION, PROTOCOL_VERSION),
            swissnum: self.service.swissnum.clone(),
            proof: Vec::new(),
            program: self.program.clone(),
        };
        io.send(conn, Message::seal(Kind::Hello, 0, &hello, Vec::new()));
        io.grant(conn, PEER_WINDOW);
    }

    fn message(&mut self, conn: ConnId, message: Message, now: Now, io: &mut Io) -> Option<LinkEvent> {
        match &mut self.state {
            State::Connecting { tries, .. } if tries.contains_key(&conn) => match message.envelope.kind {
                Kind::Welcome => match message.body::<Welcome>() {
                    Ok(welcome) if welcome.service == self.kind && welcome.version == PROTOCOL_VERSION => {
                        for other in tries.keys().filter(|other| **other != conn) {
                            io.abort(*other);
                        }
                        let program = welcome.program.chars().filter(|c| !c.is_control()).take(100).collect();
                        let (since, last_heard) = (now.instant, now.instant);
                        self.state = State::Up { conn, since, program, last_heard, pong_due: None };
                        (self.retry_at, self.last_error, self.down_since) = (None, None, None);
                        Some(LinkEvent::Up)
                    }
                    _ => self.misbehaved(conn, "a welcome to something else", now, io),
                },
                Kind::Refusal => {
                    let refusal = message.body::<Refusal>().unwrap_or(Refusal::UnknownService);
                    self.end_try(conn, LinkError::Refused(refusal), now, io)
                }
                _ => self.misbehaved(conn, "no welcome", now, io),
            },
            State::Up { conn: up, .. } if *up == conn => {
                self.heard(conn, now);
                match message.envelope.kind {
                    Kind::Ping => {
                        if self.ponged.is_some_and(|last| now.instant < last + PINGS_APART) {
                            return self.misbehaved(conn, "pings without end", now, io);
                        }
                        self.ponged = Some(now.instant);
                        self.send(Kind::Pong, message.envelope.id, &(), Vec::new(), io);
                        None
                    }
                    Kind::Pong => None,
                    Kind::Later(number) if number >= 128 => None,
                    _ => Some(LinkEvent::Message(message)),
                }
            }
            _ => None,
        }
    }

    fn heard(&mut self, from: ConnId, now: Now) {
        if let State::Up { conn, last_heard, pong_due, .. } = &mut self.state
            && *conn == from
        {
            (*last_heard, *pong_due) = (now.instant, None);
        }
    }

    pub(crate) fn misbehaved(
        &mut self,
        conn: ConnId,
        how: &'static str,
        now: Now,
        io: &mut Io,
    ) -> Option<LinkEvent> {
        let error = LinkError::Misbehaved(how);
        match &self.state {
            State::Up { conn: up, .. } if *up == conn => self.fail(error, now, io),
            _ => self.end_try(conn, error, now, io),
        }
    }

    fn closed(&mut self, conn: ConnId, reason: CloseReason, now: Now, io: &mut Io) -> Option<LinkEvent> {
        match &mut self.state {
            State::Up { conn: up, .. } if *up == conn => {
                Some(self.failed(LinkError::Closed(reason), now, io))
            }
            State::Connecting { tries, .. } => {
                let pending = tries.remove(&conn).is_some();
                (pending && tries.is_empty()).then(|| self.failed(LinkError::Closed(reason), now, io))
            }
            _ => None,
        }
    }

    /// One of several addresses turned out bad.
    fn end_try(&mut self, conn: ConnId, error: LinkError, now: Now, io: &mut Io) -> Option<LinkEvent> {
        let State::Connecting { tries, .. } = &mut self.state else { return None };
        tries.remove(&conn)?;
        io.abort(conn);
        if tries.is_empty() { self.fail(error, now, io) } else { None }
    }

    fn fail(&mut self, error: LinkError, now: Now, io: &mut Io) -> Option<LinkEvent> {
        self.abort(io);
        Some(self.failed(error, now, io))
    }

    /// The connections are gone: notes why, and when to try again.
    fn failed(&mut self, error: LinkError, now: Now, io: &mut Io) -> LinkEvent {
        if let State::Up { since, .. } = core::mem::replace(&mut self.state, State::Down)
            && now.instant >= since + STEADY_AFTER
        {
            self.failures = 0;
        }
        let pause = RETRY_FIRST.saturating_mul(1 << self.failures.min(10)).min(RETRY_LONGEST);
        self.failures += 1;
        self.retry_at = Some(now.instant + io.entropy.jitter(pause));
        self.last_error = Some(error.clone());
        self.down_since.get_or_insert(now.instant);
        LinkEvent::Down(error)
    }
}
