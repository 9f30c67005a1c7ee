//! How far a change is: what it needs to know for the next step, and what people are told of it.

use super::super::Version;
use super::super::gather::Gather;
use super::super::making::{Content, Making};
use super::super::patching::Patching;
use super::super::quorum::Electorate;
use super::super::writing::{Aim, Writing};
use crate::identity::ServerId;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// What a change is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChangeStage {
    /// The keys of a new file are being made.
    Keys,
    /// It waits until the servers are known, or another change of the file by this node is over.
    Queued,
    /// Servers are asked what they have.
    Asking,
    /// What is there is read.
    Reading,
    /// The new version is made: encrypted, encoded, hashed and signed.
    Making,
    /// Servers are given the new version.
    Writing,
    /// Another writer has begun, who is let finish.
    Yielding,
    /// Another writer was faster: it waits a moment, and is then applied to what that one has made.
    Beaten,
}

/// What is to be written, and where.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Who has a say in it. Answers that come later change nothing any more.
    pub(super) electorate: Electorate<ServerId>,
    /// Who had told what they have when it was decided. Nobody else's acceptance counts.
    pub(super) told: BTreeSet<ServerId>,
    pub(super) aim: Aim,
    pub(super) sequence: u64,
    pub(super) bases: Vec<Version>,
    pub(super) targets: BTreeSet<ServerId>,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The keys of a new file are being made.
    Keys,
    /// The servers are not known yet.
    Awaiting,
    /// Servers are being asked what they have: the highest sequence number known before they were, and
    /// until when all of them are waited for.
    Asking { known: u64, until: Option<Instant> },
    /// The bases of the new version are being read, one after the other; the contents so far.
    Gathering { plan: Plan, gather: Option<Box<Gather>>, contents: Vec<Content> },
    /// The new version is being made.
    Making { plan: Plan, making: Box<Making> },
    /// It is being made from the parts that change.
    Patching { plan: Plan, patching: Box<Patching> },
    /// It is being written.
    Writing { writing: Box<Writing> },
    /// Somebody else was faster, or has begun and may finish.
    Pausing { until: Instant, beaten: bool },
    /// It is over.
    Done,
}

impl Stage {
    /// What people are told; nothing more at the end.
    pub(super) fn told(&self) -> Option<ChangeStage> {
        Some(match self {
            Stage::Keys => ChangeStage::Keys,
            Stage::Awaiting => ChangeStage::Queued,
            Stage::Asking { .. } => ChangeStage::Asking,
            Stage::Gathering { .. } => ChangeStage::Reading,
            // Its parts are read and made in turn.
            Stage::Making { .. } | Stage::Patching { .. } => ChangeStage::Making,
            Stage::Writing { .. } => ChangeStage::Writing,
            Stage::Pausing { beaten: false, .. } => ChangeStage::Yielding,
            Stage::Pausing { beaten: true, .. } => ChangeStage::Beaten,
            Stage::Done => return None,
        })
    }
}
