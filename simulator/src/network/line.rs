//! What is on its way in one direction of a connection: bytes, or frames of which only the lengths
//! are moved.
//!
//! Both keep the same time: a frame takes as many parcels, waits for the same grants, and shows the
//! same signs of life while it comes in.

use bytes::Bytes;
use std::collections::VecDeque;
use tallac_core::limits::{BULK_LEN_MAX, HELLO_LEN_MAX, MESSAGE_LEN_MAX};
use tallac_core::payload::Payload;
use tallac_core::wire::{Decoded, Frame, FrameDecoder, FrameError, PARTIAL_STEP};

/// Length of what stands before a frame's message.
const HEADER_LEN: u64 = 8;

/// What travels at once.
#[derive(Debug)]
pub(crate) enum Cargo {
    Bytes(Vec<Bytes>),
    /// So many bytes of the frames that come.
    Count(u64),
}

/// The sending end of a direction: what was given to send and is not yet on the line.
pub(super) enum Outlet {
    Bytes(VecDeque<Bytes>),
    Count(u64),
}

impl Outlet {
    pub(super) fn new(frames: bool) -> Outlet {
        if frames { Outlet::Count(0) } else { Outlet::Bytes(VecDeque::new()) }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Outlet::Bytes(pieces) => pieces.is_empty(),
            Outlet::Count(bytes) => *bytes == 0,
        }
    }

    pub(super) fn push(&mut self, frame: &Frame) {
        match self {
            Outlet::Bytes(out) => out.extend(frame.pieces().filter(|piece| !piece.is_empty())),
            Outlet::Count(bytes) => *bytes += frame.len(),
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Outlet::Bytes(out) => out.clear(),
            Outlet::Count(bytes) => *bytes = 0,
        }
    }

    /// Up to `room` bytes, and how many they are.
    pub(super) fn take(&mut self, room: u64) -> (Cargo, u64) {
        match self {
            Outlet::Bytes(out) => {
                let (mut pieces, mut len) = (Vec::new(), 0);
                while len < room
                    && let Some(mut piece) = out.pop_front()
                {
                    if piece.len() as u64 > room - len {
                        out.push_front(piece.split_off((room - len) as usize));
                    }
                    len += piece.len() as u64;
                    pieces.push(piece);
                }
                (Cargo::Bytes(pieces), len)
            }
            Outlet::Count(bytes) => {
                let len = room.min(*bytes);
                *bytes -= len;
                (Cargo::Count(len), len)
            }
        }
    }
}

/// The receiving end of a direction: what came in and was not read, and the frame being read.
pub(super) enum Inlet {
    Bytes(Box<Decoding>),
    Frames(Counting),
}

pub(super) struct Decoding {
    arrived: VecDeque<Bytes>,
    /// Lengths of the frames that come, so that reading stops between frames.
    coming: VecDeque<u64>,
    /// Bytes of the frame being read that are still to come.
    left: u64,
    decoder: FrameDecoder,
}

/// Reads frames by their lengths.
#[derive(Default)]
pub(super) struct Counting {
    /// Bytes of each parcel that are not read.
    arrived: VecDeque<u64>,
    coming: VecDeque<Frame>,
    /// Bytes read of the first of them.
    read: u64,
    past_first: bool,
}

impl Inlet {
    pub(super) fn new(frames: bool) -> Inlet {
        if frames {
            return Inlet::Frames(Counting::default());
        }
        let (arrived, coming, decoder) = (VecDeque::new(), VecDeque::new(), FrameDecoder::new());
        Inlet::Bytes(Box::new(Decoding { arrived, coming, left: 0, decoder }))
    }

    /// A frame was sent and will come.
    pub(super) fn expect(&mut self, frame: Frame) {
        match self {
            Inlet::Bytes(decoding) => decoding.coming.push_back(frame.len()),
            Inlet::Frames(counting) => counting.coming.push_back(frame),
        }
    }

    pub(super) fn arrive(&mut self, cargo: Cargo) {
        match (self, cargo) {
            (Inlet::Bytes(decoding), Cargo::Bytes(pieces)) => decoding.arrived.extend(pieces),
            (Inlet::Frames(counting), Cargo::Count(bytes)) => counting.arrived.push_back(bytes),
            _ => unreachable!("a network moves either bytes or frames"),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Inlet::Bytes(decoding) => decoding.arrived.is_empty(),
            Inlet::Frames(counting) => counting.arrived.is_empty(),
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Inlet::Bytes(decoding) => decoding.arrived.clear(),
            Inlet::Frames(counting) => {
                counting.arrived.clear();
                counting.coming.clear();
            }
        }
    }

    /// Reads the next bytes that came in one piece, unless a frame would begin and none is granted.
    /// Gives how many they were.
    pub(super) fn read(
        &mut self,
        granted: i64,
        out: impl FnMut(Decoded),
    ) -> Option<(u64, Result<(), FrameError>)> {
        match self {
            Inlet::Bytes(decoding) => decoding.read(granted, out),
            Inlet::Frames(counting) => counting.read(granted, out),
        }
    }
}

