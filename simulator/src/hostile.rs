//! Hostile servers, false introducers and nodes of a later version: honest nodes with something
//! between them and their connections ([`Mouth`]).
//!
//! And what a hostile client sends: frames that no honest one would.

use crate::Mouth;
use crate::chance::Chance;
use crate::probes::{Counts, Probe};
use crate::stand_in;
use core::cell::RefCell;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::rc::Rc;
use tallac_core::announcement::SignedAnnouncement;
use tallac_core::payload::Payload;
use tallac_core::secret::Secret;
use tallac_core::share_set::ShareSet;
use tallac_core::storage::protocol::{ShareVectors, SlotTest, StorageAnswer, StorageRequest};
use tallac_core::storage_index::StorageIndex;
use tallac_core::wire::{Frame, Hello, Kind, Message};

/// How a server misbehaves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Hostility {
    /// One in four answers with data has a byte of it altered: blocks, hashes, headers.
    Altered,
    /// One in two reads of a share is answered with another share's bytes.
    WrongShares,
    /// Writes are thrown away and acknowledged.
    Deaf,
    /// Nothing is answered.
    Silent,
    /// Answers come twice, and to questions that nobody asked.
    Unasked,
    /// Reads of slots are answered as they were the first time.
    OldVersions,
}

/// How often a mouth did what it is for; shared with who looks.
pub type Tally = Rc<RefCell<Counts>>;

/// A hostile server.
pub struct HostileServer {
    how: Hostility,
    tally: Tally,
    /// Reads of slots that were passed on, by the numbers of the questions.
    asked: BTreeMap<u64, SlotRead>,
    /// How reads of slots were answered the first time.
    first: BTreeMap<SlotRead, Message>,
}

/// Which slot is read, which shares and ranges of it.
type SlotRead = (StorageIndex, Vec<u16>, Vec<(u64, u64)>);

impl HostileServer {
    /// One that misbehaves like this.
    pub fn new(how: Hostility, tally: Tally) -> HostileServer {
        HostileServer { how, tally, asked: BTreeMap::new(), first: BTreeMap::new() }
    }

    fn count(&self, probe: Probe) {
        self.tally.borrow_mut().add(probe, 1);
    }

    fn altered(&self, frame: Frame, chance: &mut Chance) -> Frame {
        let Some(bulk) = frame.bulk.first().filter(|bulk| !bulk.is_empty()) else { return frame };
        if !chance.one_in(4) {
            return frame;
        }
        let at = chance.below(bulk.len());
        let altered = stand_in::turned(bulk, at, 1 << chance.below(8));
        self.count(Probe::AnswersAltered);
        let rest = frame.bulk.iter().skip(1).cloned();
        Frame { bulk: [altered].into_iter().chain(rest).collect(), message: frame.message }
    }
}

impl Mouth for HostileServer {
    fn say(&mut self, frame: Frame, chance: &mut Chance) -> Vec<Frame> {
        let Some(kind) = kind_of(&frame) else { return vec![frame] };
        if !matches!(kind, Kind::Answer | Kind::Failure) {
            return vec![frame];
        }
        match self.how {
            Hostility::Altered => vec![self.altered(frame, chance)],
            Hostility::Unasked => {
                self.count(Probe::AnswersUnasked);
                let id = chance.draw();
                let stranger = Message::seal(Kind::Answer, id, &StorageAnswer::Done, Vec::new());
                let odd = StorageAnswer::Data(vec![u64::MAX, 3]);
                let odd = Message::seal(Kind::Answer, id ^ 1, &odd, vec![Payload::from(vec![7; 9])]);
                match chance.below(4) {
                    0 => vec![frame.clone(), frame],
                    1 => vec![stranger, frame],
                    2 => vec![odd, frame],
                    _ => vec![frame],
                }
            }
            Hostility::Silent => {
                self.count(Probe::AnswersWithheld);
                Vec::new()
            }
            Hostility::OldVersions => {
                if let Ok(message) = Message::open(frame.clone())
                    && let Some(read) = self.asked.remove(&message.envelope.id)
                {
                    self.first.entry(read).or_insert(message);
                }
                vec![frame]
            }
            Hostility::WrongShares | Hostility::Deaf => vec![frame],
        }
    }

