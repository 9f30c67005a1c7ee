//! Reading a range of a mutable file.
//!
//! ```text
//! Mapping ──(the version to read is clear)──▶ Fetching ──▶ over
//!    ▲  └────────(nothing can be read)────────────┼────────▲
//!    └──(too few good blocks, or the file changed)┘
//! ```
//!
//! The first servers of the ring are asked what they have, until it is clear which version is the
//! newest that can be read; if too few shares show up, the search goes on along the ring. Then its
//! segments are fetched. Until the first bytes have been delivered, another version can be taken if
//! the one begun with proves unreadable.
//!
//! Nothing reaches the reader that was not vouched for: the capability holds the hash of the public
//! key, that signs the root over all blocks. A server can hold a version back, but not make one up.
//! So the reader waits for so many servers that those it has not heard of are not likely to have a
//! newer version among themselves.

mod block;
mod choosing;
mod fetch;
mod report;

pub use report::{Found, ReadError};

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

pub(super) use self::fetch::{Fetch, FetchTask, Hunger};
use super::Version;
use super::map::{Map, MapTask};
use crate::capability::MutableReadCap;
use crate::machine::Machine;
use crate::payload::Payload;
use crate::peers::Candidate;
use crate::task::{Outcome, Task, Tasks};
use crate::time::{Instant, Now};

/// How often a file that changes while it is read is begun anew.
const TRIES_MAX: u32 = 4;

/// What reading needs to know.
#[derive(Clone, Hash, Debug)]
pub struct ReadSetup {
    /// The file.
    pub cap: MutableReadCap,
    /// Which bytes, as far as the file has them; all of them, if `None`.
    pub range: Option<Range<u64>>,
    /// The servers to ask, in the order of the ring.
    pub ring: Vec<Candidate>,
    /// How many of them to ask at first: as many as most files of this grid have shares.
    pub batch: usize,
}

/// What can happen while a mutable file is read.
#[derive(Clone, Hash, Debug)]
pub enum ReadEvent {
    /// The deadline has come.
    Wake,
    /// The reader takes this many more bytes.
    Grant(u64),
    /// A task is over.
    Finished(u64, Outcome),
    /// Nobody wants the rest.
    Cancel,
}

/// What reading asks for.
#[derive(Clone, Hash, Debug)]
pub enum ReadAction {
    /// Something to do, answered by `Finished`.
    Task(u64, Box<Task>),
    /// What is being read: once, before the first bytes.
    Found(Box<Found>),
    /// The next bytes, checked.
    Data(Payload),
    /// It is over. After an error the bytes so far are good, but not all.
    Done(Result<(), Box<ReadError>>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    Map(MapTask),
    Fetch(FetchTask),
}

impl From<MapTask> for Purpose {
    fn from(task: MapTask) -> Purpose {
        Purpose::Map(task)
    }
}

impl From<FetchTask> for Purpose {
    fn from(task: FetchTask) -> Purpose {
        Purpose::Fetch(task)
    }
}

#[derive(Debug)]
enum Stage {
    /// It is not clear yet which version to read.
    Mapping,
    /// A version is read.
    Fetching {
        found: Box<Found>,
        fetch: Box<Fetch>,
        /// The next byte to deliver.
        position: u64,
        /// What is being read has been told.
        told: bool,
    },
    /// The outcome has been told; whatever still comes is of no interest.
    Over,
}

/// Reads a range of one mutable file.
#[derive(Debug)]
pub struct Read {
    cap: MutableReadCap,
    range: Option<Range<u64>>,
    map: Map,
    /// When servers were asked last what they have.
    asked_at: Instant,
    /// The highest sequence number seen, even if the shares with it proved bad.
    highest_sequence: u64,
    stage: Stage,
    granted: u64,
    tries: u32,
    tasks: Tasks<Purpose>,
    actions: VecDeque<ReadAction>,
    now: Instant,
}

impl Machine for Read {
    type Event = ReadEvent;
    type Action = ReadAction;

    fn handle(&mut self, event: ReadEvent, now: Now) {
        if matches!(self.stage, Stage::Over) {
            return;
        }
        self.now = now.instant;
        match event {
            ReadEvent::Wake => {}
            ReadEvent::Grant(bytes) => self.granted = self.granted.saturating_add(bytes),
            ReadEvent::Cancel => return self.end(),
            ReadEvent::Finished(id, outcome) => match self.tasks.finish(id) {
                Some(Purpose::Map(task)) => self.map.finished(task, outcome, &mut self.tasks),
                Some(Purpose::Fetch(task)) => {
                    if let Stage::Fetching { fetch, .. } = &mut self.stage {
                        fetch.finished(task, outcome, &mut self.map, &mut self.tasks, now.instant);
                    }
                }
                None => {}
            },
        }
        self.advance();
    }

