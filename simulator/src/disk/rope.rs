//! The bytes of a file, as pieces that were written: real bytes, stand-ins and holes.

use crate::stand_in;
use bytes::Bytes;
use core::ops::Range;
use std::borrow::Cow;
use tallac_core::payload::Payload;

/// Neighbouring pieces of real bytes are put together up to this length, so that many small writes
/// do not leave many pieces.
const SMALL: u64 = 4096;

/// Content in pieces; a range that nobody wrote is zeros and takes no memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Rope {
    /// Where each piece ends, and what it is; `None` is a hole.
    pieces: Vec<(u64, Option<Payload>)>,
}

impl Rope {
    pub(super) fn new(content: Payload) -> Rope {
        let mut rope = Rope::default();
        rope.push(content.len(), Some(content));
        rope
    }

    pub(super) fn len(&self) -> u64 {
        self.pieces.last().map_or(0, |(end, _)| *end)
    }

    /// What it holds or stands for.
    pub(super) fn bytes(&self) -> Cow<'_, [u8]> {
        match self.pieces.as_slice() {
            [] => Cow::Borrowed(&[]),
            [(_, Some(piece))] if piece.bytes().is_some() => {
                Cow::Borrowed(piece.bytes().expect("just looked at"))
            }
            _ => Cow::Owned(stand_in::bytes_of(&self.slice(0..self.len())).to_vec()),
        }
    }

    /// The content of a range, as far as there is any. Holes are real zeros.
    pub(super) fn slice(&self, range: Range<u64>) -> Payload {
        let end = range.end.min(self.len());
        if range.start >= end {
            return Payload::empty();
        }
        let mut at = range.start;
        let first = self.pieces.partition_point(|(end, _)| *end <= at);
        let mut start = self.end_before(first);
        if let (piece_end, Some(piece)) = &self.pieces[first]
            && end <= *piece_end
        {
            return piece.slice(at - start..end - start);
        }
        let parts = self.pieces[first..].iter().map_while(|(piece_end, piece)| {
            let (from, to) = (at, end.min(*piece_end));
            let part = (from < to).then(|| match piece {
                Some(piece) => piece.slice(from - start..to - start),
                None => zeros(to - from),
            });
            (at, start) = (to, *piece_end);
            part
        });
        Payload::join(parts)
    }

    /// Puts content at an offset; what lies between the end and there becomes a hole.
    pub(super) fn write(&mut self, offset: u64, data: Payload) {
        if data.is_empty() {
            return;
        }
        let (len, end) = (self.len(), offset + data.len());
        if offset >= len {
            if offset > len {
                self.push(offset - len, None);
            }
            return self.push(data.len(), Some(data));
        }
        let behind = if end < len { self.split_off(end) } else { Vec::new() };
        self.truncate(offset);
        self.push(data.len(), Some(data));
        behind.into_iter().for_each(|(len, piece)| self.push(len, piece));
    }

    /// Cuts off what is behind, or adds a hole.
    pub(super) fn resize(&mut self, len: u64) {
        if len > self.len() {
            self.push(len - self.len(), None);
        } else {
            self.truncate(len);
        }
    }

    fn truncate(&mut self, len: u64) {
        if len < self.len() {
            self.split_off(len);
        }
    }

    /// Takes off what is behind an offset within: lengths and pieces.
    fn split_off(&mut self, at: u64) -> Vec<(u64, Option<Payload>)> {
        let first = self.pieces.partition_point(|(end, _)| *end <= at);
        let mut start = self.end_before(first);
        let mut off = Vec::new();
        for (end, piece) in self.pieces.split_off(first) {
            let part = |from: u64, to: u64| piece.as_ref().map(|piece| piece.slice(from - start..to - start));
            if start < at {
                self.pieces.push((at, part(start, at)));
            }
            let from = start.max(at);
            off.push((end - from, part(from, end)));
            start = end;
        }
        off
    }

    /// Where the piece before this one ends.
    fn end_before(&self, index: usize) -> u64 {
        index.checked_sub(1).map_or(0, |before| self.pieces[before].0)
    }

    fn push(&mut self, len: u64, piece: Option<Payload>) {
        if len == 0 {
            return;
        }
        if let Some(several) = piece.as_ref().filter(|piece| piece.pieces().len() > 1) {
            return several.pieces().iter().for_each(|piece| self.push(piece.len(), Some(piece.clone())));
        }
        let end = self.len() + len;
        match (self.pieces.last_mut(), piece) {
            (Some((last_end, None)), None) => *last_end = end,
            (Some((last_end, Some(last))), Some(piece)) if can_be_one(last, &piece) => {
                *last = Payload::join([core::mem::take(last), piece]);
                *last_end = end;
            }
            (_, piece) => self.pieces.push((end, piece)),
        }
    }
}

/// Real zeros, which cost nothing up to the length of a block.
pub(super) fn zeros(len: u64) -> Payload {
    static ZEROS: [u8; SMALL as usize] = [0; SMALL as usize];
    match ZEROS.get(..len as usize) {
        Some(zeros) => Bytes::from_static(zeros).into(),
        None => vec![0; len as usize].into(),
    }
}

fn can_be_one(last: &Payload, piece: &Payload) -> bool {
    match (last.as_synthetic(), piece.as_synthetic()) {
        (Some(last), Some(piece)) => (last.seed, last.offset + last.len) == (piece.seed, piece.offset),
        (None, None) => last.len() + piece.len() <= SMALL,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Pieces hold what a plain buffer would, whatever is written and cut.
        #[test]
        fn pieces_hold_what_a_buffer_would(
            steps in prop::collection::vec((0u64..3, 0u64..12_000, 0u64..6_000, any::<u8>()), 1..24),
        ) {
            let (mut rope, mut plain) = (Rope::default(), Vec::new());
            for (kind, offset, len, fill) in steps {
                let data = match kind {
                    0 => Payload::from(vec![fill; len as usize]),
                    _ => stand_in::content(u64::from(fill), 100 + len).slice(50..50 + len),
                };
                let bytes = stand_in::bytes_of(&data);
                if kind == 2 && fill < 40 {
                    rope.resize(offset);
                    plain.resize(offset as usize, 0);
                } else {
                    let end = (offset + len) as usize;
                    rope.write(offset, data);
                    if len > 0 && plain.len() < end {
                        plain.resize(end, 0);
                    }
                    if len > 0 {
                        plain[offset as usize..end].copy_from_slice(&bytes);
                    }
                }
                prop_assert_eq!(rope.len(), plain.len() as u64);
                prop_assert_eq!(&*rope.bytes(), &plain[..]);
                let (from, to) = (offset / 2, offset / 2 + len);
                let part = stand_in::bytes_of(&rope.slice(from..to));
                let expected = plain.get(from as usize..(to as usize).min(plain.len())).unwrap_or_default();
                prop_assert_eq!(&part[..], expected);
            }
        }
    }
}
