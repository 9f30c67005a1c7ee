//! The file that holds a mutable share: header, four leases, data, further leases.
//!
//! The format is that of mutable shares in Tahoe-LAFS 1.20 (`allmydata/storage/mutable.py`):
//!
//! ```text
//!   0       32       52        84         92             100        468        extra lease offset
//!   +-------+--------+---------+----------+--------------+----------+------+---+-------+------------+
//!   | magic | nodeid | write   | u64 data | u64 extra    | 4 leases | data | ? | u32   | extra      |
//!   | 32 B  | 20 B   | enabler | length   | lease offset | 92 B each|      |   | count | leases     |
//!   +-------+--------+---------+----------+--------------+----------+------+---+-------+------------+
//!   lease: owner u32 (0: none), expiration u32 (unix seconds), renew secret 32 B, cancel secret 32 B,
//!          nodeid 20 B of the server that took it
//! ```
//!
//! All numbers are big-endian. Schema 1 stores lease secrets as they are, schema 2 their BLAKE2b-256
//! hashes; the write enabler is stored as it is. New containers are schema 2.
//!
//! The peer leaves a gap before the extra leases when the data becomes shorter; here the extra leases
//! move, so that a container is never longer than it must be. Both read both. What lies behind the
//! extra leases means nothing.

use crate::identity::TubId;
use crate::secret::{LeaseSecret, Secret, WriteEnabler};
use crate::storage::container::{FILE_LEN_MAX, Schema, stored};
use alloc::vec::Vec;
use core::fmt;
use subtle::ConstantTimeEq;

/// Bytes before the data: the header and the four leases.
pub const DATA_OFFSET: u64 = 468;
/// Bytes of one lease.
pub const SLOT_LEASE_LEN: u64 = 92;
/// Longest data of a mutable share, in bytes: the peer's bound.
pub const DATA_LEN_MAX: u64 = 69_105_000_000_000_000;
/// Where the header has the length of the data, followed by the offset of the extra leases.
pub(in crate::storage) const LENGTHS_OFFSET: u64 = 84;
/// Where a lease has its expiration date.
pub(in crate::storage) const LEASE_EXPIRATION: u64 = 4;

const LEASES_OFFSET: u64 = 100;
const FIXED_LEASES: usize = 4;
const LEASE: usize = SLOT_LEASE_LEN as usize;
const MAGIC_1: &[u8; 32] = b"Tahoe mutable container v1\n\x75\x09\x44\x03\x8e";
const MAGIC_2: &[u8; 32] = b"Tahoe mutable container v2\n\xc3\x55\x21\x99\x25";
const _: () = assert!(DATA_LEN_MAX + DATA_OFFSET < FILE_LEN_MAX);

/// Why a file is no container of a mutable share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SlotContainerError {
    /// It holds an immutable share.
    Immutable,
    /// It is of a kind this server does not know.
    UnknownMagic,
    /// It ends before its header says.
    TooShort,
    /// Its header contradicts itself: the leases lie in the data.
    Overlapping,
    /// It has more leases than this server looks through.
    TooManyLeases,
}

impl fmt::Display for SlotContainerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SlotContainerError::Immutable => "the share's file holds an immutable share",
            SlotContainerError::UnknownMagic => "the share's file is no container of a known kind",
            SlotContainerError::TooShort => "the share's file is shorter than its header says",
            SlotContainerError::Overlapping => "the share's file has its leases within its data",
            SlotContainerError::TooManyLeases => "the share's file has too many leases",
        })
    }
}

impl core::error::Error for SlotContainerError {}

/// The first [`DATA_OFFSET`] bytes of a container, checked against the length of its file.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SlotHeader {
    /// How leases are stored.
    pub schema: Schema,
    /// The server that recorded the write enabler.
    pub recorded_by: TubId,
    /// What proves the right to write.
    pub write_enabler: WriteEnabler,
    /// Length of the data in bytes.
    pub data_len: u64,
    /// Where the extra leases begin in the file, with their count.
    pub extra_offset: u64,
    /// Length of the file in bytes.
    pub file_len: u64,
    /// The four leases of the header, unused ones included.
    fixed: [SlotLease; FIXED_LEASES],
}

