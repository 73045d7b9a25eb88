//! A queue of the broker, as RabbitMQ keeps it with a single active consumer: messages stay until they
//! are acknowledged, and of several consumers only the one whose turn it is gets any.
//!
//! ```text
//! push ─▶ ready ──turn──▶ taken ──acknowledge──▶ gone
//!           ▲               │
//!           └─ turn lost ───┘
//! ```
//!
//! A turn ends with its consumer, or with the consumer's connection: then what it had taken is delivered
//! again, to the next one, while it may still be working on it; what it acknowledges later is void.

use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use reprieve_core::ports::{Delivery, Subscription};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

/// A queue of messages of one kind. Clones are the same one.
pub struct Queue<M> {
    inner: Arc<Inner>,
    message: PhantomData<fn() -> M>,
}

impl<M> Clone for Queue<M> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), message: PhantomData }
    }
}

impl<M> Default for Queue<M> {
    fn default() -> Self {
        Self { inner: Arc::default(), message: PhantomData }
    }
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// Rung when there may be something to take for somebody.
    bell: Notify,
}

#[derive(Default)]
struct State {
    next_message: u64,
    next_consumer: u64,
    ready: BTreeMap<u64, String>,
    /// By number, with who took it.
    taken: BTreeMap<u64, (u64, String)>,
    /// The first has the turn.
    consumers: VecDeque<u64>,
}

impl State {
    fn give_back(&mut self, consumer: u64) {
        let taken = std::mem::take(&mut self.taken);
        for (number, (by, text)) in taken {
            if by == consumer {
                self.ready.insert(number, text);
            } else {
                self.taken.insert(number, (by, text));
            }
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> Queue<M>
where
    M: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// A message arrives; as text, as on a wire.
    pub fn push(&self, message: &M) -> Result<(), serde_json::Error> {
        let text = serde_json::to_string(message)?;
        let mut state = self.inner.state();
        let number = state.next_message;
        state.next_message += 1;
        state.ready.insert(number, text);
        drop(state);
        self.inner.bell.notify_waiters();
        Ok(())
    }

    /// One more consumer, behind the others.
    pub fn consume(&self) -> Consumer<M> {
        let mut state = self.inner.state();
        let number = state.next_consumer;
        state.next_consumer += 1;
        state.consumers.push_back(number);
        drop(state);
        Consumer { queue: self.clone(), number }
    }

    /// The connection of the one whose turn it is breaks, and is there again behind all others.
    /// `false`: there is nobody.
    pub fn lose_turn(&self) -> bool {
        let mut state = self.inner.state();
        let Some(consumer) = state.consumers.pop_front() else { return false };
        state.consumers.push_back(consumer);
        state.give_back(consumer);
        drop(state);
        self.inner.bell.notify_waiters();
        true
    }
}

/// Somebody who takes messages when it is their turn.
pub struct Consumer<M> {
    queue: Queue<M>,
    number: u64,
}

impl<M> Drop for Consumer<M> {
    fn drop(&mut self) {
        let mut state = self.queue.inner.state();
        state.consumers.retain(|consumer| *consumer != self.number);
        state.give_back(self.number);
        drop(state);
        self.queue.inner.bell.notify_waiters();
    }
}

impl<M> Consumer<M> {
    fn take(&self) -> Option<(u64, String)> {
        let mut state = self.queue.inner.state();
        if state.consumers.front() != Some(&self.number) {
            return None;
        }
        let (number, text) = state.ready.pop_first()?;
        state.taken.insert(number, (self.number, text.clone()));
        Some((number, text))
    }
}

#[async_trait]
impl<M> Subscription<M> for Consumer<M>
where
    M: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    async fn next(&mut self) -> Option<Box<dyn Delivery<M>>> {
        loop {
            let mut rung = pin!(self.queue.inner.bell.notified());
            // Listening begins here, so that what arrives after the look below rings the bell.
            rung.as_mut().enable();
            let Some((number, text)) = self.take() else {
                rung.await;
                continue;
            };
            // The product wrote it; that it cannot read it is a fault that ends the run.
            let message = serde_json::from_str(&text).ok()?;
            let (inner, consumer) = (Arc::clone(&self.queue.inner), self.number);
            return Some(Box::new(Taken { inner, consumer, number, message }));
        }
    }
}

/// A message that was taken.
struct Taken<M> {
    inner: Arc<Inner>,
    consumer: u64,
    number: u64,
    message: M,
}

#[async_trait]
impl<M: Send + Sync + 'static> Delivery<M> for Taken<M> {
    fn message(&self) -> &M {
        &self.message
    }

    async fn acknowledge(self: Box<Self>) {
        let mut state = self.inner.state();
        if state.taken.get(&self.number).is_some_and(|(by, _)| *by == self.consumer) {
            state.taken.remove(&self.number);
        }
    }
}
