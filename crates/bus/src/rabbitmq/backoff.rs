//! Pauses between attempts: doubled each time, with a random part, so that many hosts do not come
//! back to a broker at the same moment.

use std::time::Duration;

use rand::Rng as _;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// The pauses of one thing that is tried again and again.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Begins with a short pause.
    pub(super) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// It worked: the next pause is short again.
    pub(super) const fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next pause: between half and all of what doubling gives.
    pub(super) fn pause(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(LONGEST);
        longest.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::new();
        let mut limit = FIRST;
        for _ in 0..20 {
            let pause = backoff.pause();
            assert!(pause >= limit / 2 && pause <= limit, "{pause:?} of {limit:?}");
            limit = (limit * 2).min(LONGEST);
        }
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}
