//! The transport over RabbitMQ (AMQP 0-9-1).
//!
//! ```text
//! control plane                        broker                        host "vm"
//!   command ──publish, confirm──▶ reprieve.commands.vm ──acknowledge──▶ agent
//!   reports ◀──acknowledge────── reprieve.reports ◀──publish, confirm── reporter
//!   request ──────────────────▶ reprieve.requests.vm ─────────────────▶ answers
//!           ◀────────────── direct reply-to of the asker ◀─────────────
//!                                reprieve.parked: what nobody could read, with its reason
//! ```
//!
//! Invariants:
//! - a message counts as sent when the broker has confirmed it, within a deadline; one that no
//!   queue takes is an error of the sender, not lost in silence;
//! - a message leaves its queue when its receiver has acknowledged it, or when the broker has
//!   confirmed its copy in the parking queue;
//! - two connections, because a broker that is short of memory or disk stops reading from
//!   connections that publish, and acknowledgements must get through then;
//! - both are made again whenever they end ([`link`]), with everything declared anew. Callers see
//!   an error while there is none, subscriptions just go on.

mod backoff;
mod config;
mod connect;
mod feed;
mod link;
mod notifications;
mod publisher;
mod serve;
mod topology;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reprieve_core::HostName;
use reprieve_core::message::{Command, HostRequest, HostResponse, Report};
use reprieve_core::ports::{Bus, BusConnection, BusError, RequestHandler, Subscription};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use config::{Identity, NotificationTopic, QueueType, RabbitConfig, RabbitConfigError};

pub use notifications::RabbitNotifications;

use crate::wire;
use config::Settings;
use feed::Feed;
use link::{Consuming, Link, Publishing, Purpose};
use publisher::{Lifetime, Parcel};
use topology::Queue;

/// How long [`RabbitBus::close`] waits for the broker to say farewell.
const FAREWELL: Duration = Duration::from_secs(3);

/// A bus over RabbitMQ. Cheap to clone; all clones share the two connections, which end with the
/// last clone.
#[derive(Clone)]
pub struct RabbitBus {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Arc<Settings>,
    publishing: Link<Publishing>,
    consuming: Link<Consuming>,
    stop: CancellationToken,
    _stop_with_this: DropGuard,
}

impl RabbitBus {
    /// A bus that begins to connect. That the broker is away is no error: it may come.
    ///
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`RabbitConfigError`] when the configuration makes no sense.
    pub fn new(config: RabbitConfig) -> Result<Self, RabbitConfigError> {
        let settings = Arc::new(Settings::new(config)?);
        let stop = CancellationToken::new();
        let publishing = Link::new(Arc::clone(&settings), stop.clone());
        let consuming = Link::new(Arc::clone(&settings), stop.clone());
        let _stop_with_this = stop.clone().drop_guard();
        let inner = Inner { settings, publishing, consuming, stop, _stop_with_this };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Ends every subscription and both connections in good order; nothing can be sent any more.
    /// What was received and not acknowledged is delivered again, to whoever comes next.
    pub async fn close(&self) {
        self.inner.stop.cancel();
        let ended = async {
            self.inner.publishing.ended().await;
            self.inner.consuming.ended().await;
        };
        if tokio::time::timeout(FAREWELL, ended).await.is_err() {
            tracing::debug!("the broker did not say farewell in time");
        }
    }

    async fn publish(&self, queue: &Queue, text: String) -> Result<(), BusError> {
        let parcel = Parcel::new(queue, text.into_bytes(), Lifetime::UntilTaken);
        self.inner.publishing.publish(parcel).await
    }

    /// Subscribes; returns when the queue exists and is consumed, or when the broker does not come
    /// in time. Then the subscription waits for it.
    async fn subscribe<M: wire::Message>(&self, queue: Queue) -> Box<dyn Subscription<M>> {
        let Inner { settings, publishing, consuming, .. } = &*self.inner;
        let feed = Feed::<M>::open(settings, (publishing, consuming), queue).await;
        Box::new(feed)
    }
}

#[async_trait]
impl Bus for RabbitBus {
    async fn command(&self, host: &HostName, command: &Command) -> Result<(), BusError> {
        let queue = self.inner.settings.topology.commands(host)?;
        let text = wire::write(&queue.topic, command)?;
        self.publish(&queue, text).await
    }

    async fn commands(&self, host: &HostName) -> Result<Box<dyn Subscription<Command>>, BusError> {
        Ok(self.subscribe(self.inner.settings.topology.commands(host)?).await)
    }

    async fn report(&self, report: &Report) -> Result<(), BusError> {
        let queue = self.inner.settings.topology.reports();
        let text = wire::write(&queue.topic, report)?;
        self.publish(&queue, text).await
    }

    async fn reports(&self) -> Result<Box<dyn Subscription<Report>>, BusError> {
        Ok(self.subscribe(self.inner.settings.topology.reports()).await)
    }

    async fn request(
        &self,
        host: &HostName,
        request: &HostRequest,
        deadline: Duration,
    ) -> Result<HostResponse, BusError> {
        let queue = self.inner.settings.topology.requests(host)?;
        let text = wire::write(&queue.topic, request)?;
        let asked = self.inner.publishing.ask(&queue, text.into_bytes(), deadline);
        let timed_out =
            |_| BusError::Timeout { topic: queue.topic.clone(), seconds: deadline.as_secs() };
        let answer = tokio::time::timeout(deadline, asked).await.map_err(timed_out)??;
        wire::read(&queue.topic, &answer)
    }

    async fn serve(
        &self,
        host: &HostName,
        handler: Arc<dyn RequestHandler>,
    ) -> Result<Box<dyn Any + Send>, BusError> {
        let Inner { settings, publishing, consuming, .. } = &*self.inner;
        let queue = settings.topology.requests(host)?;
        let feed = Feed::<HostRequest>::open(settings, (publishing, consuming), queue).await;
        Ok(Box::new(serve::serve(feed, publishing.clone(), handler)))
    }

    fn connections(&self) -> Vec<BusConnection> {
        let Inner { publishing, consuming, .. } = &*self.inner;
        vec![
            BusConnection { name: Publishing::NAME, up: publishing.is_up() },
            BusConnection { name: Consuming::NAME, up: consuming.is_up() },
        ]
    }
}
