//! The client's side of one connection.

use bytes::Bytes;

use super::body::{BodyPart, BodyReader};
use super::head::{
    BodyKind, Method, RequestHead, ResponseHead, check_length, check_target, is_method, keeps_alive,
    parse_response, write_head,
};
use super::input::Input;
use super::lines::{HeadKind, HeadReader};
use super::output::{BodyWriter, Output};
use super::{ApiMisuse, HttpError, Limits};

/// The client's side of one connection: one request at a time.
///
/// Call [`request`](Self::request), then [`send_body`](Self::send_body) and
/// [`finish_body`](Self::finish_body) if it has a body; take [`poll_output`](Self::poll_output)
/// to the socket, give what the socket reads to [`receive`](Self::receive), and poll events after
/// every other call until there are none.
///
/// Events come as `Continue? Response Body* BodyEnd`, or `Bad` in place of anything, which is the
/// last.
/// A body that the connection cut short is `Bad`, never `BodyEnd`.
/// A response may come before the request's body is sent; the connection is then not used again.
///
/// Input is parsed when events are polled; [`wants_input`](Self::wants_input) says no while
/// [`Limits::input`] bytes wait.
#[derive(Debug)]
pub struct ClientConnection {
    limits: Limits,
    input: Input,
    input_ended: bool,
    stage: Stage,
    upload: Upload,
    output: Output,
}

/// What the server did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// The server waits for the request's body.
    Continue,
    /// The response has begun, and its body is framed so.
    Response(ResponseHead, BodyKind),
    /// Some of its body, cut from the buffer it was received in.
    Body(Bytes),
    /// The response is complete.
    BodyEnd,
    /// The response is wrong or incomplete; nothing more comes.
    Bad(HttpError),
}

/// ```text
/// Idle ──(request)──▶ Head ──(final response)──▶ Body ──(end, kept alive)──▶ Idle
///   │                   └───────────(bad)──────────┴──(bad, or not kept)───▶ Closed
///   └──(unexpected input)──────────────────────────────────────────────────────▲
/// ```
#[derive(Debug)]
enum Stage {
    Idle,
    Head {
        reader: HeadReader,
        /// Whether the request was HEAD.
        head_only: bool,
        /// Whether the request allows another after it.
        keep_alive: bool,
        /// Interim responses so far.
        interim: usize,
    },
    Body {
        reader: BodyReader,
        keep_alive: bool,
    },
    Closed,
}

#[derive(Debug)]
enum Upload {
    Sending(BodyWriter),
    Complete,
    /// Ended before its declared length.
    Short,
}

