//! Bytes that wait to be sent, and the framing of sent bodies.

use std::collections::VecDeque;

use bytes::Bytes;

/// How the body of a response is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseBody {
    /// No body.
    Empty,
    /// A body of so many bytes.
    Length(u64),
    /// A body of unknown length: in chunks, or to a client of HTTP/1.0 until the connection closes.
    Streaming,
}

/// A queue of outgoing chunks.
#[derive(Debug, Default)]
pub(super) struct Output {
    chunks: VecDeque<Bytes>,
    len: usize,
}

impl Output {
    pub(super) fn push(&mut self, chunk: impl Into<Bytes>) {
        let chunk = chunk.into();
        if !chunk.is_empty() {
            self.len += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.pop_front()?;
        self.len -= chunk.len();
        Some(chunk)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

/// Frames the body that is being sent.
#[derive(Debug)]
pub(super) enum BodyWriter {
    /// There is none on the wire: what is given is thrown away.
    Discard,
    /// So many bytes are to come.
    Length(u64),
    Chunked,
    UntilClose,
}

impl BodyWriter {
    pub(super) fn send(&mut self, mut data: Bytes, output: &mut Output) {
        if data.is_empty() {
            return;
        }
        match self {
            Self::Discard => {}
            Self::Length(left) => {
                let count = data.len() as u64;
                debug_assert!(count <= *left, "{count} bytes sent where {left} were declared");
                // The bound fits, as it is below the data's own length.
                if count > *left {
                    data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                }
                *left -= data.len() as u64;
                output.push(data);
            }
            Self::Chunked => {
                output.push(format!("{:x}\r\n", data.len()));
                output.push(data);
                output.push(Bytes::from_static(b"\r\n"));
            }
            Self::UntilClose => output.push(data),
        }
    }

    /// Ends the body; whether it is as long as declared.
    pub(super) fn finish(self, output: &mut Output) -> bool {
        match self {
            Self::Length(left) => left == 0,
            Self::Chunked => {
                output.push(Bytes::from_static(b"0\r\n\r\n"));
                true
            }
            Self::Discard | Self::UntilClose => true,
        }
    }
}
