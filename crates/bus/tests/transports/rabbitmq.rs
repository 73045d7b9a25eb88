//! The promises of the bus over RabbitMQ, and what only that one promises.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::AMQPValue;
use reprieve_bus::{QueueType, RabbitBus, RabbitConfig};
use reprieve_core::ports::{Bus as _, BusError};
use tokio::time::timeout;

use crate::contract::{QUIET, SOON, cancel, contract, host, next, report};
use crate::support::{OverRabbit, alone, broker, channel, connected, until};

async fn classic() -> OverRabbit {
    OverRabbit(connected(alone(broker())).await)
}

contract!(classic);

mod quorum {
    use super::{OverRabbit, QueueType, alone, broker, connected};

    async fn stage() -> OverRabbit {
        let config =
            reprieve_bus::RabbitConfig { queue_type: QueueType::Quorum, ..alone(broker()) };
        OverRabbit(connected(config).await)
    }

    crate::contract::contract!(stage);
}

#[tokio::test]
async fn a_command_that_no_queue_takes_is_an_error() {
    let bus = connected(alone(broker())).await;
    let refused = bus.command(&host(), &cancel()).await.unwrap_err();
    assert!(refused.to_string().contains("nobody takes commands.vm"), "{refused}");
}

#[tokio::test]
async fn a_full_queue_refuses_until_there_is_room() {
    let bus = connected(RabbitConfig { command_limit: 1, ..alone(broker()) }).await;
    drop(bus.commands(&host()).await.unwrap());
    // The broker looks at the length after it took a message, so one more may fit; and whoever listened
    // may take some before it is gone.
    let (host, cancel) = (host(), cancel());
    let refused = until(async || bus.command(&host, &cancel).await.err()).await;
    assert!(refused.to_string().contains("too many messages wait on commands.vm"), "{refused}");
    let mut commands = bus.commands(&host).await.unwrap();
    next(commands.as_mut()).await.acknowledge().await;
    until(async || bus.command(&host, &cancel).await.ok()).await;
}