impl ClientConnection {
    /// A new connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            input: Input::default(),
            input_ended: false,
            stage: Stage::Idle,
            upload: Upload::Complete,
            output: Output::default(),
        }
    }

    /// Begins a request.
    ///
    /// The connection writes `Content-Length`, `Transfer-Encoding`, `Expect` and `Connection` from
    /// the head's fields; of those in its headers only `Connection: close` counts.
    /// The headers name the `Host`. The request is sent as HTTP/1.1, whatever the head says.
    pub fn request(&mut self, head: &RequestHead) -> Result<(), ApiMisuse> {
        if !self.is_reusable() {
            return Err(match self.stage {
                Stage::Head { .. } | Stage::Body { .. } => ApiMisuse::Busy,
                Stage::Idle | Stage::Closed => ApiMisuse::NotReusable,
            });
        }
        if !is_method(&head.method) {
            return Err(ApiMisuse::InvalidMethod);
        }
        if check_target(&head.target, &self.limits).is_err() {
            return Err(ApiMisuse::InvalidTarget);
        }
        if head.headers.get_all("host").count() != 1 {
            return Err(ApiMisuse::InvalidHost);
        }
        let keep_alive = !head.headers.has_token("connection", "close");
        let length = match head.body {
            BodyKind::Length(length) => length.to_string(),
            BodyKind::None | BodyKind::Chunked | BodyKind::UntilClose => "0".to_owned(),
        };
        let mut own = Vec::with_capacity(3);
        self.upload = match head.body {
            BodyKind::None => {
                // Servers may ask for a length where a body is usual (RFC 9110, section 8.6).
                if matches!(head.method, Method::Put | Method::Post | Method::Patch) {
                    own.push(("Content-Length", "0"));
                }
                Upload::Complete
            }
            BodyKind::Length(bytes) => {
                own.push(("Content-Length", length.as_str()));
                Upload::Sending(BodyWriter::Length(bytes))
            }
            BodyKind::Chunked => {
                own.push(("Transfer-Encoding", "chunked"));
                Upload::Sending(BodyWriter::Chunked)
            }
            BodyKind::UntilClose => return Err(ApiMisuse::InvalidBody),
        };
        if head.expects_continue && matches!(self.upload, Upload::Sending(_)) {
            own.push(("Expect", "100-continue"));
        }
        if !keep_alive {
            own.push(("Connection", "close"));
        }
        let start_line = format!("{} {} HTTP/1.1", head.method.as_str(), head.target);
        self.output.push(write_head(&start_line, &head.headers, &own));
        self.stage = Stage::Head {
            reader: HeadReader::new(HeadKind::Response),
            head_only: head.method == Method::Head,
            keep_alive,
            interim: 0,
        };
        Ok(())
    }

    /// Sends some of the request's body, uncopied. More than was declared is a bug, and is cut off.
    ///
    /// Once the response is complete or bad the rest of the body is thrown away.
    pub fn send_body(&mut self, bytes: Bytes) {
        if let Upload::Sending(writer) = &mut self.upload {
            if !matches!(self.stage, Stage::Closed) {
                writer.send(bytes, &mut self.output);
            }
        } else {
            debug_assert!(
                bytes.is_empty() || matches!(self.stage, Stage::Closed),
                "no request body is being sent"
            );
        }
    }

    /// Ends the request's body. One shorter than declared can only be ended by closing.
    pub fn finish_body(&mut self) {
        if let Upload::Sending(writer) = std::mem::replace(&mut self.upload, Upload::Complete)
            && !matches!(self.stage, Stage::Closed)
            && !writer.finish(&mut self.output)
        {
            self.upload = Upload::Short;
            self.stage = Stage::Closed;
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

    /// Whether the request's body may go on without waiting for the peer.
    pub fn wants_body(&self) -> bool {
        self.output.len() < self.limits.output
    }

    /// Takes received bytes.
    pub fn receive(&mut self, bytes: Bytes) {
        if !matches!(self.stage, Stage::Closed) {
            self.input.push(bytes);
        }
    }

    /// Takes the end of the input.
    pub fn receive_eof(&mut self) {
        self.input_ended = true;
    }

    /// Whether the driver should read from the socket.
    pub fn wants_input(&self) -> bool {
        !matches!(self.stage, Stage::Closed) && !self.input_ended && self.input.len() < self.limits.input
    }

    /// How many received bytes wait to be parsed.
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        match self.next_event() {
            Ok(event) => event,
            Err(error) => {
                self.close();
                Some(ClientEvent::Bad(error))
            }
        }
    }

    /// Whether another request can be made on this connection now.
    pub fn is_reusable(&self) -> bool {
        matches!(self.stage, Stage::Idle)
            && matches!(self.upload, Upload::Complete)
            && !self.input_ended
            && self.input.is_empty()
    }

    /// Whether the connection is of no more use.
    pub fn should_close(&self) -> bool {
        match self.stage {
            Stage::Closed => true,
            Stage::Idle => self.input_ended,
            Stage::Head { .. } | Stage::Body { .. } => false,
        }
    }

    fn next_event(&mut self) -> Result<Option<ClientEvent>, HttpError> {
        loop {
            match &mut self.stage {
                Stage::Idle if self.input.is_empty() => return Ok(None),
                Stage::Idle => return Err(HttpError::UnexpectedInput),
                Stage::Head { reader, head_only, keep_alive, interim } => {
                    let Some(bytes) = reader.read(&mut self.input, &self.limits)? else {
                        return match (self.input_ended, reader.is_empty()) {
                            (false, _) => Ok(None),
                            (true, true) => Err(HttpError::NoResponse),
                            (true, false) => Err(HttpError::HeadCutShort),
                        };
                    };
                    *reader = HeadReader::new(HeadKind::Response);
                    let response = parse_response(&bytes, &self.limits)?;
                    match response.head.status {
                        101 => return Err(HttpError::UnexpectedUpgrade),
                        status @ 100..=199 => {
                            *interim += 1;
                            if *interim > self.limits.interim {
                                return Err(HttpError::TooManyInterimResponses);
                            }
                            if status == 100 {
                                return Ok(Some(ClientEvent::Continue));
                            }
                        }
                        status => {
                            let body = if *head_only || matches!(status, 204 | 304) {
                                BodyKind::None
                            } else {
                                response.framing.unwrap_or(BodyKind::UntilClose)
                            };
                            check_length(body, &self.limits)?;
                            let keep_alive = *keep_alive
                                && body != BodyKind::UntilClose
                                && keeps_alive(&response.head.headers, response.version);
                            self.stage =
                                Stage::Body { reader: BodyReader::new(body, &self.limits), keep_alive };
                            return Ok(Some(ClientEvent::Response(response.head, body)));
                        }
                    }
                }
                Stage::Body { reader, keep_alive } => {
                    let keep_alive = *keep_alive && matches!(self.upload, Upload::Complete);
                    return match reader.read(&mut self.input, self.input_ended, &self.limits)? {
                        BodyPart::Data(data) => Ok(Some(ClientEvent::Body(data))),
                        BodyPart::NeedsInput => Ok(None),
                        BodyPart::End => {
                            if keep_alive {
                                self.stage = Stage::Idle;
                            } else {
                                self.close();
                            }
                            Ok(Some(ClientEvent::BodyEnd))
                        }
                    };
                }
                Stage::Closed => return Ok(None),
            }
        }
    }

    fn close(&mut self) {
        self.stage = Stage::Closed;
        self.input.clear();
    }
}
