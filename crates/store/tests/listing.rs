//! Listing servers: filters, order, pages.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::collections::BTreeMap;

use common::{Fixture, by, host, image, new_instance, saved, seen};
use reprieve_core::quota::Resource;
use reprieve_core::{InstanceId, Lock, OperationKind as K, PowerState as P, TaskState, VmState};
use reprieve_store::{
    ApiStatus, Deleted, InstanceFilter, InstanceQuery, InstanceUpdate, SortDirection, SortKey,
    StoreError,
};

async fn names(f: &Fixture, filter: InstanceFilter) -> Vec<String> {
    let query = InstanceQuery {
        filter,
        sort: vec![(SortKey::DisplayName, SortDirection::Ascending)],
        marker: None,
        limit: 100,
    };
    let page = f.store.instances(&query).await.unwrap();
    page.instances.into_iter().map(|server| server.name.clone()).collect()
}

#[tokio::test]
async fn statuses_states_and_deletion() {
    let f = Fixture::new().await;
    let mut ids = BTreeMap::new();
    for name in ["active", "gone", "paused", "rebooting", "suspended"] {
        let server = f.create(new_instance(name)).await;
        f.finish(server.active.unwrap().0, server.id, seen(P::Running)).await;
        ids.insert(name, server.id);
    }
    f.building().await;
    f.done(ids["paused"], K::Pause, seen(P::Paused)).await;
    f.done(ids["suspended"], K::Suspend, saved()).await;
    f.done(ids["gone"], K::Delete, seen(P::NoState)).await;
    f.admit(ids["rebooting"], K::RebootSoft).await.unwrap();

    let of = |statuses: &[ApiStatus]| InstanceFilter {
        statuses: statuses.to_vec(),
        ..InstanceFilter::default()
    };
    assert_eq!(names(&f, of(&[ApiStatus::Active])).await, ["active"]);
    assert_eq!(names(&f, of(&[ApiStatus::Reboot])).await, ["rebooting"]);
    assert_eq!(names(&f, of(&[ApiStatus::Build])).await, ["vm1"]);
    assert_eq!(
        names(&f, of(&[ApiStatus::Paused, ApiStatus::Suspended])).await,
        ["paused", "suspended"]
    );
    for none in [ApiStatus::Never, ApiStatus::HardReboot, ApiStatus::Error, ApiStatus::Deleted] {
        assert!(names(&f, of(&[none])).await.is_empty());
    }
    let deleted = InstanceFilter { deleted: Deleted::Only, ..of(&[ApiStatus::Deleted]) };
    assert_eq!(names(&f, deleted).await, ["gone"]);
    let both = InstanceFilter { deleted: Deleted::Include, ..InstanceFilter::default() };
    assert_eq!(names(&f, both).await.len(), 6);
    assert_eq!(names(&f, InstanceFilter::default()).await.len(), 5);

    let states = InstanceFilter { vm_states: vec![VmState::Paused], ..Default::default() };
    assert_eq!(names(&f, states).await, ["paused"]);
    let tasks = vec![Some(TaskState::Rebooting), Some(TaskState::Scheduling)];
    let tasks = InstanceFilter { task_states: tasks, ..Default::default() };
    assert_eq!(names(&f, tasks).await, ["rebooting", "vm1"]);
    let idle = InstanceFilter { task_states: vec![None], ..Default::default() };
    assert_eq!(names(&f, idle).await, ["active", "paused", "suspended"]);
    let power = InstanceFilter { power_state: Some(P::Paused), ..Default::default() };
    assert_eq!(names(&f, power).await, ["paused"]);
}

#[tokio::test]
async fn every_other_filter() {
    let f = Fixture::new().await;
    let mut one = new_instance("web-1");
    one.tags = vec!["a".into(), "b".into()];
    let mut two = new_instance("db.1");
    two.tags = vec!["b".into()];
    two.project_id = "other".into();
    two.user_id = "bob".into();
    two.key_name = None;
    two.metadata = BTreeMap::new();
    two.hostname = "database".into();
    two.config_drive = false;
    two.flavor.flavor_id = "2".into();
    let picture = image();
    two.image = Some(picture.clone());
    let (one, two) = (f.create(one).await, f.create(two).await);
    f.store.set_lock(two.id, Lock::Owner, None, &by()).await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    let list = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();

    let web = [
        InstanceFilter { project_id: Some("demo".into()), ..Default::default() },
        InstanceFilter { user_id: Some("alice".into()), ..Default::default() },
        InstanceFilter { ids: vec![one.id, InstanceId::random()], ..Default::default() },
        InstanceFilter { name: text("^web"), ..Default::default() },
        InstanceFilter { name: text("b-"), ..Default::default() },
        InstanceFilter { hostname: text("^web-1$"), ..Default::default() },
        InstanceFilter { key_name: text("k1"), ..Default::default() },
        InstanceFilter { locked: Some(false), ..Default::default() },
        InstanceFilter { config_drive: Some(true), ..Default::default() },
        InstanceFilter { flavor_id: text("1"), ..Default::default() },
        InstanceFilter { tags: list(&["a", "b"]), ..Default::default() },
        InstanceFilter { tags_any: list(&["a", "z"]), ..Default::default() },
        InstanceFilter { metadata: one.metadata.clone(), ..Default::default() },
        InstanceFilter { changes_before: Some(one.updated_at), ..Default::default() },
    ];
    for filter in web {
        assert_eq!(names(&f, filter.clone()).await, ["web-1"], "{filter:?}");
    }
    let db = [
        InstanceFilter { image: Some(picture.id), ..Default::default() },
        InstanceFilter { name: text("db\\.1"), ..Default::default() },
        InstanceFilter { locked: Some(true), ..Default::default() },
        InstanceFilter { not_tags: list(&["a", "b"]), ..Default::default() },
        InstanceFilter { not_tags_any: list(&["a"]), ..Default::default() },
        InstanceFilter {
            changes_since: Some(f.get(two.id).await.updated_at),
            ..Default::default()
        },
    ];
    for filter in db {
        assert_eq!(names(&f, filter.clone()).await, ["db.1"], "{filter:?}");
    }
    let both = [
        InstanceFilter { host: Some(host()), ..Default::default() },
        InstanceFilter { reservation_id: text("r-12345678"), ..Default::default() },
        InstanceFilter { availability_zone: text("nova"), ..Default::default() },
        InstanceFilter { description: text("a server"), ..Default::default() },
    ];
    for filter in both {
        assert_eq!(names(&f, filter.clone()).await.len(), 2, "{filter:?}");
    }
    for pattern in ["(", "(a{1000}){1000}"] {
        let filter = InstanceFilter { name: text(pattern), ..Default::default() };
        let query = InstanceQuery { filter, limit: 1, ..Default::default() };
        let refused = f.store.instances(&query).await.unwrap_err();
        assert!(matches!(refused, StoreError::BadQuery(_)), "{refused}");
    }
}

