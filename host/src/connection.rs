//! One connection of a node without its socket: bytes in, events out; orders in, bytes out.

use crate::buffer::{ReadBuffer, WriteBuffer};
use crate::tls::{RECORD_LEN_MAX, Received, Tls, TlsError, TlsSession};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::mem;
use tallac_core::machine::{CloseReason, ConnId, Event, Protocol};
use tallac_core::nurl::Pin;
use tallac_core::wire::{Decoded, Frame, FrameDecoder};

/// Payload of one batch to be written.
const BATCH: u64 = 256 * 1024;
/// Most bytes of one [`Event::Received`].
const RECEIVED_MAX: u64 = 256 * 1024;

/// What the machine asks of a connection that it has.
#[derive(Debug)]
pub enum Order {
    /// Send a frame.
    Send(Frame),
    /// Send raw bytes.
    SendBytes(Bytes),
    /// Read so many bytes more.
    Grant(u64),
    /// Close it once everything has gone out.
    Close,
}

/// What to do about a socket's input after [`Connection::receive`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// Read from the socket.
    Read,
    /// Do not read before something happened: an order, or the end of the connection.
    Wait,
}

/// What to do about a socket's output after [`Connection::send`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writing {
    /// Write the batch.
    Write,
    /// There is nothing to write.
    Wait,
    /// Everything is written and the connection was to be closed then.
    Over,
}

/// The state of one connection: TLS, frames, credit, what waits to be sent.
///
/// # Credit
/// Nothing is delivered beyond what the machine granted, except for the end of a frame. To notice
/// the end of a connection in time, one read goes ahead of the credit; what comes in so stays here:
/// at most a [`ReadBuffer`] and the frames of one record. If the other side sent more than that,
/// its end is noticed when the machine grants enough to get there, or when writing fails.
#[derive(Debug)]
pub struct Connection {
    id: ConnId,
    channel: Channel,
    /// The handshake is over, if there was one to make.
    open: bool,
    input: ReadBuffer,
    decoder: FrameDecoder,
    /// Came in ahead of the credit.
    held: VecDeque<Frame>,
    /// The same without frames.
    held_bytes: BytesMut,
    credit: u64,
    input_ended: bool,
    input_end_told: bool,
    peer_closed: bool,
    broken: Option<CloseReason>,
    ended: Option<CloseReason>,
    queue: VecDeque<Bytes>,
    closing: bool,
    /// The last that there is to send has been handed out.
    said_goodbye: bool,
    /// And the socket has taken it.
    parted: bool,
}

#[derive(Debug)]
enum Channel {
    /// Somebody connected to the grid port and has not said what they speak.
    Unknown(Tls),
    /// Frames within TLS.
    Tls(Box<TlsSession>),
    /// Raw bytes.
    Plain,
    /// Raw bytes within TLS.
    Sealed(Box<TlsSession>),
}

impl Connection {
    /// A connection that the machine asked for.
    pub fn connect(id: ConnId, tls: &Tls, pin: Pin) -> Connection {
        Connection::new(id, Channel::Tls(Box::new(tls.client(pin))))
    }

    /// A connection that somebody made to the grid port.
    pub fn accept_grid(id: ConnId, tls: &Tls) -> Connection {
        Connection::new(id, Channel::Unknown(tls.clone()))
    }

    /// A connection that somebody made to the web port.
    pub fn accept_web(id: ConnId) -> Connection {
        Connection { open: true, ..Connection::new(id, Channel::Plain) }
    }

    /// A connection that somebody made to a web port that speaks TLS.
    pub fn accept_web_tls(id: ConnId, session: TlsSession) -> Connection {
        Connection::new(id, Channel::Sealed(Box::new(session)))
    }

    fn new(id: ConnId, channel: Channel) -> Connection {
        Connection {
            id,
            channel,
            open: false,
            input: ReadBuffer::new(),
            decoder: FrameDecoder::new(),
            held: VecDeque::new(),
            held_bytes: BytesMut::new(),
            credit: 0,
            input_ended: false,
            input_end_told: false,
            peer_closed: false,
            broken: None,
            ended: None,
            queue: VecDeque::new(),
            closing: false,
            said_goodbye: false,
            parted: false,
        }
    }

