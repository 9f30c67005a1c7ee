//! The record of a write that is about to happen, from which it can be carried out again.
//!
//! ```text
//!   0        8           12          20            52       52 + list length
//!   +--------+-----------+-----------+-------------+--------+---------+
//!   | magic  | u32 list  | u64 bytes | hash 32 B   | list   | bytes   |
//!   |        | length    | length    |             |        |         |
//!   +--------+-----------+-----------+-------------+--------+---------+
//! ```
//!
//! The list says, share by share, what is to change; the bytes of the writes follow in its order. The
//! hash is over the storage index, both lengths, list and bytes: a record that is not whole, or not
//! this slot's, has another. The format is our own; the peer has no such records.

use super::change::{FileChange, write_steps};
use crate::disk::{DiskStep, StorePath};
use crate::hash::{Hash, TaggedHasher};
use crate::limits::{BULK_LEN_MAX, LEASES_MAX};
use crate::payload::Payload;
use crate::storage::container::FILE_LEN_MAX;
use crate::storage_index::StorageIndex;
use alloc::vec;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Longest record that is made, and read: the bytes of a request, and for each of 256 shares its
/// header, leases that move and zeros between.
pub(in crate::storage) const RECORD_LEN_MAX: u64 =
    BULK_LEN_MAX as u64 + 1024 * 1024 + 256 * (LEASES_MAX as u64 * 92 + 66 * 1024);

const MAGIC: &[u8; 8] = b"tlcredo1";
const HEAD_LEN: u64 = 52;

/// What happens to one share.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(in crate::storage) enum ShareChange {
    Remove,
    /// Writes that make a file from nothing.
    Create(FileChange),
    /// Changes the file that is there.
    Patch(FileChange),
}

#[derive(Serialize, Deserialize)]
enum Entry {
    Remove,
    Create { writes: Vec<(u64, u64)> },
    Patch { cut: Option<u64>, writes: Vec<(u64, u64)>, file_len: Option<u64> },
}

/// A record, but for its hash.
#[derive(Debug)]
pub(in crate::storage) struct Record {
    list: Payload,
    bytes: Vec<Payload>,
    bytes_len: u64,
}

impl Record {
    pub(in crate::storage) fn new(changes: &[(u16, ShareChange)]) -> Record {
        let places = |change: &FileChange| change.writes.iter().map(|(at, data)| (*at, data.len())).collect();
        let entry = |change: &ShareChange| match change {
            ShareChange::Remove => Entry::Remove,
            ShareChange::Create(change) => Entry::Create { writes: places(change) },
            ShareChange::Patch(change) => {
                Entry::Patch { cut: change.cut, writes: places(change), file_len: change.file_len }
            }
        };
        let list: Vec<(u16, Entry)> = changes.iter().map(|(share, change)| (*share, entry(change))).collect();
        let list = postcard::to_allocvec(&list).expect("a buffer that grows");
        let writes = changes.iter().flat_map(|(_, change)| match change {
            ShareChange::Remove => &[][..],
            ShareChange::Create(change) | ShareChange::Patch(change) => &change.writes,
        });
        let bytes: Vec<Payload> = writes.map(|(_, data)| data.clone()).collect();
        let bytes_len = bytes.iter().map(Payload::len).sum();
        Record { list: list.into(), bytes, bytes_len }
    }

    /// What a job has to feed to which hash.
    pub(in crate::storage) fn to_hash(&self, index: &StorageIndex) -> (TaggedHasher, Vec<Payload>) {
        let data = core::iter::once(&self.list).chain(&self.bytes).cloned().collect();
        (hasher(index, self.list.len() as u32, self.bytes_len), data)
    }

    /// What is written where in the record's file.
    pub(in crate::storage) fn writes(&self, hash: &Hash) -> Vec<(u64, Payload)> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&(self.list.len() as u32).to_be_bytes());
        head.extend_from_slice(&self.bytes_len.to_be_bytes());
        head.extend_from_slice(hash.as_bytes());
        let mut writes = vec![(0, Payload::from(head)), (HEAD_LEN, self.list.clone())];
        let mut offset = HEAD_LEN + self.list.len();
        for data in self.bytes.iter().filter(|data| !data.is_empty()) {
            writes.push((offset, data.clone()));
            offset += data.len();
        }
        writes
    }
}

