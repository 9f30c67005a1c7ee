//! In which order the servers of a grid are asked to hold, or to give, the shares of a file.
//!
//! Every file has its own order, so that files spread over all servers, and every client computes
//! the same one, so that readers ask first where writers wrote first
//! (`permute_server_hash` in `allmydata/util/hashutil.py`, `get_servers_for_psi` in
//! `allmydata/storage_client.py`).

use alloc::vec::Vec;

use sha1::{Digest, Sha1};

use crate::storage_index::StorageIndex;

/// The servers in the order for the file `index`: preferred ones first, each group by the SHA-1 of
/// storage index and permutation seed, and servers with equal seeds by their ids, so that everybody who
/// knows the same servers has the same order, however each is known. Each server is given as its id, seed
/// and whether it is preferred.
pub fn permute<Id: Ord + Copy, Seed: AsRef<[u8]>>(
    index: &StorageIndex,
    servers: impl IntoIterator<Item = (Id, Seed, bool)>,
) -> Vec<Id> {
    first(index, servers, usize::MAX)
}

/// The first `limit` servers in that order. All are placed, but few are kept and put in order.
pub fn first<Id: Ord + Copy, Seed: AsRef<[u8]>>(
    index: &StorageIndex,
    servers: impl IntoIterator<Item = (Id, Seed, bool)>,
    limit: usize,
) -> Vec<Id> {
    let mut placed: Vec<(bool, [u8; 20], Id)> = Vec::new();
    // Nobody behind this place is among the first.
    let mut last = None;
    for (id, seed, preferred) in servers {
        let place = (!preferred, position(index, seed.as_ref()), id);
        if last.is_some_and(|last| place > last) {
            continue;
        }
        placed.push(place);
        if limit > 0 && placed.len() >= limit.saturating_mul(2) {
            placed.select_nth_unstable(limit - 1);
            placed.truncate(limit);
            last = Some(placed[limit - 1]);
        }
    }
    placed.sort_unstable();
    placed.truncate(limit);
    placed.into_iter().map(|(_, _, id)| id).collect()
}

/// Where on the ring of the file `index` the server with permutation seed `seed` stands.
pub fn position(index: &StorageIndex, seed: &[u8]) -> [u8; 20] {
    Sha1::new().chain_update(index.0).chain_update(seed).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn preferred_come_first_and_each_file_has_its_order() {
        let servers = || (0..20u8).map(|id| (id, [id; 20], id == 7 || id == 3));
        let order = permute(&StorageIndex([1; 16]), servers());
        let mut front = order[..2].to_vec();
        front.sort_unstable();
        assert_eq!(front, [3, 7]);
        let positions: Vec<_> =
            order[2..].iter().map(|&id| position(&StorageIndex([1; 16]), &[id; 20])).collect();
        assert!(positions.is_sorted());
        assert_ne!(order, permute(&StorageIndex([2; 16]), servers()));
        assert_eq!(order, permute(&StorageIndex([1; 16]), servers().rev()));
    }

    #[test]
    fn the_first_are_the_first_of_all() {
        let servers = || (0..200u8).map(|id| (id, [id / 2; 20], id % 50 == 7));
        let order = permute(&StorageIndex([3; 16]), servers());
        for limit in [0, 1, 2, 5, 60, 199, 200, 300] {
            assert_eq!(first(&StorageIndex([3; 16]), servers(), limit), order[..limit.min(200)]);
            assert_eq!(first(&StorageIndex([3; 16]), servers().rev(), limit), order[..limit.min(200)]);
        }
    }

    #[test]
    fn no_servers() {
        assert!(permute::<u8, [u8; 0]>(&StorageIndex([0; 16]), vec![]).is_empty());
    }
}
