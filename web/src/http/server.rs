//! The server's side of one connection.

use bytes::Bytes;

use super::body::{BodyPart, BodyReader};
use super::head::{
    Method, RequestHead, ResponseHead, Version, keeps_alive, parse_request, status_line, write_head,
};
use super::input::Input;
use super::lines::{HeadKind, HeadReader};
use super::output::{BodyWriter, Output};
use super::{HttpError, Limits, ResponseBody};

/// The server's side of one connection: requests in, responses out, one at a time, in order.
///
/// # Driving it
///
/// ```
/// # use tallac_web::http::{Limits, ResponseBody, ResponseHead, ServerConnection, ServerEvent};
/// # use bytes::Bytes;
/// # let mut reads = vec![Bytes::from_static(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")].into_iter();
/// # let mut written = Vec::new();
/// let mut connection = ServerConnection::new(Limits::default());
/// while !connection.should_close() {
///     while let Some(event) = connection.poll_event() {
///         match event {
///             ServerEvent::Request(_) => {
///                 connection.respond(ResponseHead::new(200), ResponseBody::Length(2));
///                 connection.send_body(Bytes::from_static(b"hi"));
///                 connection.finish();
///             }
///             ServerEvent::Bad(error) if connection.awaits_response() => {
///                 connection.respond(ResponseHead::new(error.status()), ResponseBody::Empty);
///                 connection.finish();
///             }
///             ServerEvent::Bad(_) => connection.abort(),
///             ServerEvent::Body(_) | ServerEvent::BodyEnd | ServerEvent::Closed => {}
///         }
///     }
///     let mut sent = false;
///     while let Some(bytes) = connection.poll_output() {
///         written.extend_from_slice(&bytes); // write to the socket
///         sent = true;
///     }
///     if sent {
///         continue; // sending may have made room for the next event
///     }
///     if connection.wants_input() {
///         match reads.next() { // read from the socket
///             Some(bytes) => connection.receive(bytes),
///             None => connection.receive_eof(),
///         }
///     }
/// }
/// # assert!(written.ends_with(b"\r\n\r\nhi"));
/// ```
///
/// The rules: poll events after every other call until there are none; take all output; read from
/// the socket only while [`wants_input`](Self::wants_input) says so, one read at a time.
/// When [`should_close`](Self::should_close) says so, shut down the sending side, and better throw
/// away what still arrives for a moment than reset the connection under the last response.
///
/// # Order of events
///
/// `(Request Body* BodyEnd)* Closed`, with `Bad` at most once, in place of anything before `Closed`.
/// Every request has a `BodyEnd`, unless its response is finished before; the rest of its body is
/// then thrown away up to [`Limits::drain`], or the connection closes.
/// The next request comes only after the response before it is finished and its output is taken.
///
/// # Back-pressure
///
/// Input is parsed when events are polled, not before.
/// Not polling makes [`buffered`](Self::buffered) grow to [`Limits::input`] (and one read over),
/// and then `wants_input` says no.
#[derive(Debug)]
pub struct ServerConnection {
    limits: Limits,
    input: Input,
    input_ended: bool,
    /// Whether an end of patience is still to be told.
    timed_out: bool,
    stage: Stage,
    output: Output,
}

/// What the peer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// A request has begun.
    Request(RequestHead),
    /// Some of its body, cut from the buffer it was received in.
    Body(Bytes),
    /// Its body is complete.
    BodyEnd,
    /// The peer broke the rules. If no response has begun, one with the error's status is due;
    /// otherwise the response may go on or be aborted. The connection closes after it.
    Bad(HttpError),
    /// All is said and sent; the last event.
    Closed,
}

/// ```text
/// Head ──(request)──▶ Exchange ──(answered, read, kept alive)──▶ Head
///   │                    │
///   └──(end of input)────┴──(answered or aborted)──▶ Closing ──(told)──▶ Closed
/// ```
#[derive(Debug)]
enum Stage {
    /// A request head is awaited, once the output is taken.
    Head(HeadReader),
    /// A request, or what was meant as one, is read and answered.
    Exchange(Exchange),
    /// Nothing more is read; what is queued is sent.
    Closing,
    /// The end has been told.
    Closed,
}

#[derive(Debug)]
struct Exchange {
    incoming: Incoming,
    response: Response,
    version: Version,
    /// Whether the request was HEAD.
    head_only: bool,
    keep_alive: bool,
    /// Whether the client waits for `100 Continue`.
    awaits_continue: bool,
}

