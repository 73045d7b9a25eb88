//! What comes with a report beside what it is about: steps that were done, signs of life, and what the
//! host says once more.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::time::Duration;

use common::{Fixture, host, operation, seen, state};
use reprieve_core::message::{OperationResult, ReportBody, StepDone, StepEvent};
use reprieve_core::{OperationKind as K, PowerState as P, Step, Timestamp, VmState as S};
use reprieve_store::{ApplyOutcome, Condition, HandOver, NewOperation, StoreError};

fn done(index: u32, step: Step, at: i64) -> StepDone {
    StepDone { index, step, at: Timestamp::from_micros(at), detail: format!("{step} is done") }
}

#[tokio::test]
async fn steps_that_were_done_come_with_the_end() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    f.done(id, K::Pause, seen(P::Paused)).await;
    let operation_id = f.admit(id, K::Unpause).await.unwrap().operation.unwrap().id;
    let body = ReportBody::Finished {
        operation_id,
        instance_id: id,
        result: OperationResult::Succeeded,
        seen: seen(P::Running),
        done: vec![done(0, Step::ResumeCpus, 7), done(1, Step::SyncClock, 9)],
    };
    let end = f.next_report(body);
    assert!(matches!(f.apply(&end).await, ApplyOutcome::Ended(_)));
    let audit = f.store.steps_of(operation_id).await.unwrap();
    let lines: Vec<_> =
        audit.iter().map(|line| (line.seq, line.step, line.event, line.at.micros())).collect();
    let all_done = StepEvent::Done;
    assert_eq!(lines, [(1, Step::ResumeCpus, all_done, 7), (2, Step::SyncClock, all_done, 9)]);
    assert_eq!(audit[1].detail, "sync_clock is done");
    let ended = f.store.operation(operation_id).await.unwrap().unwrap();
    assert_eq!(
        (ended.step, ended.step_name, ended.progress),
        (Some(1), Some(Step::SyncClock), 100)
    );
    assert!(ended.started_at.is_some());
    // Told twice, they are noted once.
    assert!(matches!(f.apply(&end).await, ApplyOutcome::Ignored(_)));
    assert_eq!(f.store.steps_of(operation_id).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_failure_says_how_far_it_got() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let operation_id = f.admit(id, K::Suspend).await.unwrap().operation.unwrap().id;
    let body = ReportBody::Finished {
        operation_id,
        instance_id: id,
        result: OperationResult::Cancelled,
        seen: seen(P::Running),
        done: vec![done(0, Step::OpenSave, 7)],
    };
    f.report(body).await;
    let ended = f.store.operation(operation_id).await.unwrap().unwrap();
    assert_eq!((ended.step, ended.progress), (Some(0), 33));
    assert_eq!(state(&f.get(id).await), (S::Active, None));
}

/// A host is written to for its own sake only: every report would be a write of its row otherwise.
#[tokio::test]
async fn only_heartbeats_are_signs_of_life_and_only_newer_ones() {
    let f = Fixture::new().await;
    let beat = |problem: &str| ReportBody::Heartbeat { host: None, problem: Some(problem.into()) };
    let last_seen = async || f.store.host(&host()).await.unwrap().unwrap().last_seen;
    let (older, newer) = (f.next_report(beat("older")), f.next_report(beat("newer")));
    f.clock.advance(Duration::from_secs(5));
    assert!(matches!(f.apply(&newer).await, ApplyOutcome::Alive));
    let alive = last_seen().await;
    f.clock.advance(Duration::from_secs(5));
    let id = f.active().await.id;
    f.report(ReportBody::Observed { instance_id: id, seen: seen(P::Paused) }).await;
    assert_eq!(last_seen().await, alive);
    for late in [&older, &newer] {
        assert!(matches!(f.apply(late).await, ApplyOutcome::Ignored(_)));
    }
    let host_now = f.store.host(&host()).await.unwrap().unwrap();
    assert_eq!((host_now.last_seen, host_now.problem.as_deref()), (alive, Some("newer")));
}

/// Reports of hosts whose rows are not locked are fenced as well.
#[tokio::test]
async fn a_report_of_an_earlier_start_of_its_host_changes_nothing() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let late = f.next_report(ReportBody::Observed { instance_id: id, seen: seen(P::Paused) });
    f.store.register_host(&host(), "boot-2").await.unwrap();
    let outcomes = f.store.apply(&[late.clone(), late]).await.unwrap();
    assert!(outcomes.iter().all(|one| matches!(one, ApplyOutcome::Ignored(_))), "{outcomes:?}");
    assert_eq!(state(&f.get(id).await), (S::Active, None));
    // Its sign of life is none of the host, but whoever gave it is told which start counts.
    let seen_before = f.store.host(&host()).await.unwrap().unwrap().last_seen;
    let beat = f.next_report(ReportBody::Heartbeat { host: None, problem: None });
    let told = ApplyOutcome::Outdated { boot_id: "boot-2".into(), epoch: f.epoch + 1 };
    assert_eq!(f.apply(&beat).await, told);
    assert_eq!(f.store.host(&host()).await.unwrap().unwrap().last_seen, seen_before);
}

#[tokio::test]
async fn what_was_sent_waits_longer_while_all_are_slow_and_what_was_not_goes_at_once() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let new = NewOperation { hand_over: HandOver::Caller, ..operation(id, K::Pause) };
    f.store.admit(new).await.unwrap();
    let patience = Duration::from_secs(4);
    f.clock.advance(Duration::from_millis(1100));
    assert!(f.store.claim_after(10, patience).await.unwrap().is_empty(), "it was sent already");
    let other = f.active().await.id;
    f.admit(other, K::Pause).await.unwrap();
    let fresh = f.store.claim_after(10, patience).await.unwrap();
    assert_eq!(fresh.iter().map(|sent| sent.instance.id).collect::<Vec<_>>(), [other]);
    f.clock.advance(patience);
    let again = f.store.claim_after(10, patience).await.unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].instance.id, again[0].attempt, again[0].operation.attempt), (id, 2, 2));
}

#[derive(Debug, thiserror::Error)]
#[error("not this one")]
struct NotThisOne;

/// It is asked with the server as it is when it is decided about, before the state machine.
#[tokio::test]
async fn a_condition_that_does_not_hold_refuses_one_operation_and_not_its_neighbours() {
    let f = Fixture::new().await;
    let [refused, admitted] = [f.active().await.id, f.active().await.id];
    let with = |id| NewOperation {
        condition: Condition::new(move |server| {
            if server.id == refused { Err(NotThisOne.into()) } else { Ok(()) }
        }),
        ..operation(id, K::Unpause)
    };
    let pause = |id| NewOperation { kind: K::Pause, ..with(id) };
    let (no, yes) = tokio::join!(f.store.admit(with(refused)), f.store.admit(pause(admitted)));
    let StoreError::Refused(why) = no.unwrap_err() else { panic!("another answer") };
    assert!(why.downcast_ref::<NotThisOne>().is_some(), "{why}");
    assert!(yes.unwrap().operation.is_some());
    assert_eq!(state(&f.get(refused).await), (S::Active, None));
    assert_eq!(f.get(refused).await.generation, 1, "nothing was written");
}
