//! The thread of a simulation, and the runtime beside it that does the work outside.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::runtime::{EnterGuard, Handle};
use tokio::task::unconstrained;

use crate::Kept;

/// How long the next piece of work seems to take: a pause before it and one after it.
pub type Pace = Box<dyn FnMut() -> (Duration, Duration)>;

thread_local! {
    static HANDLE: Cell<Option<&'static Handle>> = const { Cell::new(None) };
    static PACE: RefCell<Option<Pace>> = const { RefCell::new(None) };
    static DROPPING: RefCell<Vec<EnterGuard<'static>>> = const { RefCell::new(Vec::new()) };
}

/// From now on this thread is that of a simulation. `outside` is a runtime with threads of its own and
/// the machine's clock; the handle is needed until the process ends.
pub fn enter(outside: &'static Handle, pace: Pace) {
    HANDLE.set(Some(outside));
    PACE.with_borrow_mut(|current| *current = Some(pace));
}

/// Whether this thread is that of a simulation.
pub(crate) fn is_entered() -> bool {
    HANDLE.get().is_some()
}

/// Finishes `work` now, whatever its duration.
#[allow(clippy::redundant_async_block, reason = "it owns what the work holds, see below")]
pub fn finish<F>(work: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    // Within another future, so that what it holds is dropped within the runtime outside as well.
    finish_pinned(pin!(unconstrained(async move { work.await })))
}

/// How often work is polled, and how many maps and random numbers its libraries take meanwhile, is not
/// the same in every run. So that is done by another thread, which this one waits for.
fn finish_pinned<F>(mut work: Pin<&mut F>) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    let handle = HANDLE.get();
    let on_the_spot = move || {
        let _entered = handle.map(Handle::enter);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match work.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    };
    let finished = thread::scope(|scope| scope.spawn(on_the_spot).join());
    finished.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for `work`, or finishes it on the spot on the thread of a simulation.
pub(crate) async fn perhaps<F>(work: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    if is_entered() { pursue(work).await } else { work.await }
}

/// Finishes `work` on the spot, between two pauses of the simulated clock.
#[allow(clippy::redundant_async_block, reason = "it owns what the work holds, as in finish")]
async fn pursue<F>(work: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    let (before, after) =
        PACE.with_borrow_mut(|pace| pace.as_mut().map(|pace| pace()).unwrap_or_default());
    pause(before).await;
    let mut work = pin!(unconstrained(async move { work.await }));
    let done = Kept::new(poll_fn(|_| Poll::Ready(finish_pinned(work.as_mut()))).await);
    pause(after).await;
    done.into_inner()
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// What is dropped from now on may start work outside.
pub(crate) fn begin_drop() {
    if let Some(handle) = HANDLE.get() {
        DROPPING.with_borrow_mut(|guards| guards.push(handle.enter()));
    }
}

/// Ends what [`begin_drop`] began.
pub(crate) fn end_drop() {
    if HANDLE.get().is_some() {
        DROPPING.with_borrow_mut(Vec::pop);
    }
}
