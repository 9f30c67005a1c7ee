//! Frames: a message and its bulk bytes, with their lengths in front.

use crate::limits::{BULK_LEN_MAX, HELLO_LEN_MAX, MESSAGE_LEN_MAX};
use crate::payload::Payload;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

const HEADER_LEN: usize = 8;
/// A long frame reports life each time this many of its bytes have come in.
pub const PARTIAL_STEP: usize = 16 * 1024;

/// One message with the bulk bytes that belong to it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Frame {
    /// The encoded message.
    pub message: Bytes,
    /// The bulk bytes, in pieces that follow each other. A received frame has at most one piece.
    pub bulk: Vec<Payload>,
}

impl Frame {
    /// A frame without bulk.
    pub fn new(message: Vec<u8>) -> Frame {
        Frame { message: message.into(), bulk: Vec::new() }
    }

    /// A frame with bulk.
    pub fn with_bulk(message: Vec<u8>, bulk: Vec<Payload>) -> Frame {
        Frame { message: message.into(), bulk }
    }

    /// Length of the bulk in bytes.
    pub fn bulk_len(&self) -> u64 {
        self.bulk.iter().map(Payload::len).sum()
    }

    /// Length on the wire, in bytes.
    pub fn len(&self) -> u64 {
        HEADER_LEN as u64 + self.message.len() as u64 + self.bulk_len()
    }

    /// A frame is never empty: it has a header.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The pieces that go out one after another: header, message, bulk.
    ///
    /// # Panics
    /// If a payload is a stand-in: those never reach a wire of bytes.
    pub fn pieces(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut header = [0; HEADER_LEN];
        let lengths = (self.message.len() as u32, self.bulk_len() as u32);
        header[..4].copy_from_slice(&lengths.0.to_le_bytes());
        header[4..].copy_from_slice(&lengths.1.to_le_bytes());
        let bulk = self.bulk.iter().map(|p| p.bytes().expect("real bytes on a real wire").clone());
        [Bytes::copy_from_slice(&header), self.message.clone()].into_iter().chain(bulk)
    }
}

/// Messages hold secrets, so only lengths are shown.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} + {} bytes)", self.message.len(), self.bulk_len())
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// The message is longer than allowed.
    MessageTooLong(u32),
    /// The bulk is longer than allowed.
    BulkTooLong(u32),
    /// A message has at least an envelope.
    Empty,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::MessageTooLong(len) => write!(f, "a frame announces a message of {len} bytes"),
            FrameError::BulkTooLong(len) => write!(f, "a frame announces {len} bytes of bulk"),
            FrameError::Empty => f.write_str("a frame announces an empty message"),
        }
    }
}

impl core::error::Error for FrameError {}

/// What came out of a decoder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// A whole frame.
    Frame(Frame),
    /// Another part of a long frame has come in.
    Partial,
}

/// Cuts a stream of bytes into frames. Each byte is copied once, into the frame it belongs to.
///
/// The first frame of a connection is a hello or its answer and must be short; that bounds what a
/// stranger can make a node hold.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    header: [u8; HEADER_LEN],
    header_filled: usize,
    message: Vec<u8>,
    message_len: usize,
    bulk: Vec<u8>,
    bulk_len: usize,
    past_first: bool,
}

impl FrameDecoder {
    /// A decoder at the start of a connection.
    pub fn new() -> FrameDecoder {
        FrameDecoder::default()
    }

    /// Takes in bytes and hands out what they complete, in order. After an error the stream is
    /// lost: close the connection.
    pub fn push(&mut self, mut input: &[u8], mut out: impl FnMut(Decoded)) -> Result<(), FrameError> {
        while !input.is_empty() {
            if self.header_filled < HEADER_LEN {
                let take = input.len().min(HEADER_LEN - self.header_filled);
                self.header[self.header_filled..][..take].copy_from_slice(&input[..take]);
                self.header_filled += take;
                input = &input[take..];
                if self.header_filled == HEADER_LEN {
                    self.start_frame()?;
                }
                continue;
            }
            input = fill(&mut self.message, self.message_len, input);
            let before = self.bulk.len();
            input = fill(&mut self.bulk, self.bulk_len, input);
            if self.message.len() == self.message_len && self.bulk.len() == self.bulk_len {
                out(Decoded::Frame(self.end_frame()));
            } else if before / PARTIAL_STEP != self.bulk.len() / PARTIAL_STEP {
                out(Decoded::Partial);
            }
        }
        Ok(())
    }

