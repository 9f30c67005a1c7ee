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
/// storage index and permutation seed. Each server is given as its id, seed and whether it is
/// preferred. Servers with equal seeds keep the order they were given in.
pub fn permute<Id, Seed: AsRef<[u8]>>(
    index: &StorageIndex,
    servers: impl IntoIterator<Item = (Id, Seed, bool)>,
) -> Vec<Id> {
    first(index, servers, usize::MAX)
}

/// The first `limit` servers in that order. All are placed, but only these are put in order.
pub fn first<Id, Seed: AsRef<[u8]>>(
    index: &StorageIndex,
    servers: impl IntoIterator<Item = (Id, Seed, bool)>,
    limit: usize,
) -> Vec<Id> {
    let mut placed: Vec<_> = (servers.into_iter().enumerate())
        .map(|(given, (id, seed, preferred))| ((!preferred, position(index, seed.as_ref()), given), id))
        .collect();
    if limit < placed.len() {
        placed.select_nth_unstable_by_key(limit, |(place, _)| *place);
        placed.truncate(limit);
    }
    placed.sort_unstable_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, id)| id).collect()
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
    fn no_servers() {
        assert!(permute::<u8, [u8; 0]>(&StorageIndex([0; 16]), vec![]).is_empty());
    }
}
