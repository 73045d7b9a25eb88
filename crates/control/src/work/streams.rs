//! Notifications for those who are connected to this process: the emitter behind
//! `GET /reprieve/v1/events`.
//!
//! One bounded buffer is shared by all streams. A reader that falls behind by more than it holds is
//! told so and has to come back; it never makes the others or an operation wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use reprieve_core::ProjectId;
use reprieve_core::notification::Notification;
use reprieve_core::ports::{EmitError, Emitter};
use tokio::sync::broadcast::{Receiver, Sender};

/// Notifications that a reader may be behind: a few MiB at most.
pub const BUFFER: usize = 1024;
/// Streams at a time.
pub const STREAMS: usize = 256;
/// Streams of one project at a time.
pub const STREAMS_OF_PROJECT: usize = 32;

/// What is passed on.
#[derive(Debug, Clone)]
pub enum Passed {
    /// A notification.
    Notification(Arc<Notification>),
    /// So many changes are missing here.
    Missed(u64),
}

/// All streams of this process.
#[derive(Default)]
pub struct Streams {
    /// `None` before notifications are passed on here, and once the process is ending.
    sender: Mutex<Option<Sender<Passed>>>,
    places: Mutex<HashMap<ProjectId, usize>>,
}

/// Why there is no place for another stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// The project has too many.
    #[error("This project has {STREAMS_OF_PROJECT} event streams already. Close some of them.")]
    Project,
    /// All together are too many.
    #[error("There are {STREAMS} event streams already. Try again later.")]
    Process,
}

/// The right to one stream, given back when dropped.
pub struct Place {
    streams: Arc<Streams>,
    project: ProjectId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = lock(&self.streams.places);
        if let Some(count) = places.get_mut(&self.project) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                places.remove(&self.project);
            }
        }
    }
}

impl Streams {
    /// Takes a place for a stream.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub fn enter(self: &Arc<Self>, project: &ProjectId) -> Result<Place, NoPlace> {
        let mut places = lock(&self.places);
        if places.values().sum::<usize>() >= STREAMS {
            return Err(NoPlace::Process);
        }
        let count = places.entry(project.clone()).or_default();
        if *count >= STREAMS_OF_PROJECT {
            return Err(NoPlace::Project);
        }
        *count += 1;
        Ok(Place { streams: Arc::clone(self), project: project.clone() })
    }

    /// Begins to take notifications.
    pub fn open(&self) {
        lock(&self.sender).get_or_insert_with(|| Sender::new(BUFFER));
    }

    /// What is passed on from now on; `None` when nothing is.
    #[must_use]
    pub fn subscribe(&self) -> Option<Receiver<Passed>> {
        lock(&self.sender).as_ref().map(Sender::subscribe)
    }

    /// Ends all streams.
    pub fn close(&self) {
        lock(&self.sender).take();
    }

    fn send(&self, passed: Passed) {
        if let Some(sender) = lock(&self.sender).as_ref()
            && sender.send(passed).is_err()
        {
            tracing::trace!(target: "reprieve::api", "nobody listens any more");
        }
    }
}

/// A panic cannot leave the values half changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Emitter for Streams {
    fn has_audience(&self) -> bool {
        lock(&self.sender).as_ref().is_some_and(|sender| sender.receiver_count() > 0)
    }

    /// Never fails: who listens has it, and nobody else is owed anything.
    async fn emit(&self, notifications: &[Arc<Notification>]) -> Result<(), EmitError> {
        for notification in notifications {
            self.send(Passed::Notification(Arc::clone(notification)));
        }
        Ok(())
    }

    async fn missed(&self, changes: u64) {
        self.send(Passed::Missed(changes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_given_back() {
        let streams = Arc::new(Streams::default());
        let one = ProjectId::from("one");
        let held: Vec<Place> = (0..STREAMS_OF_PROJECT)
            .map(|_| streams.enter(&one).unwrap_or_else(|_| panic!()))
            .collect();
        assert_eq!(streams.enter(&one).err(), Some(NoPlace::Project));
        let others: Vec<Place> =
            (0..).map_while(|number| streams.enter(&format!("p{number}").into()).ok()).collect();
        assert_eq!(held.len() + others.len(), STREAMS);
        assert_eq!(streams.enter(&one).err(), Some(NoPlace::Process));
        drop(held);
        assert!(streams.enter(&one).is_ok());
        drop(others);
        assert!(lock(&streams.places).is_empty());
    }

    #[tokio::test]
    async fn a_closed_hub_has_no_audience() {
        let streams = Streams::default();
        assert!(streams.subscribe().is_none());
        streams.open();
        assert!(!streams.has_audience());
        let mut receiver = streams.subscribe().unwrap();
        assert!(streams.has_audience());
        streams.missed(3).await;
        assert!(matches!(receiver.recv().await, Ok(Passed::Missed(3))));
        streams.close();
        assert!(receiver.recv().await.is_err());
        assert!(streams.subscribe().is_none());
        assert!(!streams.has_audience());
    }
}
