//! What a write changes of a container's file, worked out before anything is written.

use super::container::{
    DATA_LEN_MAX, DATA_OFFSET, LEASE_EXPIRATION, LENGTHS_OFFSET, SLOT_LEASE_LEN, SlotHeader, SlotLease,
    SlotLeases, lease_offset, lengths,
};
use crate::disk::{DiskStep, StorePath};
use crate::payload::Payload;
use alloc::vec;
use alloc::vec::Vec;

/// Zeros that are written into a gap; a longer one is made by cutting the file and growing it again.
const ZEROS_MAX: u64 = 64 * 1024;

/// What is to change of one file, in this order. Doing it again, or from the middle, changes nothing.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(in crate::storage) struct FileChange {
    /// Cut the file to this length first: what grows again is zeros.
    pub(in crate::storage) cut: Option<u64>,
    /// What is written where in the file.
    pub(in crate::storage) writes: Vec<(u64, Payload)>,
    /// The length of the file afterwards.
    pub(in crate::storage) file_len: Option<u64>,
}

impl FileChange {
    pub(in crate::storage) fn is_nothing(&self) -> bool {
        *self == FileChange::default()
    }

    /// The steps that make the change, without a sync.
    pub(in crate::storage) fn steps(&self, path: &StorePath) -> Vec<DiskStep> {
        let cut = |len: Option<u64>| len.map(|len| DiskStep::Truncate(path.clone(), len));
        let writes = write_steps(path, &self.writes);
        cut(self.cut).into_iter().chain(writes).chain(cut(self.file_len)).collect()
    }

    /// Splits off what is written behind the end of a file of `file_len` bytes: nobody looks there
    /// before the header changes, so that it can be written ahead.
    pub(in crate::storage) fn split_tail(&mut self, file_len: u64) -> Vec<(u64, Payload)> {
        if self.cut.is_some() {
            return Vec::new();
        }
        let mut tail = Vec::new();
        let mut within = Vec::new();
        for (offset, data) in self.writes.drain(..) {
            let inside = file_len.saturating_sub(offset).min(data.len());
            if inside < data.len() {
                tail.push((offset + inside, data.slice(inside..data.len())));
            }
            if inside > 0 {
                within.push((offset, data.slice(0..inside)));
            }
        }
        self.writes = within;
        tail
    }
}

pub(in crate::storage) fn write_steps(
    path: &StorePath,
    writes: &[(u64, Payload)],
) -> impl Iterator<Item = DiskStep> {
    writes.iter().map(|(offset, data)| DiskStep::Write {
        path: path.clone(),
        offset: *offset,
        data: data.clone(),
    })
}

/// What a write asks of a share's data.
pub(in crate::storage) struct DataVectors {
    /// Offset and bytes, in the order in which they are written.
    pub(in crate::storage) writes: Vec<(u64, Payload)>,
    /// Cut the data to this length afterwards, if it is longer.
    pub(in crate::storage) new_length: Option<u64>,
}

/// The data would be longer than a share may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::storage) struct TooLong;

/// The data after the writes.
struct DataChange {
    len: u64,
    /// By place in the data; nothing of it lies behind `len`.
    writes: Vec<(u64, Payload)>,
    cut: bool,
}

impl DataVectors {
    /// Applies the writes one after another, as the peer does: a write behind the end of the data
    /// fills the gap with zeros, also one without bytes.
    ///
    /// `stale` is the length of what the file holds from the beginning of the data on, data or not.
    fn apply(self, data_len: u64, stale: u64) -> Result<DataChange, TooLong> {
        let mut reached = data_len;
        for (offset, data) in &self.writes {
            let end = offset.checked_add(data.len()).filter(|end| *end <= DATA_LEN_MAX);
            reached = reached.max(end.ok_or(TooLong)?);
        }
        let len = self.new_length.map_or(reached, |new_length| new_length.min(reached));
        let mut change = DataChange { len, writes: Vec::new(), cut: false };
        let (mut reached, mut zeros) = (data_len, 0);
        for (offset, data) in self.writes {
            let end = offset + data.len();
            let gap = reached..offset.min(stale).min(len);
            if gap.start < gap.end {
                zeros += gap.end - gap.start;
                if zeros <= ZEROS_MAX {
                    change.writes.push((gap.start, vec![0; (gap.end - gap.start) as usize].into()));
                }
            }
            let kept = len.saturating_sub(offset).min(data.len());
            if kept > 0 {
                change.writes.push((offset, data.slice(0..kept)));
            }
            reached = reached.max(end);
        }
        change.cut = zeros > ZEROS_MAX;
        Ok(change)
    }
}

/// A lease to be put into a container or renewed there.
pub(in crate::storage) struct LeaseChange {
    pub(in crate::storage) place: usize,
    pub(in crate::storage) lease: SlotLease,
    /// Only the date changes.
    pub(in crate::storage) renewed: bool,
}

/// The file of a new share: its only lease, its data.
pub(in crate::storage) fn creation(
    mut header: SlotHeader,
    lease: SlotLease,
    vectors: DataVectors,
) -> Result<(FileChange, u64), TooLong> {
    let data = vectors.apply(0, 0)?;
    header.first_lease(lease);
    (header.data_len, header.extra_offset) = (data.len, DATA_OFFSET + data.len);
    let file_len = header.extra_offset + 4;
    let mut writes = vec![(0, Payload::from(header.encode()))];
    writes.extend(placed(data.writes));
    writes.push((header.extra_offset, Payload::from(vec![0; 4])));
    Ok((FileChange { cut: None, writes, file_len: None }, file_len))
}

/// What changes in the file of a share that is there, and how long the file is afterwards.
pub(in crate::storage) fn patch(
    header: &SlotHeader,
    mut leases: SlotLeases,
    lease: Option<LeaseChange>,
    vectors: DataVectors,
) -> Result<(FileChange, u64), TooLong> {
    let before = leases.extra_count();
    let data = vectors.apply(header.data_len, header.file_len - DATA_OFFSET)?;
    let moved = data.len != header.data_len;
    let mut change = FileChange::default();
    if data.cut {
        change.cut = Some(DATA_OFFSET + header.data_len);
    }
    change.writes.extend(placed(data.writes));
    let extra_offset = if moved { DATA_OFFSET + data.len } else { header.extra_offset };
    if let Some(LeaseChange { place, lease, renewed }) = lease {
        let offset = lease_offset(place, extra_offset);
        let bytes = lease.encode();
        let (from, to) = if renewed { (LEASE_EXPIRATION, LEASE_EXPIRATION + 4) } else { (0, SLOT_LEASE_LEN) };
        let bytes = bytes[from as usize..to as usize].to_vec();
        leases.put(place, lease);
        // An extra lease that moves is written with all the others.
        if offset < DATA_OFFSET || !moved {
            change.writes.push((offset + from, bytes.into()));
        }
    }
    let extra = leases.encode_extra();
    let end = extra_offset + extra.len() as u64;
    if moved {
        change.writes.push((LENGTHS_OFFSET, lengths(data.len, extra_offset).to_vec().into()));
        change.writes.push((extra_offset, extra.into()));
    } else if leases.extra_count() != before {
        change.writes.push((extra_offset, extra[..4].to_vec().into()));
    } else {
        return Ok((change, header.file_len));
    }
    change.file_len = Some(end);
    Ok((change, end))
}

fn placed(writes: Vec<(u64, Payload)>) -> impl Iterator<Item = (u64, Payload)> {
    writes.into_iter().map(|(offset, data)| (DATA_OFFSET + offset, data))
}
