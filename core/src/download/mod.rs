//! Reading a range of an immutable file.
//!
//! Three things go on at once: servers are asked which shares they have (`finding`), shares are
//! opened and their metadata checked (`share`), and segments are fetched from k open shares each,
//! checked and decoded (`fetching`), and delivered in order. Whoever is slow is overtaken: another share is
//! asked for the same, and whichever comes first is used.
//!
//! Nothing reaches the reader that was not vouched for: the capability holds the hash of the
//! extension block, that holds the roots of the share hash tree and of the ciphertext hash tree,
//! the share hash tree vouches for each share's block hash tree, and that for each block.

mod fetching;
mod finding;
mod locating;
pub(crate) mod pace;
mod report;
mod share;

pub use locating::{
    Coding, HeldShares, Holder, Locate, LocateAction, LocateEvent, LocateSetup, Locations, Sought,
};
pub use report::DownloadError;

use crate::capability::ChkCap;
use crate::encoding::{Encoding, EncodingParams};
use crate::hashtree::IncompleteHashTree;
use crate::identity::ServerId;
use crate::job::{FileCoding, JobOutput, VerifiedBlock};
use crate::machine::Machine;
use crate::mutants::{self, Mutant};
use crate::payload::Payload;
use crate::peers::{Answer, Candidate, Effort};
use crate::share::Extension;
use crate::storage::protocol::StorageRequest;
use crate::storage_index::StorageIndex;
use crate::task::{Outcome, Task, Tasks, Trouble, pieces, read};
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;
use finding::Finding;
use pace::{Pace, SLOW_AFTER, ShareKey};
use share::{BlockRead, Opened, ShareReader};

/// How long a server may be silent before a question to it is given up.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of segments that are fetched ahead of the reader, at least one segment.
const BYTES_AHEAD: u64 = 6 * 1024 * 1024;

/// What a download needs to know.
#[derive(Clone, Hash, Debug)]
pub struct DownloadSetup {
    /// The file.
    pub cap: ChkCap,
    /// Which bytes; within the file's size.
    pub range: Range<u64>,
    /// The servers to ask, in the order of the ring.
    pub ring: Vec<Candidate>,
    /// The segment size most files of this grid have. Only a guess: if it is right, opening a
    /// share takes one round trip instead of two.
    pub likely_segment_size: u32,
}

/// What can happen to a download.
#[derive(Clone, Hash, Debug)]
pub enum DownloadEvent {
    /// The deadline has come.
    Wake,
    /// The reader takes this many more bytes.
    Grant(u64),
    /// A task is over.
    Finished(u64, Outcome),
    /// Nobody wants the rest.
    Cancel,
}

/// What a download asks for.
#[derive(Clone, Hash, Debug)]
pub enum DownloadAction {
    /// Something to do, answered by `Finished`.
    Task(u64, Box<Task>),
    /// The next bytes, checked.
    Data(Payload),
    /// It is over.
    Done(Result<(), Box<DownloadError>>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    List(ServerId),
    Open(ShareKey),
    Block(u64, ShareKey),
    Check(u64, ShareKey),
    Decode(u64),
}

/// What the extension block told about the file.
#[derive(Debug)]
struct FileView {
    coding: Arc<FileCoding>,
    share_tree: IncompleteHashTree,
    ciphertext_tree: IncompleteHashTree,
}

impl FileView {
    fn new(cap: &ChkCap, extension: &Extension, encoding: Encoding) -> FileView {
        let mut share_tree = IncompleteHashTree::new(u64::from(encoding.total()));
        share_tree.set_root(extension.share_root_hash);
        let mut ciphertext_tree = IncompleteHashTree::new(encoding.num_segments());
        ciphertext_tree.set_root(extension.crypttext_root_hash);
        FileView { coding: FileCoding::new(cap.key.clone(), encoding), share_tree, ciphertext_tree }
    }

