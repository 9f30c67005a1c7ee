//! Messages: an envelope that says what it is, and a body.
//!
//! The envelope is decoded first, so that a node can refuse a request it does not know by its id.
//! A body may be followed by bytes: a later version appends fields, an earlier one skips them.

use super::Frame;
use crate::nurl::Swissnum;
use crate::payload::Payload;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of the protocol this node speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// The first message of the side that connected; body [`Hello`].
    Hello,
    /// The answer to a hello; body [`Welcome`].
    Welcome,
    /// The other answer to a hello, the last message of the connection; body [`Refusal`].
    Refusal,
    /// A request; the body depends on the service.
    Request,
    /// The answer to the request with the same id.
    Answer,
    /// The answer to a request that could not be carried out; body of the service's error type.
    Failure,
    /// Asks for a pong with the same id; no body.
    Ping,
    /// The answer to a ping.
    Pong,
    /// Something the service tells unasked; the body depends on the service.
    Push,
    /// A kind of a later version. From 128 on they may be ignored, below not.
    Later(u8),
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Kind::Hello => 0,
            Kind::Welcome => 1,
            Kind::Refusal => 2,
            Kind::Request => 3,
            Kind::Answer => 4,
            Kind::Failure => 5,
            Kind::Ping => 6,
            Kind::Pong => 7,
            Kind::Push => 8,
            Kind::Later(number) => number,
        }
    }

    fn from_number(number: u8) -> Kind {
        use Kind::*;
        let known = [Hello, Welcome, Refusal, Request, Answer, Failure, Ping, Pong, Push];
        known.get(usize::from(number)).copied().unwrap_or(Later(number))
    }
}

/// What every message begins with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Envelope {
    /// What the message is.
    pub kind: Kind,
    /// Matches answers to requests; chosen by the side that asks; 0 where nothing is matched.
    pub id: u64,
}

/// A service of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ServiceKind {
    /// Keeps shares.
    Storage,
    /// Passes announcements on.
    Introducer,
    /// Hands out the shared root.
    Vdrive,
}

/// How a client opens a connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The versions it speaks, lowest and highest.
    pub versions: (u16, u16),
    /// Which service it wants, and the right to use it.
    pub swissnum: Swissnum,
    /// Room for a proof that the client holds a node key; empty in version 1.
    pub proof: Vec<u8>,
    /// The program and its version, for people to read.
    pub program: String,
}

/// How a server accepts a hello.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that is spoken from now on.
    pub version: u16,
    /// Which service answers.
    pub service: ServiceKind,
    /// The program and its version, for people to read.
    pub program: String,
}

/// How a server declines a hello.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// No service here goes by that swissnum.
    UnknownService,
    /// There is no version that both speak; these are the server's.
    NoCommonVersion {
        /// The lowest it speaks.
        lowest: u16,
        /// The highest it speaks.
        highest: u16,
    },
    /// The server has as many connections as it wants.
    Busy,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::UnknownService => f.write_str(
                "it knows no service by the swissnum of the furl: the furl is of another time or was altered",
            ),
            Refusal::NoCommonVersion { lowest, highest } => {
                write!(
                    f,
                    "it speaks versions {lowest} to {highest} of the protocol, this program version {PROTOCOL_VERSION}"
                )
            }
            Refusal::Busy => f.write_str("it has as many connections as it allows"),
        }
    }
}

/// Why a frame's message makes no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageError {
    /// There is no envelope.
    Envelope,
    /// The body is not of the type its kind calls for.
    Body,
}

/// A frame whose envelope has been read.
#[derive(Clone, Debug)]
pub struct Message {
    /// What it is.
    pub envelope: Envelope,
    body: bytes::Bytes,
    /// The bulk bytes.
    pub bulk: Payload,
}

impl Message {
    /// Reads the envelope of a received frame.
    pub fn open(frame: Frame) -> Result<Message, MessageError> {
        let ((kind, id), rest) =
            postcard::take_from_bytes::<(u8, u64)>(&frame.message).map_err(|_| MessageError::Envelope)?;
        let envelope = Envelope { kind: Kind::from_number(kind), id };
        let body = frame.message.slice(frame.message.len() - rest.len()..);
        Ok(Message { envelope, body, bulk: frame.bulk.into_iter().next().unwrap_or_default() })
    }

    /// Reads the body. Bytes behind it belong to a later version and are skipped.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, MessageError> {
        postcard::take_from_bytes(&self.body).map(|(body, _)| body).map_err(|_| MessageError::Body)
    }

    /// Puts a message into a frame.
    pub fn seal(kind: Kind, id: u64, body: &impl Serialize, bulk: Vec<Payload>) -> Frame {
        let message = postcard::to_allocvec(&(kind.number(), id, body))
            .expect("serialising plain data into memory does not fail");
        Frame::with_bulk(message, bulk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_fields_are_skipped_and_unknown_kinds_keep_their_id() {
        let frame = Message::seal(Kind::Later(77), 5, &(1u8, 2u8, 3u8), Vec::new());
        let message = Message::open(frame).unwrap();
        assert_eq!(message.envelope, Envelope { kind: Kind::Later(77), id: 5 });
        assert_eq!(message.body::<(u8, u8)>(), Ok((1, 2)));
        assert_eq!(message.body::<(u8, u8, u8, u8)>(), Err(MessageError::Body));
        assert!(Message::open(Frame::new([200, 200].into())).is_err());
    }
}