#[derive(Debug)]
enum Incoming {
    Body(BodyReader),
    /// Nobody wants the rest; so many bytes may still be thrown away.
    Drain(BodyReader, u64),
    Complete,
    /// The peer broke the rules, nothing is read any more.
    Broken,
}

#[derive(Debug)]
enum Response {
    Awaited,
    Sending(BodyWriter),
    Finished,
}

impl ServerConnection {
    /// A new connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            input: Input::default(),
            input_ended: false,
            timed_out: false,
            stage: Stage::Head(HeadReader::new(HeadKind::Request)),
            output: Output::default(),
        }
    }

    /// Takes received bytes.
    pub fn receive(&mut self, bytes: Bytes) {
        if self.reads() {
            self.input.push(bytes);
        }
    }

    /// Takes the end of the input: the peer sends no more, though it may still listen.
    pub fn receive_eof(&mut self) {
        self.input_ended = true;
    }

    /// Takes the end of the driver's patience with the peer's sending.
    ///
    /// A connection without a request ends quietly, one within a request is [`ServerEvent::Bad`];
    /// nothing happens while the peer owes nothing.
    pub fn receive_timeout(&mut self) {
        match &self.stage {
            Stage::Head(reader) if reader.is_empty() && self.input.is_empty() => {
                self.stage = Stage::Closing;
            }
            Stage::Exchange(exchange) if matches!(exchange.incoming, Incoming::Drain(..)) => {
                self.stage = Stage::Closing;
            }
            Stage::Head(_) => self.timed_out = true,
            Stage::Exchange(exchange) if exchange.awaits_body() => self.timed_out = true,
            Stage::Exchange(_) | Stage::Closing | Stage::Closed => {}
        }
    }

    /// Whether the driver should read from the socket.
    pub fn wants_input(&self) -> bool {
        self.reads() && !self.input_ended && self.input.len() < self.limits.input
    }

    /// How many received bytes wait to be parsed.
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        if std::mem::take(&mut self.timed_out) && self.reads() {
            return Some(self.broken(HttpError::TimedOut));
        }
        loop {
            match &mut self.stage {
                Stage::Head(_) | Stage::Closing if !self.output.is_empty() => return None,
                Stage::Head(reader) => match reader.read(&mut self.input, &self.limits) {
                    Ok(Some(head)) => return Some(self.begin(&head)),
                    Ok(None) if !self.input_ended => return None,
                    Ok(None) if reader.is_empty() => self.stage = Stage::Closing,
                    Ok(None) => return Some(self.broken(HttpError::HeadCutShort)),
                    Err(error) => return Some(self.broken(error)),
                },
                Stage::Exchange(exchange) => {
                    match exchange.read(&mut self.input, self.input_ended, &self.limits) {
                        Step::Event(event) => return Some(event),
                        Step::Broken(error) => return Some(self.broken(error)),
                        Step::NeedsInput => return None,
                        Step::NextRequest => {
                            self.stage = Stage::Head(HeadReader::new(HeadKind::Request));
                        }
                        Step::Close => self.stage = Stage::Closing,
                    }
                }
                Stage::Closing => {
                    self.stage = Stage::Closed;
                    self.input.clear();
                    return Some(ServerEvent::Closed);
                }
                Stage::Closed => return None,
            }
        }
    }

    /// Tells a waiting client to send its body. Nothing happens if it does not wait.
    pub fn send_continue(&mut self) {
        if let Stage::Exchange(exchange) = &mut self.stage
            && exchange.awaits_continue
            && matches!(exchange.response, Response::Awaited)
        {
            exchange.awaits_continue = false;
            self.output.push(Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
    }

    /// Whether the head of a request is awaited, or some of it, and nothing else.
    pub fn awaits_request(&self) -> bool {
        matches!(self.stage, Stage::Head(_))
    }

    /// Whether a request, or a bad one, is still without a response.
    pub fn awaits_response(&self) -> bool {
        matches!(&self.stage, Stage::Exchange(Exchange { response: Response::Awaited, .. }))
    }

    /// Begins the response to the request; every response ends with [`finish`](Self::finish).
    ///
    /// The connection writes `Content-Length`, `Transfer-Encoding` and `Connection` itself; of
    /// those in the head only `Connection: close` counts.
    /// Responses to HEAD, 204 and 304 have no body: what is sent for them is thrown away.
    /// A response begun while the client waits for `100 Continue` closes the connection.
    pub fn respond(&mut self, head: ResponseHead, body: ResponseBody) {
        let Stage::Exchange(exchange) = &mut self.stage else {
            debug_assert!(!self.reads(), "there is no request to respond to");
            return;
        };
        debug_assert!(matches!(exchange.response, Response::Awaited), "the request has a response");
        if matches!(exchange.response, Response::Awaited) {
            let writer = exchange.write_head(&head, body, &mut self.output);
            exchange.response = Response::Sending(writer);
        }
    }

    /// Sends some of the response's body, uncopied. More than was declared is a bug, and is cut off.
    pub fn send_body(&mut self, bytes: Bytes) {
        if let Stage::Exchange(exchange) = &mut self.stage
            && let Response::Sending(writer) = &mut exchange.response
        {
            writer.send(bytes, &mut self.output);
        } else {
            debug_assert!(!self.reads(), "no response has begun");
        }
    }

    /// Ends the response. A body shorter than declared closes the connection, so that the client
    /// can tell.
    pub fn finish(&mut self) {
        let Stage::Exchange(exchange) = &mut self.stage else {
            debug_assert!(!self.reads(), "no response has begun");
            return;
        };
        match std::mem::replace(&mut exchange.response, Response::Finished) {
            Response::Sending(writer) => {
                exchange.keep_alive &= writer.finish(&mut self.output);
            }
            Response::Awaited => {
                debug_assert!(false, "no response has begun");
                exchange.keep_alive = false;
            }
            Response::Finished => debug_assert!(false, "the response is finished"),
        }
        exchange.stop_reading(&self.limits);
        if exchange.ends_connection() {
            self.stage = Stage::Closing;
        }
    }

    /// Gives the exchange up: sends what is queued and closes, leaving the response incomplete.
    ///
    /// A client of HTTP/1.0 that receives a body of unknown length cannot tell; reset its
    /// connection.
    pub fn abort(&mut self) {
        if self.reads() || matches!(self.stage, Stage::Exchange(_)) {
            self.stage = Stage::Closing;
        }
    }

    /// The next bytes to send.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        self.output.pop()
    }

    /// How many bytes wait to be sent.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Whether the response's body may go on without waiting for the peer.
    pub fn wants_body(&self) -> bool {
        self.output.len() < self.limits.output
    }

    /// Whether all is said and sent.
    pub fn should_close(&self) -> bool {
        matches!(self.stage, Stage::Closing | Stage::Closed) && self.output.is_empty()
    }

    /// Whether what is received is still looked at.
    fn reads(&self) -> bool {
        match &self.stage {
            Stage::Head(_) => true,
            Stage::Exchange(exchange) => !matches!(exchange.incoming, Incoming::Broken),
            Stage::Closing | Stage::Closed => false,
        }
    }

    fn begin(&mut self, head: &[u8]) -> ServerEvent {
        match parse_request(head, &self.limits) {
            Ok(head) => {
                self.stage = Stage::Exchange(Exchange {
                    incoming: Incoming::Body(BodyReader::new(head.body, &self.limits)),
                    response: Response::Awaited,
                    version: head.version,
                    head_only: head.method == Method::Head,
                    keep_alive: keeps_alive(&head.headers, head.version),
                    awaits_continue: head.expects_continue,
                });
                ServerEvent::Request(head)
            }
            Err(error) => self.broken(error),
        }
    }

    fn broken(&mut self, error: HttpError) -> ServerEvent {
        self.input.clear();
        match &mut self.stage {
            Stage::Exchange(exchange) => {
                exchange.incoming = Incoming::Broken;
                exchange.keep_alive = false;
            }
            Stage::Head(_) | Stage::Closing | Stage::Closed => {
                self.stage = Stage::Exchange(Exchange {
                    incoming: Incoming::Broken,
                    response: Response::Awaited,
                    version: Version::Http11,
                    head_only: false,
                    keep_alive: false,
                    awaits_continue: false,
                });
            }
        }
        ServerEvent::Bad(error)
    }
}