    fn encoding(&self) -> &Encoding {
        &self.coding.encoding
    }
}

/// One segment on its way.
#[derive(Debug, Default)]
struct SegmentFetch {
    /// Who was asked for a block, when, and whether somebody else was asked since.
    asked: BTreeMap<ShareKey, Asked>,
    blocks: BTreeMap<u16, VerifiedBlock>,
    /// When a block of it came last.
    last_came: Option<Instant>,
    decoding: bool,
}

#[derive(Debug)]
struct Asked {
    since: Instant,
    read: BlockRead,
    overtaken: bool,
    /// The block has come and is being checked.
    came: bool,
}

/// Reads a range of one immutable file.
#[derive(Debug)]
pub struct Download {
    cap: ChkCap,
    storage_index: StorageIndex,
    range: Range<u64>,
    guess: Option<Encoding>,
    finding: Finding,
    shares: BTreeMap<ShareKey, ShareReader>,
    file: Option<FileView>,
    segments: BTreeMap<u64, SegmentFetch>,
    /// Decoded segments that wait for their turn or for the reader.
    ready: BTreeMap<u64, Payload>,
    next_segment: u64,
    pace: Pace,
    /// No block asked for is late before this. Looked at again only when it has come.
    overtake_at: Option<Instant>,
    /// Some block is being waited for longer because nobody gives any.
    all_slow: bool,
    /// The next byte to deliver.
    position: u64,
    granted: u64,
    over: bool,
    tasks: Tasks<Purpose>,
    actions: VecDeque<DownloadAction>,
}

impl Machine for Download {
    type Event = DownloadEvent;
    type Action = DownloadAction;

    fn handle(&mut self, event: DownloadEvent, now: Now) {
        if self.over {
            return;
        }
        match event {
            DownloadEvent::Wake => {}
            DownloadEvent::Grant(bytes) => self.granted = self.granted.saturating_add(bytes),
            DownloadEvent::Cancel => self.finish(),
            DownloadEvent::Finished(id, outcome) => {
                if let Some(purpose) = self.tasks.finish(id) {
                    self.finished(purpose, outcome, now.instant);
                }
            }
        }
        self.advance(now.instant);
    }

    fn poll_action(&mut self) -> Option<DownloadAction> {
        if let Some((id, task)) = self.tasks.poll() {
            return Some(DownloadAction::Task(id, Box::new(task)));
        }
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let opening = self.shares.values().filter_map(|share| share.slow_at(SLOW_AFTER));
        // With enough shares at hand nobody else is asked, however slow the answers are.
        let finding = self.finding.slow_at(SLOW_AFTER).filter(|_| !self.has_enough_lively());
        opening.chain(finding).chain(self.overtake_at).min()
    }
}

impl Download {
    /// A download that starts at once.
    ///
    /// # Panics
    /// If the range does not lie within the file: callers know its size.
    pub fn new(setup: DownloadSetup, now: Now) -> Download {
        let DownloadSetup { cap, range, ring, likely_segment_size } = setup;
        assert!(range.start <= range.end && range.end <= cap.size, "a range within the file");
        let params = EncodingParams::new(cap.needed, cap.total, likely_segment_size).ok();
        let guess = params.and_then(|params| Encoding::new(&params, cap.size).ok());
        let mut download = Download {
            storage_index: cap.storage_index(),
            guess,
            finding: Finding::new(ring, usize::from(cap.total)),
            shares: BTreeMap::new(),
            file: None,
            segments: BTreeMap::new(),
            ready: BTreeMap::new(),
            next_segment: 0,
            pace: Pace::new(),
            overtake_at: None,
            all_slow: false,
            position: range.start,
            granted: 0,
            over: false,
            tasks: Tasks::new(),
            actions: VecDeque::new(),
            cap,
            range,
        };
        download.advance(now.instant);
        download
    }

