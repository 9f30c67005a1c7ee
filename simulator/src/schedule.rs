//! What is to happen, ordered by time and, at one time, by when it was asked for.

use core::cmp::Ordering;
use core::time::Duration;
use std::collections::BinaryHeap;

/// Things to come. Time is what has passed since the world began.
pub(crate) struct Schedule<T> {
    now: Duration,
    next: u64,
    heap: BinaryHeap<Entry<T>>,
}

struct Entry<T> {
    at: Duration,
    number: u64,
    what: T,
}

impl<T> Schedule<T> {
    pub(crate) fn new() -> Schedule<T> {
        Schedule { now: Duration::ZERO, next: 0, heap: BinaryHeap::new() }
    }

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    pub(crate) fn at(&mut self, at: Duration, what: T) {
        let number = self.next;
        self.next += 1;
        self.heap.push(Entry { at: at.max(self.now), number, what });
    }

    pub(crate) fn after(&mut self, pause: Duration, what: T) {
        self.at(self.now + pause, what);
    }

    /// When the next thing happens.
    pub(crate) fn peek(&self) -> Option<Duration> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Lets time pass in which nothing happens.
    pub(crate) fn pass(&mut self, until: Duration) {
        debug_assert!(self.peek().is_none_or(|next| next >= until), "something happens before");
        self.now = self.now.max(until);
    }

    /// Goes on to the next thing.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let entry = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.what)
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Entry<T>) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Entry<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Entry<T>) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Entry<T> {}
