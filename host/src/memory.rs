//! How the process keeps its memory.

/// Frames are a few hundred kilobytes each. Left alone, glibc gives the memory of each back to the
/// system and asks for it again page by page, which costs a third of all the CPU time of receiving.
/// Freeing one large block teaches it to keep what is freed up to twice that size (mallopt(3),
/// "dynamic mmap threshold"). Elsewhere this does nothing.
pub fn keep_freed_memory() {
    const LEARNED: usize = 8 * 1024 * 1024;
    drop(std::hint::black_box(vec![0u8; LEARNED]));
}
