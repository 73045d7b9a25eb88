//! What becomes of servers after a restart of their host.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Fixture, by, host, new_instance, operation, rescued, saved, seen, state};
use reprieve_core::conclude::{Observation, SavedMemory};
use reprieve_core::message::{OperationArgs, Rebooted, ReportBody};
use reprieve_core::reboot::{ACTION, METADATA_KEY, RebootPolicy};
use reprieve_core::{
    InstanceId, Lock, OperationId, OperationKind as K, PowerState as P, VmState as S,
};
use reprieve_store::{ApplyOutcome, Greeting, NewOperation, OperationState, Registration};

/// The machine of the fixture's host was restarted, and its agent greets.
async fn restart(f: &mut Fixture, machine_boot: &str, policy: RebootPolicy) -> Registration {
    let rebooted = Rebooted { machine_boot: machine_boot.to_owned(), policy };
    let start = format!("start of {machine_boot}");
    let told = f.store.greeted(&host(), &greeting(&start, &rebooted)).await.unwrap();
    f.epoch = told.epoch;
    told
}

/// The agent looks at a guest without a process and says what it sees.
async fn look(f: &Fixture, id: InstanceId, seen: Observation) -> ApplyOutcome {
    f.report(ReportBody::Observed { instance_id: id, seen }).await
}

fn off() -> Observation {
    seen(P::Shutdown)
}

fn off_in_rescue() -> Observation {
    Observation { rescue_stashed: true, ..off() }
}

/// A server in this state, whose guest was seen so.
async fn server(f: &Fixture, state: S) -> InstanceId {
    let id = f.active().await.id;
    match state {
        S::Active => {}
        S::Paused => f.done(id, K::Pause, seen(P::Paused)).await,
        S::Suspended => f.done(id, K::Suspend, saved()).await,
        S::Stopped => f.done(id, K::Stop, off()).await,
        S::Rescued => f.done(id, K::Rescue, rescued()).await,
        other => panic!("a test cannot ask for {other}"),
    }
    assert_eq!(f.get(id).await.vm_state, state);
    id
}

/// The fault of the action that tells what was lost, if there is one.
async fn lost(f: &Fixture, id: InstanceId) -> Option<String> {
    let actions = f.store.operations_of(id).await.unwrap();
    let told = actions.into_iter().find(|action| action.action == ACTION)?;
    assert_eq!(told.message(), Some("Error"));
    let events = told.events();
    assert_eq!(events[0].event, "compute_host_reboot");
    events[0].details.clone()
}

fn greeting<'a>(boot_id: &'a str, rebooted: &'a Rebooted) -> Greeting<'a> {
    Greeting { boot_id, after: 0, rebooted: Some(rebooted) }
}

#[tokio::test]
async fn every_state_and_policy() {
    for (policy, state_before, seen_after, expected, said) in [
        (RebootPolicy::Leave, S::Active, off(), (S::Stopped, None), Some("ACTIVE")),
        (RebootPolicy::Start, S::Active, off(), (S::Stopped, Some("powering-on")), Some("ACTIVE")),
        (RebootPolicy::Leave, S::Paused, off(), (S::Stopped, None), Some("PAUSED")),
        (RebootPolicy::Start, S::Paused, off(), (S::Stopped, None), Some("PAUSED")),
        (RebootPolicy::Leave, S::Rescued, off_in_rescue(), (S::Rescued, None), Some("RESCUE")),
        (
            RebootPolicy::Start,
            S::Rescued,
            off_in_rescue(),
            (S::Rescued, Some("powering-on")),
            Some("RESCUE"),
        ),
        (RebootPolicy::Leave, S::Suspended, saved(), (S::Suspended, None), None),
        (RebootPolicy::Start, S::Suspended, saved(), (S::Suspended, None), None),
        (RebootPolicy::Start, S::Stopped, off(), (S::Stopped, None), None),
        // libvirt started it by itself.
        (RebootPolicy::Start, S::Active, seen(P::Running), (S::Active, None), None),
    ] {
        let note = format!("{policy} {state_before}");
        let mut f = Fixture::new().await;
        let id = server(&f, state_before).await;
        assert!(restart(&mut f, "second", policy).await.rebooted);
        assert_eq!(state(&f.get(id).await).0, state_before, "nothing is said before it is seen");
        look(&f, id, seen_after).await;
        assert_eq!(state(&f.get(id).await), expected, "{note}");
        let told = lost(&f, id).await;
        assert_eq!(told.is_some(), said.is_some(), "{note}");
        if let (Some(told), Some(said)) = (told, said) {
            assert!(told.contains(said), "{note}: {told}");
        }
    }
}

