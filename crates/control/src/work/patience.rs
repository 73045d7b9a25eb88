//! How long to wait for a report before an operation is sent once more.
//!
//! The outbox has an operation due again a second after it was sent. That is right when its message was
//! lost, and wrong when hosts or the broker have more to do than they get done in a second: each
//! repetition is another operation's work for all of them, so they would fall behind all the more. Like
//! any protocol that repeats itself, the dispatcher therefore waits longer than reports take of late.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Reports that are remembered. All of them have to be slow: one may wait for a host that is away.
const REMEMBERED: usize = 16;
/// The longest that is waited in addition.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// How long operations of late took from their acceptance to the first report of their hosts.
#[derive(Default)]
pub struct Patience {
    delays: Mutex<VecDeque<Duration>>,
}

impl Patience {
    /// A host has reported about an operation for the first time, so long after it was accepted.
    pub(super) fn note(&self, delay: Duration) {
        let mut delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
        if delays.len() >= REMEMBERED {
            delays.pop_front();
        }
        delays.push_back(delay);
    }

    /// How much longer than usual a report is waited for now: twice as long as the quickest of the last
    /// ones took, which is next to nothing unless all are slow.
    pub(super) fn now(&self) -> Duration {
        let delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
        let quickest = delays.iter().min().filter(|_| delays.len() >= REMEMBERED);
        quickest.map_or(Duration::ZERO, |delay| Ord::min(delay.saturating_mul(2), LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: impl IntoIterator<Item = u64>) -> Duration {
        let patience = Patience::default();
        seconds.into_iter().for_each(|delay| patience.note(Duration::from_secs(delay)));
        patience.now()
    }

    #[test]
    fn it_grows_when_all_are_slow() {
        assert_eq!(after([]), Duration::ZERO);
        assert_eq!(after([3; REMEMBERED - 1]), Duration::ZERO, "too few to tell");
        assert_eq!(after([3; REMEMBERED]), Duration::from_secs(6));
        assert_eq!(after([300; REMEMBERED]), LONGEST);
    }

    #[test]
    fn one_quick_report_ends_it_and_one_slow_one_does_not_begin_it() {
        assert_eq!(after([300; REMEMBERED].into_iter().chain([0])), Duration::ZERO);
        assert_eq!(after([0; REMEMBERED].into_iter().chain([300])), Duration::ZERO);
        assert_eq!(after([0].into_iter().chain([2; REMEMBERED])), Duration::from_secs(4));
    }
}
