//! The transport within one daemon.

use std::any::Any;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reprieve_core::HostName;
use reprieve_core::message::{Command, HostRequest, HostResponse, Report};
use reprieve_core::ports::{Bus, BusConnection, BusError, Delivery, RequestHandler, Subscription};
use tokio::time::timeout;

use crate::queue::{Payload, Queue, Refused};
use crate::wire::{self, Message};

/// Commands that may wait for one host. The dispatcher sends what did not fit again.
const COMMANDS: usize = 1024;
/// Reports that may wait for the control plane.
const REPORTS: usize = 4096;
/// How long a host waits for room before it is told to try again.
const ROOM: Duration = Duration::from_secs(5);
const REPORT_TOPIC: &str = "reports";

/// A bus within one process. Cheap to clone; all clones are the same bus.
#[derive(Clone)]
pub struct InProcessBus {
    inner: Arc<Inner>,
}

struct Inner {
    commands: Mutex<HashMap<HostName, Arc<Queue>>>,
    reports: Arc<Queue>,
    handlers: Mutex<HashMap<HostName, Serving>>,
    next_serving: AtomicU64,
    command_capacity: usize,
}

#[derive(Clone)]
struct Serving {
    number: u64,
    handler: Arc<dyn RequestHandler>,
}

impl Default for InProcessBus {
    fn default() -> Self {
        Self::new()
    }
}

impl InProcessBus {
    /// An empty bus.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(COMMANDS, REPORTS)
    }

    /// An empty bus on which at most so many commands per host and so many reports wait.
    #[must_use]
    pub fn with_capacity(command_capacity: usize, report_capacity: usize) -> Self {
        let inner = Inner {
            commands: Mutex::default(),
            reports: Queue::new(report_capacity),
            handlers: Mutex::default(),
            next_serving: AtomicU64::new(0),
            command_capacity,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Ends every subscription; nothing can be sent any more.
    pub fn close(&self) {
        self.inner.reports.close();
        for queue in lock(&self.inner.commands).values() {
            queue.close();
        }
    }

    fn queue(&self, host: &HostName) -> Arc<Queue> {
        let mut queues = lock(&self.inner.commands);
        let fresh = || Queue::new(self.inner.command_capacity);
        Arc::clone(queues.entry(host.clone()).or_insert_with(fresh))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write<M: Message>(topic: &str, message: &M) -> Result<Payload, BusError> {
    wire::write(topic, message).map(Payload::from)
}

fn refused(topic: &str, why: Refused) -> BusError {
    BusError::Unavailable(match why {
        Refused::Full => format!("too many messages wait on {topic}"),
        Refused::Closed => "it was closed".to_owned(),
    })
}

#[async_trait]
impl Bus for InProcessBus {
    async fn command(&self, host: &HostName, command: &Command) -> Result<(), BusError> {
        let topic = format!("commands.{host}");
        let payload = write(&topic, command)?;
        self.queue(host).push(payload).map_err(|why| refused(&topic, why))
    }

    async fn commands(&self, host: &HostName) -> Result<Box<dyn Subscription<Command>>, BusError> {
        Ok(Box::new(Taker::<Command>::new(self.queue(host), format!("commands.{host}"))))
    }

    async fn report(&self, report: &Report) -> Result<(), BusError> {
        let payload = write(REPORT_TOPIC, report)?;
        let queue = &self.inner.reports;
        let wait_for_room = async {
            loop {
                let left = queue.left.notified();
                match queue.push(Arc::clone(&payload)) {
                    Err(Refused::Full) => left.await,
                    Ok(()) => return Ok(()),
                    Err(Refused::Closed) => return Err(refused(REPORT_TOPIC, Refused::Closed)),
                }
            }
        };
        timeout(ROOM, wait_for_room)
            .await
            .unwrap_or_else(|_| Err(refused(REPORT_TOPIC, Refused::Full)))
    }

    async fn reports(&self) -> Result<Box<dyn Subscription<Report>>, BusError> {
        let queue = Arc::clone(&self.inner.reports);
        Ok(Box::new(Taker::<Report>::new(queue, REPORT_TOPIC.to_owned())))
    }

    async fn request(
        &self,
        host: &HostName,
        request: &HostRequest,
        deadline: Duration,
    ) -> Result<HostResponse, BusError> {
        let topic = format!("requests.{host}");
        let payload = write(&topic, request)?;
        let Some(serving) = lock(&self.inner.handlers).get(host).cloned() else {
            return Err(BusError::Unavailable(format!("nobody serves {topic}")));
        };
        let answer =
            timeout(deadline, serving.handler.answer(wire::read(&topic, payload.as_bytes())?))
                .await;
        let answer = answer
            .map_err(|_| BusError::Timeout { topic: topic.clone(), seconds: deadline.as_secs() })?;
        wire::read(&topic, write(&topic, &answer)?.as_bytes())
    }

    async fn serve(
        &self,
        host: &HostName,
        handler: Arc<dyn RequestHandler>,
    ) -> Result<Box<dyn Any + Send>, BusError> {
        let number = self.inner.next_serving.fetch_add(1, Ordering::Relaxed);
        lock(&self.inner.handlers).insert(host.clone(), Serving { number, handler });
        Ok(Box::new(Guard { bus: self.clone(), host: host.clone(), number }))
    }

    fn connections(&self) -> Vec<BusConnection> {
        vec![BusConnection { name: "in_process", up: true }]
    }
}

/// Ends the serving of requests when dropped, unless somebody else has taken over.
struct Guard {
    bus: InProcessBus,
    host: HostName,
    number: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut handlers = lock(&self.bus.inner.handlers);
        if handlers.get(&self.host).is_some_and(|serving| serving.number == self.number) {
            handlers.remove(&self.host);
        }
    }
}

/// Takes messages from a queue.
struct Taker<M> {
    queue: Arc<Queue>,
    number: u64,
    topic: String,
    message: PhantomData<fn() -> M>,
}

impl<M> Taker<M> {
    fn new(queue: Arc<Queue>, topic: String) -> Self {
        let number = queue.enter();
        Self { queue, number, topic, message: PhantomData }
    }
}

impl<M> Drop for Taker<M> {
    fn drop(&mut self) {
        self.queue.leave(self.number);
    }
}

#[async_trait]
impl<M: Message> Subscription<M> for Taker<M> {
    async fn next(&mut self) -> Option<Box<dyn Delivery<M>>> {
        loop {
            let mut arrived = pin!(self.queue.arrived.notified());
            // Listening begins here, so that a message pushed after the look below rings the bell.
            arrived.as_mut().enable();
            let Some((number, payload)) = self.queue.take(self.number).ok()? else {
                arrived.await;
                continue;
            };
            match wire::read(&self.topic, payload.as_bytes()) {
                Ok(message) => {
                    let queue = Arc::clone(&self.queue);
                    return Some(Box::new(Taken { queue, number, message }));
                }
                Err(error) => {
                    // It will not become readable by delivering it again.
                    tracing::error!(%error, "message dropped");
                    self.queue.acknowledge(number);
                }
            }
        }
    }
}

/// A message that was taken.
struct Taken<M> {
    queue: Arc<Queue>,
    number: u64,
    message: M,
}

#[async_trait]
impl<M: Send + Sync + 'static> Delivery<M> for Taken<M> {
    fn message(&self) -> &M {
        &self.message
    }

    async fn acknowledge(self: Box<Self>) {
        self.queue.acknowledge(self.number);
    }
}