    /// Whether the stream may end here: no frame is half in.
    pub fn at_boundary(&self) -> bool {
        self.header_filled == 0
    }

    fn start_frame(&mut self) -> Result<(), FrameError> {
        let field = |at: usize| u32::from_le_bytes(self.header[at..at + 4].try_into().expect("four bytes"));
        let (message, bulk) = (field(0), field(4));
        let (message_max, bulk_max) =
            if self.past_first { (MESSAGE_LEN_MAX, BULK_LEN_MAX) } else { (HELLO_LEN_MAX, 0) };
        if message as usize > message_max {
            return Err(FrameError::MessageTooLong(message));
        }
        if bulk as usize > bulk_max {
            return Err(FrameError::BulkTooLong(bulk));
        }
        if message == 0 {
            return Err(FrameError::Empty);
        }
        self.past_first = true;
        (self.message_len, self.bulk_len) = (message as usize, bulk as usize);
        // Memory follows what really comes in; a mere announcement reserves at most this.
        self.message.reserve(self.message_len.min(4096));
        self.bulk.reserve(self.bulk_len.min(1024 * 1024));
        Ok(())
    }

    fn end_frame(&mut self) -> Frame {
        self.header_filled = 0;
        let message = core::mem::take(&mut self.message).into();
        let bulk = core::mem::take(&mut self.bulk);
        let bulk = if bulk.is_empty() { Vec::new() } else { [Payload::from(bulk)].into() };
        Frame { message, bulk }
    }
}

/// Moves bytes from `input` into `buffer` until that has `len`; returns the rest.
fn fill<'a>(buffer: &mut Vec<u8>, len: usize, input: &'a [u8]) -> &'a [u8] {
    let take = input.len().min(len - buffer.len());
    buffer.extend_from_slice(&input[..take]);
    &input[take..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn bytes_of(frame: &Frame) -> Vec<u8> {
        frame.pieces().flat_map(|piece| piece.to_vec()).collect()
    }

    fn flat(frame: &Frame) -> (Bytes, Vec<u8>) {
        let bulk = frame.bulk.iter().flat_map(|p| p.bytes().unwrap().to_vec()).collect();
        (frame.message.clone(), bulk)
    }

    #[test]
    fn frames_survive_every_split() {
        let frames = [
            Frame::new(vec![1, 2, 3]),
            Frame::with_bulk(vec![4], vec![vec![5; 10].into(), vec![6; 3].into()]),
            Frame::new(vec![7; 40]),
        ];
        let stream: Vec<u8> = frames.iter().flat_map(bytes_of).collect();
        for step in 1..stream.len() {
            let mut decoder = FrameDecoder::new();
            let mut got = Vec::new();
            for chunk in stream.chunks(step) {
                decoder
                    .push(chunk, |d| {
                        if let Decoded::Frame(frame) = d {
                            got.push(flat(&frame))
                        }
                    })
                    .unwrap();
            }
            assert!(decoder.at_boundary());
            assert_eq!(got, frames.iter().map(flat).collect::<Vec<_>>(), "chunks of {step}");
        }
    }

    #[test]
    fn long_frames_report_life() {
        let frame = Frame::with_bulk(vec![1], vec![vec![0; 3 * PARTIAL_STEP + 5000].into()]);
        let mut stream = bytes_of(&Frame::new(vec![1]));
        stream.extend(bytes_of(&frame));
        let (mut decoder, mut partial) = (FrameDecoder::new(), 0);
        for chunk in stream.chunks(1000) {
            decoder.push(chunk, |d| partial += usize::from(d == Decoded::Partial)).unwrap();
        }
        assert_eq!(partial, 3);
    }

    #[test]
    fn lengths_are_bounded_before_memory_is_taken() {
        let header = |message: u32, bulk: u32| [message.to_le_bytes(), bulk.to_le_bytes()].concat();
        let check = |decoder: &mut FrameDecoder, header: Vec<u8>, error| {
            assert_eq!(decoder.push(&header, |_| ()), Err(error));
        };
        check(
            &mut FrameDecoder::new(),
            header(HELLO_LEN_MAX as u32 + 1, 0),
            FrameError::MessageTooLong(4097),
        );
        check(&mut FrameDecoder::new(), header(1, 1), FrameError::BulkTooLong(1));
        check(&mut FrameDecoder::new(), header(0, 0), FrameError::Empty);
        let mut later = FrameDecoder::new();
        later.push(&bytes_of(&Frame::new(vec![1])), |_| ()).unwrap();
        check(&mut later, header(1, u32::MAX), FrameError::BulkTooLong(u32::MAX));
    }
}
