//! async-std's executor: global, one thread per processor. Its threads outlive a node.

use super::Spawn;
use std::future::Future;

#[derive(Clone)]
pub(crate) struct AsyncStd;

impl Spawn for AsyncStd {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        async_std::task::spawn(future);
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        async_std::task::block_on(future)
    }
}