    fn poll_action(&mut self) -> Option<ReadAction> {
        if let Some((id, task)) = self.tasks.poll() {
            return Some(ReadAction::Task(id, Box::new(task)));
        }
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Mapping => self.look_at(),
            Stage::Fetching { fetch, .. } => self.look_at().into_iter().chain(fetch.look_at()).min(),
            Stage::Over => None,
        }
    }
}

impl Read {
    /// Begins to read at once.
    pub fn new(setup: ReadSetup, now: Now) -> Read {
        let ReadSetup { cap, range, ring, batch } = setup;
        let mut tasks = Tasks::new();
        let map = Map::new(cap.verify_cap(), ring, batch, &mut tasks, now.instant);
        let mut read = Read {
            cap,
            range,
            map,
            asked_at: now.instant,
            highest_sequence: 0,
            stage: Stage::Mapping,
            granted: 0,
            tries: 1,
            tasks,
            actions: VecDeque::new(),
            now: now.instant,
        };
        read.advance();
        read
    }

    /// Does whatever can be done now.
    fn advance(&mut self) {
        loop {
            let next = match &self.stage {
                Stage::Mapping => self.choose(),
                Stage::Fetching { .. } => self.fetch(),
                Stage::Over => return,
            };
            match next {
                Some(stage) => self.stage = stage,
                None => return,
            }
        }
    }

    fn begin(&self, version: Version) -> Stage {
        let size = version.size;
        let wanted = self.range.clone().unwrap_or(0..size);
        let start = wanted.start.min(size);
        let range = start..wanted.end.clamp(start, size);
        let read_key = self.cap.read_key.clone();
        let fetch = Box::new(Fetch::new(self.cap.storage_index(), version, read_key, &range));
        let position = range.start;
        let found = Box::new(Found { version, range, highest_sequence: self.highest_sequence });
        Stage::Fetching { found, fetch, position, told: false }
    }

    /// Goes on fetching. Another stage follows if that is over or of no use.
    fn fetch(&mut self) -> Option<Stage> {
        let Stage::Fetching { found, fetch, position, told } = &mut self.stage else { return None };
        let encoding = found.version.encoding().ok();
        let cut = encoding.as_ref().and_then(|encoding| encoding.cut());
        while *position < found.range.end {
            let Some(segment) = cut.and_then(|cut| cut.segment_of(*position)) else { break };
            let (Some(cut), Some(plaintext)) = (cut, fetch.segment(segment)) else { break };
            if !*told {
                self.actions.push_back(ReadAction::Found(found.clone()));
                *told = true;
            }
            let span = cut.segment_range(segment);
            let end = span.end.min(found.range.end).min(position.saturating_add(self.granted));
            if end == *position {
                break;
            }
            let data = plaintext.slice(*position - span.start..end - span.start);
            self.granted -= data.len();
            *position = end;
            self.actions.push_back(ReadAction::Data(data));
            if end == span.end || end == found.range.end {
                fetch.done_with(segment);
            }
        }
        if *position >= found.range.end {
            if !*told {
                self.actions.push_back(ReadAction::Found(found.clone()));
            }
            self.actions.push_back(ReadAction::Done(Ok(())));
            self.end();
            return None;
        }
        fetch.advance(&mut self.map, &mut self.tasks, self.now);
        if let Some(segment) = fetch.inconsistent() {
            return Some(self.failed(ReadError::Inconsistent { segment }));
        }

        let hunger = fetch.hunger(&self.map);
        let (version, told, changed) = (found.version, *told, fetch.has_changed());
        if hunger == Hunger::Fed || self.map.is_checking() {
            return None;
        }
        if changed && hunger == Hunger::Starved {
            return Some(self.start_again(told));
        }
        if self.widen() || hunger == Hunger::Late || !self.has_heard_all() {
            return None;
        }
        // Nobody is left to ask for this version: another one, if nothing was delivered yet.
        self.tasks.forget(|purpose| matches!(purpose, Purpose::Fetch(_)));
        let error = self.not_enough(version);
        Some(if told || self.map.newest_readable() == Some(version) {
            self.failed(error)
        } else {
            Stage::Mapping
        })
    }

    /// The file was changed while it was read. Begins anew, unless part of it was delivered.
    fn start_again(&mut self, told: bool) -> Stage {
        if told || self.tries >= TRIES_MAX {
            return self.failed(ReadError::Changed);
        }
        self.tries += 1;
        self.tasks.forget(|_| true);
        self.map.ask_again(&mut self.tasks, self.now);
        self.asked_at = self.now;
        Stage::Mapping
    }

    fn failed(&mut self, error: ReadError) -> Stage {
        self.actions.push_back(ReadAction::Done(Err(Box::new(error))));
        self.tasks.forget(|_| true);
        Stage::Over
    }

    fn end(&mut self) {
        self.stage = Stage::Over;
        self.tasks.forget(|_| true);
    }
}