    fn hear(&mut self, frame: &Frame, chance: &mut Chance) -> Option<Vec<Frame>> {
        let message = Message::open(frame.clone()).ok().filter(|m| m.envelope.kind == Kind::Request)?;
        let id = message.envelope.id;
        let answer = |body: &StorageAnswer, bulk| Some(vec![Message::seal(Kind::Answer, id, body, bulk)]);
        match (self.how, message.body::<StorageRequest>().ok()?) {
            (Hostility::Deaf, StorageRequest::Write { offset, .. }) => {
                self.count(Probe::WritesThrownAway);
                // It cannot know which is the last, and guesses well: hashes come after blocks.
                let finished = offset > 0 && chance.one_in(3);
                answer(&StorageAnswer::Written { finished }, Vec::new())
            }
            (Hostility::Deaf, StorageRequest::ReadTestWrite { .. }) => {
                self.count(Probe::WritesThrownAway);
                answer(&StorageAnswer::Tested { success: true, shares: Vec::new() }, Vec::new())
            }
            (Hostility::OldVersions, StorageRequest::ReadSlot { storage_index, shares, ranges }) => {
                let read = (storage_index, shares.iter().collect(), ranges);
                let Some(old) = self.first.get(&read) else {
                    self.asked.insert(id, read);
                    return None;
                };
                let (body, bulk) = (old.body::<StorageAnswer>().ok()?, old.bulk.clone());
                self.count(Probe::AnswersOld);
                answer(&body, vec![bulk])
            }
            (Hostility::WrongShares, StorageRequest::Read { ranges, share, .. }) if chance.one_in(2) => {
                self.count(Probe::WrongSharesGiven);
                // Well formed, of the right length, and of another file.
                let lens: Vec<u64> = ranges.iter().map(|(_, len)| (*len).min(1 << 20)).collect();
                let bulk = crate::chance::content(u64::from(share), lens.iter().sum());
                answer(&StorageAnswer::Data(lens), vec![Payload::from(bulk)])
            }
            _ => None,
        }
    }
}

/// An introducer that forges, replays and withholds.
pub struct FalseIntroducer {
    tally: Tally,
    heard: Vec<SignedAnnouncement>,
}

impl FalseIntroducer {
    /// One that begins now.
    pub fn new(tally: Tally) -> FalseIntroducer {
        FalseIntroducer { tally, heard: Vec::new() }
    }
}

impl Mouth for FalseIntroducer {
    fn say(&mut self, frame: Frame, chance: &mut Chance) -> Vec<Frame> {
        let Ok(message) = Message::open(frame.clone()) else { return vec![frame] };
        let Ok(list) = message.body::<Vec<SignedAnnouncement>>() else { return vec![frame] };
        if message.envelope.kind != Kind::Push {
            return vec![frame];
        }
        let mut said = Vec::new();
        for announcement in list {
            match chance.below(6) {
                0 => self.tally.borrow_mut().add(Probe::AnnouncementsWithheld, 1),
                1 => {
                    let mut forged = announcement.clone();
                    // The nickname, or any byte.
                    let name = b"\"nickname\":\"";
                    let named = forged.message.windows(name.len()).position(|window| window == name);
                    let at = match named.filter(|_| chance.one_in(2)) {
                        Some(at) => at + name.len(),
                        None => chance.below(forged.message.len() as u64) as usize,
                    };
                    forged.message[at] ^= 1;
                    said.push(forged);
                    self.tally.borrow_mut().add(Probe::AnnouncementsForged, 1);
                }
                2 if !self.heard.is_empty() => {
                    said.push(chance.pick(&self.heard).clone());
                    said.push(announcement.clone());
                    self.tally.borrow_mut().add(Probe::AnnouncementsReplayed, 1);
                }
                _ => said.push(announcement.clone()),
            }
            self.heard.push(announcement);
        }
        vec![Message::seal(Kind::Push, message.envelope.id, &said, Vec::new())]
    }
}

/// A node of a later version: its messages have fields more, and it says things that may be ignored.
pub struct LaterVersion {
    tally: Tally,
}

impl LaterVersion {
    /// One.
    pub fn new(tally: Tally) -> LaterVersion {
        LaterVersion { tally }
    }
}

impl Mouth for LaterVersion {
    fn say(&mut self, frame: Frame, chance: &mut Chance) -> Vec<Frame> {
        let kind = kind_of(&frame);
        let mut longer = frame.clone();
        let hello = Message::open(frame.clone()).ok().and_then(|message| message.body::<Hello>().ok());
        if let (Some(Kind::Hello), Some(hello)) = (kind, hello) {
            self.tally.borrow_mut().add(Probe::LaterVersions, 1);
            let hello = Hello { versions: (hello.versions.0, 7), proof: vec![1; 64], ..hello };
            longer = Message::seal(Kind::Hello, 0, &hello, Vec::new());
        }
        if matches!(kind, Some(Kind::Hello | Kind::Welcome | Kind::Request | Kind::Answer)) {
            longer.message = [&longer.message[..], &[9; 5]].concat().into();
        }
        let may_be_ignored = Message::seal(Kind::Later(200), chance.draw(), &(1u8, 2u8), Vec::new());
        match kind {
            Some(Kind::Request | Kind::Answer) if chance.one_in(10) => vec![may_be_ignored, longer],
            _ => vec![longer],
        }
    }
}

/// Says what its node says. What a hostile client sends besides is put in by who drives the world.
pub struct Plain;

impl Mouth for Plain {
    fn say(&mut self, frame: Frame, _: &mut Chance) -> Vec<Frame> {
        vec![frame]
    }
}

