//! What uploads and downloads ask of the node around them, and the book in which each keeps what
//! it is waiting for.

use crate::disk::{DiskResult, DiskStep};
use crate::identity::ServerId;
use crate::job::{Job, JobOutput};
use crate::mutable::MutableShareError;
use crate::payload::Payload;
use crate::peers::{Answer, Effort};
use crate::share_set::ShareSet;
use crate::storage::protocol::{StorageAnswer, StorageRequest};
use crate::storage_index::StorageIndex;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use core::time::Duration;

/// A server that was no help, and why.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ServerTrouble {
    /// Which server.
    pub server: ServerId,
    /// Its name for people.
    pub nickname: String,
    /// What was wrong.
    pub trouble: Trouble,
}

/// What was wrong with a server.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Trouble {
    /// It gave no answer, or said that it cannot.
    Ask(crate::peers::AskError),
    /// It takes no shares, or has no space for this one.
    NoSpace,
    /// It has no share of the file.
    NoShares,
    /// Its share is damaged.
    BadShare {
        /// Which share.
        share: u16,
        /// What was found.
        how: &'static str,
    },
    /// Its share of a mutable file is damaged, or is none of it.
    BadMutableShare {
        /// Which share.
        share: u16,
        /// What was found.
        why: MutableShareError,
    },
    /// It answered something that does not fit the question.
    Nonsense(&'static str),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Ask(error) => error.fmt(f),
            Trouble::NoSpace => f.write_str("it has no space for a share"),
            Trouble::NoShares => f.write_str("it has no share of the file"),
            Trouble::BadShare { share, how } => write!(f, "its share {share} is damaged: {how}"),
            Trouble::BadMutableShare { share, why } => write!(f, "its share {share} cannot be used: {why}"),
            Trouble::Nonsense(how) => write!(f, "its answer makes no sense: {how}"),
        }
    }
}

/// Most servers that one error names.
const NAMED_MAX: usize = 20;

/// What was wrong with servers, for the end of an error: how many have no share, and of the others as many
/// as somebody reads, each by its name.
pub(crate) fn tell(trouble: &[ServerTrouble], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let without = trouble.iter().filter(|one| one.trouble == Trouble::NoShares).count();
    if without > 0 {
        write!(out, "; {without} have no share of this file")?;
    }
    let others = trouble.iter().filter(|one| one.trouble != Trouble::NoShares);
    for ServerTrouble { server, nickname, trouble } in others.take(NAMED_MAX) {
        write!(out, "; {nickname} ({}): {trouble}", server.short())?;
    }
    match (trouble.len() - without).saturating_sub(NAMED_MAX) {
        0 => Ok(()),
        more => write!(out, "; and {more} more"),
    }
}

/// Something the node is to do for an upload or download.
#[derive(Clone, Hash, Debug)]
pub enum Task {
    /// Ask a server.
    Ask {
        /// Whom.
        server: ServerId,
        /// What.
        request: StorageRequest,
        /// The bulk bytes of the request, in pieces.
        bulk: Vec<Payload>,
        /// How long to wait without a sign of life.
        patience: Duration,
        /// How much this very server is needed.
        effort: Effort,
    },
    /// Run steps on the disk.
    Disk(Vec<DiskStep>),
    /// Compute.
    Job(Job),
    /// No longer wait for the task with this number.
    Forget(u64),
}

/// What came of a task.
#[derive(Clone, Hash, Debug)]
pub enum Outcome {
    /// Of a question.
    Answer(Answer),
    /// Of disk steps.
    Disk(DiskResult),
    /// Of a job.
    Job(JobOutput),
}

/// The tasks under way, each with a note of what its outcome is for.
#[derive(Debug)]
pub(crate) struct Tasks<Purpose> {
    next: u64,
    waiting: BTreeMap<u64, Purpose>,
    queue: VecDeque<(u64, Task)>,
}

impl<Purpose> Tasks<Purpose> {
    pub(crate) fn new() -> Tasks<Purpose> {
        Tasks { next: 0, waiting: BTreeMap::new(), queue: VecDeque::new() }
    }

    pub(crate) fn start(&mut self, purpose: Purpose, task: Task) -> u64 {
        let id = self.next;
        self.next += 1;
        self.waiting.insert(id, purpose);
        self.queue.push_back((id, task));
        id
    }

    /// Starts a task whose outcome does not matter.
    pub(crate) fn start_blind(&mut self, task: Task) {
        self.queue.push_back((self.next, task));
        self.next += 1;
    }

    pub(crate) fn job(&mut self, purpose: Purpose, job: Job) -> u64 {
        self.start(purpose, Task::Job(job))
    }

    /// What a finished task was for; `None` if it is no longer of interest.
    pub(crate) fn finish(&mut self, id: u64) -> Option<Purpose> {
        self.waiting.remove(&id)
    }

