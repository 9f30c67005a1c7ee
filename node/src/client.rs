//! Talking to a node over its web port.

use crate::directory::NODE_URL;
use crate::drive::cap::without_capabilities;
use crate::exit::{Failure, failed};
use crate::secrets;
use anyhow::Result;
use bytes::{Bytes, BytesMut};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tallac_host::tls::{WebIdentity, WebStream};
use tallac_web::http::{
    BodyKind, ClientConnection, ClientEvent, HttpError, Limits, RequestHead, ResponseHead,
};

/// How often a wait is broken to look whether the user has interrupted.
const LOOK_UP: Duration = Duration::from_millis(100);
const READ_SIZE: usize = 256 * 1024;
/// Most bytes of an answer that is meant to be short.
pub(crate) const TEXT_LEN_MAX: usize = 64 * 1024 * 1024;

/// Says whether the user wants to stop.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Is set by Ctrl-C and SIGTERM from now on.
    pub(crate) fn on_signals() -> Interrupt {
        let interrupt = Interrupt::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // Without the handlers an interrupt just ends the program, which is no worse. The second
            // interrupt ends it whatever it is doing.
            let code = Failure::Interrupted as i32;
            let _ = signal_hook::flag::register_conditional_shutdown(signal, code, interrupt.0.clone());
            let _ = signal_hook::flag::register(signal, interrupt.0.clone());
        }
        interrupt
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(failed(Failure::Interrupted, "interrupted")) } else { Ok(()) }
    }
}

/// Where a node's web port is.
#[derive(Clone, Debug)]
pub(crate) struct NodeUrl {
    /// `HOST:PORT`.
    pub(crate) authority: String,
    /// The certificate that it shows, as PEM, if it speaks https.
    certificate: Option<Vec<u8>>,
    /// What it wants to be shown, if it asks who uses it.
    login: Option<Login>,
}

/// A login token. Never printed.
#[derive(Clone)]
struct Login(String);

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

impl NodeUrl {
    /// Reads `node.url` of a node directory.
    pub(crate) fn of(directory: &Path) -> Result<NodeUrl> {
        let path = directory.join(NODE_URL);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let hint = if error.kind() == ErrorKind::NotFound {
                format!(
                    "{} has no {NODE_URL}: is it a node directory, and was its node ever started? \
                     (tallac run {})",
                    directory.display(),
                    directory.display()
                )
            } else {
                format!("reading {}: {error}", path.display())
            };
            failed(Failure::NoNode, hint)
        })?;
        let login = secrets::read_login_token(&directory.join("private"))?.map(Login);
        let (scheme, rest) = text.trim().split_once("://").unwrap_or_default();
        let authority = rest.trim_end_matches('/');
        let names_one = !authority.is_empty() && !authority.contains('/');
        match scheme {
            "http" if names_one => Ok(NodeUrl { authority: authority.to_owned(), certificate: None, login }),
            "https" if names_one => {
                let shown = directory.join(crate::web_port::SHOWN);
                let certificate = std::fs::read(&shown).map_err(|error| {
                    let text =
                        format!("the certificate of the node, {}, cannot be read: {error}", shown.display());
                    failed(Failure::NoNode, text)
                })?;
                Ok(NodeUrl { authority: authority.to_owned(), certificate: Some(certificate), login })
            }
            _ => Err(failed(
                Failure::NoNode,
                format!(
                    "{} holds no address of the form http://HOST:PORT/ or https://HOST:PORT/",
                    path.display()
                ),
            )),
        }
    }

    /// Its address, with no slash at the end.
    pub(crate) fn address(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    pub(crate) fn connect(&self, interrupt: &Interrupt) -> Result<Connection> {
        let stream = TcpStream::connect(&self.authority).map_err(|error| {
            failed(
                Failure::NoNode,
                format!("no node answers at {}/ ({error}); start it with `tallac run`", self.address()),
            )
        })?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK_UP))?;
        stream.set_write_timeout(Some(LOOK_UP))?;
        let stream = match &self.certificate {
            None => Stream::Plain(stream),
            Some(certificate) => {
                let stream = WebIdentity::connect(certificate, stream);
                Stream::Tls(Box::new(stream.map_err(|error| {
                    failed(Failure::NoNode, format!("the certificate of the node cannot be used: {error}"))
                })?))
            }
        };
        Ok(Connection {
            stream,
            http: ClientConnection::new(Limits::default()),
            interrupt: interrupt.clone(),
            buffer: BytesMut::new(),
        })
    }

    /// Names the node in the head of a request to it.
    pub(crate) fn introduce(&self, head: &mut RequestHead) -> Result<()> {
        head.headers.push("Host", &self.authority)?;
        // The peer answers with HTML otherwise, and with an error's sentence in the middle of a page.
        head.headers.push("Accept", "text/plain, application/octet-stream")?;
        if let Some(Login(token)) = &self.login
            && !head.headers.contains("Authorization")
        {
            head.headers.push("Authorization", format!("Bearer {token}"))?;
        }
        Ok(())
    }

    /// Whether it asks who uses it.
    pub(crate) fn asks_for_login(&self) -> bool {
        self.login.is_some()
    }

    /// A GET whose answer is short.
    pub(crate) fn get_text(&self, target: &str, interrupt: &Interrupt) -> Result<(u16, String)> {
        let mut connection = self.connect(interrupt)?;
        let mut head = RequestHead::new(tallac_web::http::Method::Get, target);
        self.introduce(&mut head)?;
        connection.request(&head)?;
        let (response, _) = connection.response()?;
        let body = connection.body_text(TEXT_LEN_MAX)?;
        Ok((response.status, body))
    }
}

