//! Which share goes to which server.
//!
//! Servers are asked in the order of the ring which shares of the file they have; then shares are
//! assigned so that as many servers as possible hold distinct ones, and room is made. What a
//! server declines is assigned anew, until nothing changes.

use super::report::{PlannedShare, UploadError, UploadPlan, Uploaded};
use super::{File, Purpose, survivable};
use crate::capability::Capability;
use crate::encoding::{Encoding, EncodingParams};
use crate::happiness::{self, Placements};
use crate::identity::ServerId;
use crate::mutants::{self, Mutant};
use crate::peers::{Answer, AskError, Candidate, Effort};
use crate::share::{Extension, ShareLayout};
use crate::share_set::ShareSet;
use crate::storage::protocol::{StorageAnswer, StorageError, StorageRequest};
use crate::task::{ServerTrouble, Task, Tasks, Trouble};
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// How long a server may take to say which shares it has, and to make room.
const PATIENCE: Duration = Duration::from_secs(6);
/// After this long the upload goes on without the servers that have not said what they have, if
/// those that have are as many as there are shares.
const ENOUGH_AFTER: Duration = Duration::from_secs(2);

const HAS_NEW: &str = "it says it has shares of a file that is new";

#[derive(Debug)]
pub(super) struct Placing {
    happy: usize,
    total: u16,
    allocated_size: u64,
    ring: Vec<Candidate>,
    /// How many of the ring have been asked.
    asked: usize,
    batch: usize,
    batch_began: Instant,
    servers: BTreeMap<ServerId, Standing>,
    /// Servers from which an answer to an allocation is awaited.
    allocating: usize,
    /// Nobody can have shares of the file: its key is new, and what is there is never looked at.
    disbelieving: bool,
}

/// What is known of a server.
#[derive(Debug)]
struct Standing {
    candidate: usize,
    answered: bool,
    /// It takes no (more) shares of this file.
    closed: bool,
    trouble: Option<Trouble>,
    /// Whole shares it says it has, and nothing has shown that it does not.
    existing: ShareSet,
    /// Those of them that have been looked at, or are being looked at.
    looked_at: ShareSet,
    /// Shares it said it has that turned out bad.
    disproved: ShareSet,
    /// Shares it was asked to make room for and has not declined.
    asked: ShareSet,
    /// Shares it waits for.
    allocated: ShareSet,
    /// Shares that this upload made whole there.
    finished: ShareSet,
    /// Its leases on existing shares have been renewed.
    renewed: bool,
}

impl Placing {
    pub(super) fn new(
        ring: Vec<Candidate>,
        happy: usize,
        encoding: &Encoding,
        batch: usize,
        now: Instant,
    ) -> Placing {
        let layout = ShareLayout::for_upload(encoding);
        Placing {
            happy,
            total: encoding.total(),
            allocated_size: layout.allocated_size(Extension::packed_len(encoding)),
            ring,
            asked: 0,
            batch,
            batch_began: now,
            servers: BTreeMap::new(),
            allocating: 0,
            disbelieving: false,
        }
    }

    /// Counts no share that a server says it has.
    pub(super) fn believe_nobody(&mut self) {
        self.disbelieving = true;
    }

    /// Asks the servers of the current batch which shares they have, if not done yet.
    pub(super) fn ask_next_batch(&mut self, file: &File, tasks: &mut Tasks<Purpose>) {
        let end = self.batch.min(self.ring.len());
        for index in self.asked..end {
            let Candidate { server, read_only, .. } = self.ring[index];
            let request = StorageRequest::List { storage_index: file.storage_index };
            let task =
                Task::Ask { server, request, bulk: Vec::new(), patience: PATIENCE, effort: Effort::Normal };
            tasks.start(Purpose::List(server), task);
            let standing = Standing {
                candidate: index,
                answered: false,
                closed: read_only,
                trouble: read_only.then_some(Trouble::NoSpace),
                existing: ShareSet::EMPTY,
                asked: ShareSet::EMPTY,
                looked_at: ShareSet::EMPTY,
                disproved: ShareSet::EMPTY,
                allocated: ShareSet::EMPTY,
                finished: ShareSet::EMPTY,
                renewed: false,
            };
            self.servers.insert(server, standing);
        }
        self.asked = self.asked.max(end);
    }

