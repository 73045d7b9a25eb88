//! A broker for tests, and buses on it that do not see each other.

use std::time::Duration;

use async_trait::async_trait;
use reprieve_bus::{RabbitBus, RabbitConfig};
use reprieve_core::ports::Bus;
use reprieve_test_daemons::Broker;
use tokio::time::timeout;

use crate::contract::{SOON, Stage};

/// The broker of all tests that do it no harm.
pub fn broker() -> &'static Broker {
    Broker::shared()
}

/// A configuration whose queues nobody else has.
pub fn alone(broker: &Broker) -> RabbitConfig {
    let mut config = RabbitConfig::new(broker.url());
    config.prefix = format!("t{}", uuid::Uuid::new_v4().simple());
    config
}

/// A bus whose connections are there. A broker that is busy takes longer than a sender waits.
pub async fn connected(config: RabbitConfig) -> RabbitBus {
    let bus = RabbitBus::new(config).unwrap();
    until(async || bus.connections().iter().all(|connection| connection.up).then_some(())).await;
    bus
}

/// What something comes to once it is there.
pub async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut again = tokio::time::interval(Duration::from_millis(10));
    let found = timeout(SOON, async {
        loop {
            again.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    });
    found.await.expect("it comes soon")
}

pub struct OverRabbit(pub RabbitBus);

#[async_trait]
impl Stage for OverRabbit {
    fn bus(&self) -> &dyn Bus {
        &self.0
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

/// Sends and receives beside the bus, as somebody with another idea of messages would.
pub async fn channel() -> (lapin::Connection, lapin::Channel) {
    let properties = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(&broker().url(), properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}
