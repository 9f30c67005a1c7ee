//! Reading all of one version of a mutable file, to build a new one on it.

use super::making::Content;
use super::map::Map;
use super::read::{Fetch, FetchTask, Hunger};
use super::{Salt, Version};
use crate::capability::MutableReadCap;
use crate::task::{Outcome, Tasks};
use crate::time::Instant;
use alloc::vec::Vec;
use bytes::BytesMut;

/// Reads all of one version, from the shares that a map shows and no others.
#[derive(Debug)]
pub(super) struct Gather {
    fetch: Fetch,
    /// The next segment, and how many there are.
    next: u64,
    segments: u64,
    bytes: BytesMut,
    salts: Vec<Salt>,
}

impl Gather {
    pub(super) fn new(cap: &MutableReadCap, version: Version) -> Gather {
        let segments = version.encoding().map_or(0, |encoding| encoding.num_segments());
        let fetch = Fetch::new(cap.storage_index(), version, cap.read_key.clone(), &(0..version.size));
        Gather { fetch, next: 0, segments, bytes: BytesMut::new(), salts: Vec::from_iter(version.iv) }
    }

    /// When somebody will have taken too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.fetch.look_at()
    }

    /// Goes on. The content once it is there; an error if it cannot be had from these shares.
    pub(super) fn advance<P: From<FetchTask>>(
        &mut self,
        map: &mut Map,
        tasks: &mut Tasks<P>,
        now: Instant,
    ) -> Option<Result<Content, ()>> {
        loop {
            self.fetch.advance(map, tasks, now);
            let Some(segment) = self.fetch.segment(self.next) else { break };
            self.bytes.extend_from_slice(segment.bytes().map_or(&[][..], |bytes| bytes));
            self.salts.extend(self.fetch.done_with(self.next));
            self.next += 1;
        }
        if self.next == self.segments {
            let bytes = self.bytes.split().freeze().into();
            return Some(Ok(Content { bytes, salts: core::mem::take(&mut self.salts) }));
        }
        let hopeless = self.fetch.hunger(map) == Hunger::Starved || self.fetch.inconsistent().is_some();
        hopeless.then_some(Err(()))
    }

    pub(super) fn finished<P: From<FetchTask>>(
        &mut self,
        task: FetchTask,
        outcome: Outcome,
        map: &mut Map,
        tasks: &mut Tasks<P>,
        now: Instant,
    ) {
        self.fetch.finished(task, outcome, map, tasks, now);
    }
}