    pub(super) fn listed(&mut self, server: ServerId, answer: Answer) {
        let Some(standing) = self.servers.get_mut(&server) else { return };
        standing.answered = true;
        match answer {
            Ok((StorageAnswer::Shares(shares), _)) if self.disbelieving => {
                if !shares.is_empty() {
                    standing.trouble.get_or_insert(Trouble::Nonsense(HAS_NEW));
                }
            }
            Ok((StorageAnswer::Shares(shares), _)) => standing.has(shares, self.total),
            Ok(_) => standing.give_up(Trouble::Nonsense("no list of shares")),
            Err(error) => standing.give_up(Trouble::Ask(error)),
        }
    }

    /// Whether enough is known to assign shares.
    pub(super) fn located(&self, now: Instant) -> bool {
        let waiting = self.servers.values().any(|standing| !standing.answered);
        !waiting || (now >= self.batch_began + ENOUGH_AFTER && self.has_enough())
    }

    fn has_enough(&self) -> bool {
        let open = |standing: &&Standing| standing.answered && !standing.closed;
        self.servers.values().filter(open).count() >= usize::from(self.total)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.has_enough().then_some(self.batch_began + ENOUGH_AFTER)
    }

    pub(super) fn awaits_allocations(&self) -> bool {
        self.allocating > 0
    }

    /// Assigns the shares that have no server and asks for room. `false` if there is nothing (more)
    /// to ask.
    pub(super) fn assign(&mut self, file: &File, tasks: &mut Tasks<Purpose>) -> bool {
        let mut wanted: BTreeMap<ServerId, ShareSet> = BTreeMap::new();
        for (share, server) in self.layout() {
            if !self.holds(&server, share) && !self.servers[&server].closed {
                wanted.entry(server).or_default().insert(share);
            }
        }
        // Leases of shares that are counted on are renewed, too.
        for (server, standing) in &self.servers {
            if !standing.existing.is_empty() && !standing.renewed && standing.answered {
                wanted.entry(*server).or_default();
            }
        }
        for (server, shares) in &wanted {
            let standing = self.servers.get_mut(server).expect("assigned to a server that was asked");
            standing.renewed = true;
            shares.iter().for_each(|share| standing.asked.insert(share));
            let (renew_secret, cancel_secret) = file.secrets.leases.of(&self.ring[standing.candidate].tub_id);
            let request = StorageRequest::Allocate {
                storage_index: file.storage_index,
                renew_secret,
                cancel_secret,
                upload_secret: file.secrets.upload(server),
                shares: *shares,
                allocated_size: self.allocated_size,
            };
            let (server, bulk) = (*server, Vec::new());
            let task = Task::Ask { server, request, bulk, patience: PATIENCE, effort: Effort::Normal };
            tasks.start(Purpose::Allocate(server, *shares), task);
            self.allocating += 1;
        }
        !wanted.is_empty()
    }

    pub(super) fn allocated(&mut self, server: ServerId, asked: ShareSet, answer: Answer) {
        self.allocating -= 1;
        let Some(standing) = self.servers.get_mut(&server) else { return };
        match answer {
            Ok((StorageAnswer::Allocated { already_have, allocated }, _)) => {
                if !self.disbelieving {
                    standing.has(already_have, self.total);
                }
                for share in asked.iter() {
                    standing.asked.remove(share);
                    if allocated.contains(share) {
                        standing.allocated.insert(share);
                    } else if !standing.existing.contains(share) {
                        let claimed = already_have.contains(share) && self.disbelieving;
                        let trouble = if claimed { Trouble::Nonsense(HAS_NEW) } else { Trouble::NoSpace };
                        standing.give_up(trouble);
                    }
                }
            }
            Ok(_) => standing.give_up(Trouble::Nonsense("no answer to an allocation")),
            Err(error) => {
                // Shares at a server that is gone, or whose disk cannot make them last, are no reason to
                // call the file stored.
                if !matches!(&error, AskError::Server(error) if !matches!(error, StorageError::Disk(_))) {
                    standing.existing = ShareSet::EMPTY;
                }
                standing.give_up(Trouble::Ask(error));
            }
        }
    }

    /// A share is lost with the server that was to hold it. The server gets no other.
    pub(super) fn lost(&mut self, server: ServerId, share: u16, trouble: Trouble) {
        if let Some(standing) = self.servers.get_mut(&server) {
            standing.allocated.remove(share);
            standing.closed = true;
            standing.trouble.get_or_insert(trouble);
        }
    }

    /// A share has become whole.
    pub(super) fn finished(&mut self, server: ServerId, share: u16) {
        if let Some(standing) = self.servers.get_mut(&server) {
            standing.allocated.remove(share);
            standing.finished.insert(share);
        }
    }

