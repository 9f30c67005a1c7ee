//! What servers have of a mutable file.
//!
//! Reading and changing a file begin alike: servers are asked along the ring for the first bytes of
//! all their shares, and what they have is kept here, with what is known of its truth. The map decides
//! nothing: whoever embeds it says whom to ask and when enough is known, and hands in the outcomes of
//! the map's tasks.
//!
//! ```text
//! asked ──▶ waiting ──▶ answered, with its shares: unchecked ──(key, signature)──▶ good or bad
//!               └─────▶ failed
//! ```
//!
//! A share is good if its version is signed by the file's key. A server may still lie about blocks,
//! or hold back a newer version: that is for readers (`read`) and writers (`quorum`) to weigh.

mod private_key;
mod seen;
mod share;
mod trust;

pub(crate) use private_key::KeySearch;
pub(crate) use share::{HeldShare, ShareState};

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use self::private_key::PrivateKeySearch;
use self::trust::{Trust, Verdict};
use super::{MutableShareError, Version};
use crate::capability::MutableVerifyCap;
use crate::identity::ServerId;
use crate::job::JobOutput;
use crate::payload::Payload;
use crate::peers::{Answer, Candidate, Effort};
use crate::share_set::ShareSet;
use crate::storage::protocol::StorageAnswer;
use crate::task::{Outcome, SlotPieces, Task, Tasks, Trouble, read_slot, slot_pieces};
use crate::time::Instant;

/// How many bytes of each share are asked for at first: enough for all of a small file's share, and of
/// any but for its blocks and their hashes.
pub(crate) const FIRST_BYTES: u64 = 4096;
/// The range of every share that the map knows. Answers of writes are handed in with the same.
pub(crate) const FIRST_RANGE: Range<u64> = 0..FIRST_BYTES;
/// A share that has proved bad so often is not read again while it says that it is of the same version.
const CONDEMNED_MAX: u32 = 2;
/// How long a server may be silent before a question to it is given up.
const PATIENCE: Duration = Duration::from_secs(3);

/// What one of the map's tasks is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MapTask {
    /// The first bytes of all shares of a server.
    First {
        /// Which server.
        server: ServerId,
        /// In which round of asking.
        round: u32,
    },
    /// Key and signature of a share that has them further back.
    Rest {
        /// Which server.
        server: ServerId,
        /// Which share.
        share: u16,
        /// In which round of asking.
        round: u32,
    },
    /// The encrypted private key of a share.
    PrivateKey {
        /// Which server.
        server: ServerId,
        /// Which share.
        share: u16,
        /// In which round of asking.
        round: u32,
    },
    /// A signature.
    Check(u64),
}

/// A server that was asked.
#[derive(Clone, Debug)]
pub(crate) enum ServerView {
    /// It has not answered yet.
    Waiting {
        /// When it was asked.
        since: Instant,
    },
    /// It has these shares, perhaps none.
    Answered(BTreeMap<u16, HeldShare>),
    /// It was no help.
    Failed(Trouble),
}

/// How many servers past the first `N`, which a file should be on, must have nothing of it before a writer asks
/// no further. While `m` of the first were full, the next `m` stood in, and a change of that time is on more than
/// half of those and the others together. If two that come next are without it, of the others more than half
/// can be so only if `m` was at least seven, or six if `N` is odd.
pub(crate) const FURTHER: usize = 2;

/// What servers have of a mutable file.
#[derive(Debug)]
pub(crate) struct Map {
    cap: MutableVerifyCap,
    ring: Vec<Candidate>,
    /// How many of the ring were asked.
    asked: usize,
    batch: usize,
    /// Answers of earlier rounds are too old.
    round: u32,
    servers: BTreeMap<ServerId, ServerView>,
    /// Which further ranges of shares are being read.
    reading: BTreeMap<(ServerId, u16), Vec<Range<u64>>>,
    trust: Trust,
    /// Shares of a version that proved bad when they were read: why, and how often. It stays true when servers
    /// are asked again.
    condemned: BTreeMap<(ServerId, u16, Version), (MutableShareError, u32)>,
    private_key: PrivateKeySearch,
}

impl Map {
    /// A map that asks the first `batch` servers of the ring at once.
    pub(crate) fn new<P: From<MapTask>>(
        cap: MutableVerifyCap,
        ring: Vec<Candidate>,
        batch: usize,
        tasks: &mut Tasks<P>,
        now: Instant,
    ) -> Map {
        let mut map = Map {
            ring,
            asked: 0,
            batch: batch.max(1),
            round: 0,
            servers: BTreeMap::new(),
            reading: BTreeMap::new(),
            trust: Trust::new(cap.fingerprint),
            condemned: BTreeMap::new(),
            private_key: PrivateKeySearch::new(),
            cap,
        };
        map.widen(tasks, now);
        map
    }

