//! Several workers on one stack of tasks, which they also add to.

use std::sync::{Condvar, Mutex, MutexGuard};

/// The tasks that wait. The newest is taken first, so that a tree is walked into its depth and what waits
/// stays about as long as the directories on the way are large.
pub(crate) struct Tasks<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: Vec<T>,
    /// Workers that are at a task, and may add others.
    working: usize,
}

impl<T: Send> Tasks<T> {
    /// Adds tasks, to be taken in this order and before those that are there.
    pub(crate) fn add(&self, tasks: Vec<T>) {
        self.lock().waiting.extend(tasks.into_iter().rev());
        self.changed.notify_all();
    }

    /// Works all tasks off with so many workers, until none is left or `stop` says so. Gives those that
    /// are left.
    pub(crate) fn run(
        first: Vec<T>,
        workers: usize,
        stop: &(dyn Fn() -> bool + Sync),
        work: &(dyn Fn(T, &Tasks<T>) + Sync),
    ) -> Vec<T> {
        let state = State { waiting: first.into_iter().rev().collect(), working: 0 };
        let tasks = Tasks { state: Mutex::new(state), changed: Condvar::new() };
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(task) = tasks.next(stop) {
                        let _working = Working(&tasks);
                        work(task, &tasks);
                    }
                });
            }
        });
        tasks.state.into_inner().unwrap_or_else(|poison| poison.into_inner()).waiting
    }

    fn next(&self, stop: &(dyn Fn() -> bool + Sync)) -> Option<T> {
        let mut state = self.lock();
        loop {
            if stop() {
                return None;
            }
            if let Some(task) = state.waiting.pop() {
                state.working += 1;
                return Some(task);
            }
            if state.working == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(|poison| poison.into_inner());
        }
    }
}

impl<T> Tasks<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

/// Counts a worker as working while it lives, also if its task panics.
struct Working<'a, T>(&'a Tasks<T>);

impl<T> Drop for Working<'_, T> {
    fn drop(&mut self) {
        self.0.lock().working -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_tree_is_worked_off() {
        for workers in [1, 4] {
            let done = AtomicUsize::new(0);
            let left = Tasks::run(vec![6u32], workers, &|| false, &|depth, tasks| {
                done.fetch_add(1, Ordering::Relaxed);
                tasks.add(vec![depth.saturating_sub(1); if depth > 0 { 3 } else { 0 }]);
            });
            assert!(left.is_empty());
            assert_eq!(done.load(Ordering::Relaxed), (0..=6).map(|depth| 3usize.pow(depth)).sum::<usize>());
        }
    }

    #[test]
    fn what_is_stopped_is_left() {
        let done = AtomicUsize::new(0);
        let stop = || done.load(Ordering::Relaxed) >= 10;
        let left = Tasks::run((0..100).collect(), 1, &stop, &|_: i32, _| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(left.len(), 90);
        assert_eq!(left.last(), Some(&10), "they are taken in order");
    }
}
