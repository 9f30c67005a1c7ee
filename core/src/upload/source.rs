//! Where the content of an upload comes from, and how it can be read again.
//!
//! Short content stays in memory. Longer content goes to a spool file while it is hashed, unless
//! it is a stream: with a random key and a known length nothing needs to be known of the end
//! before the beginning is sent, and each segment is taken as it comes.

use super::{Purpose, UploadError};
use crate::disk::{DiskOutput, DiskStep, StorePath};
use crate::encoding::EncodingParams;
use crate::hash::TaggedHasher;
use crate::job::{Job, JobOutput};
use crate::mutants::{self, Mutant};
use crate::payload::Payload;
use crate::task::{Outcome, Task, Tasks};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

/// Content up to this many bytes is kept in memory instead of spooled.
const KEEP_MAX: u64 = 1024 * 1024;
/// Bytes hashed and spooled at a time.
const BATCH: u64 = 1024 * 1024;
/// The spool leaves this much of the disk free.
const SPOOL_RESERVE: u64 = 32 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Source {
    len: Option<u64>,
    received: u64,
    ended: bool,
    granted: u64,
    /// How far the grants may run ahead of what was worked off.
    window: u64,
    /// Received and not worked off yet.
    pending: VecDeque<Payload>,
    pending_len: u64,
    /// Worked off: hashed and kept, or taken by a segment.
    consumed: u64,
    hashed: u64,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Stream,
    /// Too little has come to know whether a spool is needed.
    Undecided {
        spool: u64,
    },
    Memory {
        content: Vec<Payload>,
        hashing: u64,
    },
    Spool {
        number: u64,
        created: bool,
        hashing: u64,
        writing: u64,
        written: u64,
    },
}

/// What a task of the source was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SourceTask {
    Hash { len: u64 },
    Write { len: u64, first: bool },
    Read { segment: u64, len: u64 },
}

/// A segment's plaintext, or why there is none yet.
pub(super) enum Segment {
    Ready(Vec<Payload>),
    /// It is being read.
    Started,
    /// It has not come in yet.
    NotYet,
}

impl Source {
    pub(super) fn new(len: Option<u64>, spool: u64, streaming: bool, params: &EncodingParams) -> Source {
        let window = (4 * 1024 * 1024).max(2 * u64::from(params.max_segment_size()));
        Source {
            len,
            received: 0,
            ended: len == Some(0),
            granted: 0,
            window,
            pending: VecDeque::new(),
            pending_len: 0,
            consumed: 0,
            hashed: 0,
            mode: if streaming { Mode::Stream } else { Mode::Undecided { spool } },
        }
    }

    pub(super) fn take(&mut self, data: Payload) -> Result<(), UploadError> {
        let len = data.len();
        self.received += len;
        if let Some(expected) = self.len
            && self.received > expected
        {
            return Err(UploadError::SourceTooLong { expected });
        }
        self.ended |= self.len == Some(self.received);
        if len > 0 {
            self.pending.push_back(data);
            self.pending_len += len;
        }
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<(), UploadError> {
        match self.len {
            Some(expected) if self.received < expected => {
                Err(UploadError::SourceTooShort { expected, received: self.received })
            }
            _ => {
                self.len = Some(self.received);
                self.ended = true;
                Ok(())
            }
        }
    }

    /// The content's length, once known.
    pub(super) fn len(&self) -> Option<u64> {
        self.len
    }

    pub(super) fn is_streaming(&self) -> bool {
        matches!(self.mode, Mode::Stream)
    }

    pub(super) fn hashed(&self) -> u64 {
        self.hashed
    }

    /// Whether the whole content is there and not longer than `max`.
    pub(super) fn all_within(&self, max: u64) -> bool {
        self.ended && self.received <= max
    }

    /// The bytes of a short content, all of which is still pending. `None` for stand-ins.
    pub(super) fn small_content(&self) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        for piece in &self.pending {
            content.extend_from_slice(piece.bytes()?);
        }
        (content.len() as u64 == self.received).then_some(content)
    }