    /// Loses interest in the tasks for which `of_no_use` holds.
    pub(crate) fn forget(&mut self, mut of_no_use: impl FnMut(&Purpose) -> bool) {
        let ids: Vec<u64> = self.waiting.iter().filter(|(_, p)| of_no_use(p)).map(|(id, _)| *id).collect();
        for id in ids {
            self.waiting.remove(&id);
            self.queue.push_back((self.next, Task::Forget(id)));
            self.next += 1;
        }
    }

    pub(crate) fn poll(&mut self) -> Option<(u64, Task)> {
        self.queue.pop_front()
    }
}

/// A request for ranges of a share.
pub(crate) fn read(storage_index: StorageIndex, share: u16, ranges: &[Range<u64>]) -> StorageRequest {
    let ranges = ranges.iter().map(|range| (range.start, range.end - range.start)).collect();
    StorageRequest::Read { storage_index, share, ranges }
}

/// Cuts the bulk of an answer into the ranges asked for. A share may end within a range.
pub(crate) fn pieces(answer: Answer, ranges: &[Range<u64>]) -> Result<Vec<Payload>, Trouble> {
    let (lengths, mut bulk) = match answer {
        Ok((StorageAnswer::Data(lengths), bulk)) => (lengths, bulk),
        Ok(_) => return Err(Trouble::Nonsense("no answer to a read")),
        Err(error) => return Err(Trouble::Ask(error)),
    };
    let total = lengths.iter().try_fold(0u64, |sum, len| sum.checked_add(*len));
    let too_long = lengths.iter().zip(ranges).any(|(len, range)| *len > range.end - range.start);
    if lengths.len() != ranges.len() || too_long || total != Some(bulk.len()) {
        return Err(Trouble::Nonsense("other bytes than were asked for"));
    }
    Ok(lengths.into_iter().map(|len| bulk.take_front(len)).collect())
}

/// A request for ranges of shares of a slot; of all that are there, if none is named.
pub(crate) fn read_slot(
    storage_index: StorageIndex,
    shares: ShareSet,
    ranges: &[Range<u64>],
) -> StorageRequest {
    let ranges = ranges.iter().map(|range| (range.start, range.end - range.start)).collect();
    StorageRequest::ReadSlot { storage_index, shares, ranges }
}

/// What a question about a slot brought: for each share, the pieces of the ranges asked for.
pub(crate) type SlotPieces = Vec<(u16, Vec<Payload>)>;

/// Cuts the bulk of an answer about a slot into shares, and these into the ranges asked for. A share
/// may end within a range or before it.
pub(crate) fn slot_pieces(
    shares: Vec<(u16, Vec<u64>)>,
    mut bulk: Payload,
    ranges: &[Range<u64>],
) -> Result<SlotPieces, Trouble> {
    let mut total = Some(0u64);
    for (_, lengths) in &shares {
        let too_long = lengths.iter().zip(ranges).any(|(len, range)| *len > range.end - range.start);
        if lengths.len() != ranges.len() || too_long {
            return Err(Trouble::Nonsense("other bytes than were asked for"));
        }
        total = lengths.iter().fold(total, |sum, len| sum?.checked_add(*len));
    }
    if total != Some(bulk.len()) {
        return Err(Trouble::Nonsense("other bytes than were asked for"));
    }
    let ascending = shares.windows(2).all(|pair| pair[0].0 < pair[1].0);
    if !ascending || shares.last().is_some_and(|(share, _)| *share > 255) {
        return Err(Trouble::Nonsense("impossible share numbers"));
    }
    let cut =
        |lengths: Vec<u64>, bulk: &mut Payload| lengths.into_iter().map(|len| bulk.take_front(len)).collect();
    Ok(shares.into_iter().map(|(share, lengths)| (share, cut(lengths, &mut bulk))).collect())
}

/// What was read of a range, if one piece (where it begins, and what it holds) has all of it.
pub(crate) fn covered(pieces: &[(u64, Payload)], range: &Range<u64>) -> Option<Payload> {
    pieces.iter().find_map(|(start, piece)| {
        let within = *start <= range.start && range.end <= start + piece.len();
        within.then(|| piece.slice(range.start - start..range.end - start))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn an_error_names_as_many_servers_as_somebody_reads() {
        let of = |trouble: Trouble| {
            move |index: u8| ServerTrouble {
                server: ServerId([index; 32]),
                nickname: format!("s{index}"),
                trouble: trouble.clone(),
            }
        };
        let told = |trouble: &[ServerTrouble]| format!("{}", fmt::from_fn(|out| tell(trouble, out)));
        let mut trouble: Vec<_> = (0..200).map(of(Trouble::NoShares)).collect();
        assert_eq!(told(&trouble), "; 200 have no share of this file");
        trouble.extend((0..2).map(of(Trouble::NoSpace)));
        let few = told(&trouble);
        assert!(few.contains("; s0 (") && few.ends_with(": it has no space for a share"), "{few}");
        trouble.extend((2..30).map(of(Trouble::NoSpace)));
        let many = told(&trouble);
        assert!(
            many.contains("; s19 (") && !many.contains("s20") && many.ends_with("; and 10 more"),
            "{many}"
        );
        assert_eq!(told(&[]), "");
    }
}
