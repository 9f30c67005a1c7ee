//! Time as a value that the host hands in.
//!
//! Two clocks, never mixed: [`Instant`] only grows and measures waiting; [`UnixTime`] is the date,
//! may jump, and is used only where a date is stored or announced (leases, last-seen times).

use core::time::Duration;

/// A point on the host's monotonic clock, in nanoseconds since an origin of the host's choosing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// The origin of the clock.
    pub const ZERO: Instant = Instant(0);

    /// The time passed since `earlier`, zero if `earlier` is later than `self`.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, duration: Duration) -> Instant {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }
}

/// Seconds since 1970-01-01 UTC.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize, serde::Deserialize,
)]
pub struct UnixTime(pub u64);

/// Both clocks, as the host reads them when it hands in an event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Now {
    /// The monotonic clock.
    pub instant: Instant,
    /// The date.
    pub unix: UnixTime,
}
