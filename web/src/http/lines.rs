//! Gathering the lines of a head or of a trailer section, within the limits.
//!
//! Lines are split here because httparse accepts a bare line feed as an end of line.

use super::headers::is_token_byte;
use super::input::Input;
use super::{HttpError, Limits};

/// Gathers one head, or one trailer section, line by line.
#[derive(Debug)]
pub(super) struct HeadReader {
    kind: HeadKind,
    bytes: Vec<u8>,
    line_start: usize,
    lines: usize,
    /// Bytes of empty lines before a request line, which are skipped (RFC 9112, section 2.2).
    skipped: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadKind {
    Request,
    Response,
    Trailers,
}

const SKIPPED_MAX: usize = 16;

impl HeadReader {
    pub(super) fn new(kind: HeadKind) -> Self {
        Self { kind, bytes: Vec::new(), line_start: 0, lines: 0, skipped: 0 }
    }

    /// Whether nothing of the head has come yet.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes input up to the end of the head and gives the head once it is complete.
    ///
    /// Every decision depends on the bytes seen so far, never on how they were cut into chunks.
    pub(super) fn read(&mut self, input: &mut Input, limits: &Limits) -> Result<Option<Vec<u8>>, HttpError> {
        let (total_max, too_large) = match self.kind {
            HeadKind::Request | HeadKind::Response => (limits.head, HttpError::HeadTooLarge),
            HeadKind::Trailers => (limits.trailers, HttpError::TrailersTooLarge),
        };
        while let Some(chunk) = input.front() {
            let room = total_max.saturating_sub(self.bytes.len());
            if room == 0 {
                return Err(too_large);
            }
            let within = &chunk[..chunk.len().min(room)];
            let newline = within.iter().position(|byte| *byte == b'\n');
            let count = newline.map_or(within.len(), |index| index + 1);
            self.bytes.extend_from_slice(&within[..count]);
            input.advance(count);
            self.check_first_line(newline.is_some(), limits)?;
            if newline.is_some() && self.end_line(limits)? {
                return Ok(Some(std::mem::take(&mut self.bytes)));
            }
        }
        Ok(None)
    }

    fn check_first_line(&self, complete: bool, limits: &Limits) -> Result<(), HttpError> {
        if self.lines > 0 {
            return Ok(());
        }
        let first = self.bytes.first().copied().unwrap_or(b'\r');
        match self.kind {
            // A wrong first byte tells another protocol at once, TLS for one.
            HeadKind::Request if !is_token_byte(first) && first != b'\r' => Err(HttpError::BadRequestLine),
            HeadKind::Response if first != b'H' => Err(HttpError::BadStatusLine),
            HeadKind::Request => {
                // An incomplete line may end in the carriage return of its end.
                let line_end = if complete { 2 } else { 1 };
                if self.bytes.len() > limits.request_line().saturating_add(line_end) {
                    return Err(HttpError::TargetTooLong);
                }
                Ok(())
            }
            HeadKind::Response | HeadKind::Trailers => Ok(()),
        }
    }

    /// Says whether the line that has just ended was the last.
    fn end_line(&mut self, limits: &Limits) -> Result<bool, HttpError> {
        let line = &self.bytes[self.line_start..];
        if !line.ends_with(b"\r\n") {
            return Err(HttpError::BareLineFeed);
        }
        if line.len() == 2 {
            if self.kind == HeadKind::Request && self.lines == 0 {
                self.bytes.clear();
                self.skipped += 2;
                return if self.skipped > SKIPPED_MAX { Err(HttpError::BadRequestLine) } else { Ok(false) };
            }
            return Ok(true);
        }
        self.lines += 1;
        self.line_start = self.bytes.len();
        match self.kind {
            HeadKind::Request | HeadKind::Response if self.lines > limits.headers + 1 => {
                Err(HttpError::TooManyHeaders)
            }
            HeadKind::Trailers if self.lines > limits.trailer_lines => Err(HttpError::TrailersTooLarge),
            HeadKind::Request | HeadKind::Response | HeadKind::Trailers => Ok(false),
        }
    }
}
