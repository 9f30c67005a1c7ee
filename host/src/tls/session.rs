//! One TLS session without I/O: ciphertext in, plaintext out, and back.

use super::config::{ALPN, WRONG_KEY};
use crate::buffer::{ReadBuffer, WriteBuffer};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, ReadTraffic, UnbufferedStatus, WriteTraffic,
};
use std::fmt;

/// Most plaintext of one record.
pub(crate) const RECORD_LEN_MAX: usize = 16 * 1024;
/// More than TLS 1.3 with any of our suites adds to a record.
const RECORD_OVERHEAD: usize = 64;
/// Room for a handshake message; more is made where that is not enough.
const HANDSHAKE_ROOM: usize = 4 * 1024;

/// A TLS session of either side.
///
/// Built on rustls' unbuffered interface: records are decrypted where the socket put them, and a
/// read may be as large as one likes. What the session itself has to say (handshake, alerts, key
/// updates) gathers until [`TlsSession::take_control`].
pub struct TlsSession {
    side: Side,
    /// So many bytes of the input were looked at and kept: the beginning of a record or message.
    examined: usize,
    /// What the session itself has to say.
    control: WriteBuffer,
    failed: Option<TlsError>,
}

enum Side {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What a step of [`TlsSession::receive`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// Plaintext was handed out; there may be more.
    Plaintext,
    /// There is nothing more in the input; read from the socket.
    Drained,
    /// The other side has said goodbye. It sends nothing more, and nobody cut the connection short.
    PeerClosed,
}

/// Why a session is lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TlsError {
    /// The other side's certificate has another key than the pin says.
    WrongKey,
    /// Anything else, in rustls' words.
    Failed(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::WrongKey => f.write_str("the certificate has another key than the pin says"),
            TlsError::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> TlsError {
        if error == WRONG_KEY { TlsError::WrongKey } else { TlsError::Failed(error.to_string()) }
    }
}

impl TlsSession {
    pub(super) fn client(connection: UnbufferedClientConnection) -> TlsSession {
        TlsSession::new(Side::Client(connection))
    }

    pub(super) fn server(connection: UnbufferedServerConnection) -> TlsSession {
        TlsSession::new(Side::Server(connection))
    }

    fn new(side: Side) -> TlsSession {
        TlsSession { side, examined: 0, control: WriteBuffer::new(), failed: None }
    }

    /// Whether the handshake is still under way. Nothing can be sent until it is over.
    pub fn handshaking(&self) -> bool {
        match &self.side {
            Side::Client(connection) => connection.is_handshaking(),
            Side::Server(connection) => connection.is_handshaking(),
        }
    }

    /// Whether both sides agreed on Tallac's protocol. Of meaning after the handshake.
    pub fn speaks_tallac(&self) -> bool {
        let alpn = match &self.side {
            Side::Client(connection) => connection.alpn_protocol(),
            Side::Server(connection) => connection.alpn_protocol(),
        };
        alpn == Some(ALPN)
    }

    /// Works on the input until it has handed out some plaintext or needs more input. A client
    /// calls this once without input to begin.
    ///
    /// After an error the session is lost; there may be an alert to send, see
    /// [`TlsSession::take_control`].
    pub fn receive(
        &mut self,
        input: &mut ReadBuffer,
        mut plaintext: impl FnMut(&[u8]),
    ) -> Result<Received, TlsError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        loop {
            let (side, control) = (&mut self.side, &mut self.control);
            let (discard, step) = side.step(input.unread_mut(), control, Intent::Receive(&mut plaintext));
            input.consume(discard);
            self.examined = 0;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Plaintext) => return Ok(Received::Plaintext),
                Ok(Step::PeerClosed) => return Ok(Received::PeerClosed),
                Ok(Step::Done) => {
                    self.examined = input.unread().len();
                    return Ok(Received::Drained);
                }
                Err(error) => {
                    // If rustls wants to tell the other side why, that is what it does next.
                    let (_, _) = side.step(input.unread_mut(), control, Intent::Receive(&mut |_| ()));
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            }
        }
    }

    /// Seals plaintext into `out`. `input` is the one that [`TlsSession::receive`] works on.
    ///
    /// # Panics
    /// During the handshake.
    pub fn send(
        &mut self,
        input: &mut ReadBuffer,
        plaintext: &[u8],
        out: &mut WriteBuffer,
    ) -> Result<(), TlsError> {
        self.write(input, out, || Intent::Seal(plaintext))
    }

    /// Says goodbye: the other side then knows that it has everything. Nothing may be sent or
    /// received after that. Does nothing during the handshake.
    pub fn close(&mut self, input: &mut ReadBuffer, out: &mut WriteBuffer) -> Result<(), TlsError> {
        if self.handshaking() { Ok(()) } else { self.write(input, out, || Intent::Close) }
    }

    /// Moves what the session itself has to say to `out`.
    pub fn take_control(&mut self, out: &mut WriteBuffer) {
        if self.wants_control() {
            self.control.copy_sealed(out);
            self.control.clear(false);
        }
    }

    /// Whether the session itself has something to say.
    pub fn wants_control(&self) -> bool {
        self.control.len() > 0
    }

    fn write<'a>(
        &mut self,
        input: &mut ReadBuffer,
        out: &mut WriteBuffer,
        intent: impl Fn() -> Intent<'a>,
    ) -> Result<(), TlsError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        assert!(!self.handshaking(), "nothing can be sent before the handshake is over");
        // Records are numbered: those sealed first go first.
        self.take_control(out);
        loop {
            // rustls gives the right to write only to who shows it the input. It gets to see what
            // it has seen before, and so finds no record there that would have to be delivered.
            let (discard, step) = self.side.step(&mut input.unread_mut()[..self.examined], out, intent());
            input.consume(discard);
            self.examined -= discard;
            match step? {
                Step::Again | Step::PeerClosed => {}
                Step::Done => return Ok(()),
                Step::Plaintext => unreachable!("there is no whole record in input seen before"),
            }
        }
    }
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession").field("handshaking", &self.handshaking()).finish_non_exhaustive()
    }
}

