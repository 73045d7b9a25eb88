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

use std::sync::{Arc, Mutex, PoisonError};
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
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self {
            query: Arc::new(Semaphore::new(QUERIES)),
            change: Arc::new(Semaphore::new(CHANGES)),
            long: Arc::new(Semaphore::new(LONG)),
            idle: Mutex::new(Vec::new()),
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
        let answer = self.spawn(call, permit, work)?;
        match timeout_at(until, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(HypervisorError::Interrupted {
                call: call.name,
                message: "the thread of the call ended without an answer".to_owned(),
            }),
            Err(_) => {
                Err(HypervisorError::Timeout { call: call.name, seconds: call.deadline.as_secs() })
            }
        }
    }

    /// A thread per call: a call that hangs must not keep a shared pool, or the end of the
    /// process, waiting.
    fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        call: Call,
        permit: OwnedSemaphorePermit,
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
                drop(permit);
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