impl SlotHeader {
    /// The header of a new container, without data or leases.
    pub fn new(recorded_by: TubId, write_enabler: WriteEnabler) -> SlotHeader {
        SlotHeader {
            schema: Schema::Hashed,
            recorded_by,
            write_enabler,
            data_len: 0,
            extra_offset: DATA_OFFSET,
            file_len: DATA_OFFSET + 4,
            fixed: core::array::from_fn(|_| SlotLease::unused()),
        }
    }

    /// Reads a header from the first bytes of a file of `file_len` bytes.
    ///
    /// # Errors
    /// If the file is no container of a mutable share, or too short for what its header says.
    pub fn decode(bytes: &[u8], file_len: u64) -> Result<SlotHeader, SlotContainerError> {
        let schema = match bytes.first_chunk::<32>() {
            Some(magic) if magic == MAGIC_1 => Schema::Plain,
            Some(magic) if magic == MAGIC_2 => Schema::Hashed,
            _ if matches!(bytes.first_chunk::<4>(), Some([0, 0, 0, 1 | 2])) => {
                return Err(SlotContainerError::Immutable);
            }
            Some(_) => return Err(SlotContainerError::UnknownMagic),
            None => return Err(SlotContainerError::TooShort),
        };
        let bytes: &[u8; DATA_OFFSET as usize] = bytes.first_chunk().ok_or(SlotContainerError::TooShort)?;
        let word = |at: usize| u64::from_be_bytes(chunk(bytes, at));
        let (data_len, extra_offset) = (word(84), word(92));
        let data_end = data_len.checked_add(DATA_OFFSET).filter(|end| *end <= file_len);
        let data_end = data_end.ok_or(SlotContainerError::TooShort)?;
        if extra_offset < data_end || extra_offset > FILE_LEN_MAX {
            return Err(SlotContainerError::Overlapping);
        }
        Ok(SlotHeader {
            schema,
            recorded_by: TubId(chunk(bytes, 32)),
            write_enabler: Secret::from_bytes(chunk(bytes, 52)),
            data_len,
            extra_offset,
            file_len,
            fixed: core::array::from_fn(|place| {
                SlotLease::decode(&chunk(bytes, LEASES_OFFSET as usize + place * LEASE))
            }),
        })
    }

    /// The header's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(DATA_OFFSET as usize);
        bytes.extend_from_slice(match self.schema {
            Schema::Plain => MAGIC_1,
            Schema::Hashed => MAGIC_2,
        });
        bytes.extend_from_slice(&self.recorded_by.0);
        bytes.extend_from_slice(self.write_enabler.expose());
        bytes.extend_from_slice(&lengths(self.data_len, self.extra_offset));
        self.fixed.iter().for_each(|lease| bytes.extend_from_slice(&lease.encode()));
        bytes
    }

    /// Whether this enabler gives the right to write. Takes as long for a wrong one as for the right
    /// one.
    pub fn is_enabled_by(&self, enabler: &WriteEnabler) -> bool {
        self.write_enabler.ct_eq(enabler).into()
    }

    /// The part of a range that is data: its place in the file and its length. `None` if there is
    /// none.
    pub fn readable(&self, offset: u64, len: u64) -> Option<(u64, u64)> {
        let len = len.min(self.data_len.saturating_sub(offset));
        (len > 0).then(|| (DATA_OFFSET + offset, len))
    }

    /// Puts the first lease into a new container.
    pub(in crate::storage) fn first_lease(&mut self, lease: SlotLease) {
        self.fixed[0] = lease;
    }

    /// The leases, given what is read from [`SlotHeader::extra_offset`] on. Extra leases that are
    /// counted but not there are left out.
    ///
    /// # Errors
    /// If more than `extra_max` extra leases are counted.
    pub fn leases(&self, extra: &[u8], extra_max: u32) -> Result<SlotLeases, SlotContainerError> {
        let (count, records) = match extra.split_first_chunk::<4>() {
            Some((count, records)) => (u32::from_be_bytes(*count), records.as_chunks::<LEASE>().0),
            None => (0, &[][..]),
        };
        let counted = usize::try_from(count).unwrap_or(usize::MAX).min(records.len());
        if counted > extra_max as usize {
            return Err(SlotContainerError::TooManyLeases);
        }
        let extra = records[..counted].iter().map(SlotLease::decode);
        Ok(SlotLeases { all: self.fixed.iter().cloned().chain(extra).collect() })
    }
}

