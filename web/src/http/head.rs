//! Heads of messages: what they hold, how they are parsed and written.
//!
//! httparse parses a complete head, which [`HeadReader`](super::lines::HeadReader) has gathered.

use std::fmt::{self, Write as _};

use super::headers::{Headers, is_token};
use super::{HttpError, Limits};

/// A request method.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `PUT`
    Put,
    /// `POST`
    Post,
    /// `DELETE`
    Delete,
    /// `PATCH`
    Patch,
    /// `OPTIONS`
    Options,
    /// Any other.
    Other(String),
}

impl Method {
    /// The method as it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
            Self::Options => "OPTIONS",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for Method {
    fn from(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PUT" => Self::Put,
            "POST" => Self::Post,
            "DELETE" => Self::Delete,
            "PATCH" => Self::Patch,
            "OPTIONS" => Self::Options,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// The version a message speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: no chunks, and the connection closes unless agreed otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How a message's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// There is no body.
    None,
    /// A body of so many bytes.
    Length(u64),
    /// A body of unknown length in chunks.
    Chunked,
    /// A body that ends with the connection, in responses only.
    /// Whether it is complete cannot be known.
    UntilClose,
}

/// The head of a request.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// What is asked for.
    pub method: Method,
    /// What it is asked of, as sent: visible ASCII, not decoded.
    pub target: String,
    /// The version of the message.
    pub version: Version,
    /// The headers in order.
    pub headers: Headers,
    /// How the body is framed.
    pub body: BodyKind,
    /// Whether the client waits for a `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

impl RequestHead {
    /// A request without headers and body.
    pub fn new(method: Method, target: &str) -> Self {
        Self {
            method,
            target: target.to_owned(),
            version: Version::Http11,
            headers: Headers::new(),
            body: BodyKind::None,
            expects_continue: false,
        }
    }
}

/// Without the target and the headers: they hold capabilities.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestHead({:?}, {} bytes of target, {:?})", self.method, self.target.len(), self.body)
    }
}

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status, 200 to 599 when sent.
    pub status: u16,
    /// The headers in order.
    pub headers: Headers,
}

impl ResponseHead {
    /// A response without headers.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Headers::new() }
    }
}

pub(super) fn parse_request(bytes: &[u8], limits: &Limits) -> Result<RequestHead, HttpError> {
    let mut slots = header_slots(bytes);
    let mut parsed = httparse::Request::new(&mut slots);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(used)) if used == bytes.len() => {}
        Ok(_) => return Err(HttpError::BadHeader),
        Err(httparse::Error::Version) => return Err(version_error(bytes)),
        Err(error) => return Err(head_error(error, HttpError::BadRequestLine)),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(HttpError::BadRequestLine);
    };
    if method == "CONNECT" {
        return Err(HttpError::TunnelRefused);
    }
    let version = version_of(version);
    let target = check_target(target, limits)?.to_owned();
    let headers = collect_headers(parsed.headers, limits)?;
    let hosts = headers.get_all("host").count();
    if hosts > 1 || (hosts == 0 && version == Version::Http11) {
        return Err(HttpError::BadHost);
    }
    let body = framing(&headers, version)?.unwrap_or(BodyKind::None);
    check_length(body, limits)?;
    let expects_continue =
        expectation(&headers, version)? && !matches!(body, BodyKind::None | BodyKind::Length(0));
    Ok(RequestHead { method: Method::from(method), target, version, headers, body, expects_continue })
}

/// A response head with the framing its headers declare, if any.
pub(super) struct ParsedResponse {
    pub(super) head: ResponseHead,
    pub(super) version: Version,
    pub(super) framing: Option<BodyKind>,
}

pub(super) fn parse_response(bytes: &[u8], limits: &Limits) -> Result<ParsedResponse, HttpError> {
    let mut slots = header_slots(bytes);
    let mut parsed = httparse::Response::new(&mut slots);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(used)) if used == bytes.len() => {}
        Ok(_) => return Err(HttpError::BadHeader),
        Err(httparse::Error::Version) => {
            return Err(if bytes.starts_with(b"HTTP/") {
                HttpError::UnsupportedVersion
            } else {
                HttpError::BadStatusLine
            });
        }
        Err(error) => return Err(head_error(error, HttpError::BadStatusLine)),
    }
    let (Some(version), Some(status)) = (parsed.version, parsed.code) else {
        return Err(HttpError::BadStatusLine);
    };
    if !(100..=599).contains(&status) {
        return Err(HttpError::BadStatusLine);
    }
    let version = version_of(version);
    let headers = collect_headers(parsed.headers, limits)?;
    // The framing headers of responses without a body describe what GET would have sent.
    let framing = framing(&headers, version)?;
    Ok(ParsedResponse { head: ResponseHead { status, headers }, version, framing })
}

/// Checks a trailer section; its content is of no use to us.
pub(super) fn check_trailers(bytes: &[u8], limits: &Limits) -> Result<(), HttpError> {
    let mut slots = header_slots(bytes);
    match httparse::parse_headers(bytes, &mut slots) {
        Ok(httparse::Status::Complete((used, headers))) if used == bytes.len() => {
            collect_headers(headers, limits).map_err(|_| HttpError::BadTrailers)?;
            Ok(())
        }
        Ok(_) | Err(_) => Err(HttpError::BadTrailers),
    }
}

