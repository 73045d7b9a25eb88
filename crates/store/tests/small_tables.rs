//! Flavors, key pairs, hosts and what they carry.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Fixture, host, info};
use reprieve_core::message::ReportBody;
use reprieve_core::{Clock as _, UserId};
use reprieve_store::{FlavorQuery, HostUsage, NewFlavor, NewKeypair, StoreError, Usage};

fn flavor(flavor_id: &str, name: &str, memory_mib: u64, is_public: bool) -> NewFlavor {
    NewFlavor {
        flavor_id: flavor_id.into(),
        name: name.into(),
        vcpus: 1,
        memory_mib,
        root_gib: memory_mib / 512,
        ephemeral_gib: 0,
        swap_mib: 0,
        rxtx_factor: 1.0,
        is_public,
        description: None,
    }
}

#[tokio::test]
async fn flavors() {
    let f = Fixture::new().await;
    f.store.create_flavor(flavor("1", "tiny", 512, true)).await.unwrap();
    f.store.create_flavor(flavor("2", "small", 2048, true)).await.unwrap();
    f.store.create_flavor(flavor("x", "secret", 512, false)).await.unwrap();
    let taken = f.store.create_flavor(flavor("3", "tiny", 512, true)).await.unwrap_err();
    assert!(matches!(taken, StoreError::Exists { what: "flavor name", .. }), "{taken}");
    let taken = f.store.create_flavor(flavor("2", "other", 512, true)).await.unwrap_err();
    assert!(matches!(taken, StoreError::Exists { what: "flavor id", .. }), "{taken}");

    let names = async |query: FlavorQuery| -> Vec<String> {
        let found = f.store.flavors(&query).await.unwrap();
        found.into_iter().map(|flavor| flavor.name).collect()
    };
    let all = FlavorQuery::default;
    assert_eq!(names(all()).await, ["tiny", "small", "secret"]);
    assert_eq!(names(FlavorQuery { is_public: Some(false), ..all() }).await, ["secret"]);
    assert_eq!(names(FlavorQuery { min_memory_mib: Some(1024), ..all() }).await, ["small"]);
    assert_eq!(names(FlavorQuery { min_root_gib: Some(2), ..all() }).await, ["small"]);
    let called = |name: &str| FlavorQuery { name: Some(name.into()), ..all() };
    assert_eq!(names(called("s")).await, ["small", "secret"]);
    assert_eq!(names(called("l$")).await, ["small"]);
    assert!(matches!(f.store.flavors(&called("(")).await, Err(StoreError::BadQuery(_))));
    let page = FlavorQuery { marker: Some("1".into()), limit: Some(1), ..all() };
    assert_eq!(names(page).await, ["small"]);
    let lost = FlavorQuery { marker: Some("9".into()), ..all() };
    assert!(matches!(f.store.flavors(&lost).await, Err(StoreError::NotFound { .. })));
    let mine = || FlavorQuery { visible_to: Some("demo".into()), ..all() };
    assert_eq!(names(mine()).await, ["tiny", "small"]);
    f.store.set_flavor_access("x", vec!["demo".into()]).await.unwrap();
    assert_eq!(names(mine()).await, ["tiny", "small", "secret"]);

    let specs = BTreeMap::from([("hw:cpu_policy".to_owned(), "shared".to_owned())]);
    let changed = f.store.set_flavor_specs("x", specs.clone()).await.unwrap();
    assert_eq!(changed.snapshot().extra_specs, specs);
    let described = f.store.describe_flavor("x", Some("words".into())).await.unwrap();
    assert_eq!(described.description.as_deref(), Some("words"));
    assert!(described.updated_at.is_some());
    f.store.delete_flavor("x").await.unwrap();
    assert!(f.store.flavor("x").await.unwrap().is_none());
    assert!(matches!(f.store.delete_flavor("x").await, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn key_pairs_belong_to_users() {
    let f = Fixture::new().await;
    let new = |user: &str| NewKeypair {
        user_id: user.into(),
        name: "k1".into(),
        kind: "ssh".into(),
        public_key: "ssh-ed25519 AAAA".into(),
        fingerprint: "aa:bb".into(),
    };
    let first = f.store.create_keypair(new("alice"), &"demo".into()).await.unwrap();
    let second = f.store.create_keypair(new("bob"), &"demo".into()).await.unwrap();
    assert_eq!((first.number, second.number), (1, 2));
    let taken = f.store.create_keypair(new("alice"), &"demo".into()).await.unwrap_err();
    assert!(matches!(taken, StoreError::Exists { .. }), "{taken}");
    let alice = UserId::from("alice");
    assert_eq!(f.store.keypairs(&alice).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(f.store.keypair(&alice, "k1").await.unwrap(), Some(first));
    f.store.delete_keypair(&alice, "k1").await.unwrap();
    assert!(f.store.keypair(&alice, "k1").await.unwrap().is_none());
    assert!(matches!(f.store.delete_keypair(&alice, "k1").await, Err(StoreError::NotFound { .. })));
    let third = f.store.create_keypair(new("alice"), &"demo".into()).await.unwrap();
    assert_eq!(third.number, 3, "numbers are not given out twice");
}

#[tokio::test]
async fn hosts_are_up_while_they_speak_and_reach_their_hypervisor() {
    let f = Fixture::new().await;
    let up = async || {
        let record = f.store.host(&host()).await.unwrap().unwrap();
        (record.is_alive(f.clock.now()), record.is_up(f.clock.now()))
    };
    assert_eq!(up().await, (true, true));
    let problem = Some("libvirtd does not answer".to_owned());
    f.report(ReportBody::Heartbeat { host: None, problem }).await;
    assert_eq!(up().await, (true, false));
    let record = f.store.hosts().await.unwrap().remove(0);
    assert_eq!(record.info, Some(info()), "what it offered is kept");
    f.report(ReportBody::Heartbeat { host: Some(info()), problem: None }).await;
    assert_eq!(up().await, (true, true));
    f.clock.advance(Duration::from_secs(61));
    assert_eq!(up().await, (false, false));
}

#[tokio::test]
async fn what_servers_take() {
    let f = Fixture::new().await;
    let none = f.store.usage_of_project(&"demo".into()).await.unwrap();
    assert_eq!(none, Usage::default());
    f.building().await;
    let server = f.active().await;
    let two = Usage { instances: 2, vcpus: 2, memory_mib: 1024, root_gib: 2 };
    assert_eq!(f.store.usage_of_project(&"demo".into()).await.unwrap(), two);
    let on_it =
        HostUsage { instances: 2, vcpus: 2, memory_mib: 1024, root_gib: 2, busy: 1, running: 1 };
    assert_eq!(f.store.usage_of_hosts().await.unwrap(), BTreeMap::from([(host(), on_it)]));
    f.done(
        server.id,
        reprieve_core::OperationKind::Delete,
        common::seen(reprieve_core::PowerState::NoState),
    )
    .await;
    assert_eq!(f.store.usage_of_project(&"demo".into()).await.unwrap().instances, 1);
}