/// Pages put together are the whole list, whatever the order and however many values are NULL.
#[tokio::test]
async fn pages_of_any_order_and_size() {
    let f = Fixture::new().await;
    let limits = BTreeMap::from([(Resource::Instances, 11)]);
    f.store.set_quota_limits(&"demo".into(), None, &limits).await.unwrap();
    for index in 0..11 {
        let mut new = new_instance(&format!("vm{}", index % 3));
        new.key_name = (index % 2 == 0).then(|| format!("k{}", index % 4));
        new.launch_index = index;
        let server = f.create(new).await;
        if index % 3 == 0 {
            f.finish(server.active.unwrap().0, server.id, seen(P::Running)).await;
        }
    }
    let keys = [SortKey::KeyName, SortKey::LaunchedAt, SortKey::DisplayName, SortKey::Constant];
    let directions = [SortDirection::Ascending, SortDirection::Descending];
    for key in keys {
        for direction in directions {
            for second in directions {
                let sort = vec![(key, direction), (SortKey::LaunchIndex, second)];
                pages(&f, sort, None).await;
            }
            pages(&f, vec![(key, direction)], Some("vm[01]")).await;
        }
    }
    pages(&f, Vec::new(), None).await;
    let newest = InstanceQuery { limit: 1, ..Default::default() };
    let newest = f.store.instances(&newest).await.unwrap().instances;
    assert_eq!(newest[0].launch_index, 10, "newest first by default");
    let marker = InstanceId::random();
    let query = InstanceQuery { marker: Some(marker), limit: 1, ..Default::default() };
    let refused = f.store.instances(&query).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotFound { what: "marker", .. }), "{refused}");
}

async fn pages(f: &Fixture, sort: Vec<(SortKey, SortDirection)>, name: Option<&str>) {
    let filter = InstanceFilter { name: name.map(ToOwned::to_owned), ..Default::default() };
    let query =
        |marker, limit| InstanceQuery { filter: filter.clone(), sort: sort.clone(), marker, limit };
    let whole: Vec<_> = ids(f, &query(None, 100)).await;
    assert_eq!(whole.len(), if name.is_some() { 8 } else { 11 });
    for size in [1, 2, 5] {
        let mut joined = Vec::new();
        loop {
            let page = ids(f, &query(joined.last().copied(), size)).await;
            if page.is_empty() {
                break;
            }
            joined.extend(page);
        }
        assert_eq!(joined, whole, "{sort:?} in pages of {size}");
    }
}

async fn ids(f: &Fixture, query: &InstanceQuery) -> Vec<InstanceId> {
    let page = f.store.instances(query).await.unwrap();
    page.instances.iter().map(|server| server.id).collect()
}

#[tokio::test]
async fn changes_without_a_host() {
    let f = Fixture::new().await;
    let server = f.active().await;
    assert_eq!(server.tags, ["one", "two"]);
    let change = InstanceUpdate {
        name: Some("new".into()),
        description: Some(None),
        metadata: Some(BTreeMap::new()),
        tags: Some(vec!["z".into(), "a".into(), "z".into()]),
        access_ip_v4: Some(Some("192.0.2.1".into())),
        ..InstanceUpdate::default()
    };
    let changed = f.store.update_instance(server.id, change, &by()).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.description.as_deref()), ("new", None));
    assert!(changed.metadata.is_empty());
    assert_eq!(changed.tags, ["a", "z"]);
    assert_eq!(changed.access_ip_v4.as_deref(), Some("192.0.2.1"));
    assert_eq!(changed.hostname, server.hostname);
    assert!(changed.updated_at > server.updated_at);
    let nobody =
        f.store.update_instance(InstanceId::random(), InstanceUpdate::default(), &by()).await;
    assert!(matches!(nobody, Err(StoreError::NotFound { .. })));
}
