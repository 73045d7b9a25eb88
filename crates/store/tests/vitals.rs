//! What watchers are told of the tables.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::time::Duration;

use common::*;
use reprieve_core::message::{OperationResult, ReportBody};
use reprieve_core::{OperationKind as K, PowerState as P};
use reprieve_store::{HostState, HostUpdate, OperationState};

#[tokio::test]
async fn vitals_tell_what_waits_and_for_how_long() {
    let f = Fixture::new().await;
    let nothing = f.store.vitals().await.unwrap();
    assert_eq!((nothing.operations.len(), nothing.outbox.count), (0, 0));
    assert_eq!((nothing.outbox.oldest, nothing.oldest_waiting()), (None, None));
    f.store.hold_notification_reader("rabbitmq", "me").await.unwrap();

    let (one, two) = (f.active().await.id, f.active().await.id);
    let running = f.admit(one, K::Suspend).await.unwrap().operation.unwrap().id;
    f.store.claim(10).await.unwrap();
    f.report(ReportBody::Accepted { operation_id: running }).await;
    f.admit(two, K::Suspend).await.unwrap();
    f.clock.advance(Duration::from_secs(5));
    let vitals = f.store.vitals().await.unwrap();
    let mut told: Vec<_> =
        vitals.operations.iter().map(|group| (group.kind, group.state, group.count)).collect();
    told.sort_by_key(|(_, state, _)| *state);
    let pending = (K::Suspend, OperationState::Pending, 1);
    assert_eq!(told, [pending, (K::Suspend, OperationState::Running, 1)]);
    let waits = vitals.at.micros() - vitals.oldest_waiting().unwrap().micros();
    assert!((5_000_000..6_000_000).contains(&waits), "{waits}");
    assert_eq!(vitals.outbox.count, 1);
    let [reader] = vitals.readers.as_slice() else { panic!("{:?}", vitals.readers) };
    assert!(reader.backlog.count > 0 && reader.backlog.oldest.is_some(), "{reader:?}");

    let loads = f.store.host_loads().await.unwrap();
    let load = &loads[&host()];
    assert_eq!((load.servers["active"], load.operations), (2, 2));
    f.end(running, one, OperationResult::Cancelled, seen(P::Running)).await;
    assert_eq!(f.store.host_loads().await.unwrap()[&host()].operations, 1);
}

#[tokio::test]
async fn hosts_are_up_suspect_or_down() {
    let f = Fixture::new().await;
    let state = async || {
        let vitals = f.store.vitals().await.unwrap();
        vitals.hosts[0].state(vitals.at)
    };
    assert_eq!(state().await, HostState::Up);
    f.clock.advance(Duration::from_secs(26));
    assert_eq!(state().await, HostState::Suspect);
    f.clock.advance(Duration::from_secs(35));
    assert_eq!(state().await, HostState::Down);
    f.report(ReportBody::Heartbeat { host: Some(info()), problem: None }).await;
    assert_eq!(state().await, HostState::Up);
    let problem = Some("libvirt is away".to_owned());
    f.report(ReportBody::Heartbeat { host: None, problem }).await;
    assert_eq!(state().await, HostState::Down);
    f.report(ReportBody::Heartbeat { host: Some(info()), problem: None }).await;
    let down = HostUpdate { forced_down: Some(true), ..HostUpdate::default() };
    f.store.update_host(&host(), down).await.unwrap();
    assert_eq!(state().await, HostState::Down);
}
