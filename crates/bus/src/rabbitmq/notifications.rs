//! Notifications for other programs, sent as Nova sends them: oslo.messaging's driver `messagingv2`
//! on a topic exchange (spec/messaging.md section 8).
//!
//! ```text
//! relay ──publish, confirm──▶ exchange nova ──versioned_notifications.info──▶ queue of that name
//!                                           └─versioned_notifications.error─▶ queue of that name
//! ```
//!
//! The queues are declared here as Nova's publisher does, so that messages wait for a consumer that
//! is not there yet. A connection of its own, because a broker closes the channel on which an
//! exchange is declared otherwise than it exists, and commands must not suffer from that.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind};
use reprieve_core::notification::{Notification, Priority};
use reprieve_core::ports::{EmitError, Emitter};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::config::{NotificationTopic, RabbitConfig, RabbitConfigError, Settings};
use super::link::{Link, Purpose, Session};

/// How long the broker may take to confirm all messages of a batch.
const CONFIRM: Duration = Duration::from_secs(20);
/// AMQP's number for "kept over restarts"; Nova says so even where the queue is not.
const PERSISTENT: u8 = 2;
/// All priorities that there are.
const PRIORITIES: [Priority; 2] = [Priority::Info, Priority::Error];

/// Emits to a broker.
pub struct RabbitNotifications {
    link: Link<Notifying>,
    topic: NotificationTopic,
    _stop_with_this: DropGuard,
}

impl RabbitNotifications {
    /// An emitter that begins to connect. That the broker is away is no error: it may come.
    ///
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`RabbitConfigError`] when the configuration makes no sense.
    pub fn new(config: RabbitConfig) -> Result<Self, RabbitConfigError> {
        let topic = config.notifications.clone();
        let settings = Arc::new(Settings::new(config)?);
        let stop = CancellationToken::new();
        let link = Link::new(settings, stop.clone());
        Ok(Self { link, topic, _stop_with_this: stop.drop_guard() })
    }
}

/// What is on the connection.
struct Notifying {
    channel: Channel,
}

impl Purpose for Notifying {
    const NAME: &'static str = "notifications";

    async fn prepare(connection: &Connection, settings: &Settings) -> lapin::Result<Self> {
        let topic = &settings.notifications;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let exchange = ShortString::from(topic.exchange.as_str());
        let options = ExchangeDeclareOptions { durable: topic.durable, ..Default::default() };
        let nothing = FieldTable::default;
        channel.exchange_declare(exchange.clone(), ExchangeKind::Topic, options, nothing()).await?;
        for priority in PRIORITIES {
            let name = ShortString::from(topic.key(priority));
            let options = QueueDeclareOptions { durable: topic.durable, ..Default::default() };
            channel.queue_declare(name.clone(), options, nothing()).await?;
            let options = QueueBindOptions::default();
            channel.queue_bind(name.clone(), exchange.clone(), name, options, nothing()).await?;
        }
        Ok(Self { channel })
    }
}

#[async_trait]
impl Emitter for RabbitNotifications {
    fn has_audience(&self) -> bool {
        true
    }

    async fn emit(&self, notifications: &[Arc<Notification>]) -> Result<(), EmitError> {
        let session = self.link.session().await.map_err(|error| EmitError(error.to_string()))?;
        let sent = timeout(CONFIRM, self.send(&session, notifications)).await;
        let late = || format!("the broker did not confirm them within {} s", CONFIRM.as_secs());
        match sent.unwrap_or_else(|_| Err(late())) {
            Ok(()) => Ok(()),
            Err(why) => {
                session.give_up();
                Err(EmitError(why))
            }
        }
    }

    /// A gap cannot be told in Nova's messages; whoever asks for it finds it in the log.
    async fn missed(&self, _: u64) {}
}

impl RabbitNotifications {
    /// Publishes all, then waits for all confirmations: one round trip for the batch.
    async fn send(
        &self,
        session: &Session<Notifying>,
        notifications: &[Arc<Notification>],
    ) -> Result<(), String> {
        let exchange = ShortString::from(self.topic.exchange.as_str());
        let mut confirmations = Vec::with_capacity(notifications.len());
        for notification in notifications {
            let key = ShortString::from(self.topic.key(notification.priority));
            let properties = BasicProperties::default()
                .with_content_type("application/json".into())
                .with_content_encoding("utf-8".into())
                .with_delivery_mode(PERSISTENT);
            let body = envelope(notification).to_string();
            let options = BasicPublishOptions::default();
            let published = session.prepared.channel.basic_publish(
                exchange.clone(),
                key,
                options,
                body.as_bytes(),
                properties,
            );
            confirmations.push(published.await.map_err(|error| error.to_string())?);
        }
        for confirmation in confirmations {
            match confirmation.await.map_err(|error| error.to_string())? {
                Confirmation::Ack(_) => {}
                Confirmation::Nack(_) => return Err("the broker cannot keep more".to_owned()),
                Confirmation::NotRequested => {
                    return Err("the broker does not confirm messages".to_owned());
                }
            }
        }
        Ok(())
    }
}

/// oslo.messaging's envelope 2.0. Receivers drop a message whose `_unique_id` they have just seen.
fn envelope(notification: &Notification) -> Value {
    let mut message = notification.message();
    if let Some(fields) = message.as_object_mut() {
        let id = notification.message_id.simple().to_string();
        fields.insert("_unique_id".to_owned(), id.into());
    }
    json!({"oslo.version": "2.0", "oslo.message": message.to_string()})
}