    /// Asks the next servers of the ring, as many as at first. `false` if there are none.
    pub(crate) fn widen<P: From<MapTask>>(&mut self, tasks: &mut Tasks<P>, now: Instant) -> bool {
        let end = self.ring.len().min(self.asked + self.batch);
        let next: Vec<ServerId> = self.ring[self.asked..end].iter().map(|next| next.server).collect();
        self.asked = end;
        next.iter().for_each(|server| self.ask(*server, tasks, now));
        !next.is_empty()
    }

    /// Asks all servers again that were asked. What they had is forgotten, what was checked is not.
    pub(crate) fn ask_again<P: From<MapTask>>(&mut self, tasks: &mut Tasks<P>, now: Instant) {
        self.round += 1;
        self.servers.clear();
        self.reading.clear();
        self.private_key.start_again();
        let again: Vec<ServerId> = self.asked_servers().map(|candidate| candidate.server).collect();
        again.iter().for_each(|server| self.ask(*server, tasks, now));
    }

    /// Takes in what came of a task. Outcomes of earlier rounds are ignored.
    pub(crate) fn finished<P: From<MapTask>>(
        &mut self,
        task: MapTask,
        outcome: Outcome,
        tasks: &mut Tasks<P>,
    ) {
        match (task, outcome) {
            (MapTask::First { round, .. }, _)
            | (MapTask::Rest { round, .. }, _)
            | (MapTask::PrivateKey { round, .. }, _)
                if round != self.round => {}
            (MapTask::First { server, .. }, Outcome::Answer(answer)) => match answer {
                Ok((StorageAnswer::Slot(shares), bulk)) => self.put(server, shares, bulk, tasks),
                Ok(_) => self.fail(server, Trouble::Nonsense("no answer to a read of a slot")),
                Err(error) => self.fail(server, Trouble::Ask(error)),
            },
            (MapTask::Rest { server, share, .. }, Outcome::Answer(answer)) => {
                self.put_rest(server, share, answer);
                self.settle(tasks);
            }
            (MapTask::PrivateKey { server, share, .. }, Outcome::Answer(answer)) => {
                self.private_key.answered();
                self.put_rest(server, share, answer);
            }
            (MapTask::Check(check), Outcome::Job(JobOutput::SignatureGood(is_good))) => {
                let version = self.trust.checked(check, is_good);
                for share in self.shares_mut() {
                    if is_good && share.header().map(|(of, _)| *of) == version && share.may_be_good() {
                        share.set(ShareState::Good);
                    } else if share.state() == ShareState::Checking(check) {
                        share.set(ShareState::Bad(MutableShareError::Signature));
                    }
                }
                self.remember();
            }
            (task, outcome) => debug_assert!(false, "{task:?} cannot end with {outcome:?}"),
        }
    }

    /// Takes in what a server has, in place of what was known: the lengths of [`FIRST_RANGE`] of each
    /// of its shares, and the bytes. For answers to the map's own questions, and for those to writes,
    /// which read the same.
    pub(crate) fn put<P: From<MapTask>>(
        &mut self,
        server: ServerId,
        shares: Vec<(u16, Vec<u64>)>,
        bulk: Payload,
        tasks: &mut Tasks<P>,
    ) {
        match slot_pieces(shares, bulk, &[FIRST_RANGE]).and_then(held_shares) {
            Ok(shares) => {
                self.servers.insert(server, ServerView::Answered(shares));
                self.reading.retain(|(of, _), _| *of != server);
                self.settle(tasks);
            }
            Err(trouble) => self.fail(server, trouble),
        }
    }

    /// Notes that a server is of no use.
    pub(crate) fn fail(&mut self, server: ServerId, trouble: Trouble) {
        self.servers.insert(server, ServerView::Failed(trouble));
    }

    /// Notes that a share is bad, as shows when it is read.
    pub(crate) fn condemn(&mut self, server: ServerId, share: u16, why: MutableShareError) {
        if let Some(ServerView::Answered(shares)) = self.servers.get_mut(&server)
            && let Some(held) = shares.get_mut(&share)
        {
            if let Some((version, _)) = held.good() {
                self.condemned.entry((server, share, *version)).or_insert((why, 0)).1 += 1;
            }
            held.set(ShareState::Bad(why));
        }
    }

    /// Does not trust shares again that have proved bad often enough. A disk may fail once.
    fn remember(&mut self) {
        for ((server, share, version), (why, times)) in &self.condemned {
            if *times >= CONDEMNED_MAX
                && let Some(ServerView::Answered(shares)) = self.servers.get_mut(server)
                && let Some(held) = shares.get_mut(share)
                && held.good().is_some_and(|(of, _)| of == version)
            {
                held.set(ShareState::Bad(*why));
            }
        }
    }

