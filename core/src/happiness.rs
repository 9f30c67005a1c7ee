//! Which server gets which share, and how well a placement survives the loss of servers.
//!
//! The measure is *happiness*: the size of a maximum matching between servers and the shares they
//! hold. With happiness `h`, there are `h` servers with a share of their own each, so any `needed`
//! of these `h` suffice to read the file. The rules of placement are those of the specification
//! "servers of happiness" (followed by `allmydata/immutable/happiness_upload.py`); where that
//! leaves a choice, the ring order of the servers and the numbers of the shares decide, never the
//! order of server ids.
//!
//! Pure functions over plain data. `S` is whatever names a server.

use crate::mutants::{self, Mutant};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

mod losses;
#[cfg(test)]
mod tests;

pub use losses::survivable_losses;

/// Which shares each server holds.
pub type Placements<S> = BTreeMap<S, BTreeSet<u16>>;

/// The happiness of a placement: the greatest number of servers that can be given different shares
/// of those they hold.
pub fn happiness<S: Ord>(placements: &BTreeMap<S, BTreeSet<u16>>) -> usize {
    if mutants::is_in(Mutant::ShareCountedTwice) {
        return placements.values().filter(|shares| !shares.is_empty()).count();
    }
    let mut matching = Matching::new(placements.values().map(shares_of).collect());
    (0..placements.len()).filter(|&server| matching.add(server)).count()
}

/// Decides where the shares `0..total` of a file go, as a server for each share.
///
/// `writable` and `read_only` are the servers that answered, each in ring order; `existing` are the
/// shares they say they hold already (servers in neither list are ignored, as are shares from
/// `total` on). The result has the greatest happiness that is possible, together with what exists:
///
/// 1. Read-only servers keep shares, as many servers with different shares as possible.
/// 2. So do writable servers, with the shares that are left.
/// 3. Writable servers that still have none get one each: shares that nobody holds first, since
///    they have to be uploaded anyway.
/// 4. Shares still without a server stay with a writable server that holds them; the others are
///    spread over the writable servers, to the one with the fewest at each step.
///
/// A share assigned to a server that already holds it need not be uploaded, only its lease renewed.
/// A share is missing from the result only if no server is writable and none holds it.
pub fn place<S: Ord + Clone>(
    writable: &[S],
    read_only: &[S],
    existing: &BTreeMap<S, BTreeSet<u16>>,
    total: u16,
) -> BTreeMap<u16, S> {
    // Servers are numbered in the order in which they may choose: read-only ones first, as they
    // have the least choice.
    let servers: Vec<&S> = read_only.iter().chain(writable).collect();
    let writable_servers = read_only.len()..servers.len();
    let held: Vec<Vec<u16>> = servers
        .iter()
        .map(|server| {
            let shares = existing.get(*server).map(shares_of).unwrap_or_default();
            shares.into_iter().filter(|&share| share < total).collect()
        })
        .collect();

    // A server once matched stays matched while later ones are added, perhaps with another share.
    let mut matching = Matching::new(held.clone());
    let matched: Vec<bool> = (0..servers.len()).map(|server| matching.add(server)).collect();
    let mut home: BTreeMap<u16, usize> = (0..servers.len())
        .filter_map(|server| matching.share_of[server].map(|share| (share, server)))
        .collect();

    let holds = |server: &usize, share: &u16| held[*server].binary_search(share).is_ok();
    let held_anywhere: BTreeSet<u16> = held.iter().flatten().copied().collect();
    let (held_homeless, new): (Vec<u16>, Vec<u16>) =
        (0..total).filter(|share| !home.contains_key(share)).partition(|share| held_anywhere.contains(share));
    let mut homeless = new.into_iter().chain(held_homeless);
    for server in writable_servers.clone().filter(|&server| !matched[server]) {
        let Some(share) = homeless.next() else { break };
        home.insert(share, server);
    }

    let mut load = vec![0usize; servers.len()];
    for &server in home.values() {
        load[server] += 1;
    }
    // The first of equals is the earliest on the ring.
    let least_loaded =
        |load: &[usize], among: &mut dyn Iterator<Item = usize>| among.min_by_key(|&server| load[server]);
    // Those that stay are settled before those that are spread, which then even the load out.
    let (staying, spreading): (Vec<u16>, Vec<u16>) =
        homeless.partition(|share| writable_servers.clone().any(|server| holds(&server, share)));
    for share in staying.into_iter().chain(spreading) {
        let mut holders = writable_servers.clone().filter(|server| holds(server, &share));
        let server = least_loaded(&load, &mut holders)
            .or_else(|| least_loaded(&load, &mut writable_servers.clone()))
            .or_else(|| (0..servers.len()).find(|server| holds(server, &share)));
        if let Some(server) = server {
            load[server] += 1;
            home.insert(share, server);
        }
    }
    home.into_iter().map(|(share, server)| (share, servers[server].clone())).collect()
}

/// A matching between servers, by index, and the shares they hold; grows by augmenting paths.
struct Matching {
    held: Vec<Vec<u16>>,
    share_of: Vec<Option<u16>>,
    /// By share number.
    server_of: Vec<Option<usize>>,
    unmatched_shares: usize,
}

impl Matching {
    fn new(held: Vec<Vec<u16>>) -> Self {
        let distinct: BTreeSet<u16> = held.iter().flatten().copied().collect();
        Self {
            share_of: vec![None; held.len()],
            server_of: vec![None; distinct.last().map_or(0, |&last| usize::from(last) + 1)],
            unmatched_shares: distinct.len(),
            held,
        }
    }

    /// Tries to give a server a share of its own, moving others to other shares where that helps.
    /// If this fails it will fail forever: adding further servers does not make room.
    fn add(&mut self, server: usize) -> bool {
        if self.unmatched_shares == 0 {
            return false;
        }
        // Breadth first, so that as few servers as possible move. For each share reached, the
        // server that would take it over.
        let mut taken_by: Vec<Option<usize>> = vec![None; self.server_of.len()];
        let mut queue = vec![server];
        let mut next = 0;
        while let Some(&asking) = queue.get(next) {
            next += 1;
            for &share in &self.held[asking] {
                let place = &mut taken_by[usize::from(share)];
                if place.is_some() {
                    continue;
                }
                *place = Some(asking);
                match self.server_of[usize::from(share)] {
                    Some(holder) => queue.push(holder),
                    None => {
                        self.take_over(share, &taken_by);
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Walks back from a free share to the server that had none: each server on the way takes the
    /// share it reached and gives up the one it had.
    fn take_over(&mut self, free: u16, taken_by: &[Option<usize>]) {
        self.unmatched_shares -= 1;
        let mut freed = Some(free);
        while let Some(share) = freed {
            let server = taken_by[usize::from(share)].expect("the search came through here");
            self.server_of[usize::from(share)] = Some(server);
            freed = self.share_of[server].replace(share);
        }
    }
}

fn shares_of(shares: &BTreeSet<u16>) -> Vec<u16> {
    shares.iter().copied().collect()
}
