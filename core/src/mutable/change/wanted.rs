//! What somebody wants of a mutable file.

use crate::capability::{MutableCap, MutableFormat};
use crate::directory::{Child, Edit, Metadata, Name};
use crate::encoding::EncodingParams;
use crate::payload::Payload;
use crate::rsa::PrivateKey;
use crate::secret::LeaseSecret;
use alloc::vec::Vec;

/// When a change counts as made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Consent {
    /// When more than half of the file's servers have accepted it (`mutable::quorum`): several may write at
    /// once.
    Majority,
    /// When so many servers have accepted it: only one node ever writes to the file.
    Servers(usize),
}

/// What becomes of the file.
#[derive(Clone, Hash, Debug)]
pub enum Change {
    /// This, whatever was there.
    Overwrite(Payload),
    /// What was there, with a part replaced. Of a large MDMF file only what that touches is written.
    Patch {
        /// Where the part begins, in bytes; no further than the end of the file, which may grow.
        offset: u64,
        /// What is put there.
        data: Payload,
    },
    /// The table of a directory, edited.
    Edit(Edits),
    /// The table of a new directory.
    Children(Children),
}

/// The children of a new directory.
#[derive(Clone, Debug)]
pub struct Children(pub Vec<(Name, Child, Metadata)>);

/// For traces: only how many there are.
impl core::hash::Hash for Children {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.len().hash(state);
    }
}

/// Edits of a directory.
#[derive(Clone, Debug)]
pub struct Edits(pub Vec<Edit>);

/// For traces: edits hold capabilities, and only how many there are matters.
impl core::hash::Hash for Edits {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.len().hash(state);
    }
}

/// Which file is changed.
#[derive(Clone, Hash, Debug)]
pub enum Subject {
    /// One that is there.
    Existing(MutableCap),
    /// A new one.
    New {
        /// How its shares are laid out.
        format: MutableFormat,
        /// Its key, or none to make one.
        key: Option<PrivateKey>,
    },
}

/// What a change needs to know.
#[derive(Clone, Hash, Debug)]
pub struct ChangeSetup {
    /// The file.
    pub subject: Subject,
    /// What becomes of it.
    pub change: Change,
    /// When that counts.
    pub consent: Consent,
    /// k and N of a new file. One that is there keeps its own.
    pub params: EncodingParams,
    /// The master secret for leases.
    pub lease_secret: LeaseSecret,
}
