//! Operations that nobody has taken, or of which nothing is heard any more: what waits, what ends, and
//! what is believed of a host that did what had been given up.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::time::Duration;

use common::{Fixture, operation, rescued, saved, seen, state};
use reprieve_core::conclude::Observation;
use reprieve_core::message::{OperationResult, ReportBody};
use reprieve_core::{InstanceId, OperationId, OperationKind as K, PowerState as P, VmState as S};
use reprieve_store::{ApplyOutcome, NewOperation, OperationState};

/// It waits for its host, however short the operation itself is; but not for ever.
#[tokio::test]
async fn what_no_host_takes_waits_an_hour_and_fails_truthfully() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let pause = f.admit(id, K::Pause).await.unwrap().operation.unwrap().id;
    for _ in 0..20 {
        f.clock.advance(Duration::from_secs(178));
        assert!(f.store.expire().await.unwrap().is_empty(), "it waits");
        assert_eq!(state(&f.get(id).await), (S::Active, Some("pausing")));
        assert_eq!(f.store.outbox_len().await.unwrap(), 1, "it is sent when its host is back");
    }
    f.clock.advance(Duration::from_secs(131));
    let ended = f.store.expire().await.unwrap();
    assert_eq!((ended.len(), ended[0].operation.id), (1, pause));
    let server = f.get(id).await;
    assert_eq!(state(&server), (S::Active, None), "nothing was done, nothing changed");
    let fault = server.fault.unwrap().fault;
    assert_eq!(fault.message, "Host vm did not take the pause in time.");
    assert_eq!(f.store.outbox_len().await.unwrap(), 0);
}

async fn with_deadline(f: &Fixture, id: InstanceId, kind: K, seconds: u64) -> OperationId {
    let deadline = Some(Duration::from_secs(seconds));
    let admitted = f.store.admit(NewOperation { deadline, ..operation(id, kind) }).await.unwrap();
    admitted.operation.unwrap().id
}

#[tokio::test]
async fn what_was_asked_for_with_a_deadline_ends_at_it_if_no_host_has_taken_it() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let suspend = with_deadline(&f, id, K::Suspend, 20).await;
    f.clock.advance(Duration::from_secs(49));
    assert!(f.store.expire().await.unwrap().is_empty(), "the grace period lasts");
    f.clock.advance(Duration::from_secs(2));
    let ended = f.store.expire().await.unwrap();
    assert_eq!((ended.len(), ended[0].operation.id), (1, suspend));
    assert_eq!(state(&f.get(id).await), (S::Active, None));
    let fault = f.store.operation(suspend).await.unwrap().unwrap().error.unwrap();
    assert_eq!(fault.message, "Host vm did not take the suspend in time.");
    let events = f.store.operation(suspend).await.unwrap().unwrap().events();
    assert_eq!(events.len(), 1, "its owner learns why");
    assert_eq!(events[0].details.as_ref(), Some(&fault.message));

    // Once a host has it, it is the host's to say how it ended.
    let operation_id = with_deadline(&f, id, K::Suspend, 20).await;
    f.report(ReportBody::Accepted { operation_id }).await;
    f.clock.advance(Duration::from_secs(51));
    assert!(f.store.expire().await.unwrap().is_empty());
    f.finish(operation_id, id, saved()).await;
    assert_eq!(state(&f.get(id).await), (S::Suspended, None));

    // One that takes the place of another has its deadline from when it was asked for.
    let resume = f.admit(id, K::Resume).await.unwrap().operation.unwrap().id;
    f.report(ReportBody::Accepted { operation_id: resume }).await;
    let reboot = with_deadline(&f, id, K::RebootHard, 20).await;
    let before = f.store.operation(reboot).await.unwrap().unwrap();
    assert_eq!(before.after, Some(resume));
    f.clock.advance(Duration::from_secs(5));
    f.end(resume, id, OperationResult::Cancelled, saved()).await;
    let promoted = f.store.operation(reboot).await.unwrap().unwrap();
    assert_eq!((promoted.deadline_at, promoted.after), (before.deadline_at, None));
}

/// A host that was away for longer than anybody waits, and did what it had heard all the same.
#[tokio::test]
async fn a_delete_that_was_given_up_and_done_all_the_same_leaves_no_server() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let delete = f.admit(id, K::Delete).await.unwrap().operation.unwrap().id;
    f.clock.advance(Duration::from_secs(3700));
    assert_eq!(f.store.expire().await.unwrap().len(), 1);
    assert_eq!(state(&f.get(id).await), (S::Error, None));
    let outcome = f.end(delete, id, OperationResult::Succeeded, Observation::NOTHING).await;
    assert!(matches!(outcome, ApplyOutcome::Observed { to: S::Deleted, .. }), "{outcome:?}");
    let gone = f.get(id).await;
    assert_eq!(state(&gone), (S::Deleted, None));
    assert!(gone.deleted_at.is_some());
}

/// The host took it all the same, and had no way to say so before it was given up.
#[tokio::test]
async fn what_was_given_up_and_done_all_the_same_is_believed_of_the_server() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let rescue = with_deadline(&f, id, K::Rescue, 20).await;
    f.clock.advance(Duration::from_secs(51));
    assert_eq!(f.store.expire().await.unwrap().len(), 1);
    assert_eq!(state(&f.get(id).await), (S::Active, None));
    let outcome = f.end(rescue, id, OperationResult::Succeeded, rescued()).await;
    assert!(
        matches!(outcome, ApplyOutcome::Observed { from: S::Active, to: S::Rescued, .. }),
        "{outcome:?}"
    );
    let server = f.get(id).await;
    assert_eq!((state(&server), server.rescue_stashed), ((S::Rescued, None), true));
    let told = f.store.operation(rescue).await.unwrap().unwrap();
    assert_eq!(told.state, OperationState::Failed, "what was told stays told");

    // Something newer was asked for meanwhile: that decides.
    let stop = with_deadline(&f, id, K::Unrescue, 20).await;
    f.clock.advance(Duration::from_secs(51));
    assert_eq!(f.store.expire().await.unwrap().len(), 1);
    f.admit(id, K::Unrescue).await.unwrap();
    let outcome = f.end(stop, id, OperationResult::Succeeded, seen(P::Running)).await;
    assert!(matches!(outcome, ApplyOutcome::Ignored(_)), "{outcome:?}");
    assert_eq!(state(&f.get(id).await), (S::Rescued, Some("unrescuing")));
}

#[tokio::test]
async fn what_a_host_has_taken_is_asked_about_not_guessed() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let operation_id = f.admit(id, K::Pause).await.unwrap().operation.unwrap().id;
    f.store.claim(10).await.unwrap();
    f.report(ReportBody::Accepted { operation_id }).await;
    f.clock.advance(Duration::from_secs(200));
    f.report(ReportBody::Heartbeat { host: Some(common::info()), problem: None }).await;
    assert!(f.store.expire().await.unwrap().is_empty());
    assert_eq!(state(&f.get(id).await), (S::Active, Some("pausing")));
    assert_eq!(f.store.claim(10).await.unwrap()[0].operation.id, operation_id);
    assert!(f.store.expire().await.unwrap().is_empty());
    assert_eq!(f.store.outbox_len().await.unwrap(), 1, "asked once a minute");
    f.finish(operation_id, id, seen(P::Paused)).await;
    assert_eq!(state(&f.get(id).await), (S::Paused, None));
}
