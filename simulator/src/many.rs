//! Many runs at once, told in the order of their seeds.

use core::num::NonZeroUsize;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;

/// How many runs to make at once.
pub(crate) fn jobs(wanted: Option<NonZeroUsize>) -> usize {
    wanted.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
}

/// Runs each seed on one of `jobs` threads and tells what came of it on this one, in the order of
/// the seeds. A run shares nothing with the others, so how many there are changes nothing.
pub(crate) fn in_order<T: Send>(
    seeds: Range<u64>,
    jobs: usize,
    run: impl Fn(u64) -> T + Sync,
    mut tell: impl FnMut(T),
) {
    let (next, run) = (AtomicU64::new(seeds.start), &run);
    thread::scope(|scope| {
        let (done, outcomes) = mpsc::channel();
        for _ in 0..jobs {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || done.send((seed, run(seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        // Those that are over before one with a lower number wait for their turn.
        let (mut early, mut turn) = (BTreeMap::new(), seeds.start);
        for (seed, outcome) in outcomes {
            early.insert(seed, outcome);
            while let Some(outcome) = early.remove(&turn) {
                tell(outcome);
                turn += 1;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn outcomes_come_in_order_however_long_each_takes() {
        for jobs in [1, 2, 7] {
            let mut told = Vec::new();
            let slow_first = |seed: u64| {
                thread::sleep(Duration::from_millis(if seed.is_multiple_of(5) { 8 } else { 0 }));
                seed
            };
            in_order(10..40, jobs, slow_first, |seed| told.push(seed));
            assert_eq!(told, (10..40).collect::<Vec<u64>>(), "{jobs} at once");
        }
    }
}
