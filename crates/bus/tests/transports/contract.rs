//! The promises of the bus, kept by every transport.
//!
//! `contract!(stage)` makes a test of each. `stage` is an async function that gives an empty bus, on
//! which nobody has listened yet.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reprieve_core::message::{Command, HostRequest, HostResponse, Report, ReportBody};
use reprieve_core::ports::{Bus, BusError, Delivery, RequestHandler, Subscription};
use reprieve_core::{HostName, InstanceId, OperationId, Timestamp};

/// Long enough for any message to arrive on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);
/// Long enough to be fairly sure that nothing arrives.
pub const QUIET: Duration = Duration::from_millis(300);

/// A bus with a way to end it.
#[async_trait]
pub trait Stage: Send + Sync {
    fn bus(&self) -> &dyn Bus;
    async fn close(&self);
}

/// A test of each promise.
macro_rules! contract {
    ($stage:path) => {
        $crate::contract::contract!($stage;
            a_message_waits_while_nobody_listens,
            what_was_not_acknowledged_comes_again_in_its_old_order,
            an_abandoned_wait_loses_nothing,
            a_subscription_that_sleeps_is_woken,
            hosts_get_their_own_commands,
            two_subscriptions_share_what_comes,
            large_messages_arrive_and_larger_ones_are_refused,
            closing_ends_subscriptions,
            requests_are_answered_while_served_and_within_their_deadline,
        );
    };
    ($stage:path; $($case:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $case() {
            $crate::contract::$case(&$stage().await).await;
        })*
    };
}

pub(crate) use contract;

pub fn host() -> HostName {
    "vm".into()
}

pub fn cancel() -> Command {
    Command::Cancel { operation_id: OperationId::random(), instance_id: InstanceId::random() }
}

pub fn report(sequence: i64) -> Report {
    let body = ReportBody::Heartbeat { host: None, problem: Some("away".into()) };
    Report { host: host(), epoch: 1, sequence, at: Timestamp::from_micros(5), body }
}

/// The next message, which has to come.
pub async fn next<M>(messages: &mut dyn Subscription<M>) -> Box<dyn Delivery<M>> {
    tokio::time::timeout(SOON, messages.next()).await.expect("a message").expect("an open bus")
}

async fn nothing_comes<M>(messages: &mut dyn Subscription<M>) {
    assert!(tokio::time::timeout(QUIET, messages.next()).await.is_err(), "nothing more was sent");
}

pub async fn a_message_waits_while_nobody_listens(stage: &dyn Stage) {
    let bus = stage.bus();
    drop(bus.commands(&host()).await.unwrap());
    let sent = cancel();
    bus.command(&host(), &sent).await.unwrap();
    // Reports need nobody to have listened ever.
    bus.report(&report(1)).await.unwrap();
    let mut commands = bus.commands(&host()).await.unwrap();
    let delivery = next(commands.as_mut()).await;
    assert_eq!(delivery.message(), &sent);
    delivery.acknowledge().await;
    let mut reports = bus.reports().await.unwrap();
    assert_eq!(next(reports.as_mut()).await.message().sequence, 1);
}

pub async fn what_was_not_acknowledged_comes_again_in_its_old_order(stage: &dyn Stage) {
    let bus = stage.bus();
    for sequence in 1..=3 {
        bus.report(&report(sequence)).await.unwrap();
    }
    let mut first = bus.reports().await.unwrap();
    let one = next(first.as_mut()).await;
    let two = next(first.as_mut()).await;
    two.acknowledge().await;
    drop(first);
    let mut second = bus.reports().await.unwrap();
    for expected in [1, 3] {
        let delivery = next(second.as_mut()).await;
        assert_eq!(delivery.message().sequence, expected);
        delivery.acknowledge().await;
    }
    // A late acknowledgement of the first delivery harms nothing.
    one.acknowledge().await;
    drop(second);
    let mut third = bus.reports().await.unwrap();
    nothing_comes(third.as_mut()).await;
}

pub async fn an_abandoned_wait_loses_nothing(stage: &dyn Stage) {
    let bus = stage.bus();
    let mut reports = bus.reports().await.unwrap();
    for sequence in 1..=50 {
        let waiting = tokio::time::timeout(Duration::ZERO, reports.next()).await;
        assert!(waiting.is_err(), "nothing was sent yet");
        bus.report(&report(sequence)).await.unwrap();
        let delivery = next(reports.as_mut()).await;
        assert_eq!(delivery.message().sequence, sequence);
        delivery.acknowledge().await;
    }
}

