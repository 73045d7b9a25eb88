//! Time: one for all, and how much each process is wrong about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reprieve_core::{Clock, Timestamp};

use crate::system;

/// 2026-08-21T10:15:40Z.
const BEGIN: i64 = 1_787_307_340_000_000;

/// The true time. Clones are the same.
#[derive(Clone)]
pub struct Now(Arc<AtomicI64>);

impl Now {
    /// The beginning of every simulation.
    pub fn begin() -> Self {
        Self(Arc::new(AtomicI64::new(BEGIN)))
    }

    /// Time goes by, on the thread of the simulation.
    pub fn advance(&self, by: Duration) {
        let before = self.0.fetch_add(micros(by), Ordering::Relaxed);
        system::set_time(before + micros(by));
    }

    /// How long it has been.
    pub fn since_begin(&self) -> Duration {
        let micros = self.0.load(Ordering::Relaxed) - BEGIN;
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

/// The clock of one machine.
#[derive(Clone)]
pub struct MachineClock {
    now: Now,
    wrong_by: Arc<AtomicI64>,
}

impl MachineClock {
    /// A clock that is right.
    pub fn new(now: &Now) -> Self {
        Self { now: now.clone(), wrong_by: Arc::default() }
    }

    /// It is set forwards, or backwards.
    pub fn jump(&self, by: Duration, forwards: bool) {
        let by = if forwards { micros(by) } else { -micros(by) };
        self.wrong_by.fetch_add(by, Ordering::Relaxed);
    }

    /// It is set right.
    pub fn set_right(&self) {
        self.wrong_by.store(0, Ordering::Relaxed);
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        let true_time = self.now.0.load(Ordering::Relaxed);
        Timestamp::from_micros(true_time + self.wrong_by.load(Ordering::Relaxed))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