    /// The connection's number.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// What the connection speaks.
    pub fn protocol(&self) -> Protocol {
        match self.channel {
            Channel::Unknown(_) | Channel::Tls(_) => Protocol::Tallac,
            Channel::Plain | Channel::Sealed(_) => Protocol::Web,
        }
    }

    /// Whether the two sides have agreed on everything: the machine may know of the connection.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Takes an order of the machine.
    pub fn order(&mut self, order: Order) {
        match order {
            Order::Grant(bytes) => self.credit = self.credit.saturating_add(bytes),
            Order::Close => self.closing = true,
            Order::Send(_) | Order::SendBytes(_) if self.closing => {}
            Order::Send(frame) => self.queue.extend(frame.pieces().filter(|piece| !piece.is_empty())),
            Order::SendBytes(bytes) => self.queue.extend((!bytes.is_empty()).then_some(bytes)),
        }
    }

    /// Says that the socket has no more input.
    pub fn end_input(&mut self) {
        self.input_ended = true;
    }

    /// Says that the socket broke. What came in before is still delivered, as far as granted.
    pub fn break_down(&mut self, reason: CloseReason) {
        self.broken.get_or_insert(reason);
    }

    /// Takes what was read and delivers what can be delivered. To be called at first without
    /// input, and after orders. There may be something to send then.
    ///
    /// An error is the end of the connection, and the only report of it.
    pub fn receive(
        &mut self,
        read: &mut ReadBuffer,
        events: &mut Vec<Event>,
    ) -> Result<Reading, CloseReason> {
        if let Some(reason) = &self.ended {
            return Err(reason.clone());
        }
        let result = self.work_off(read, events);
        self.ended = result.as_ref().err().cloned();
        self.input.hand_back(read);
        read.limit(self.credit);
        result
    }

    fn work_off(&mut self, read: &mut ReadBuffer, events: &mut Vec<Event>) -> Result<Reading, CloseReason> {
        if self.said_goodbye {
            // The socket is emptied only so that the other side gets everything we sent: closing
            // with input unread would reset the connection.
            read.consume(read.unread().len());
            return match &self.broken {
                Some(reason) => Err(reason.clone()),
                None if !self.input_ended => Ok(Reading::Read),
                None if self.parted => Err(CloseReason::Ended),
                // Somebody who sends no more still reads: the last batch must not be cut off.
                None => Ok(Reading::Wait),
            };
        }
        self.input.append(read);
        self.deliver(events);
        while !self.stalled() && self.advance(events)? {
            self.deliver(events);
        }
        let stalled = self.stalled();
        match &self.broken {
            Some(reason) if stalled || self.input_ended => return Err(reason.clone()),
            _ if stalled => return Ok(Reading::Wait),
            _ => {}
        }
        if self.peer_closed {
            if matches!(self.channel, Channel::Sealed(_)) {
                // A browser that says goodbye does not wait for an answer.
                return Err(CloseReason::Ended);
            }
            let whole = self.decoder.at_boundary();
            return Err(if whole { CloseReason::Ended } else { cut_off() });
        }
        if !self.input_ended {
            return Ok(Reading::Read);
        }
        match &self.channel {
            Channel::Unknown(_) => Err(CloseReason::Ended),
            Channel::Tls(_) | Channel::Sealed(_) if !self.open => {
                Err(CloseReason::Handshake("the other side hung up during the handshake".into()))
            }
            Channel::Tls(_) | Channel::Sealed(_) => {
                Err(CloseReason::Lost("the other side vanished without a goodbye".into()))
            }
            Channel::Plain => {
                if !mem::replace(&mut self.input_end_told, true) {
                    events.push(Event::ReceivedEnd { conn: self.id });
                }
                Ok(Reading::Wait)
            }
        }
    }

