//! Quotas and server groups: what the store enforces while many write at once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::collections::BTreeMap;

use common::{Fixture, by, host, new_instance, seen};
use reprieve_core::group::GroupPolicy;
use reprieve_core::quota::Resource;
use reprieve_core::spec::InjectedFile;
use reprieve_core::{OperationKind, PowerState, ProjectId, ServerGroupId, UserId};
use reprieve_store::{NewInstance, NewServerGroup, ServerGroupRecord, StoreError, UsageQuery};
use tokio::task::JoinSet;

fn demo() -> ProjectId {
    "demo".into()
}

fn alice() -> UserId {
    "alice".into()
}

async fn limit(f: &Fixture, user: Option<&UserId>, limits: &[(Resource, i64)]) {
    let limits: BTreeMap<Resource, i64> = limits.iter().copied().collect();
    f.store.set_quota_limits(&demo(), user, &limits).await.unwrap();
}

/// Whatever the order in which requests arrive, a quota holds for all of them together.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_creates_do_not_exceed_a_quota() {
    let f = Fixture::new().await;
    limit(&f, None, &[(Resource::Instances, 5)]).await;
    let mut racing = JoinSet::new();
    for _ in 0..20 {
        let store = f.store.clone();
        racing.spawn(async move { store.create_instances(vec![new_instance("vm")], &by()).await });
    }
    let (mut made, mut refused) = (0, 0);
    while let Some(result) = racing.join_next().await {
        match result.unwrap() {
            Ok(servers) => made += servers.len(),
            Err(StoreError::OverQuota(over)) => {
                assert_eq!(
                    over.to_string(),
                    "Quota exceeded for instances: Requested 1, but already used 5 of 5 instances"
                );
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((made, refused), (5, 15));
    assert_eq!(f.store.quota_use(&demo(), None).await.unwrap().servers.instances, 5);
}

#[tokio::test]
async fn deleted_servers_make_room_and_other_projects_do_not_count() {
    let f = Fixture::new().await;
    limit(&f, None, &[(Resource::Instances, 1)]).await;
    let server = f.active().await;
    let refused = f.store.create_instances(vec![new_instance("b")], &by()).await.unwrap_err();
    assert!(matches!(refused, StoreError::OverQuota(_)), "{refused}");
    let mut other = new_instance("c");
    other.project_id = "another".into();
    f.create(other).await;
    f.done(server.id, OperationKind::Delete, seen(PowerState::NoState)).await;
    f.create(new_instance("b")).await;
}

#[tokio::test]
async fn limits_of_user_project_class_and_resource() {
    let f = Fixture::new().await;
    let get = async |user: Option<&UserId>| {
        let limits = f.store.quota_limits(&demo(), user).await.unwrap();
        (limits.get(Resource::Instances), limits.get(Resource::Ram))
    };
    assert_eq!(get(None).await, (10, 51_200));
    let class = BTreeMap::from([(Resource::Instances, 7)]);
    f.store.set_class_limits("default", &class).await.unwrap();
    f.store.set_class_limits("gold", &BTreeMap::from([(Resource::Ram, 1)])).await.unwrap();
    assert_eq!(get(None).await, (7, 51_200));
    assert_eq!(f.store.default_limits().await.unwrap().get(Resource::Instances), 7);
    assert_eq!(f.store.class_limits("gold").await.unwrap().get(Resource::Instances), 10);
    limit(&f, None, &[(Resource::Instances, 5)]).await;
    limit(&f, Some(&alice()), &[(Resource::Instances, 2), (Resource::Ram, -1)]).await;
    assert_eq!(get(None).await, (5, 51_200));
    assert_eq!(get(Some(&alice())).await, (2, -1));
    let promised = f.store.limits_of_users(&demo()).await.unwrap();
    assert_eq!(promised, BTreeMap::from([(Resource::Instances, 2), (Resource::Ram, 0)]));

    // Two of alice's, then one of bob's: hers are used up, the project's are not.
    f.create(new_instance("a")).await;
    f.create(new_instance("b")).await;
    let refused = f.store.create_instances(vec![new_instance("c")], &by()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Quota exceeded for instances: Requested 1, but already used 2 of 2 instances"
    );
    let of_bob = NewInstance { user_id: "bob".into(), ..new_instance("c") };
    f.create(of_bob).await;
    assert_eq!(f.store.quota_use(&demo(), Some(&alice())).await.unwrap().servers.instances, 2);

    f.store.clear_quota_limits(&demo(), Some(&alice())).await.unwrap();
    assert_eq!(get(Some(&alice())).await, (5, 51_200));
    f.store.clear_quota_limits(&demo(), None).await.unwrap();
    assert_eq!(get(None).await, (7, 51_200));
}

fn new_group(policy: GroupPolicy) -> NewServerGroup {
    NewServerGroup {
        project_id: demo(),
        user_id: alice(),
        name: "g".into(),
        policy,
        max_per_host: Some(3),
    }
}

fn member(name: &str, group: &ServerGroupRecord) -> NewInstance {
    NewInstance { group: Some(group.id), ..new_instance(name) }
}

#[tokio::test]
async fn groups_have_members_until_one_of_them_is_deleted() {
    let f = Fixture::new().await;
    let group = f.store.create_server_group(new_group(GroupPolicy::AntiAffinity)).await.unwrap();
    let read = async || f.store.server_group(group.id).await.unwrap();
    assert_eq!(read().await, Some(group.clone()));
    let server = f.create(member("a", &group)).await;
    assert_eq!(server.server_group, Some(group.id));
    let now = read().await.unwrap();
    assert_eq!(now.members.len(), 1);
    assert_eq!(now.members[0].id, server.id);
    assert_eq!(now.members[0].host, Some(host()));
    assert_eq!(f.store.server_groups(Some(&demo())).await.unwrap(), std::slice::from_ref(&now));
    assert!(f.store.server_groups(Some(&"another".into())).await.unwrap().is_empty());

    // Who chooses a host for the next one knows of the first.
    let new = vec![member("b", &group)];
    let mut known = Vec::new();
    let by = by();
    let chosen = f.store.create_chosen(new, &by, |situation, _| {
        known = situation.group.as_ref().unwrap().members.clone();
    });
    let second = chosen.await.unwrap().remove(0);
    assert_eq!(known, now.members);
    f.finish(second.active.unwrap().0, second.id, seen(PowerState::Running)).await;
    f.done(second.id, OperationKind::Delete, seen(PowerState::NoState)).await;
    assert_eq!(read().await.unwrap().members, now.members);

    f.store.delete_server_group(group.id).await.unwrap();
    assert_eq!(read().await, None);
    assert_eq!(f.get(server.id).await.server_group, None);
    let gone = f.store.create_instances(vec![member("c", &now)], &by).await.unwrap_err();
    assert!(matches!(gone, StoreError::NotFound { what: "server group", .. }), "{gone}");
    let gone = f.store.delete_server_group(ServerGroupId::random()).await.unwrap_err();
    assert!(matches!(gone, StoreError::NotFound { .. }), "{gone}");
}

#[tokio::test]
async fn groups_and_their_members_have_quotas() {
    let f = Fixture::new().await;
    limit(&f, None, &[(Resource::ServerGroups, 1), (Resource::ServerGroupMembers, 1)]).await;
    let group = f.store.create_server_group(new_group(GroupPolicy::Affinity)).await.unwrap();
    let more = f.store.create_server_group(new_group(GroupPolicy::Affinity)).await.unwrap_err();
    assert!(matches!(more, StoreError::QuotaReached(Resource::ServerGroups)), "{more}");
    assert_eq!(f.store.quota_use(&demo(), None).await.unwrap().server_groups, 1);
    f.create(member("a", &group)).await;
    let group = f.store.server_group(group.id).await.unwrap().unwrap();
    let more = f.store.create_instances(vec![member("b", &group)], &by()).await.unwrap_err();
    assert!(matches!(more, StoreError::QuotaReached(Resource::ServerGroupMembers)), "{more}");
    // It is a quota of users: another one's servers do not count.
    f.create(NewInstance { user_id: "bob".into(), ..member("b", &group) }).await;
}

#[tokio::test]
async fn hints_stay_and_files_go_when_the_server_is_built() {
    let f = Fixture::new().await;
    let hints = BTreeMap::from([("x".to_owned(), serde_json::json!(["y"]))]);
    let files = vec![InjectedFile { path: "/etc/motd".into(), contents: "aGk=".into() }];
    let new = NewInstance {
        scheduler_hints: hints.clone(),
        injected_files: files.clone(),
        ..new_instance("a")
    };
    let server = f.create(new).await;
    assert_eq!(server.scheduler_hints, hints);
    let sent = f.store.claim(1).await.unwrap().remove(0);
    assert_eq!(sent.operation.args.injected_files, files);
    assert!(!format!("{:?}", sent.operation).contains("aGk="), "contents stay out of logs");
    let operation = server.active.unwrap().0;
    f.finish(operation, server.id, seen(PowerState::Running)).await;
    let ended = f.store.operation(operation).await.unwrap().unwrap();
    assert!(ended.args.injected_files.is_empty());
    assert_eq!(f.get(server.id).await.scheduler_hints, hints);
}

#[tokio::test]
async fn servers_of_a_period() {
    let f = Fixture::new().await;
    let begin = f.store.now();
    let first = f.active().await;
    let second = f.active().await;
    f.building().await;
    f.done(second.id, OperationKind::Delete, seen(PowerState::NoState)).await;
    let end = f.store.now();
    let query =
        |begin, end| UsageQuery { begin, end, project_id: Some(demo()), marker: None, limit: 10 };
    let ids = async |query: UsageQuery| -> Vec<_> {
        let found = f.store.servers_in_period(&query).await.unwrap();
        found.into_iter().map(|server| server.id).collect()
    };
    let mut both = [first.id, second.id];
    both.sort_by_key(ToString::to_string);
    assert_eq!(ids(query(begin, end)).await, both);
    assert_eq!(ids(query(end, f.store.now())).await, [first.id]);
    assert!(ids(query(begin, begin)).await.is_empty(), "nothing ran then");
    let page = UsageQuery { limit: 1, ..query(begin, end) };
    assert_eq!(ids(page).await, both[..1]);
    let next = UsageQuery { marker: Some(both[0]), project_id: None, ..query(begin, end) };
    assert_eq!(ids(next).await, both[1..]);
    let lost = reprieve_core::InstanceId::random();
    let lost = UsageQuery { marker: Some(lost), ..query(begin, end) };
    let refused = f.store.servers_in_period(&lost).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotFound { .. }), "{refused}");
}
