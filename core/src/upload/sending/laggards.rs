//! Servers that fail while shares are sent to them, or hold up the others.

use super::super::placing::Placing;
use super::super::writer::Writer;
use super::super::{File, Purpose};
use super::{SendTask, Sending};
use crate::identity::ServerId;
use crate::peers::{Answer, AskError};
use crate::storage::protocol::{StorageAnswer, StorageError};
use crate::task::{Tasks, Trouble};
use crate::time::Instant;
use alloc::vec::Vec;
use core::time::Duration;

/// A server that confirms nothing for this long, while at least half of the others have confirmed all
/// they were sent, is given up: they all wait for it.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(10);

impl Sending {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn written(
        &mut self,
        share: u16,
        server: ServerId,
        offset: u64,
        answer: Answer,
        file: &File,
        placing: &mut Placing,
        tasks: &mut Tasks<Purpose>,
    ) {
        let Some(writer) = self.writers.get_mut(&share).filter(|writer| writer.server == server) else {
            return;
        };
        writer.under_way.remove(&offset);
        let trouble = match answer {
            Ok((StorageAnswer::Written { finished }, _)) => {
                writer.finished |= finished;
                if finished && !writer.closing {
                    Some(Trouble::Nonsense("a share complete before its end was sent"))
                } else if writer.closing && !writer.finished && writer.under_way.is_empty() {
                    Some(Trouble::Nonsense("a share not complete though all of it was sent"))
                } else {
                    None
                }
            }
            // Taken up again after a crash, the upload meets a share that it had completed.
            Err(AskError::Server(StorageError::AlreadyWhole)) if writer.closing => {
                writer.finished = true;
                None
            }
            Ok(_) => Some(Trouble::Nonsense("no answer to a write")),
            Err(error) => Some(Trouble::Ask(error)),
        };
        if let Some(trouble) = trouble {
            self.lose(share, trouble, file, placing, tasks);
        } else if self.writers[&share].finished {
            self.pushed.insert(share);
            placing.finished(server, share);
        }
    }

    /// The share's server failed: give the share up there.
    pub(super) fn lose(
        &mut self,
        share: u16,
        trouble: Trouble,
        file: &File,
        placing: &mut Placing,
        tasks: &mut Tasks<Purpose>,
    ) {
        let Some(writer) = self.writers.remove(&share) else { return };
        tasks.forget(|purpose| {
            matches!(purpose, Purpose::Sending(SendTask::Write { share: s, server, .. })
                if *s == share && *server == writer.server)
        });
        placing.abort(file, writer.server, share, tasks);
        placing.lost(writer.server, share, trouble);
        (self.lost, self.ever_lost) = (true, true);
    }

    /// Whether most writers wait for the rest: then it is not this node's line that is slow.
    fn is_held_up(&self) -> bool {
        let idle = self.writers.values().filter(|writer| writer.under_way.is_empty()).count();
        2 * idle >= self.writers.len()
    }

    /// Notes who is waited for. The wait for the laggards begins when the others are done.
    pub(super) fn note_waits(&mut self, now: Instant) {
        let held_up = self.is_held_up();
        for writer in self.writers.values_mut() {
            let since = writer.waited_for.filter(|_| held_up).unwrap_or(now);
            writer.waited_for = (!writer.under_way.is_empty()).then_some(since);
        }
    }

    /// Gives up the shares of servers that hold up all others.
    pub(super) fn lose_stalled(
        &mut self,
        file: &File,
        placing: &mut Placing,
        tasks: &mut Tasks<Purpose>,
        now: Instant,
    ) {
        let stalled = |writer: &Writer| {
            !writer.closing && writer.waited_for.is_some_and(|since| now >= since + STALLED_AFTER)
        };
        let shares: Vec<u16> = self.writers.iter().filter(|(_, w)| stalled(w)).map(|(s, _)| *s).collect();
        for share in shares {
            self.lose(share, Trouble::Ask(AskError::Silent(STALLED_AFTER)), file, placing, tasks);
        }
    }

    /// When a server will have held up the others for too long, or the search has taken long enough.
    pub(in crate::upload) fn deadline(&self, placing: &Placing) -> Option<Instant> {
        if self.searching {
            return placing.deadline();
        }
        let waiting = self.writers.values().filter(|writer| !writer.closing);
        let first = waiting.filter_map(|writer| writer.waited_for).min();
        first.filter(|_| self.is_held_up()).map(|since| since + STALLED_AFTER)
    }
}
