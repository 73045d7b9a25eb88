//! The time of the recorded cloud, so that servers here are as old as they were there.

use std::sync::atomic::{AtomicI64, Ordering};

use reprieve_core::{Clock, Timestamp};

/// Begins before anything was recorded. Its seconds pass when it is told to, its microseconds with
/// every look at it: what happens one after another is told apart, and who came to be at a second
/// is never younger at another one than whole seconds say.
pub struct RecordedClock {
    second: AtomicI64,
    looks: AtomicI64,
}

impl RecordedClock {
    pub fn new() -> Self {
        let begin = time("2026-11-22T20:00:00Z").micros();
        Self { second: AtomicI64::new(begin), looks: AtomicI64::new(0) }
    }

    /// Moves on to a time in whole seconds, unless it is past; whether it moved.
    pub fn move_to(&self, time: Timestamp) -> bool {
        self.second.fetch_max(time.micros(), Ordering::SeqCst) < time.micros()
    }
}

impl Clock for RecordedClock {
    fn now(&self) -> Timestamp {
        let looks = self.looks.fetch_add(1, Ordering::SeqCst);
        Timestamp::from_micros(self.second.load(Ordering::SeqCst) + looks)
    }
}

/// A time as the recordings write it.
pub fn time(text: &str) -> Timestamp {
    Timestamp::parse_iso(text).unwrap_or_else(|| panic!("'{text}' is no time"))
}
