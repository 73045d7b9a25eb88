//! What administrators say about hosts, and the aggregates they are in.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::collections::BTreeMap;

use common::{Fixture, host, new_instance};
use reprieve_core::{HostName, OperationKind, PowerState};
use reprieve_store::{
    AggregateError, AggregateUpdate, HostRemoval, HostUpdate, InstanceUpdate, NewAggregate,
    StoreError, ZONE,
};

const DEFAULT: &str = "nova";

impl Fixture {
    async fn aggregate(&self, name: &str, zone: Option<&str>) -> i64 {
        let new = NewAggregate { name: name.into(), zone: zone.map(str::to_owned) };
        self.store.create_aggregate(new).await.unwrap().number
    }

    async fn change(&self, number: i64, change: AggregateUpdate) -> Result<(), AggregateError> {
        self.store.update_aggregate(number, change, DEFAULT).await.map(drop)
    }
}

fn set_zone(zone: Option<&str>) -> AggregateUpdate {
    let metadata = BTreeMap::from([(ZONE.to_owned(), zone.map(str::to_owned))]);
    AggregateUpdate::Values { name: None, metadata }
}

#[tokio::test]
async fn a_restart_of_a_host_changes_nothing_that_was_said_about_it() {
    let f = Fixture::new().await;
    let change = HostUpdate {
        enabled: Some(false),
        disabled_reason: Some(Some("old".into())),
        forced_down: Some(true),
    };
    let said = f.store.update_host(&host(), change).await.unwrap();
    assert!(!said.is_up(said.last_seen), "whatever it says itself");
    assert!(said.is_alive(said.last_seen));
    assert_eq!(said.updated_at(), said.changed_at.unwrap());
    f.store.register_host(&host(), "boot-2").await.unwrap();
    let after = f.store.host(&host()).await.unwrap().unwrap();
    assert_eq!((after.enabled, after.forced_down, after.number), (false, true, 1));
    assert_eq!(after.disabled_reason.as_deref(), Some("old"));
    assert!(after.updated_at() > said.updated_at());
    let second = HostName::from("second");
    f.store.register_host(&second, "boot").await.unwrap();
    assert_eq!(f.store.host(&second).await.unwrap().unwrap().number, 2);
    let nothing = HostUpdate::default();
    let missing = f.store.update_host(&"x".into(), nothing).await.unwrap_err();
    assert!(matches!(missing, StoreError::NotFound { .. }), "{missing}");
}

#[tokio::test]
async fn only_hosts_without_servers_are_forgotten() {
    let f = Fixture::new().await;
    let server = f.active().await;
    let aggregate = f.aggregate("a", None).await;
    f.change(aggregate, AggregateUpdate::AddHost(host())).await.unwrap();
    assert_eq!(f.store.remove_host(&host()).await.unwrap(), HostRemoval::Occupied);
    f.done(server.id, OperationKind::Delete, common::seen(PowerState::NoState)).await;
    assert_eq!(f.store.remove_host(&host()).await.unwrap(), HostRemoval::Removed);
    assert_eq!(f.store.hosts().await.unwrap(), []);
    let left = f.store.aggregate(aggregate).await.unwrap().unwrap();
    assert_eq!(left.hosts, []);
    let again = f.store.remove_host(&host()).await.unwrap_err();
    assert!(matches!(again, StoreError::NotFound { .. }), "{again}");
    f.store.register_host(&host(), "boot-1").await.unwrap();
    assert_eq!(f.store.host(&host()).await.unwrap().unwrap().number, 2);
}

#[tokio::test]
async fn a_host_is_in_one_zone_at_most() {
    let f = Fixture::new().await;
    let one = f.aggregate("one", Some("z")).await;
    let two = f.aggregate("two", Some("z")).await;
    let three = f.aggregate("three", Some("y")).await;
    let four = f.aggregate("four", None).await;
    for number in [one, two, four] {
        f.change(number, AggregateUpdate::AddHost(host())).await.unwrap();
    }
    let added = f.change(three, AggregateUpdate::AddHost(host())).await.unwrap_err();
    assert!(matches!(&added, AggregateError::OtherZones(zones) if *zones == ["z"]), "{added}");
    let zoned = f.change(four, set_zone(Some("x"))).await.unwrap_err();
    assert!(matches!(&zoned, AggregateError::OtherZones(zones) if *zones == ["z"]), "{zoned}");
    f.change(one, set_zone(None)).await.unwrap();
    f.change(two, set_zone(Some("w"))).await.unwrap();
    assert_eq!(f.store.aggregate(two).await.unwrap().unwrap().zone(), Some("w"));
    assert_eq!(f.store.aggregate(three).await.unwrap().unwrap().hosts, []);
}

#[tokio::test]
async fn a_host_with_servers_keeps_its_zone() {
    let f = Fixture::new().await;
    let one = f.aggregate("one", Some("z")).await;
    let two = f.aggregate("two", Some("z")).await;
    f.change(one, AggregateUpdate::AddHost(host())).await.unwrap();
    let server = f.create(new_instance("s")).await;
    for change in [AggregateUpdate::RemoveHost(host()), set_zone(None), set_zone(Some("y"))] {
        let refused = f.change(one, change).await.unwrap_err();
        assert!(matches!(refused, AggregateError::ZoneInUse), "{refused}");
    }
    // Another aggregate keeps it in the zone.
    f.change(two, AggregateUpdate::AddHost(host())).await.unwrap();
    f.change(one, AggregateUpdate::RemoveHost(host())).await.unwrap();
    f.finish(server.active.unwrap().0, server.id, common::seen(PowerState::Running)).await;
    f.done(server.id, OperationKind::Delete, common::seen(PowerState::NoState)).await;
    f.change(two, AggregateUpdate::RemoveHost(host())).await.unwrap();
}

#[tokio::test]
async fn the_zone_that_was_asked_for_is_kept() {
    let f = Fixture::new().await;
    let mut new = new_instance("s");
    new.requested_zone = Some("z".into());
    let server = f.create(new).await;
    assert_eq!(f.get(server.id).await.requested_zone.as_deref(), Some("z"));
    let change = InstanceUpdate { requested_zone: Some(None), ..InstanceUpdate::default() };
    let changed = f.store.update_instance(server.id, change, &common::by()).await.unwrap();
    assert_eq!(changed.requested_zone, None);
    let other = InstanceUpdate { name: Some("n".into()), ..InstanceUpdate::default() };
    assert_eq!(
        f.store.update_instance(server.id, other, &common::by()).await.unwrap().requested_zone,
        None
    );
}
