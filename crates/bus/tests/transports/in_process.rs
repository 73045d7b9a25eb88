//! The promises of the bus on the in-process transport, and what only that one promises.

use async_trait::async_trait;
use reprieve_bus::InProcessBus;
use reprieve_core::ports::{Bus, BusError};

use crate::contract::{Stage, cancel, contract, host, report};

struct InProcess(InProcessBus);

#[async_trait]
impl Stage for InProcess {
    fn bus(&self) -> &dyn Bus {
        &self.0
    }

    async fn close(&self) {
        self.0.close();
    }
}

async fn stage() -> InProcess {
    InProcess(InProcessBus::new())
}

contract!(stage);

#[tokio::test]
async fn a_command_waits_for_the_first_subscription_of_its_host() {
    let bus = InProcessBus::new();
    let sent = cancel();
    bus.command(&host(), &sent).await.unwrap();
    let mut commands = bus.commands(&host()).await.unwrap();
    assert_eq!(commands.next().await.unwrap().message(), &sent);
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