pub(super) fn keeps_alive(headers: &Headers, version: Version) -> bool {
    !headers.has_token("connection", "close")
        && (version == Version::Http11 || headers.has_token("connection", "keep-alive"))
}

/// Whether a target can stand in a request line; the forms are those of RFC 9112, section 3.2.
pub(super) fn check_target<'a>(target: &'a str, limits: &Limits) -> Result<&'a str, HttpError> {
    if target.len() > limits.target {
        return Err(HttpError::TargetTooLong);
    }
    let absolute =
        |scheme: &str| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let known_form = target.starts_with('/') || target == "*" || absolute("http://") || absolute("https://");
    if !known_form || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(HttpError::BadTarget);
    }
    Ok(target)
}

/// Writes a start line, the user's headers and our own.
///
/// The headers of the user that only the connection can know are left out.
pub(super) fn write_head(start_line: &str, headers: &Headers, own: &[(&str, &str)]) -> Vec<u8> {
    let size = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
    let mut bytes = Vec::with_capacity(start_line.len() + size + 96);
    bytes.extend_from_slice(start_line.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    let given = headers.iter().filter(|(name, _)| {
        !["connection", "content-length", "expect", "transfer-encoding"]
            .iter()
            .any(|ours| name.eq_ignore_ascii_case(ours))
    });
    let own = own.iter().map(|(name, value)| (*name, value.as_bytes()));
    for (name, value) in given.chain(own) {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

pub(super) fn status_line(status: u16) -> String {
    let mut line = String::with_capacity(48);
    write!(line, "HTTP/1.1 {status} {}", reason(status)).expect("a string takes any text");
    line
}

/// How the headers frame the body (RFC 9112, section 6), if they do.
///
/// Whatever two readers could understand in two ways is refused: that is how requests are smuggled.
fn framing(headers: &Headers, version: Version) -> Result<Option<BodyKind>, HttpError> {
    let mut length = None;
    for value in headers.get_all("content-length") {
        let found = parse_decimal(value).ok_or(HttpError::BadContentLength)?;
        if length.is_some_and(|earlier| earlier != found) {
            return Err(HttpError::ConflictingContentLength);
        }
        length = Some(found);
    }
    if headers.contains("transfer-encoding") {
        if length.is_some() {
            return Err(HttpError::LengthAndTransferEncoding);
        }
        if version == Version::Http10 {
            return Err(HttpError::BadTransferEncoding);
        }
        let chunked = |token: &[u8]| token.eq_ignore_ascii_case(b"chunked");
        let codings = headers.tokens("transfer-encoding").count();
        let chunks = headers.tokens("transfer-encoding").filter(|token| chunked(token)).count();
        let last = headers.tokens("transfer-encoding").last();
        return match (chunks, last) {
            (1, Some(last)) if chunked(last) => {
                if codings == 1 {
                    Ok(Some(BodyKind::Chunked))
                } else {
                    Err(HttpError::UnsupportedTransferCoding)
                }
            }
            _ => Err(HttpError::BadTransferEncoding),
        };
    }
    Ok(length.map(BodyKind::Length))
}

/// Refuses a body whose declared length is beyond the limit.
pub(super) fn check_length(body: BodyKind, limits: &Limits) -> Result<(), HttpError> {
    match body {
        BodyKind::Length(length) if length > limits.body => Err(HttpError::BodyTooLarge),
        BodyKind::None | BodyKind::Length(_) | BodyKind::Chunked | BodyKind::UntilClose => Ok(()),
    }
}

fn expectation(headers: &Headers, version: Version) -> Result<bool, HttpError> {
    if version == Version::Http10 || !headers.contains("expect") {
        return Ok(false);
    }
    let known = |token: &[u8]| token.eq_ignore_ascii_case(b"100-continue");
    if headers.tokens("expect").all(known) { Ok(true) } else { Err(HttpError::UnknownExpectation) }
}

/// Digits only: no sign, no white space, no list.
pub(super) fn parse_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn header_slots(bytes: &[u8]) -> Vec<httparse::Header<'_>> {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    vec![httparse::EMPTY_HEADER; lines]
}

fn collect_headers(parsed: &[httparse::Header<'_>], limits: &Limits) -> Result<Headers, HttpError> {
    let mut headers = Headers::new();
    for header in parsed {
        if header.name.len() > limits.header_name || header.value.len() > limits.header_value {
            return Err(HttpError::HeaderTooLong);
        }
        headers.push(header.name, header.value).map_err(|_| HttpError::BadHeader)?;
    }
    Ok(headers)
}

fn head_error(error: httparse::Error, first_line: HttpError) -> HttpError {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => HttpError::BadHeader,
        httparse::Error::TooManyHeaders => HttpError::TooManyHeaders,
        httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token
        | httparse::Error::Version => first_line,
    }
}

/// Tells a version we do not speak from a line that names none.
fn version_error(head: &[u8]) -> HttpError {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or(head);
    let mut words = line.split(|byte| *byte == b' ');
    match (words.nth(2), words.next()) {
        (Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None)
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            HttpError::UnsupportedVersion
        }
        _ => HttpError::BadRequestLine,
    }
}

fn version_of(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

pub(super) fn is_method(method: &Method) -> bool {
    is_token(method.as_str().as_bytes()) && method.as_str().len() <= 32 && method.as_str() != "CONNECT"
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}
