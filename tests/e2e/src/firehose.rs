//! What a broker carries: each message that is published to it, as RabbitMQ's own firehose tells.
//!
//! Firehose: <https://www.rabbitmq.com/docs/firehose>. It is turned on for a broker of a test's own
//! and copies every message, so it is nothing for a broker that works for somebody.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties, Consumer};
use reprieve_test_daemons::Broker;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::wait::Deadline;

/// A message as it went through the broker.
#[derive(Debug, Clone)]
pub struct Carried {
    /// The queue that it was for.
    pub queue: String,
    /// What is in it, beside version and kind.
    pub body: Value,
}

/// Listens until dropped.
pub struct Firehose {
    carried: Arc<Mutex<Vec<Carried>>>,
    /// Consumes in the background.
    _runtime: Runtime,
}

impl Firehose {
    /// Turns it on.
    ///
    /// # Errors
    /// When the broker does not let us.
    pub fn open(broker: &Broker) -> Result<Self> {
        broker.ctl(&["trace_on"]).context("the firehose cannot be turned on")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("a thread for the firehose")?;
        let carried = Arc::new(Mutex::new(Vec::new()));
        let (connection, consumer) = runtime.block_on(subscribe(&broker.url()))?;
        runtime.spawn(listen(connection, consumer, Arc::clone(&carried)));
        Ok(Self { carried, _runtime: runtime })
    }

    /// Waits until the broker has carried the command of a request and the report of its end;
    /// returns them with what came between.
    ///
    /// # Errors
    /// When it has not in time.
    pub fn messages_of(&self, request: &str, deadline: Deadline) -> Result<Vec<Carried>> {
        deadline.until(&format!("the messages of {request}"), || {
            let all = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
            let command = all.iter().find(|message| message.body["request_id"] == request);
            let Some(operation) = command.map(|message| message.body["operation_id"].clone())
            else {
                return Ok(None);
            };
            let id = |message: &Carried| {
                [&message.body["operation_id"], &message.body["body"]["operation_id"]]
                    .contains(&&operation)
            };
            let its: Vec<Carried> = all.iter().filter(|message| id(message)).cloned().collect();
            let ended = its.iter().any(|message| message.body["body"]["report"] == "finished");
            Ok(ended.then_some(its))
        })
    }
}

async fn subscribe(url: &str) -> Result<(Connection, Consumer)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let own = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), own, FieldTable::default()).await?.name().clone();
    let (exchange, key) = ("amq.rabbitmq.trace".into(), "publish.#".into());
    let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(queue.clone(), exchange, key, bind, none).await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
    Ok((connection, consumer))
}

async fn listen(connection: Connection, mut consumer: Consumer, carried: Arc<Mutex<Vec<Carried>>>) {
    while let Some(Ok(message)) = consumer.next().await {
        let headers = message.properties.headers().clone().unwrap_or_default();
        let queue = match headers.inner().get("routing_keys") {
            Some(AMQPValue::FieldArray(keys)) => match keys.as_slice() {
                [AMQPValue::LongString(key), ..] => key.to_string(),
                _ => continue,
            },
            _ => continue,
        };
        let Ok(mut read) = serde_json::from_slice::<Value>(&message.data) else { continue };
        let body = read.get_mut("body").map_or(json!({}), Value::take);
        carried.lock().unwrap_or_else(PoisonError::into_inner).push(Carried { queue, body });
    }
    drop(connection);
}
