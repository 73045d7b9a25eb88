//! The outbox of notifications: what is committed is told, once, and nothing else.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{Fixture, by, new_instance, rescued, saved, seen};
use reprieve_core::message::{OperationResult, ReportBody};
use reprieve_core::notification::{Cause, Ending, notifications};
use reprieve_core::{Fault, InstanceId, Lock, OperationKind as K, PowerState, TaskState, VmState};
use reprieve_store::{InstanceUpdate, NotificationQuery, NotificationRecord, Placement};

impl Fixture {
    async fn noted(&self, after: i64) -> Vec<NotificationRecord> {
        let query = NotificationQuery { after, project: None, limit: 1000 };
        self.store.notifications(&query).await.unwrap()
    }

    async fn newest(&self) -> i64 {
        self.store.notification_range().await.unwrap().map_or(0, |(_, newest)| newest)
    }

    /// Names of what is told after a number.
    async fn told(&self, after: i64) -> Vec<String> {
        let noted = self.noted(after).await;
        let each = noted.iter().flat_map(|record| {
            notifications(record.change.as_ref().unwrap(), (record.number, record.at), "vm")
        });
        each.map(|one| one.event_type.strip_prefix("instance.").unwrap().to_owned()).collect()
    }

    async fn accepted(&self, id: InstanceId) {
        let operation_id = self.get(id).await.active.unwrap().0;
        self.report(ReportBody::Accepted { operation_id }).await;
    }
}

/// What was worked out without reading is what was stored.
async fn tells_the_truth(f: &Fixture, id: InstanceId, what: impl std::fmt::Display) {
    let server = f.get(id).await;
    let last = f.noted(0).await.pop().unwrap();
    let after = last.change.unwrap().after;
    let state = &after.state;
    assert_eq!(state.vm_state, server.vm_state, "{what}");
    assert_eq!(state.task_state, server.task_state, "{what}");
    assert_eq!(state.power_state, server.power_state, "{what}");
    assert_eq!(state.progress, server.progress, "{what}");
    assert_eq!(state.launched_at, server.launched_at, "{what}");
    assert_eq!(state.updated_at, server.updated_at, "{what}");
    assert_eq!(after.terminated_at, server.terminated_at, "{what}");
    assert_eq!(after.deleted_at, server.deleted_at, "{what}");
    assert_eq!(after.locked, server.lock != Lock::Unlocked, "{what}");
    assert_eq!(after.locked_reason, server.locked_reason, "{what}");
}

#[tokio::test]
async fn a_life_is_told_in_order_and_truthfully() {
    let f = Fixture::new().await;
    let id = f.building().await.id;
    f.accepted(id).await;
    tells_the_truth(&f, id, "begun").await;
    let created = f.get(id).await.active.unwrap().0;
    f.finish(created, id, seen(PowerState::Running)).await;
    tells_the_truth(&f, id, "create").await;
    assert_eq!(f.told(0).await, ["update", "create.start", "update", "update", "create.end"]);
    for (kind, name, after) in [
        (K::Pause, "pause", seen(PowerState::Paused)),
        (K::Unpause, "unpause", seen(PowerState::Running)),
        (K::Suspend, "suspend", saved()),
        (K::Resume, "resume", seen(PowerState::Running)),
        (K::Stop, "power_off", seen(PowerState::Shutdown)),
        (K::Start, "power_on", seen(PowerState::Running)),
        (K::Rescue, "rescue", rescued()),
        (K::Unrescue, "unrescue", seen(PowerState::Running)),
        (K::RebootSoft, "reboot", seen(PowerState::Running)),
        (K::Delete, "delete", seen(PowerState::NoState)),
    ] {
        let from = f.newest().await;
        let operation = f.admit(id, kind).await.unwrap().operation.unwrap().id;
        tells_the_truth(&f, id, format_args!("{kind} accepted")).await;
        f.accepted(id).await;
        tells_the_truth(&f, id, format_args!("{kind} begun")).await;
        f.finish(operation, id, after).await;
        tells_the_truth(&f, id, format_args!("{kind} ended")).await;
        let told = f.told(from).await;
        let (start, end) = (format!("{name}.start"), format!("{name}.end"));
        let position = |name: &str| told.iter().position(|one| one == name).unwrap();
        assert_eq!(told[0], "update", "{kind}: {told:?}");
        assert_eq!(position(&start), 1, "{kind}: {told:?}");
        assert_eq!(position(&end), told.len() - 1, "{kind}: {told:?}");
        assert_eq!(f.newest().await - from, 3, "{kind}: one row a transaction");
    }
    let numbers: Vec<i64> = f.noted(0).await.iter().map(|record| record.number).collect();
    let expected: Vec<i64> = (1..=numbers.len() as i64).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn failures_and_stops_are_told() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let from = f.newest().await;
    let pause = f.admit(id, K::Pause).await.unwrap().operation.unwrap().id;
    f.fail(pause, id, seen(PowerState::Running)).await;
    tells_the_truth(&f, id, "failed pause").await;
    // The host's first word was its last: it had begun all the same.
    assert_eq!(f.told(from).await, ["update", "pause.start", "update", "pause.error"]);
    let last = f.noted(from).await.pop().unwrap().change.unwrap();
    let Cause::Ended { ending: Ending::Failed(fault), .. } = last.cause else { panic!() };
    assert_eq!(fault.message, "no");

    let from = f.newest().await;
    let suspend = f.admit(id, K::Suspend).await.unwrap().operation.unwrap().id;
    f.accepted(id).await;
    f.admit(id, K::Delete).await.unwrap();
    f.end(suspend, id, OperationResult::Cancelled, seen(PowerState::Running)).await;
    tells_the_truth(&f, id, "stopped suspend").await;
    assert_eq!(
        f.told(from).await,
        ["update", "suspend.start", "update", "suspend.error"],
        "the deletion waits: its update is the second, and the suspend's end changes nothing"
    );
}

