//! The file that holds a whole share: header, data, leases.
//!
//! The format is that of immutable shares in Tahoe-LAFS 1.20 (`allmydata/storage/immutable.py`):
//!
//! ```text
//!  0      4                  8           12             12 + data length
//!  +------+------------------+-----------+--------------+---------+---------+
//!  | u32  | u32              | u32       |              | lease 0 | lease 1 | ...
//!  | 1, 2 | min(2^32-1, len) | leases    | data         | 72 B    | 72 B    |
//!  +------+------------------+-----------+--------------+---------+---------+
//!  lease: owner u32, renew secret 32 B, cancel secret 32 B, expiration u32 (unix seconds)
//! ```
//!
//! All numbers are big-endian. Schema 1 stores lease secrets as they are, schema 2 their BLAKE2b-256
//! hashes. New containers are schema 2; a lease added to a container keeps to the container's schema.
//!
//! # Where the data ends
//!
//! The peer computes the end of the data from the file's length and the number of leases and never
//! reads the length in the header. A crash between appending a lease and counting it then moves 72
//! bytes of lease into the data, or takes 72 bytes of data away. Our reader lets the header decide:
//! unless it says 2^32-1, its length is the data's length modulo 2^32, and the leases are as many
//! whole records, up to the number counted, as follow the data. So a container reads the same
//! before, while and after a lease is added, at whichever point the power fails; see
//! `leases.rs` for the order of the writes.

use crate::secret::{LeaseSecret, Secret};
use blake2::{Blake2b256, Digest};
use core::fmt;
use subtle::ConstantTimeEq;

/// Bytes before the data.
pub const HEADER_LEN: u64 = 12;
/// Bytes of one lease.
pub const LEASE_LEN: u64 = 72;
/// Where a lease has its expiration date.
pub(super) const EXPIRATION_OFFSET: u64 = 68;
/// A length in the header that only says: this or more.
pub(super) const LENGTH_SATURATED: u32 = u32::MAX;

/// How a container stores the secrets of its leases.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Schema {
    /// Schema 1: as they are.
    Plain,
    /// Schema 2: their BLAKE2b-256 hashes.
    Hashed,
}

/// The first 12 bytes of a container, as they stand there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ContainerHeader {
    /// How leases are stored.
    pub schema: Schema,
    /// The length of the data modulo 2^32, or 2^32-1, which says nothing of a longer share.
    pub stated_len: u32,
    /// How many leases are counted.
    pub lease_count: u32,
}

impl ContainerHeader {
    /// The header of a new container.
    pub fn new(data_len: u64, lease_count: u32) -> ContainerHeader {
        ContainerHeader { schema: Schema::Hashed, stated_len: saturated(data_len), lease_count }
    }

    /// Reads a header.
    ///
    /// # Errors
    /// If there are fewer than 12 bytes or the version is neither 1 nor 2.
    pub fn decode(bytes: &[u8]) -> Result<ContainerHeader, ContainerError> {
        let (version, rest) = take_u32(bytes).ok_or(ContainerError::TooShort)?;
        let (stated_len, rest) = take_u32(rest).ok_or(ContainerError::TooShort)?;
        let (lease_count, _) = take_u32(rest).ok_or(ContainerError::TooShort)?;
        let schema = match version {
            1 => Schema::Plain,
            2 => Schema::Hashed,
            MUTABLE => return Err(ContainerError::Mutable),
            other => return Err(ContainerError::UnknownVersion(other)),
        };
        Ok(ContainerHeader { schema, stated_len, lease_count })
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN as usize] {
        let version: u32 = match self.schema {
            Schema::Plain => 1,
            Schema::Hashed => 2,
        };
        let mut bytes = [0; HEADER_LEN as usize];
        bytes[..4].copy_from_slice(&version.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.stated_len.to_be_bytes());
        bytes[8..].copy_from_slice(&self.lease_count.to_be_bytes());
        bytes
    }

    /// Where things are in a container of `file_len` bytes.
    ///
    /// # Errors
    /// If the file is too short for what the header says.
    pub fn layout(&self, file_len: u64) -> Result<ContainerLayout, ContainerError> {
        let body = file_len.checked_sub(HEADER_LEN).ok_or(ContainerError::TooShort)?;
        let data_len = if self.stated_len == LENGTH_SATURATED {
            let leases = u64::from(self.lease_count) * LEASE_LEN;
            let data_len = body.checked_sub(leases).ok_or(ContainerError::TooShort)?;
            if data_len < u64::from(LENGTH_SATURATED) {
                return Err(ContainerError::TooShort);
            }
            data_len
        } else {
            // The longest length that ends in the stated bits: 2^32 bytes of leases do not occur.
            let stated = u64::from(self.stated_len);
            let above = body.checked_sub(stated).ok_or(ContainerError::TooShort)?;
            stated + (above >> 32 << 32)
        };
        let whole_records = u32::try_from((body - data_len) / LEASE_LEN).unwrap_or(u32::MAX);
        Ok(ContainerLayout { header: *self, data_len, leases: whole_records.min(self.lease_count), file_len })
    }
}

