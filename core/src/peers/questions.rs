//! The questions to one server: which were sent, which wait, and how long for.
//!
//! A question is given up when its server makes no progress with it for as long as its asker has
//! patience. Progress is that another was answered, that part of a long answer came in, or that it is
//! itself still being sent. So a slow line or a long queue is waited for as long as it moves, but not
//! for ever: what is asked much later does not count, nor do signs of life, and a server whose disk
//! hangs runs out of patience like a silent one.

use super::asking::{AskToken, Effort};
use super::link::Link;
use crate::io::Io;
use crate::limits::{BULK_LEN_MAX, REQUESTS_PER_CONNECTION_MAX};
use crate::payload::Payload;
use crate::storage::protocol::StorageRequest;
use crate::time::{Instant, Now};
use crate::wire::{Kind, PARTIAL_STEP};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

pub(super) struct Question {
    pub(super) token: AskToken,
    pub(super) request: StorageRequest,
    pub(super) bulk: Vec<Payload>,
    pub(super) effort: Effort,
    pub(super) patience: Duration,
    sent: bool,
    attempt: Attempt,
    asked_at: Instant,
}

/// How often it has been tried to get a question answered.
///
/// ```text
/// First ──(silence)──▶ Probing ──(the connection broke)──▶ Second
///   └────────────────(the connection broke)──────────────────▲
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Attempt {
    First,
    /// Nothing came back, and the connection is being probed: perhaps it is dead and the server
    /// is not.
    Probing,
    /// It was sent before, on a connection that broke.
    Second,
}

impl Question {
    pub(super) fn new(
        token: AskToken,
        request: StorageRequest,
        bulk: Vec<Payload>,
        patience: Duration,
        effort: Effort,
        now: Now,
    ) -> Question {
        let (sent, attempt, asked_at) = (false, Attempt::First, now.instant);
        Question { token, request, bulk, effort, patience, sent, attempt, asked_at }
    }

    /// Whether it does no harm to ask twice. The bulk of a write is gone once it was sent, and a test
    /// that held does not hold again.
    fn is_repeatable(&self) -> bool {
        let once =
            matches!(self.request, StorageRequest::Write { .. } | StorageRequest::ReadTestWrite { .. });
        !self.sent || !once
    }
}

/// The questions to one server, numbered in the order in which they were asked.
#[derive(Default)]
pub(super) struct Questions {
    all: BTreeMap<u64, Question>,
    /// Those that wait to be sent, first come first. May name some that were abandoned.
    unsent: VecDeque<u64>,
    /// Those sent and not answered, whether anybody still waits for that or not.
    unanswered: BTreeSet<u64>,
    /// The reads among them, and in how many parts the answer to each may still come in. Who sends more
    /// sends something else.
    reads: BTreeMap<u64, u64>,
    /// Those that have not left yet, and how many bytes must be gone until they have.
    leaving: VecDeque<(u64, u64)>,
    /// Bytes handed over to be sent on this connection, and bytes that are gone.
    handed_over: u64,
    gone: u64,
    progress: Progress,
    /// No question runs out of patience before this. Progress puts that off, but it is only looked at
    /// again when it has come: there may be hundreds of questions.
    look_at: Option<Instant>,
}

impl Questions {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn add(&mut self, id: u64, question: Question) {
        let ends = question.asked_at + question.patience;
        self.look_at = Some(self.look_at.map_or(ends, |at| at.min(ends)));
        self.unsent.push_back(id);
        self.all.insert(id, question);
    }

    pub(super) fn abandon(&mut self, id: u64) {
        self.all.remove(&id);
    }

    /// Sends what waits, no more at once than the server bears.
    pub(super) fn send(&mut self, link: &mut Link, now: Now, io: &mut Io) {
        while link.is_up()
            && self.unanswered.len() < REQUESTS_PER_CONNECTION_MAX
            && let Some(id) = self.unsent.pop_front()
        {
            let Some(question) = self.all.get_mut(&id) else { continue };
            (question.sent, question.asked_at) = (true, now.instant);
            let bulk = core::mem::take(&mut question.bulk);
            self.handed_over += link.send(Kind::Request, id, &question.request, bulk, io);
            self.leaving.push_back((id, self.handed_over));
            self.unanswered.insert(id);
            // How many shares of a slot there are is for the server to say, up to a frame.
            let ranges = match &question.request {
                StorageRequest::Read { ranges, .. } => Some((ranges, 1)),
                StorageRequest::ReadSlot { ranges, .. } => Some((ranges, u64::MAX)),
                _ => None,
            };
            if let Some((ranges, times)) = ranges {
                let len = ranges.iter().fold(0u64, |sum, (_, len)| sum.saturating_add(*len));
                let len = len.saturating_mul(times).min(BULK_LEN_MAX as u64);
                self.reads.insert(id, len / PARTIAL_STEP as u64 + 1);
            }
        }
    }

    /// Notes an answer and gives the question, if somebody still waits for it.
    pub(super) fn answered(&mut self, id: u64, now: Now) -> Option<Question> {
        if self.unanswered.remove(&id) {
            self.reads.remove(&id);
            let question = self.all.remove(&id);
            self.progress.note(in_turn_with(id), now.instant, self.first());
            return question;
        }
        None
    }