    fn finished(&mut self, purpose: Purpose, outcome: Outcome, now: Instant) {
        match (purpose, outcome) {
            (Purpose::List(server), Outcome::Answer(answer)) => {
                for share in self.finding.listed(server, answer, self.cap.total) {
                    self.shares.insert((server, share), ShareReader::new(share));
                }
            }
            (Purpose::Open(key), Outcome::Answer(answer)) => self.opened(key, answer, now),
            (Purpose::Block(segment, key), Outcome::Answer(answer)) => {
                if answer.is_ok() {
                    self.came(segment, key, now);
                }
                self.block_read(segment, key, answer)
            }
            (Purpose::Check(segment, key), Outcome::Job(JobOutput::Block(block))) => match block {
                Some(block) => {
                    if let Some(fetch) = self.segments.get_mut(&segment) {
                        fetch.asked.remove(&key);
                        fetch.blocks.entry(key.1).or_insert(block);
                    }
                }
                None => self.bad_share(key, "a block does not match its hash"),
            },
            (Purpose::Decode(segment), Outcome::Job(JobOutput::Decoded(plaintext))) => match plaintext {
                Some(plaintext) => {
                    self.segments.remove(&segment);
                    self.ready.insert(segment, plaintext);
                }
                None => self.fail(DownloadError::Inconsistent { segment }),
            },
            (purpose, outcome) => debug_assert!(false, "{purpose:?} cannot end with {outcome:?}"),
        }
    }

    /// Does whatever can be done now.
    fn advance(&mut self, now: Instant) {
        if self.over {
            return;
        }
        self.deliver();
        if self.position >= self.range.end {
            self.actions.push_back(DownloadAction::Done(Ok(())));
            self.finish();
            return;
        }
        self.overtake(now);
        self.find_and_open(now);
        if self.over {
            return;
        }
        self.start_segments();
        self.fetch_blocks(now);
        self.decode();
    }

    fn deliver(&mut self) {
        let Some(file) = &self.file else { return };
        while self.granted > 0 && self.position < self.range.end {
            let segment = file.encoding().segment_of(self.position).expect("a position within the file");
            let Some(plaintext) = self.ready.get(&segment) else { break };
            let span = file.encoding().segment_range(segment);
            let granted = if mutants::is_in(Mutant::GrantIgnored) { u64::MAX } else { self.granted };
            let end = span.end.min(self.range.end).min(self.position.saturating_add(granted));
            let short =
                u64::from(mutants::is_in(Mutant::RangeCut) && end == self.range.end && end < span.end);
            let data = plaintext.slice(
                self.position - span.start..(end - span.start - short).max(self.position - span.start),
            );
            self.granted = self.granted.saturating_sub(data.len());
            self.position = end;
            self.actions.push_back(DownloadAction::Data(data));
            if end == span.end || end == self.range.end {
                self.ready.remove(&segment);
            }
        }
    }

    /// Opens shares until k distinct ones are open or being opened in good time, and asks more
    /// servers while too few are known.
    fn find_and_open(&mut self, now: Instant) {
        let needed = usize::from(self.cap.needed);
        loop {
            if self.has_enough_lively() {
                return;
            }
            let lively = self.numbers(ShareReader::is_lively);
            let unopened =
                |(key, share): &(&ShareKey, &ShareReader)| share.is_unopened() && !lively.contains(&key.1);
            let load = |server: ServerId| {
                self.shares.range((server, 0)..=(server, u16::MAX)).filter(|(_, s)| s.is_open()).count()
            };
            let best = self.shares.iter().filter(unopened).min_by_key(|(key, _)| (load(key.0), key.1, key.0));
            if let Some(key) = best.map(|(key, _)| *key) {
                self.open(key, now);
                continue;
            }
            let known = self.numbers(|share| share.is_open() || share.is_unopened());
            if self.finding.ask_more(now, SLOW_AFTER, |server| {
                let request = StorageRequest::List { storage_index: self.storage_index };
                let task = ask(server, request);
                self.tasks.start(Purpose::List(server), task);
            }) {
                return;
            }
            if known.len() < needed && !self.finding.is_waiting() {
                let error = self.not_enough(known.len());
                self.fail(error);
            }
            return;
        }
    }

