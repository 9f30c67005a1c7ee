//! Whether a block is late, so that another share is to be asked for the same.
//!
//! How long a block takes depends on its size, on the line, and on what else was asked for; what
//! tells a slow server from a slow line is what the others do meanwhile. A block is late
//! - if its share gave nothing for a while, although others did;
//! - if its share gave nothing for a longer while, and nobody did;
//! - if the other blocks of its segment came a while ago, so that the segment waits for it alone.
//!
//! The while is measured by how long blocks take with the quickest share.

use crate::identity::ServerId;
use crate::time::Instant;
use alloc::collections::BTreeMap;
use core::time::Duration;

/// A server that takes longer than this for something is overtaken by asking another.
pub(crate) const SLOW_AFTER: Duration = Duration::from_millis(1200);
/// While nobody answers, it may be this node's own line that is slow: overtaking waits this long, and
/// twice as long the next time.
const ALL_SLOW_AFTER: Duration = Duration::from_secs(3);
/// A block is late when it takes so many times what is usual.
const TIMES_USUAL: u32 = 3;
/// However slow everybody was, lateness is noticed after this.
const LATE_AFTER_MAX: Duration = Duration::from_secs(30);

/// A share: its server and its number.
pub(crate) type ShareKey = (ServerId, u16);

#[derive(Debug)]
pub(crate) struct Pace {
    lanes: BTreeMap<ShareKey, Lane>,
    /// When the last block of anybody came in.
    last_block: Instant,
    all_slow_after: Duration,
}

/// The blocks asked of one share.
#[derive(Debug, Default)]
struct Lane {
    under_way: usize,
    /// When the last one came in, or the first one was asked for.
    waiting_since: Instant,
    /// How long a block takes, as a moving average.
    usual: Option<Duration>,
    /// A block that another share was asked for in its place came from there first.
    beaten: bool,
}

impl Pace {
    pub(crate) fn new() -> Pace {
        Pace { lanes: BTreeMap::new(), last_block: Instant::ZERO, all_slow_after: ALL_SLOW_AFTER }
    }

    /// A share was asked for a block.
    pub(crate) fn asked(&mut self, key: ShareKey, now: Instant) {
        let lane = self.lanes.entry(key).or_default();
        if lane.under_way == 0 {
            lane.waiting_since = now;
        }
        lane.under_way += 1;
    }

    /// A share gave a block.
    pub(crate) fn came(&mut self, key: ShareKey, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let took = now.since(lane.waiting_since);
        lane.usual = Some(lane.usual.map_or(took, |usual| (usual * 3 + took) / 4));
        (lane.waiting_since, lane.beaten) = (now, false);
        lane.under_way = lane.under_way.saturating_sub(1);
        self.last_block = now;
    }