fn kind_of(frame: &Frame) -> Option<Kind> {
    Some(Message::open(frame.clone()).ok()?.envelope.kind)
}

/// What a hostile client does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Attack {
    /// Writes into and gives up uploads of others, and writes to slots with a wrong enabler.
    ForeignWrites,
    /// Takes the storage index of a file to come, and completes shares of garbage there.
    Squat,
    /// Begins uploads and never ends them.
    HalfOpen,
    /// Sends what makes no sense: odd ranges, odd lengths, bytes that are no message.
    Nonsense,
    /// Reports of damage that is not there.
    FalseAlarms,
    /// Sends more at once than a server lets one client have unanswered.
    Flood,
}

/// The frames of an attack on one server, about one file.
pub fn attack(kind: Attack, index: StorageIndex, chance: &mut Chance) -> Vec<Frame> {
    let secret = |of: u8| [of ^ 0x5a; 32];
    let request = |chance: &mut Chance, body: &StorageRequest, bulk: Vec<u8>| {
        let bulk = if bulk.is_empty() { Vec::new() } else { vec![Payload::from(bulk)] };
        // Far from the numbers of the node's own questions.
        Message::seal(Kind::Request, 1 << 40 | chance.below(1 << 30), body, bulk)
    };
    let share = chance.below(10) as u16;
    let storage_index = index;
    let allocate = |shares: ShareSet, allocated_size: u64| StorageRequest::Allocate {
        storage_index,
        renew_secret: Secret::from_bytes(secret(1)),
        cancel_secret: Secret::from_bytes(secret(2)),
        upload_secret: Secret::from_bytes(secret(3)),
        shares,
        allocated_size,
    };
    let write = |offset| StorageRequest::Write {
        storage_index,
        share,
        upload_secret: Secret::from_bytes(secret(3)),
        offset,
    };
    match kind {
        Attack::ForeignWrites => {
            let abort =
                StorageRequest::Abort { storage_index, share, upload_secret: Secret::from_bytes(secret(3)) };
            let slot = StorageRequest::ReadTestWrite {
                storage_index,
                write_enabler: Secret::from_bytes(secret(4)),
                renew_secret: Secret::from_bytes(secret(1)),
                cancel_secret: Secret::from_bytes(secret(2)),
                shares: vec![ShareVectors {
                    share,
                    tests: vec![SlotTest { offset: 0, len: 0, expected: Vec::new() }],
                    writes: vec![(0, 3)],
                    new_length: Some(0),
                }],
                reads: Vec::new(),
            };
            vec![
                request(chance, &write(0), vec![1; 100]),
                request(chance, &abort, Vec::new()),
                request(chance, &slot, vec![1; 3]),
            ]
        }
        Attack::Squat => {
            let len = 200 + chance.below(3_000);
            let shares: ShareSet = core::iter::once(share).collect();
            let garbage = crate::chance::content(chance.draw(), len);
            vec![request(chance, &allocate(shares, len), Vec::new()), request(chance, &write(0), garbage)]
        }
        Attack::HalfOpen => {
            let shares: ShareSet = (0..10).collect();
            let size = 1 + chance.below(100_000);
            vec![request(chance, &allocate(shares, size), Vec::new()), request(chance, &write(0), vec![3; 1])]
        }
        Attack::Nonsense => {
            let read = StorageRequest::Read {
                storage_index,
                share: 65_535,
                ranges: vec![(u64::MAX, u64::MAX), (0, u64::MAX), (5, 0)],
            };
            let slot = StorageRequest::ReadSlot {
                storage_index,
                shares: ShareSet::EMPTY,
                ranges: vec![(u64::MAX - 1, u64::MAX); 30],
            };
            let garbage = crate::chance::content(chance.draw(), 1 + chance.below(100));
            let huge = allocate((0..256).collect(), u64::MAX - chance.below(3));
            let past = write(u64::MAX - 50);
            let mut frames = vec![
                request(chance, &read, Vec::new()),
                request(chance, &slot, Vec::new()),
                request(chance, &huge, Vec::new()),
                request(chance, &past, vec![1; 100]),
            ];
            // Behind it the server hangs up.
            if chance.one_in(2) {
                frames.push(Frame::new(garbage));
            }
            frames
        }
        Attack::Flood => {
            // Each is written to the disk before it is answered, and brings along what nobody needs.
            let alarm = StorageRequest::AdviseCorrupt { storage_index, share, reason: "again".into() };
            (0..14).map(|_| request(chance, &alarm, vec![0; 400_000])).collect()
        }
        Attack::FalseAlarms => {
            let alarm = |reason: String| StorageRequest::AdviseCorrupt { storage_index, share, reason };
            vec![
                request(chance, &alarm("\u{1b}[2J it is broken".into()), Vec::new()),
                request(chance, &alarm("x".repeat(40_000)), Vec::new()),
            ]
        }
    }
}
