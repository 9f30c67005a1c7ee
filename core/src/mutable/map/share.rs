//! One share at one server, as far as it has been read.

use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;

use super::FIRST_BYTES;
use crate::mutable::{HEADER_LEN_MAX, MutableLayout, MutableShareError, Version, parse_header};
use crate::payload::Payload;
use crate::task::covered;

/// How far a share is trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ShareState {
    /// Its header makes sense. Its version has not been looked at yet.
    Unchecked,
    /// The rest of what is needed to check its version is being read.
    Reading,
    /// Its signature is being checked, by the check with this number.
    Checking(u64),
    /// Its version is signed by the file's key. That says nothing of its blocks, nor of where its
    /// header says that they are.
    Good,
    /// It is of no use.
    Bad(MutableShareError),
}

/// One share at one server: what was read of it, and what it is.
#[derive(Clone, Debug)]
pub(crate) struct HeldShare {
    /// What was read: where it begins, and the bytes. The first piece is the first bytes.
    pieces: Vec<(u64, Payload)>,
    header: Option<(Version, MutableLayout)>,
    state: ShareState,
    /// Its version was signed, whatever became of the share.
    is_signed: bool,
    /// How many bytes there are, if there are no more than its first bytes.
    read_len: Option<u64>,
}

impl HeldShare {
    /// A share of which the first bytes were read.
    pub(super) fn new(number: u16, first: Bytes) -> HeldShare {
        let (header, state) = match parse_header(&first) {
            Ok((version, _)) if number >= version.total.into() => {
                (None, ShareState::Bad(MutableShareError::NoSuchShare { share: number }))
            }
            Ok(header) => (Some(header), ShareState::Unchecked),
            Err(why) => (None, ShareState::Bad(why)),
        };
        // Copied, so that the shares of one answer do not keep each other's bytes in memory.
        let pieces = Vec::from([(0, Bytes::copy_from_slice(&first).into())]);
        let read_len = Some(first.len() as u64).filter(|len| *len < FIRST_BYTES);
        let mut share = HeldShare { pieces, header, state, is_signed: false, read_len };
        share.set(state);
        share
    }

    /// How far it is trusted.
    pub(crate) fn state(&self) -> ShareState {
        self.state
    }

    /// Its version and where its parts are, if the version is signed.
    pub(crate) fn good(&self) -> Option<(&Version, &MutableLayout)> {
        match (self.state, &self.header) {
            (ShareState::Good, Some((version, layout))) => Some((version, layout)),
            _ => None,
        }
    }

    /// The version that it is of and where its parts are, if the version is signed: also of a share that has
    /// since proved bad. That version was written there.
    pub(super) fn shown(&self) -> Option<(&Version, &MutableLayout)> {
        self.header.as_ref().filter(|_| self.is_signed).map(|(version, layout)| (version, layout))
    }

    /// Whether it is so short that a server takes all such shares at once. Of longer ones the length is not known;
    /// nor of one of which nothing is to be had, as when a disk fails.
    pub(super) fn is_short(&self) -> bool {
        self.read_len.is_some_and(|len| len > 0)
    }

    /// How long it was when it was written, in bytes, if its version is signed.
    pub(crate) fn share_len(&self) -> Option<u64> {
        self.shown().map(|(_, layout)| layout.share_len())
    }

    /// How long it is now, in bytes: as long as what was read, if that is all of it; else as when it was written.
    pub(crate) fn stored_len(&self) -> Option<u64> {
        self.read_len.or_else(|| self.share_len())
    }

    /// Why it is of no use.
    pub(crate) fn bad(&self) -> Option<MutableShareError> {
        match self.state {
            ShareState::Bad(why) => Some(why),
            _ => None,
        }
    }

    /// Its first bytes, as the server gave them: what is there, up to
    /// [`FIRST_BYTES`](super::FIRST_BYTES), of a share that proved bad up to [`HEADER_LEN_MAX`].
    pub(crate) fn first_bytes(&self) -> &[u8] {
        let (_, first) = &self.pieces[0];
        first.front_bytes()
    }

    /// The bytes of a range, if they have been read.
    pub(crate) fn bytes(&self, range: &Range<u64>) -> Option<Bytes> {
        covered(&self.pieces, range).and_then(Payload::into_bytes)
    }

    /// Everything read: where each piece begins, and its bytes.
    pub(crate) fn pieces(&self) -> &[(u64, Payload)] {
        &self.pieces
    }

    /// What its header says, signed or not.
    pub(super) fn header(&self) -> Option<&(Version, MutableLayout)> {
        self.header.as_ref()
    }

    pub(super) fn set(&mut self, state: ShareState) {
        self.state = state;
        self.is_signed |= state == ShareState::Good;
        if let ShareState::Bad(_) = state {
            // Junk is not worth keeping, but for what a writer tests.
            let first = self.first_bytes();
            let first = Bytes::copy_from_slice(&first[..first.len().min(HEADER_LEN_MAX)]);
            self.pieces = Vec::from([(0, first.into())]);
        }
    }

    /// Whether it is good if its version is: nothing is wrong with it but its copies of key and
    /// signature.
    pub(super) fn may_be_good(&self) -> bool {
        use MutableShareError::{OtherPublicKey, Signature};
        self.header.is_some()
            && !matches!(self.state, ShareState::Bad(why) if !matches!(why, OtherPublicKey | Signature))
    }

    pub(super) fn add(&mut self, start: u64, bytes: Bytes) {
        self.pieces.push((start, bytes.into()));
    }
}
