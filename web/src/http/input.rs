//! Received bytes that wait to be parsed.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// A queue of received chunks.
///
/// Chunks stay what they are, so that bodies can be cut from them without a copy.
/// The exception are small chunks that have to wait behind others: they are gathered into one, for
/// a peer that sends single bytes would otherwise keep a whole read buffer alive with each.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// Oldest first, none empty.
    chunks: VecDeque<Bytes>,
    /// Small chunks newer than all in `chunks`.
    gathered: BytesMut,
    len: usize,
}

/// Chunks below this size are gathered when they have to wait.
const SMALL: usize = 1024;
/// A gathered chunk is closed at this size.
const GATHERED_MAX: usize = 8 * 1024;

impl Input {
    pub(super) fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.len += chunk.len();
        if self.len == chunk.len() {
            self.chunks.push_back(chunk);
        } else if chunk.len() < SMALL {
            self.gathered.extend_from_slice(&chunk);
            if self.gathered.len() >= GATHERED_MAX {
                self.close_gathered();
            }
        } else {
            self.close_gathered();
            self.chunks.push_back(chunk);
        }
    }

    /// The oldest bytes that lie together; none if there are none.
    pub(super) fn front(&mut self) -> Option<&[u8]> {
        if self.chunks.is_empty() {
            self.close_gathered();
        }
        self.chunks.front().map(|chunk| &chunk[..])
    }

    /// Drops `count` bytes of the front.
    pub(super) fn advance(&mut self, count: usize) {
        if let Some(chunk) = self.chunks.front_mut() {
            chunk.advance(count);
            self.len -= count;
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
    }

    /// Takes up to `max` bytes of the front, uncopied.
    pub(super) fn take(&mut self, max: u64) -> Option<Bytes> {
        let count = self.front()?.len();
        let count = usize::try_from(max).map_or(count, |max| max.min(count));
        let chunk = self.chunks.front_mut()?;
        let taken = chunk.split_to(count);
        self.len -= count;
        if chunk.is_empty() {
            self.chunks.pop_front();
        }
        Some(taken)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn close_gathered(&mut self) {
        if !self.gathered.is_empty() {
            self.chunks.push_back(self.gathered.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_gathers_small_chunks() {
        let mut input = Input::default();
        let mut expected = Vec::new();
        for (index, size) in [1, 2, 3000, 5, 6, 2000, 1, 1, 1].into_iter().enumerate() {
            let chunk = vec![index as u8; size];
            expected.extend_from_slice(&chunk);
            input.push(Bytes::from(chunk));
        }
        for byte in (0..=255).cycle().take(20_000) {
            input.push(Bytes::from(vec![byte]));
            expected.push(byte);
        }
        assert_eq!(input.len(), expected.len());
        assert!(input.chunks.len() < 10, "{} chunks", input.chunks.len());
        let mut found = Vec::new();
        while let Some(part) = input.take(7) {
            found.extend_from_slice(&part);
        }
        assert_eq!(found, expected);
        assert!(input.is_empty());
    }

    #[test]
    fn hands_large_chunks_on_uncopied() {
        let chunk = Bytes::from(vec![0; 5000]);
        let mut input = Input::default();
        input.push(Bytes::from_static(b"ab"));
        input.push(chunk.clone());
        input.advance(2);
        let part = input.take(u64::MAX).expect("bytes are queued");
        assert_eq!(part.as_ptr(), chunk.as_ptr());
    }
}
