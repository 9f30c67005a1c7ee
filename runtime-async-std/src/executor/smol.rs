//! smol's executor, with threads of our own: its global one has a single thread unless told
//! otherwise from outside.

use super::Spawn;
use async_channel::{Receiver, Sender};
use std::future::Future;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

#[derive(Clone)]
pub(crate) struct Smol {
    executor: Arc<::smol::Executor<'static>>,
}

/// The threads of an executor.
pub(crate) struct Threads {
    stop: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Smol {
    /// Starts an executor with a thread per processor.
    pub(crate) fn start() -> (Smol, Threads) {
        let executor = Arc::new(::smol::Executor::new());
        let (stop, stopped) = async_channel::bounded(1);
        let count = thread::available_parallelism().map_or(2, usize::from);
        let start = |_| {
            let (executor, stopped): (Arc<::smol::Executor<'static>>, Receiver<()>) =
                (executor.clone(), stopped.clone());
            let run = move || {
                let _ = ::smol::block_on(executor.run(stopped.recv()));
            };
            thread::Builder::new().name("smol".into()).spawn(run).expect("a node begins with a few threads")
        };
        let threads = (0..count).map(start).collect();
        (Smol { executor }, Threads { stop, threads })
    }
}

impl Threads {
    /// Ends the threads. Tasks that have not ended are left lying.
    pub(crate) fn join(self) {
        self.stop.close();
        for thread in self.threads {
            // A task that panicked took a thread with it and has told why.
            let _ = thread.join();
        }
    }
}

impl Spawn for Smol {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(future).detach();
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        ::smol::block_on(future)
    }
}
