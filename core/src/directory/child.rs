//! What a link leads to: a known file or directory, or something of an unknown kind.

use alloc::string::String;
use core::fmt;

use super::cap::{Cap, CapKind, Demand, IMMUTABLE_MARK, READ_ONLY_MARK};

/// Whether a directory can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DirectoryKind {
    /// Kept in a mutable file. Takes children of any kind.
    Mutable,
    /// Kept in an immutable file or a literal, and deeply so: everything reached through it is
    /// immutable, too.
    Immutable,
}

/// What a child is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChildKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// Nobody knows.
    Unknown,
}

/// What a link leads to. `Debug` shows no capability.
///
/// The rules are the peer's (`nodemaker.py`, `unknown.py`, `uri.py`):
///
/// - A known child is what its strongest capability says; what goes with it follows from that.
/// - An unknown child is kept as the pair of capabilities it came as. Which of them allows writing
///   cannot be seen, so a lone one is taken only with a mark: `ro.` says that it allows no writing,
///   `imm.` that what it leads to never changes. In the table the mark `ro.` is left out, because
///   the place implies it, and in an immutable directory `imm.` too.
/// - A capability with a mark, or in an immutable directory, that is known to be more than the mark
///   or the directory allows is refused, and so is one that is malformed.
///
/// Where we differ: the peer does not show a refused child that it finds in a table, and drops it
/// when it next writes the table. We show that it is there, but no capability of it, and keep it. A
/// write capability that stands open in the place for reading is narrowed before it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    write: Option<Cap>,
    read: Option<Cap>,
    kind: ChildKind,
}

/// Why capabilities do not make a child of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChildError {
    /// No capability was given. (There are such entries, and they stay, but we do not make them.)
    Nothing,
    /// Longer than any capability.
    TooLong {
        /// In bytes.
        len: usize,
    },
    /// Not UTF-8, or with control characters.
    NotText,
    /// It begins like a capability of a known kind, but is not one.
    Malformed {
        /// How it begins.
        kind: &'static str,
    },
    /// A directory takes what can be read; this only verifies.
    VerifyOnly,
    /// Marked as read-only, but it allows writing.
    NotReadOnly,
    /// In an immutable directory or marked as immutable, but it is not.
    NotImmutable,
    /// Of unknown kind, without a mark or a second capability for reading: it may allow writing, and
    /// there would be nothing to give to readers of the directory.
    UnknownRights,
    /// Something to write to cannot be marked as immutable.
    WritableImmutable,
}

impl Child {
    /// A child to be linked, from the capabilities its user gives: one for writing, one for reading,
    /// or both. A known one may stand in either place, and then the other is ignored.
    ///
    /// # Errors
    /// If they are malformed or do not go together or into a directory of this kind.
    pub fn new(write: Option<&str>, read: Option<&str>, kind: DirectoryKind) -> Result<Child, ChildError> {
        let (write, read) = (given(write), given(read));
        // A slip of the pen in a known kind is not taken for something unknown.
        Cap::parse(write.or(read).ok_or(ChildError::Nothing)?, kind.demand())?;
        Child::of_slots(write, read, kind)
    }

    /// The child of an entry that others may have written.
    pub(super) fn from_table(write: &[u8], read: &[u8], kind: DirectoryKind) -> Result<Child, ChildError> {
        let (write, read) = (given(Some(text(write)?)), given(Some(text(read)?)));
        let child = Child::of_slots(write, read, kind)?;
        // What stands in the place for reading gives no other right, whatever it is.
        Ok(if write.is_none() { child.read_only() } else { child })
    }

    fn of_slots(write: Option<&str>, read: Option<&str>, kind: DirectoryKind) -> Result<Child, ChildError> {
        let Some(strongest) = write.or(read) else {
            return Ok(Child { write: None, read: None, kind: ChildKind::Unknown });
        };
        match Cap::parse(strongest, kind.demand()) {
            Ok(cap) if cap.kind() != CapKind::Unknown => Ok(Child::known(cap)),
            parsed => Child::unknown(write, read, kind, parsed.err()),
        }
    }

    fn known(cap: Cap) -> Child {
        let kind = match cap.kind() {
            CapKind::File(_) => ChildKind::File,
            CapKind::Directory(_) => ChildKind::Directory,
            CapKind::Unknown => ChildKind::Unknown,
        };
        let read = Some(cap.read_only());
        Child { write: cap.allows_writing().then_some(cap), read, kind }
    }

