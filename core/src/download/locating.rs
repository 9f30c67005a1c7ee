//! Finding out where the shares of a file are: every server at the front of the ring is asked once what it
//! has, and one of those that have a share how the file is coded. Who does not tell that at once is not waited
//! for: another is asked beside it.
//!
//! ```text
//! Asking ──(all have answered, or patience ran out)──▶ over
//! ```
//!
//! It is for people who want to see, and promises less than a read: a server's word is taken for what it
//! has. Only how an immutable file is coded is checked, for the capability vouches for it.

use super::share::{Opened, ShareReader};
use super::{FileView, PATIENCE};
use crate::capability::ChkCap;
use crate::identity::ServerId;
use crate::limits::LOCATE_SERVERS_MAX;
use crate::machine::Machine;
use crate::mutable::{HEADER_LEN_MAX, Version, parse_header};
use crate::peers::{Answer, AskError, Candidate, Effort};
use crate::share_set::ShareSet;
use crate::storage::protocol::{StorageAnswer, StorageRequest};
use crate::storage_index::StorageIndex;
use crate::task::{Outcome, Task, Tasks, Trouble, pieces, read, read_slot, slot_pieces};
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

/// All answers must be there by then: somebody is looking at an empty page meanwhile.
const ALL_PATIENCE: Duration = Duration::from_secs(4);
/// Who has not told by then how the file is coded gets company.
const OVERTAKEN_AFTER: Duration = Duration::from_millis(300);
/// What is read of each share of a mutable file.
const HEADER: Range<u64> = 0..HEADER_LEN_MAX as u64;

/// Whose shares are looked for.
#[derive(Clone, Hash, Debug)]
pub enum Sought {
    /// Those of an immutable file.
    Immutable(ChkCap),
    /// Those of a mutable file.
    Mutable(StorageIndex),
}

/// What looking for shares needs to know.
#[derive(Clone, Hash, Debug)]
pub struct LocateSetup {
    /// Whose shares.
    pub file: Sought,
    /// The servers to ask, in the order of the ring; no more than [`LOCATE_SERVERS_MAX`] are.
    pub ring: Vec<Candidate>,
    /// How many servers there are on the whole ring.
    pub ring_len: usize,
}

/// What can happen while shares are looked for.
#[derive(Clone, Hash, Debug)]
pub enum LocateEvent {
    /// The deadline has come.
    Wake,
    /// A task is over.
    Finished(u64, Outcome),
}

/// What looking for shares asks for.
#[derive(Clone, Hash, Debug)]
pub enum LocateAction {
    /// Something to do, answered by `Finished`.
    Task(u64, Box<Task>),
    /// It is over.
    Done(Box<Locations>),
}

/// Where the shares of a file are, as far as servers have told.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Locations {
    /// The servers that were asked, in the order of the ring.
    pub servers: Vec<Holder>,
    /// Servers further along the ring that were not asked.
    pub unasked: usize,
    /// How the file is coded, if a share told.
    pub coding: Option<Coding>,
}

/// The numbers of shares, ascending, each with the number of its version if the file is mutable and the
/// share tells it.
pub type HeldShares = Vec<(u16, Option<u64>)>;

/// A server and what it has of a file.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Holder {
    /// The server.
    pub server: ServerId,
    /// Its name for people.
    pub nickname: alloc::string::String,
    /// Its shares, or why it told of none.
    pub shares: Result<HeldShares, Trouble>,
}

/// How a file is coded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Coding {
    /// How many shares suffice.
    pub needed: u16,
    /// How many shares there are.
    pub total: u16,
    /// The length of every segment but the last, in bytes.
    pub segment_size: u64,
    /// The length of the file, in bytes.
    pub size: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    List(ServerId),
    Open(ServerId),
}

/// Looks for the shares of one file.
#[derive(Debug)]
pub struct Locate {
    file: Sought,
    ring: Vec<Candidate>,
    unasked: usize,
    found: BTreeMap<ServerId, Result<HeldShares, Trouble>>,
    /// Shares of an immutable file that could tell how it is coded, those that are asked for it, and when
    /// the last of them was.
    to_open: VecDeque<(ServerId, u16)>,
    opening: BTreeMap<ServerId, ShareReader>,
    opened_last: Option<Instant>,
    coding: Option<Coding>,
    /// The newest version of a mutable file that a share told of.
    newest: Option<Version>,
    until: Instant,
    over: bool,
    tasks: Tasks<Purpose>,
    actions: VecDeque<LocateAction>,
}

impl Machine for Locate {
    type Event = LocateEvent;
    type Action = LocateAction;

    fn handle(&mut self, event: LocateEvent, now: Now) {
        if self.over {
            return;
        }
        match event {
            LocateEvent::Wake => {}
            LocateEvent::Finished(id, outcome) => {
                if let (Some(purpose), Outcome::Answer(answer)) = (self.tasks.finish(id), outcome) {
                    self.answered(purpose, answer, now.instant);
                }
            }
        }
        self.open_next(now.instant);
        let all = self.found.len() == self.ring.len() && (self.opening.is_empty() || self.coding.is_some());
        if all || now.instant >= self.until {
            self.finish();
        }
    }

    fn poll_action(&mut self) -> Option<LocateAction> {
        if let Some((id, task)) = self.tasks.poll() {
            return Some(LocateAction::Task(id, Box::new(task)));
        }
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let overtaken = self.opened_last.filter(|_| self.wants_another()).map(|last| last + OVERTAKEN_AFTER);
        Some(overtaken.map_or(self.until, |at| at.min(self.until)))
    }
}

