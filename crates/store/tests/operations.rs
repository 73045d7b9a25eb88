//! Operations from admission to end: invariants I1, I4 and I5, supersession, restarts, deadlines.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::time::Duration;

use common::{Fixture, by, host, operation, rescued, saved, seen, state};
use reprieve_core::conclude::Observation;
use reprieve_core::message::{OperationArgs, OperationResult, ReportBody, StepEvent};
use reprieve_core::{
    Admission, Denied, Fault, OperationKind as K, PowerReason, PowerState as P, SealingKey, Step,
    TaskState, VmState as S,
};
use reprieve_store::{
    ApplyOutcome, HandOver, NewOperation, OperationState, PendingWork, StoreError,
};

#[tokio::test]
async fn a_server_is_built_step_by_step() {
    let f = Fixture::new().await;
    let server = f.building().await;
    assert_eq!(state(&server), (S::Building, Some("scheduling")));
    assert_eq!(server.status(), "BUILD");
    assert!(server.admin_password.is_some());
    let operation_id = server.active.unwrap().0;

    let sent = f.store.claim(10).await.unwrap();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].work, PendingWork::Run);
    assert_eq!((sent[0].host_epoch, sent[0].attempt), (1, 1));
    assert_eq!(sent[0].operation.id, operation_id);
    assert_eq!(sent[0].operation.state, OperationState::Dispatched);

    f.report(ReportBody::Accepted { operation_id }).await;
    assert_eq!(state(&f.get(server.id).await), (S::Building, Some("spawning")));
    assert_eq!(f.store.outbox_len().await.unwrap(), 0);

    let step = |index, step, event| ReportBody::Step {
        operation_id,
        index,
        step,
        event,
        detail: "words".into(),
    };
    f.report(step(0, Step::PrepareImage, StepEvent::Started)).await;
    f.report(step(0, Step::PrepareImage, StepEvent::Done)).await;
    let running = f.store.operation(operation_id).await.unwrap().unwrap();
    assert_eq!(running.state, OperationState::Running);
    assert_eq!((running.step, running.progress), (Some(0), 20));
    let audit = f.store.steps_of(operation_id).await.unwrap();
    let events: Vec<_> = audit.iter().map(|line| (line.seq, line.event)).collect();
    assert_eq!(events, [(1, StepEvent::Started), (2, StepEvent::Done)]);

    f.finish(operation_id, server.id, seen(P::Running)).await;
    let server = f.get(server.id).await;
    assert_eq!(state(&server), (S::Active, None));
    assert_eq!(server.power_state, P::Running);
    assert!(server.launched_at.is_some() && server.active.is_none());
    assert!(server.admin_password.is_none(), "kept no longer than needed");
    let create = f.store.operation(operation_id).await.unwrap().unwrap();
    assert_eq!((create.state, create.progress), (OperationState::Succeeded, 100));
    let events = create.events();
    assert_eq!(events[0].event, "compute__do_build_and_run_instance");
    assert_eq!(events[0].result.unwrap().as_str(), "Success");
    assert_eq!(events[0].host, Some(host()));
    assert_eq!(create.message(), None);
}