impl Decoding {
    fn read(&mut self, granted: i64, out: impl FnMut(Decoded)) -> Option<(u64, Result<(), FrameError>)> {
        let mut piece = self.arrived.pop_front()?;
        if self.left == 0 {
            if granted <= 0 {
                self.arrived.push_front(piece);
                return None;
            }
            self.left = self.coming.pop_front().expect("bytes come in frames");
        }
        if piece.len() as u64 > self.left {
            self.arrived.push_front(piece.split_off(self.left as usize));
        }
        self.left -= piece.len() as u64;
        Some((piece.len() as u64, self.decoder.push(&piece, out)))
    }
}

impl Counting {
    fn read(&mut self, granted: i64, mut out: impl FnMut(Decoded)) -> Option<(u64, Result<(), FrameError>)> {
        let arrived = self.arrived.front_mut()?;
        if self.read == 0 && granted <= 0 {
            return None;
        }
        let frame = self.coming.front().expect("bytes come in frames");
        // As far as a piece of the frame goes, or the parcel.
        let (ends, bulk_from) = (piece_end(frame, self.read), HEADER_LEN + frame.message.len() as u64);
        let len = (ends - self.read).min(*arrived);
        *arrived -= len;
        if *arrived == 0 {
            self.arrived.pop_front();
        }
        let before = self.read;
        self.read += len;
        if before < HEADER_LEN && self.read >= HEADER_LEN {
            if let Err(error) = check(frame, self.past_first) {
                return Some((len, Err(error)));
            }
            self.past_first = true;
        }
        let steps = |read: u64| read.saturating_sub(bulk_from) / PARTIAL_STEP as u64;
        if self.read == frame.len() {
            let Frame { message, bulk } = self.coming.pop_front().expect("looked at above");
            self.read = 0;
            let bulk = Payload::join(bulk);
            let bulk = if bulk.is_empty() { Vec::new() } else { vec![bulk] };
            out(Decoded::Frame(Frame { message, bulk }));
        } else if steps(before) != steps(self.read) {
            out(Decoded::Partial);
        }
        Some((len, Ok(())))
    }
}

/// Where the piece of a frame ends that has the byte at `at`.
fn piece_end(frame: &Frame, at: u64) -> u64 {
    let lengths = [HEADER_LEN, frame.message.len() as u64].into_iter();
    let mut end = 0;
    for len in lengths.chain(frame.bulk.iter().map(Payload::len)) {
        end += len;
        if at < end {
            break;
        }
    }
    end
}

/// What the decoder says of a frame's lengths.
fn check(frame: &Frame, past_first: bool) -> Result<(), FrameError> {
    let (message, bulk) = (frame.message.len(), frame.bulk_len());
    let (message_max, bulk_max) =
        if past_first { (MESSAGE_LEN_MAX, BULK_LEN_MAX) } else { (HELLO_LEN_MAX, 0) };
    if message > message_max {
        return Err(FrameError::MessageTooLong(message as u32));
    }
    if bulk > bulk_max as u64 {
        return Err(FrameError::BulkTooLong(bulk as u32));
    }
    if message == 0 { Err(FrameError::Empty) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What comes out of a direction: how much is read each time, and what that completes.
    fn told(frames: bool, sent: &[Frame], cuts: &[u64], grants: &[i64]) -> Vec<String> {
        let (mut outlet, mut inlet) = (Outlet::new(frames), Inlet::new(frames));
        for frame in sent {
            outlet.push(frame);
            inlet.expect(frame.clone());
        }
        let (mut granted, mut told) = (0, Vec::new());
        for (cut, grant) in cuts.iter().zip(grants) {
            let (cargo, len) = outlet.take(*cut);
            if len > 0 {
                inlet.arrive(cargo);
            }
            granted += grant;
            while let Some((bytes, result)) = inlet.read(granted, |decoded| {
                told.push(match decoded {
                    Decoded::Frame(frame) => format!("{:?} {:?}", frame.message, frame.bulk),
                    Decoded::Partial => "partial".into(),
                });
            }) {
                granted -= bytes as i64;
                told.push(format!("{bytes} {result:?}"));
                if result.is_err() {
                    return told;
                }
            }
        }
        told.push(format!("{} {} {granted}", outlet.is_empty(), inlet.is_empty()));
        told
    }

    proptest! {
        /// Frames by their lengths come as the bytes of frames do.
        #[test]
        fn lengths_move_as_bytes_do(
            shapes in prop::collection::vec((0usize..300, prop::collection::vec(0usize..30_000, 0..4)), 1..5),
            steps in prop::collection::vec((1u64..50_000, 0i64..60_000), 1..30),
            hello in any::<bool>(),
        ) {
            let frame = |(message, bulk): &(usize, Vec<usize>)| {
                let bulk = bulk.iter().map(|len| vec![7; *len].into()).collect();
                Frame::with_bulk(vec![1; *message], bulk)
            };
            let hello = hello.then(|| Frame::new(vec![1; 20]));
            let frames: Vec<Frame> = hello.into_iter().chain(shapes.iter().map(frame)).collect();
            let (cuts, grants): (Vec<u64>, Vec<i64>) = steps.into_iter().unzip();
            prop_assert_eq!(told(true, &frames, &cuts, &grants), told(false, &frames, &cuts, &grants));
        }
    }
}
