//! Somebody who writes to one slot and knows what must be in it.

use crate::NetworkSettings;
use crate::chance::{Chance, content};
use crate::probes::{Counts, Probe};
use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;
use tallac_core::machine::{Action, ConnId, Event, Machine};
use tallac_core::nurl::Service;
use tallac_core::operation::Command;
use tallac_core::secret::Secret;
use tallac_core::share_set::ShareSet;
use tallac_core::storage::protocol::{ShareVectors, SlotTest, StorageAnswer, StorageError, StorageRequest};
use tallac_core::storage_index::StorageIndex;
use tallac_core::time::{Instant, Now};
use tallac_core::wire::{Frame, Hello, Kind, Message};

const SHARES: u16 = 4;
/// More than any share holds.
const TO_THE_END: u64 = 2_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line {
    Down,
    /// Connected, perhaps, but not welcome yet.
    Calling(ConnId),
    Ready(ConnId),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    /// To change the slot to this version.
    Write(u64),
    Look {
        last: bool,
    },
}

/// How long to wait for an answer: several times as long as the longest share takes, if the network is slow.
fn patience(network: &NetworkSettings) -> Duration {
    let NetworkSettings { latency_max, jitter, bandwidth, buffer, .. } = network;
    let trips = (latency_max.saturating_add(*jitter) * 2).as_secs_f64() * LONG.end as f64 / *buffer as f64;
    let longest = Duration::from_secs_f64(trips + LONG.end as f64 / *bandwidth as f64);
    Duration::from_secs(15) + longest * 3
}

/// What a slot holds from version to version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    /// Every version has shares of its own, mostly short ones.
    Whole,
    /// One long share, of which each version changes a small part: every change has a redo record.
    Patched,
}

/// Changes a slot from version to version, each change tested against the version before. A version
/// follows from its number: which shares there are and what they hold. Version 0 is an empty slot.
pub(super) struct Writer {
    service: Service,
    index: StorageIndex,
    style: Style,
    /// Who is not answered for so long tries another connection.
    patience: Duration,
    chance: Chance,
    actions: VecDeque<Action>,
    conns: u64,
    line: Line,
    asked: Option<Asked>,
    /// When to do something next.
    due: Option<Instant>,
    /// What was seen or acknowledged last.
    base: u64,
    /// What was asked since and never answered: each of these may have happened, or may yet, until
    /// something else is acknowledged, because then its tests cannot hold any more.
    ghosts: Vec<u64>,
    latest: u64,
    must_look: bool,
    finishing: bool,
    finished: bool,
    pub(super) violations: Vec<String>,
    pub(super) counts: Counts,
}

