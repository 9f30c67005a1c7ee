//! Keys for new mutable files, made before they are needed.
//!
//! A key takes the better part of a second to make, so a few are kept ready. None is made before the
//! node is first asked for something that has to do with mutable files: most nodes only keep shares.

use crate::entropy::Entropy;
use crate::job::Job;
use crate::rsa::PrivateKey;
use crate::secret::Secret;
use alloc::vec::Vec;

/// A few keys that nobody has used.
pub(super) struct KeyPool {
    entropy: Entropy,
    wanted: usize,
    ready: Vec<PrivateKey>,
    in_use: bool,
    making: bool,
}

impl KeyPool {
    /// A pool that keeps as many keys ready.
    pub(super) fn new(wanted: usize, entropy: Entropy) -> KeyPool {
        KeyPool { entropy, wanted, ready: Vec::new(), in_use: false, making: false }
    }

    /// From now on keys are made.
    pub(super) fn open(&mut self) {
        self.in_use = true;
    }

    /// A key, if one is ready.
    pub(super) fn take(&mut self) -> Option<PrivateKey> {
        self.open();
        self.ready.pop()
    }

    /// The job that is to be run now, if any. One at a time: others have work for the processor, too.
    pub(super) fn next_job(&mut self) -> Option<Job> {
        if !self.in_use || self.making || self.ready.len() >= self.wanted {
            return None;
        }
        self.making = true;
        Some(Job::GenerateKeys { seed: Secret::from_bytes(self.entropy.bytes()) })
    }

    /// The job has ended.
    pub(super) fn made(&mut self, key: Option<PrivateKey>) {
        self.making = false;
        match key {
            Some(key) => self.ready.push(key),
            // Whoever needs a key will try again, and say so if that fails.
            None => self.in_use = false,
        }
    }
}
