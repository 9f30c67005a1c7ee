//! Writing a version of a mutable file to servers: who gets which share, and what each must still
//! have for that.

mod claims;
mod homes;

pub(super) use homes::{Homes, fits, homes, places, room};

use super::making::Made;
use super::quorum::Electorate;
use crate::hash;
use crate::identity::ServerId;
use crate::lease::LeaseSecrets;
use crate::mutants::{self, Mutant};
use crate::payload::Payload;
use crate::peers::{Answer, Candidate, Effort};
use crate::secret::{WriteEnabler, WriteKey};
use crate::storage::protocol::{ShareVectors, SlotTest, StorageAnswer, StorageRequest};
use crate::storage_index::StorageIndex;
use crate::task::{Task, Tasks, Trouble};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

/// How long a server may take for a write, without its length.
const PATIENCE: Duration = Duration::from_secs(10);
/// How fast the slowest disk is taken to be: bytes per second, added to the patience above.
const SLOWEST_DISK: u64 = 4 * 1024 * 1024;

/// A server that is to be written to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) candidate: Candidate,
    /// The shares that are there and how they begin: it must be so still.
    pub(super) there: BTreeMap<u16, Vec<u8>>,
    /// How long they are, in bytes, as far as that is known.
    pub(super) lens: BTreeMap<u16, u64>,
}

/// What a server said to a write.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It has taken these shares.
    Taken(BTreeSet<u16>),
    /// Something else is there than was seen. This is it: the shares and their ranges, in the bulk.
    Beaten(Vec<(u16, Vec<u64>)>, Payload),
    /// It did not say.
    Failed(Trouble),
}

/// Who may write, and how.
#[derive(Debug)]
pub(super) struct WriteRights {
    storage_index: StorageIndex,
    enabler_master: WriteEnabler,
    leases: LeaseSecrets,
}

impl WriteRights {
    pub(super) fn new(write_key: &WriteKey, leases: LeaseSecrets) -> WriteRights {
        let storage_index = hash::mutable_storage_index(&hash::mutable_read_key(write_key));
        WriteRights { storage_index, enabler_master: hash::write_enabler_master(write_key), leases }
    }
}

/// What a version is written for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aim {
    /// To be the newest.
    Win,
    /// To be the newest, too: it goes to those who are behind, as others already have one with its number.
    Compete,
    /// To be on more servers. It is there already, and nothing new is in it.
    Complete,
}

/// To whom a version is to be written, and what for.
#[derive(Debug)]
pub(super) struct Order<'a> {
    /// The servers, in the order in which they are asked.
    pub(super) targets: &'a [Target],
    /// What each is given.
    pub(super) homes: Homes,
    /// Who has a say.
    pub(super) electorate: Electorate<ServerId>,
    /// Who had told what they have when it was decided: nobody else's acceptance counts.
    pub(super) told: BTreeSet<ServerId>,
    /// Those of them that refused nothing that was for those behind.
    pub(super) willing: BTreeSet<ServerId>,
    pub(super) aim: Aim,
    /// The first target is asked first, and the others only if it accepts. Writers of the same file have the
    /// same order of targets, so that of several at once all but one are turned away there, before they have
    /// overwritten anything: shares of many versions, of none of them enough, would be worse than being late.
    pub(super) gated: bool,
}

/// Writes of one version under way.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) made: Made,
    /// Who has a say.
    pub(super) electorate: Electorate<ServerId>,
    /// Who had told what they have before.
    pub(super) told: BTreeSet<ServerId>,
    willing: BTreeSet<ServerId>,
    pub(super) aim: Aim,
    gated: bool,
    /// What is sent once the gate is open.
    queue: VecDeque<(ServerId, BTreeSet<u16>, Task)>,
    /// What goes to servers that hold nothing yet, once more than half of those that may hold something have
    /// accepted: else a minority could make itself holders, and decide.
    newcomers: VecDeque<(ServerId, BTreeSet<u16>, Task)>,
    waiting: BTreeMap<ServerId, BTreeSet<u16>>,
    /// One server has accepted, so it makes sense to ask the others.
    is_open: bool,
    pub(super) verdicts: BTreeMap<ServerId, Verdict>,
}

impl Writing {
    /// Sends every target what it is to have. The answers carry `reads` of every share there.
    pub(super) fn new<P: From<ServerId>>(
        made: Made,
        order: Order<'_>,
        rights: &WriteRights,
        reads: &[(u64, u64)],
        tasks: &mut Tasks<P>,
    ) -> Writing {
        let Order { targets, homes, electorate, told, willing, aim, gated } = order;
        let (mut queue, mut newcomers) = (VecDeque::new(), VecDeque::new());
        for target in targets {
            let (server, shares) = (target.candidate.server, &homes[&target.candidate.server]);
            if shares.is_empty() {
                continue;
            }
            let (vectors, bulk) = vectors(&made, target, shares);
            let tub_id = &target.candidate.tub_id;
            let (renew_secret, cancel_secret) = rights.leases.of(tub_id);
            let request = StorageRequest::ReadTestWrite {
                storage_index: rights.storage_index,
                write_enabler: hash::write_enabler(&rights.enabler_master, &tub_id.0),
                renew_secret,
                cancel_secret,
                shares: vectors,
                reads: reads.to_vec(),
            };
            let len = made.most_bytes() * shares.len() as u64;
            let patience = PATIENCE + Duration::from_secs(len / SLOWEST_DISK);
            let task = Task::Ask { server, request, bulk, patience, effort: Effort::Normal };
            match gated && target.there.is_empty() {
                true => newcomers.push_back((server, shares.clone(), task)),
                false => queue.push_back((server, shares.clone(), task)),
            }
        }
        let (waiting, verdicts) = (BTreeMap::new(), BTreeMap::new());
        let is_open = !gated;
        let mut writing = Writing {
            made,
            electorate,
            told,
            willing,
            aim,
            gated,
            queue,
            newcomers,
            waiting,
            is_open,
            verdicts,
        };
        writing.send(tasks);
        writing
    }

