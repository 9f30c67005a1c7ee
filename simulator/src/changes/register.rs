//! What a place may hold, given what was written to it and when that was acknowledged.

use core::time::Duration;

/// A write to a place.
#[derive(Clone, Debug)]
struct Write<V> {
    /// What is there if it took effect; `None`: nobody knows.
    value: Option<V>,
    began: Duration,
    /// When it was acknowledged. Without that it may take effect at any time after it began.
    acknowledged: Option<Duration>,
}

/// A place that several write to, and its history.
#[derive(Clone, Debug)]
pub(super) struct Register<V>(Vec<Write<V>>);

/// Names a write of a register.
pub(super) type WriteNumber = usize;

impl<V: PartialEq> Register<V> {
    /// A place that holds something from a time on.
    pub(super) fn holding(value: V, since: Duration) -> Register<V> {
        let write = Write { value: Some(value), began: since, acknowledged: Some(since) };
        Register([write].into())
    }

    /// Somebody begins to write this, or something that nobody knows.
    pub(super) fn begin(&mut self, value: Option<V>, now: Duration) -> WriteNumber {
        self.0.push(Write { value, began: now, acknowledged: None });
        self.0.len() - 1
    }

    /// He is told that it is done.
    pub(super) fn acknowledge(&mut self, write: WriteNumber, now: Duration) {
        self.0[write].acknowledged = Some(now);
    }

    /// Whether it may hold this: some write of it is not followed by an acknowledged one that began when
    /// the first was acknowledged already.
    pub(super) fn may_hold(&self, value: &V) -> bool {
        let follows = |other: &Write<V>, done: Duration| other.acknowledged.is_some() && other.began >= done;
        let is_last = |(number, write): &(usize, &Write<V>)| match write.acknowledged {
            None => true,
            Some(done) => !self.0[number + 1..].iter().any(|other| follows(other, done)),
        };
        let may_be = |write: &Write<V>| write.value.as_ref().is_none_or(|of| of == value);
        self.0.iter().enumerate().any(|write| may_be(write.1) && is_last(&write))
    }

    /// Whether something was written to it of which nobody knows what it was.
    pub(super) fn holds_unknown(&self) -> bool {
        self.0.iter().any(|write| write.value.is_none())
    }

    /// Everything that was ever written, or was to be.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().filter_map(|write| write.value.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_last_acknowledged_write_stays() {
        let mut register = Register::holding("first", at(0));
        let write = register.begin(Some("second"), at(1));
        assert!(register.may_hold(&"first") && register.may_hold(&"second"));
        register.acknowledge(write, at(2));
        assert!(!register.may_hold(&"first") && register.may_hold(&"second"));
        assert!(!register.may_hold(&"third"));
    }

    #[test]
    fn of_writes_at_the_same_time_either_may_stay() {
        let mut register = Register::holding("first", at(0));
        let second = register.begin(Some("second"), at(1));
        let third = register.begin(Some("third"), at(2));
        register.acknowledge(second, at(3));
        register.acknowledge(third, at(3));
        assert!(register.may_hold(&"second") && register.may_hold(&"third") && !register.may_hold(&"first"));
        let fourth = register.begin(Some("fourth"), at(3));
        register.acknowledge(fourth, at(4));
        assert!(register.may_hold(&"fourth") && !register.may_hold(&"third"));
    }

    #[test]
    fn what_was_never_acknowledged_may_come_late() {
        let mut register = Register::holding("first", at(0));
        register.begin(Some("lost"), at(1));
        let write = register.begin(Some("second"), at(5));
        register.acknowledge(write, at(6));
        assert!(register.may_hold(&"lost") && register.may_hold(&"second") && !register.may_hold(&"first"));
    }
}
