//! A few threads that take work in turn.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

type Work = Box<dyn FnOnce() + Send>;

/// Threads that run what they are given, in order. The queue has no end of its own: the machine
/// bounds what it asks for.
pub(crate) struct Pool {
    queue: Sender<Work>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `count` threads, at least one.
    pub(crate) fn new(name: &str, count: usize) -> Pool {
        let (queue, work) = mpsc::channel();
        let work = Arc::new(Mutex::new(work));
        let start = |number| {
            let work = work.clone();
            let builder = thread::Builder::new().name(format!("{name} {number}"));
            builder.spawn(move || take_turns(&work)).expect("a node begins with a few threads")
        };
        Pool { queue, threads: (0..count.max(1)).map(start).collect() }
    }

    /// Has something done.
    pub(crate) fn submit(&self, work: impl FnOnce() + Send + 'static) {
        self.queue.send(Box::new(work)).expect("the threads last as long as the pool");
    }

    /// Lets everything submitted end, and the threads.
    pub(crate) fn join(self) {
        drop(self.queue);
        for thread in self.threads {
            // Work catches its own panics.
            let _ = thread.join();
        }
    }
}

fn take_turns(work: &Mutex<Receiver<Work>>) {
    loop {
        // One thread waits in the channel, the others for the lock.
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(work) => work(),
            Err(_) => return,
        }
    }
}
