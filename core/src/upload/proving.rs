//! Whether the shares that servers say they have are of this file.
//!
//! A share that is there need not be sent, but a server's word for it is not enough: its disk may
//! have rotted, and a server that claims every share of every file would make uploads count copies
//! that nobody can read. So once the hashes of the file are known, every share found in place is
//! asked for its metadata and for one block chosen by chance, before any new share is completed. One
//! that does not match is not counted, and what it was to hold goes to another server.

use super::placing::Placing;
use super::sending::{SendTask, Trees};
use super::{File, Purpose};
use crate::hash::Hash;
use crate::hashtree;
use crate::identity::ServerId;
use crate::job::{Job, JobOutput};
use crate::peers::{Answer, AskError, Effort};
use crate::share::{self, ShareLayout};
use crate::storage::protocol::StorageRequest;
use crate::task::{Outcome, Task, Tasks, Trouble, pieces, read};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

/// How long a server may take to show a share.
const PATIENCE: Duration = Duration::from_secs(6);
/// Bytes of blocks asked for at once, at least one block.
const BYTES_UNDER_WAY: u64 = 8 * 1024 * 1024;

type ShareKey = (ServerId, u16);

/// Shares found in place that are being looked at.
#[derive(Debug)]
pub(super) struct Proving {
    layout: ShareLayout,
    /// Which block is asked for follows from this, and nobody else knows it.
    chance: u64,
    queue: VecDeque<ShareKey>,
    asked: BTreeMap<ShareKey, Vec<Range<u64>>>,
    checking: BTreeSet<ShareKey>,
}

impl Proving {
    pub(super) fn new(layout: ShareLayout, chance: u64) -> Proving {
        Proving { layout, chance, queue: VecDeque::new(), asked: BTreeMap::new(), checking: BTreeSet::new() }
    }

    /// Looks at the shares that nobody has looked at yet. `true` once there is none.
    pub(super) fn advance(
        &mut self,
        trees: &Trees,
        file: &File,
        placing: &mut Placing,
        tasks: &mut Tasks<Purpose>,
    ) -> bool {
        self.queue.extend(placing.take_unproven());
        let block = u64::from(file.coding.encoding.block_size()).max(1);
        let window = (BYTES_UNDER_WAY / block).clamp(1, 256) as usize;
        while self.asked.len() + self.checking.len() < window
            && let Some(key) = self.queue.pop_front()
        {
            if !placing.is_believed(&key.0, key.1) {
                continue;
            }
            let extension = self.layout.extension_range(trees.extension.len() as u32);
            let ranges = Vec::from([
                0..self.layout.header().len() as u64,
                self.layout.share_hashes_range().start..extension.end,
                self.layout.block_range(&file.coding.encoding, self.segment(key.1, file)),
            ]);
            let request = read(file.storage_index, key.1, &ranges);
            self.asked.insert(key, ranges);
            tasks.start(Purpose::Sending(SendTask::Prove(key)), ask(key.0, request));
        }
        self.asked.is_empty() && self.checking.is_empty()
    }

    /// The segment of whose block a share is asked.
    fn segment(&self, share: u16, file: &File) -> u64 {
        self.chance.wrapping_mul(2 * u64::from(share) + 1) % file.coding.encoding.num_segments()
    }

    pub(super) fn finished(
        &mut self,
        key: ShareKey,
        outcome: Outcome,
        trees: &Trees,
        file: &File,
        placing: &mut Placing,
        tasks: &mut Tasks<Purpose>,
    ) {
        let verdict = match outcome {
            Outcome::Answer(answer) => {
                let Some(ranges) = self.asked.remove(&key) else { return };
                match self.shown(key.1, answer, &ranges, trees, file) {
                    Ok(job) => {
                        self.checking.insert(key);
                        tasks.job(Purpose::Sending(SendTask::Prove(key)), job);
                        return;
                    }
                    Err(trouble) => Err(trouble),
                }
            }
            Outcome::Job(JobOutput::Block(block)) if self.checking.remove(&key) => {
                block.map(drop).ok_or(bad(key.1, "a block does not match its hash"))
            }
            Outcome::Job(_) | Outcome::Disk(_) => return,
        };
        match verdict {
            Ok(()) => {}
            Err(trouble) => {
                if let Trouble::BadShare { share, how } = trouble {
                    let (storage_index, reason) = (file.storage_index, how.to_string());
                    let request = StorageRequest::AdviseCorrupt { storage_index, share, reason };
                    tasks.start_blind(ask(key.0, request));
                }
                placing.disproved(key.0, key.1, trouble);
            }
        }
    }

    /// Checks the metadata of a share, and gives the job that checks its block.
    fn shown(
        &self,
        share: u16,
        answer: Answer,
        ranges: &[Range<u64>],
        trees: &Trees,
        file: &File,
    ) -> Result<Job, Trouble> {
        let gone = |trouble| match trouble {
            Trouble::Ask(AskError::Server(_)) => bad(share, "it cannot be read"),
            other => other,
        };
        let mut shown = pieces(answer, ranges).map_err(gone)?;
        let (Some(block), Some(tail), Some(header)) = (shown.pop(), shown.pop(), shown.pop()) else {
            return Err(Trouble::Nonsense("other bytes than were asked for"));
        };
        // Metadata is always real bytes.
        let (Some(tail), Some(header)) = (tail.into_bytes(), header.into_bytes()) else {
            return Err(bad(share, "its metadata is no bytes"));
        };
        let segment = self.segment(share, file);
        let same_place = ShareLayout::parse(&header).is_ok_and(|found| {
            found.block_range(&file.coding.encoding, segment)
                == self.layout.block_range(&file.coding.encoding, segment)
                && found.crypttext_tree_range() == self.layout.crypttext_tree_range()
                && found.block_hashes_range() == self.layout.block_hashes_range()
                && found.share_hashes_range() == self.layout.share_hashes_range()
        });
        if !same_place {
            return Err(bad(share, "its header is not that of this file"));
        }
        let chain_len = self.layout.share_hashes_range().end - self.layout.share_hashes_range().start;
        let (chain, extension) = tail.split_at((chain_len as usize).min(tail.len()));
        let mut expected = Vec::new();
        self.layout.write_extension_length(&mut expected, trees.extension.len());
        expected.extend_from_slice(&trees.extension);
        if *extension != *expected {
            return Err(bad(share, "its extension block is not that of this file"));
        }
        let hashes = share::share_hashes(&trees.shares, share);
        let hashes: BTreeMap<u64, Hash> =
            hashes.iter().map(|(node, hash)| (u64::from(*node), *hash)).collect();
        if share::parse_share_hashes(chain).ok() != Some(hashes) {
            return Err(bad(share, "its share hash chain is not that of this file"));
        }
        let leaf = hashtree::first_leaf(file.coding.encoding.num_segments()) + segment;
        let expected = trees.blocks[usize::from(share)].nodes()[leaf as usize];
        Ok(Job::CheckBlock { block, expected })
    }
}

fn bad(share: u16, how: &'static str) -> Trouble {
    Trouble::BadShare { share, how }
}

fn ask(server: ServerId, request: StorageRequest) -> Task {
    Task::Ask { server, request, bulk: Vec::new(), patience: PATIENCE, effort: Effort::Normal }
}
