//! Proves that the core needs no std: a library with its own panic handler and allocator that
//! depends on the core alone. As soon as anything in the core's graph links std, there are two panic
//! handlers, and this stops compiling.
#![no_std]

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
use tallac_core::machine::{Event, Machine};
use tallac_core::node::{Node, NodeConfig};
use tallac_core::time::Now;

struct Nowhere;

// SAFETY: returning null is always allowed; what is never given out is never given back.
unsafe impl GlobalAlloc for Nowhere {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Nowhere = Nowhere;

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    loop {}
}

/// Pulls the whole node in, so that the proof is about all of it.
pub fn drive(config: NodeConfig) -> bool {
    let mut node = Node::new(config, [0; 32], Now::default());
    node.handle(Event::Wake, Now::default());
    node.poll_action().is_some() && node.deadline().is_some()
}
