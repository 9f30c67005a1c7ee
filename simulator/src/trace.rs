//! What happened, as one hash and, on request, as lines to read.

use crate::NodeId;
use core::fmt::Debug;
use core::hash::{Hash, Hasher};
use core::time::Duration;
use sha2::{Digest, Sha256};
use tallac_core::storage::protocol::{StorageAnswer, StorageError, StorageRequest};
use tallac_core::wire::{Frame, Kind, Message};

/// Takes in every event and action of a run with its time, node and bytes.
pub struct Trace {
    hasher: Portable,
    entries: u64,
    lines: Option<Lines>,
}

type Lines = Box<dyn FnMut(String)>;

impl Default for Trace {
    fn default() -> Trace {
        Trace { hasher: Portable([1, 2]), entries: 0, lines: None }
    }
}

impl Trace {
    /// Hands every entry to `lines`, too, as a line of text.
    pub fn tell(&mut self, lines: impl FnMut(String) + 'static) {
        self.lines = Some(Box::new(lines));
    }

    pub(crate) fn record(&mut self, at: Duration, node: NodeId, what: &(impl Hash + Debug), mark: &str) {
        self.entries += 1;
        (at, node, mark).hash(&mut self.hasher);
        what.hash(&mut self.hasher);
        if let Some(lines) = &mut self.lines {
            lines(format!("{:12.6} n{:<3} {mark} {what:?}", at.as_secs_f64(), node.0));
        }
    }

    /// A line about the world rather than a node; not part of the hash.
    pub(crate) fn remark(&mut self, at: Duration, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines(format!("{:12.6}      * {}", at.as_secs_f64(), text()));
        }
    }

    /// What a frame says, for people; not part of the hash.
    pub(crate) fn explain(&mut self, frame: &Frame) {
        if let Some(lines) = &mut self.lines
            && let Ok(message) = Message::open(frame.clone())
        {
            let body = match message.envelope.kind {
                Kind::Request => message.body::<StorageRequest>().ok().map(|body| format!("{body:?}")),
                Kind::Answer => message.body::<StorageAnswer>().ok().map(|body| format!("{body:?}")),
                Kind::Failure => message.body::<StorageError>().ok().map(|body| format!("{body:?}")),
                _ => None,
            };
            if let Some(body) = body {
                lines(format!("{:22}= {} {body}", "", message.envelope.id));
            }
        }
    }

    /// How many events and actions there were.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The hash over everything so far.
    pub fn hash(&self) -> TraceHash {
        let [a, b] = self.hasher.0.map(u64::to_le_bytes);
        TraceHash(Sha256::new().chain_update(a).chain_update(b).finalize().into())
    }
}

/// Both halves depend on all that came, in order.
fn absorb([a, b]: &mut [u64; 2], word: u64) {
    (*a, *b) = (fold(*a ^ word, 0x9e37_79b9_7f4a_7c15) ^ *b, a.rotate_left(23) ^ word);
}

/// The halves of a product, which depend on all bits of its factors.
fn fold(word: u64, factor: u64) -> u64 {
    let product = u128::from(word) * u128::from(factor);
    (product >> 64) as u64 ^ product as u64
}

/// Two runs with the same hash did the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceHash(pub [u8; 32]);

impl TraceHash {
    /// The hash of both of two traces.
    pub fn and(self, other: TraceHash) -> TraceHash {
        TraceHash(Sha256::new().chain_update(self.0).chain_update(other.0).finalize().into())
    }
}

impl core::fmt::Display for TraceHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Debug for TraceHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// Behind the interface of derived hashes, with the same width and order of every number on every machine.
/// Nobody tries to make two runs look the same, so that what is quick will do.
struct Portable([u64; 2]);

impl Portable {
    fn update(&mut self, bytes: &[u8]) {
        // Long bytes are taken by both halves at the same time.
        let (pairs, rest) = bytes.as_chunks::<16>();
        for pair in pairs {
            let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|byte| pair[at + byte]));
            let [a, b] = &mut self.0;
            (*a, *b) = (fold(*a ^ word(0), 0xd6e8_feb8_6659_fd93), fold(*b ^ word(8), 0xa076_1d64_78bd_642f));
        }
        let (words, rest) = rest.as_chunks::<8>();
        words.iter().for_each(|word| absorb(&mut self.0, u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            absorb(&mut self.0, u64::from_le_bytes(word) ^ (rest.len() as u64) << 56);
        }
    }
}

impl Hasher for Portable {
    fn finish(&self) -> u64 {
        unreachable!("the whole hash is taken, never 64 bits of it")
    }
    fn write(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
    fn write_u8(&mut self, number: u8) {
        self.update(&[number]);
    }
    fn write_u16(&mut self, number: u16) {
        self.update(&number.to_le_bytes());
    }
    fn write_u32(&mut self, number: u32) {
        self.update(&number.to_le_bytes());
    }
    fn write_u64(&mut self, number: u64) {
        self.update(&number.to_le_bytes());
    }
    fn write_u128(&mut self, number: u128) {
        self.update(&number.to_le_bytes());
    }
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
    fn write_i8(&mut self, number: i8) {
        self.update(&number.to_le_bytes());
    }
    fn write_i16(&mut self, number: i16) {
        self.update(&number.to_le_bytes());
    }
    fn write_i32(&mut self, number: i32) {
        self.update(&number.to_le_bytes());
    }
    fn write_i64(&mut self, number: i64) {
        self.update(&number.to_le_bytes());
    }
    fn write_i128(&mut self, number: i128) {
        self.update(&number.to_le_bytes());
    }
    fn write_isize(&mut self, number: isize) {
        self.write_i64(number as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_everywhere() {
        #[derive(Hash, Debug)]
        enum Sample {
            #[allow(dead_code)]
            First,
            Second(usize, Vec<u8>, Option<&'static str>),
        }
        let mut trace = Trace::default();
        trace.record(Duration::from_millis(5), NodeId(3), &Sample::Second(7, vec![1, 2], Some("x")), ">");
        let known = "e3f08386fbe1a2610ab57ca771ff07060bb604f4a08cab8fd46c019b637462d5";
        assert_eq!((trace.entries(), trace.hash().to_string().as_str()), (1, known));
    }
}
