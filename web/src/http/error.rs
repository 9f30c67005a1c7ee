//! What can be wrong with a peer's messages, and with a caller's calls.

use std::fmt;

/// What a peer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpError {
    /// The request line is malformed.
    BadRequestLine,
    /// The status line is malformed.
    BadStatusLine,
    /// The request target is not a path, `*` or an http address in visible ASCII.
    BadTarget,
    /// The request target, or the whole request line, is too long.
    TargetTooLong,
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    UnsupportedVersion,
    /// A line ends in a bare line feed.
    BareLineFeed,
    /// A header line is malformed, or folded.
    BadHeader,
    /// The head is too large.
    HeadTooLarge,
    /// The head has too many headers.
    TooManyHeaders,
    /// A header's name or value is too long.
    HeaderTooLong,
    /// The Host header is missing or repeated.
    BadHost,
    /// Content-Length is not a decimal number.
    BadContentLength,
    /// There are several Content-Length headers that differ.
    ConflictingContentLength,
    /// There are both Content-Length and Transfer-Encoding.
    LengthAndTransferEncoding,
    /// Transfer-Encoding does not end in one `chunked`, or appears in HTTP/1.0.
    BadTransferEncoding,
    /// Transfer-Encoding names a coding other than `chunked`.
    UnsupportedTransferCoding,
    /// Expect asks for something other than `100-continue`.
    UnknownExpectation,
    /// The method asks for a tunnel.
    TunnelRefused,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// The framing of a chunk is malformed.
    BadChunk,
    /// The size line of a chunk is too long.
    ChunkLineTooLong,
    /// The trailer section is malformed.
    BadTrailers,
    /// The trailer section is too large.
    TrailersTooLarge,
    /// The connection ended within a head.
    HeadCutShort,
    /// The connection ended within a body.
    BodyCutShort,
    /// The driver's patience ended within a request or response.
    TimedOut,
    /// The connection ended before any byte of a response.
    NoResponse,
    /// Bytes came that answer no request.
    UnexpectedInput,
    /// The response switches to another protocol, which nobody asked for.
    UnexpectedUpgrade,
    /// There are too many interim responses.
    TooManyInterimResponses,
}

impl HttpError {
    /// The status with which a server answers this request, or with which a gateway passes on such
    /// a response.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequestLine
            | Self::BadTarget
            | Self::BareLineFeed
            | Self::BadHeader
            | Self::BadHost
            | Self::BadContentLength
            | Self::ConflictingContentLength
            | Self::LengthAndTransferEncoding
            | Self::BadTransferEncoding
            | Self::BadChunk
            | Self::ChunkLineTooLong
            | Self::BadTrailers
            | Self::HeadCutShort
            | Self::BodyCutShort => 400,
            Self::TimedOut => 408,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::UnknownExpectation => 417,
            Self::HeadTooLarge | Self::TooManyHeaders | Self::HeaderTooLong | Self::TrailersTooLarge => 431,
            Self::UnsupportedTransferCoding | Self::TunnelRefused => 501,
            Self::BadStatusLine
            | Self::NoResponse
            | Self::UnexpectedInput
            | Self::UnexpectedUpgrade
            | Self::TooManyInterimResponses => 502,
            Self::UnsupportedVersion => 505,
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadRequestLine => "The request line is malformed.",
            Self::BadStatusLine => "The status line of the response is malformed.",
            Self::BadTarget => "The request target is not a valid path or http address.",
            Self::TargetTooLong => "The request target is too long.",
            Self::UnsupportedVersion => "Only HTTP/1.0 and HTTP/1.1 are spoken here.",
            Self::BareLineFeed => "A line ends in a line feed without a carriage return.",
            Self::BadHeader => "A header line is malformed.",
            Self::HeadTooLarge => "The headers are too large.",
            Self::TooManyHeaders => "There are too many headers.",
            Self::HeaderTooLong => "A header is too long.",
            Self::BadHost => "The Host header is missing or repeated.",
            Self::BadContentLength => "The Content-Length header is not a number.",
            Self::ConflictingContentLength => "The Content-Length headers contradict each other.",
            Self::LengthAndTransferEncoding => {
                "Content-Length and Transfer-Encoding cannot be used together."
            }
            Self::BadTransferEncoding => "The Transfer-Encoding header is malformed.",
            Self::UnsupportedTransferCoding => "Only the chunked transfer coding is spoken here.",
            Self::UnknownExpectation => "The only expectation that can be met is 100-continue.",
            Self::TunnelRefused => "Tunnels are not offered here.",
            Self::BodyTooLarge => "The body is too large.",
            Self::BadChunk => "A chunk of the body is malformed.",
            Self::ChunkLineTooLong => "The size line of a chunk is too long.",
            Self::BadTrailers => "The trailers after the body are malformed.",
            Self::TrailersTooLarge => "The trailers after the body are too large.",
            Self::HeadCutShort => "The connection ended within the headers.",
            Self::BodyCutShort => "The connection ended before the body was complete.",
            Self::TimedOut => "The rest of the message did not come in time.",
            Self::NoResponse => "The connection ended without a response.",
            Self::UnexpectedInput => "The server sent bytes that answer no request.",
            Self::UnexpectedUpgrade => "The server switched to another protocol unasked.",
            Self::TooManyInterimResponses => "The server sent too many interim responses.",
        })
    }
}

impl std::error::Error for HttpError {}

/// What a caller of [`ClientConnection`](super::ClientConnection) did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiMisuse {
    /// The connection is still busy with the request before.
    Busy,
    /// The connection takes no further request; open another.
    NotReusable,
    /// The target cannot stand in a request line, or is too long.
    InvalidTarget,
    /// The method cannot stand in a request line.
    InvalidMethod,
    /// The headers name no Host, or several.
    InvalidHost,
    /// Only a response can have a body that ends with the connection.
    InvalidBody,
}

impl fmt::Display for ApiMisuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "The request before this one is not finished.",
            Self::NotReusable => "This connection takes no further request.",
            Self::InvalidTarget => "This address cannot be sent in a request.",
            Self::InvalidMethod => "This method cannot be sent in a request.",
            Self::InvalidHost => "A request needs exactly one Host header.",
            Self::InvalidBody => "A request's body cannot end with the connection.",
        })
    }
}

impl std::error::Error for ApiMisuse {}
