//! Buffers between sockets and connections.

use bytes::Bytes;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;

/// Room for one read on a quiet connection, on a busier one, on one that moves bulk.
const READ_SIZES: [usize; 3] = [8 * 1024, 64 * 1024, 256 * 1024];
/// Small reads in a row after which a buffer shrinks.
const QUIET_READS: u8 = 4;
/// Free space in front of what a large buffer reads: a record of TLS that the read before cut
/// off fits in.
const HEADROOM: usize = 17 * 1024;

/// Bytes read from a socket and not yet worked off. Large while bulk comes in, small when quiet.
///
/// ```text
/// 0 <= start <= end <= bytes.len()
///      |  read |  space for the next read
/// ```
#[derive(Debug, Default)]
pub struct ReadBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    size: usize,
    quiet: u8,
    limit: usize,
}

impl ReadBuffer {
    /// An empty buffer. It takes memory with the first read.
    pub fn new() -> ReadBuffer {
        ReadBuffer::default()
    }

    /// Sets the credit that the next read is limited to. The smallest read is always allowed.
    pub(crate) fn limit(&mut self, credit: u64) {
        self.limit = usize::try_from(credit).unwrap_or(usize::MAX);
    }

    /// Where the next read may put its bytes. Never empty.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = if self.size == 0 { 0 } else { HEADROOM };
            self.end = self.start;
            let len = self.start + READ_SIZES[self.size];
            self.bytes.resize(len, 0);
            self.bytes.shrink_to(len);
        } else if self.end == self.bytes.len() {
            self.bytes.resize(self.end + READ_SIZES[0], 0);
        }
        let end = self.bytes.len().min(self.end.saturating_add(self.limit.max(READ_SIZES[0])));
        &mut self.bytes[self.end..end]
    }

    /// Says how many bytes a read put into the space.
    pub fn filled(&mut self, len: usize) {
        assert!(len <= self.bytes.len() - self.end, "more was read than there was space for");
        if len == self.bytes.len() - self.end {
            self.size = (self.size + 1).min(READ_SIZES.len() - 1);
            self.quiet = 0;
        } else if self.size > 0 && len < READ_SIZES[self.size - 1] {
            self.quiet += 1;
            if self.quiet == QUIET_READS {
                (self.size, self.quiet) = (self.size - 1, 0);
            }
        } else {
            self.quiet = 0;
        }
        self.end += len;
    }

    /// What was read.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// What was read, to be changed in place.
    pub(crate) fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Forgets the first bytes of what was read.
    pub(crate) fn consume(&mut self, len: usize) {
        assert!(len <= self.end - self.start, "more is consumed than was read");
        self.start += len;
    }

    /// Puts everything in `more` behind what is here and leaves `more` empty. Only the shorter
    /// part is copied, as a rule: the end of a record that waits for its rest.
    pub(crate) fn append(&mut self, more: &mut ReadBuffer) {
        let len = self.unread().len();
        if len <= more.start {
            more.start -= len;
            more.bytes[more.start..][..len].copy_from_slice(&self.bytes[self.start..self.end]);
            mem::swap(&mut self.bytes, &mut more.bytes);
            (self.start, self.end) = (more.start, more.end);
        } else {
            self.bytes.drain(self.end..);
            self.bytes.drain(..self.start);
            self.bytes.extend_from_slice(more.unread());
            (self.start, self.end) = (0, self.bytes.len());
        }
        (more.start, more.end) = (0, 0);
    }

    /// Gives `other`, which is empty, the memory for its next read. Only a short rest is kept
    /// here, copied; a long one keeps the memory.
    pub(crate) fn hand_back(&mut self, other: &mut ReadBuffer) {
        if self.unread().len() <= HEADROOM && self.bytes.len() > other.bytes.len() {
            let rest = self.unread().to_vec();
            (other.bytes, other.start, other.end) = (mem::replace(&mut self.bytes, rest), 0, 0);
            (self.start, self.end) = (0, self.bytes.len());
        }
    }
}

/// One batch of bytes on its way to a socket.
#[derive(Debug, Default)]
pub struct WriteBuffer {
    /// Sealed by TLS: `bytes[..len]`. Goes out before `raw`.
    bytes: Vec<u8>,
    len: usize,
    raw: VecDeque<Bytes>,
    written: usize,
    /// The bytes of the application in this batch.
    pub(crate) payload: u64,
    /// Short pieces, gathered to fill a record.
    pub(crate) staging: Vec<u8>,
}

impl WriteBuffer {
    /// An empty buffer. It takes memory as it is filled.
    pub fn new() -> WriteBuffer {
        WriteBuffer::default()
    }

    /// How many bytes the other side's application will see of this batch.
    pub fn payload(&self) -> u64 {
        self.payload
    }

