//! Directories: tables of names, capabilities and metadata, kept in files.
//!
//! This is the pure part: bytes in, bytes out. A mutable directory is a table in a mutable file, an
//! immutable one a table in an immutable file or in a literal; fetching and storing these files is
//! done elsewhere. The format is that of `allmydata/dirnode.py`:
//!
//! ```text
//! table    = entry entry ...                     sorted by name, nothing between them
//! entry    = netstring(name read write metadata) each of these a netstring
//! name     = UTF-8, NFC                          see `Name`
//! read     = a capability for reading            see `Child`; may end with spaces
//! write    = salt ciphertext MAC                 of a capability for writing, for who has the
//!                                                directory's write key; empty in immutable ones
//! metadata = a JSON object                       see `Metadata`
//! ```
//!
//! [`Table`] reads and writes it, [`Entry`] is one line of it, and [`Edit`] changes it.

mod apply;
mod child;
mod crypt;
mod edit;
mod entry;
mod json;
mod metadata;
mod name;
mod table;
#[cfg(test)]
mod tests;

pub use child::{Child, ChildError, ChildKind, DirectoryKind};
pub use edit::{Edit, EditError, EditProblem, Found, Move, Only, Outcome, Replace, Seen};
pub use entry::{Entry, EntryError};
pub use metadata::{Metadata, MetadataError};
pub use name::{Name, NameError, Path, PathError};
pub use table::{Access, NewTableError, Table, TableError};
