//! What is read of a server is what the database has now, whoever changed it and however often it
//! was read before.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::sync::Arc;

use common::{Fixture, by, info, new_instance, operation, saved, seen};
use reprieve_core::group::GroupPolicy;
use reprieve_core::message::ReportBody;
use reprieve_core::{InstanceId, Lock, OperationKind as K, PowerState as P, VmState};
use reprieve_store::{InstanceQuery, InstanceRecord, InstanceUpdate, NewServerGroup, Store};

/// Everything, as a store has it that may have read it before.
async fn all(store: &Store) -> Vec<Arc<InstanceRecord>> {
    let filter = reprieve_store::InstanceFilter {
        deleted: reprieve_store::Deleted::Include,
        ..Default::default()
    };
    store
        .instances(&InstanceQuery { filter, limit: 100, ..Default::default() })
        .await
        .unwrap()
        .instances
}

/// The fixture's store and another one, which both read everything before the change, agree
/// afterwards with one that never read anything.
struct Watch {
    f: Fixture,
    other: Store,
}

impl Watch {
    async fn new() -> Self {
        let f = Fixture::new().await;
        let other = f.another_process().await;
        Self { f, other }
    }

    async fn agree(&self, after: &str) {
        let fresh = all(&self.f.another_process().await).await;
        assert_eq!(all(&self.f.store).await, fresh, "after {after}");
        assert_eq!(all(&self.other).await, fresh, "after {after}, in another process");
        for server in fresh {
            for store in [&self.f.store, &self.other] {
                let one = store.instance(server.id).await.unwrap().unwrap();
                assert_eq!(one, *server, "after {after}");
            }
        }
    }
}

#[tokio::test]
async fn every_change_is_seen() {
    let watch = Watch::new().await;
    let f = &watch.f;
    let server = f.building().await;
    watch.agree("create").await;
    f.finish(server.active.unwrap().0, server.id, seen(P::Running)).await;
    watch.agree("the end of a create").await;

    let admitted = f.admit(server.id, K::RebootSoft).await.unwrap();
    watch.agree("admission").await;
    let operation_id = admitted.operation.unwrap().id;
    f.report(ReportBody::Accepted { operation_id }).await;
    watch.agree("a report of the beginning").await;
    f.fail(operation_id, server.id, seen(P::Running)).await;
    watch.agree("a failure").await;

    f.done(server.id, K::Suspend, saved()).await;
    watch.agree("suspend").await;
    f.done(server.id, K::Resume, seen(P::Running)).await;
    watch.agree("resume").await;
    f.report(ReportBody::Observed { instance_id: server.id, seen: seen(P::Paused) }).await;
    watch.agree("a pause from outside").await;

    f.store.set_lock(server.id, Lock::Owner, Some("mine".into()), &by()).await.unwrap();
    watch.agree("lock").await;
    f.store.set_lock(server.id, Lock::Unlocked, None, &by()).await.unwrap();
    watch.agree("unlock").await;
    let change = InstanceUpdate { name: Some("renamed".into()), ..InstanceUpdate::default() };
    f.store.update_instance(server.id, change, &by()).await.unwrap();
    watch.agree("a new name").await;
    f.store.admit(operation(server.id, K::Unpause)).await.unwrap();
    f.store.reset_state(server.id, VmState::Error, &by()).await.unwrap();
    watch.agree("a reset of the state").await;
    f.done(server.id, K::Delete, seen(P::NoState)).await;
    watch.agree("delete").await;
}

#[tokio::test]
async fn a_group_that_is_deleted_leaves_its_members() {
    let watch = Watch::new().await;
    let f = &watch.f;
    let group = NewServerGroup {
        project_id: "demo".into(),
        user_id: "alice".into(),
        name: "g".into(),
        policy: GroupPolicy::AntiAffinity,
        max_per_host: None,
    };
    let group = f.store.create_server_group(group).await.unwrap();
    let mut new = new_instance("member");
    new.group = Some(group.id);
    f.create(new).await;
    watch.agree("create").await;
    f.store.delete_server_group(group.id).await.unwrap();
    watch.agree("the end of the group").await;
}

/// The two stores take turns at the file by chance, and one may wait for too long on a slow disk.
async fn written(store: &Store, id: InstanceId, change: &InstanceUpdate) -> InstanceRecord {
    loop {
        match store.update_instance(id, change.clone(), &by()).await {
            Err(error) if error.is_transient() => {}
            ended => return ended.unwrap(),
        }
    }
}

/// Readers during writes get some committed state, and the last one when all is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_beside_writers_end_with_the_truth() {
    let watch = Watch::new().await;
    let f = &watch.f;
    f.report(ReportBody::Heartbeat { host: Some(info()), problem: None }).await;
    let mut ids: Vec<InstanceId> = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(f.create(new_instance(name)).await.id);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for store in [f.store.clone(), watch.other.clone()] {
        for id in ids.clone() {
            let writer = store.clone();
            tasks.spawn(async move {
                for number in 0..30 {
                    let name = Some(format!("n{number}"));
                    let change = InstanceUpdate { name, ..InstanceUpdate::default() };
                    let written = written(&writer, id, &change).await;
                    let read = writer.instance(id).await.unwrap().unwrap();
                    assert!(read.revision >= written.revision, "read what was before the write");
                }
            });
            let reader = store.clone();
            tasks.spawn(async move {
                let mut last = 0;
                for _ in 0..60 {
                    let page = all(&reader).await;
                    let read = page.iter().find(|server| server.id == id).unwrap();
                    assert!(read.revision >= last, "time went backwards");
                    last = read.revision;
                }
            });
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    watch.agree("all writes").await;
}
