//! The bounds of a connection, in one place.

/// What one connection may hold and accept.
///
/// A connection holds at most `input` and one read of its driver, plus one `head`, on the way in;
/// on the way out it holds what its user has given it, see `output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head: request or status line, headers and line ends.
    pub head: usize,
    /// Header lines in a head.
    pub headers: usize,
    /// Bytes of a header's name.
    pub header_name: usize,
    /// Bytes of a header's value.
    pub header_value: usize,
    /// Bytes of a request target.
    pub target: usize,
    /// Bytes of a chunk's size line with its extensions.
    pub chunk_line: usize,
    /// Bytes of the trailer section after a chunked body.
    pub trailers: usize,
    /// Lines of the trailer section.
    pub trailer_lines: usize,
    /// Bytes of a body. Unlimited by default: uploads are streamed.
    pub body: u64,
    /// Bytes of an unread request body that are thrown away to keep a connection alive.
    pub drain: u64,
    /// Received bytes that may wait before `wants_input` says no.
    pub input: usize,
    /// Bytes that may wait to be sent before `wants_body` says no.
    pub output: usize,
    /// Interim (1xx) responses that a client accepts before the final one.
    pub interim: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 16 * 1024,
            headers: 100,
            header_name: 256,
            header_value: 8 * 1024,
            target: 8 * 1024,
            chunk_line: 256,
            trailers: 4 * 1024,
            trailer_lines: 32,
            body: u64::MAX,
            drain: 64 * 1024,
            input: 64 * 1024,
            output: 256 * 1024,
            interim: 8,
        }
    }
}

impl Limits {
    /// The longest request line: a method of 32 bytes, the target, the version and two spaces.
    pub(super) fn request_line(&self) -> usize {
        self.target.saturating_add(32 + 2 + 8)
    }
}
