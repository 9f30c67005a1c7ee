//! Bulk bytes that machines move without looking inside.
//!
//! A payload is either real bytes (reference counted: cloning and slicing copy nothing), a stand-in
//! that only knows where its content would come from, or pieces of both that follow each other, as
//! when a block that is a stand-in lies behind a header of real bytes. Machines use [`Payload::len`]
//! and [`Payload::slice`]; what is inside is the business of jobs ([`crate::job`]), of the wire codec
//! and of the host's disk. That is what lets a simulator move petabytes as seeds and lengths.

use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Range;

/// Content described instead of held: `len` bytes from `offset` of the stream that `seed` names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Synthetic {
    /// Names the stream. What it means is up to the simulator's job executor.
    pub seed: u64,
    /// First byte within the stream.
    pub offset: u64,
    /// Number of bytes.
    pub len: u64,
}

/// Opaque, reference-counted bulk bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Content);

#[derive(Clone, PartialEq, Eq)]
enum Content {
    Bytes(Bytes),
    Synthetic(Synthetic),
    /// At least two pieces, none of them empty or itself made of pieces, and no two neighbours that
    /// could be one: so equal content is described in one way only, as far as stand-ins go.
    Pieces(Arc<[Payload]>),
}

impl Payload {
    /// No bytes at all.
    pub const fn empty() -> Payload {
        Payload(Content::Bytes(Bytes::new()))
    }

    /// A stand-in for content that is never materialised.
    pub fn synthetic(content: Synthetic) -> Payload {
        Payload(Content::Synthetic(content))
    }

    /// Puts pieces that follow each other together. Real bytes are copied only if neighbours are;
    /// nothing is, if there is one piece.
    pub fn join(pieces: impl IntoIterator<Item = Payload>) -> Payload {
        let mut pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        let Some(first) = pieces.next() else { return Payload::empty() };
        let Some(second) = pieces.next() else { return first };
        let mut joined = Joined::default();
        [first, second].into_iter().chain(pieces).for_each(|piece| joined.push(piece));
        joined.finish()
    }

    /// Its pieces, none of which is made of others: real bytes and stand-ins in turn. One, mostly;
    /// none, if it is empty.
    pub fn pieces(&self) -> &[Payload] {
        match &self.0 {
            Content::Pieces(pieces) => pieces,
            _ if self.is_empty() => &[],
            _ => core::slice::from_ref(self),
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Synthetic(content) => content.len,
            Content::Pieces(pieces) => pieces.iter().map(Payload::len).sum(),
        }
    }

    /// Whether there is no byte in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of `range` (relative to this payload), sharing its storage.
    ///
    /// # Panics
    /// If the range does not lie within the payload: callers know the length.
    pub fn slice(&self, range: Range<u64>) -> Payload {
        assert!(range.start <= range.end && range.end <= self.len(), "slice outside a payload");
        match &self.0 {
            Content::Bytes(bytes) => {
                Payload(Content::Bytes(bytes.slice(range.start as usize..range.end as usize)))
            }
            Content::Synthetic(content) => Payload(Content::Synthetic(Synthetic {
                seed: content.seed,
                offset: content.offset + range.start,
                len: range.end - range.start,
            })),
            Content::Pieces(pieces) => {
                let mut start = 0;
                let within = pieces.iter().filter_map(|piece| {
                    let end = start + piece.len();
                    let (from, to) = (range.start.max(start), range.end.min(end));
                    let part = (from < to).then(|| piece.slice(from - start..to - start));
                    start = end;
                    part
                });
                Payload::join(within)
            }
        }
    }

    /// Splits off and returns the first `len` bytes, keeping the rest.
    ///
    /// # Panics
    /// If there are fewer than `len` bytes.
    pub fn take_front(&mut self, len: u64) -> Payload {
        let front = self.slice(0..len);
        *self = self.slice(len..self.len());
        front
    }

    /// The real bytes, for jobs, codecs and hosts. `None` if any of it is a stand-in.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Content::Bytes(bytes) => Some(bytes),
            Content::Synthetic(_) | Content::Pieces(_) => None,
        }
    }

    /// The real bytes by value. `None` if any of it is a stand-in.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self.0 {
            Content::Bytes(bytes) => Some(bytes),
            Content::Synthetic(_) | Content::Pieces(_) => None,
        }
    }

    /// The real bytes it begins with: a header, where a stand-in may follow.
    pub fn front_bytes(&self) -> &[u8] {
        self.pieces().first().and_then(Payload::bytes).map_or(&[], |bytes| bytes)
    }

    /// The description, if all of this is one stand-in.
    pub fn as_synthetic(&self) -> Option<Synthetic> {
        match &self.0 {
            Content::Synthetic(content) => Some(*content),
            Content::Bytes(_) | Content::Pieces(_) => None,
        }
    }
}

/// Pieces being put together: neighbours that can be one become one.
#[derive(Default)]
struct Joined {
    pieces: Vec<Payload>,
    /// Real bytes that may still grow; they come behind `pieces`.
    bytes: Bytes,
    grown: Vec<u8>,
}

