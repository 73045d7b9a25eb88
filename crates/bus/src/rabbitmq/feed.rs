//! Receiving: a subscription that outlives its connections.
//!
//! A task consumes the queue, on whatever connection there is, and hands over what it can read. So
//! waiting for the next message may be given up at any moment without loss, and nobody notices a
//! new connection. What was handed over on an earlier connection and not acknowledged is delivered
//! again by the broker; acknowledging it then does nothing.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use lapin::message::Delivery as Arrived;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Acker, BasicProperties, Consumer};
use reprieve_core::ports::{BusError, Delivery, Subscription};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::config::Settings;
use super::connect::ConnectError;
use super::link::{Consuming, Link, Publishing, Session};
use super::publisher::{Lifetime, Parcel};
use super::topology::Queue;
use crate::wire::{self, Message};

/// How long subscribing waits for the broker. After that the subscription waits by itself.
const FIRST: Duration = Duration::from_secs(5);
/// How long a channel may take to be set up.
const SET_UP: Duration = Duration::from_secs(10);
/// How long an acknowledgement may take to be on its way.
const ACKNOWLEDGE: Duration = Duration::from_secs(5);

/// A subscription. Dropped, it gives back what was not acknowledged.
pub(super) struct Feed<M> {
    incoming: mpsc::Receiver<Taken<M>>,
    intake: AbortHandle,
}

impl<M> Drop for Feed<M> {
    fn drop(&mut self) {
        self.intake.abort();
    }
}

impl<M: Message> Feed<M> {
    /// Begins to consume the queue.
    pub(super) async fn open(
        settings: &Settings,
        (publishing, consuming): (&Link<Publishing>, &Link<Consuming>),
        queue: Queue,
    ) -> Self {
        let (handed_over, incoming) = mpsc::channel(usize::from(settings.prefetch));
        let (ready, is_ready) = oneshot::channel();
        let intake = Intake {
            queue,
            parked: settings.topology.parked(),
            prefetch: settings.prefetch,
            publishing: publishing.clone(),
            consuming: consuming.clone(),
            handed_over,
        };
        let intake = tokio::spawn(intake.run(ready)).abort_handle();
        // It goes on by itself if the broker is away now, so there is nothing to report.
        timeout(FIRST, is_ready).await.ok();
        Self { incoming, intake }
    }

    /// The next message; `None` when the bus was closed. Cancel safe.
    pub(super) async fn take(&mut self) -> Option<Taken<M>> {
        loop {
            let taken = self.incoming.recv().await?;
            // What waited here while its connection ended comes again.
            if taken.acker.usable() {
                return Some(taken);
            }
        }
    }
}

#[async_trait]
impl<M: Message> Subscription<M> for Feed<M> {
    async fn next(&mut self) -> Option<Box<dyn Delivery<M>>> {
        let taken = self.take().await?;
        Some(Box::new(taken))
    }
}

/// A message that was received.
pub(super) struct Taken<M> {
    pub(super) message: M,
    /// Where the answer goes and what it answers, if somebody waits for one.
    pub(super) reply: Option<(ShortString, ShortString)>,
    acker: Acker,
}

#[async_trait]
impl<M: Message> Delivery<M> for Taken<M> {
    fn message(&self) -> &M {
        &self.message
    }

    async fn acknowledge(self: Box<Self>) {
        acknowledge(&self.acker).await;
    }
}

impl<M> Taken<M> {
    /// It need not come again.
    pub(super) async fn done(self) {
        acknowledge(&self.acker).await;
    }
}

async fn acknowledge(acker: &Acker) {
    match timeout(ACKNOWLEDGE, acker.ack(BasicAckOptions::default())).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => tracing::debug!("a message's connection has ended; it comes again"),
        Ok(Err(error)) => tracing::debug!(%error, "a message was not acknowledged; it comes again"),
        Err(_) => tracing::warn!("an acknowledgement did not get out; its message comes again"),
    }
}