    /// The segment size that follows from the length, or from there being more than one segment.
    pub(super) fn segment_size(&self, params: &EncodingParams) -> Option<u32> {
        let max = u64::from(params.max_segment_size());
        let size = match self.len {
            Some(len) => len.min(max),
            None if self.received > max => max,
            None => return None,
        };
        u32::try_from(size.next_multiple_of(u64::from(params.needed()))).ok()
    }

    /// Hashes (if `hash`) and keeps or spools what is pending, a batch at a time.
    pub(super) fn absorb(
        &mut self,
        hash: bool,
        hasher: &mut Option<TaggedHasher>,
        tasks: &mut Tasks<Purpose>,
    ) {
        if let Mode::Undecided { spool } = self.mode {
            let long = self.len.unwrap_or(self.received) > KEEP_MAX;
            if long {
                self.mode = Mode::Spool { number: spool, created: false, hashing: 0, writing: 0, written: 0 };
            } else if self.len.is_some() {
                self.mode = Mode::Memory { content: Vec::new(), hashing: 0 };
            } else {
                return;
            }
        }
        if self.pending_len == 0 || self.is_busy() || (hash && hasher.is_none()) {
            return;
        }
        let batch = self.take_pending(self.pending_len.min(BATCH));
        let len: u64 = batch.iter().map(Payload::len).sum();
        if let (true, Some(state)) = (hash, hasher.take()) {
            let job = Job::Hash { hasher: state, data: batch.clone() };
            tasks.job(Purpose::Source(SourceTask::Hash { len }), job);
        }
        match &mut self.mode {
            Mode::Memory { content, hashing } => {
                content.extend(batch);
                if hash {
                    *hashing = len;
                } else {
                    self.consumed += len;
                }
            }
            Mode::Spool { number, created, hashing, writing, written } => {
                let path = StorePath::Spool(*number);
                let first = !core::mem::replace(created, true);
                let mut steps = Vec::from([DiskStep::FreeSpace]);
                if first {
                    steps.push(DiskStep::Create(path.clone()));
                }
                let mut offset = *written;
                for data in batch {
                    let next = offset + data.len();
                    steps.push(DiskStep::Write { path: path.clone(), offset, data });
                    offset = next;
                }
                *writing = len;
                *hashing = if hash { len } else { 0 };
                tasks.start(Purpose::Source(SourceTask::Write { len, first }), Task::Disk(steps));
            }
            Mode::Stream | Mode::Undecided { .. } => unreachable!("decided above; streams are not absorbed"),
        }
    }

    fn is_busy(&self) -> bool {
        match self.mode {
            Mode::Memory { hashing, .. } => hashing > 0,
            Mode::Spool { hashing, writing, .. } => hashing > 0 || writing > 0,
            Mode::Stream | Mode::Undecided { .. } => false,
        }
    }

    /// Whether the whole content has been hashed and kept.
    pub(super) fn is_absorbed(&self) -> bool {
        self.ended && self.pending_len == 0 && !self.is_busy() && self.consumed == self.received
    }

    /// Takes in the outcome of a task. Yields a segment's plaintext when one has been read.
    pub(super) fn finished(
        &mut self,
        task: SourceTask,
        outcome: Outcome,
        hasher: &mut Option<TaggedHasher>,
    ) -> Result<Option<(u64, Vec<Payload>)>, UploadError> {
        match (task, outcome) {
            (SourceTask::Hash { len }, Outcome::Job(JobOutput::Hashed(state))) => {
                *hasher = Some(state);
                self.hashed += len;
                match &mut self.mode {
                    Mode::Memory { hashing, .. } | Mode::Spool { hashing, .. } => *hashing = 0,
                    Mode::Stream | Mode::Undecided { .. } => {}
                }
                self.batch_done(len);
            }
            (SourceTask::Write { len, .. }, Outcome::Disk(Ok(outputs))) => {
                if let Mode::Spool { writing, written, .. } = &mut self.mode {
                    *writing = 0;
                    *written += len;
                }
                let rest = self.len.unwrap_or(self.received).saturating_sub(self.consumed + len);
                if let Some(DiskOutput::Free(free)) = outputs.first()
                    && *free < rest.saturating_add(SPOOL_RESERVE)
                {
                    return Err(UploadError::SpoolFull { needed: rest, free: *free });
                }
                self.batch_done(len);
            }
            (SourceTask::Read { segment, len }, Outcome::Disk(Ok(mut outputs))) => match outputs.pop() {
                Some(DiskOutput::Data(data)) if data.len() == len => {
                    return Ok(Some((segment, [data].into())));
                }
                _ => return Err(UploadError::SpoolDamaged),
            },
            (_, Outcome::Disk(Err(failure))) => return Err(UploadError::Spool(failure.error)),
            (task, outcome) => debug_assert!(false, "{task:?} cannot end with {outcome:?}"),
        }
        Ok(None)
    }

