//! Finding out where the shares of a file are: every server of the ring is asked once what it has, and one
//! of those that have a share how the file is coded.
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
    /// Shares of an immutable file that could tell how it is coded, and the one that is asked for it.
    to_open: VecDeque<(ServerId, u16)>,
    opening: Option<ShareReader>,
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
        let all = self.found.len() == self.ring.len() && self.opening.is_none();
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
        (!self.over).then_some(self.until)
    }
}

impl Locate {
    /// Begins to ask.
    pub fn new(setup: LocateSetup, now: Now) -> Locate {
        let LocateSetup { file, mut ring } = setup;
        let unasked = ring.len().saturating_sub(LOCATE_SERVERS_MAX);
        ring.truncate(LOCATE_SERVERS_MAX);
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
            opening: None,
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
        if matches!(self.file, Sought::Immutable(_))
            && self.opening.is_none()
            && self.coding.is_none()
            && let Some((server, share)) = self.to_open.pop_front()
        {
            let mut reader = ShareReader::new(share);
            let ranges = reader.open(None, now);
            self.open(server, share, &ranges);
            self.opening = Some(reader);
        }
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
        let (Some(mut reader), Sought::Immutable(cap)) = (self.opening.take(), &self.file) else { return };
        let Ok(read) = pieces(answer, reader.ranges()) else { return };
        let mut file: Option<FileView> = None;
        match reader.opened(read, cap, &mut file) {
            Ok(Opened::Needs(ranges)) => {
                reader.ask_again(&ranges, now);
                self.open(server, reader.share(), &ranges);
                self.opening = Some(reader);
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
mod tests {
    use super::*;
    use crate::encoding::EncodingParams;
    use crate::identity::TubId;
    use crate::payload::Payload;
    use crate::share;
    use crate::storage::protocol::StorageError;
    use alloc::format;
    use alloc::vec;

    fn candidate(index: u8) -> Candidate {
        let (server, tub_id) = (ServerId([index; 32]), TubId([index; 20]));
        Candidate { server, tub_id, nickname: format!("s{index}"), read_only: false }
    }

    fn file() -> (ChkCap, Vec<Vec<u8>>) {
        let params = EncodingParams::new(2, 3, 128).expect("parameters");
        share::build_all(&params, &crate::secret::EncryptionKey::from_bytes([1; 16]), &[7; 1_000])
            .expect("shares")
    }

    /// Answers every question as `answer` does, and gives what came of it.
    fn run(
        file: Sought,
        servers: u8,
        mut answer: impl FnMut(ServerId, &StorageRequest) -> Option<Answer>,
    ) -> Locations {
        let ring = (0..servers).map(candidate).collect();
        let mut locate = Locate::new(LocateSetup { file, ring }, Now::default());
        for _ in 0..2 {
            while let Some(action) = locate.poll_action() {
                match action {
                    LocateAction::Done(locations) => return *locations,
                    LocateAction::Task(id, task) => {
                        if let Task::Ask { server, request, .. } = *task
                            && let Some(answer) = answer(server, &request)
                        {
                            let event = LocateEvent::Finished(id, Outcome::Answer(answer));
                            locate.handle(event, Now::default());
                        }
                    }
                }
            }
            let at = locate.deadline().expect("it still waits");
            locate.handle(LocateEvent::Wake, Now { instant: at, ..Now::default() });
        }
        panic!("it does not end");
    }

    fn read_of(share: &[u8], request: &StorageRequest) -> Answer {
        let StorageRequest::Read { ranges, .. } = request else { panic!("{request:?}") };
        let mut bulk = Vec::new();
        let lengths = ranges.iter().map(|(offset, len)| {
            let start = (*offset as usize).min(share.len());
            let end = ((offset + len) as usize).min(share.len());
            bulk.extend_from_slice(&share[start..end]);
            (end - start) as u64
        });
        let lengths = lengths.collect();
        Ok((StorageAnswer::Data(lengths), bulk.into()))
    }

    #[test]
    fn what_servers_have_and_how_it_is_coded() {
        let (cap, shares) = file();
        let found = run(Sought::Immutable(cap), 4, |server, request| match (server.0[0], request) {
            (0, StorageRequest::List { .. }) => {
                // A share that cannot be: it is not shown.
                Some(Ok((StorageAnswer::Shares([2, 9].into_iter().collect()), Payload::default())))
            }
            (0, request) => {
                // Its share is damaged; that of the next one tells.
                let mut share = shares[2].clone();
                let middle = share.len() - 100;
                share[middle] ^= 1;
                Some(read_of(&share, request))
            }
            (1, StorageRequest::List { .. }) => {
                Some(Ok((StorageAnswer::Shares([0, 1].into_iter().collect()), Payload::default())))
            }
            (1, request) => Some(read_of(&shares[0], request)),
            (2, _) => Some(Err(AskError::Server(StorageError::Unsupported))),
            _ => None,
        });
        assert_eq!(found.coding, Some(Coding { needed: 2, total: 3, segment_size: 128, size: 1_000 }));
        let shares: Vec<_> = found.servers.iter().map(|holder| holder.shares.clone()).collect();
        assert_eq!(shares[0], Ok(vec![(2, None)]));
        assert_eq!(shares[1], Ok(vec![(0, None), (1, None)]));
        assert_eq!(shares[2], Err(Trouble::Ask(AskError::Server(StorageError::Unsupported))));
        assert_eq!(shares[3], Err(Trouble::Ask(AskError::Silent(ALL_PATIENCE))), "it was not waited for");
    }

    #[test]
    fn nobody_to_ask_and_too_many() {
        let (cap, _) = file();
        assert_eq!(run(Sought::Immutable(cap), 0, |_, _| None), Locations::default());
        let found = run(Sought::Mutable(StorageIndex([1; 16])), 200, |_, _| {
            Some(Ok((StorageAnswer::Slot(vec![(3, vec![5])]), vec![9; 5].into())))
        });
        assert_eq!((found.servers.len(), found.unasked), (LOCATE_SERVERS_MAX, 200 - LOCATE_SERVERS_MAX));
        assert_eq!(found.servers[0].shares, Ok(vec![(3, None)]), "no share, but it is there");
        assert_eq!(found.coding, None);
    }
}
