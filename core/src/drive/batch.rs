//! Edits that wait for their directory, to be written together.

use super::step::ErrandId;
use crate::capability::MutableCap;
use crate::directory::{Edit, EditError, Outcome};
use crate::mutable::{ChangeError, Changed};
use crate::mutants::{self, Mutant};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Most edits that are written together, unless one errand has more.
const BATCH_MAX: usize = 4_096;

/// The edits of one errand.
#[derive(Debug)]
struct Part {
    errand: ErrandId,
    edits: Vec<Edit>,
    /// It is not written together with others: it may be what was wrong with all of them.
    alone: bool,
}

/// All that is to become of one directory: what is being written, and what waits for that.
#[derive(Debug)]
pub(super) struct Batch {
    cap: MutableCap,
    written: Vec<Part>,
    waiting: VecDeque<Part>,
}

/// What an errand's edits came to.
pub(super) type Result = core::result::Result<Vec<Outcome>, ChangeError>;

impl Batch {
    pub(super) fn new(cap: MutableCap) -> Batch {
        Batch { cap, written: Vec::new(), waiting: VecDeque::new() }
    }

    pub(super) fn cap(&self) -> &MutableCap {
        &self.cap
    }

    pub(super) fn add(&mut self, errand: ErrandId, edits: Vec<Edit>) {
        self.waiting.push_back(Part { errand, edits, alone: false });
    }

    /// Forgets the edits of an errand, if they are not being written.
    pub(super) fn forget(&mut self, errand: ErrandId) {
        if mutants::is_in(Mutant::WrittenForgotten) {
            self.written.retain(|part| part.errand != errand);
        }
        self.waiting.retain(|part| part.errand != errand);
    }

    /// The edits to write now; `None` if some are being written or none wait.
    pub(super) fn next(&mut self) -> Option<Vec<Edit>> {
        if !self.written.is_empty() {
            return None;
        }
        let mut count = 0;
        while let Some(part) = self.waiting.front()
            && (count == 0 || !part.alone && count + part.edits.len() <= BATCH_MAX)
        {
            let alone = part.alone;
            count += part.edits.len();
            self.written.extend(self.waiting.pop_front());
            if alone {
                break;
            }
        }
        let edits: Vec<Edit> = self.written.iter().flat_map(|part| part.edits.iter().cloned()).collect();
        (!self.written.is_empty()).then_some(edits)
    }

    /// What was being written has ended. Whose edits stood in the way of the others fails alone; the
    /// others wait again, as the first. If that cannot be told, all wait again and are written one by one.
    pub(super) fn ended(
        &mut self,
        result: core::result::Result<Box<Changed>, Box<ChangeError>>,
    ) -> Vec<(ErrandId, Result)> {
        let written = core::mem::take(&mut self.written);
        match result {
            Ok(changed) => {
                let mut outcomes = changed.outcomes.into_iter();
                let of = |part: Part| (part.errand, Ok(outcomes.by_ref().take(part.edits.len()).collect()));
                written.into_iter().map(of).collect()
            }
            Err(error) => match *error {
                ChangeError::Edit { error, edits, may_show_up } => {
                    self.split(written, error, edits.0, may_show_up)
                }
                // The table of all their edits cannot be stored; that of some of them can, perhaps.
                ChangeError::Make(_) if written.len() > 1 => {
                    let alone = |part| Part { alone: true, ..part };
                    let mut again: VecDeque<Part> = written.into_iter().map(alone).collect();
                    again.append(&mut self.waiting);
                    self.waiting = again;
                    Vec::new()
                }
                error => written.into_iter().map(|part| (part.errand, Err(error.clone()))).collect(),
            },
        }
    }

    fn split(
        &mut self,
        written: Vec<Part>,
        error: EditError,
        mut edits: Vec<Edit>,
        may_show_up: bool,
    ) -> Vec<(ErrandId, Result)> {
        let mut failed = Vec::new();
        let mut again = VecDeque::new();
        let mut from = 0;
        for part in written {
            let len = part.edits.len();
            let rest = edits.split_off(len.min(edits.len()));
            // As they come back: they know what was there when they were first applied.
            let edits = core::mem::replace(&mut edits, rest);
            let errand = part.errand;
            if (from..from + len).contains(&error.at) {
                let error = EditError { at: error.at - from, ..error.clone() };
                failed.push((errand, Err(ChangeError::edit(error, may_show_up))));
            } else {
                again.push_back(Part { errand, edits, alone: part.alone });
            }
            from += len;
        }
        again.append(&mut self.waiting);
        self.waiting = again;
        failed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty() && self.waiting.is_empty()
    }
}