    /// Another share gave a block in place of this one.
    pub(crate) fn beaten(&mut self, key: ShareKey) {
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.beaten = true;
        }
    }

    /// Whether others were quicker, so that all of its blocks are to be asked of them. Before, only one
    /// is, to try: on a slow line it would be slower to ask for everything twice.
    pub(crate) fn is_beaten(&self, key: ShareKey) -> bool {
        self.lanes.get(&key).is_some_and(|lane| lane.beaten)
    }

    /// A block is no longer waited for.
    pub(crate) fn dropped(&mut self, key: ShareKey) {
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.under_way = lane.under_way.saturating_sub(1);
        }
    }

    /// Nothing more comes from a share.
    pub(crate) fn ended(&mut self, key: ShareKey) {
        self.lanes.remove(&key);
    }

    /// How many blocks a share was asked for that have not come.
    pub(crate) fn under_way(&self, key: ShareKey) -> usize {
        self.lanes.get(&key).map_or(0, |lane| lane.under_way)
    }

    /// How long "a while" is. No longer than the patience with everybody, which grows only when it
    /// was in vain to ask others: the quickest share may be one of a slow server's.
    pub(crate) fn a_while(&self) -> Duration {
        let quickest = self.lanes.values().filter_map(|lane| lane.usual).min().unwrap_or_default();
        (quickest * TIMES_USUAL).clamp(SLOW_AFTER, self.all_slow_after)
    }

    fn is_capped(&self) -> bool {
        self.a_while() == self.all_slow_after
    }

    /// When a block that a share was asked for counts as late. `others_came`: when another block of its
    /// segment came last.
    pub(crate) fn late_at(&self, key: ShareKey, asked: Instant, others_came: Option<Instant>) -> Instant {
        let a_while = self.a_while();
        let alone = others_came.map(|came| came.max(asked) + a_while);
        let stuck = self.lanes.get(&key).map(|lane| {
            let others_do = self.last_block > lane.waiting_since;
            lane.waiting_since.max(asked) + if others_do { a_while } else { a_while.max(self.all_slow_after) }
        });
        alone.into_iter().chain(stuck).min().unwrap_or(asked)
    }

    /// Blocks were late because nobody gave any: the next time it takes longer.
    pub(crate) fn all_were_slow(&mut self) {
        self.all_slow_after = (self.all_slow_after * 2).min(LATE_AFTER_MAX);
    }

    /// Whether a share is waited for with the patience with everybody: nobody gave anything since it
    /// last did, or all are slow.
    pub(crate) fn all_are_slow(&self, key: ShareKey) -> bool {
        self.is_capped() || self.lanes.get(&key).is_some_and(|lane| self.last_block <= lane.waiting_since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ShareKey = (ServerId([1; 32]), 0);
    const B: ShareKey = (ServerId([2; 32]), 1);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn on_a_slow_line_a_queue_is_not_late() {
        let mut pace = Pace::new();
        for _ in 0..20 {
            pace.asked(A, at(0));
            pace.asked(B, at(0));
        }
        // A block every second, in turn: none but the first is waited for by itself.
        for block in 1..=15 {
            pace.came(A, at(2_000 * block));
            pace.came(B, at(2_000 * block + 1_000));
            let now = at(2_000 * block + 1_999);
            assert!(pace.late_at(A, at(0), None) > now && pace.late_at(B, at(0), None) > now);
        }
        // Now B hangs.
        pace.came(A, at(32_000));
        assert_eq!(pace.late_at(B, at(0), None), at(31_000) + pace.a_while());
        assert_eq!(pace.a_while(), ALL_SLOW_AFTER);
        // With still slower ones patience grows only as it proves in vain to ask others.
        assert!(pace.all_are_slow(B));
        (0..2).for_each(|_| pace.all_were_slow());
        assert_eq!(pace.a_while(), Duration::from_secs(6));
        pace.came(B, at(33_000));
        pace.came(A, at(34_000));
        assert!(!pace.all_are_slow(B));
    }

    #[test]
    fn who_keeps_a_segment_waiting_is_late() {
        let mut pace = Pace::new();
        for _ in 0..10 {
            pace.asked(A, at(0));
            pace.asked(B, at(0));
        }
        for block in 1..=10 {
            pace.came(A, at(10 * block));
        }
        pace.came(B, at(1_000));
        pace.came(B, at(2_000));
        // The third block is not late because of B, which gives something every second, but because
        // the segment waits for it alone.
        assert_eq!(pace.late_at(B, at(0), None), at(2_000) + ALL_SLOW_AFTER);
        assert_eq!(pace.late_at(B, at(0), Some(at(30))), at(30) + SLOW_AFTER);
    }

    #[test]
    fn when_nobody_gives_anything_it_waits_longer_each_time() {
        let mut pace = Pace::new();
        pace.asked(A, at(0));
        assert_eq!(pace.late_at(A, at(0), None), at(3_000));
        pace.all_were_slow();
        assert_eq!(pace.late_at(A, at(0), None), at(6_000));
        (0..9).for_each(|_| pace.all_were_slow());
        assert_eq!(pace.late_at(A, at(0), None), at(30_000));
    }
}