#[tokio::test]
async fn a_rescue_system_is_started_again_and_stays_one() {
    let mut f = Fixture::new().await;
    let id = server(&f, S::Rescued).await;
    restart(&mut f, "second", RebootPolicy::Start).await;
    let outcome = look(&f, id, off_in_rescue()).await;
    let ApplyOutcome::Observed { restart: Some(operation), .. } = outcome else {
        panic!("{outcome:?}")
    };
    let sent = f.store.claim(1).await.unwrap().remove(0).operation;
    assert_eq!((sent.id, sent.kind, sent.prior), (operation, Some(K::Start), S::Rescued));
    f.finish(operation, id, rescued()).await;
    assert_eq!(state(&f.get(id).await), (S::Rescued, None));
    assert_eq!(f.get(id).await.power_state, P::Running);
    // One that fails is a rescued server without a guest, which can be unrescued.
    restart(&mut f, "third", RebootPolicy::Start).await;
    look(&f, id, off_in_rescue()).await;
    let again = f.get(id).await.active.unwrap().0;
    f.fail(again, id, off_in_rescue()).await;
    assert_eq!(state(&f.get(id).await), (S::Rescued, None));
    f.admit(id, K::Unrescue).await.unwrap();
}

/// However often it is told, and whatever was done since: each restart counts once.
#[tokio::test]
async fn a_restart_counts_once() {
    let mut f = Fixture::new().await;
    let id = server(&f, S::Active).await;
    assert!(restart(&mut f, "second", RebootPolicy::Start).await.rebooted);
    look(&f, id, off()).await;
    let operation = f.get(id).await.active.unwrap().0;
    f.finish(operation, id, seen(P::Running)).await;
    assert_eq!(f.get(id).await.vm_state, S::Active);
    // The agent was killed before it could write down that it was answered.
    let rebooted = Rebooted { machine_boot: "second".into(), policy: RebootPolicy::Start };
    let again = f.store.greeted(&host(), &greeting("another start", &rebooted)).await.unwrap();
    assert!(!again.rebooted);
    f.epoch = again.epoch;
    // A guest that powers itself off now is off because it wanted to.
    look(&f, id, off()).await;
    assert_eq!(state(&f.get(id).await), (S::Stopped, None));
    let actions = f.store.operations_of(id).await.unwrap();
    assert_eq!(actions.iter().filter(|action| action.action == ACTION).count(), 1);
}

/// Asks for a suspend because the host goes down.
async fn suspend_for_host(f: &Fixture, id: InstanceId) -> OperationId {
    suspend(f, id, true).await
}

async fn suspend(f: &Fixture, id: InstanceId, for_host: bool) -> OperationId {
    let args = OperationArgs { for_host, ..OperationArgs::default() };
    let new = NewOperation { args, ..operation(id, K::Suspend) };
    f.store.admit(new).await.unwrap().operation.unwrap().id
}

