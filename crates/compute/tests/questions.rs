//! What the control plane asks a host outside of operations.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use std::sync::Arc;

use reprieve_core::message::HostResponse;
use reprieve_core::ports::HypervisorError;
use reprieve_core::spec::ImageSpec;
use reprieve_core::{ImageId, InstanceId, OperationKind, PowerReason, PowerState, VmState};
use reprieve_hypervisor::fake::Call;
use support::World;

#[tokio::test]
async fn diagnostics_are_of_guests_that_run() {
    let world = World::new();
    world.run(OperationKind::Create, VmState::Building).await;
    let host = world.boot().await;
    let id = world.spec.id;
    world.fake.advance(7);
    let HostResponse::Diagnostics { stats } = host.diagnostics(id).await else {
        panic!("no diagnostics");
    };
    assert_eq!(stats.cpus.iter().map(|cpu| cpu.time_ns).collect::<Vec<_>>(), [7]);
    assert_eq!(stats.disks.iter().map(|disk| disk.device.as_str()).collect::<Vec<_>>(), ["disk"]);

    world.fake.set_power(id, PowerState::Paused, PowerReason::User);
    let paused = HostResponse::NotRunning { power: PowerState::Paused };
    assert_eq!(host.diagnostics(id).await, paused);
    let unknown = HostResponse::NotRunning { power: PowerState::NoState };
    assert_eq!(host.diagnostics(InstanceId::random()).await, unknown);

    world.fake.set_power(id, PowerState::Running, PowerReason::Unpaused);
    let error = HypervisorError::Failed { call: "stats", message: "no".into() };
    world.fake.fail_next(Call::Stats, error.clone());
    let failed = HostResponse::Failed { message: error.to_string() };
    assert_eq!(host.diagnostics(id).await, failed);
    world.fake.set_disconnected(Some("gone"));
    let away = host.diagnostics(id).await;
    assert!(matches!(away, HostResponse::Failed { .. }), "{away:?}");
}

#[tokio::test]
async fn images_are_fetched_before_they_are_needed() {
    let world = World::new();
    let host = Arc::new(world.boot().await);
    let missing = ImageSpec { id: ImageId::random(), ..world.spec.image.clone() };
    let wanted = vec![missing, world.spec.image.clone()];
    assert_eq!(host.cache.lookup(&world.spec.image).await.unwrap(), None);
    Arc::clone(&host).cache_images(wanted).await;
    assert!(host.cache.lookup(&world.spec.image).await.unwrap().is_some(), "the other one is not");
}
