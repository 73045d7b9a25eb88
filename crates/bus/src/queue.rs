//! A bounded queue whose messages stay in it until they are acknowledged.
//!
//! ```text
//! push ─▶ ready ──take──▶ taken ──acknowledge──▶ gone
//!           ▲               │
//!           └─ taker ended ─┘
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A message as it would be on a wire.
pub(crate) type Payload = Arc<str>;

#[derive(Default)]
struct State {
    next_number: u64,
    next_taker: u64,
    ready: BTreeMap<u64, Payload>,
    taken: BTreeMap<u64, (u64, Payload)>,
    closed: bool,
}

impl State {
    fn len(&self) -> usize {
        self.ready.len() + self.taken.len()
    }
}

/// Why a message was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many messages as allowed wait already.
    Full,
    /// The bus is closed.
    Closed,
}

/// The queue.
pub(crate) struct Queue {
    state: Mutex<State>,
    capacity: usize,
    /// Rung for takers when there may be something ready, or the queue was closed.
    pub(crate) arrived: Notify,
    /// Rung for pushers when there may be room.
    pub(crate) left: Notify,
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        let state = Mutex::new(State::default());
        Arc::new(Self { state, capacity, arrived: Notify::new(), left: Notify::new() })
    }

    /// A panic elsewhere cannot leave the maps half-changed, so a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, payload: Payload) -> Result<(), Refused> {
        {
            let mut state = self.state();
            if state.closed {
                return Err(Refused::Closed);
            }
            if state.len() >= self.capacity {
                return Err(Refused::Full);
            }
            let number = state.next_number;
            state.next_number += 1;
            state.ready.insert(number, payload);
        }
        self.arrived.notify_one();
        Ok(())
    }

    /// A name for somebody who takes messages.
    pub(crate) fn enter(&self) -> u64 {
        let mut state = self.state();
        state.next_taker += 1;
        state.next_taker
    }

    /// The oldest message that is ready; `Err` when the queue is closed.
    pub(crate) fn take(&self, taker: u64) -> Result<Option<(u64, Payload)>, Refused> {
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        let Some((number, payload)) = state.ready.pop_first() else { return Ok(None) };
        state.taken.insert(number, (taker, Arc::clone(&payload)));
        if !state.ready.is_empty() {
            // Another taker may have missed its bell while this one was awake.
            self.arrived.notify_one();
        }
        Ok(Some((number, payload)))
    }

    /// The message is done with, even if its taker has ended meanwhile.
    pub(crate) fn acknowledge(&self, number: u64) {
        {
            let mut state = self.state();
            state.taken.remove(&number);
            state.ready.remove(&number);
        }
        self.left.notify_one();
    }

    /// Whatever the taker did not acknowledge is ready again, in its old place.
    pub(crate) fn leave(&self, taker: u64) {
        {
            let mut state = self.state();
            let returned: Vec<u64> = state
                .taken
                .iter()
                .filter(|(_, (by, _))| *by == taker)
                .map(|(number, _)| *number)
                .collect();
            for number in returned {
                if let Some((_, payload)) = state.taken.remove(&number) {
                    state.ready.insert(number, payload);
                }
            }
        }
        self.arrived.notify_one();
    }

    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_waiters();
        self.arrived.notify_one();
        self.left.notify_waiters();
    }
}