    /// The numbers of the shares known of which something is true.
    fn numbers(&self, of_use: impl Fn(&ShareReader) -> bool) -> BTreeSet<u16> {
        self.shares.iter().filter(|(_, share)| of_use(share)).map(|(key, _)| key.1).collect()
    }

    /// Whether k distinct shares are open, or being opened in good time.
    fn has_enough_lively(&self) -> bool {
        self.numbers(ShareReader::is_lively).len() >= usize::from(self.cap.needed)
    }

    fn open(&mut self, key: ShareKey, now: Instant) {
        let share = self.shares.get_mut(&key).expect("opened shares are known");
        let ranges = share.open(self.guess.as_ref(), now);
        self.tasks.start(Purpose::Open(key), ask(key.0, read(self.storage_index, key.1, &ranges)));
    }

    fn opened(&mut self, key: ShareKey, answer: Answer, now: Instant) {
        let Some(share) = self.shares.get_mut(&key).filter(|share| share.is_opening()) else { return };
        let pieces = match pieces(answer, share.ranges()) {
            Ok(pieces) => pieces,
            Err(trouble) => return self.lose_share(key, trouble),
        };
        match share.opened(pieces, &self.cap, &mut self.file) {
            Ok(Opened::Ready) => {}
            Ok(Opened::Needs(ranges)) => {
                share.ask_again(&ranges, now);
                self.tasks.start(Purpose::Open(key), ask(key.0, read(self.storage_index, key.1, &ranges)));
            }
            Err(how) => self.bad_share(key, how),
        }
    }

    /// A share's data is wrong: it is no longer used, and its server is told.
    fn bad_share(&mut self, key: ShareKey, how: &'static str) {
        let request = StorageRequest::AdviseCorrupt {
            storage_index: self.storage_index,
            share: key.1,
            reason: how.to_string(),
        };
        self.tasks.start_blind(ask(key.0, request));
        self.lose_share(key, Trouble::BadShare { share: key.1, how });
    }

    fn lose_share(&mut self, key: ShareKey, trouble: Trouble) {
        // A server that cannot be asked is lost with all its shares.
        let server_lost =
            matches!(&trouble, Trouble::Ask(error) if !matches!(error, crate::peers::AskError::Server(_)));
        for (other, share) in self.shares.range_mut((key.0, 0)..=(key.0, u16::MAX)) {
            if server_lost || *other == key {
                share.give_up();
                self.pace.ended(*other);
                for fetch in self.segments.values_mut() {
                    fetch.asked.remove(other);
                }
            }
        }
        self.tasks.forget(|purpose| match purpose {
            Purpose::Open(other) | Purpose::Block(_, other) | Purpose::Check(_, other) => {
                *other == key || (server_lost && other.0 == key.0)
            }
            Purpose::List(_) | Purpose::Decode(_) => false,
        });
        self.finding.trouble(key.0, trouble);
    }

    fn not_enough(&self, found: usize) -> DownloadError {
        DownloadError::NotEnoughShares {
            found,
            needed: self.cap.needed,
            total: self.cap.total,
            asked: self.finding.asked(),
            trouble: self.finding.troubles(),
        }
    }

    fn fail(&mut self, error: DownloadError) {
        if !self.over {
            self.actions.push_back(DownloadAction::Done(Err(Box::new(error))));
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.over = true;
        self.tasks.forget(|_| true);
        self.segments.clear();
        self.ready.clear();
        self.shares.clear();
    }
}

fn ask(server: ServerId, request: StorageRequest) -> Task {
    Task::Ask { server, request, bulk: Vec::new(), patience: PATIENCE, effort: Effort::Insist }
}
