//! The connections there are.

use super::side::Side;
use super::{End, LinkId};
use core::time::Duration;
use tallac_core::nurl::Pin;

/// The connections there are, by number. Numbers are never used again.
#[derive(Default)]
pub(super) struct Links(Vec<Option<Box<Link>>>);

impl Links {
    pub(super) fn add(&mut self, link: Link) -> LinkId {
        self.0.push(Some(Box::new(link)));
        LinkId(self.0.len() as u64 - 1)
    }

    pub(super) fn get(&self, id: LinkId) -> Option<&Link> {
        self.0.get(id.0 as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.0.get_mut(id.0 as usize)?.as_deref_mut()
    }

    pub(super) fn remove(&mut self, id: LinkId) -> Option<Box<Link>> {
        self.0.get_mut(id.0 as usize)?.take()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.0.iter().enumerate().filter_map(|(number, link)| Some((LinkId(number as u64), link.as_deref()?)))
    }
}

pub(super) struct Link {
    pub(super) caller: Side,
    pub(super) callee: Side,
    pub(super) pin: Pin,
    /// Nothing arrives any more.
    pub(super) lost: bool,
    /// Something arrived at a side that died: it will be told off when the node is back.
    pub(super) knocked: [bool; 2],
    /// One way.
    pub(super) latency: Duration,
}

impl Link {
    pub(super) fn side(&mut self, end: End) -> &mut Side {
        match end {
            End::Caller => &mut self.caller,
            End::Callee => &mut self.callee,
        }
    }
}
