//! What noting changes costs the transactions of an operation: the same pauses with and without,
//! taking turns so that the machine's moods hit both.
//!
//! `cargo bench -p reprieve-store --bench notification_cost`

#![allow(clippy::unwrap_used, reason = "a measurement stops at the first surprise")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{Fixture, seen};
use reprieve_core::message::ReportBody;
use reprieve_core::{InstanceId, OperationKind, PowerState};

const ROUNDS: usize = 400;
const NAMES: [&str; 3] = ["admit", "begun", "ended"];

type Times = [Vec<Duration>; 3];

#[tokio::main]
async fn main() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let mut times: [Times; 2] = Default::default();
    for round in 0..ROUNDS {
        for (noting, times) in [false, true].into_iter().zip(&mut times) {
            f.store.keep_notifications(noting);
            for (kind, power) in [
                (OperationKind::Pause, PowerState::Paused),
                (OperationKind::Unpause, PowerState::Running),
            ] {
                let taken = operation(&f, id, (kind, power)).await;
                if round >= ROUNDS / 10 {
                    times.iter_mut().zip(taken).for_each(|(all, one)| all.push(one));
                }
            }
        }
    }
    println!("{:8} {:>12} {:>12} {:>12}", "", "without", "with", "difference");
    let [without, with] = times;
    for ((name, without), with) in NAMES.iter().zip(without).zip(with) {
        for (percent, without, with) in percentiles(without, with) {
            let difference = with - without;
            println!("{name} p{percent} {without:9.0} us {with:9.0} us {difference:9.0} us");
        }
    }
}

async fn operation(
    f: &Fixture,
    id: InstanceId,
    (kind, power): (OperationKind, PowerState),
) -> [Duration; 3] {
    let begun = Instant::now();
    let operation_id = f.admit(id, kind).await.unwrap().operation.unwrap().id;
    let admitted = begun.elapsed();
    let begun = Instant::now();
    f.report(ReportBody::Accepted { operation_id }).await;
    let accepted = begun.elapsed();
    let begun = Instant::now();
    f.finish(operation_id, id, seen(power)).await;
    [admitted, accepted, begun.elapsed()]
}

fn percentiles(mut without: Vec<Duration>, mut with: Vec<Duration>) -> [(usize, f64, f64); 2] {
    without.sort();
    with.sort();
    let at = |times: &[Duration], percent: usize| {
        let index = times.len().saturating_sub(1) * percent / 100;
        times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    [50, 95].map(|percent| (percent, at(&without, percent), at(&with, percent)))
}
