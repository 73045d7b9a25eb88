//! Waiting for work that is done outside of the async runtime: by a database's threads, by the pool
//! for blocking work, by another program.
//!
//! In the daemon [`outside`] is `work.await` and [`Kept`] is nothing. A simulation, on a clock that
//! stands still until all tasks wait, cannot let such work take the time it takes: the order of its
//! ends would differ from run to run. With the feature `simulation`, on a thread that has entered one,
//! the work is therefore finished on the spot, between two simulated pauses that stand for its
//! duration. So each piece of work is atomic to the simulation, and a task may still be interrupted,
//! or killed, right before and right after it.
//!
//! Work that is passed to [`outside`] must not wait for another task of the same thread: nothing else
//! runs there until it has ended. Whoever takes a lock takes it before.

#[cfg(feature = "simulation")]
pub mod simulation;

use std::ops::Deref;

/// Waits for `work` that is done outside of the runtime.
pub fn outside<F>(work: F) -> impl Future<Output = F::Output> + Send
where
    F: Future + Send,
    F::Output: Send,
{
    // On the heap: a future that holds another takes its room twice, and these are nested.
    #[cfg(feature = "simulation")]
    let work = Box::pin(simulation::perhaps(work));
    work
}

/// A thing that starts work outside of the runtime when it is dropped, as a pooled connection does
/// that has to be given back.
pub struct Kept<T> {
    // Fields are dropped in this order.
    _begin: drops::Begin,
    kept: T,
    _end: drops::End,
}

impl<T> Kept<T> {
    /// Keeps it.
    pub const fn new(kept: T) -> Self {
        Self { _begin: drops::Begin, kept, _end: drops::End }
    }

    /// Gives it back.
    pub fn into_inner(self) -> T {
        self.kept
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.kept
    }
}

/// Around the drop of what is kept.
#[cfg(not(feature = "simulation"))]
mod drops {
    pub(crate) struct Begin;
    pub(crate) struct End;
}

/// Around the drop of what is kept: there it is within the runtime of outside work.
#[cfg(feature = "simulation")]
mod drops {
    use crate::simulation;

    pub(crate) struct Begin;
    pub(crate) struct End;

    impl Drop for Begin {
        fn drop(&mut self) {
            simulation::begin_drop();
        }
    }

    impl Drop for End {
        fn drop(&mut self) {
            simulation::end_drop();
        }
    }
}