/// Where things are in a container: a header that fits its file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ContainerLayout {
    header: ContainerHeader,
    data_len: u64,
    leases: u32,
    file_len: u64,
}

impl ContainerLayout {
    /// How leases are stored.
    pub fn schema(&self) -> Schema {
        self.header.schema
    }

    /// Length of the data in bytes. No byte after it is data.
    pub fn data_len(&self) -> u64 {
        self.data_len
    }

    /// How many leases there are.
    pub fn leases(&self) -> u32 {
        self.leases
    }

    /// Where a lease begins in the file; that of the lease after the last is where one is added.
    pub fn lease_offset(&self, lease: u32) -> u64 {
        HEADER_LEN + self.data_len + u64::from(lease) * LEASE_LEN
    }

    /// Length of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.file_len
    }

    /// The length as the header states it.
    pub(super) fn stated_len(&self) -> u32 {
        self.header.stated_len
    }
}

/// Length in bytes of a container with one lease, or `None` if no disk could hold it.
pub fn container_len(data_len: u64) -> Option<u64> {
    data_len.checked_add(HEADER_LEN + LEASE_LEN).filter(|len| *len <= FILE_LEN_MAX)
}

/// Where a share's byte lies in its container, or `None` if no disk could hold it.
pub(super) fn file_offset(data_offset: u64) -> Option<u64> {
    data_offset.checked_add(HEADER_LEN).filter(|offset| *offset <= FILE_LEN_MAX)
}

/// How the magic of mutable containers begins ([`super::slot::container`]).
const MUTABLE: u32 = u32::from_be_bytes(*b"Taho");
/// Offsets are signed 64-bit numbers to operating systems.
pub(super) const FILE_LEN_MAX: u64 = i64::MAX as u64;

/// A lease as a container stores it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Lease {
    /// Always 0 in our containers: nobody in particular.
    pub owner: u32,
    /// What proves the right to renew, as the schema stores it.
    pub renew: Secret<32>,
    /// What would prove the right to cancel, as the schema stores it.
    pub cancel: Secret<32>,
    /// When it ends, in seconds since 1970.
    pub expiration: u32,
}

impl Lease {
    /// A lease for the holder of these secrets.
    pub fn new(schema: Schema, renew: &LeaseSecret, cancel: &LeaseSecret, expiration: u32) -> Lease {
        Lease { owner: 0, renew: stored(schema, renew), cancel: stored(schema, cancel), expiration }
    }

    /// Reads a lease.
    pub fn decode(bytes: &[u8; LEASE_LEN as usize]) -> Lease {
        let word = |at: usize| u32::from_be_bytes(*bytes[at..].first_chunk().expect("within a lease"));
        let secret = |at: usize| Secret::from_bytes(*bytes[at..].first_chunk().expect("within a lease"));
        Lease { owner: word(0), renew: secret(4), cancel: secret(36), expiration: word(68) }
    }

    /// The lease's bytes.
    pub fn encode(&self) -> [u8; LEASE_LEN as usize] {
        let mut bytes = [0; LEASE_LEN as usize];
        bytes[..4].copy_from_slice(&self.owner.to_be_bytes());
        bytes[4..36].copy_from_slice(self.renew.expose());
        bytes[36..68].copy_from_slice(self.cancel.expose());
        bytes[68..].copy_from_slice(&self.expiration.to_be_bytes());
        bytes
    }

    /// Whether this secret renews the lease. Takes as long for a wrong secret as for the right one.
    pub fn is_renewed_by(&self, schema: Schema, secret: &LeaseSecret) -> bool {
        self.renew.ct_eq(&stored(schema, secret)).into()
    }
}

/// The first of the stored leases that this secret renews: its place and its expiration date.
pub fn find_lease(records: &[u8], schema: Schema, secret: &LeaseSecret) -> Option<(u32, u32)> {
    let wanted = stored(schema, secret);
    let (records, _) = records.as_chunks::<{ LEASE_LEN as usize }>();
    (0..).zip(records).find_map(|(place, record)| {
        let lease = Lease::decode(record);
        bool::from(lease.renew.ct_eq(&wanted)).then_some((place, lease.expiration))
    })
}

/// Why a file is no container.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ContainerError {
    /// It ends before its header says.
    TooShort,
    /// It is of a kind this server does not know.
    UnknownVersion(u32),
    /// It holds a mutable share.
    Mutable,
}

impl fmt::Display for ContainerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContainerError::TooShort => f.write_str("the share's file is shorter than its header says"),
            ContainerError::UnknownVersion(version) => {
                write!(f, "the share's file has the unknown version {version}")
            }
            ContainerError::Mutable => f.write_str("the share's file holds a mutable share"),
        }
    }
}

