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

use common::{Fixture, host, info, operation, seen, state};
use reprieve_core::conclude::Observation;
use reprieve_core::message::{
    HostInfo, OperationResult, Report, ReportBody, StepDone, StepEvent, UnknownGuest,
};
use reprieve_core::{
    HostName, InstanceId, OperationKind as K, PowerState as P, Step, Timestamp, VmState as S,
};
use reprieve_store::{ApplyOutcome, Condition, Greeting, HandOver, NewOperation, StoreError};

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

/// The tables were restored from a backup, or lost. Nothing that the host says is lost by that for good:
/// it is asked to greet again, and its next epoch is greater than those that it has had.
#[tokio::test]
async fn a_host_that_the_tables_know_too_little_of_greets_again() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let beat = || ReportBody::Heartbeat { host: None, problem: None };
    let ahead = Report { epoch: f.epoch + 6, ..f.next_report(beat()) };
    let asked = |epoch, registered| ApplyOutcome::Unacquainted { epoch, registered };
    assert_eq!(f.apply(&ahead).await, asked(f.epoch + 6, true));
    let body = ReportBody::Observed { instance_id: id, seen: seen(P::Paused) };
    let early = Report { epoch: f.epoch + 6, ..f.next_report(body) };
    assert!(matches!(f.apply(&early).await, ApplyOutcome::Ignored(_)), "before it has greeted");
    let greeting = Greeting { boot_id: "boot-7", after: f.epoch + 6, rebooted: None };
    let told = f.store.greeted(&host(), &greeting).await.unwrap();
    assert_eq!((told.epoch, told.first, told.instances), (f.epoch + 7, true, vec![id]));
    let told = f.store.greeted(&host(), &greeting).await.unwrap();
    assert_eq!((told.epoch, told.first), (f.epoch + 7, false), "a greeting may come twice");
    // A greeting of the same start that knows of a newer epoch than the tables.
    let greeting = Greeting { after: f.epoch + 9, ..greeting };
    assert_eq!(f.store.greeted(&host(), &greeting).await.unwrap().epoch, f.epoch + 10);

    let lost: HostName = "lost".into();
    let stranger = Report { host: lost.clone(), epoch: 3, ..f.next_report(beat()) };
    assert_eq!(f.apply(&stranger).await, asked(3, false));
    assert!(f.store.has_servers(&host()).await.unwrap());
    assert!(!f.store.has_servers(&lost).await.unwrap());
    let greeting = Greeting { boot_id: "boot-1", after: 3, rebooted: None };
    assert_eq!(f.store.greeted(&lost, &greeting).await.unwrap().epoch, 4);
}

/// Servers that came into the tables after their host had greeted, from a backup, are not in what it was
/// told; guests of nobody are just shown.
#[tokio::test]
async fn guests_that_a_host_does_not_know_are_its_servers_or_shown() {
    let f = Fixture::new().await;
    let mine = f.active().await.id;
    let nobodys = InstanceId::random();
    let beat = |ids: &[InstanceId]| {
        let guest = |id: &InstanceId| UnknownGuest { id: *id, power: P::Running };
        let unknown_guests = ids.iter().map(guest).collect();
        ReportBody::Heartbeat { host: Some(HostInfo { unknown_guests, ..info() }), problem: None }
    };
    assert_eq!(f.report(beat(&[nobodys])).await, ApplyOutcome::Alive);
    let shown = f.store.host(&host()).await.unwrap().unwrap().info.unwrap().unknown_guests;
    assert_eq!(shown, [UnknownGuest { id: nobodys, power: P::Running }]);
    let asked = ApplyOutcome::Unacquainted { epoch: f.epoch, registered: true };
    assert_eq!(f.report(beat(&[nobodys, mine])).await, asked);
    f.done(mine, K::Delete, Observation::NOTHING).await;
    assert_eq!(f.report(beat(&[mine])).await, ApplyOutcome::Alive, "its server was deleted");
    assert_eq!(f.report(beat(&[])).await, ApplyOutcome::Alive);
    let shown = f.store.host(&host()).await.unwrap().unwrap().info.unwrap().unknown_guests;
    assert_eq!(shown, []);
}

/// Somebody removed the domain of a running server with virsh.
#[tokio::test]
async fn a_server_whose_domain_is_gone_is_stopped_and_says_why() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let outcome =
        f.report(ReportBody::Observed { instance_id: id, seen: Observation::NOTHING }).await;
    let ApplyOutcome::Observed { from, to, alarm, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((from, to), (S::Active, S::Stopped));
    let after = f.get(id).await;
    assert_eq!(after.fault.map(|fault| fault.fault.message).as_deref(), alarm);
    assert!(alarm.is_some_and(|text| text.contains("start")), "it says what to do: {alarm:?}");
    f.done(id, K::Start, seen(P::Running)).await;
    assert_eq!(state(&f.get(id).await), (S::Active, None));
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