#[tokio::test]
async fn what_was_suspended_for_the_host_is_resumed_where_the_policy_says_so() {
    for (policy, task) in [
        (RebootPolicy::Leave, None),
        (RebootPolicy::Start, None),
        (RebootPolicy::Resume, Some("resuming")),
    ] {
        let mut f = Fixture::new().await;
        let (by_user, for_host) = (server(&f, S::Suspended).await, f.active().await.id);
        let suspend = suspend_for_host(&f, for_host).await;
        f.finish(suspend, for_host, saved()).await;
        let marks = [f.get(by_user).await, f.get(for_host).await];
        assert_eq!(marks.map(|server| server.suspended_for_host), [false, true]);
        // An agent that is started again on the same machine resumes nothing.
        look(&f, for_host, saved()).await;
        assert_eq!(state(&f.get(for_host).await), (S::Suspended, None));

        restart(&mut f, "second", policy).await;
        look(&f, by_user, saved()).await;
        let outcome = look(&f, for_host, saved()).await;
        assert_eq!(state(&f.get(by_user).await), (S::Suspended, None), "{policy}");
        assert_eq!(state(&f.get(for_host).await), (S::Suspended, task), "{policy}");
        assert_eq!((lost(&f, by_user).await, lost(&f, for_host).await), (None, None));
        let ApplyOutcome::Observed { restart: resumed, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(resumed.is_some(), task.is_some(), "{policy}");
        let Some(resumed) = resumed else { continue };
        let sent = f.store.claim(1).await.unwrap().remove(0).operation;
        assert_eq!((sent.id, sent.kind, sent.prior), (resumed, Some(K::Resume), S::Suspended));
        f.finish(resumed, for_host, seen(P::Running)).await;
        let after = f.get(for_host).await;
        assert_eq!((state(&after), after.suspended_for_host), ((S::Active, None), false));
    }
}

/// Memory that is damaged is nobody's to resume, and what is not resumed is asked for again by the next
/// restart only while it was suspended for the host.
#[tokio::test]
async fn a_suspend_for_the_host_ends_with_whatever_its_user_does() {
    let mut f = Fixture::new().await;
    let id = f.active().await.id;
    let suspend = suspend_for_host(&f, id).await;
    f.finish(suspend, id, saved()).await;
    // A resume that fails leaves it as it was.
    let resume = f.admit(id, K::Resume).await.unwrap().operation.unwrap().id;
    f.fail(resume, id, saved()).await;
    assert!(f.get(id).await.suspended_for_host);
    // An administrator who says what it is ends that, too.
    f.store.reset_state(id, S::Active, &by()).await.unwrap();
    assert!(!f.get(id).await.suspended_for_host);
    f.done(id, K::Suspend, saved()).await;
    assert!(!f.get(id).await.suspended_for_host, "its user suspended it");
    restart(&mut f, "second", RebootPolicy::Resume).await;
    look(&f, id, saved()).await;
    assert_eq!(state(&f.get(id).await), (S::Suspended, None));

    let other = f.active().await.id;
    let suspend = suspend_for_host(&f, other).await;
    f.finish(suspend, other, saved()).await;
    restart(&mut f, "third", RebootPolicy::Resume).await;
    let damaged = Observation { saved: SavedMemory::Unusable, ..off() };
    look(&f, other, damaged).await;
    let server = f.get(other).await;
    assert_eq!((state(&server), server.suspended_for_host), ((S::Error, None), false));
}

/// The machine went down before the suspend was told to have ended.
#[tokio::test]
async fn a_suspend_that_the_restart_overtook_is_resumed_as_well() {
    for (for_host, policy, task) in [
        (true, RebootPolicy::Resume, Some("resuming")),
        (true, RebootPolicy::Start, None),
        (false, RebootPolicy::Resume, None),
    ] {
        let mut f = Fixture::new().await;
        let id = f.active().await.id;
        let suspend = suspend(&f, id, for_host).await;
        restart(&mut f, "second", policy).await;
        f.finish(suspend, id, saved()).await;
        assert_eq!(state(&f.get(id).await), (S::Suspended, task), "{for_host} {policy}");
    }
    // It was given up before its host could say that it was done.
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let suspend = suspend_for_host(&f, id).await;
    f.clock.advance(Duration::from_secs(3700));
    assert_eq!(f.store.expire().await.unwrap().len(), 1);
    f.finish(suspend, id, saved()).await;
    let server = f.get(id).await;
    assert_eq!((state(&server), server.suspended_for_host), ((S::Suspended, None), true));
}

/// Its machine was restarted, it was given up, and only then its host could say what came of it.
#[tokio::test]
async fn a_suspend_that_was_given_up_after_the_restart_is_followed_up_all_the_same() {
    let given_up = async |for_host: bool, policy: RebootPolicy| {
        let mut f = Fixture::new().await;
        let id = f.active().await.id;
        let suspend = suspend(&f, id, for_host).await;
        restart(&mut f, "second", policy).await;
        f.clock.advance(Duration::from_secs(3700));
        assert_eq!(f.store.expire().await.unwrap().len(), 1);
        (f, id, suspend)
    };
    for (for_host, policy, task) in [
        (true, RebootPolicy::Resume, Some("resuming")),
        (true, RebootPolicy::Start, None),
        (false, RebootPolicy::Resume, None),
    ] {
        let (f, id, suspend) = given_up(for_host, policy).await;
        f.finish(suspend, id, saved()).await;
        let server = f.get(id).await;
        assert_eq!(state(&server), (S::Suspended, task), "{for_host} {policy}");
        assert_eq!(server.host_reboot, None);
        // Once, however often it is told.
        f.finish(suspend, id, saved()).await;
        assert_eq!(state(&f.get(id).await), (S::Suspended, task), "{for_host} {policy}");
        let Some((resume, _)) = server.active else { continue };
        f.finish(resume, id, seen(P::Running)).await;
        f.finish(suspend, id, saved()).await;
        assert_eq!(state(&f.get(id).await), (S::Active, None), "{for_host} {policy}");
    }
    // Nothing was saved: it is what a restart makes of a server that ran.
    for (policy, task) in [(RebootPolicy::Leave, None), (RebootPolicy::Start, Some("powering-on"))]
    {
        let (f, id, suspend) = given_up(true, policy).await;
        f.fail(suspend, id, off()).await;
        assert_eq!(state(&f.get(id).await), (S::Stopped, task), "{policy}");
        assert!(lost(&f, id).await.unwrap().contains("ACTIVE"), "{policy}");
    }
    // Memory that a look had found whole is damaged by then, which is what its owner has to read.
    let (f, id, suspend) = given_up(true, RebootPolicy::Leave).await;
    look(&f, id, saved()).await;
    assert_eq!(state(&f.get(id).await), (S::Suspended, None));
    f.fail(suspend, id, Observation { saved: SavedMemory::Unusable, ..off() }).await;
    let server = f.get(id).await;
    assert_eq!(state(&server), (S::Error, None));
    assert!(server.fault.unwrap().fault.message.contains("saved memory"));
    // A look came before: what it made of the server stands.
    let (f, id, suspend) = given_up(true, RebootPolicy::Leave).await;
    look(&f, id, off()).await;
    assert_eq!(state(&f.get(id).await), (S::Stopped, None));
    f.fail(suspend, id, off()).await;
    assert_eq!(state(&f.get(id).await), (S::Stopped, None));
}

/// The machine went down before anything was saved. Nobody wanted the end of the guest: what a restart
/// makes of its server is what would have become of it without the suspend.
#[tokio::test]
async fn a_suspend_that_came_too_late_for_the_restart_is_none() {
    for (policy, task) in [
        (RebootPolicy::Leave, None),
        (RebootPolicy::Start, Some("powering-on")),
        (RebootPolicy::Resume, Some("powering-on")),
    ] {
        let mut f = Fixture::new().await;
        let id = f.active().await.id;
        let suspend = suspend_for_host(&f, id).await;
        restart(&mut f, "second", policy).await;
        f.fail(suspend, id, off()).await;
        assert_eq!(state(&f.get(id).await), (S::Stopped, task), "{policy}");
        assert!(lost(&f, id).await.unwrap().contains("ACTIVE"), "{policy}");
        let ended = f.store.operation(suspend).await.unwrap().unwrap();
        assert_eq!(ended.state, OperationState::Failed);
    }
    // Half of its memory was saved, or its user had asked for it: somebody has to know.
    let half = Observation { saved: SavedMemory::Unusable, ..off() };
    for (for_host, seen) in [(true, half), (false, off())] {
        let mut f = Fixture::new().await;
        let id = f.active().await.id;
        let suspend = suspend(&f, id, for_host).await;
        restart(&mut f, "second", RebootPolicy::Resume).await;
        f.fail(suspend, id, seen).await;
        assert_eq!(state(&f.get(id).await), (S::Error, None), "{for_host}");
    }
}

#[tokio::test]
async fn a_server_says_itself_what_it_wants() {
    let mut f = Fixture::new().await;
    let mut ids = Vec::new();
    for wish in ["start", "leave", "whatever"] {
        let mut new = new_instance("x");
        new.metadata = BTreeMap::from([(METADATA_KEY.to_owned(), wish.to_owned())]);
        let server = f.create(new).await;
        f.finish(server.active.unwrap().0, server.id, seen(P::Running)).await;
        ids.push(server.id);
    }
    // Who locked it wants no user to change it; that it runs again is no change.
    f.store.set_lock(ids[0], Lock::Admin, None, &by()).await.unwrap();
    restart(&mut f, "second", RebootPolicy::Leave).await;
    let mut tasks = Vec::new();
    for id in ids {
        look(&f, id, off()).await;
        tasks.push(state(&f.get(id).await).1);
    }
    assert_eq!(tasks, [Some("powering-on"), None, None]);
}

/// What a user began before is not overtaken: its own end says what became of the guest.
#[tokio::test]
async fn an_operation_under_way_decides_first() {
    let mut f = Fixture::new().await;
    let id = server(&f, S::Active).await;
    let stop = f.admit(id, K::Stop).await.unwrap().operation.unwrap();
    restart(&mut f, "second", RebootPolicy::Start).await;
    assert!(matches!(look(&f, id, off()).await, ApplyOutcome::Ignored(_)));
    f.finish(stop.id, id, off()).await;
    look(&f, id, off()).await;
    assert_eq!(state(&f.get(id).await), (S::Stopped, None), "its user stopped it");
    assert_eq!(lost(&f, id).await, None);
    let ended = f.store.operation(stop.id).await.unwrap().unwrap();
    assert_eq!(ended.state, OperationState::Succeeded);
}

/// An operation that ended well before its guest went with the host is no reason not to tell.
#[tokio::test]
async fn what_an_operation_had_achieved_is_lost_and_told() {
    for (policy, before, kind, task, said) in [
        (RebootPolicy::Leave, S::Paused, K::Unpause, None, "ACTIVE"),
        (RebootPolicy::Start, S::Paused, K::Unpause, Some("powering-on"), "ACTIVE"),
        (RebootPolicy::Start, S::Suspended, K::Resume, Some("powering-on"), "ACTIVE"),
        (RebootPolicy::Start, S::Active, K::Pause, None, "PAUSED"),
    ] {
        let note = format!("{policy} {kind}");
        let mut f = Fixture::new().await;
        let id = server(&f, before).await;
        let operation = f.admit(id, kind).await.unwrap().operation.unwrap();
        restart(&mut f, "second", policy).await;
        f.finish(operation.id, id, off()).await;
        assert_eq!(state(&f.get(id).await), (S::Stopped, task), "{note}");
        let told = lost(&f, id).await.unwrap();
        assert!(told.contains(said), "{note}: {told}");
        let ended = f.store.operation(operation.id).await.unwrap().unwrap();
        assert_eq!(ended.state, OperationState::Succeeded, "{note}");
    }
}

/// The end of an operation is a look at its guest: what happens to that later has another reason.
#[tokio::test]
async fn a_guest_that_an_operation_left_running_is_not_started_again() {
    let mut f = Fixture::new().await;
    let id = server(&f, S::Active).await;
    let reboot = f.admit(id, K::RebootHard).await.unwrap().operation.unwrap();
    restart(&mut f, "second", RebootPolicy::Start).await;
    f.finish(reboot.id, id, seen(P::Running)).await;
    look(&f, id, off()).await;
    assert_eq!(state(&f.get(id).await), (S::Stopped, None), "it powered itself off");
    assert_eq!(lost(&f, id).await, None);
}

/// A start by an older version of the agent, which knows nothing of boot ids, and one that was not
/// preceded by a restart, change nothing.
#[tokio::test]
async fn without_a_restart_nothing_is_started() {
    let mut f = Fixture::new().await;
    let id = server(&f, S::Active).await;
    let told = f.store.register_host(&host(), "later").await.unwrap();
    assert!(told.first && !told.rebooted);
    f.epoch = told.epoch;
    look(&f, id, off()).await;
    assert_eq!(state(&f.get(id).await), (S::Stopped, None));
    assert_eq!(lost(&f, id).await, None);
}
