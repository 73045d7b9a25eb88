//! What becomes of messages when the broker or a connection ends at a bad moment.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use reprieve_bus::{QueueType, RabbitBus, RabbitConfig};
use reprieve_core::message::{HostRequest, HostResponse};
use reprieve_core::ports::{Bus as _, RequestHandler};
use reprieve_test_daemons::Broker;
use tokio::sync::{Mutex, watch};
use tokio::task::{block_in_place, spawn_blocking};
use tokio::time::timeout;

use crate::contract::{SOON, cancel, host, next, question, report};
use crate::support;

/// The tests here do evil to their broker, so it is theirs alone and they take turns.
static TURN: Mutex<()> = Mutex::const_new(());

/// How many messages flow before and after.
const MESSAGES: usize = 10;

fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start().expect("a broker"))
}

fn alone() -> RabbitConfig {
    support::alone(broker())
}

/// Sends reports until told to stop, each again until the broker has taken it. Returns how many.
async fn send_all(bus: RabbitBus, stop: Arc<AtomicBool>) -> i64 {
    let mut sequence = 0;
    while !stop.load(Ordering::Relaxed) {
        sequence += 1;
        while let Err(error) = bus.report(&report(sequence)).await {
            // Shown when the test fails.
            println!("{:?} {error}", std::time::SystemTime::now());
            tokio::task::yield_now().await;
        }
    }
    sequence
}

/// Receives and acknowledges until all up to the number, once it is known, have come.
async fn receive_all(
    bus: RabbitBus,
    mut last: watch::Receiver<i64>,
    received: watch::Sender<usize>,
) {
    let mut reports = bus.reports().await.unwrap();
    let mut seen = BTreeSet::new();
    let all =
        |seen: &BTreeSet<i64>, last: i64| last > 0 && seen.range(1..=last).count() as i64 == last;
    while !all(&seen, *last.borrow()) {
        tokio::select! {
            delivery = reports.next() => {
                let delivery = delivery.expect("an open bus");
                seen.insert(delivery.message().sequence);
                delivery.acknowledge().await;
                received.send_replace(seen.len());
            }
            changed = last.changed() => changed.unwrap(),
        }
    }
}

/// Lets messages flow, does `evil` in the middle, and lets them flow again.
async fn nothing_is_lost_by(queue_type: QueueType, evil: impl FnOnce() + Send + 'static) {
    let config = RabbitConfig { queue_type, ..alone() };
    // As on two hosts: nothing in common but the broker.
    let (sender, receiver) =
        (RabbitBus::new(config.clone()).unwrap(), RabbitBus::new(config).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let (tell, last) = watch::channel(0);
    let (received, mut flows) = watch::channel(0);
    let sending = tokio::spawn(send_all(sender, Arc::clone(&stop)));
    let receiving = tokio::spawn(receive_all(receiver, last, received));
    let mut flow = async || {
        let enough = *flows.borrow() + MESSAGES;
        let flowing = timeout(SOON, flows.wait_for(|received| *received >= enough)).await;
        flowing.expect("messages flow").unwrap();
    };
    flow().await;
    // Long enough for RabbitMQ to have saved where it keeps a new quorum queue (docs/findings.md).
    tokio::time::sleep(Duration::from_secs(3)).await;
    spawn_blocking(evil).await.unwrap();
    flow().await;
    stop.store(true, Ordering::Relaxed);
    let sent = timeout(SOON, sending).await.expect("sending goes on").unwrap();
    tell.send_replace(sent);
    timeout(SOON, receiving).await.expect("all messages").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_comes_back_loses_nothing() {
    let _turn = TURN.lock().await;
    block_in_place(broker);
    for queue_type in [QueueType::Classic, QueueType::Quorum] {
        nothing_is_lost_by(queue_type, || {
            broker().kill().unwrap();
            broker().run_again().unwrap();
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_broker_closes_are_made_again() {
    let _turn = TURN.lock().await;
    block_in_place(broker);
    nothing_is_lost_by(QueueType::Classic, || {
        broker().ctl(&["close_all_connections", "maintenance"]).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_an_operator_deletes_is_made_again() {
    let _turn = TURN.lock().await;
    let config = block_in_place(alone);
    let queue = format!("{}.reports", config.prefix);
    let bus = RabbitBus::new(config).unwrap();
    let mut reports = bus.reports().await.unwrap();
    spawn_blocking(move || broker().ctl(&["delete_queue", &queue]).unwrap()).await.unwrap();
    // What was in it is lost, which costs time only; what is sent again arrives.
    let begun = Instant::now();
    while bus.report(&report(1)).await.is_err() {
        assert!(begun.elapsed() < SOON, "the queue is not made again");
    }
    assert_eq!(next(reports.as_mut()).await.message().sequence, 1);
}

struct Polite;

#[async_trait::async_trait]
impl RequestHandler for Polite {
    async fn answer(&self, _: HostRequest) -> HostResponse {
        HostResponse::Noted
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_may_come_late_and_questions_are_answered_after_it_was_away() {
    let _turn = TURN.lock().await;
    let config = block_in_place(alone);
    spawn_blocking(|| broker().kill().unwrap()).await.unwrap();
    let bus = RabbitBus::new(config).unwrap();
    let refused = bus.report(&report(1)).await.unwrap_err();
    assert!(refused.to_string().contains("cannot be reached"), "{refused}");
    // Subscribing does not fail; an agent has other things to do meanwhile.
    let host = host();
    let (commands, serving) = tokio::join!(bus.commands(&host), bus.serve(&host, Arc::new(Polite)));
    let (mut commands, _serving) = (commands.unwrap(), serving.unwrap());
    spawn_blocking(|| broker().run_again().unwrap()).await.unwrap();
    let sent = cancel();
    let begun = Instant::now();
    while bus.command(&host, &sent).await.is_err() {
        assert!(begun.elapsed() < SOON, "the bus does not come back");
    }
    assert_eq!(next(commands.as_mut()).await.message(), &sent);
    let begun = Instant::now();
    while bus.request(&host, &question(1), Duration::from_secs(2)).await.is_err() {
        assert!(begun.elapsed() < SOON, "nobody answers");
    }
}
