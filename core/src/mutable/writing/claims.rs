//! Which share counts for which server, where several have copies of it.

use super::Homes;
use crate::identity::ServerId;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

/// Each share is claimed by at most one of the servers that have it: a matching, grown by the shortest augmenting
/// paths, so that no choice would have more. Any servers have at least as many different shares as they have claims.
#[derive(Debug, Default)]
pub(super) struct Claims {
    owners: BTreeMap<u16, ServerId>,
}

impl Claims {
    /// Claims shares for these servers, until each has `most` or there are none left for it. All of them have one
    /// before any has two; where there are too few, those go without that come last.
    pub(super) fn stake(&mut self, homes: &Homes, servers: &[ServerId], most: usize) {
        let shares = homes.values().flatten().collect::<BTreeSet<_>>().len();
        let mut open = servers.to_vec();
        for _ in 0..most {
            // Who cannot have another one now never can: what others claim they keep, or exchange.
            open.retain(|server| self.owners.len() < shares && self.claim(homes, *server));
        }
    }

    /// How many claims there are.
    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }

    /// How many of them a server has.
    pub(super) fn count(&self, server: ServerId) -> usize {
        self.owners.values().filter(|owner| **owner == server).count()
    }

    /// Whether nobody claims the share.
    pub(super) fn is_free(&self, share: u16) -> bool {
        !self.owners.contains_key(&share)
    }

    /// The server gets a share that nobody claims.
    pub(super) fn give(&mut self, share: u16, server: ServerId) {
        self.owners.insert(share, server);
    }

    /// One more for this server, if need be by giving the owner of one that it has another one instead.
    fn claim(&mut self, homes: &Homes, server: ServerId) -> bool {
        // By which server a share was come upon, and which one that server would give away for it.
        let mut takers: BTreeMap<u16, ServerId> = BTreeMap::new();
        let mut gives: BTreeMap<ServerId, Option<u16>> = [(server, None)].into();
        let mut queue: VecDeque<ServerId> = [server].into();
        while let Some(taker) = queue.pop_front() {
            for share in homes.get(&taker).into_iter().flatten() {
                if takers.contains_key(share) {
                    continue;
                }
                takers.insert(*share, taker);
                let Some(owner) = self.owners.get(share) else {
                    let mut taken = Some(*share);
                    while let Some(share) = taken {
                        let taker = takers[&share];
                        self.owners.insert(share, taker);
                        taken = gives[&taker];
                    }
                    return true;
                };
                if !gives.contains_key(owner) {
                    gives.insert(*owner, Some(*share));
                    queue.push_back(*owner);
                }
            }
        }
        false
    }
}