    /// Fills `slices` with what is to be written next and returns how many are used: none if
    /// everything is written.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut skip = self.written;
        let parts = std::iter::once(&self.bytes[..self.len]).chain(self.raw.iter().map(|raw| &**raw));
        for part in parts {
            if skip >= part.len() {
                skip -= part.len();
            } else if used < slices.len() {
                slices[used] = IoSlice::new(&part[mem::take(&mut skip)..]);
                used += 1;
            }
        }
        used
    }

    /// Says how many bytes were written.
    pub fn advance(&mut self, len: usize) {
        self.written += len;
    }

    /// Empties the buffer for the next batch. Keeps memory only if `busy`.
    pub(crate) fn clear(&mut self, busy: bool) {
        (self.len, self.written, self.payload) = (0, 0, 0);
        self.raw.clear();
        if !busy {
            (self.bytes, self.staging) = (Vec::new(), Vec::new());
        }
    }

    /// Bytes in the batch, written or not.
    pub(crate) fn len(&self) -> usize {
        self.len + self.raw.iter().map(Bytes::len).sum::<usize>()
    }

    /// Adds bytes that need no copy.
    pub(crate) fn push_raw(&mut self, bytes: Bytes) {
        self.raw.push_back(bytes);
    }

    /// At least `room` bytes to seal into; what is used of them is added by [`Self::sealed`].
    pub(crate) fn room(&mut self, room: usize) -> &mut [u8] {
        if self.bytes.len() - self.len < room {
            self.bytes.resize(self.len + room, 0);
        }
        &mut self.bytes[self.len..]
    }

    /// Adds what is sealed here to what is sealed there.
    pub(crate) fn copy_sealed(&self, out: &mut WriteBuffer) {
        out.room(self.len)[..self.len].copy_from_slice(&self.bytes[..self.len]);
        out.sealed(self.len);
    }

    /// Adds the first bytes of the room.
    pub(crate) fn sealed(&mut self, len: usize) {
        self.len += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(buffer: &mut ReadBuffer, bytes: &[u8]) -> usize {
        let space = buffer.space();
        let len = space.len().min(bytes.len());
        space[..len].copy_from_slice(&bytes[..len]);
        buffer.filled(len);
        len
    }

    #[test]
    fn what_is_appended_follows_what_is_there() {
        let stream: Vec<u8> = (0..2_000_000u32).map(|i| (i * 7 + i / 251) as u8).collect();
        // How much is left over after each step: nothing, a little, more than the headroom.
        for leftover in [0, 1, 100, 16_000, 17 * 1024, 17 * 1024 + 1, 60_000] {
            let (mut here, mut more) = (ReadBuffer::new(), ReadBuffer::new());
            more.limit(u64::MAX);
            let (mut given, mut seen) = (0, Vec::new());
            while given < stream.len() {
                given += read(&mut more, &stream[given..]);
                here.append(&mut more);
                assert!(more.unread().is_empty());
                let take = here.unread().len().saturating_sub(leftover);
                seen.extend_from_slice(&here.unread()[..take]);
                here.consume(take);
                here.hand_back(&mut more);
                assert!(here.bytes.len() <= more.bytes.len() || leftover > HEADROOM);
            }
            seen.extend_from_slice(here.unread());
            assert!(seen == stream, "leftover {leftover}");
        }
    }

    #[test]
    fn a_buffer_grows_with_bulk_and_shrinks_in_quiet() {
        let mut buffer = ReadBuffer::new();
        buffer.limit(u64::MAX);
        let bulk = vec![0; 1 << 20];
        let mut largest = 0;
        for _ in 0..4 {
            largest = read(&mut buffer, &bulk);
            buffer.consume(buffer.unread().len());
        }
        assert_eq!(largest, READ_SIZES[2]);
        for _ in 0..2 * QUIET_READS as usize {
            read(&mut buffer, &bulk[..100]);
            buffer.consume(buffer.unread().len());
        }
        assert_eq!(buffer.space().len(), READ_SIZES[0]);
    }

    #[test]
    fn a_batch_is_written_in_any_steps() {
        let mut batch = WriteBuffer::new();
        batch.room(5)[..5].copy_from_slice(b"seal-");
        batch.sealed(5);
        for piece in ["raw", "", "more"] {
            batch.push_raw(Bytes::from_static(piece.as_bytes()));
        }
        for step in 1..12 {
            let mut out = Vec::new();
            batch.written = 0;
            loop {
                let mut slices = [IoSlice::new(&[]); 2];
                let used = batch.slices(&mut slices);
                if used == 0 {
                    break;
                }
                let next: Vec<u8> =
                    slices[..used].iter().flat_map(|s| s.iter().copied()).take(step).collect();
                out.extend_from_slice(&next);
                batch.advance(next.len());
            }
            assert_eq!(out, b"seal-rawmore", "steps of {step}");
        }
    }
}
