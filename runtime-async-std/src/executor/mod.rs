//! What runs the tasks.

use std::future::Future;

#[cfg(feature = "async-std")]
mod async_std;
#[cfg(feature = "smol")]
mod smol;

#[cfg(feature = "async-std")]
pub(crate) use async_std::AsyncStd;
#[cfg(feature = "smol")]
pub(crate) use smol::Smol;

/// All we want of an executor. Sockets and timers come from `async-io`, whoever runs the tasks.
pub(crate) trait Spawn: Clone + Send + Sync + 'static {
    /// Runs a future on threads of the executor.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static);

    /// Runs a future on the calling thread.
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T;
}