    /// Part of a long answer came in.
    pub(super) fn part(&mut self, now: Now) {
        let first = self.first();
        if let Some((read, parts)) = self.reads.iter_mut().find(|(_, parts)| **parts > 0) {
            *parts -= 1;
            self.progress.note(in_turn_with(*read), now.instant, first);
        }
    }

    /// So many bytes have left. Those of pings and greetings are among them, and do no harm.
    pub(super) fn left(&mut self, bytes: u64, now: Now) {
        self.gone = self.gone.saturating_add(bytes).min(self.handed_over);
        if let Some((id, _)) = self.leaving.front() {
            self.progress.note(*id, now.instant, self.first());
        }
        while self.leaving.pop_front_if(|(_, end)| *end <= self.gone).is_some() {}
    }

    /// The first one that may still have to be waited for.
    fn first(&self) -> u64 {
        self.all.keys().next().copied().unwrap_or(u64::MAX)
    }

    /// A connection stands: everything is to be sent on it.
    pub(super) fn up(&mut self) {
        self.unsent = self.all.keys().copied().collect();
    }

    /// The connection broke, or was not to be had. Takes out what cannot be asked again, once, on
    /// another. `broke`: it did not just fall silent; `tried_at`: when it was begun to make it. An attempt
    /// from before a question was asked says little about now.
    pub(super) fn down(&mut self, broke: bool, tried_at: Instant, now: Now) -> Vec<Question> {
        // A connection that had requests under way stood, and did not fail to be made.
        let stood = !self.unanswered.is_empty();
        let all = core::mem::take(self).all;
        let mut lost = Vec::new();
        for (id, mut question) in all {
            let again = match question.attempt {
                Attempt::First if stood => {
                    question.is_repeatable() && (broke || question.effort == Effort::Insist)
                }
                Attempt::First => question.effort == Effort::Insist && tried_at < question.asked_at,
                Attempt::Probing => true,
                Attempt::Second => false,
            };
            if again {
                (question.sent, question.attempt, question.asked_at) = (false, Attempt::Second, now.instant);
                self.add(id, question);
            } else {
                lost.push(question);
            }
        }
        lost
    }

    /// Takes everything out.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Question> + use<> {
        core::mem::take(self).all.into_values()
    }

    /// When it is worth while to look for late ones.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Takes out what has waited long enough. Where no other server will do, a question gets the same
    /// time once more; then the flag says that the connection is to be probed.
    pub(super) fn late(&mut self, now: Now) -> (Vec<Question>, bool) {
        let (mut late, mut probe) = (Vec::new(), false);
        if self.look_at.is_none_or(|at| now.instant < at) {
            return (late, probe);
        }
        let is_late = |id: u64, question: &Question, progress: &Progress| {
            now.instant >= question.asked_at.max(progress.of(id)) + question.patience
        };
        for (id, question) in self.all.iter_mut() {
            let first = question.attempt == Attempt::First && question.sent;
            if first
                && question.effort == Effort::Insist
                && question.is_repeatable()
                && is_late(*id, question, &self.progress)
            {
                (question.attempt, question.asked_at, probe) = (Attempt::Probing, now.instant, true);
            }
        }
        let progress = &self.progress;
        late.extend(self.all.extract_if(.., |id, q| is_late(*id, q, progress)).map(|(_, question)| question));
        let ends = self.all.iter().map(|(id, q)| q.asked_at.max(self.progress.of(*id)) + q.patience);
        self.look_at = ends.min();
        (late, probe)
    }
}

/// The first question that may have to wait for the answer to this one. A server answers in any order
/// what it has at once, no matter what was asked first.
fn in_turn_with(id: u64) -> u64 {
    id.saturating_sub(REQUESTS_PER_CONNECTION_MAX as u64)
}

/// When there was progress last, for each question: an entry holds for all questions from a number on.
/// Both numbers and times go up.
#[derive(Default)]
struct Progress(VecDeque<(u64, Instant)>);

impl Progress {
    /// Notes progress for all questions from `from` on. `first` is the first that is still of interest.
    fn note(&mut self, from: u64, now: Instant, first: u64) {
        while self.0.pop_back_if(|(later, _)| *later >= from).is_some() {}
        self.0.push_back((from, now));
        while self.0.get(1).is_some_and(|(next, _)| *next <= first) {
            self.0.pop_front();
        }
    }

    fn of(&self, id: u64) -> Instant {
        let after = self.0.partition_point(|(from, _)| *from <= id);
        after.checked_sub(1).map_or(Instant::ZERO, |index| self.0[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The short list knows the same as one that keeps everything.
        #[test]
        fn progress_is_what_was_noted(notes in prop::collection::vec((0u64..40, 0u64..40), 1..60)) {
            let mut progress = Progress::default();
            let mut first = 0;
            for (index, (from, raise)) in notes.iter().enumerate() {
                first = first.max(*raise);
                progress.note(*from, Instant(index as u64 + 1), first);
                for id in first..45 {
                    let seen = notes[..=index].iter().enumerate().rev().find(|(_, (from, _))| *from <= id);
                    let expected = seen.map_or(0, |(at, _)| at as u64 + 1);
                    prop_assert_eq!(progress.of(id), Instant(expected));
                }
                let beyond = progress.0.iter().filter(|(from, _)| *from > first).count();
                prop_assert!(progress.0.len() <= beyond + 1);
            }
        }
    }
}