/// What came of reading on within an exchange.
enum Step {
    Event(ServerEvent),
    Broken(HttpError),
    NeedsInput,
    NextRequest,
    Close,
}

impl Exchange {
    fn read(&mut self, input: &mut Input, input_ended: bool, limits: &Limits) -> Step {
        loop {
            match &mut self.incoming {
                Incoming::Body(reader) => {
                    return match reader.read(input, input_ended, limits) {
                        Ok(BodyPart::Data(data)) => {
                            self.awaits_continue = false;
                            Step::Event(ServerEvent::Body(data))
                        }
                        Ok(BodyPart::End) => {
                            self.incoming = Incoming::Complete;
                            self.awaits_continue = false;
                            Step::Event(ServerEvent::BodyEnd)
                        }
                        Ok(BodyPart::NeedsInput) => Step::NeedsInput,
                        Err(error) => Step::Broken(error),
                    };
                }
                Incoming::Drain(reader, allowance) => {
                    let before = input.len();
                    let part = reader.read(input, input_ended, limits);
                    let used = (before - input.len()) as u64;
                    let within = allowance.checked_sub(used);
                    match (part, within) {
                        (Ok(BodyPart::End), Some(_)) => self.incoming = Incoming::Complete,
                        (Ok(BodyPart::Data(_)), Some(left)) => *allowance = left,
                        (Ok(BodyPart::NeedsInput), Some(left)) => {
                            *allowance = left;
                            return Step::NeedsInput;
                        }
                        (_, None) | (Err(_), _) => return Step::Close,
                    }
                }
                Incoming::Complete => {
                    return match self.response {
                        Response::Awaited | Response::Sending(_) => Step::NeedsInput,
                        Response::Finished if self.keep_alive => Step::NextRequest,
                        Response::Finished => Step::Close,
                    };
                }
                Incoming::Broken => {
                    return match self.response {
                        Response::Awaited | Response::Sending(_) => Step::NeedsInput,
                        Response::Finished => Step::Close,
                    };
                }
            }
        }
    }

