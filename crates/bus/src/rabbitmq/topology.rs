//! Queues: their names, how they are declared, and what becomes of messages that they do not take.
//!
//! Declaring is repeated on every connection; it does nothing when the queue exists as it is
//! declared here, and fails when it exists otherwise.

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use reprieve_core::HostName;
use reprieve_core::ports::BusError;

use super::config::QueueType;

/// How long a queue of requests stays when nobody serves them, in milliseconds.
const REQUESTS_UNUSED: u32 = 60_000;

/// Names and properties of all queues.
#[derive(Debug, Clone)]
pub(super) struct Topology {
    pub(super) prefix: String,
    pub(super) queue_type: QueueType,
    pub(super) command_limit: u32,
    pub(super) report_limit: u32,
}

/// One queue.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    /// What people and errors call it.
    pub(super) topic: String,
    /// What the broker calls it.
    pub(super) name: ShortString,
    options: QueueDeclareOptions,
    arguments: FieldTable,
}

impl Queue {
    /// Makes it exist.
    pub(super) async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        let declared =
            channel.queue_declare(self.name.clone(), self.options, self.arguments.clone());
        declared.await.map(drop)
    }
}

impl Topology {
    /// Commands for a host. Stays when the host is away.
    pub(super) fn commands(&self, host: &HostName) -> Result<Queue, BusError> {
        self.host_queue(
            "commands",
            host,
            QueueDeclareOptions::durable(),
            self.kept(self.command_limit),
        )
    }

    /// Reports of all hosts.
    pub(super) fn reports(&self) -> Queue {
        let (topic, arguments) = ("reports".to_owned(), self.kept(self.report_limit));
        let name = ShortString::from(format!("{}.{topic}", self.prefix));
        Queue { topic, name, options: QueueDeclareOptions::durable(), arguments }
    }

    /// Questions to a host. Goes when nobody answers any more, so that askers learn it at once.
    pub(super) fn requests(&self, host: &HostName) -> Result<Queue, BusError> {
        let options = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::durable() };
        let mut arguments = FieldTable::default();
        arguments.insert("x-expires".into(), AMQPValue::LongUInt(REQUESTS_UNUSED));
        // Said in any case: what a virtual host has as its default may not be able to go by itself.
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
        self.host_queue("requests", host, options, arguments)
    }

    /// What nobody could read. Without limit: nothing in it may be lost before somebody looked.
    pub(super) fn parked(&self) -> Queue {
        let topic = "parked".to_owned();
        let name = ShortString::from(format!("{}.{topic}", self.prefix));
        let options = QueueDeclareOptions::durable();
        let mut arguments = FieldTable::default();
        self.of_type(&mut arguments);
        Queue { topic, name, options, arguments }
    }

    fn host_queue(
        &self,
        kind: &str,
        host: &HostName,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<Queue, BusError> {
        let topic = format!("{kind}.{host}");
        let name = ShortString::try_new(format!("{}.{topic}", self.prefix)).map_err(|error| {
            BusError::Unavailable(format!("a host's name is too long for a queue: {error}"))
        })?;
        Ok(Queue { topic, name, options, arguments })
    }

    /// A full queue refuses, so that the sender knows. What a broker's own rules take out of it (an
    /// operator's policy, a quorum queue's delivery limit) is parked like what cannot be read.
    ///
    /// One subscription at a time gets messages, the others wait until it ends. So reports stay in
    /// their order however many conductors there are (a report that another one overtook would count
    /// as old), and of two agents with one name the first learns of the second.
    fn kept(&self, limit: u32) -> FieldTable {
        let mut arguments = FieldTable::default();
        let mut text = |name: &str, value: &str| {
            arguments.insert(name.into(), AMQPValue::LongString(value.into()));
        };
        text("x-overflow", "reject-publish");
        text("x-dead-letter-exchange", "");
        text("x-dead-letter-routing-key", self.parked().name.as_str());
        arguments.insert("x-max-length".into(), AMQPValue::LongUInt(limit));
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        self.of_type(&mut arguments);
        arguments
    }

    fn of_type(&self, arguments: &mut FieldTable) {
        let name = match self.queue_type {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
        };
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(name.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        let (prefix, queue_type) = ("reprieve".to_owned(), QueueType::Quorum);
        Topology { prefix, queue_type, command_limit: 1, report_limit: 1 }
    }

    #[test]
    fn queues_are_named_after_what_is_in_them() {
        let topology = topology();
        assert_eq!(topology.commands(&"vm".into()).unwrap().name.as_str(), "reprieve.commands.vm");
        assert_eq!(topology.requests(&"vm".into()).unwrap().topic, "requests.vm");
        assert_eq!(topology.reports().name.as_str(), "reprieve.reports");
        assert_eq!(topology.parked().name.as_str(), "reprieve.parked");
    }

    #[test]
    fn a_name_that_is_too_long_is_an_error() {
        let host = HostName::from("x".repeat(300).as_str());
        let refused = topology().commands(&host).unwrap_err();
        assert!(refused.to_string().contains("too long"), "{refused}");
    }
}
