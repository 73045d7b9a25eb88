//! Transports between control plane and compute hosts, all behind [`reprieve_core::ports::Bus`].
//!
//! [`InProcessBus`] serves one process, [`RabbitBus`] many hosts. Whatever the transport, every
//! message is written as JSON and read back (`wire`), so that one process and many take the same
//! path; a message is delivered at least once; and nothing here is relied upon for durability: the
//! outbox and the ledgers are.

mod in_process;
mod queue;
mod rabbitmq;
mod wire;

pub use in_process::InProcessBus;
pub use rabbitmq::{
    Identity, NotificationTopic, QueueType, RabbitBus, RabbitConfig, RabbitConfigError,
    RabbitNotifications,
};