/// A record as it was found, to be believed once its hash is right.
#[derive(Debug)]
pub(in crate::storage) struct Found {
    file: Payload,
    expected: Hash,
    list: Payload,
    bytes: Payload,
}

impl Found {
    /// Takes a file apart. `None` if that is no record.
    pub(in crate::storage) fn open(file: &Payload) -> Option<Found> {
        let head: &[u8; HEAD_LEN as usize] = file.bytes()?.first_chunk()?;
        let (magic, rest) = head.split_first_chunk()?;
        let (list_len, rest) = rest.split_first_chunk()?;
        let (bytes_len, hash) = rest.split_first_chunk()?;
        let list_end = HEAD_LEN + u64::from(u32::from_be_bytes(*list_len));
        let end = list_end.checked_add(u64::from_be_bytes(*bytes_len))?;
        if magic != MAGIC || end != file.len() {
            return None;
        }
        let expected = Hash(*hash.first_chunk()?);
        let (list, bytes) = (file.slice(HEAD_LEN..list_end), file.slice(list_end..end));
        Some(Found { file: file.clone(), expected, list, bytes })
    }

    /// The record as it was found.
    pub(in crate::storage) fn file(&self) -> &Payload {
        &self.file
    }

    /// What a job has to feed to which hash.
    pub(in crate::storage) fn to_hash(&self, index: &StorageIndex) -> (TaggedHasher, Vec<Payload>) {
        let hasher = hasher(index, self.list.len() as u32, self.bytes.len());
        (hasher, vec![self.list.clone(), self.bytes.clone()])
    }

    /// The changes, if this is the hash of the record. `None` if it is torn.
    pub(in crate::storage) fn changes(&self, hash: Hash) -> Option<Vec<(u16, ShareChange)>> {
        if hash != self.expected {
            return None;
        }
        let list: Vec<(u16, Entry)> = postcard::from_bytes(self.list.bytes()?).ok()?;
        let mut rest = self.bytes.clone();
        let mut take = |places: Vec<(u64, u64)>| -> Option<Vec<(u64, Payload)>> {
            let take = |(offset, len): (u64, u64)| {
                let fits = len <= rest.len() && offset.checked_add(len)? <= FILE_LEN_MAX;
                fits.then(|| (offset, rest.take_front(len)))
            };
            places.into_iter().map(take).collect()
        };
        let change = |(share, entry): (u16, Entry)| {
            let change = match entry {
                Entry::Remove => ShareChange::Remove,
                Entry::Create { writes } => {
                    ShareChange::Create(FileChange { writes: take(writes)?, ..FileChange::default() })
                }
                Entry::Patch { cut, writes, file_len } => {
                    ShareChange::Patch(FileChange { cut, writes: take(writes)?, file_len })
                }
            };
            (share < 256).then_some((share, change))
        };
        let changes = list.into_iter().map(change).collect::<Option<Vec<_>>>()?;
        rest.is_empty().then_some(changes)
    }
}

/// The steps that carry out changes, over whatever a crash left of them.
pub(in crate::storage) fn replay(index: StorageIndex, changes: &[(u16, ShareChange)]) -> Vec<DiskStep> {
    let mut steps = Vec::new();
    for (share, change) in changes {
        let path = StorePath::Share(index, *share);
        match change {
            ShareChange::Remove => {
                steps.extend([DiskStep::Remove(path.clone()), DiskStep::SyncName(path)]);
            }
            ShareChange::Create(change) => {
                steps.extend([DiskStep::Remove(path.clone()), DiskStep::Create(path.clone())]);
                steps.extend(write_steps(&path, &change.writes));
                steps.extend([DiskStep::Sync(path.clone()), DiskStep::SyncName(path)]);
            }
            ShareChange::Patch(change) => {
                steps.extend(change.steps(&path));
                steps.push(DiskStep::Sync(path));
            }
        }
    }
    steps
}