    /// Gives up shares in progress that have a better place elsewhere: a share moves when a server
    /// that was slow to answer would otherwise have none.
    pub(super) fn drop_doubles(&mut self, file: &File, tasks: &mut Tasks<Purpose>) {
        let homes = self.layout();
        let astray = |(share, server): &(u16, ServerId)| homes.get(share).is_some_and(|home| home != server);
        for (share, server) in self.to_send().filter(astray).collect::<Vec<_>>() {
            self.abort(file, server, share, tasks);
            self.servers.get_mut(&server).expect("it has the share").allocated.remove(share);
        }
    }

    /// Shares that servers say they have and nobody has looked at. Each is given once.
    pub(super) fn take_unproven(&mut self) -> Vec<(ServerId, u16)> {
        let mut unproven = Vec::new();
        for (server, standing) in &mut self.servers {
            for share in standing.existing.iter().filter(|share| !standing.looked_at.contains(*share)) {
                unproven.push((*server, share));
            }
            standing.looked_at = standing.looked_at.iter().chain(standing.existing.iter()).collect();
        }
        unproven
    }

    /// A share that a server said it has is not what it should be. Another may go there.
    pub(super) fn disproved(&mut self, server: ServerId, share: u16, trouble: Trouble) {
        if let Some(standing) = self.servers.get_mut(&server) {
            standing.existing.remove(share);
            standing.disproved.insert(share);
            match trouble {
                Trouble::BadShare { .. } => drop(standing.trouble.get_or_insert(trouble)),
                // Who cannot show one share is not asked to show the others, and they do not count.
                other => {
                    standing.existing = ShareSet::EMPTY;
                    standing.give_up(other);
                }
            }
        }
    }

    /// Whether a share is still believed to be there.
    pub(super) fn is_believed(&self, server: &ServerId, share: u16) -> bool {
        self.servers.get(server).is_some_and(|standing| standing.existing.contains(share))
    }

    /// Every share's place, as it is and as it could be.
    fn layout(&self) -> BTreeMap<u16, ServerId> {
        let open = |index: &usize| {
            self.servers.get(&self.ring[*index].server).is_some_and(|s| s.answered && !s.closed)
        };
        let (writable, others): (Vec<usize>, Vec<usize>) = (0..self.asked).partition(open);
        let ids = |indexes: Vec<usize>| -> Vec<ServerId> {
            indexes.into_iter().map(|index| self.ring[index].server).collect()
        };
        let others =
            ids(others).into_iter().filter(|server| !self.shares_of(server).is_empty()).collect::<Vec<_>>();
        happiness::place(&ids(writable), &others, &self.placements(), self.total)
    }

    fn shares_of(&self, server: &ServerId) -> ShareSet {
        let standing = &self.servers[server];
        standing.existing.iter().chain(standing.allocated.iter()).chain(standing.finished.iter()).collect()
    }

    fn holds(&self, server: &ServerId, share: u16) -> bool {
        self.shares_of(server).contains(share)
    }

    fn placements(&self) -> Placements<ServerId> {
        let held = self.servers.keys().map(|server| (*server, self.shares_of(server).iter().collect()));
        held.filter(|(_, shares): &(ServerId, alloc::collections::BTreeSet<u16>)| !shares.is_empty())
            .collect()
    }

    /// Whether the happiness wanted can still be reached with the servers that are open.
    pub(super) fn could_be_happy(&self) -> bool {
        let mut placements = self.placements();
        for (share, server) in self.layout() {
            placements.entry(server).or_default().insert(share);
        }
        happiness::happiness(&placements) >= self.wanted()
    }

    /// The happiness that is wanted, at least one.
    fn wanted(&self) -> usize {
        let mut happy = self.happy;
        if mutants::is_in(Mutant::HappinessOfAnswers) {
            let open = |standing: &&Standing| standing.answered && !standing.closed;
            happy = happy.min(self.servers.values().filter(open).count());
        }
        happy.max(1)
    }

    fn happiness(&self) -> usize {
        happiness::happiness(&self.placements())
    }

    pub(super) fn is_happy(&self) -> bool {
        let is_enough = self.happiness() >= self.wanted() || mutants::is_in(Mutant::HappinessIgnored);
        is_enough && self.shares_placed() >= 1
    }

    /// How many distinct shares have a place.
    fn shares_placed(&self) -> usize {
        self.servers.keys().flat_map(|server| self.shares_of(server).iter()).collect::<ShareSet>().len()
    }