/// Every operation, from a state that allows it to the state that follows.
#[tokio::test]
async fn every_transition() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let walk: &[(K, TaskState, Observation, S)] = &[
        (K::Pause, TaskState::Pausing, seen(P::Paused), S::Paused),
        (K::Unpause, TaskState::Unpausing, seen(P::Running), S::Active),
        (K::Suspend, TaskState::Suspending, saved(), S::Suspended),
        (K::Resume, TaskState::Resuming, seen(P::Running), S::Active),
        (K::Rescue, TaskState::Rescuing, rescued(), S::Rescued),
        (K::Unrescue, TaskState::Unrescuing, seen(P::Running), S::Active),
        (K::Stop, TaskState::PoweringOff, seen(P::Shutdown), S::Stopped),
        (K::Start, TaskState::PoweringOn, seen(P::Running), S::Active),
        (K::RebootSoft, TaskState::RebootStarted, seen(P::Running), S::Active),
        (K::RebootHard, TaskState::RebootStartedHard, seen(P::Running), S::Active),
        (K::Delete, TaskState::Deleting, seen(P::NoState), S::Deleted),
    ];
    for (kind, task, after, expected) in walk {
        let before = f.get(id).await;
        let admitted = f.admit(id, *kind).await.unwrap();
        assert_eq!(admitted.admission, Admission::Start, "{kind}");
        assert_eq!(admitted.instance.task_state, Some(kind.task_state()), "{kind}");
        assert_eq!(admitted.instance.generation, before.generation + 1);
        let operation = admitted.operation.unwrap();
        assert_eq!(operation.generation, before.generation + 1);
        assert_eq!(operation.prior, before.vm_state);
        f.report(ReportBody::Accepted { operation_id: operation.id }).await;
        assert_eq!(f.get(id).await.task_state, Some(*task), "{kind}");
        f.finish(operation.id, id, *after).await;
        let server = f.get(id).await;
        assert_eq!(state(&server), (*expected, None), "{kind}");
        assert_eq!(server.rescue_stashed, *kind == K::Rescue, "{kind}");
        let launched_anew = server.launched_at != before.launched_at;
        assert_eq!(launched_anew, *kind == K::Rescue, "{kind}");
    }
    let gone = f.get(id).await;
    assert_eq!(gone.status(), "DELETED");
    assert!(gone.deleted_at.is_some() && gone.terminated_at.is_some());
    assert!(gone.user_data.is_none(), "what was secret goes with the server");
    let actions = f.store.operations_of(id).await.unwrap();
    let names: Vec<_> = actions.iter().map(|action| action.action.as_str()).collect();
    assert_eq!(
        names,
        [
            "delete", "reboot", "reboot", "start", "stop", "unrescue", "rescue", "resume",
            "suspend", "unpause", "pause", "create"
        ]
    );
    let error = f.admit(id, K::Pause).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
}

/// I1: of many requests at once exactly one wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_one_of_many_wins() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = f.store.clone();
        racing.spawn(async move { store.admit(operation(id, K::Pause)).await });
    }
    let (mut won, mut lost) = (0, 0);
    while let Some(result) = racing.join_next().await {
        match result.unwrap() {
            Ok(_) => won += 1,
            Err(StoreError::Denied(Denied::Busy { task: TaskState::Pausing, .. })) => lost += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((won, lost), (1, 19));
    assert_eq!(f.store.claim(100).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_state_machine_is_asked_inside_the_transaction() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let denied = f.admit(id, K::Unpause).await.unwrap_err();
    let text = format!("Cannot 'unpause' instance {id} while it is in vm_state active");
    assert_eq!(denied.to_string(), text);
    f.store.set_lock(id, reprieve_core::Lock::Admin, Some("mine".into()), &by()).await.unwrap();
    let denied = f.admit(id, K::Pause).await.unwrap_err();
    assert_eq!(denied.to_string(), format!("Instance {id} is locked"));
    assert_eq!(f.store.outbox_len().await.unwrap(), 0);
    assert_eq!(f.get(id).await.locked_reason.as_deref(), Some("mine"));
    let lock = f.store.operations_of(id).await.unwrap().remove(0);
    assert_eq!((lock.action.as_str(), lock.kind), ("lock", None));
    assert_eq!(lock.events()[0].event, "api_lock");
}

#[tokio::test]
async fn failures_end_in_what_was_seen() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    for (kind, after, expected) in [
        (K::Pause, seen(P::Running), S::Active),
        (K::Suspend, seen(P::Running), S::Active),
        (K::Suspend, saved(), S::Suspended),
        (K::Resume, saved(), S::Suspended),
        (K::Resume, seen(P::Shutdown), S::Error),
    ] {
        let operation = f.admit(id, kind).await.unwrap().operation.unwrap().id;
        f.fail(operation, id, after).await;
        let server = f.get(id).await;
        assert_eq!(state(&server), (expected, None), "{kind}");
        let fault = server.fault.unwrap();
        assert_eq!((fault.fault.code, fault.fault.message.as_str()), (500, "no"));
        let action = f.store.operation(operation).await.unwrap().unwrap();
        assert_eq!(action.message(), Some("Error"));
        assert_eq!(action.events()[0].traceback.as_deref(), Some("no: because"));
    }
}

/// The host reports a guest that powered itself off as soon as it was booted only once: with the
/// success of the boot.
#[tokio::test]
async fn a_success_whose_guest_is_off_again_ends_in_what_was_seen() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let reboot = f.admit(id, K::RebootHard).await.unwrap().operation.unwrap();
    f.finish(reboot.id, id, seen(P::Shutdown)).await;
    let server = f.get(id).await;
    assert_eq!(state(&server), (S::Stopped, None));
    let reboot = f.store.operation(reboot.id).await.unwrap().unwrap();
    assert_eq!(reboot.state, OperationState::Succeeded);
}

