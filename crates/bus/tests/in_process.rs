//! The promises of the bus, on the in-process transport.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reprieve_bus::InProcessBus;
use reprieve_core::message::{Command, HostRequest, HostResponse, Report, ReportBody};
use reprieve_core::ports::{Bus, BusError, RequestHandler};
use reprieve_core::{HostName, InstanceId, OperationId, Timestamp};

fn host() -> HostName {
    "vm".into()
}

fn cancel() -> Command {
    Command::Cancel { operation_id: OperationId::random(), instance_id: InstanceId::random() }
}

fn report(sequence: i64) -> Report {
    let body = ReportBody::Heartbeat { host: None, problem: Some("away".into()) };
    Report { host: host(), epoch: 1, sequence, at: Timestamp::from_micros(5), body }
}

#[tokio::test]
async fn a_message_waits_for_its_first_subscription() {
    let bus = InProcessBus::new();
    let sent = cancel();
    bus.command(&host(), &sent).await.unwrap();
    let mut commands = bus.commands(&host()).await.unwrap();
    let delivery = commands.next().await.unwrap();
    assert_eq!(delivery.message(), &sent);
    delivery.acknowledge().await;
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_in_its_old_order() {
    let bus = InProcessBus::new();
    for sequence in 1..=3 {
        bus.report(&report(sequence)).await.unwrap();
    }
    let mut first = bus.reports().await.unwrap();
    let one = first.next().await.unwrap();
    let two = first.next().await.unwrap();
    two.acknowledge().await;
    drop(first);
    let mut second = bus.reports().await.unwrap();
    for expected in [1, 3] {
        let delivery = second.next().await.unwrap();
        assert_eq!(delivery.message().sequence, expected);
        delivery.acknowledge().await;
    }
    // A late acknowledgement of the first delivery harms nothing.
    one.acknowledge().await;
    drop(second);
    let mut third = bus.reports().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(20), third.next()).await.is_err());
}

#[tokio::test]
async fn an_abandoned_wait_loses_nothing() {
    let bus = InProcessBus::new();
    let mut reports = bus.reports().await.unwrap();
    for sequence in 1..=50 {
        let waiting = tokio::time::timeout(Duration::ZERO, reports.next()).await;
        assert!(waiting.is_err(), "nothing was sent yet");
        bus.report(&report(sequence)).await.unwrap();
        let delivery = reports.next().await.unwrap();
        assert_eq!(delivery.message().sequence, sequence);
        delivery.acknowledge().await;
    }
}

#[tokio::test]
async fn a_subscription_that_sleeps_is_woken() {
    let bus = InProcessBus::new();
    let mut reports = bus.reports().await.unwrap();
    let woken = tokio::spawn(async move { reports.next().await.map(|one| one.message().sequence) });
    tokio::task::yield_now().await;
    bus.report(&report(7)).await.unwrap();
    assert_eq!(woken.await.unwrap(), Some(7));
}

#[tokio::test]
async fn a_full_queue_refuses_commands_until_there_is_room() {
    let bus = InProcessBus::with_capacity(2, 2);
    bus.command(&host(), &cancel()).await.unwrap();
    bus.command(&host(), &cancel()).await.unwrap();
    let refused = bus.command(&host(), &cancel()).await.unwrap_err();
    assert!(matches!(refused, BusError::Unavailable(_)), "{refused}");
    // Another host is not concerned.
    bus.command(&"other".into(), &cancel()).await.unwrap();
    let mut commands = bus.commands(&host()).await.unwrap();
    let taken = commands.next().await.unwrap();
    assert!(bus.command(&host(), &cancel()).await.is_err(), "taken is not acknowledged");
    taken.acknowledge().await;
    bus.command(&host(), &cancel()).await.unwrap();
}

#[tokio::test]
async fn reports_wait_for_room() {
    let bus = InProcessBus::with_capacity(1, 1);
    bus.report(&report(1)).await.unwrap();
    let sender = tokio::spawn({
        let bus = bus.clone();
        async move { bus.report(&report(2)).await }
    });
    let mut reports = bus.reports().await.unwrap();
    for expected in [1, 2] {
        let delivery = reports.next().await.unwrap();
        assert_eq!(delivery.message().sequence, expected);
        delivery.acknowledge().await;
    }
    sender.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn reports_that_find_no_room_are_refused_in_the_end() {
    let bus = InProcessBus::with_capacity(1, 1);
    bus.report(&report(1)).await.unwrap();
    let refused = bus.report(&report(2)).await.unwrap_err();
    assert!(matches!(refused, BusError::Unavailable(_)), "{refused}");
}

#[tokio::test]
async fn closing_ends_subscriptions() {
    let bus = InProcessBus::new();
    let mut reports = bus.reports().await.unwrap();
    let waiting = tokio::spawn(async move { reports.next().await.is_none() });
    tokio::task::yield_now().await;
    bus.close();
    assert!(waiting.await.unwrap());
    assert!(bus.report(&report(1)).await.is_err());
}

struct Console;

#[async_trait]
impl RequestHandler for Console {
    async fn answer(&self, request: HostRequest) -> HostResponse {
        let HostRequest::ConsoleLog { max_bytes, .. } = request else {
            return HostResponse::NoConsole;
        };
        if max_bytes == 0 {
            std::future::pending::<()>().await;
        }
        HostResponse::ConsoleLog { text: format!("{max_bytes} bytes") }
    }
}

fn question(max_bytes: u64) -> HostRequest {
    HostRequest::ConsoleLog { instance_id: InstanceId::random(), max_bytes }
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_while_served_and_within_their_deadline() {
    let bus = InProcessBus::new();
    let second = Duration::from_secs(1);
    let unserved = bus.request(&host(), &question(5), second).await.unwrap_err();
    assert!(matches!(unserved, BusError::Unavailable(_)), "{unserved}");

    let guard = bus.serve(&host(), Arc::new(Console)).await.unwrap();
    let answer = bus.request(&host(), &question(5), second).await.unwrap();
    assert_eq!(answer, HostResponse::ConsoleLog { text: "5 bytes".into() });
    let late = bus.request(&host(), &question(0), second).await.unwrap_err();
    assert_eq!(late.to_string(), "requests.vm did not answer within 1 s");

    // A successor is not disturbed by the end of its predecessor.
    let successor = bus.serve(&host(), Arc::new(Console)).await.unwrap();
    drop(guard);
    assert!(bus.request(&host(), &question(1), second).await.is_ok());
    drop(successor);
    assert!(bus.request(&host(), &question(1), second).await.is_err());
}
