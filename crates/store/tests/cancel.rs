//! Operations that are cancelled on request.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use common::*;
use reprieve_core::cancel::{Late, NotCancellable};
use reprieve_core::message::{OperationResult, ReportBody, StepEvent};
use reprieve_core::{
    InstanceId, OperationId, OperationKind as K, PowerState as P, Step, VmState as S,
};
use reprieve_store::{ApplyOutcome, CancelOutcome, OperationState, PendingWork, StoreError};

async fn cancel(f: &Fixture, id: OperationId) -> CancelOutcome {
    f.store.cancel_operation(id).await.unwrap()
}

async fn operation_state(f: &Fixture, id: OperationId) -> OperationState {
    f.store.operation(id).await.unwrap().unwrap().state
}

async fn begin(f: &Fixture, server: InstanceId, kind: K) -> OperationId {
    f.admit(server, kind).await.unwrap().operation.unwrap().id
}

/// An operation that its host has.
async fn running(f: &Fixture, server: InstanceId, kind: K) -> OperationId {
    let id = begin(f, server, kind).await;
    f.store.claim(10).await.unwrap();
    f.report(ReportBody::Accepted { operation_id: id }).await;
    id
}

#[tokio::test]
async fn what_no_host_knows_of_ends_at_once_and_changes_nothing() {
    let f = Fixture::new().await;
    let server = f.active().await.id;
    f.done(server, K::Pause, seen(P::Paused)).await;
    let unpause = begin(&f, server, K::Unpause).await;
    let CancelOutcome::Ended(ended) = cancel(&f, unpause).await else { panic!("not ended") };
    assert_eq!((ended.vm_state, ended.result), (S::Paused, OperationResult::Cancelled));
    let after = f.get(server).await;
    assert_eq!((after.vm_state, after.task_state, after.active), (S::Paused, None, None));
    assert_eq!(operation_state(&f, unpause).await, OperationState::Cancelled);
    assert_eq!(f.store.outbox_len().await.unwrap(), 0);
    // The server is free for the next one.
    f.done(server, K::Unpause, seen(P::Running)).await;
    assert_eq!(cancel(&f, unpause).await, CancelOutcome::Refused(NotCancellable::Ended));
}

#[tokio::test]
async fn a_host_that_has_it_is_asked_until_it_says_how_it_ended() {
    let f = Fixture::new().await;
    let server = f.active().await.id;
    let suspend = running(&f, server, K::Suspend).await;
    assert_eq!(cancel(&f, suspend).await, CancelOutcome::Asked);
    assert_eq!(operation_state(&f, suspend).await, OperationState::Cancelling);
    assert_eq!(cancel(&f, suspend).await, CancelOutcome::Asked, "asking again is no mistake");
    let sent = f.store.claim(10).await.unwrap();
    let sent: Vec<_> = sent.iter().map(|one| (one.work, one.operation.id)).collect();
    assert_eq!(sent, [(PendingWork::Cancel, suspend)]);
    assert_eq!(f.get(server).await.vm_state, S::Active);
    assert!(f.get(server).await.task_state.is_some(), "it goes on until its host has stopped it");

    let outcome = f.end(suspend, server, OperationResult::Cancelled, seen(P::Running)).await;
    let ApplyOutcome::Ended(ended) = outcome else { panic!("{outcome:?}") };
    assert_eq!(ended.vm_state, S::Active);
    assert_eq!(operation_state(&f, suspend).await, OperationState::Cancelled);
    assert_eq!(f.get(server).await.task_state, None);
}

#[tokio::test]
async fn a_cancellation_that_comes_too_late_lets_it_succeed() {
    let f = Fixture::new().await;
    let server = f.active().await.id;
    let suspend = running(&f, server, K::Suspend).await;
    assert_eq!(cancel(&f, suspend).await, CancelOutcome::Asked);
    f.finish(suspend, server, saved()).await;
    assert_eq!(f.get(server).await.vm_state, S::Suspended);
    assert_eq!(operation_state(&f, suspend).await, OperationState::Succeeded);
}

/// The guest of a suspend that is being cancelled crashes: what it held is lost, and the server says so.
#[tokio::test]
async fn an_error_after_a_cancellation_has_its_fault() {
    let f = Fixture::new().await;
    let server = f.active().await.id;
    let suspend = running(&f, server, K::Suspend).await;
    assert_eq!(cancel(&f, suspend).await, CancelOutcome::Asked);
    f.end(suspend, server, OperationResult::Cancelled, seen(P::Crashed)).await;
    let after = f.get(server).await;
    assert_eq!((after.vm_state, after.task_state), (S::Error, None));
    let fault = after.fault.unwrap().fault;
    assert!(fault.message.contains("suspend was cancelled"), "{fault:?}");
    assert!(fault.message.contains("HARD reboot"), "{fault:?}");
    assert!(fault.details.contains("crashed"), "{fault:?}");
    let operation = f.store.operation(suspend).await.unwrap().unwrap();
    assert_eq!((operation.state, operation.error), (OperationState::Cancelled, Some(fault)));
}

#[tokio::test]
async fn refusals_change_nothing() {
    let f = Fixture::new().await;
    let server = f.active().await.id;
    let unknown = OperationId::random();
    let missing = f.store.cancel_operation(unknown).await.unwrap_err();
    assert!(matches!(missing, StoreError::NotFound { what: "operation", .. }), "{missing}");

    let suspend = running(&f, server, K::Suspend).await;
    f.report(ReportBody::Step {
        operation_id: suspend,
        index: 2,
        step: Step::CommitSave,
        event: StepEvent::Started,
        detail: String::new(),
    })
    .await;
    let late = CancelOutcome::Refused(NotCancellable::TooLate(Late::Suspend));
    assert_eq!(cancel(&f, suspend).await, late);
    assert_eq!(operation_state(&f, suspend).await, OperationState::Running);
    assert_eq!(f.store.outbox_len().await.unwrap(), 0);

    let delete = begin(&f, server, K::Delete).await;
    assert_eq!(cancel(&f, delete).await, CancelOutcome::Refused(NotCancellable::Waiting));
    let other = f.building().await;
    let create = other.active.unwrap().0;
    assert_eq!(cancel(&f, create).await, CancelOutcome::Refused(NotCancellable::DeleteInstead));
}