impl Joined {
    fn push(&mut self, piece: Payload) {
        if piece.is_empty() {
            return;
        }
        match piece.0 {
            Content::Bytes(bytes) if self.bytes.is_empty() && self.grown.is_empty() => self.bytes = bytes,
            Content::Bytes(bytes) => {
                if self.grown.is_empty() {
                    self.grown.extend_from_slice(&core::mem::take(&mut self.bytes));
                }
                self.grown.extend_from_slice(&bytes);
            }
            Content::Synthetic(content) => {
                self.end_bytes();
                if let Some(Payload(Content::Synthetic(last))) = self.pieces.last_mut()
                    && (last.seed, last.offset + last.len) == (content.seed, content.offset)
                {
                    last.len += content.len;
                } else {
                    self.pieces.push(Payload(Content::Synthetic(content)));
                }
            }
            Content::Pieces(pieces) => pieces.iter().for_each(|piece| self.push(piece.clone())),
        }
    }

    fn end_bytes(&mut self) {
        let (bytes, grown) = (core::mem::take(&mut self.bytes), core::mem::take(&mut self.grown));
        if !grown.is_empty() {
            self.pieces.push(Payload::from(grown));
        } else if !bytes.is_empty() {
            self.pieces.push(Payload::from(bytes));
        }
    }

    fn finish(mut self) -> Payload {
        self.end_bytes();
        if self.pieces.len() > 1 {
            return Payload(Content::Pieces(self.pieces.into()));
        }
        self.pieces.pop().unwrap_or_default()
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Payload {
        Payload(Content::Bytes(bytes))
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload(Content::Bytes(Bytes::from(bytes)))
    }
}

impl Default for Payload {
    fn default() -> Payload {
        Payload::empty()
    }
}

impl Hash for Payload {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Content::Bytes(bytes) => {
                state.write_u8(0);
                bytes.hash(state);
            }
            Content::Synthetic(content) => {
                state.write_u8(1);
                content.hash(state);
            }
            Content::Pieces(pieces) => {
                state.write_u8(2);
                pieces.hash(state);
            }
        }
    }
}

/// Content may be plaintext, so only the length is shown.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// What a payload describes, one entry for each byte: a real byte, or its place in a stream.
    fn described(payload: &Payload) -> Vec<(u64, u64)> {
        let of_piece = |piece: &Payload| match (piece.as_synthetic(), piece.bytes()) {
            (Some(Synthetic { seed, offset, len }), _) => {
                (offset..offset + len).map(|at| (seed, at)).collect()
            }
            (None, Some(bytes)) => bytes.iter().map(|byte| (u64::MAX, u64::from(*byte))).collect(),
            (None, None) => panic!("a piece is not made of others"),
        };
        payload.pieces().iter().flat_map(|piece| -> Vec<(u64, u64)> { of_piece(piece) }).collect()
    }

    fn piece() -> impl Strategy<Value = Payload> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..6).prop_map(Payload::from),
            (0u64..2, 0u64..8, 0u64..6).prop_map(|(seed, offset, len)| Payload::synthetic(Synthetic {
                seed,
                offset,
                len
            })),
        ]
    }

    proptest! {
        /// Joining and slicing keep every byte, and give what is equal one form.
        #[test]
        fn what_is_put_together_is_there(
            pieces in prop::collection::vec(piece(), 0..8),
            cuts in prop::collection::vec(0u64..48, 0..4),
        ) {
            let whole = Payload::join(pieces.clone());
            let expected: Vec<_> = pieces.iter().flat_map(described).collect();
            prop_assert_eq!(described(&whole), expected.clone());
            prop_assert_eq!(whole.len(), expected.len() as u64);
            let mut cuts: Vec<u64> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
            cuts.sort_unstable();
            let (mut rest, mut parts, mut at) = (whole.clone(), vec![], 0);
            for cut in cuts {
                let part = rest.take_front(cut - at);
                prop_assert_eq!(described(&part), &expected[at as usize..cut as usize]);
                parts.push(part);
                at = cut;
            }
            parts.push(rest);
            prop_assert_eq!(Payload::join(parts), whole);
        }
    }

    #[test]
    fn real_bytes_behind_a_stand_in_are_bytes() {
        let stand_in = Payload::synthetic(Synthetic { seed: 1, offset: 0, len: 10 });
        let mixed = Payload::join([stand_in.clone(), vec![1, 2].into(), vec![3].into()]);
        assert_eq!((mixed.len(), mixed.bytes()), (13, None));
        assert_eq!(mixed.slice(10..13).bytes(), Some(&Bytes::from(vec![1, 2, 3])));
        assert_eq!(mixed.slice(2..10).as_synthetic(), Some(Synthetic { seed: 1, offset: 2, len: 8 }));
        assert_eq!(Payload::join([mixed.slice(0..4), mixed.slice(4..10)]), stand_in);
    }
}