/// The task behind a [`Feed`].
struct Intake<M> {
    queue: Queue,
    parked: Queue,
    prefetch: u16,
    publishing: Link<Publishing>,
    consuming: Link<Consuming>,
    handed_over: mpsc::Sender<Taken<M>>,
}

impl<M: Message> Intake<M> {
    async fn run(self, ready: oneshot::Sender<()>) {
        let mut backoff = Backoff::new();
        let mut ready = Some(ready);
        while let Some(session) = self.consuming.up().await {
            let why = match timeout(SET_UP, self.set_up(&session)).await {
                Ok(Ok(consumer)) => {
                    if let Some(ready) = ready.take() {
                        // Who subscribed may have stopped waiting for this.
                        ready.send(()).ok();
                    }
                    self.consume(consumer, &mut backoff).await
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => ConnectError::Silent.to_string(),
            };
            if self.handed_over.is_closed() {
                return;
            }
            let pause = backoff.pause();
            tracing::warn!(
                topic = self.queue.topic, why, retry_in = ?pause, "messages cannot be received"
            );
            sleep(pause).await;
        }
    }

    async fn set_up(&self, session: &Session<Consuming>) -> lapin::Result<Consumer> {
        let channel = session.line.connection.create_channel().await?;
        self.parked.declare(&channel).await?;
        self.queue.declare(&channel).await?;
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
        let (name, options) = (self.queue.name.clone(), BasicConsumeOptions::default());
        channel.basic_consume(name, ShortString::default(), options, FieldTable::default()).await
    }

    /// Hands over messages until none come any more; says why.
    async fn consume(&self, mut consumer: Consumer, backoff: &mut Backoff) -> String {
        while let Some(arrived) = consumer.next().await {
            let arrived = match arrived {
                Ok(arrived) => arrived,
                Err(error) => return error.to_string(),
            };
            backoff.reset();
            match wire::read(&self.queue.topic, &arrived.data) {
                Ok(message) => {
                    let (reply, acker) = (reply(&arrived.properties), arrived.acker);
                    if self.handed_over.send(Taken { message, reply, acker }).await.is_err() {
                        return "nobody waits for them".to_owned();
                    }
                }
                Err(error) => self.park(&arrived, &error).await,
            }
        }
        "the broker delivers no more of them".to_owned()
    }

    /// Puts a message aside that nobody can read, and takes it from its queue when it is safe there.
    async fn park(&self, arrived: &Arrived, why: &BusError) {
        let id = arrived.properties.message_id().as_ref().map_or("", ShortString::as_str);
        let bytes = arrived.data.len();
        tracing::error!(
            topic = self.queue.topic, id, bytes, why = %why,
            "a message is put aside in {}", self.parked.name
        );
        let mut backoff = Backoff::new();
        // With its connection gone it comes again, and is put aside then.
        while arrived.acker.usable() {
            let parcel = self.parcel(arrived, why);
            match self.publishing.publish(parcel).await {
                Ok(()) => return acknowledge(&arrived.acker).await,
                Err(error) => tracing::warn!(%error, "a message cannot be put aside yet"),
            }
            sleep(backoff.pause()).await;
        }
    }

    fn parcel(&self, arrived: &Arrived, why: &BusError) -> Parcel {
        let mut headers = FieldTable::default();
        let mut header = |name: &str, value: &str| {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        };
        header("parked-from", self.queue.name.as_str());
        header("parked-because", &why.to_string());
        let id = arrived.properties.message_id().clone();
        Parcel::new(&self.parked, arrived.data.clone(), Lifetime::UntilTaken).with(|properties| {
            let properties = properties.with_headers(headers);
            match id {
                Some(id) => properties.with_message_id(id),
                None => properties,
            }
        })
    }
}

fn reply(properties: &BasicProperties) -> Option<(ShortString, ShortString)> {
    Some((properties.reply_to().clone()?, properties.correlation_id().clone()?))
}