#[tokio::test]
async fn what_never_began_is_not_told_as_ended() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let from = f.newest().await;
    f.admit(id, K::Pause).await.unwrap();
    let delete = f.admit(id, K::Delete).await.unwrap().operation.unwrap().id;
    f.finish(delete, id, seen(PowerState::NoState)).await;
    let told = f.told(from).await;
    assert!(!told.iter().any(|name| name.starts_with("pause")), "{told:?}");
    assert_eq!(told.last().unwrap(), "delete.end");
}

#[tokio::test]
async fn changes_without_a_host_are_told() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let from = f.newest().await;
    f.store.set_lock(id, Lock::Owner, Some("mine".into()), &by()).await.unwrap();
    tells_the_truth(&f, id, "lock").await;
    f.store.set_lock(id, Lock::Unlocked, None, &by()).await.unwrap();
    tells_the_truth(&f, id, "unlock").await;
    let change = InstanceUpdate { name: Some("new".into()), ..InstanceUpdate::default() };
    f.store.update_instance(id, change, &by()).await.unwrap();
    tells_the_truth(&f, id, "update").await;
    f.admit(id, K::Pause).await.unwrap();
    f.accepted(id).await;
    f.store.reset_state(id, VmState::Error, &by()).await.unwrap();
    tells_the_truth(&f, id, "reset").await;
    f.report(ReportBody::Observed { instance_id: id, seen: seen(PowerState::Shutdown) }).await;
    tells_the_truth(&f, id, "observed").await;
    let again = f.newest().await;
    f.report(ReportBody::Observed { instance_id: id, seen: seen(PowerState::Shutdown) }).await;
    assert_eq!(f.newest().await, again, "nothing changed");
    assert_eq!(
        f.told(from).await,
        [
            "update",
            "lock",
            "update",
            "unlock",
            "update",
            "update",
            "pause.start",
            "update",
            "pause.error",
            "update"
        ]
    );

    let from = f.newest().await;
    let mut new = new_instance("nowhere");
    new.placement = Placement::Nowhere(Fault::new(500, "No valid host was found.", ""));
    let id = f.create(new).await.id;
    f.admit(id, K::Delete).await.unwrap();
    tells_the_truth(&f, id, "deleted unhosted").await;
    let expected = [
        "update",
        "create.error",
        "delete.start",
        "shutdown.start",
        "shutdown.end",
        "update",
        "delete.end",
    ];
    assert_eq!(f.told(from).await, expected);
}

