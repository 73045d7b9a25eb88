//! Everything that is left to chance in a simulation, drawn from its seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

/// One stream of random numbers. Streams of other names are independent, so that drawing more from
/// one does not change the others.
pub struct Chance(StdRng);

impl Chance {
    /// The stream `name` of a seed.
    pub fn new(seed: u64, name: &str) -> Self {
        // FNV-1a: only has to tell names apart, and to do so for ever.
        let mixed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ mixed))
    }

    /// True so many times of a thousand.
    pub fn permille(&mut self, permille: u32) -> bool {
        self.0.random_range(0..1000) < permille
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end.max(1))
    }

    /// A number of milliseconds from `from` to `to`.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.0.random_range(from..=to))
    }

    /// A duration that is mostly short and rarely `longest` milliseconds.
    pub fn mostly_short(&mut self, longest: u64) -> Duration {
        let part: f64 = self.0.random();
        Duration::from_millis((part.powi(4) * longest as f64) as u64)
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// Fills a buffer.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        self.0.fill_bytes(buffer);
    }

    /// Brings them into another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.0.random_range(0..=last));
        }
    }
}