    /// Whether the client is to send more of the body.
    fn awaits_body(&self) -> bool {
        match &self.incoming {
            Incoming::Body(reader) => reader.remaining() != Some(0) && !self.awaits_continue,
            Incoming::Drain(..) | Incoming::Complete | Incoming::Broken => false,
        }
    }

    /// Turns what is unread of the body into what is thrown away.
    fn stop_reading(&mut self, limits: &Limits) {
        match std::mem::replace(&mut self.incoming, Incoming::Complete) {
            Incoming::Body(reader) => {
                if reader.remaining().is_some_and(|left| left > limits.drain) {
                    self.keep_alive = false;
                }
                self.incoming = Incoming::Drain(reader, limits.drain);
            }
            unchanged => self.incoming = unchanged,
        }
    }

    fn ends_connection(&self) -> bool {
        !self.keep_alive && matches!(self.response, Response::Finished)
    }

    fn write_head(&mut self, head: &ResponseHead, body: ResponseBody, output: &mut Output) -> BodyWriter {
        debug_assert!((200..=599).contains(&head.status), "{} is no final status", head.status);
        let status = if (200..=599).contains(&head.status) { head.status } else { 500 };
        let bodiless_status = matches!(status, 204 | 304);
        let until_close = body == ResponseBody::Streaming && self.version == Version::Http10;
        if self.awaits_continue
            || head.headers.has_token("connection", "close")
            || (until_close && !bodiless_status)
        {
            // A client that was not told to go on may send its body or not (RFC 9110, 10.1.1).
            self.keep_alive = false;
        }

        let length = match body {
            ResponseBody::Empty => "0".to_owned(),
            ResponseBody::Length(length) => length.to_string(),
            ResponseBody::Streaming => String::new(),
        };
        let mut own = Vec::with_capacity(2);
        if !bodiless_status {
            match body {
                ResponseBody::Empty | ResponseBody::Length(_) => {
                    own.push(("Content-Length", length.as_str()));
                }
                ResponseBody::Streaming if !until_close => {
                    own.push(("Transfer-Encoding", "chunked"));
                }
                ResponseBody::Streaming => {}
            }
        }
        match (self.keep_alive, self.version) {
            (false, _) => own.push(("Connection", "close")),
            (true, Version::Http10) => own.push(("Connection", "keep-alive")),
            (true, Version::Http11) => {}
        }
        output.push(write_head(&status_line(status), &head.headers, &own));

        if bodiless_status || self.head_only {
            return BodyWriter::Discard;
        }
        match body {
            ResponseBody::Empty => BodyWriter::Length(0),
            ResponseBody::Length(length) => BodyWriter::Length(length),
            ResponseBody::Streaming if until_close => BodyWriter::UntilClose,
            ResponseBody::Streaming => BodyWriter::Chunked,
        }
    }
}
