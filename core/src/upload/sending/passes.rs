//! What follows a pass over the content: the hash trees, the ends of the shares, another pass for shares that
//! lost their servers.

use super::super::placing::Placing;
use super::super::{File, Purpose};
use super::{Next, SendTask, Sending};
use crate::hash;
use crate::hashtree::HashTree;
use crate::job::Job;
use crate::payload::Payload;
use crate::share::{self, Extension};
use crate::task::{Tasks, Trouble};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

/// Longer tails are cut into writes of this size.
const WRITE_MAX: u64 = 1024 * 1024;
/// How long it may take to make a share durable, without its length.
const CLOSE_PATIENCE: Duration = Duration::from_secs(20);
/// How fast the slowest disk is taken to be: bytes per second, added to the patience above.
const SLOWEST_DISK: u64 = 8 * 1024 * 1024;

/// How far the hash trees are.
#[derive(Debug)]
pub(super) enum Ending {
    /// The hash trees wait for the last segment.
    Open,
    Building,
    Built(Box<Trees>),
}

/// What completes the shares.
#[derive(Debug)]
pub(in crate::upload) struct Trees {
    ciphertext: HashTree,
    pub(in crate::upload) blocks: Vec<HashTree>,
    pub(in crate::upload) shares: HashTree,
    /// Packed.
    pub(in crate::upload) extension: Vec<u8>,
}

impl Sending {
    /// All blocks of this pass are confirmed. `None` if another pass begins.
    pub(super) fn end_pass(
        &mut self,
        file: &File,
        placing: &mut Placing,
        tasks: &mut Tasks<Purpose>,
        now: Instant,
    ) -> Option<Next> {
        self.searching = false;
        if placing.awaits_allocations() {
            return Some(Next::Wait(self.progress(file)));
        }
        match &self.ending {
            Ending::Open if self.whole.hasher.is_some() && self.whole.waiting.is_empty() => {
                let mut leaves = Vec::from([core::mem::take(&mut self.ciphertext_hashes)]);
                leaves.append(&mut self.block_hashes);
                tasks.job(Purpose::Sending(SendTask::Trees), Job::BuildTrees(leaves));
                self.ending = Ending::Building;
                return Some(Next::Wait(self.progress(file)));
            }
            Ending::Open | Ending::Building => return Some(Next::Wait(self.progress(file))),
            // Nothing is completed before it is known what the shares found in place are worth.
            Ending::Built(trees) => {
                if !self.proving.advance(trees, file, placing, tasks) {
                    return Some(Next::Wait(self.progress(file)));
                }
            }
        }
        // Shares whose server failed go to another, in a further pass; the rest stays open so long,
        // so that nothing is whole before enough can be.
        let closing = self.writers.values().any(|writer| writer.closing && !writer.finished);
        if !closing && !self.streaming {
            if self.assign(file, placing, tasks, now) {
                return Some(Next::Wait(self.progress(file)));
            }
            placing.drop_doubles(file, tasks);
            if self.begin_pass(placing) {
                return None;
            }
        }
        let enough = placing.is_happy() && placing.is_readable(file.coding.encoding.needed());
        if !closing && !enough {
            return Some(Next::Failed);
        }
        self.close_writers(file, tasks);
        if self.writers.values().any(|writer| !writer.finished) {
            return Some(Next::Wait(self.progress(file)));
        }
        let Ending::Built(trees) = &self.ending else { unreachable!("checked above") };
        let extension_hash = hash::uri_extension_hash(&trees.extension);
        if self.streaming && !self.read_back {
            if self.assign(file, placing, tasks, now) {
                return Some(Next::Wait(self.progress(file)));
            }
            self.read_back = true;
            placing.drop_doubles(file, tasks);
            if self.begin_pass(placing) {
                return Some(Next::ReadBack(extension_hash));
            }
        }
        Some(Next::Finished(extension_hash))
    }

    /// Gives shares without a server a new one, further along the ring if need be. `true` while that
    /// is not decided.
    fn assign(
        &mut self,
        file: &File,
        placing: &mut Placing,
        tasks: &mut Tasks<Purpose>,
        now: Instant,
    ) -> bool {
        placing.ask_next_batch(file, tasks);
        self.searching = !placing.located(now);
        if self.searching || placing.assign(file, tasks) {
            return true;
        }
        let settled = placing.is_happy() && (placing.is_complete() || !self.ever_lost);
        if settled || !placing.widen(now) {
            return false;
        }
        placing.ask_next_batch(file, tasks);
        self.searching = true;
        true
    }

    /// Begins a further pass for the shares that have been given a new server. `false` if there are
    /// none.
    fn begin_pass(&mut self, placing: &Placing) -> bool {
        let opened = self.open_writers(placing);
        if opened.is_empty() {
            return false;
        }
        (self.shares, self.first_pass) = (opened, false);
        (self.next_read, self.next_write) = (0, 0);
        true
    }

    /// The content could not be read back: does without the shares that are not whole.
    pub(in crate::upload) fn give_up_pass(
        &mut self,
        file: &File,
        placing: &mut Placing,
        tasks: &mut Tasks<Purpose>,
    ) {
        let open: Vec<u16> =
            self.writers.iter().filter(|(_, w)| !w.finished).map(|(share, _)| *share).collect();
        for share in open {
            self.lose(share, Trouble::NoSpace, file, placing, tasks);
        }
        self.next_read = file.coding.encoding.num_segments();
        self.next_write = self.next_read;
    }

    pub(super) fn trees_built(&mut self, mut trees: Vec<HashTree>, file: &File) {
        let blocks = trees.split_off(1);
        let ciphertext = trees.remove(0);
        let shares = HashTree::from_leaves(blocks.iter().map(HashTree::root).collect());
        let whole = self.whole.hasher.take().expect("the hash was whole when the trees were asked for");
        let extension =
            Extension::new(&file.coding.encoding, whole.finish(), ciphertext.root(), shares.root());
        self.ending =
            Ending::Built(Box::new(Trees { ciphertext, blocks, shares, extension: extension.pack() }));
    }

    /// Sends the tail of every share that is not being closed yet.
    fn close_writers(&mut self, file: &File, tasks: &mut Tasks<Purpose>) {
        let Ending::Built(trees) = &self.ending else { return };
        let seconds = self.layout.allocated_size(trees.extension.len()) / SLOWEST_DISK;
        let patience = CLOSE_PATIENCE + Duration::from_secs(seconds);
        for (share, writer) in &mut self.writers {
            if core::mem::replace(&mut writer.closing, true) {
                continue;
            }
            let chain = share::share_hashes(&trees.shares, *share);
            let block_tree = &trees.blocks[usize::from(*share)];
            let tail = share::tail(&self.layout, &trees.ciphertext, block_tree, &chain, &trees.extension);
            let mut tail = Payload::from(tail);
            while !tail.is_empty() {
                let piece = tail.take_front(tail.len().min(WRITE_MAX));
                let gathered = writer.gather(piece);
                if tail.is_empty() || gathered >= WRITE_MAX {
                    writer.send(*share, file, patience, tasks);
                }
            }
        }
    }
}