#[tokio::test]
async fn what_nobody_can_read_is_parked_with_its_reason() {
    let config = alone(broker());
    let (reports, parked) =
        (format!("{}.reports", config.prefix), format!("{}.parked", config.prefix));
    let bus = connected(config).await;
    let mut subscription = bus.reports().await.unwrap();
    let (_connection, channel) = channel().await;
    // So that what is published with another connection comes after it.
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let strange = [
        (r#"{"version": 9, "kind": "report", "body": {"new": "things"}}"#, "of version 9"),
        (r#"{"version": 1, "kind": "report", "body": {"host": "vm"}}"#, "missing field"),
        ("no JSON at all", "cannot be read"),
    ];
    for (text, _) in strange {
        let properties = BasicProperties::default().with_message_id("m-1".into());
        let options = BasicPublishOptions::default();
        let key = reports.as_str().into();
        let text = text.as_bytes();
        let published = channel.basic_publish("".into(), key, options, text, properties).await;
        assert!(published.unwrap().await.unwrap().is_ack());
    }
    // What comes after them is not held up, and comes when they are out of the way.
    bus.report(&report(5)).await.unwrap();
    let delivery = next(subscription.as_mut()).await;
    assert_eq!(delivery.message().sequence, 5);
    delivery.acknowledge().await;
    for (text, reason) in strange {
        let options = BasicGetOptions { no_ack: true };
        // A queue may take a moment longer to show what it has confirmed.
        let message = timeout(SOON, async {
            loop {
                let got = channel.basic_get(parked.as_str().into(), options).await.unwrap();
                match got {
                    Some(message) => break message,
                    None => tokio::task::yield_now().await,
                }
            }
        });
        let message = message.await.expect("a parked message");
        assert_eq!(message.data, text.as_bytes());
        assert_eq!(message.properties.message_id().as_ref().unwrap().as_str(), "m-1");
        let headers = message.properties.headers().as_ref().unwrap().inner();
        let header = |name: &str| match &headers[name] {
            AMQPValue::LongString(text) => text.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(header("parked-from"), reports);
        assert!(header("parked-because").contains(reason), "{}", header("parked-because"));
    }
    // Nothing of it is left where it was.
    bus.close().await;
    let left = channel.basic_get(reports.as_str().into(), BasicGetOptions::default()).await;
    assert!(left.unwrap().is_none());
}

#[tokio::test]
async fn closing_gives_back_what_was_not_acknowledged() {
    let config = alone(broker());
    let bus = connected(config.clone()).await;
    bus.report(&report(1)).await.unwrap();
    bus.report(&report(2)).await.unwrap();
    let mut reports = bus.reports().await.unwrap();
    next(reports.as_mut()).await.acknowledge().await;
    let _taken = next(reports.as_mut()).await;
    bus.close().await;
    let bus = connected(config).await;
    let mut reports = bus.reports().await.unwrap();
    assert_eq!(next(reports.as_mut()).await.message().sequence, 2);
}

/// Two conductors would overtake each other's reports, and the overtaken would count as old.
#[tokio::test]
async fn one_subscription_at_a_time_gets_what_comes() {
    const MESSAGES: i64 = 20;
    let config = alone(broker());
    let (one, other) = (connected(config.clone()).await, connected(config).await);
    let mut first = one.reports().await.unwrap();
    let mut second = other.reports().await.unwrap();
    for sequence in 1..=MESSAGES {
        other.report(&report(sequence)).await.unwrap();
    }
    for sequence in 1..=MESSAGES / 2 {
        let delivery = next(first.as_mut()).await;
        assert_eq!(delivery.message().sequence, sequence);
        delivery.acknowledge().await;
    }
    assert!(tokio::time::timeout(QUIET, second.next()).await.is_err(), "it is not its turn");
    one.close().await;
    for sequence in MESSAGES / 2 + 1..=MESSAGES {
        assert_eq!(next(second.as_mut()).await.message().sequence, sequence);
    }
}

#[tokio::test]
async fn tls_trusts_the_named_authority_and_nobody_else() {
    let authority = std::fs::read(broker().authority()).unwrap();
    let encrypted = RabbitConfig { urls: vec![broker().encrypted_url()], ..alone(broker()) };
    let trusting = RabbitConfig { authority: Some(authority.clone()), ..encrypted.clone() };
    let bus = connected(trusting.clone()).await;
    bus.report(&report(1)).await.unwrap();
    let mut reports = bus.reports().await.unwrap();
    assert_eq!(next(reports.as_mut()).await.message().sequence, 1);

    // The machine does not know the tests' authority.
    let why = refusal(encrypted).await;
    assert!(why.contains("certificate"), "{why}");
    // The certificate is for another name than this.
    let url = broker().encrypted_url().replace("localhost", "127.0.0.1");
    let why = refusal(RabbitConfig { urls: vec![url], ..trusting.clone() }).await;
    assert!(why.contains("certificate"), "{why}");
    // A broker that does not speak TLS gets nothing in clear.
    let url = broker().url().replace("amqp:", "amqps:").replace("127.0.0.1", "localhost");
    let why = refusal(RabbitConfig { urls: vec![url], ..trusting }).await;
    assert!(!why.is_empty());
}

/// Why there is no connection, once there was an attempt.
async fn refusal(config: RabbitConfig) -> String {
    let bus = RabbitBus::new(config).unwrap();
    let begun = tokio::time::Instant::now();
    loop {
        let refused = bus.report(&report(1)).await.expect_err("no connection").to_string();
        if !refused.contains("not connected yet") {
            return refused;
        }
        assert!(begun.elapsed() < SOON, "{refused}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_repeated() {
    let url = broker().url().replace("guest:guest", "guest:sesame");
    let why = refusal(RabbitConfig { urls: vec![url], ..alone(broker()) }).await;
    assert!(why.contains("ACCESS_REFUSED") && !why.contains("sesame"), "{why}");
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let nobody = "amqp://guest:guest@127.0.0.1:1/%2f".to_owned();
    let bus =
        connected(RabbitConfig { urls: vec![nobody, broker().url()], ..alone(broker()) }).await;
    let mut reports = bus.reports().await.unwrap();
    bus.report(&report(1)).await.unwrap();
    assert_eq!(next(reports.as_mut()).await.message().sequence, 1);
}

#[tokio::test]
async fn virtual_hosts_are_apart() {
    let broker = broker();
    for args in
        [vec!["add_vhost", "a/b"], vec!["set_permissions", "-p", "a/b", "guest", ".*", ".*", ".*"]]
    {
        broker.ctl(&args).unwrap();
    }
    let config = alone(broker);
    let url = broker.url().replace("%2f", "a%2fb");
    let there = connected(RabbitConfig { urls: vec![url], ..config.clone() }).await;
    let here = connected(config).await;
    there.report(&report(1)).await.unwrap();
    here.report(&report(2)).await.unwrap();
    let mut reports = there.reports().await.unwrap();
    assert_eq!(next(reports.as_mut()).await.message().sequence, 1);
    let mut reports = here.reports().await.unwrap();
    assert_eq!(next(reports.as_mut()).await.message().sequence, 2);
}

#[tokio::test]
async fn a_peer_that_says_nothing_does_not_hold_up_senders() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("amqp://guest:guest@{}/%2f", listener.local_addr().unwrap());
    let bus = RabbitBus::new(RabbitConfig { urls: vec![url], ..alone(broker()) }).unwrap();
    let sent = tokio::time::timeout(Duration::from_secs(5), bus.report(&report(1))).await;
    let refused = sent.unwrap().unwrap_err();
    assert!(matches!(refused, BusError::Unavailable(_)), "{refused}");
}
