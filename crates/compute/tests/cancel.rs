//! Cancelling at every call to the hypervisor: the agent is killed there, and its successor hears of
//! the cancellation before it does anything. And while a save is being written.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_docs_in_private_items,
    missing_docs,
    reason = "a test says what it found by panicking"
)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use reprieve_compute::executor::{self, Stops, Verdict};
use reprieve_compute::ledger::{Acceptance, Ended, Unfinished};
use reprieve_core::conclude::{SavedMemory, after_failure, after_success};
use reprieve_core::message::OperationResult;
use reprieve_core::{Clock, OperationKind, PowerState, SystemClock, VmState};
use reprieve_hypervisor::fake::{Call, Moment};
use support::{World, run_on};

/// What can be cancelled on request, and the state it starts from.
const CASES: [(OperationKind, VmState); 4] = [
    (OperationKind::Suspend, VmState::Active),
    (OperationKind::Resume, VmState::Suspended),
    (OperationKind::Rescue, VmState::Active),
    (OperationKind::Stop, VmState::Active),
];

async fn world_for(prior: VmState) -> World {
    let world = World::new();
    world.bring_to(prior).await;
    world
}

async fn calls_of(kind: OperationKind, prior: VmState) -> BTreeSet<Call> {
    let world = world_for(prior).await;
    let before = world.fake.calls().len();
    world.run(kind, prior).await;
    world.fake.calls().iter().skip(before).map(|(call, _)| *call).collect()
}

fn cancelled() -> Stops {
    let stops = Stops::default();
    stops.cancel.cancel();
    stops
}

/// Killed at `call`; the next agent knows from the start that the operation is not wanted.
async fn cancelled_at(
    world: &World,
    (kind, prior): (OperationKind, VmState),
    (call, moment): (Call, Moment),
) -> Option<Ended> {
    let mut reached = world.fake.crash_at(call, moment);
    let host = world.boot().await;
    let command = world.command(kind, prior);
    tokio::select! {
        biased;
        died = &mut reached => died.unwrap(),
        _ = run_on(&host, command) => return None,
    }
    host.ledger.close().await;
    let host = world.boot().await;
    let unfinished = host.ledger.unfinished().await.unwrap();
    let [job] = unfinished.as_slice() else { panic!("{} unfinished", unfinished.len()) };
    let verdict = executor::run(&host, job, &cancelled()).await;
    let Verdict::Ended { ended, .. } = verdict else { panic!("interrupted") };
    host.ledger.close().await;
    Some(ended)
}

/// Nothing is lost, whether it was stopped or done.
fn assert_kept(world: &World, case: (OperationKind, VmState), ended: &Ended, note: &str) {
    let (kind, prior) = case;
    assert!(world.paths().disk().exists(), "{note}: the disk is gone");
    let state = match &ended.result {
        OperationResult::Succeeded => after_success(kind),
        OperationResult::Cancelled => after_failure(kind, prior, &ended.seen),
        OperationResult::Failed { fault, .. } => panic!("{note}: {fault:?}"),
    };
    let counter = world.fake.counter(world.spec.id);
    let runs_on = counter >= Some(5);
    match (kind, state) {
        (OperationKind::Suspend | OperationKind::Resume, VmState::Active) => {
            assert!(runs_on, "{note}: it was booted anew ({counter:?})");
            assert_eq!(ended.seen.power, PowerState::Running, "{note}");
        }
        (OperationKind::Suspend | OperationKind::Resume, VmState::Suspended) => {
            assert_eq!(ended.seen.saved, SavedMemory::Valid, "{note}");
        }
        (OperationKind::Rescue, VmState::Active) => {
            assert_eq!(ended.result, OperationResult::Cancelled, "{note}");
            assert!(!world.paths().rescue_disk().exists(), "{note}: the rescue disk is left");
        }
        (OperationKind::Rescue, VmState::Rescued) => {}
        (OperationKind::Stop, VmState::Active) => assert!(runs_on, "{note}"),
        (OperationKind::Stop, VmState::Stopped) => {}
        (_, state) => panic!("{note}: {state} after {:?}, {:?}", ended.result, ended.seen),
    }
}

#[tokio::test]
async fn i8_i9_nothing_is_lost_wherever_a_cancellation_comes() {
    for case @ (kind, prior) in CASES {
        let mut outcomes = BTreeSet::new();
        for call in calls_of(kind, prior).await {
            for moment in [Moment::Before, Moment::After] {
                let note = format!("{kind} cancelled {moment:?} {call:?}");
                let world = world_for(prior).await;
                let Some(ended) = cancelled_at(&world, case, (call, moment)).await else {
                    continue;
                };
                assert_kept(&world, case, &ended, &note);
                outcomes.insert(ended.result == OperationResult::Cancelled);
            }
        }
        assert!(outcomes.contains(&true), "{kind} was never stopped");
    }
}

/// A resume that was suspended again, and a server that can go on after each of them.
#[tokio::test]
async fn what_was_cancelled_can_be_asked_for_again() {
    for case @ (kind, prior) in CASES {
        let world = world_for(prior).await;
        let host = world.boot().await;
        let command = world.command(kind, prior);
        let accepted = host.ledger.accept(&command, SystemClock.now()).await.unwrap();
        assert_eq!(accepted, Acceptance::New);
        let job = Unfinished { command, next_step: 0, given_up: None };
        let Verdict::Ended { ended, .. } = executor::run(&host, &job, &cancelled()).await else {
            panic!("interrupted")
        };
        host.ledger.close().await;
        assert_eq!(ended.result, OperationResult::Cancelled, "{kind}");
        assert_kept(&world, case, &ended, kind.as_str());
        assert_eq!(after_failure(kind, prior, &ended.seen), prior, "{kind}");
        world.succeed(kind, prior).await;
    }
}

/// A save that is being written is aborted, and the guest runs on as if nothing had been.
#[tokio::test]
async fn a_suspend_that_is_cancelled_while_it_saves_leaves_the_guest_running() {
    let world = world_for(VmState::Active).await;
    let counter = world.fake.counter(world.spec.id);
    world.fake.delay(Call::SaveMemory, Duration::from_secs(30));
    let host = world.boot().await;
    let command = world.command(OperationKind::Suspend, VmState::Active);
    host.ledger.accept(&command, SystemClock.now()).await.unwrap();
    let job = Unfinished { command, next_step: 0, given_up: None };
    let stops = Stops::default();
    let running = executor::run(&host, &job, &stops);
    let saving = async {
        while !world.fake.calls().iter().any(|(call, _)| *call == Call::SaveMemory) {
            tokio::task::yield_now().await;
        }
        stops.cancel.cancel();
    };
    let (verdict, ()) = tokio::join!(running, saving);
    let Verdict::Ended { ended, .. } = verdict else { panic!("interrupted") };
    assert_eq!(ended.result, OperationResult::Cancelled);
    assert_eq!((ended.seen.power, ended.seen.saved), (PowerState::Running, SavedMemory::None));
    assert_eq!(world.fake.counter(world.spec.id), counter);
    assert_eq!(world.fake.boots(world.spec.id), 1);
}