impl core::error::Error for ContainerError {}

/// The data's length as a header at rest states it.
pub(super) fn saturated(data_len: u64) -> u32 {
    u32::try_from(data_len).unwrap_or(LENGTH_SATURATED)
}

/// A lease secret as containers of a schema store it.
pub(super) fn stored(schema: Schema, secret: &LeaseSecret) -> Secret<32> {
    match schema {
        Schema::Plain => secret.clone(),
        Schema::Hashed => Secret::from_bytes(Blake2b256::digest(secret.expose()).into()),
    }
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*word), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const BIG: u64 = 5 << 32;

    fn layout(stated_len: u32, lease_count: u32, file_len: u64) -> Result<(u64, u32), ContainerError> {
        let header = ContainerHeader { schema: Schema::Hashed, stated_len, lease_count };
        header.layout(file_len).map(|layout| (layout.data_len(), layout.leases()))
    }

    #[test]
    fn a_header_has_one_form() {
        let header = ContainerHeader::new(0x0102_0304, 5);
        assert_eq!(header.encode(), [0, 0, 0, 2, 1, 2, 3, 4, 0, 0, 0, 5]);
        assert_eq!(ContainerHeader::decode(&header.encode()), Ok(header));
        assert_eq!(ContainerHeader::new(1 << 40, 1).stated_len, u32::MAX);
        for len in 0..12 {
            assert_eq!(ContainerHeader::decode(&header.encode()[..len]), Err(ContainerError::TooShort));
        }
        for version in [0, 3, u32::MAX] {
            let mut bytes = header.encode();
            bytes[..4].copy_from_slice(&version.to_be_bytes());
            assert_eq!(ContainerHeader::decode(&bytes), Err(ContainerError::UnknownVersion(version)));
        }
    }

    #[test]
    fn the_data_ends_where_the_header_says() {
        for (what, stated, count, file_len, expected) in [
            ("whole", 100, 2, 12 + 100 + 144, Ok((100, 2))),
            ("no lease", 100, 0, 112, Ok((100, 0))),
            ("empty", 0, 1, 12 + 72, Ok((0, 1))),
            ("a lease appended, not counted", 100, 1, 12 + 100 + 144, Ok((100, 1))),
            ("a lease appended in part", 100, 1, 12 + 100 + 72 + 17, Ok((100, 1))),
            ("a lease counted, not appended", 100, 2, 12 + 100 + 72, Ok((100, 1))),
            ("more leases counted than fit", 100, u32::MAX, 12 + 100 + 72, Ok((100, 1))),
            ("cut inside the data", 100, 1, 12 + 99, Err(ContainerError::TooShort)),
            ("cut inside the header", 0, 0, 11, Err(ContainerError::TooShort)),
            ("long", u32::MAX, 2, 12 + BIG + 144, Ok((BIG, 2))),
            ("long, a lease half added", BIG as u32 + 7, 1, 12 + BIG + 7 + 144, Ok((BIG + 7, 1))),
            ("long by the header only", u32::MAX, 1, 12 + 100 + 72, Err(ContainerError::TooShort)),
            ("long, more leases than file", u32::MAX, u32::MAX, 12 + BIG, Err(ContainerError::TooShort)),
        ] {
            assert_eq!(layout(stated, count, file_len), expected, "{what}");
        }
    }

    #[test]
    fn a_lease_knows_its_owner() {
        let (renew, cancel) = (Secret::from_bytes([1; 32]), Secret::from_bytes([2; 32]));
        for schema in [Schema::Plain, Schema::Hashed] {
            let lease = Lease::new(schema, &renew, &cancel, 77);
            assert_eq!(Lease::decode(&lease.encode()), lease);
            assert!(lease.is_renewed_by(schema, &renew) && !lease.is_renewed_by(schema, &cancel));
            let other = Lease::new(schema, &cancel, &renew, 5);
            let records: Vec<u8> = [other.encode(), lease.encode(), lease.encode()].concat();
            assert_eq!(find_lease(&records, schema, &renew), Some((1, 77)));
            assert_eq!(find_lease(&records[..143], schema, &renew), None);
            // What is stored does not itself renew a hashed lease.
            assert_eq!(find_lease(&records, schema, &lease.renew).is_some(), schema == Schema::Plain);
        }
    }

    proptest! {
        #[test]
        fn no_container_holds_more_than_its_file(bytes in any::<[u8; 12]>(), small: u16, file_len: u64) {
            for file_len in [u64::from(small), file_len] {
                let Ok(layout) = ContainerHeader::decode(&bytes).and_then(|header| header.layout(file_len)) else {
                    continue;
                };
                prop_assert!(layout.lease_offset(layout.leases()) <= file_len);
                prop_assert!(layout.leases() <= u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]));
            }
        }
    }
}