impl Locate {
    /// Begins to ask.
    pub fn new(setup: LocateSetup, now: Now) -> Locate {
        let LocateSetup { file, mut ring, ring_len } = setup;
        ring.truncate(LOCATE_SERVERS_MAX);
        let unasked = ring_len.saturating_sub(ring.len());
        let mut tasks = Tasks::new();
        for candidate in &ring {
            let request = match &file {
                Sought::Immutable(cap) => StorageRequest::List { storage_index: cap.storage_index() },
                Sought::Mutable(index) => read_slot(*index, ShareSet::EMPTY, &[HEADER]),
            };
            tasks.start(Purpose::List(candidate.server), ask(candidate.server, request));
        }
        let mut locate = Locate {
            file,
            ring,
            unasked,
            found: BTreeMap::new(),
            to_open: VecDeque::new(),
            opening: BTreeMap::new(),
            opened_last: None,
            coding: None,
            newest: None,
            until: now.instant + ALL_PATIENCE,
            over: false,
            tasks,
            actions: VecDeque::new(),
        };
        if locate.ring.is_empty() {
            locate.finish();
        }
        locate
    }

    fn answered(&mut self, purpose: Purpose, answer: Answer, now: Instant) {
        match purpose {
            Purpose::List(server) => {
                let told = self.told(answer);
                if let Ok(shares) = &told {
                    self.to_open.extend(shares.first().map(|(share, _)| (server, *share)));
                }
                self.found.insert(server, told);
            }
            Purpose::Open(server) => self.opened(server, answer, now),
        }
    }

    /// Whether there is another share to open, and it is of use.
    fn wants_another(&self) -> bool {
        matches!(self.file, Sought::Immutable(_)) && self.coding.is_none() && !self.to_open.is_empty()
    }

    fn open_next(&mut self, now: Instant) {
        let is_time = self.opened_last.is_none_or(|last| now >= last + OVERTAKEN_AFTER);
        if self.over || !self.wants_another() || !is_time {
            return;
        }
        let Some((server, share)) = self.to_open.pop_front() else { return };
        let mut reader = ShareReader::new(share);
        let ranges = reader.open(None, now);
        self.open(server, share, &ranges);
        self.opening.insert(server, reader);
        self.opened_last = Some(now);
    }

    fn told(&mut self, answer: Answer) -> Result<HeldShares, Trouble> {
        match (&self.file, answer) {
            (Sought::Immutable(cap), Ok((StorageAnswer::Shares(shares), _))) => {
                Ok(shares.iter().filter(|share| *share < cap.total).map(|share| (share, None)).collect())
            }
            (Sought::Mutable(_), Ok((StorageAnswer::Slot(shares), bulk))) => {
                let mut told = Vec::new();
                for (share, pieces) in slot_pieces(shares, bulk, &[HEADER])? {
                    let header = pieces.into_iter().next().and_then(|piece| piece.into_bytes());
                    let version =
                        header.and_then(|header| parse_header(&header).ok()).map(|(found, _)| found);
                    self.newest = self.newest.max(version);
                    told.push((share, version.map(|version| version.sequence)));
                }
                Ok(told)
            }
            (_, Ok(_)) => Err(Trouble::Nonsense("no list of shares")),
            (_, Err(error)) => Err(Trouble::Ask(error)),
        }
    }

    fn open(&mut self, server: ServerId, share: u16, ranges: &[Range<u64>]) {
        if let Sought::Immutable(cap) = &self.file {
            let request = read(cap.storage_index(), share, ranges);
            self.tasks.start(Purpose::Open(server), ask(server, request));
        }
    }

    /// A share that is not what it should be tells nothing.
    fn opened(&mut self, server: ServerId, answer: Answer, now: Instant) {
        let (Some(mut reader), Sought::Immutable(cap)) = (self.opening.remove(&server), &self.file) else {
            return;
        };
        // Whatever comes of it, nobody waits for this one any more before asking the next.
        self.opened_last = None;
        let Ok(read) = pieces(answer, reader.ranges()) else { return };
        let mut file: Option<FileView> = None;
        match reader.opened(read, cap, &mut file) {
            Ok(Opened::Needs(ranges)) => {
                reader.ask_again(&ranges, now);
                self.open(server, reader.share(), &ranges);
                self.opening.insert(server, reader);
                self.opened_last = Some(now);
            }
            Ok(Opened::Ready) => {
                self.coding = file.map(|file| {
                    let encoding = file.encoding();
                    Coding {
                        needed: encoding.needed(),
                        total: encoding.total(),
                        segment_size: encoding.segment_size().into(),
                        size: encoding.size(),
                    }
                });
            }
            Err(_) => {}
        }
    }

    fn finish(&mut self) {
        self.over = true;
        self.tasks.forget(|_| true);
        let mutable = self.newest.map(|version| Coding {
            needed: version.needed.into(),
            total: version.total.into(),
            segment_size: version.segment_size,
            size: version.size,
        });
        let silent = || Err(Trouble::Ask(AskError::Silent(ALL_PATIENCE)));
        let servers = core::mem::take(&mut self.ring).into_iter().map(|candidate| Holder {
            shares: self.found.remove(&candidate.server).unwrap_or_else(silent),
            server: candidate.server,
            nickname: candidate.nickname,
        });
        let servers = servers.collect();
        let coding = self.coding.or(mutable);
        let locations = Locations { servers, unasked: self.unasked, coding };
        self.actions.push_back(LocateAction::Done(Box::new(locations)));
    }
}

fn ask(server: ServerId, request: StorageRequest) -> Task {
    Task::Ask { server, request, bulk: Vec::new(), patience: PATIENCE, effort: Effort::Normal }
}

#[cfg(test)]
mod tests;
