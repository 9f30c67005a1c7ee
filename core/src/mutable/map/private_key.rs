//! Finding the file's private key, which lies encrypted in every share.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Map, MapTask};
use crate::capability::MutableCap;
use crate::identity::ServerId;
use crate::mutable::decrypt_private_key;
use crate::rsa::PrivateKey;
use crate::task::Tasks;

/// How far the search for the private key is.
#[derive(Clone, Debug)]
pub(crate) enum KeySearch {
    /// That is it.
    Found(PrivateKey),
    /// A share is being read; ask again when a task of the map is over.
    Searching,
    /// No good share seen so far has it.
    Nowhere,
}

#[derive(Debug)]
pub(super) struct PrivateKeySearch {
    found: Option<PrivateKey>,
    /// Shares that were asked for it.
    asked: BTreeSet<(ServerId, u16)>,
    /// Shares that have another.
    other: BTreeSet<(ServerId, u16)>,
    under_way: bool,
}

impl PrivateKeySearch {
    pub(super) fn new() -> PrivateKeySearch {
        PrivateKeySearch { found: None, asked: BTreeSet::new(), other: BTreeSet::new(), under_way: false }
    }

    /// The shares are others now. A key that was found stays.
    pub(super) fn start_again(&mut self) {
        self.asked.clear();
        self.other.clear();
        self.under_way = false;
    }

    pub(super) fn answered(&mut self) {
        self.under_way = false;
    }
}

impl Map {
    /// The private key of the file that `cap` can write, from whichever good share has it; asks for it
    /// where it was not read yet, one share at a time.
    pub(crate) fn private_key<P: From<MapTask>>(
        &mut self,
        cap: &MutableCap,
        tasks: &mut Tasks<P>,
    ) -> KeySearch {
        if let Some(key) = &self.private_key.found {
            return KeySearch::Found(key.clone());
        }
        let mut next = None;
        let mut other = Vec::new();
        let mut found = None;
        for (server, number, share) in self.shares() {
            let at = (server, number);
            let Some((_, layout)) = share.good() else { continue };
            let range = layout.private_key_range();
            match share.bytes(&range) {
                _ if self.private_key.other.contains(&at) => {}
                Some(encrypted) => match decrypt_private_key(cap, &encrypted) {
                    Ok(key) => {
                        found = Some(key);
                        break;
                    }
                    Err(_) => other.push(at),
                },
                None if next.is_none() && !self.private_key.asked.contains(&at) => {
                    next = Some((server, number, range));
                }
                None => {}
            }
        }
        self.private_key.other.extend(other);
        if let Some(key) = found {
            return KeySearch::Found(self.private_key.found.insert(key).clone());
        }
        if self.private_key.under_way {
            return KeySearch::Searching;
        }
        let Some((server, share, range)) = next else { return KeySearch::Nowhere };
        self.private_key.asked.insert((server, share));
        self.private_key.under_way = true;
        let task = MapTask::PrivateKey { server, share, round: self.round };
        self.ask_rest((server, share), Vec::from([range]), task, tasks);
        KeySearch::Searching
    }
}