#[tokio::test]
async fn no_secret_is_kept_in_a_change() {
    let f = Fixture::new().await;
    let server = f.active().await;
    let sealed = reprieve_core::SealingKey::new([1; 32]).seal(server.id, "another").unwrap();
    let mut rescue = common::operation(server.id, K::Rescue);
    let text = serde_json::to_string(&sealed).unwrap();
    rescue.args.rescue_password = Some(sealed);
    rescue.args.rescue_image = Some(common::image());
    let image = rescue.args.rescue_image.as_ref().unwrap().id;
    let operation = f.store.admit(rescue).await.unwrap().operation.unwrap().id;
    f.finish(operation, server.id, rescued()).await;
    let noted = f.noted(0).await;
    assert!(noted.len() >= 5);
    for record in &noted {
        let stored = serde_json::to_string(&record.change).unwrap();
        assert!(!stored.contains("IyE="), "user data: {stored}");
        assert!(!stored.contains("password"), "{stored}");
        assert!(!stored.contains(&text), "{stored}");
    }
    let last = noted.last().unwrap().change.as_ref().unwrap();
    assert!(
        matches!(&last.cause, Cause::Ended { rescue_image, .. } if *rescue_image == Some(image))
    );
    let first = noted[0].change.as_ref().unwrap();
    assert_eq!(first.after.public_key.as_deref(), Some("ssh-ed25519 AAAA"));
    assert_eq!(last.after.public_key, None);
}

#[tokio::test]
async fn what_is_not_committed_is_not_told() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let mut bell = f.store.notification_bell();
    bell.mark_unchanged();
    let from = f.newest().await;
    assert!(f.admit(id, K::Unpause).await.is_err());
    f.store.keep_notifications(false);
    f.done(id, K::Pause, seen(PowerState::Paused)).await;
    assert_eq!(f.newest().await, from);
    assert!(!bell.has_changed().unwrap());
    f.store.keep_notifications(true);
    f.admit(id, K::Unpause).await.unwrap();
    assert!(bell.has_changed().unwrap());
    assert_eq!(f.get(id).await.task_state, Some(TaskState::Unpausing));
    assert_eq!(f.newest().await, from + 1);
}

#[tokio::test]
async fn old_changes_are_dropped_and_numbers_go_on() {
    let mut f = Fixture::new().await;
    let id = f.active().await.id;
    for _ in 0..10 {
        f.store.set_lock(id, Lock::Owner, None, &by()).await.unwrap();
    }
    let newest = f.newest().await;
    assert_eq!(f.store.trim_notifications(1000).await.unwrap(), 0);
    assert_eq!(f.store.trim_notifications(4).await.unwrap(), newest as u64 - 4);
    let range = f.store.notification_range().await.unwrap();
    assert_eq!(range, Some((newest - 3, newest)));
    assert_eq!(f.store.trim_notifications(0).await.unwrap(), 3, "the newest stays");
    f.reopen().await;
    f.store.set_lock(id, Lock::Unlocked, None, &by()).await.unwrap();
    assert_eq!(f.newest().await, newest + 1);

    let of =
        |project: &str| NotificationQuery { project: Some(project.into()), after: 0, limit: 10 };
    assert_eq!(f.store.notifications(&of("demo")).await.unwrap().len(), 2);
    assert_eq!(f.store.notifications(&of("other")).await.unwrap().len(), 0);
}

/// A place that nobody is heard from is given to whoever asks; what was passed on by somebody who has
/// lost it does not count.
#[tokio::test]
async fn the_place_of_a_reader_goes_to_the_next_one() {
    let f = Fixture::new().await;
    f.active().await;
    let newest = f.store.notification_range().await.unwrap().unwrap().1;
    let hold = async |holder| f.store.hold_notification_reader("broker", holder).await.unwrap();
    assert_eq!(hold("a").await, Some(newest), "a new reader begins with the next change");
    assert_eq!(hold("b").await, None);
    f.store.passed_notifications("broker", "a", newest + 1).await.unwrap();
    f.clock.advance(Duration::from_secs(20));
    assert_eq!(hold("a").await, Some(newest + 1), "it keeps the place by asking");
    f.clock.advance(Duration::from_secs(20));
    assert_eq!(hold("b").await, None);
    f.clock.advance(Duration::from_secs(20));
    assert_eq!(hold("b").await, Some(newest + 1));
    f.store.passed_notifications("broker", "a", newest + 9).await.unwrap();
    f.store.leave_notification_reader("broker", "a").await.unwrap();
    assert_eq!(hold("a").await, None);
    f.store.leave_notification_reader("broker", "b").await.unwrap();
    assert_eq!(hold("a").await, Some(newest + 1));
    assert_eq!(f.store.hold_notification_reader("other", "b").await.unwrap(), Some(newest));
}