    /// `refused` is why the stronger one is not taken as what it looks like.
    fn unknown(
        write: Option<&str>,
        read: Option<&str>,
        kind: DirectoryKind,
        refused: Option<ChildError>,
    ) -> Result<Child, ChildError> {
        let marked = |cap: &str| cap.starts_with(READ_ONLY_MARK) || cap.starts_with(IMMUTABLE_MARK);
        let (write, read) = match (write, read, kind) {
            (None, read, _) => (None, read),
            (Some(write), None, DirectoryKind::Mutable) if marked(write) => (None, Some(write)),
            (Some(write), None, DirectoryKind::Immutable) if write.starts_with(IMMUTABLE_MARK) => {
                (None, Some(write))
            }
            (Some(_), None, _) => return Err(refused.unwrap_or(ChildError::UnknownRights)),
            (Some(_), Some(_), DirectoryKind::Immutable) => {
                return Err(refused.unwrap_or(ChildError::NotImmutable));
            }
            (Some(_), Some(read), DirectoryKind::Mutable) if read.starts_with(IMMUTABLE_MARK) => {
                return Err(ChildError::WritableImmutable);
            }
            (Some(write), Some(read), DirectoryKind::Mutable) => (Some(write), Some(read)),
        };
        let read = match read {
            None => None,
            Some(read) => {
                // Beside an unknown one, what is known to allow writing is no read capability.
                let demand = match (write, kind.demand()) {
                    (Some(_), Demand::Nothing) => Demand::ReadOnly,
                    (_, demand) => demand,
                };
                Cap::parse(read, demand)?;
                Some(mark(read, kind))
            }
        };
        let write = write.map(|write| Cap::unknown(String::from(write)));
        Ok(Child { write, read, kind: ChildKind::Unknown })
    }

    /// What remains of the child without the right to write.
    pub fn read_only(&self) -> Child {
        Child { write: None, ..self.clone() }
    }

    /// What it is.
    pub fn kind(&self) -> ChildKind {
        self.kind
    }

    /// The right to write, if it comes with it.
    pub fn write_cap(&self) -> Option<&Cap> {
        self.write.as_ref()
    }

    /// The right to read; unknown ones have their mark. `None` only if the entry has nothing that
    /// this reader of the directory may see.
    pub fn read_cap(&self) -> Option<&Cap> {
        self.read.as_ref()
    }

    /// Whether an immutable directory takes it.
    pub(super) fn fits(&self, kind: DirectoryKind) -> Result<(), ChildError> {
        match (kind, &self.write, &self.read) {
            (DirectoryKind::Mutable, ..) => Ok(()),
            (DirectoryKind::Immutable, Some(_), _) => Err(ChildError::NotImmutable),
            (DirectoryKind::Immutable, None, None) => Ok(()),
            (DirectoryKind::Immutable, None, Some(read)) => {
                Cap::parse(read.expose(), Demand::Immutable).map(|_| ())
            }
        }
    }

    /// What stands in the table for it: the capability for writing, not yet encrypted, and the one
    /// for reading.
    pub(super) fn slots(&self, kind: DirectoryKind) -> (&str, &str) {
        let write = self.write.as_ref().map_or("", Cap::expose);
        let read = self.read.as_ref().map_or("", Cap::expose);
        let read = match (read.strip_prefix(IMMUTABLE_MARK), kind) {
            (Some(bare), DirectoryKind::Immutable) => bare,
            _ => read.strip_prefix(READ_ONLY_MARK).unwrap_or(read),
        };
        (write, read)
    }
}

impl DirectoryKind {
    fn demand(self) -> Demand {
        match self {
            Self::Mutable => Demand::Nothing,
            Self::Immutable => Demand::Immutable,
        }
    }
}

fn given(cap: Option<&str>) -> Option<&str> {
    cap.filter(|cap| !cap.is_empty())
}

/// A capability in a table; spaces at its end are there to hide its length.
fn text(cap: &[u8]) -> Result<&str, ChildError> {
    core::str::from_utf8(cap).map(|cap| cap.trim_end_matches(' ')).map_err(|_| ChildError::NotText)
}

/// An unknown capability for reading with the mark that its place implies.
fn mark(read: &str, kind: DirectoryKind) -> Cap {
    let mut marked = String::with_capacity(read.len() + IMMUTABLE_MARK.len());
    match kind {
        DirectoryKind::Immutable => {
            marked.push_str(IMMUTABLE_MARK);
            let bare = read.strip_prefix(IMMUTABLE_MARK).or_else(|| read.strip_prefix(READ_ONLY_MARK));
            marked.push_str(bare.unwrap_or(read));
        }
        DirectoryKind::Mutable => {
            if !read.starts_with(IMMUTABLE_MARK) && !read.starts_with(READ_ONLY_MARK) {
                marked.push_str(READ_ONLY_MARK);
            }
            marked.push_str(read);
        }
    }
    Cap::unknown(marked)
}

impl fmt::Display for ChildError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => write!(out, "there is no capability to link"),
            Self::TooLong { len } => write!(out, "{len} characters are too many for a capability"),
            Self::NotText => write!(out, "a capability is not UTF-8 or has control characters"),
            Self::Malformed { kind } => write!(out, "this {kind}... capability is damaged"),
            Self::VerifyOnly => write!(out, "a capability that only verifies cannot be linked"),
            Self::NotReadOnly => {
                write!(out, "a capability is marked as read-only, but allows writing")
            }
            Self::NotImmutable => {
                write!(out, "an immutable directory takes only what is immutable itself")
            }
            Self::UnknownRights => write!(
                out,
                "a capability of unknown kind needs one for reading beside it, or the mark ro. or imm."
            ),
            Self::WritableImmutable => {
                write!(out, "what is marked as immutable cannot have a capability for writing")
            }
        }
    }
}

impl core::error::Error for ChildError {}