/// I4: what is old, repeated or from a fenced host changes nothing.
#[tokio::test]
async fn i4_only_news_counts() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let operation_id = f.admit(id, K::Pause).await.unwrap().operation.unwrap().id;
    let early = f.next_report(ReportBody::Accepted { operation_id });
    let step = f.next_report(ReportBody::Step {
        operation_id,
        index: 0,
        step: Step::SuspendCpus,
        event: StepEvent::Started,
        detail: String::new(),
    });
    let result = OperationResult::Succeeded;
    let body = ReportBody::Finished {
        operation_id,
        instance_id: id,
        result,
        seen: seen(P::Paused),
        done: Vec::new(),
    };
    let finished = f.next_report(body);

    let mut fenced = finished.clone();
    fenced.epoch = 0;
    assert!(matches!(f.apply(&fenced).await, ApplyOutcome::Ignored(_)));
    let mut stranger = finished.clone();
    stranger.host = "elsewhere".into();
    assert!(matches!(f.apply(&stranger).await, ApplyOutcome::Ignored(_)));
    assert_eq!(state(&f.get(id).await), (S::Active, Some("pausing")));

    // The step overtakes the acceptance.
    assert!(matches!(f.apply(&step).await, ApplyOutcome::Progressed(_)));
    assert!(matches!(f.apply(&early).await, ApplyOutcome::Ignored(_)));
    assert!(matches!(f.apply(&finished).await, ApplyOutcome::Ended(_)));
    let paused = f.get(id).await;
    for again in [&step, &finished, &early] {
        assert!(matches!(f.apply(again).await, ApplyOutcome::Ignored(_)));
    }
    assert_eq!(f.get(id).await, paused);
    assert_eq!(f.store.steps_of(operation_id).await.unwrap().len(), 1);

    // An observation made before the pause ended says nothing about the guest after it.
    let mut old = f.next_report(ReportBody::Observed { instance_id: id, seen: seen(P::Running) });
    old.sequence = finished.sequence - 1;
    assert!(matches!(f.apply(&old).await, ApplyOutcome::Ignored(_)));
    assert_eq!(f.get(id).await.vm_state, S::Paused);
}

#[tokio::test]
async fn a_guest_that_changes_by_itself_is_followed() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let before = f.get(id).await;
    let observe = |power| ReportBody::Observed { instance_id: id, seen: seen(power) };
    f.report(observe(P::Running)).await;
    let same = f.get(id).await;
    assert_eq!(same.vm_state, S::Active);
    f.report(observe(P::Running)).await;
    assert_eq!(f.get(id).await.updated_at, same.updated_at, "nothing changed");
    assert!(same.updated_at >= before.updated_at);

    let outcome = f.report(observe(P::Shutdown)).await;
    let moved = ApplyOutcome::Observed {
        instance_id: id,
        from: S::Active,
        to: S::Stopped,
        alarm: None,
        restart: None,
    };
    assert_eq!(outcome, moved);
    assert_eq!(f.get(id).await.power_state, P::Shutdown);

    // While an operation is under way, its own report decides.
    let operation = f.admit(id, K::Start).await.unwrap().operation.unwrap().id;
    assert!(matches!(f.report(observe(P::Running)).await, ApplyOutcome::Ignored(_)));
    assert_eq!(state(&f.get(id).await), (S::Stopped, Some("powering-on")));
    f.finish(operation, id, seen(P::Running)).await;
    assert_eq!(state(&f.get(id).await), (S::Active, None));
}

#[tokio::test]
async fn a_suspended_guest_that_runs_raises_an_alarm() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    f.done(id, K::Suspend, saved()).await;
    let outcome = f.report(ReportBody::Observed { instance_id: id, seen: seen(P::Running) }).await;
    assert!(matches!(outcome, ApplyOutcome::Observed { alarm: Some(_), to: S::Error, .. }));
    let fault = f.get(id).await.fault.unwrap().fault;
    assert!(fault.message.starts_with("The guest was started outside"));
}

