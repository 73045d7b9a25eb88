//! Notifications on a real broker, as a program finds them there that was written for Nova's.

use std::sync::Arc;

use lapin::options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use reprieve_bus::{NotificationTopic, RabbitConfig, RabbitNotifications};
use reprieve_core::notification::{Notification, NotificationId, Priority};
use reprieve_core::ports::Emitter as _;
use reprieve_core::{InstanceId, Timestamp};
use reprieve_test_daemons::Broker;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{alone, broker, channel, until};

fn config(broker: &Broker) -> RabbitConfig {
    let config = alone(broker);
    let topic = format!("notes{}", Uuid::new_v4().simple());
    let notifications = NotificationTopic { topic, ..NotificationTopic::default() };
    RabbitConfig { notifications, ..config }
}

fn notification(number: i64, priority: Priority) -> Arc<Notification> {
    Arc::new(Notification {
        id: NotificationId { change: number, place: 0 },
        server: InstanceId::random(),
        project: "p".into(),
        at: Timestamp::from_micros(1_787_307_340_000_123),
        message_id: Uuid::from_u128(7),
        publisher_id: "nova-compute:vm".to_owned(),
        event_type: "instance.pause.end".to_owned(),
        priority,
        payload: json!({"number": number}),
    })
}

async fn take(channel: &lapin::Channel, queue: &str) -> Option<(Value, String)> {
    let got = channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap()?;
    got.delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
    let envelope: Value = serde_json::from_slice(&got.delivery.data).unwrap();
    assert_eq!(envelope["oslo.version"], "2.0");
    let message = serde_json::from_str(envelope["oslo.message"].as_str().unwrap()).unwrap();
    Some((message, got.delivery.routing_key.to_string()))
}

#[tokio::test]
async fn they_wait_in_novas_queues_in_oslos_envelope() {
    let config = config(broker());
    let (info, error) = (
        format!("{}.info", config.notifications.topic),
        format!("{}.error", config.notifications.topic),
    );
    let emitter = RabbitNotifications::new(config).unwrap();
    assert!(emitter.has_audience());
    let batch = [
        notification(1, Priority::Info),
        notification(2, Priority::Error),
        notification(3, Priority::Info),
    ];
    until(async || emitter.emit(&batch).await.ok()).await;
    let (_connection, channel) = channel().await;
    // A consumer declares what Nova's publisher does.
    let options = QueueDeclareOptions::default();
    channel.queue_declare(info.as_str().into(), options, FieldTable::default()).await.unwrap();
    let (first, key) = take(&channel, &info).await.unwrap();
    assert_eq!(key, info);
    assert_eq!(
        first,
        json!({
            "_unique_id": "00000000000000000000000000000007",
            "message_id": "00000000-0000-0000-0000-000000000007",
            "publisher_id": "nova-compute:vm",
            "event_type": "instance.pause.end",
            "priority": "INFO",
            "payload": {"number": 1},
            "timestamp": "2026-08-21 10:15:40.000123",
        })
    );
    assert_eq!(take(&channel, &info).await.unwrap().0["payload"]["number"], 3);
    assert_eq!(take(&channel, &info).await, None);
    assert_eq!(take(&channel, &error).await.unwrap().0["payload"]["number"], 2);
}

/// Declared otherwise by somebody else: an error that says so, and nothing else suffers.
#[tokio::test]
async fn a_queue_that_exists_otherwise_is_an_error_with_its_reason() {
    let config = config(broker());
    let name = format!("{}.info", config.notifications.topic);
    let (_connection, channel) = channel().await;
    let options = QueueDeclareOptions::durable();
    channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await.unwrap();
    let emitter = RabbitNotifications::new(config).unwrap();
    let batch = [notification(1, Priority::Info)];
    let refused = async || {
        let refused = emitter.emit(&batch).await.unwrap_err().to_string();
        (!refused.contains("not connected yet")).then_some(refused)
    };
    let refused = until(refused).await;
    assert!(refused.contains("PRECONDITION_FAILED"), "{refused}");
}

#[tokio::test]
async fn a_topic_that_no_broker_takes_is_refused() {
    for topic in [String::new(), "x".repeat(201)] {
        let mut config = RabbitConfig::new("amqp://broker/");
        config.notifications.topic = topic;
        assert!(RabbitNotifications::new(config).is_err());
    }
}
