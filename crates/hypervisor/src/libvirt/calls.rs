//! Runs blocking calls on threads of their own, a bounded number at a time, each with a deadline.
//!
//! Three lanes, so that slow calls never stand in the way of quick ones:
//!
//! | lane | for | connection | at a time |
//! |---|---|---|---|
//! | query | state, list, host | the one that gets events | 4 |
//! | change | pause, destroy, define, abort | one from the idle ones | 6 |
//! | long | start, save, restore | one from the idle ones | 8 |
//!
//! Why not all on one connection: libvirtd handles five requests of one client at a time
//! (`max_client_requests`) and stops reading from the client then. Five saves would hold up every
//! query, and the unread keepalive messages would make both sides give the connection up. All lanes
//! together stay below libvirtd's `max_workers` (20).
//!
//! A call that was given up keeps its place until its thread has ended. The same call about the same
//! server is not made meanwhile, so that a guest whose QEMU hangs never takes more than one place of
//! a lane however often it is tried again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use reprieve_core::InstanceId;
use reprieve_core::ports::HypervisorError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::sys::{self, Connection, Kind};
use super::{Inner, link};

const QUERIES: usize = 4;
const CHANGES: usize = 6;
const LONG: usize = 8;

/// Which lane a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Query,
    Change,
    Long,
}

/// A call, for its lane, its deadline and its errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) lane: Lane,
    pub(super) deadline: Duration,
    /// The server it is about.
    pub(super) id: Option<InstanceId>,
}

/// Why the work of a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// libvirt said so.
    Libvirt(sys::Error),
    /// We did, before libvirt was asked.
    Refused(HypervisorError),
}

impl From<sys::Error> for Failure {
    fn from(error: sys::Error) -> Self {
        Self::Libvirt(error)
    }
}

/// The lanes and the connections that nobody uses now.
pub(super) struct Lanes {
    query: Arc<Semaphore>,
    change: Arc<Semaphore>,
    long: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    hanging: Hanging,
}

/// Calls that were given up and whose threads may be there still: each thread holds its end of the
/// pointer until it ends.
#[derive(Default)]
struct Hanging(Mutex<HashMap<(&'static str, InstanceId), Weak<()>>>);

impl Hanging {
    fn has(&self, name: &'static str, id: InstanceId) -> bool {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.get(&(name, id)).is_some_and(|thread| thread.strong_count() > 0)
    }

    fn add(&self, name: &'static str, id: InstanceId, thread: Weak<()>) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.retain(|_, thread| thread.strong_count() > 0);
        calls.insert((name, id), thread);
    }
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self {
            query: Arc::new(Semaphore::new(QUERIES)),
            change: Arc::new(Semaphore::new(CHANGES)),
            long: Arc::new(Semaphore::new(LONG)),
            idle: Mutex::new(Vec::new()),
            hanging: Hanging::default(),
        }
    }

    fn of(&self, lane: Lane) -> &Arc<Semaphore> {
        match lane {
            Lane::Query => &self.query,
            Lane::Change => &self.change,
            Lane::Long => &self.long,
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < CHANGES {
            idle.push(connection);
        }
    }

    /// Closes the idle connections.
    pub(super) fn forget_idle(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        drop(idle);
    }
}

impl Inner {
    /// Runs `work` with a connection, and waits for it no longer than the deadline.
    pub(super) async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        call: Call,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, HypervisorError> {
        // Fail at once rather than wait for a place behind calls that wait for a dead libvirtd.
        self.link.get().map_err(|message| self.unavailable(message))?;
        let timeout =
            || HypervisorError::Timeout { call: call.name, seconds: call.deadline.as_secs() };
        if call.id.is_some_and(|id| self.lanes.hanging.has(call.name, id)) {
            return Err(timeout());
        }
        let until = Instant::now() + call.deadline;
        let permit = match timeout_at(until, Arc::clone(self.lanes.of(call.lane)).acquire_owned())
            .await
        {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => {
                let message =
                    format!("{} waited {} s for other calls", call.name, call.deadline.as_secs());
                return Err(self.unavailable(message));
            }
        };
        let thread = Arc::new(());
        let running = Arc::downgrade(&thread);
        let answer = self.spawn(call, (permit, thread), work)?;
        match timeout_at(until, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(HypervisorError::Interrupted {
                call: call.name,
                message: "the thread of the call ended without an answer".to_owned(),
            }),
            Err(_) => {
                if let Some(id) = call.id {
                    self.lanes.hanging.add(call.name, id, running);
                }
                Err(timeout())
            }
        }
    }

    /// A thread per call: a call that hangs must not keep a shared pool, or the end of the
    /// process, waiting.
    fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        call: Call,
        held: (OwnedSemaphorePermit, Arc<()>),
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, HypervisorError>>, HypervisorError> {
        let (sender, receiver) = oneshot::channel();
        let inner = Arc::clone(self);
        std::thread::Builder::new()
            .name(format!("libvirt-{}", call.name))
            .spawn(move || {
                let result = inner.run(call, work);
                // Nobody waits any more after the deadline.
                let _ = sender.send(result);
                drop(held);
            })
            .map_err(|error| self.unavailable(error.to_string()))?;
        Ok(receiver)
    }

    fn run<T>(
        &self,
        call: Call,
        work: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, HypervisorError> {
        let link = self.link.get().map_err(|message| self.unavailable(message))?;
        if call.lane == Lane::Query {
            return work(&link).map_err(|failure| self.explain(call, failure, link.is_alive()));
        }
        let idle = self.lanes.take_idle().filter(Connection::is_alive);
        let connection = match idle {
            Some(connection) => connection,
            None => {
                link::open(&self.config.uri).map_err(|error| self.unavailable(error.message))?
            }
        };
        let result = work(&connection);
        let alive = connection.is_alive();
        if alive {
            self.lanes.give_back(connection);
        }
        result.map_err(|failure| self.explain(call, failure, alive))
    }

    fn explain(&self, call: Call, failure: Failure, alive: bool) -> HypervisorError {
        let error = match failure {
            Failure::Refused(error) => return error,
            Failure::Libvirt(error) => error,
        };
        let message = error.message;
        let call_name = call.name;
        if !alive || error.kind == Kind::Connection {
            return match call.lane {
                Lane::Query => self.unavailable(message),
                Lane::Change | Lane::Long => {
                    HypervisorError::Interrupted { call: call_name, message }
                }
            };
        }
        match (error.kind, call.id) {
            (Kind::NoDomain, Some(id)) => HypervisorError::NoDomain(id),
            (Kind::InvalidState, _) => HypervisorError::InvalidState { call: call_name, message },
            (
                Kind::NoDomain
                | Kind::NoMetadata
                | Kind::Connection
                | Kind::Unsupported
                | Kind::NoAgent
                | Kind::Other,
                _,
            ) => HypervisorError::Failed { call: call_name, message },
        }
    }

    pub(super) fn unavailable(&self, message: String) -> HypervisorError {
        HypervisorError::Unavailable { uri: self.config.uri.clone(), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_hangs_as_long_as_its_thread_is_there() {
        let (hanging, id) = (Hanging::default(), InstanceId::random());
        let (thread, ended) = (Arc::new(()), Arc::new(()));
        hanging.add("domain", id, Arc::downgrade(&thread));
        hanging.add("destroy", id, Arc::downgrade(&ended));
        drop(ended);
        assert!(hanging.has("domain", id));
        assert!(!hanging.has("destroy", id), "its thread has ended");
        assert!(!hanging.has("domain", InstanceId::random()), "of another server");
        drop(thread);
        assert!(!hanging.has("domain", id));
    }
}
