//! One child's entry: as it is packed in a table, and as it is looked at.
//!
//! A packed entry is a netstring of four netstrings: the name in UTF-8, the read capability, the
//! encrypted write capability, the metadata in JSON. More may follow inside the outer netstring;
//! the peer does not look at it, and neither do we.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use bytes::Bytes;

use super::child::{Child, ChildError};
use super::crypt;
use super::metadata::{Metadata, MetadataError};
use super::name::{Name, NameError};
use super::table::Access;
use crate::netstring::{self, NetstringError};

/// An entry as a reader of the directory sees it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it leads to, or why that cannot be used. An entry that cannot be used can still be
    /// replaced, renamed and unlinked, and otherwise stays as it is.
    pub child: Result<Child, ChildError>,
    /// What the directory says about the link, or why that cannot be read.
    pub metadata: Result<Metadata, MetadataError>,
    pub(super) packed: Packed,
}

impl Entry {
    pub(super) fn open(packed: &Packed, access: &Access) -> Entry {
        Entry {
            child: packed.child(access),
            metadata: Metadata::parse_bytes(packed.metadata()),
            packed: packed.clone(),
        }
    }

    /// Whether both lead to the same: by the same capabilities, or, if these cannot be used, by the
    /// same bytes.
    pub fn same_child(&self, other: &Entry) -> bool {
        match (&self.child, &other.child) {
            (Ok(a), Ok(b)) => a == b,
            (Err(_), Err(_)) => self.packed.links_like(&other.packed),
            _ => false,
        }
    }

    /// Whether the metadata of both is the same, apart from the times that directories keep.
    pub fn same_metadata(&self, other: &Entry) -> bool {
        match (&self.metadata, &other.metadata) {
            (Ok(a), Ok(b)) => a.same_apart_from_times(b),
            (Err(_), Err(_)) => self.packed.metadata() == other.packed.metadata(),
            _ => false,
        }
    }
}

/// An entry in the bytes of a table. It is looked into only when somebody asks; a table of
/// thousands is written again without that.
#[derive(Clone)]
pub(super) struct Packed {
    /// The whole netstring, with its frame.
    framed: Bytes,
    /// Where the fields lie in it.
    read: Range<usize>,
    write: Range<usize>,
    metadata: Range<usize>,
}

/// Why an entry of a table cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryError {
    /// The bytes are not the netstrings they should be.
    Netstring(NetstringError),
    /// The name is not UTF-8.
    NameNotText,
    /// The name is too long.
    Name(NameError),
    /// The directory is immutable, but the entry has a write capability.
    WriteCapInImmutable,
}

impl From<NetstringError> for EntryError {
    fn from(error: NetstringError) -> EntryError {
        EntryError::Netstring(error)
    }
}

impl Packed {
    /// Whether it says that it was linked later than the other, or at some time that the other does not tell.
    pub(super) fn linked_after(&self, other: &Packed) -> bool {
        let linked = |packed: &Packed| -> Option<f64> {
            let time = Metadata::parse_bytes(packed.metadata()).ok()?.link_changed()?;
            time.parse().ok().filter(|time: &f64| time.is_finite())
        };
        match (linked(self), linked(other)) {
            (Some(here), Some(there)) => here > there,
            (here, _) => here.is_some(),
        }
    }

    /// Takes the entry at the front of `table` off it; gives it with its name.
    pub(super) fn take(table: &mut Bytes) -> Result<(Name, Packed), EntryError> {
        let (content, rest) = netstring::take(table, table.len())?;
        let framed_len = table.len() - rest.len();

        // Places are counted from the end: behind a field are its comma, what is left, and the comma
        // of the frame.
        let mut left = content;
        let mut field = || -> Result<Range<usize>, EntryError> {
            let (field, after) = netstring::take(left, left.len())?;
            left = after;
            let end = framed_len - 1 - after.len() - 1;
            Ok(end - field.len()..end)
        };
        let name = field()?;
        let (read, write, metadata) = (field()?, field()?, field()?);
        let name = core::str::from_utf8(&table[name]).map_err(|_| EntryError::NameNotText)?;
        let name = Name::existing(name).map_err(EntryError::Name)?;
        Ok((name, Packed { framed: table.split_to(framed_len), read, write, metadata }))
    }

    /// Packs an entry: the read capability, the write capability already encrypted, the metadata.
    pub(super) fn new(name: &Name, read: &[u8], write: &[u8], metadata: &str) -> Packed {
        let fields = [name.as_str().as_bytes(), read, write, metadata.as_bytes()];
        let len = fields.iter().map(|field| netstring::encoded_len(field.len())).sum();
        let mut content = Vec::with_capacity(len);
        fields.iter().for_each(|field| netstring::write(&mut content, field));
        let mut framed = Vec::with_capacity(netstring::encoded_len(len));
        netstring::write(&mut framed, &content);
        let (_, packed) = Packed::take(&mut Bytes::from(framed)).expect("an entry just written");
        packed
    }

    /// Packs a child under a name.
    pub(super) fn of_child(name: &Name, child: &Child, metadata: &Metadata, access: &Access) -> Packed {
        let (write, read) = child.slots(access.kind());
        let write = match access {
            Access::Write(key) => crypt::encrypt(&write, key),
            Access::Read | Access::Immutable => Vec::new(),
        };
        Packed::new(name, read.as_bytes(), &write, &metadata.to_json())
    }

    /// The same link under another name, or with other metadata. Its capabilities stay as they are
    /// unless the metadata forbids writing.
    pub(super) fn relinked(&self, name: &Name, metadata: &Metadata, access: &Access) -> Packed {
        let json: String = metadata.to_json();
        match (access, metadata.no_write()) {
            (Access::Write(key), true) => match self.child(access) {
                Ok(child) => Packed::of_child(name, &child.read_only(), metadata, access),
                Err(_) => Packed::new(name, self.read(), &crypt::encrypt("", key), &json),
            },
            _ => Packed::new(name, self.read(), &self.framed[self.write.clone()], &json),
        }
    }

    pub(super) fn child(&self, access: &Access) -> Result<Child, ChildError> {
        let kind = access.kind();
        match access {
            Access::Write(key) => {
                let write = crypt::decrypt(&self.framed[self.write.clone()], key);
                Child::from_table(&write, self.read(), kind)
            }
            Access::Read | Access::Immutable => Child::from_table(b"", self.read(), kind),
        }
    }

    /// The bytes of the entry with its frame.
    pub(super) fn framed(&self) -> &Bytes {
        &self.framed
    }

    pub(super) fn has_write_field(&self) -> bool {
        !self.write.is_empty()
    }

    fn links_like(&self, other: &Packed) -> bool {
        let fields = |packed: &Packed| (packed.read.clone(), packed.write.clone());
        let ((read, write), (other_read, other_write)) = (fields(self), fields(other));
        self.framed[read] == other.framed[other_read] && self.framed[write] == other.framed[other_write]
    }

    fn read(&self) -> &[u8] {
        &self.framed[self.read.clone()]
    }

    fn metadata(&self) -> &[u8] {
        &self.framed[self.metadata.clone()]
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Packed({} bytes)", self.framed.len())
    }
}

impl fmt::Display for EntryError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Netstring(error) => error.fmt(out),
            Self::NameNotText => write!(out, "its name is not UTF-8"),
            Self::Name(error) => error.fmt(out),
            Self::WriteCapInImmutable => {
                write!(out, "the directory is immutable, but has something to write to")
            }
        }
    }
}

impl core::error::Error for EntryError {}
