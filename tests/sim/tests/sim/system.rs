//! What the product and its libraries get from the operating system: random numbers, and the time of
//! day.
//!
//! The product draws ids, and the standard library and tokio the order of maps and of `select!`, from
//! the system's random numbers. Ids of operations begin with the time of day. So this program has a
//! `getrandom` and a `clock_gettime` of its own, which the linker takes instead of the C library's: on
//! the thread of a simulation they answer from the seed and with the simulated time, on all others
//! they ask the kernel.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::chance::Chance;

thread_local! {
    static RANDOM: RefCell<Option<Chance>> = const { RefCell::new(None) };
    /// Microseconds since the Unix epoch.
    static TIME: Cell<Option<i64>> = const { Cell::new(None) };
}

/// From now on random numbers are of this seed, on this thread.
pub fn seed_this_thread(seed: u64) {
    let chance = Chance::new(seed, "system");
    RANDOM.with_borrow_mut(|current| *current = Some(chance));
}

/// The time of day on this thread, in microseconds since the Unix epoch.
pub fn set_time(micros: i64) {
    TIME.set(Some(micros));
}

/// Fills `buffer` on the thread of a simulation; `false` elsewhere.
fn fill(buffer: &mut [u8]) -> bool {
    let drawn = RANDOM.try_with(|random| {
        let mut random = random.try_borrow_mut().ok()?;
        random.as_mut()?.fill(buffer);
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
    if length > 0 && !buffer.is_null() && RANDOM.try_with(|_| ()).is_ok() {
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

/// What the C library calls `clock_gettime(2)`.
///
/// # Safety
/// As the C library's: `time` may be written.
#[allow(unsafe_code, reason = "nothing else reaches the time of day that libraries read")]
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> i32 {
    if clock == libc::CLOCK_REALTIME
        && !time.is_null()
        && let Ok(Some(micros)) = TIME.try_with(Cell::get)
    {
        let (tv_sec, tv_nsec) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000) * 1000);
        // SAFETY: the caller's promise.
        unsafe { time.write(libc::timespec { tv_sec, tv_nsec }) };
        return 0;
    }
    // SAFETY: the arguments are the caller's.
    match real_clock_gettime() {
        // A million times a seed: the C library's reads the kernel's page instead of calling it.
        Some(real) => unsafe { real(clock, time) },
        None => {
            let done = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
            i32::try_from(done).unwrap_or(-1)
        }
    }
}

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> i32;

/// The C library's own, looked for once; `None` where there is none.
#[allow(unsafe_code, reason = "only the dynamic linker knows it")]
fn real_clock_gettime() -> Option<ClockGettime> {
    static FOUND: AtomicUsize = AtomicUsize::new(UNKNOWN);
    const UNKNOWN: usize = usize::MAX;
    let mut found = FOUND.load(Ordering::Relaxed);
    if found == UNKNOWN {
        // SAFETY: the name ends with a zero; the next one after this program's is looked for.
        let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"clock_gettime".as_ptr()) };
        found = next.expose_provenance();
        FOUND.store(found, Ordering::Relaxed);
    }
    let function = std::ptr::with_exposed_provenance::<()>(found);
    // SAFETY: it is null, which is `None`, or the C library's function of this name and type.
    unsafe { std::mem::transmute::<*const (), Option<ClockGettime>>(function) }
}
