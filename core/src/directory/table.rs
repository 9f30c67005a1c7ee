//! The table of a directory: all its entries, packed one after the other.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::child::{Child, ChildError, DirectoryKind};
use super::entry::{Entry, EntryError, Packed};
use super::metadata::Metadata;
use super::name::{Name, NameError};
use crate::limits::{DIRECTORY_ENTRIES_MAX, DIRECTORY_LEN_MAX};
use crate::secret::WriteKey;

/// What the directory's own capability allows its holder, which decides what is seen of its
/// children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// To write: children come with the right to write to them, as they were linked. The key is
    /// that of the mutable file that holds the table.
    Write(WriteKey),
    /// To read. That is transitive: every child comes as its read capability.
    Read,
    /// To read an immutable directory (`URI:DIR2-CHK:`, `URI:DIR2-LIT:`).
    Immutable,
}

impl Access {
    /// Whether the directory can change.
    pub fn kind(&self) -> DirectoryKind {
        match self {
            Self::Write(_) | Self::Read => DirectoryKind::Mutable,
            Self::Immutable => DirectoryKind::Immutable,
        }
    }
}

/// The content of a directory, for one holder of a capability of it.
///
/// An entry is a slice of the bytes it was read from until somebody changes it, so that reading and
/// writing a table copies bytes, but decrypts, decodes and encodes only what is asked for, and
/// what nobody touches is written back as it was.
#[derive(Clone)]
pub struct Table {
    pub(super) access: Access,
    pub(super) entries: BTreeMap<Name, Packed>,
    /// Bytes of all entries.
    pub(super) len: usize,
    shadowed: usize,
}

/// Why some bytes are not the table of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TableError {
    /// Longer than [`DIRECTORY_LEN_MAX`].
    TooLong {
        /// In bytes.
        len: usize,
    },
    /// More children than [`DIRECTORY_ENTRIES_MAX`].
    TooMany,
    /// An entry cannot be read.
    Entry {
        /// Which, from 0.
        at: usize,
        /// Why.
        problem: EntryError,
    },
}

/// Why children do not make a new directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewTableError {
    /// A name would not be given to a child.
    Name {
        /// The name.
        name: Name,
        /// What is wrong with it.
        problem: NameError,
    },
    /// A child does not belong into a directory of this kind.
    Child {
        /// Its name.
        name: Name,
        /// Why.
        problem: ChildError,
    },
    /// A name comes twice (perhaps spelled with different code points).
    Twice {
        /// The name.
        name: Name,
    },
    /// There are too many, or their entries are too long.
    TooLarge,
}

impl Table {
    /// The table of an empty directory.
    pub fn empty(access: Access) -> Table {
        Table { access, entries: BTreeMap::new(), len: 0, shadowed: 0 }
    }

    /// The table of a new directory with these children. The metadata is written as it is given:
    /// as the peer does, without setting any time.
    ///
    /// With [`Access::Read`] the table would have no write capabilities; that is for tests.
    ///
    /// # Errors
    /// If a name or child may not be there, or there is too much.
    pub fn with_children(
        access: Access,
        children: impl IntoIterator<Item = (Name, Child, Metadata)>,
    ) -> Result<Table, NewTableError> {
        let mut table = Table::empty(access);
        for (name, child, metadata) in children {
            if let Some(problem) = name.problem() {
                return Err(NewTableError::Name { name, problem });
            }
            if let Err(problem) = child.fits(table.access.kind()) {
                return Err(NewTableError::Child { name, problem });
            }
            if table.entries.contains_key(&name) {
                return Err(NewTableError::Twice { name });
            }
            let packed = Packed::of_child(&name, &child, &metadata, &table.access);
            if !table.has_room_for(packed.framed().len()) {
                return Err(NewTableError::TooLarge);
            }
            table.put(name, packed);
        }
        Ok(table)
    }

    /// Reads a table.
    ///
    /// Of several entries whose names are the same after normalisation the last one counts whose
    /// child can be used, as for the peer; the others are gone when the table is next changed.
    ///
    /// # Errors
    /// If the bytes are not a table: lengths that do not fit, a name that is not UTF-8, a write
    /// capability in an immutable directory. That capabilities or metadata cannot be used is a
    /// matter of the single [`Entry`] (the peer gives up the whole directory for some of these).
    pub fn unpack(packed: Bytes, access: Access) -> Result<Table, TableError> {
        if packed.len() > DIRECTORY_LEN_MAX {
            return Err(TableError::TooLong { len: packed.len() });
        }
        let mut table = Table::empty(access);
        let mut rest = packed;
        let mut at = 0;
        while !rest.is_empty() {
            if at == DIRECTORY_ENTRIES_MAX {
                return Err(TableError::TooMany);
            }
            let blame = |problem| TableError::Entry { at, problem };
            let (name, entry) = Packed::take(&mut rest).map_err(blame)?;
            if table.access == Access::Immutable && entry.has_write_field() {
                return Err(blame(EntryError::WriteCapInImmutable));
            }
            table.add_or_shadow(name, entry);
            at += 1;
        }
        Ok(table)
    }

