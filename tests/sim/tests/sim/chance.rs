//! Everything that is left to chance, drawn from one seed: in the simulation, and in what is simulated.
//!
//! The product draws ids, and the standard library and tokio the order of maps and of `select!`, from
//! the system's random numbers. So this program has a `getrandom` of its own, which the linker takes
//! instead of the C library's: on the thread of a simulation it draws from the seed, on all others it
//! asks the kernel.

use std::cell::RefCell;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

thread_local! {
    static SYSTEM: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

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

    /// Brings them into another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.0.random_range(0..=last));
        }
    }
}

/// From now on the system's random numbers are of this seed, on this thread.
pub fn seed_this_thread(seed: u64) {
    let Chance(system) = Chance::new(seed, "system");
    SYSTEM.with_borrow_mut(|current| *current = Some(system));
}

/// Fills `buffer` on the thread of a simulation; `false` elsewhere.
fn fill(buffer: &mut [u8]) -> bool {
    let drawn = SYSTEM.try_with(|system| {
        let mut system = system.try_borrow_mut().ok()?;
        system.as_mut()?.fill_bytes(buffer);
        Some(())
    });
    matches!(drawn, Ok(Some(())))
}

/// What the C library calls `getrandom(2)`.
///
/// # Safety
/// As the C library's: `buffer` has `length` bytes that may be written.
#[allow(unsafe_code, reason = "nothing else reaches what the product and its libraries draw")]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    if length > 0 && !buffer.is_null() && SYSTEM.try_with(|_| ()).is_ok() {
        // SAFETY: the caller's promise; a slice may not be longer than isize::MAX, nor is a buffer.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
        if fill(bytes) {
            return length.cast_signed();
        }
    }
    // SAFETY: the arguments are the caller's.
    let got = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
    isize::try_from(got).unwrap_or(-1)
}
