//! Randomness as a seed.
//!
//! The host hands in 32 bytes once; everything random in a node (keys, request secrets, jitter) is
//! drawn from a ChaCha20 stream over them, so that a simulator replays a node from its seed.

use crate::secret::Secret;
use alloc::boxed::Box;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use core::fmt;
use core::time::Duration;

/// A seeded, cryptographically strong stream of random bytes.
///
/// A node has several, most of which are never drawn from if it only keeps shares. The stream's
/// state is ten times as large as its seed, so it is made when it is first needed.
pub struct Entropy(Stream);

enum Stream {
    Seed(Secret<32>),
    Begun(Box<ChaCha20Rng>),
}

impl Entropy {
    /// Starts the stream of a seed.
    pub fn new(seed: [u8; 32]) -> Entropy {
        Entropy(Stream::Seed(Secret::from_bytes(seed)))
    }

    fn stream(&mut self) -> &mut ChaCha20Rng {
        if let Stream::Seed(seed) = &self.0 {
            self.0 = Stream::Begun(Box::new(ChaCha20Rng::from_seed(*seed.expose())));
        }
        match &mut self.0 {
            Stream::Begun(stream) => stream,
            Stream::Seed(_) => unreachable!("begun above"),
        }
    }

    /// An independent stream for a child machine.
    pub fn child(&mut self) -> Entropy {
        Entropy::new(self.bytes())
    }

    /// The next `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream().fill_bytes(&mut bytes);
        bytes
    }

    /// A random number below `bound` (`bound` > 0). The bias of the reduction is below 2^-32 for
    /// the small bounds it is used with.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.stream().next_u64() % bound.max(1)
    }

    /// `duration` scaled by a random factor between one half and one and a half.
    pub fn jitter(&mut self, duration: Duration) -> Duration {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2);
        Duration::from_nanos(nanos / 2 + self.below(nanos.max(1)))
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}
