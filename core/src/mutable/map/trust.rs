//! Which versions of a file are signed by its key.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Range;

use super::share::{HeldShare, ShareState};
use crate::hash::Hash;
use crate::job::Job;
use crate::mutable::{MutableLayout, MutableShareError, Version, check_public_key};
use crate::rsa::PublicKey;

/// The file's public key, once a share has shown it, and what was checked with it. It stays true
/// when servers are asked again.
#[derive(Debug)]
pub(super) struct Trust {
    fingerprint: Hash,
    key: Option<PublicKey>,
    good: BTreeSet<Version>,
    /// Signatures that were looked at: the number of the check while it is under way, `None` if the
    /// signature proved bad.
    looked_at: BTreeMap<(Version, Vec<u8>), Option<u64>>,
    next_check: u64,
}

/// What is to be done about a share.
pub(super) enum Verdict {
    /// That is what it is.
    Is(ShareState),
    /// Its signature must be checked, by a job for the check with this number.
    Check(u64, Job),
    /// These ranges of it must be read first.
    Read(Vec<Range<u64>>),
}

impl Trust {
    pub(super) fn new(fingerprint: Hash) -> Trust {
        Trust { fingerprint, key: None, good: BTreeSet::new(), looked_at: BTreeMap::new(), next_check: 0 }
    }

    pub(super) fn key(&self) -> Option<&PublicKey> {
        self.key.as_ref()
    }

    /// Judges a share by its version: all shares with the same signed prefix are of one version, and
    /// one good signature of it is enough.
    pub(super) fn judge(&mut self, share: &HeldShare) -> Verdict {
        let Some((version, layout)) = share.header() else { return Verdict::Is(share.state()) };
        if self.good.contains(version) {
            return Verdict::Is(ShareState::Good);
        }
        let key = match &self.key {
            Some(key) => key,
            None => match share.bytes(&layout.public_key_range()) {
                Some(spki) => match check_public_key(&self.fingerprint, &spki) {
                    Ok(key) => self.key.insert(key),
                    Err(why) => return Verdict::Is(ShareState::Bad(why)),
                },
                None => return missing(share, layout),
            },
        };
        let Some(signature) = share.bytes(&layout.signature_range()) else { return missing(share, layout) };
        let entry = (*version, signature.to_vec());
        match self.looked_at.get(&entry) {
            Some(Some(check)) => Verdict::Is(ShareState::Checking(*check)),
            Some(None) => Verdict::Is(ShareState::Bad(MutableShareError::Signature)),
            None => {
                let check = self.next_check;
                self.next_check += 1;
                let message = version.signed_prefix();
                let job = Job::CheckSignature { key: key.clone(), message, signature: entry.1.clone() };
                self.looked_at.insert(entry, Some(check));
                Verdict::Check(check, job)
            }
        }
    }

    /// Takes in what came of a check. Gives the version it was of.
    pub(super) fn checked(&mut self, check: u64, is_good: bool) -> Option<Version> {
        let entry = self.looked_at.iter_mut().find(|(_, under_way)| **under_way == Some(check));
        let ((version, _), under_way) = entry?;
        *under_way = None;
        let version = *version;
        if is_good {
            self.good.insert(version);
            self.looked_at.retain(|(other, _), _| *other != version);
        }
        Some(version)
    }
}

/// A share whose key or signature was not read: they lie further back, or it ends before them.
fn missing(share: &HeldShare, layout: &MutableLayout) -> Verdict {
    if share.pieces().len() > 1 {
        let needed = layout.public_key_range().end.max(layout.signature_range().end) as usize;
        let found = share.first_bytes().len();
        return Verdict::Is(ShareState::Bad(MutableShareError::TooShort { needed, found }));
    }
    Verdict::Read(Vec::from([layout.public_key_range(), layout.signature_range()]))
}
