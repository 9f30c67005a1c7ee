//! Servers that turn new versions away, though nobody has written meanwhile.
//!
//! The first server that is asked to take a version decides for the others whether they are asked at all
//! (`writing`, the gate). One that always says that something else is there by now could stop every change.

use super::super::Version;
use crate::identity::ServerId;
use alloc::collections::{BTreeMap, BTreeSet};

/// So many false alarms of one server, and it is asked last.
const FALSE_ALARMS_MAX: u32 = 2;

/// Who said that somebody else was faster, and whether that was so.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    /// The versions that were seen when something was written.
    seen: BTreeSet<Version>,
    /// Who has raised the alarm since.
    rung: BTreeSet<ServerId>,
    false_alarms: BTreeMap<ServerId, u32>,
}

impl Alarms {
    /// Notes what is there before something is written.
    pub(super) fn note(&mut self, versions: &BTreeSet<Version>) {
        self.seen.extend(versions);
    }

    /// A server says that something else is there by now.
    pub(super) fn ring(&mut self, server: ServerId) {
        self.rung.insert(server);
    }

    /// Judges the alarms since the last time by what all have now. Who was faster has left a version that is as
    /// new as any, or newer, and was not seen before.
    pub(super) fn judge(&mut self, versions: &BTreeSet<Version>) {
        let rung = core::mem::take(&mut self.rung);
        let newest = self.seen.iter().map(|version| version.sequence).max();
        if versions.difference(&self.seen).any(|version| Some(version.sequence) >= newest) {
            return;
        }
        for server in rung {
            *self.false_alarms.entry(server).or_default() += 1;
        }
    }

    /// Whether nobody should listen to this server before the others were asked.
    pub(super) fn are_false(&self, server: &ServerId) -> bool {
        self.false_alarms.get(server).is_some_and(|count| *count >= FALSE_ALARMS_MAX)
    }
}