/// The places for leases of a container, used and unused.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SlotLeases {
    all: Vec<SlotLease>,
}

impl SlotLeases {
    /// The leases, with their places.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &SlotLease)> {
        self.all.iter().enumerate().filter(|(_, lease)| lease.owner != 0)
    }

    /// The first lease that this secret renews: its place.
    pub fn find(&self, schema: Schema, renew: &LeaseSecret) -> Option<usize> {
        let wanted = stored(schema, renew);
        self.iter().find(|(_, lease)| lease.renew.ct_eq(&wanted).into()).map(|(place, _)| place)
    }

    /// The first unused place; the one after the last if all are used.
    pub fn free_place(&self) -> usize {
        self.all.iter().position(|lease| lease.owner == 0).unwrap_or(self.all.len())
    }

    /// The lease at a place.
    pub fn at(&self, place: usize) -> Option<&SlotLease> {
        self.all.get(place)
    }

    /// Puts a lease at a place that is there or the one after the last.
    pub fn put(&mut self, place: usize, lease: SlotLease) {
        if place == self.all.len() { self.all.push(lease) } else { self.all[place] = lease }
    }

    /// How many extra leases there are.
    pub fn extra_count(&self) -> u32 {
        (self.all.len() - FIXED_LEASES) as u32
    }

    /// The count of the extra leases and the extra leases, as they follow the data.
    pub fn encode_extra(&self) -> Vec<u8> {
        let mut bytes = self.extra_count().to_be_bytes().to_vec();
        self.all[FIXED_LEASES..].iter().for_each(|lease| bytes.extend_from_slice(&lease.encode()));
        bytes
    }
}

/// Where a lease lies in the file of a container whose extra leases begin at `extra_offset`.
pub(in crate::storage) fn lease_offset(place: usize, extra_offset: u64) -> u64 {
    match place.checked_sub(FIXED_LEASES) {
        None => LEASES_OFFSET + place as u64 * SLOT_LEASE_LEN,
        Some(extra) => extra_offset + 4 + extra as u64 * SLOT_LEASE_LEN,
    }
}

/// The two lengths of a header, as they follow each other.
pub(in crate::storage) fn lengths(data_len: u64, extra_offset: u64) -> [u8; 16] {
    (u128::from(data_len) << 64 | u128::from(extra_offset)).to_be_bytes()
}

/// A lease as a container of a mutable share stores it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SlotLease {
    /// 0 for a place that is not used; 1 in our leases, as in the peer's.
    pub owner: u32,
    /// When it ends, in seconds since 1970.
    pub expiration: u32,
    /// What proves the right to renew, as the schema stores it.
    pub renew: Secret<32>,
    /// What would prove the right to cancel, as the schema stores it.
    pub cancel: Secret<32>,
    /// The server that took the lease.
    pub taken_by: TubId,
}

impl SlotLease {
    /// A lease for the holder of these secrets.
    pub fn new(
        schema: Schema,
        (renew, cancel): (&LeaseSecret, &LeaseSecret),
        expiration: u32,
        taken_by: TubId,
    ) -> SlotLease {
        let (renew, cancel) = (stored(schema, renew), stored(schema, cancel));
        SlotLease { owner: 1, expiration, renew, cancel, taken_by }
    }

    fn unused() -> SlotLease {
        SlotLease::decode(&[0; LEASE])
    }

    /// Reads a lease.
    pub fn decode(bytes: &[u8; LEASE]) -> SlotLease {
        SlotLease {
            owner: u32::from_be_bytes(chunk(bytes, 0)),
            expiration: u32::from_be_bytes(chunk(bytes, 4)),
            renew: Secret::from_bytes(chunk(bytes, 8)),
            cancel: Secret::from_bytes(chunk(bytes, 40)),
            taken_by: TubId(chunk(bytes, 72)),
        }
    }

    /// The lease's bytes.
    pub fn encode(&self) -> [u8; LEASE] {
        let mut bytes = [0; LEASE];
        bytes[..4].copy_from_slice(&self.owner.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.expiration.to_be_bytes());
        bytes[8..40].copy_from_slice(self.renew.expose());
        bytes[40..72].copy_from_slice(self.cancel.expose());
        bytes[72..].copy_from_slice(&self.taken_by.0);
        bytes
    }
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("callers know the length")
}