    /// Fills the batch with what is to be written next. After an error there is nothing more to
    /// write, and [`Connection::receive`] reports the end.
    pub fn send(&mut self, batch: &mut WriteBuffer) -> Result<Writing, CloseReason> {
        batch.clear(!self.queue.is_empty());
        match &mut self.channel {
            Channel::Unknown(_) => {}
            Channel::Plain => {
                while let Some(piece) = self.queue.front_mut().filter(|_| batch.payload < BATCH) {
                    let len = piece.len().min((BATCH - batch.payload) as usize);
                    batch.push_raw(piece.split_to(len));
                    batch.payload += len as u64;
                    self.queue.pop_front_if(|piece| piece.is_empty());
                }
            }
            Channel::Tls(session) | Channel::Sealed(session) => {
                session.take_control(batch);
                if self.open {
                    seal(session, &mut self.input, &mut self.queue, batch).map_err(lost)?;
                }
            }
        }
        if self.closing && self.queue.is_empty() && self.open && !self.said_goodbye {
            self.said_goodbye = true;
            if let Channel::Tls(session) | Channel::Sealed(session) = &mut self.channel {
                session.close(&mut self.input, batch).map_err(lost)?;
            }
        }
        self.parted = self.said_goodbye && batch.len() == 0;
        Ok(match batch.len() {
            1.. => Writing::Write,
            0 if self.parted => Writing::Over,
            0 => Writing::Wait,
        })
    }

    /// Fills the batch with what is to be said to somebody whom we leave at the door: an alert, or
    /// a goodbye to who does not speak our protocol.
    pub fn turn_away(&mut self, batch: &mut WriteBuffer) {
        batch.clear(false);
        if let Channel::Tls(session) | Channel::Sealed(session) = &mut self.channel {
            session.take_control(batch);
            // Nothing to be done if that fails, too.
            let _ = session.close(&mut self.input, batch);
        }
    }

    /// Whether the session has something to send that nobody ordered.
    pub(crate) fn wants_control(&self) -> bool {
        matches!(&self.channel, Channel::Tls(session) | Channel::Sealed(session) if session.wants_control())
    }

    /// Whether nothing can be done with further input before more is granted.
    fn stalled(&self) -> bool {
        self.credit == 0
            && match self.channel {
                Channel::Plain => !self.input.unread().is_empty(),
                // The handshake needs no credit.
                Channel::Sealed(_) => !self.held_bytes.is_empty(),
                _ => !self.held.is_empty() || !self.decoder.at_boundary(),
            }
    }

    fn deliver(&mut self, events: &mut Vec<Event>) {
        while let Some(frame) = self.held.pop_front_if(|_| self.credit > 0) {
            self.credit = self.credit.saturating_sub(frame.len());
            events.push(Event::Frame { conn: self.id, frame });
        }
        while !self.held_bytes.is_empty() && self.credit > 0 {
            let len = self.credit.min(RECEIVED_MAX).min(self.held_bytes.len() as u64) as usize;
            let data = self.held_bytes.split_to(len).freeze();
            events.push(Event::Received { conn: self.id, data: data.into() });
            self.credit -= len as u64;
        }
    }

    /// Works off some input. Returns whether to go on.
    fn advance(&mut self, events: &mut Vec<Event>) -> Result<bool, CloseReason> {
        let conn = self.id;
        match &mut self.channel {
            Channel::Plain => {
                let unread = self.input.unread();
                let len = self.credit.min(RECEIVED_MAX).min(unread.len() as u64) as usize;
                if len > 0 {
                    let data = Bytes::copy_from_slice(&unread[..len]);
                    events.push(Event::Received { conn, data: data.into() });
                    self.input.consume(len);
                    self.credit -= len as u64;
                }
                Ok(len > 0)
            }
            Channel::Unknown(tls) => {
                let other = match sniff(self.input.unread()) {
                    Incoming::NeedMore => return Ok(false),
                    Incoming::Tls => {
                        self.channel = Channel::Tls(Box::new(tls.server()));
                        return Ok(true);
                    }
                    Incoming::Foolscap => "the other side speaks Foolscap, which Tallac does not speak yet",
                    Incoming::Other => "the other side does not speak TLS",
                };
                Err(CloseReason::Handshake(other.into()))
            }
            Channel::Sealed(session) => {
                let received = session.receive(&mut self.input, |plaintext| {
                    self.held_bytes.extend_from_slice(plaintext);
                });
                let received = received.map_err(|error| match error {
                    error if self.open => CloseReason::Lost(error.to_string()),
                    error => CloseReason::Handshake(error.to_string()),
                })?;
                self.open |= !session.handshaking();
                self.peer_closed |= received == Received::PeerClosed;
                Ok(received == Received::Plaintext)
            }
            Channel::Tls(session) => {
                let mut bad_frame = None;
                let received = session.receive(&mut self.input, |plaintext| {
                    let decoded = self.decoder.push(plaintext, |decoded| match decoded {
                        Decoded::Frame(frame) => self.held.push_back(frame),
                        Decoded::Partial => events.push(Event::Partial { conn }),
                    });
                    bad_frame = bad_frame.take().or(decoded.err());
                });
                let received = received.map_err(|error| match error {
                    TlsError::WrongKey => CloseReason::WrongKey,
                    TlsError::Failed(why) if self.open => CloseReason::Lost(why),
                    TlsError::Failed(why) => CloseReason::Handshake(why),
                })?;
                if !self.open && !session.handshaking() {
                    if !session.speaks_tallac() {
                        // Tahoe-LAFS's HTTPS storage protocol would begin here.
                        return Err(CloseReason::Handshake("the other side does not speak tallac/1".into()));
                    }
                    self.open = true;
                }
                if let Some(error) = bad_frame {
                    return Err(CloseReason::BadFrame(error.to_string()));
                }
                self.peer_closed |= received == Received::PeerClosed;
                Ok(received == Received::Plaintext)
            }
        }
    }
}