#[tokio::test]
async fn delete_stops_what_is_running_and_follows_it() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let suspend = f.admit(id, K::Suspend).await.unwrap().operation.unwrap().id;
    f.store.claim(10).await.unwrap();
    f.report(ReportBody::Accepted { operation_id: suspend }).await;

    let admitted = f.admit(id, K::Delete).await.unwrap();
    assert_eq!(admitted.admission, Admission::Supersede(K::Suspend));
    assert_eq!(state(&admitted.instance), (S::Active, Some("deleting")));
    let delete = admitted.operation.unwrap();
    assert_eq!(delete.after, Some(suspend));
    let again = f.admit(id, K::Delete).await.unwrap();
    assert_eq!((again.admission, again.operation), (Admission::AlreadyUnderWay, None));

    let sent = f.store.claim(10).await.unwrap();
    let sent: Vec<_> = sent.iter().map(|one| (one.work, one.operation.id)).collect();
    assert_eq!(sent, [(PendingWork::Cancel, suspend)], "delete waits");

    let cancelled = OperationResult::Cancelled;
    let outcome = f.end(suspend, id, cancelled, seen(P::Running)).await;
    let ApplyOutcome::Ended(ended) = outcome else { panic!("{outcome:?}") };
    assert_eq!((ended.vm_state, ended.successor), (S::Active, Some(delete.id)));
    assert_eq!(state(&f.get(id).await), (S::Active, Some("deleting")));

    let sent = f.store.claim(10).await.unwrap();
    let sent: Vec<_> = sent.iter().map(|one| (one.work, one.operation.id)).collect();
    assert_eq!(sent, [(PendingWork::Run, delete.id)]);
    f.finish(delete.id, id, seen(P::NoState)).await;
    assert_eq!(f.get(id).await.vm_state, S::Deleted);
    let suspend = f.store.operation(suspend).await.unwrap().unwrap();
    assert_eq!(suspend.state, OperationState::Cancelled);
}

#[tokio::test]
async fn what_never_reached_a_host_makes_way_at_once() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let pause = f.admit(id, K::Pause).await.unwrap().operation.unwrap().id;
    let admitted = f.admit(id, K::RebootHard).await.unwrap();
    assert_eq!(admitted.admission, Admission::Supersede(K::Pause));
    let reboot = admitted.operation.unwrap().id;
    let sent = f.store.claim(10).await.unwrap();
    let sent: Vec<_> = sent.iter().map(|one| (one.work, one.operation.id)).collect();
    assert_eq!(sent, [(PendingWork::Run, reboot)]);
    assert_eq!(f.store.operation(pause).await.unwrap().unwrap().state, OperationState::Cancelled);
    // What the host might still say about it is too late.
    let late = f.finish(pause, id, seen(P::Paused)).await;
    assert!(matches!(late, ApplyOutcome::Ignored(_)));
}

#[tokio::test]
async fn delete_takes_the_place_of_a_waiting_reboot() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let pause = f.admit(id, K::Pause).await.unwrap().operation.unwrap().id;
    f.store.claim(10).await.unwrap();
    let reboot = f.admit(id, K::RebootHard).await.unwrap().operation.unwrap().id;
    let delete = f.admit(id, K::Delete).await.unwrap().operation.unwrap();
    assert_eq!(delete.after, Some(pause));
    assert_eq!(f.store.operation(reboot).await.unwrap().unwrap().state, OperationState::Cancelled);
    f.finish(pause, id, seen(P::Paused)).await;
    let server = f.get(id).await;
    assert_eq!(state(&server), (S::Paused, Some("deleting")));
    assert_eq!(f.store.claim(10).await.unwrap()[0].operation.id, delete.id);
}

/// I5: `task_state` is set exactly while an operation is unfinished, whatever happened.
#[tokio::test]
async fn i5_nothing_is_left_behind_by_a_reset() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let pause = f.admit(id, K::Pause).await.unwrap().operation.unwrap().id;
    f.store.claim(10).await.unwrap();
    f.admit(id, K::Delete).await.unwrap();
    f.store.reset_state(id, S::Error, &by()).await.unwrap();
    let server = f.get(id).await;
    assert_eq!((state(&server), server.active), ((S::Error, None), None));
    assert_eq!(f.store.outbox_len().await.unwrap(), 0);
    let actions = f.store.operations_of(id).await.unwrap();
    assert!(actions.iter().all(|action| action.state.is_terminal()));
    assert_eq!(actions[0].action, "resetState");
    assert!(actions[0].events().is_empty() || actions[0].event.is_none());
    assert!(matches!(f.finish(pause, id, seen(P::Paused)).await, ApplyOutcome::Ignored(_)));
    f.admit(id, K::RebootHard).await.unwrap();
}

