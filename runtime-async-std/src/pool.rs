//! A few tasks that have work done on the threads of the `blocking` crate, one piece each at a time.

use crate::executor::Spawn;
use crate::socket::Tasks;
use async_channel::{Receiver, Sender};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tallac_core::machine::Event;
use tallac_host::drive::Input;

type Work = Box<dyn FnOnce() -> Event + Send>;

/// Runs what it is given, in order, so much at once. The queue has no end of its own: the machine
/// bounds what it asks for.
pub(crate) struct Pool {
    queue: Sender<Work>,
    /// Closes when the last task ends.
    ended: Receiver<()>,
}

impl Pool {
    /// Starts `count` tasks, at least one. What work comes to goes to `inputs`.
    pub(crate) fn new(executor: &impl Spawn, count: usize, inputs: Sender<Input<Tasks>>) -> Pool {
        let (queue, work) = async_channel::unbounded::<Work>();
        let (running, ended) = async_channel::bounded(1);
        for _ in 0..count.max(1) {
            let (work, inputs, running) = (work.clone(), inputs.clone(), running.clone());
            executor.spawn(async move {
                while let Ok(work) = work.recv().await {
                    let done = blocking::unblock(|| catch_unwind(AssertUnwindSafe(work))).await;
                    // If nobody listens, the node has stopped and does not want to know.
                    let _ = inputs.try_send(match done {
                        Ok(event) => Input::Event(event),
                        Err(panic) => Input::Panicked(panic),
                    });
                }
                drop(running);
            });
        }
        Pool { queue, ended }
    }

    /// Has something done.
    pub(crate) fn submit(&self, work: impl FnOnce() -> Event + Send + 'static) {
        self.queue.try_send(Box::new(work)).expect("the tasks last as long as the pool");
    }

    /// Lets everything submitted end, and the tasks.
    pub(crate) async fn join(self) {
        drop(self.queue);
        let _ = self.ended.recv().await;
    }
}