/// Seals queued pieces until the batch is full. Long pieces are sealed from where they are; short
/// ones and ends are gathered, so that records are full.
fn seal(
    session: &mut TlsSession,
    input: &mut ReadBuffer,
    queue: &mut VecDeque<Bytes>,
    batch: &mut WriteBuffer,
) -> Result<(), TlsError> {
    let mut staging = mem::take(&mut batch.staging);
    while let Some(piece) = queue.front_mut().filter(|_| batch.payload < BATCH) {
        let len = if staging.is_empty() && piece.len() >= RECORD_LEN_MAX {
            let len = piece.len().min((BATCH - batch.payload) as usize).max(RECORD_LEN_MAX);
            let len = len / RECORD_LEN_MAX * RECORD_LEN_MAX;
            session.send(input, &piece[..len], batch)?;
            len
        } else {
            let len = piece.len().min(RECORD_LEN_MAX - staging.len());
            staging.extend_from_slice(&piece[..len]);
            len
        };
        if staging.len() == RECORD_LEN_MAX {
            session.send(input, &staging, batch)?;
            staging.clear();
        }
        batch.payload += len as u64;
        piece.advance(len);
        queue.pop_front_if(|piece| piece.is_empty());
    }
    if !staging.is_empty() {
        session.send(input, &staging, batch)?;
        staging.clear();
    }
    batch.staging = staging;
    Ok(())
}

fn cut_off() -> CloseReason {
    CloseReason::BadFrame("the other side hung up in the middle of a frame".into())
}

fn lost(error: TlsError) -> CloseReason {
    CloseReason::Lost(error.to_string())
}

/// What somebody speaks who connected to the grid port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Incoming {
    /// Too little came in to tell.
    NeedMore,
    /// The protocol of old Tahoe-LAFS nodes.
    Foolscap,
    /// TLS: frames, or Tahoe-LAFS's HTTPS storage protocol.
    Tls,
    /// Something else.
    Other,
}

/// Tells from the first bytes what somebody speaks. Eight are always enough.
pub fn sniff(bytes: &[u8]) -> Incoming {
    const FOOLSCAP: &[u8] = b"GET /id/";
    /// A record with a part of the handshake, of any version (RFC 8446, 5.1).
    const HANDSHAKE_RECORD: &[u8] = &[0x16, 0x03];
    let begins = |with: &[u8]| {
        let len = bytes.len().min(with.len());
        (bytes[..len] == with[..len]).then_some(len == with.len())
    };
    match (begins(HANDSHAKE_RECORD), begins(FOOLSCAP)) {
        (Some(true), _) => Incoming::Tls,
        (_, Some(true)) => Incoming::Foolscap,
        (None, None) => Incoming::Other,
        _ => Incoming::NeedMore,
    }
}

#[cfg(test)]
mod tests;