    fn ask<P: From<MapTask>>(&mut self, server: ServerId, tasks: &mut Tasks<P>, now: Instant) {
        self.servers.insert(server, ServerView::Waiting { since: now });
        let task = MapTask::First { server, round: self.round };
        tasks.start(task.into(), self.read(server, ShareSet::EMPTY, &[FIRST_RANGE]));
    }

    /// Asks for further ranges of a share.
    fn ask_rest<P: From<MapTask>>(
        &mut self,
        (server, share): (ServerId, u16),
        ranges: Vec<Range<u64>>,
        task: MapTask,
        tasks: &mut Tasks<P>,
    ) {
        tasks.start(task.into(), self.read(server, ShareSet::from_iter([share]), &ranges));
        self.reading.insert((server, share), ranges);
    }

    fn read(&self, server: ServerId, shares: ShareSet, ranges: &[Range<u64>]) -> Task {
        let request = read_slot(self.cap.storage_index, shares, ranges);
        Task::Ask { server, request, bulk: Vec::new(), patience: PATIENCE, effort: Effort::Insist }
    }

    /// Judges shares that have not been judged yet, and starts what that needs.
    fn settle<P: From<MapTask>>(&mut self, tasks: &mut Tasks<P>) {
        let knew_key = self.trust.key().is_some();
        let (mut checks, mut reads) = (Vec::new(), Vec::new());
        for (server, view) in &mut self.servers {
            let ServerView::Answered(shares) = view else { continue };
            for (number, share) in shares.iter_mut().filter(|(_, s)| s.state() == ShareState::Unchecked) {
                match self.trust.judge(share) {
                    Verdict::Is(state) => share.set(state),
                    Verdict::Check(check, job) => {
                        share.set(ShareState::Checking(check));
                        checks.push((check, job));
                    }
                    Verdict::Read(ranges) => {
                        share.set(ShareState::Reading);
                        reads.push((*server, *number, ranges));
                    }
                }
            }
        }
        for (check, job) in checks {
            tasks.job(MapTask::Check(check).into(), job);
        }
        for (server, share, ranges) in reads {
            let task = MapTask::Rest { server, share, round: self.round };
            self.ask_rest((server, share), ranges, task, tasks);
        }
        if !knew_key && self.trust.key().is_some() {
            // Shares whose own copy of the key is damaged may be good all the same.
            let other_key = ShareState::Bad(MutableShareError::OtherPublicKey);
            self.shares_mut().filter(|share| share.state() == other_key).for_each(|share| {
                share.set(ShareState::Unchecked);
            });
            self.settle(tasks);
        }
        self.remember();
    }

    fn put_rest(&mut self, server: ServerId, share: u16, answer: Answer) {
        // Unless the server's shares are others by now.
        let Some(ranges) = self.reading.remove(&(server, share)) else { return };
        let pieces = match answer {
            Ok((StorageAnswer::Slot(shares), bulk)) => slot_pieces(shares, bulk, &ranges),
            Ok(_) => Err(Trouble::Nonsense("no answer to a read of a slot")),
            Err(error) => Err(Trouble::Ask(error)),
        };
        let pieces = match pieces {
            Ok(pieces) => pieces.into_iter().find(|(number, _)| *number == share),
            Err(trouble) => return self.fail(server, trouble),
        };
        let Some(ServerView::Answered(shares)) = self.servers.get_mut(&server) else { return };
        let Some(held) = shares.get_mut(&share) else { return };
        // A share that is gone is one that ends before everything.
        let pieces = pieces.map(|(_, pieces)| pieces).unwrap_or_default();
        for (at, range) in ranges.iter().enumerate() {
            let bytes = pieces.get(at).and_then(|piece| piece.bytes().cloned()).unwrap_or_default();
            held.add(range.start, bytes);
        }
        if held.state() == ShareState::Reading {
            held.set(ShareState::Unchecked);
        }
    }

    fn shares_mut(&mut self) -> impl Iterator<Item = &mut HeldShare> {
        self.servers.values_mut().flat_map(|view| match view {
            ServerView::Answered(shares) => Some(shares).into_iter().flat_map(BTreeMap::values_mut),
            ServerView::Waiting { .. } | ServerView::Failed(_) => {
                None.into_iter().flat_map(BTreeMap::values_mut)
            }
        })
    }
}

fn held_shares(shares: SlotPieces) -> Result<BTreeMap<u16, HeldShare>, Trouble> {
    let held = |(number, pieces): (u16, Vec<Payload>)| {
        let first = pieces.into_iter().next().and_then(Payload::into_bytes);
        let first = first.ok_or(Trouble::Nonsense("its shares are not bytes"))?;
        Ok((number, HeldShare::new(number, first)))
    };
    shares.into_iter().map(held).collect()
}

#[cfg(test)]
mod tests;