#[tokio::test]
async fn the_outbox_survives_a_crash_and_is_sent_with_growing_pauses() {
    let mut f = Fixture::new().await;
    let server = f.building().await;
    f.reopen().await;
    assert_eq!(f.store.claim(10).await.unwrap().len(), 1);
    assert_eq!(f.store.claim(10).await.unwrap().len(), 0, "not due yet");
    f.clock.advance(Duration::from_millis(1100));
    f.reopen().await;
    let again = f.store.claim(10).await.unwrap();
    assert_eq!((again.len(), again[0].attempt), (1, 2));
    f.clock.advance(Duration::from_millis(1100));
    assert_eq!(f.store.claim(10).await.unwrap().len(), 0, "two seconds now");
    f.clock.advance(Duration::from_secs(1));
    assert_eq!(f.store.claim(10).await.unwrap()[0].attempt, 3);
    f.report(ReportBody::Accepted { operation_id: server.active.unwrap().0 }).await;
    f.clock.advance(Duration::from_secs(3600));
    assert_eq!(f.store.claim(10).await.unwrap().len(), 0, "the host has it");
}

#[tokio::test]
async fn a_host_that_starts_again_gets_its_unfinished_operations() {
    let mut f = Fixture::new().await;
    let one = f.building().await;
    let two = f.active().await;
    f.store.claim(10).await.unwrap();
    let operation_id = one.active.unwrap().0;
    f.report(ReportBody::Accepted { operation_id }).await;
    assert_eq!(f.store.claim(10).await.unwrap().len(), 0);

    let registration = f.store.register_host(&host(), "boot-2").await.unwrap();
    assert_eq!(registration.epoch, 2);
    let mut expected = vec![one.id, two.id];
    let mut known = registration.instances.clone();
    expected.sort();
    known.sort();
    assert_eq!(known, expected);
    let repeated = f.store.register_host(&host(), "boot-2").await.unwrap();
    assert!(!repeated.first);
    assert_eq!(repeated.epoch, 2);

    let sent = f.store.claim(10).await.unwrap();
    assert_eq!((sent.len(), sent[0].host_epoch), (1, 2));
    assert_eq!(sent[0].operation.state, OperationState::Running, "it is not new");
    // The first agent is fenced.
    let zombie = f.finish(operation_id, one.id, seen(P::Running)).await;
    assert!(matches!(zombie, ApplyOutcome::Ignored(_)));
    f.epoch = 2;
    f.finish(operation_id, one.id, seen(P::Running)).await;
    assert_eq!(f.get(one.id).await.vm_state, S::Active);
}

