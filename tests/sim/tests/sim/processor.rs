//! One processor for each seed.
//!
//! A simulation is one thread at a time: its own, or the one that does a piece of work outside, which it
//! waits for. On two processors each of some 100,000 turns would wake the other one up, which takes most
//! of the time of a seed. It is also the same number of processors on every machine, and what the product
//! makes of that number is part of the story.

use rustix::io;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The processors that this thread may use.
///
/// # Errors
/// The system's.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor)).collect())
}

/// This thread, and whatever it starts, stays on one processor.
///
/// # Errors
/// The system's.
pub fn stay_on(processor: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(processor);
    sched_setaffinity(None, &only)
}

/// This thread, and whatever it starts, stays on the processor it is on, unless it has no choice
/// already.
///
/// # Errors
/// The system's.
pub fn stay() -> io::Result<()> {
    if allowed()?.len() > 1 { stay_on(sched_getcpu()) } else { Ok(()) }
}
