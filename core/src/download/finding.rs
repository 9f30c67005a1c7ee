//! Asking servers which shares they have, along the ring.

use crate::identity::ServerId;
use crate::peers::{Answer, Candidate};
use crate::storage::protocol::StorageAnswer;
use crate::task::{ServerTrouble, Trouble};
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

#[derive(Debug)]
pub(super) struct Finding {
    ring: Vec<Candidate>,
    next: usize,
    /// How many servers are asked at a time: as many as there are shares.
    batch: usize,
    /// Servers asked that have not answered, and when they were asked.
    waiting: BTreeMap<ServerId, Instant>,
    troubles: BTreeMap<ServerId, Trouble>,
}

impl Finding {
    pub(super) fn new(ring: Vec<Candidate>, batch: usize) -> Finding {
        Finding { ring, next: 0, batch, waiting: BTreeMap::new(), troubles: BTreeMap::new() }
    }

    /// Asks the next servers, unless answers may come any moment. `true` if any were asked.
    pub(super) fn ask_more(
        &mut self,
        now: Instant,
        slow_after: Duration,
        mut ask: impl FnMut(ServerId),
    ) -> bool {
        let soon = self.waiting.values().any(|since| now < *since + slow_after);
        if soon || self.next >= self.ring.len() {
            return false;
        }
        let end = (self.next + self.batch).min(self.ring.len());
        for candidate in &self.ring[self.next..end] {
            self.waiting.insert(candidate.server, now);
            ask(candidate.server);
        }
        self.next = end;
        true
    }

    /// Takes in an answer and gives the shares that the server has.
    pub(super) fn listed(&mut self, server: ServerId, answer: Answer, total: u16) -> Vec<u16> {
        self.waiting.remove(&server);
        match answer {
            Ok((StorageAnswer::Shares(shares), _)) => {
                let shares: Vec<u16> = shares.iter().filter(|share| *share < total).collect();
                if shares.is_empty() {
                    self.trouble(server, Trouble::NoShares);
                }
                return shares;
            }
            Ok(_) => self.trouble(server, Trouble::Nonsense("no list of shares")),
            Err(error) => self.trouble(server, Trouble::Ask(error)),
        }
        Vec::new()
    }

    /// When the last of the answers awaited counts as slow and others may be asked.
    pub(super) fn slow_at(&self, slow_after: Duration) -> Option<Instant> {
        if self.next >= self.ring.len() {
            return None;
        }
        self.waiting.values().max().map(|since| *since + slow_after)
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn asked(&self) -> usize {
        self.next
    }

    pub(super) fn trouble(&mut self, server: ServerId, trouble: Trouble) {
        self.troubles.insert(server, trouble);
    }

    pub(super) fn troubles(&self) -> Vec<ServerTrouble> {
        let asked = self.ring[..self.next].iter();
        asked
            .filter_map(|Candidate { server, nickname, .. }| {
                let trouble = self.troubles.get(server)?.clone();
                Some(ServerTrouble { server: *server, nickname: nickname.clone(), trouble })
            })
            .collect()
    }
}