#[tokio::test]
async fn nothing_is_sent_to_a_silent_host() {
    let f = Fixture::new().await;
    f.building().await;
    f.clock.advance(Duration::from_secs(61));
    assert_eq!(f.store.claim(10).await.unwrap().len(), 0);
    f.report(ReportBody::Heartbeat { host: Some(common::info()), problem: None }).await;
    assert_eq!(f.store.claim(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_refused_operation_stays_in_the_outbox() {
    let f = Fixture::new().await;
    let server = f.building().await;
    let operation_id = server.active.unwrap().0;
    f.store.claim(10).await.unwrap();
    let reason = "meant for epoch 0".to_owned();
    let outcome = f.report(ReportBody::Rejected { operation_id, reason }).await;
    assert!(matches!(outcome, ApplyOutcome::Rejected(_)));
    f.clock.advance(Duration::from_secs(2));
    assert_eq!(f.store.claim(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn sealed_passwords_are_wiped_when_the_operation_ends() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let sealed = SealingKey::new([1; 32]).seal(id, "s3cret").unwrap();
    let mut new = operation(id, K::Rescue);
    new.args = OperationArgs {
        rescue_image: Some(common::image()),
        rescue_password: Some(sealed),
        ..OperationArgs::default()
    };
    let rescue = f.store.admit(new).await.unwrap().operation.unwrap().id;
    let sent = f.store.claim(1).await.unwrap().remove(0);
    assert!(sent.operation.args.rescue_password.is_some());
    f.finish(rescue, id, rescued()).await;
    let ended = f.store.operation(rescue).await.unwrap().unwrap();
    assert!(ended.args.rescue_password.is_none());
    assert!(ended.args.rescue_image.is_some());
}

#[tokio::test]
async fn a_half_done_rescue_can_be_undone() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let rescue = f.admit(id, K::Rescue).await.unwrap().operation.unwrap().id;
    let half = Observation { rescue_stashed: true, ..seen(P::Shutdown) };
    f.fail(rescue, id, half).await;
    let server = f.get(id).await;
    assert_eq!((server.vm_state, server.rescue_stashed), (S::Error, true));
    f.done(id, K::Unrescue, seen(P::Running)).await;
    assert_eq!(f.get(id).await.vm_state, S::Active);
}

#[tokio::test]
async fn many_reports_are_applied_in_one_transaction() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let operation_id = f.admit(id, K::Pause).await.unwrap().operation.unwrap().id;
    let step = |event| ReportBody::Step {
        operation_id,
        index: 0,
        step: Step::SuspendCpus,
        event,
        detail: String::new(),
    };
    let result = OperationResult::Succeeded;
    let user = Observation { reason: PowerReason::User, ..seen(P::Paused) };
    let reports = [
        f.next_report(ReportBody::Accepted { operation_id }),
        f.next_report(step(StepEvent::Started)),
        f.next_report(step(StepEvent::Done)),
        f.next_report(ReportBody::Finished {
            operation_id,
            instance_id: id,
            result,
            seen: user,
            done: Vec::new(),
        }),
    ];
    let outcomes = f.store.apply(&reports).await.unwrap();
    assert!(matches!(outcomes[3], ApplyOutcome::Ended(_)), "{outcomes:?}");
    assert_eq!(state(&f.get(id).await), (S::Paused, None));
    assert_eq!(f.store.steps_of(operation_id).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_failed_build_ends_in_error_and_can_be_deleted() {
    let f = Fixture::new().await;
    let server = f.building().await;
    let fault = Fault::new(500, "Build of instance aborted: no space", "statvfs");
    let result = OperationResult::Failed { fault, needs_attention: true };
    f.end(server.active.unwrap().0, server.id, result, seen(P::NoState)).await;
    let failed = f.get(server.id).await;
    assert_eq!((state(&failed), failed.status()), ((S::Error, None), "ERROR"));
    assert!(failed.launched_at.is_none());
    let denied = f.admit(server.id, K::Rescue).await.unwrap_err();
    assert!(matches!(denied, StoreError::Denied(Denied::NeverLaunched { .. })), "{denied}");
    f.done(server.id, K::Delete, seen(P::NoState)).await;
    assert!(f.get(server.id).await.deleted_at.is_some());
}

#[tokio::test]
async fn what_the_caller_hands_over_is_due_again_when_nobody_reports() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let new = NewOperation { hand_over: HandOver::Caller, ..operation(id, K::Pause) };
    let admitted = f.store.admit(new).await.unwrap();
    let command = *admitted.command.unwrap();
    assert_eq!(Some(&command.operation), admitted.operation.as_ref());
    assert_eq!(command.operation.state, OperationState::Dispatched);
    assert_eq!((command.host_epoch, command.attempt), (1, 1));
    assert_eq!(state(&command.instance), (S::Active, Some("pausing")));

    assert!(f.store.claim(10).await.unwrap().is_empty(), "the caller is at it");
    f.clock.advance(Duration::from_secs(1));
    let again = f.store.claim(10).await.unwrap();
    assert_eq!((again.len(), again[0].attempt), (1, 2));
    assert_eq!(again[0].operation.id, command.operation.id);
    assert_eq!(again[0].instance, command.instance);

    f.finish(command.operation.id, id, seen(P::Paused)).await;
    assert_eq!(state(&f.get(id).await), (S::Paused, None));
    assert_eq!(f.store.outbox_len().await.unwrap(), 0);
}

#[tokio::test]
async fn nothing_is_handed_over_to_a_silent_host_or_past_a_running_operation() {
    let f = Fixture::new().await;
    let (awake, silent) = (f.active().await.id, f.active().await.id);
    let here = |id, kind| NewOperation { hand_over: HandOver::Caller, ..operation(id, kind) };
    assert!(f.store.admit(here(awake, K::Suspend)).await.unwrap().command.is_some());
    let delete = f.store.admit(here(awake, K::Delete)).await.unwrap();
    assert_eq!(delete.admission, Admission::Supersede(K::Suspend));
    assert!(delete.command.is_none(), "it waits for the end of the suspend");

    f.clock.advance(Duration::from_secs(61));
    let pause = f.store.admit(here(silent, K::Pause)).await.unwrap();
    assert!(pause.command.is_none());
    assert_eq!(pause.operation.unwrap().state, OperationState::Pending);
    f.report(ReportBody::Heartbeat { host: Some(common::info()), problem: None }).await;
    let due = f.store.claim(10).await.unwrap();
    assert!(due.iter().any(|command| command.instance.id == silent));
}