    fn batch_done(&mut self, len: u64) {
        if !self.is_busy() {
            self.consumed += len;
        }
    }

    /// Fetches the plaintext of a segment, which lies at `range` of the content.
    pub(super) fn segment(&mut self, segment: u64, range: Range<u64>, tasks: &mut Tasks<Purpose>) -> Segment {
        let len = range.end - range.start;
        match &self.mode {
            Mode::Memory { content, .. } => Segment::Ready(cut(content, range)),
            Mode::Spool { number, .. } => {
                let path = StorePath::Spool(*number);
                let step = DiskStep::Read { path, offset: range.start, len };
                tasks.start(Purpose::Source(SourceTask::Read { segment, len }), Task::Disk([step].into()));
                Segment::Started
            }
            Mode::Stream if self.pending_len >= len => {
                debug_assert_eq!(self.consumed, range.start, "a stream is read once, in order");
                let pieces = self.take_pending(len);
                self.consumed += len;
                Segment::Ready(pieces)
            }
            Mode::Stream | Mode::Undecided { .. } => Segment::NotYet,
        }
    }

    fn take_pending(&mut self, len: u64) -> Vec<Payload> {
        let mut taken = Vec::new();
        let mut missing = len;
        while missing > 0 {
            let mut piece = self.pending.pop_front().expect("callers take what is there");
            if piece.len() > missing {
                let front = piece.take_front(missing);
                self.pending.push_front(piece);
                piece = front;
            }
            missing -= piece.len();
            taken.push(piece);
        }
        self.pending_len -= len;
        taken
    }

    /// Begins anew with a stream of the same length: what is read back from the grid.
    pub(super) fn restart_stream(&mut self) {
        (self.received, self.consumed, self.granted) = (0, 0, 0);
        self.pending.clear();
        self.pending_len = 0;
        self.ended = false;
    }

    /// How many more bytes may come, not counting those granted before.
    pub(super) fn poll_grant(&mut self) -> u64 {
        let target = (self.consumed + self.window).min(self.len.unwrap_or(u64::MAX));
        // Small grants would cost an event each; a quarter of the window is worth one.
        let more = target.saturating_sub(self.granted);
        if more == 0 || (more < self.window / 4 && self.len != Some(target)) {
            return 0;
        }
        self.granted = target;
        more
    }

    /// Removes the spool, if there is one.
    pub(super) fn remove(&mut self, tasks: &mut Tasks<Purpose>) {
        if let Mode::Spool { number, created: true, .. } = self.mode
            && !mutants::is_in(Mutant::SpoolKept)
        {
            tasks.start_blind(Task::Disk([DiskStep::Remove(StorePath::Spool(number))].into()));
        }
        self.mode = Mode::Stream;
        self.pending.clear();
        self.pending_len = 0;
    }
}

/// The pieces of `content` that make up `range`.
fn cut(content: &[Payload], range: Range<u64>) -> Vec<Payload> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for piece in content {
        let end = start + piece.len();
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            pieces.push(piece.slice(from - start..to - start));
        }
        start = end;
    }
    pieces
}
