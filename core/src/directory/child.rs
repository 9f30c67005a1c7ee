//! What a link leads to: a known file or directory, or something of an unknown kind.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt::{self, Write};

use zeroize::Zeroizing;

use crate::capability::{Capability, CapabilityError, Mark, UnknownCap};

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
/// - An unknown child is kept as the pair of capabilities it came as, to the letter. Which of them
///   allows writing cannot be seen, so a lone one is taken only with a mark: `ro.` says that it
///   allows no writing, `imm.` that what it leads to never changes. In the table the mark `ro.` is
///   left out, because the place implies it, and in an immutable directory `imm.` too.
/// - A capability that only verifies, of a mutable file or a directory, counts as unknown: nothing
///   can be read with it.
/// - A capability with a mark, or in an immutable directory, that is known to be more than the mark
///   or the directory allows is refused, and so is one that is malformed.
///
/// Where we differ: the peer does not show a refused child that it finds in a table, and drops it
/// when it next writes the table. We show that it is there, but no capability of it, and keep it. A
/// write capability that stands open in the place for reading is narrowed before it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child(Target);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// The strongest capability: one that reads, never an unknown one.
    Known(Capability),
    Unknown {
        write: Option<UnknownCap>,
        /// Always with a mark.
        read: Option<UnknownCap>,
    },
}

/// Why capabilities do not make a child of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChildError {
    /// No capability was given. (There are such entries, and they stay, but we do not make them.)
    Nothing,
    /// It is not UTF-8.
    NotText,
    /// It is malformed, or grants more than its mark or an immutable directory allows.
    Capability(CapabilityError),
    /// A directory takes what can be read; this only verifies.
    VerifyOnly,
    /// There is a capability for writing, but the directory is immutable.
    WritableInImmutable,
    /// Of unknown kind, without a mark or a second capability for reading: it may allow writing, and
    /// there would be nothing to give to readers of the directory.
    UnknownRights,
    /// Something to write to cannot be marked as immutable.
    WritableImmutable,
}

impl From<CapabilityError> for ChildError {
    fn from(error: CapabilityError) -> ChildError {
        ChildError::Capability(error)
    }
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
        let strongest = parse(write.or(read).ok_or(ChildError::Nothing)?, kind)?;
        Child::of_parsed(Ok(strongest), write, read, kind)
    }

    /// A child to be linked, from a capability that somebody holds.
    ///
    /// # Errors
    /// If no directory of this kind takes it.
    pub fn of(cap: Capability, kind: DirectoryKind) -> Result<Child, ChildError> {
        match usable(cap, kind)? {
            Usable::Known(cap) => Ok(Child(Target::Known(cap))),
            Usable::Not(cap) => {
                let text = text_of(&cap);
                Child::new(Some(&text), None, kind)
            }
        }
    }

    /// The child of an entry that others may have written.
    pub(super) fn from_table(write: &[u8], read: &[u8], kind: DirectoryKind) -> Result<Child, ChildError> {
        let (write, read) = (given(Some(text(write)?)), given(Some(text(read)?)));
        let Some(strongest) = write.or(read) else {
            return Ok(Child(Target::Unknown { write: None, read: None }));
        };
        let child = Child::of_parsed(parse(strongest, kind), write, read, kind)?;
        // What stands in the place for reading gives no other right, whatever it is.
        Ok(if write.is_none() { child.read_only() } else { child })
    }

    /// `strongest` is what became of the write capability, or else the read capability.
    fn of_parsed(
        strongest: Result<Usable, ChildError>,
        write: Option<&str>,
        read: Option<&str>,
        kind: DirectoryKind,
    ) -> Result<Child, ChildError> {
        match strongest {
            Ok(Usable::Known(cap)) => Ok(Child(Target::Known(cap))),
            Ok(Usable::Not(_)) => Child::unknown(write, read, kind, None),
            Err(error) => Child::unknown(write, read, kind, Some(error)),
        }
    }

    /// `refused` is why the stronger one is not taken as what it looks like.
    fn unknown(
        write: Option<&str>,
        read: Option<&str>,
        kind: DirectoryKind,
        refused: Option<ChildError>,
    ) -> Result<Child, ChildError> {
        let refused = |otherwise| Err(refused.unwrap_or(otherwise));
        let write = write.map(UnknownCap::keep).transpose()?;
        let read = match (&write, read) {
            (None, None) => None,
            (None, Some(read)) => Some(weaker(read, kind)?),
            (Some(write), None) => match (write.mark(), kind) {
                (Some(Mark::Immutable), _) | (Some(Mark::ReadOnly), DirectoryKind::Mutable) => {
                    let read = Some(weaker(&text_of(write), kind)?);
                    return Ok(Child(Target::Unknown { write: None, read }));
                }
                _ => return refused(ChildError::UnknownRights),
            },
            (Some(_), Some(read)) => {
                if kind == DirectoryKind::Immutable {
                    return refused(ChildError::WritableInImmutable);
                }
                let read = UnknownCap::keep(read)?;
                if read.mark() == Some(Mark::Immutable) {
                    return Err(ChildError::WritableImmutable);
                }
                // Beside an unknown one, what is known to allow writing is no read capability.
                Some(weaker(&text_of(&read.marked(Mark::ReadOnly)), kind)?)
            }
        };
        Ok(Child(Target::Unknown { write, read }))
    }

    /// What remains of the child without the right to write.
    pub fn read_only(&self) -> Child {
        Child(match &self.0 {
            Target::Known(cap) => Target::Known(cap.read_only().expect("a known kind can be narrowed")),
            Target::Unknown { write: _, read } => Target::Unknown { write: None, read: read.clone() },
        })
    }

    /// What it is.
    pub fn kind(&self) -> ChildKind {
        match &self.0 {
            Target::Known(cap) if cap.is_directory() => ChildKind::Directory,
            Target::Known(_) => ChildKind::File,
            Target::Unknown { .. } => ChildKind::Unknown,
        }
    }

    /// The strongest capability, to work with; `None` for an unknown child.
    pub fn capability(&self) -> Option<&Capability> {
        match &self.0 {
            Target::Known(cap) => Some(cap),
            Target::Unknown { .. } => None,
        }
    }

    /// The right to write, if it comes with it.
    pub fn write_cap(&self) -> Option<Capability> {
        match &self.0 {
            Target::Known(cap) => cap.is_writable().then(|| cap.clone()),
            Target::Unknown { write, .. } => write.clone().map(Capability::Unknown),
        }
    }

    /// The right to read; unknown ones have their mark. `None` only if the entry has nothing that
    /// this reader of the directory may see. Made when it is asked for.
    pub fn read_cap(&self) -> Option<Capability> {
        match &self.0 {
            Target::Known(cap) => cap.read_only(),
            Target::Unknown { read, .. } => read.clone().map(Capability::Unknown),
        }
    }

    /// Whether a directory of this kind takes it.
    pub(super) fn fits(&self, kind: DirectoryKind) -> Result<(), ChildError> {
        match &self.0 {
            Target::Known(cap) => kind.check(cap),
            Target::Unknown { write: Some(_), .. } if kind == DirectoryKind::Immutable => {
                Err(ChildError::WritableInImmutable)
            }
            Target::Unknown { read: Some(read), .. } if kind == DirectoryKind::Immutable => {
                weaker(&text_of(read), kind).map(|_| ())
            }
            Target::Unknown { .. } => Ok(()),
        }
    }

    /// What stands in the table for it: the capability for writing, not yet encrypted, and the one
    /// for reading.
    pub(super) fn slots(&self, kind: DirectoryKind) -> (Zeroizing<String>, Zeroizing<String>) {
        let text = |cap: Option<Capability>| cap.map(|cap| text_of(&cap)).unwrap_or_default();
        match &self.0 {
            Target::Known(_) => (text(self.write_cap()), text(self.read_cap())),
            Target::Unknown { write, read } => {
                let read = read.as_ref().map_or("", |read| read.where_implied(kind.implies()));
                let write = write.as_ref().map(text_of).unwrap_or_default();
                (write, Zeroizing::new(read.to_owned()))
            }
        }
    }
}

