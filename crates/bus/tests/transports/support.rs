//! A broker for tests, and buses on it that do not see each other.

use async_trait::async_trait;
use reprieve_bus::{RabbitBus, RabbitConfig};
use reprieve_core::ports::Bus;
use reprieve_test_daemons::Broker;

use crate::contract::Stage;

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