pub async fn a_subscription_that_sleeps_is_woken(stage: &dyn Stage) {
    let bus = stage.bus();
    let mut reports = bus.reports().await.unwrap();
    let woken = tokio::spawn(async move { reports.next().await.map(|one| one.message().sequence) });
    tokio::task::yield_now().await;
    bus.report(&report(7)).await.unwrap();
    assert_eq!(woken.await.unwrap(), Some(7));
}

pub async fn hosts_get_their_own_commands(stage: &dyn Stage) {
    let bus = stage.bus();
    let mut here = bus.commands(&host()).await.unwrap();
    let mut there = bus.commands(&"other".into()).await.unwrap();
    let (to_here, to_there) = (cancel(), cancel());
    bus.command(&"other".into(), &to_there).await.unwrap();
    bus.command(&host(), &to_here).await.unwrap();
    assert_eq!(next(here.as_mut()).await.message(), &to_here);
    assert_eq!(next(there.as_mut()).await.message(), &to_there);
    nothing_comes(here.as_mut()).await;
}

pub async fn two_subscriptions_share_what_comes(stage: &dyn Stage) {
    const MESSAGES: i64 = 40;
    let bus = stage.bus();
    let mut one = bus.reports().await.unwrap();
    let mut two = bus.reports().await.unwrap();
    for sequence in 1..=MESSAGES {
        bus.report(&report(sequence)).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < usize::try_from(MESSAGES).unwrap() {
        let delivery = tokio::select! {
            delivery = one.next() => delivery,
            delivery = two.next() => delivery,
            () = tokio::time::sleep(SOON) => panic!("only {seen:?} came"),
        };
        let delivery = delivery.unwrap();
        seen.push(delivery.message().sequence);
        delivery.acknowledge().await;
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=MESSAGES).collect::<Vec<_>>());
}

pub async fn large_messages_arrive_and_larger_ones_are_refused(stage: &dyn Stage) {
    let bus = stage.bus();
    let body = |bytes| ReportBody::Heartbeat { host: None, problem: Some("x".repeat(bytes)) };
    let large = Report { body: body(7 << 20), ..report(1) };
    bus.report(&large).await.unwrap();
    let refused = bus.report(&Report { body: body(9 << 20), ..report(2) }).await.unwrap_err();
    assert!(matches!(refused, BusError::TooLarge { limit: 8_388_608, .. }), "{refused}");
    let mut reports = bus.reports().await.unwrap();
    assert_eq!(next(reports.as_mut()).await.message(), &large);
}

pub async fn closing_ends_subscriptions(stage: &dyn Stage) {
    let bus = stage.bus();
    let mut reports = bus.reports().await.unwrap();
    let waiting = tokio::spawn(async move { reports.next().await.is_none() });
    tokio::task::yield_now().await;
    stage.close().await;
    assert!(tokio::time::timeout(SOON, waiting).await.unwrap().unwrap());
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

pub fn question(max_bytes: u64) -> HostRequest {
    HostRequest::ConsoleLog { instance_id: InstanceId::random(), max_bytes }
}

pub async fn requests_are_answered_while_served_and_within_their_deadline(stage: &dyn Stage) {
    let bus = stage.bus();
    let unserved = bus.request(&host(), &question(5), SOON).await.unwrap_err();
    assert!(matches!(unserved, BusError::Unavailable(_)), "{unserved}");

    let guard = bus.serve(&host(), Arc::new(Console)).await.unwrap();
    let (host, never, easy) = (host(), question(0), question(5));
    let late = bus.request(&host, &never, Duration::from_secs(1));
    let (late, answer) = tokio::join!(late, bus.request(&host, &easy, SOON));
    assert_eq!(answer.unwrap(), HostResponse::ConsoleLog { text: "5 bytes".into() });
    assert_eq!(late.unwrap_err().to_string(), "requests.vm did not answer within 1 s");

    // A successor is not disturbed by the end of its predecessor.
    let successor = bus.serve(&host, Arc::new(Console)).await.unwrap();
    drop(guard);
    assert!(bus.request(&host, &question(1), SOON).await.is_ok());
    drop(successor);
    // On a wire it takes a moment until everybody knows.
    let begun = tokio::time::Instant::now();
    while bus.request(&host, &question(1), Duration::from_secs(1)).await.is_ok() {
        assert!(begun.elapsed() < SOON, "it is still served");
    }
}