    /// Whether it is of use to go on: the version can still be accepted by enough, or else there are enough to
    /// accept the next, once nobody of them is behind. Otherwise it would only take the place of what counts.
    pub(super) fn is_of_use(&self) -> bool {
        let has_failed = |server: &ServerId| matches!(self.verdicts.get(server), Some(Verdict::Failed(_)));
        if self.aim != Aim::Win {
            let willing = self.willing.iter().filter(|server| !has_failed(server)).copied().collect();
            return self.electorate.tally(&willing).is_enough();
        }
        let taken = self.verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Taken(_)));
        let to_come = self.queue.iter().chain(&self.newcomers).map(|(server, ..)| server);
        let may_take = taken.map(|(server, _)| server).chain(self.waiting.keys()).chain(to_come);
        let counts = may_take.filter(|server| self.told.contains(server));
        self.electorate.tally(&counts.copied().collect()).is_enough()
    }

    /// Sends what may be sent: one request while the gate is shut.
    fn send<P: From<ServerId>>(&mut self, tasks: &mut Tasks<P>) {
        if self.gated && !self.is_of_use() {
            self.queue.clear();
            self.newcomers.clear();
        }
        let taken = |server: &ServerId| matches!(self.verdicts.get(server), Some(Verdict::Taken(_)));
        if mutants::is_in(Mutant::NewcomersTrusted) || self.electorate.last_agrees(taken) {
            self.queue.append(&mut self.newcomers);
        } else if self.queue.is_empty() && self.waiting.is_empty() {
            self.newcomers.clear();
        }
        while self.is_open || self.waiting.is_empty() {
            let Some((server, shares, task)) = self.queue.pop_front() else { return };
            tasks.start(server.into(), task);
            self.waiting.insert(server, shares);
        }
    }

    pub(super) fn answered<P: From<ServerId>>(
        &mut self,
        server: ServerId,
        answer: Answer,
        tasks: &mut Tasks<P>,
    ) {
        let Some(shares) = self.waiting.remove(&server) else { return };
        let verdict = match answer {
            Ok((StorageAnswer::Tested { success: true, .. }, _)) => Verdict::Taken(shares),
            Ok((StorageAnswer::Tested { success: false, shares }, bulk)) => Verdict::Beaten(shares, bulk),
            Ok(_) => Verdict::Failed(Trouble::Nonsense("no answer to a write")),
            Err(error) => Verdict::Failed(Trouble::Ask(error)),
        };
        match &verdict {
            Verdict::Taken(_) => self.is_open = true,
            Verdict::Beaten(..) if !self.is_open => self.queue.clear(),
            Verdict::Beaten(..) | Verdict::Failed(_) => {}
        }
        self.verdicts.insert(server, verdict);
        self.send(tasks);
    }

    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.queue.is_empty() && self.newcomers.is_empty()
    }

    /// The shares that were taken, by server.
    pub(super) fn taken(&self) -> BTreeMap<ServerId, BTreeSet<u16>> {
        let taken = |(server, verdict): (&ServerId, &Verdict)| match verdict {
            Verdict::Taken(shares) => Some((*server, shares.clone())),
            Verdict::Beaten(..) | Verdict::Failed(_) => None,
        };
        self.verdicts.iter().filter_map(taken).collect()
    }
}

/// What is tested and written at one server. Everything there is tested, and that there is nothing
/// else: so a server takes one version only of those that are written over what it has now.
fn vectors(made: &Made, target: &Target, shares: &BTreeSet<u16>) -> (Vec<ShareVectors>, Vec<Payload>) {
    let (mut vectors, mut bulk) = (Vec::new(), Vec::new());
    let total = u16::from(made.version.total);
    let named: BTreeSet<u16> = target.there.keys().copied().chain(0..total).collect();
    for share in named {
        let test = match target.there.get(&share) {
            Some(begins) => SlotTest { offset: 0, len: begins.len() as u64, expected: begins.clone() },
            None => SlotTest { offset: 0, len: 1, expected: Vec::new() },
        };
        let tests = Vec::from([test]);
        if shares.contains(&share) {
            let mut writes: Vec<(u64, u64)> = Vec::new();
            let made = made.share(share);
            for (at, piece) in made.pieces.iter().filter(|(_, piece)| !piece.is_empty()) {
                bulk.push(piece.clone());
                match writes.last_mut() {
                    Some((start, len)) if *start + *len == *at => *len += piece.len(),
                    _ => writes.push((*at, piece.len())),
                }
            }
            vectors.push(ShareVectors { share, tests, writes, new_length: Some(made.len) });
        } else if !target.there.contains_key(&share) {
            // Named only to be tested: a share that is cut to nothing is not made.
            vectors.push(ShareVectors { share, tests, writes: Vec::new(), new_length: Some(0) });
        } else {
            vectors.push(ShareVectors { share, tests, writes: Vec::new(), new_length: None });
        }
    }
    (vectors, bulk)
}
