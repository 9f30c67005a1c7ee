//! The capabilities that a directory keeps of one entry: one place for writing, one for reading.

use alloc::string::{String, ToString};

use super::kind::{CapabilityError, Kind, Mark};
use super::{Capability, UnknownCap};

/// What an entry names. Of a known kind one capability says all; of an unknown one the read
/// capability cannot be made from the other, so both are kept.
///
/// The rules are those of `allmydata/nodemaker.py` and `allmydata/unknown.py`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EntryCaps {
    /// The greatest right that was given.
    Known(Capability),
    /// Capabilities of a future kind, or at least the greater right is of one.
    Unknown {
        /// Grants writing, perhaps.
        write: Option<UnknownCap>,
        /// Grants no more than reading, as its mark says: it always has one.
        read: Option<UnknownCap>,
    },
}

impl EntryCaps {
    /// Judges what was found in the two places of an entry, or given for them; `immutable` if the
    /// directory cannot change, and neither can anything below it.
    ///
    /// # Errors
    /// If a capability is malformed, grants more than the directory allows, or is of an unknown
    /// kind that may grant more.
    pub fn new(write: Option<&str>, read: Option<&str>, immutable: bool) -> Result<Self, CapabilityError> {
        let write = write.filter(|text| !text.is_empty());
        let read = read.filter(|text| !text.is_empty());
        let Some(greatest) = write.or(read) else {
            return Ok(Self::Unknown { write: None, read: None });
        };
        let unknown = match parse(greatest, immutable)? {
            Capability::Unknown(unknown) => unknown,
            known => return Ok(Self::Known(known)),
        };
        let place = if immutable { Mark::Immutable } else { Mark::ReadOnly };
        if write.is_none() {
            return Ok(Self::Unknown { write: None, read: Some(unknown.marked(place)) });
        }
        let Some(read) = read else {
            // A lone capability counts as one for reading if its mark is as strong as the place.
            let enough = unknown.mark() == Some(Mark::Immutable) || (unknown.mark().is_some() && !immutable);
            let read = enough.then_some(unknown).ok_or(CapabilityError::Unmarked)?;
            return Ok(Self::Unknown { write: None, read: Some(read) });
        };
        if immutable {
            return Err(CapabilityError::Unmarked);
        }
        let read = match parse(read, false)? {
            // What can be written is not immutable, whatever the mark says.
            Capability::Unknown(read) if read.mark() == Some(Mark::Immutable) => {
                return Err(CapabilityError::Unmarked);
            }
            Capability::Unknown(read) => read.marked(Mark::ReadOnly),
            known if known.is_writable() => return Err(right(&known)),
            // The write capability must not be lost when the entry is written anew.
            known => UnknownCap::of_known(&known),
        };
        Ok(Self::Unknown { write: Some(unknown), read: Some(read) })
    }

    /// The text of the right to write, if there is one.
    pub fn write_text(&self) -> Option<String> {
        match self {
            Self::Known(cap) => cap.is_writable().then(|| cap.to_string()),
            Self::Unknown { write, .. } => write.as_ref().map(UnknownCap::to_string),
        }
    }

    /// The text of the right to read, with its mark if the kind is unknown.
    pub fn read_text(&self) -> Option<String> {
        match self {
            Self::Known(cap) => cap.read_only().map(|cap| cap.to_string()),
            Self::Unknown { read, .. } => read.as_ref().map(UnknownCap::to_string),
        }
    }
}

fn parse(text: &str, immutable: bool) -> Result<Capability, CapabilityError> {
    let cap: Capability = text.parse()?;
    match cap.kind() {
        Some(kind) if immutable => Mark::Immutable.check(kind).map(|()| cap),
        _ => Ok(cap),
    }
}

fn right(cap: &Capability) -> CapabilityError {
    cap.kind()
        .map_or(CapabilityError::Unmarked, |kind: Kind| CapabilityError::Right { kind, mark: Mark::ReadOnly })
}
