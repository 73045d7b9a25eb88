//! How much memory the C library keeps for later.
//!
//! glibc gives threads that allocate at the same time arenas of their own, up to eight per CPU, and
//! what is freed in one stays with it. The daemon has a dozen threads that are idle nearly always:
//! with two arenas it takes 2 MB less after some use and serves requests as fast (docs/findings.md).

use tracing::debug;

const ARENAS: libc::c_int = 2;

/// Bounds the number of arenas. To be called before there are other threads.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "a call to the C library")]
pub fn bound_arenas() {
    // SAFETY: mallopt(3) takes two numbers and may be called at any time.
    let done = unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
    if done == 0 {
        debug!(arenas = ARENAS, "the C library keeps its number of arenas");
    }
}

/// Other C libraries have no arenas.
#[cfg(not(target_env = "gnu"))]
pub fn bound_arenas() {}
