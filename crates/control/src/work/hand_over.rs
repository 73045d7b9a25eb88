//! The short way from a recorded operation to the dispatcher.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use reprieve_store::PendingCommand;
use tokio::sync::Notify;

/// Most operations on their way. More would only wait here instead of in the outbox.
const ROOM: usize = 1024;

/// Operations that were recorded as handed over and are about to be.
///
/// It may lose everything at any time: whatever was not reported by its host is due in the outbox a
/// second after it was recorded.
#[derive(Default)]
pub struct HandOvers {
    waiting: Mutex<VecDeque<PendingCommand>>,
    arrived: Notify,
}

impl HandOvers {
    /// Adds one. When too many wait already, it is left to the outbox.
    pub fn push(&self, command: PendingCommand) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < ROOM {
            waiting.push_back(command);
            self.arrived.notify_one();
        }
    }

    /// Those that wait, `most` at most and one at least, in the order of their arrival. For one caller
    /// at a time; cancel safe.
    pub async fn next(&self, most: usize) -> Vec<PendingCommand> {
        loop {
            let next: Vec<_> = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let count = waiting.len().min(most);
                waiting.drain(..count).collect()
            };
            if next.is_empty() {
                self.arrived.notified().await;
            } else {
                return next;
            }
        }
    }
}
