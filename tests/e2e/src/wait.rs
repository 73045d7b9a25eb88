//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Between two looks: short beside everything that is waited for, long beside a look.
const PAUSE: Duration = Duration::from_millis(20);

/// How long to wait, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    begun: Instant,
    limit: Duration,
}

impl Deadline {
    /// `seconds` from now.
    #[must_use]
    pub fn seconds(seconds: u64) -> Self {
        Self { begun: Instant::now(), limit: Duration::from_secs(seconds) }
    }

    /// Whether it has passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.begun.elapsed() >= self.limit
    }

    /// Time since it was set.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Looks until `look` finds something. An error of `look` ends the wait.
    ///
    /// # Errors
    /// When the deadline passes; says `what` was waited for.
    pub fn until<T>(&self, what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        self.until_or(what, look, String::new)
    }

    /// [`Self::until`] that adds what `seen` says at the end to the error.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub fn until_or<T>(
        &self,
        what: &str,
        mut look: impl FnMut() -> Result<Option<T>>,
        seen: impl FnOnce() -> String,
    ) -> Result<T> {
        loop {
            if let Some(found) = look().with_context(|| format!("while waiting for {what}"))? {
                return Ok(found);
            }
            if self.passed() {
                bail!("no {what} within {} s; {}", self.limit.as_secs(), seen());
            }
            std::thread::sleep(PAUSE);
        }
    }
}