impl DirectoryKind {
    /// What is said of a capability by standing in the place for reading.
    fn implies(self) -> Mark {
        match self {
            Self::Mutable => Mark::ReadOnly,
            Self::Immutable => Mark::Immutable,
        }
    }

    /// Whether a known capability may stand in such a directory.
    fn check(self, cap: &Capability) -> Result<(), ChildError> {
        match (self, cap.kind()) {
            (Self::Immutable, Some(kind)) => Ok(Mark::Immutable.check(kind)?),
            _ => Ok(()),
        }
    }
}

/// What a directory can do with a capability.
enum Usable {
    /// Follow it.
    Known(Capability),
    /// Only keep it.
    Not(Capability),
}

fn usable(cap: Capability, place: DirectoryKind) -> Result<Usable, ChildError> {
    place.check(&cap)?;
    match cap.kind() {
        None => Ok(Usable::Not(cap)),
        Some(kind) if !kind.only_verifies() => Ok(Usable::Known(cap)),
        Some(_) if matches!(cap, Capability::ChkVerify(_)) => Err(ChildError::VerifyOnly),
        Some(_) => Ok(Usable::Not(cap)),
    }
}

/// Reads a capability for a place.
fn parse(text: &str, place: DirectoryKind) -> Result<Usable, ChildError> {
    match text.parse() {
        Ok(cap) => usable(cap, place),
        // It looks like nothing we know, but may be something to others.
        Err(CapabilityError::NotACapability) => Ok(Usable::Not(UnknownCap::keep(text)?.into())),
        Err(error) => Err(error.into()),
    }
}

/// An unknown capability for reading, with the mark that its place implies. A known one must be no
/// more than that.
fn weaker(read: &str, place: DirectoryKind) -> Result<UnknownCap, ChildError> {
    parse(read, place)?;
    Ok(UnknownCap::keep(read)?.marked(place.implies()))
}

fn given(cap: Option<&str>) -> Option<&str> {
    cap.filter(|cap| !cap.is_empty())
}

/// A capability in a table; spaces at its end are there to hide its length.
fn text(cap: &[u8]) -> Result<&str, ChildError> {
    core::str::from_utf8(cap).map(|cap| cap.trim_end_matches(' ')).map_err(|_| ChildError::NotText)
}

/// The text of a capability, wiped when dropped.
fn text_of(cap: &impl fmt::Display) -> Zeroizing<String> {
    // Room for all that have keys: what a string leaves behind when it grows is not wiped.
    let mut text = Zeroizing::new(String::with_capacity(192));
    write!(text, "{cap}").expect("a string takes any text");
    text
}

impl fmt::Display for ChildError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => write!(out, "there is no capability to link"),
            Self::NotText => write!(out, "a capability is not UTF-8"),
            Self::Capability(error) => error.fmt(out),
            Self::VerifyOnly => write!(out, "a capability that only verifies cannot be linked"),
            Self::WritableInImmutable => {
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