impl Side {
    /// Lets rustls do one thing. Returns how much of the input it does not need any more.
    fn step(
        &mut self,
        input: &mut [u8],
        out: &mut WriteBuffer,
        intent: Intent<'_>,
    ) -> (usize, Result<Step, TlsError>) {
        match self {
            Side::Client(connection) => take_step(connection.process_tls_records(input), out, intent),
            Side::Server(connection) => take_step(connection.process_tls_records(input), out, intent),
        }
    }
}

/// What a step is for.
enum Intent<'a> {
    Receive(&'a mut dyn FnMut(&[u8])),
    Seal(&'a [u8]),
    Close,
}

/// What a step did.
enum Step {
    /// Something; rustls wants to be asked again.
    Again,
    /// Handed out plaintext.
    Plaintext,
    /// What was intended, or used up the input.
    Done,
    /// Found that the other side has said goodbye.
    PeerClosed,
}

fn take_step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    out: &mut WriteBuffer,
    intent: Intent<'_>,
) -> (usize, Result<Step, TlsError>) {
    let discard = status.discard;
    let step = match status.state {
        Err(error) => Err(error.into()),
        Ok(ConnectionState::EncodeTlsData(message)) => encode(message, out),
        Ok(ConnectionState::TransmitTlsData(message)) => {
            // It is encoded in a buffer that goes out in order.
            message.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::ReadTraffic(traffic)) => read(traffic, intent),
        Ok(ConnectionState::WriteTraffic(traffic)) => match intent {
            Intent::Receive(_) => Ok(Step::Done),
            Intent::Seal(plaintext) => seal(traffic, Some(plaintext), out),
            Intent::Close => seal(traffic, None, out),
        },
        Ok(ConnectionState::PeerClosed) => Ok(Step::PeerClosed),
        Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => Ok(Step::Done),
        Ok(_) => Err(TlsError::Failed("early data, though none was offered".into())),
    };
    (discard, step)
}

fn read<Data>(mut traffic: ReadTraffic<'_, '_, Data>, intent: Intent<'_>) -> Result<Step, TlsError> {
    if let Intent::Receive(plaintext) = intent {
        while let Some(record) = traffic.next_record() {
            plaintext(record?.payload);
        }
    }
    Ok(Step::Plaintext)
}

fn encode<Data>(mut message: EncodeTlsData<'_, Data>, out: &mut WriteBuffer) -> Result<Step, TlsError> {
    let mut room = HANDSHAKE_ROOM;
    loop {
        match message.encode(out.room(room)) {
            Ok(len) => {
                out.sealed(len);
                return Ok(Step::Again);
            }
            Err(EncodeError::InsufficientSize(error)) => room = error.required_size,
            Err(error) => return Err(TlsError::Failed(error.to_string())),
        }
    }
}

/// Seals plaintext, or the goodbye.
fn seal<Data>(
    mut traffic: WriteTraffic<'_, Data>,
    plaintext: Option<&[u8]>,
    out: &mut WriteBuffer,
) -> Result<Step, TlsError> {
    let len = plaintext.map_or(0, <[u8]>::len);
    let mut room = len + (len / RECORD_LEN_MAX + 2) * RECORD_OVERHEAD;
    loop {
        let result = match plaintext {
            Some(plaintext) => traffic.encrypt(plaintext, out.room(room)),
            None => traffic.queue_close_notify(out.room(room)),
        };
        match result {
            Ok(len) => {
                out.sealed(len);
                return Ok(Step::Done);
            }
            Err(EncryptError::InsufficientSize(error)) => room = error.required_size,
            Err(error) => return Err(TlsError::Failed(error.to_string())),
        }
    }
}