    /// The bytes of the table, sorted by name.
    pub fn pack(&self) -> Vec<u8> {
        let mut packed = Vec::with_capacity(self.len);
        self.entries.values().for_each(|entry| packed.extend_from_slice(entry.framed()));
        packed
    }

    /// The length of [`pack`](Table::pack) in bytes.
    pub fn packed_len(&self) -> usize {
        self.len
    }

    /// What its holder may do.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// How many children there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no children.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries were read that others of the same name hide.
    pub fn shadowed(&self) -> usize {
        self.shadowed
    }

    /// The entry of this name.
    pub fn get(&self, name: &Name) -> Option<Entry> {
        self.entries.get(name).map(|packed| Entry::open(packed, &self.access))
    }

    /// The names in their order; costs nothing, unlike [`iter`](Table::iter).
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.entries.keys()
    }

    /// All entries by name. Each is decrypted and decoded when its turn comes.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, Entry)> {
        self.entries.iter().map(|(name, packed)| (name, Entry::open(packed, &self.access)))
    }

    /// Takes over the entries that another version of the same directory has under names that this one
    /// has not, or that were linked later there. What else they have both stays as it is here.
    pub fn absorb(&mut self, other: &Table) {
        for (name, entry) in &other.entries {
            let is_wanted = match self.entries.get(name) {
                None => true,
                Some(own) => own.framed() != entry.framed() && entry.linked_after(own),
            };
            if is_wanted && self.has_room_for(entry.framed().len()) {
                self.put(name.clone(), entry.clone());
            }
        }
    }

    /// Whether another entry of `len` bytes is within the bounds.
    pub(super) fn has_room_for(&self, len: usize) -> bool {
        self.entries.len() < DIRECTORY_ENTRIES_MAX && self.len + len <= DIRECTORY_LEN_MAX
    }

    pub(super) fn put(&mut self, name: Name, entry: Packed) {
        self.len += entry.framed().len();
        if let Some(old) = self.entries.insert(name, entry) {
            self.len -= old.framed().len();
        }
    }

    pub(super) fn remove(&mut self, name: &Name) {
        if let Some(old) = self.entries.remove(name) {
            self.len -= old.framed().len();
        }
    }

    fn add_or_shadow(&mut self, name: Name, entry: Packed) {
        if let Some(old) = self.entries.get(&name) {
            self.shadowed += 1;
            if entry.child(&self.access).is_err() && old.child(&self.access).is_ok() {
                return;
            }
        }
        self.put(name, entry);
    }
}

/// Only counts: names are private.
impl fmt::Debug for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Table({} children, {} bytes, {:?})", self.len(), self.len, self.access)
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len } => {
                write!(out, "a directory of {len} bytes is larger than {DIRECTORY_LEN_MAX}")
            }
            Self::TooMany => write!(out, "a directory of more than {DIRECTORY_ENTRIES_MAX} children"),
            Self::Entry { at, problem } => {
                write!(out, "this is not a directory, or it is damaged: entry {}: {problem}", at + 1)
            }
        }
    }
}

impl core::error::Error for TableError {}

impl NewTableError {
    /// What is wrong, without the name of a child: for those who may know that a directory could not be
    /// made, but not what was to be in it.
    pub fn without_name(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|out| self.tell_of(&"a child", out))
    }

    /// Says it of `name`.
    fn tell_of(&self, name: &dyn fmt::Display, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { problem, .. } => write!(out, "{name}: {problem}"),
            Self::Child { problem, .. } => write!(out, "{name}: {problem}"),
            Self::Twice { .. } => write!(out, "{name} is there twice"),
            Self::TooLarge => write!(out, "these are too many children for one directory"),
        }
    }
}

impl fmt::Display for NewTableError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, .. } | Self::Child { name, .. } | Self::Twice { name } => {
                self.tell_of(name, out)
            }
            Self::TooLarge => self.tell_of(&"", out),
        }
    }
}

impl core::error::Error for NewTableError {}