impl Writer {
    /// Writes to the slot of this number, of which a server has several, over such a network.
    pub(super) fn new(
        service: Service,
        slot: u8,
        style: Style,
        network: &NetworkSettings,
        chance: Chance,
    ) -> Writer {
        Writer {
            service,
            index: StorageIndex([0x51 + slot; 16]),
            style,
            patience: patience(network),
            chance,
            actions: VecDeque::new(),
            conns: 0,
            line: Line::Down,
            asked: None,
            due: Some(Instant::ZERO),
            base: 0,
            ghosts: Vec::new(),
            latest: 0,
            must_look: false,
            finishing: false,
            finished: false,
            violations: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Whether it has looked at its slot after it was told to stop.
    pub(super) fn has_finished(&self) -> bool {
        self.finished
    }

    fn count(&mut self, what: Probe) {
        self.counts.add(what, 1);
    }

    fn wrong(&mut self, what: String) {
        self.violations.push(format!("lost: the slot of {}: {what}", self.service.addresses[0].host));
    }

    fn pause(&mut self, longest: Duration, now: Now) {
        self.due = Some(now.instant + self.chance.duration(Duration::from_micros(1)..longest));
    }

    fn wake(&mut self, now: Now) {
        if self.due.is_none_or(|due| now.instant < due) {
            return;
        }
        self.due = Some(now.instant + self.patience);
        match (self.line, self.asked) {
            (Line::Down, _) => self.call(),
            (Line::Ready(conn), None) if !self.finished => self.ask(conn),
            (Line::Ready(_), None) => self.due = None,
            (Line::Calling(conn) | Line::Ready(conn), _) => {
                self.actions.push_back(Action::Abort { conn });
                self.hang_up(now);
            }
        }
    }

    fn call(&mut self) {
        let conn = ConnId::Outbound(self.conns);
        self.conns += 1;
        self.line = Line::Calling(conn);
        let (address, pin) = (self.service.addresses[0].clone(), self.service.pin);
        self.actions.push_back(Action::Connect { conn, address, pin });
    }

    fn hang_up(&mut self, now: Now) {
        self.line = Line::Down;
        if let Some(Asked::Write(version)) = self.asked.take() {
            self.count(Probe::SlotWritesCutOff);
            self.ghosts.push(version);
        }
        self.must_look = true;
        self.pause(Duration::from_millis(500), now);
    }

    fn ask(&mut self, conn: ConnId) {
        let (asked, request, bulk) = if self.must_look || self.finishing {
            let ranges = vec![(0, TO_THE_END)];
            let request =
                StorageRequest::ReadSlot { storage_index: self.index, shares: ShareSet::EMPTY, ranges };
            (Asked::Look { last: self.finishing }, request, Vec::new())
        } else {
            self.latest += 1;
            let (shares, bulk) = self.style.change(self.base, self.latest);
            let request = StorageRequest::ReadTestWrite {
                storage_index: self.index,
                write_enabler: Secret::from_bytes([1; 32]),
                renew_secret: Secret::from_bytes([2; 32]),
                cancel_secret: Secret::from_bytes([3; 32]),
                shares,
                reads: vec![(0, 1)],
            };
            (Asked::Write(self.latest), request, bulk)
        };
        self.asked = Some(asked);
        let bulk = if bulk.is_empty() { Vec::new() } else { vec![bulk.into()] };
        self.send(conn, Message::seal(Kind::Request, 1, &request, bulk));
    }

    fn send(&mut self, conn: ConnId, frame: Frame) {
        self.actions.push_back(Action::Send { conn, frame });
    }

    fn message(&mut self, conn: ConnId, message: &Message, now: Now) {
        match message.envelope.kind {
            Kind::Welcome => {
                self.line = Line::Ready(conn);
                self.pause(Duration::from_millis(100), now);
            }
            Kind::Ping => {
                let pong = Message::seal(Kind::Pong, message.envelope.id, &(), Vec::new());
                self.send(conn, pong);
            }
            Kind::Answer => {
                let answer = message.body().expect("servers speak the protocol");
                self.answered(answer, message, now);
            }
            Kind::Failure => {
                let error = message.body().expect("servers speak the protocol");
                self.failed(error, now);
            }
            other => self.wrong(format!("{other:?} makes no sense")),
        }
    }

    fn answered(&mut self, answer: StorageAnswer, message: &Message, now: Now) {
        match (self.asked.take(), answer) {
            (Some(Asked::Write(version)), StorageAnswer::Tested { success: true, .. }) => {
                self.count(Probe::SlotWrites);
                self.base = version;
                self.ghosts.clear();
                self.must_look = self.chance.one_in(match self.style {
                    Style::Whole => 10,
                    // It takes longer, and is meant for what is done between two starts of a server.
                    Style::Patched => 40,
                });
            }
            (Some(Asked::Write(_)), StorageAnswer::Tested { success: false, .. }) => {
                if self.ghosts.is_empty() {
                    self.wrong(format!("it is not of version {} any more", self.base));
                }
                self.must_look = true;
            }
            (Some(Asked::Look { last }), StorageAnswer::Slot(shares)) => self.seen(&shares, message, last),
            (asked, answer) => self.wrong(format!("{answer:?} is no answer to {asked:?}")),
        }
        self.pause(Duration::from_millis(300), now);
    }

    /// The slot is as one of the versions that it may be of, in all its shares. The last look is one that
    /// was taken when disks did not fail any more.
    fn seen(&mut self, shares: &[(u16, Vec<u64>)], message: &Message, last: bool) {
        // No version has an empty share: this one is there, but could not be read.
        if shares.iter().any(|(_, lens)| lens.iter().all(|len| *len == 0)) {
            if last {
                self.wrong("there is a share that cannot be read by a disk that does not fail".into());
                self.finished = true;
            }
            self.count(Probe::SlotDiskFailures);
            return;
        }
        let mut bulk = message.bulk.clone();
        let found: BTreeMap<u16, Vec<u8>> = shares
            .iter()
            .map(|(share, lens)| {
                let data = bulk.take_front(lens.iter().sum());
                (*share, data.bytes().expect("real bytes").to_vec())
            })
            .collect();
        let possible = [&[self.base], &self.ghosts[..]].concat();
        match possible.into_iter().find(|version| found == self.style.shares_of(*version)) {
            Some(version) if version == self.base => self.count(Probe::SlotsAsAcknowledged),
            Some(version) => {
                self.count(Probe::SlotsAsCutOff);
                self.base = version;
                self.ghosts.clear();
            }
            None => {
                let lens: Vec<_> = found.iter().map(|(share, data)| (share, data.len())).collect();
                self.wrong(format!("{lens:?} is not version {} nor one of {:?}", self.base, self.ghosts));
            }
        }
        self.must_look = false;
        self.finished = last;
    }

    fn failed(&mut self, error: StorageError, now: Now) {
        match (&error, self.asked.take()) {
            // The disk failed or is full. Whether the change is there the next start will tell.
            (StorageError::Disk(_) | StorageError::Full, Some(asked)) => {
                self.count(Probe::SlotDiskFailures);
                if let Asked::Write(version) = asked {
                    self.ghosts.push(version);
                }
                self.must_look = true;
            }
            (_, asked) => self.wrong(format!("{asked:?} is answered with: {error}")),
        }
        self.pause(Duration::from_secs(2), now);
    }
}

impl Machine for Writer {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, event: Event, now: Now) {
        match event {
            Event::Connected { conn } if self.line == Line::Calling(conn) => {
                self.actions.push_back(Action::Grant { conn, bytes: 1 << 50 });
                let (swissnum, program) = (self.service.swissnum.clone(), "by hand".into());
                let hello = Hello { versions: (1, 1), swissnum, proof: Vec::new(), program };
                self.send(conn, Message::seal(Kind::Hello, 0, &hello, Vec::new()));
            }
            Event::Closed { conn, .. } if [Line::Calling(conn), Line::Ready(conn)].contains(&self.line) => {
                self.hang_up(now);
            }
            Event::Frame { conn, frame } if [Line::Calling(conn), Line::Ready(conn)].contains(&self.line) => {
                let message = Message::open(frame).expect("servers send messages");
                self.message(conn, &message, now);
            }
            Event::Command(Command::Stop) => {
                self.finishing = true;
                self.due = self.due.or(Some(now.instant));
            }
            _ => {}
        }
        self.wake(now);
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        self.due
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Writer { line, asked, base, ghosts, .. } = self;
        write!(f, "Writer({line:?}, {asked:?}, at version {base}, perhaps {ghosts:?})")
    }
}

/// Past a mebibyte a container is not copied to be changed.
const LONG: core::ops::Range<u64> = 1_048_000..1_100_000;
const PATCH_MAX: u64 = 9_000;

impl Style {
    /// The shares of a version. The first is always there, and long enough to tell versions apart.
    fn shares_of(self, version: u64) -> BTreeMap<u16, Vec<u8>> {
        if version == 0 {
            return BTreeMap::new();
        }
        match self {
            Style::Whole => whole_shares(version),
            Style::Patched => {
                let mut data = UNPATCHED.clone();
                for (at, part) in patch(version) {
                    data[at as usize..][..part.len()].copy_from_slice(&part);
                }
                BTreeMap::from([(0, data)])
            }
        }
    }

