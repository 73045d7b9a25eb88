//! Sending: a channel with confirms, and the answers to what was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer};
use reprieve_core::ports::BusError;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use uuid::Uuid;

use super::config::Settings;
use super::link::{Link, Purpose, Session};
use super::topology::Queue;

/// How long the broker may take to confirm a message.
const CONFIRM: Duration = Duration::from_secs(4);
/// Where the broker delivers answers without a queue in between.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// AMQP's numbers for "lost when the broker restarts" and "kept".
const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;

/// How long a message is of use.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lifetime {
    /// Until somebody has taken it, over restarts of the broker.
    UntilTaken,
    /// So long, and while the broker runs.
    For(Duration),
}

/// Something to send.
pub(super) struct Parcel {
    key: ShortString,
    topic: String,
    body: Vec<u8>,
    properties: BasicProperties,
}

impl Parcel {
    /// For a queue.
    pub(super) fn new(queue: &Queue, body: Vec<u8>, lifetime: Lifetime) -> Self {
        Self::to(queue.name.clone(), queue.topic.clone(), body, lifetime)
    }

    /// For whatever takes messages under this key; `topic` is for people.
    pub(super) fn to(key: ShortString, topic: String, body: Vec<u8>, lifetime: Lifetime) -> Self {
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_message_id(Uuid::now_v7().to_string().into());
        let properties = match lifetime {
            Lifetime::UntilTaken => properties.with_delivery_mode(PERSISTENT),
            Lifetime::For(time) => properties
                .with_delivery_mode(TRANSIENT)
                .with_expiration(time.as_millis().to_string().into()),
        };
        Self { key, topic, body, properties }
    }

    /// The same with other properties than those made here.
    pub(super) fn with(mut self, change: impl FnOnce(BasicProperties) -> BasicProperties) -> Self {
        self.properties = change(self.properties);
        self
    }
}

/// Who waits for which answer.
type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Vec<u8>>>>>;

/// What is on the connection that publishes.
pub(super) struct Publishing {
    channel: Channel,
    waiting: Waiting,
    answers: AbortHandle,
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

impl Purpose for Publishing {
    const NAME: &'static str = "publishing";

    /// Also declares the queues that no host has to be there for.
    async fn prepare(connection: &Connection, settings: &Settings) -> lapin::Result<Self> {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        for queue in [settings.topology.parked(), settings.topology.reports()] {
            queue.declare(&channel).await?;
        }
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let answers = channel
            .basic_consume(REPLY_TO.into(), "answers".into(), options, FieldTable::default())
            .await?;
        let waiting = Waiting::default();
        let answers = tokio::spawn(hand_out(answers, Arc::clone(&waiting))).abort_handle();
        Ok(Self { channel, waiting, answers })
    }
}

/// Hands each answer to who asked. Ends with the connection; then nobody has to wait any longer.
async fn hand_out(mut answers: Consumer, waiting: Waiting) {
    while let Some(Ok(answer)) = answers.next().await {
        let asked = answer.properties.correlation_id().as_ref().map(ShortString::as_str);
        let asker = asked.and_then(|id| lock(&waiting).remove(id));
        // Who asked may have stopped waiting, which is no error here.
        asker.map(|asker| asker.send(answer.data).ok());
    }
    lock(&waiting).clear();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link<Publishing> {
    /// Sends a message; returns when the broker holds it as long as it promised to.
    pub(super) async fn publish(&self, parcel: Parcel) -> Result<(), BusError> {
        send(&*self.session().await?, parcel).await
    }

    /// Asks whoever serves the queue. The caller bounds the time.
    pub(super) async fn ask(
        &self,
        queue: &Queue,
        body: Vec<u8>,
        deadline: Duration,
    ) -> Result<Vec<u8>, BusError> {
        let session = self.session().await?;
        let question = Question::new(&session.prepared.waiting);
        let parcel = Parcel::new(queue, body, Lifetime::For(deadline)).with(|properties| {
            properties
                .with_reply_to(REPLY_TO.into())
                .with_correlation_id(question.id.as_str().into())
        });
        send(&session, parcel).await?;
        question.answer().await.ok_or_else(|| {
            BusError::Unavailable(format!("the connection ended before {} answered", queue.topic))
        })
    }
}

/// Somebody who waits for an answer; forgotten when dropped.
struct Question<'a> {
    id: String,
    waiting: &'a Waiting,
    answer: oneshot::Receiver<Vec<u8>>,
}

impl<'a> Question<'a> {
    fn new(waiting: &'a Waiting) -> Self {
        let (asker, answer) = oneshot::channel();
        let id = Uuid::new_v4().to_string();
        lock(waiting).insert(id.clone(), asker);
        Self { id, waiting, answer }
    }

    async fn answer(mut self) -> Option<Vec<u8>> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        lock(self.waiting).remove(&self.id);
    }
}

/// Publishes and waits for the confirmation.
async fn send(session: &Session<Publishing>, parcel: Parcel) -> Result<(), BusError> {
    let Parcel { key, topic, body, properties } = parcel;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let channel = &session.prepared.channel;
    let confirmed = async {
        channel.basic_publish(ShortString::default(), key, options, &body, properties).await?.await
    };
    let unavailable = |why: String| Err(BusError::Unavailable(why));
    match timeout(CONFIRM, confirmed).await {
        Ok(Ok(Confirmation::Ack(None))) => Ok(()),
        Ok(Ok(Confirmation::Ack(Some(_)))) => unavailable(format!("nobody takes {topic}")),
        Ok(Ok(Confirmation::Nack(_))) => unavailable(format!(
            "too many messages wait on {topic}, or the broker cannot keep more"
        )),
        Ok(Ok(Confirmation::NotRequested)) => {
            session.give_up();
            unavailable("the broker does not confirm messages".to_owned())
        }
        Ok(Err(error)) => {
            // The channel is of no use any more, whatever it was.
            session.give_up();
            unavailable(error.to_string())
        }
        Err(_) => {
            // A broker that has no room says so, and confirms when it has. Otherwise a channel that
            // waits for a queue's lost leader may wait for good, while a new one finds the new one.
            if !session.line.connection.status().blocked() {
                session.give_up();
            }
            let seconds = CONFIRM.as_secs();
            unavailable(format!("the broker did not confirm a message within {seconds} s"))
        }
    }
}