    /// Whether enough distinct shares have a place to read the file from them.
    pub(super) fn is_readable(&self, needed: u16) -> bool {
        self.shares_placed() >= usize::from(needed)
    }

    /// Goes on to servers further along the ring, if there are any.
    pub(super) fn widen(&mut self, now: Instant) -> bool {
        if self.asked >= self.ring.len() {
            return false;
        }
        self.batch = self.asked + self.batch.max(1);
        self.batch_began = now;
        true
    }

    /// Whether there are servers further along the ring that have not been asked.
    pub(super) fn could_widen(&self) -> bool {
        self.asked < self.ring.len()
    }

    /// Whether every share has a place.
    pub(super) fn is_complete(&self) -> bool {
        self.shares_placed() >= usize::from(self.total)
    }

    /// Every server that may be asked, in the order of the ring.
    pub(super) fn ring(&self) -> &[Candidate] {
        &self.ring
    }

    /// The shares that wait to be sent, and their servers.
    pub(super) fn to_send(&self) -> impl Iterator<Item = (u16, ServerId)> + '_ {
        self.servers
            .iter()
            .flat_map(|(server, standing)| standing.allocated.iter().map(|share| (share, *server)))
    }

    /// Tells every server that its shares in progress are given up.
    pub(super) fn abort_all(&mut self, file: &File, tasks: &mut Tasks<Purpose>) {
        let asked = (self.servers.iter())
            .flat_map(|(server, standing)| standing.asked.iter().map(|share| (share, *server)));
        let to_abort: Vec<(u16, ServerId)> = self.to_send().chain(asked).collect();
        for (share, server) in to_abort {
            self.abort(file, server, share, tasks);
        }
    }

    pub(super) fn abort(&self, file: &File, server: ServerId, share: u16, tasks: &mut Tasks<Purpose>) {
        let request = StorageRequest::Abort {
            storage_index: file.storage_index,
            share,
            upload_secret: file.secrets.upload(&server),
        };
        let (bulk, patience) = (Vec::new(), PATIENCE);
        tasks.start_blind(Task::Ask { server, request, bulk, patience, effort: Effort::Normal });
    }

    pub(super) fn plan(&self, params: &EncodingParams, size: u64) -> UploadPlan {
        let mut shares: Vec<PlannedShare> = Vec::new();
        for (server, standing) in &self.servers {
            for share in self.shares_of(server).iter() {
                shares.push(PlannedShare {
                    share,
                    server: *server,
                    nickname: self.ring[standing.candidate].nickname.clone(),
                    already_there: standing.existing.contains(share),
                });
            }
        }
        shares.sort_by_key(|planned| (planned.share, planned.server));
        UploadPlan {
            size,
            needed: params.needed(),
            total: params.total(),
            happy: self.happy,
            happiness: self.happiness(),
            shares,
            survives: survivable(&self.placements(), params.needed()),
        }
    }

    pub(super) fn uploaded(&self, cap: Capability, params: &EncodingParams, pushed: usize) -> Uploaded {
        let size = match &cap {
            Capability::Chk(cap) => cap.size,
            _ => 0,
        };
        Uploaded { cap, plan: Some(self.plan(params, size)), pushed, trouble: self.trouble() }
    }

    pub(super) fn unhappy(&self, params: &EncodingParams) -> UploadError {
        if self.ring.is_empty() {
            return UploadError::NoServers;
        }
        UploadError::Unhappy {
            happy: self.happy,
            happiness: self.happiness(),
            needed: params.needed(),
            total: params.total(),
            known: self.ring.len(),
            trouble: self.trouble(),
        }
    }

    fn trouble(&self) -> Vec<ServerTrouble> {
        let mut list: Vec<(usize, ServerTrouble)> = (self.servers.iter())
            .filter_map(|(server, standing)| {
                let nickname = self.ring[standing.candidate].nickname.clone();
                let trouble = standing.trouble.clone()?;
                Some((standing.candidate, ServerTrouble { server: *server, nickname, trouble }))
            })
            .collect();
        list.sort_by_key(|(place, _)| *place);
        list.into_iter().map(|(_, trouble)| trouble).collect()
    }
}

impl Standing {
    fn has(&mut self, shares: ShareSet, total: u16) {
        // What this upload made whole itself is no news.
        let known = |share: u16| self.disproved.contains(share) || self.finished.contains(share);
        let credible = |share: &u16| *share < total && !known(*share);
        self.existing = shares.iter().filter(credible).collect();
    }

    fn give_up(&mut self, trouble: Trouble) {
        self.closed = true;
        self.trouble.get_or_insert(trouble);
    }
}