    /// What makes one version of another, and its bulk.
    fn change(self, from: u64, to: u64) -> (Vec<ShareVectors>, Vec<u8>) {
        if self == Style::Patched && from > 0 {
            return change_part(from, to);
        }
        let (old, new) = (self.shares_of(from), self.shares_of(to));
        let mut bulk = Vec::new();
        let vectors = (0..SHARES).map(|share| {
            let expected = old.get(&share).map_or(Vec::new(), |data| data[..TESTED].to_vec());
            let tests = vec![SlotTest { offset: 0, len: TESTED as u64, expected }];
            let data = new.get(&share).map_or(&[][..], |data| data);
            bulk.extend_from_slice(data);
            let len = data.len() as u64;
            ShareVectors { share, tests, writes: vec![(0, len)], new_length: Some(len) }
        });
        let vectors = vectors.collect();
        (vectors, bulk)
    }
}

/// Bytes at the beginning of a share that tell versions apart.
const TESTED: usize = 32;

fn whole_shares(version: u64) -> BTreeMap<u16, Vec<u8>> {
    let mut chance = Chance::new(version);
    let mut shares = BTreeMap::new();
    for share in 0..SHARES {
        let len = match chance.below(24) {
            0 => chance.within(LONG),
            1..=6 => chance.within(4_000..50_000),
            _ => chance.within(64..4_000),
        };
        if share == 0 || chance.one_in(2) {
            shares.insert(share, content(chance.draw(), len));
        }
    }
    shares
}

/// A share before any version has changed a part of it.
static UNPATCHED: LazyLock<Vec<u8>> = LazyLock::new(|| content(0x9a7c, LONG.end));

/// The parts of a long share that are a version's own: its beginning, and one more.
fn patch(version: u64) -> [(u64, Vec<u8>); 2] {
    let mut chance = Chance::new(version);
    let len = chance.within(1..PATCH_MAX);
    let at = chance.within(TESTED as u64..LONG.end - len);
    [(0, content(chance.draw(), TESTED as u64)), (at, content(chance.draw(), len))]
}

/// What makes one version of a long share of another: its own parts, and those of the old one as they
/// were before.
fn change_part(from: u64, to: u64) -> (Vec<ShareVectors>, Vec<u8>) {
    let ([(_, expected), (old_at, old)], [(_, beginning), (at, part)]) = (patch(from), patch(to));
    let before = UNPATCHED[old_at as usize..][..old.len()].to_vec();
    let tests = vec![SlotTest { offset: 0, len: TESTED as u64, expected }];
    let writes = [(0, beginning), (old_at, before), (at, part)];
    let vectors = writes.iter().map(|(at, data)| (*at, data.len() as u64)).collect();
    let bulk = writes.into_iter().flat_map(|(_, data)| data).collect();
    (vec![ShareVectors { share: 0, tests, writes: vectors, new_length: None }], bulk)
}