/// What goes to and comes from a web port.
enum Stream {
    Plain(TcpStream),
    Tls(Box<WebStream>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

/// One connection to a node's web port.
pub(crate) struct Connection {
    stream: Stream,
    http: ClientConnection,
    interrupt: Interrupt,
    buffer: BytesMut,
}

impl Connection {
    pub(crate) fn request(&mut self, head: &RequestHead) -> Result<()> {
        self.http.request(head)?;
        if head.body == BodyKind::None {
            self.http.finish_body();
        }
        self.flush()
    }

    /// Sends a piece of the request's body. An early answer ends the sending: `false`.
    pub(crate) fn send_body(&mut self, bytes: Bytes) -> Result<bool> {
        self.http.send_body(bytes);
        match self.flush() {
            Ok(()) => Ok(true),
            // The node may have answered and closed; its answer says why.
            Err(error) if error.downcast_ref::<std::io::Error>().is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn finish_body(&mut self) -> Result<()> {
        self.http.finish_body();
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        while let Some(bytes) = self.http.poll_output() {
            self.write(&bytes)?;
        }
        // What TLS holds back goes out, too.
        loop {
            match self.stream.flush() {
                Err(error) if is_pause(&error) => self.interrupt.check()?,
                flushed => return Ok(flushed?),
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            self.interrupt.check()?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(std::io::Error::from(ErrorKind::WriteZero).into()),
                Ok(len) => bytes = &bytes[len..],
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits for the head of the response.
    pub(crate) fn response(&mut self) -> Result<(ResponseHead, BodyKind)> {
        loop {
            match self.next_event()? {
                ClientEvent::Response(head, body) => return Ok((head, body)),
                ClientEvent::Continue => {}
                ClientEvent::Bad(error) => return Err(bad(error)),
                ClientEvent::Body(_) | ClientEvent::BodyEnd => {}
            }
        }
    }

    /// The next piece of the response's body; `None` at its end. A body cut short is an error.
    pub(crate) fn body(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.next_event()? {
                ClientEvent::Body(bytes) => return Ok(Some(bytes)),
                ClientEvent::BodyEnd => return Ok(None),
                ClientEvent::Bad(error) => return Err(bad(error)),
                ClientEvent::Continue | ClientEvent::Response(..) => {}
            }
        }
    }

    /// The rest of the response's body as text, if it is no longer than `len_max` bytes.
    pub(crate) fn body_text(&mut self, len_max: usize) -> Result<String> {
        let mut text = Vec::new();
        while let Some(bytes) = self.body()? {
            text.extend_from_slice(&bytes);
            if text.len() > len_max {
                return Err(failed(Failure::General, "the node's answer is far too long"));
            }
        }
        Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    fn next_event(&mut self) -> Result<ClientEvent> {
        loop {
            if let Some(event) = self.http.poll_event() {
                return Ok(event);
            }
            self.interrupt.check()?;
            self.buffer.resize(READ_SIZE, 0);
            match self.stream.read(&mut self.buffer) {
                Ok(0) => self.http.receive_eof(),
                Ok(len) => {
                    let bytes = self.buffer.split_to(len).freeze();
                    self.http.receive(bytes);
                }
                Err(error) if is_pause(&error) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => self.http.receive_eof(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether a read or write has only paused, to look up.
fn is_pause(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn bad(error: HttpError) -> anyhow::Error {
    failed(Failure::CutShort, format!("the node's answer broke off: {error}"))
}

/// The error for an answer that is no success: the node's own words, and a code that fits.
pub(crate) fn refused(status: u16, text: &str) -> anyhow::Error {
    let failure = match status {
        400..=409 | 411..=499 => Failure::Usage,
        410 | 503 => Failure::Grid,
        _ => Failure::General,
    };
    // The node may repeat what it was asked for.
    let text = without_capabilities(said(text.trim()));
    let text = if text.is_empty() { format!("the node answered with status {status}") } else { text };
    failed(failure, text)
}

/// What of an answer is meant for people. The peer sends tracebacks, of which the last line says what has
/// happened.
fn said(text: &str) -> &str {
    let traceback = text.contains("Traceback (most recent call last)") || text.starts_with("Traceback");
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    if traceback { line.unwrap_or_default() } else { text }
}