fn hasher(index: &StorageIndex, list_len: u32, bytes_len: u64) -> TaggedHasher {
    let mut hasher = TaggedHasher::new(b"tallac_redo_record_v1");
    hasher.update(&index.0);
    hasher.update(&list_len.to_be_bytes());
    hasher.update(&bytes_len.to_be_bytes());
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{self, Job, JobOutput};
    use proptest::prelude::*;

    const INDEX: StorageIndex = StorageIndex([3; 16]);

    fn hash((hasher, data): (TaggedHasher, Vec<Payload>)) -> Hash {
        match job::run(Job::Hash { hasher, data }, &crate::rsa::NoRsa) {
            JobOutput::Hashed(hasher) => hasher.finish(),
            other => panic!("{other:?}"),
        }
    }

    fn file(changes: &[(u16, ShareChange)]) -> Vec<u8> {
        let record = Record::new(changes);
        let writes = record.writes(&hash(record.to_hash(&INDEX)));
        let mut file = Vec::new();
        for (offset, data) in writes {
            assert_eq!(offset, file.len() as u64, "nothing is left out");
            file.extend_from_slice(data.bytes().expect("real bytes"));
        }
        file
    }

    fn read(file: &[u8], index: &StorageIndex) -> Option<Vec<(u16, ShareChange)>> {
        let found = Found::open(&file.to_vec().into())?;
        found.changes(hash(found.to_hash(index)))
    }

    fn changes() -> Vec<(u16, ShareChange)> {
        let writes = vec![(0, Payload::from(b"head".to_vec())), (468, Payload::from(b"data".to_vec()))];
        vec![
            (0, ShareChange::Remove),
            (9, ShareChange::Create(FileChange { writes: writes.clone(), ..FileChange::default() })),
            (255, ShareChange::Patch(FileChange { cut: Some(1 << 40), writes, file_len: Some(77) })),
        ]
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        assert_eq!(read(&file(&changes()), &INDEX), Some(changes()));
        assert_eq!(read(&file(&[]), &INDEX), Some(vec![]));
    }

    #[test]
    fn a_torn_record_is_none() {
        let whole = file(&changes());
        for len in 0..whole.len() {
            assert_eq!(read(&whole[..len], &INDEX), None, "{len} bytes");
            let zeros = [&whole[..len], &vec![0; whole.len() - len]].concat();
            assert!(zeros == whole || read(&zeros, &INDEX).is_none(), "{len} bytes and zeros");
        }
        for bit in 0..whole.len() * 8 {
            let mut torn = whole.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&torn, &INDEX), None, "bit {bit}");
        }
        assert_eq!(read(&[&whole[..], b"!"].concat(), &INDEX), None);
        assert_eq!(read(&whole, &StorageIndex([4; 16])), None, "another slot's");
    }

    #[test]
    fn a_list_that_does_not_fit_its_bytes_is_none() {
        let small = || Payload::from(b"x".to_vec());
        let patch = |offset| FileChange { writes: vec![(offset, small())], ..FileChange::default() };
        for (what, change) in [
            ("a share past 255", (256, ShareChange::Remove)),
            ("an offset past any file", (0, ShareChange::Patch(patch(FILE_LEN_MAX)))),
            ("an offset that overflows", (0, ShareChange::Patch(patch(u64::MAX)))),
        ] {
            assert_eq!(read(&file(&[change]), &INDEX), None, "{what}");
        }
        let entry = Entry::Create { writes: vec![(0, u64::MAX), (0, 2)] };
        let list = postcard::to_allocvec(&vec![(0u16, entry)]).expect("a buffer that grows");
        let record = Record { list: list.into(), bytes: vec![small()], bytes_len: 1 };
        let hash = hash(record.to_hash(&INDEX));
        let found = Found { file: small(), expected: hash, list: record.list, bytes: small() };
        assert_eq!(found.changes(hash), None);
    }

    proptest! {
        #[test]
        fn no_file_is_a_surprise(bytes in prop::collection::vec(any::<u8>(), 0..300), magic: bool) {
            let mut bytes = bytes;
            if magic && bytes.len() >= 8 {
                bytes[..8].copy_from_slice(MAGIC);
            }
            prop_assert_eq!(read(&bytes, &INDEX), None);
        }
    }
}
