//! A store in a temporary directory, with a clock that tests move, a registered host, and reports.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

pub mod place;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reprieve_core::conclude::{Observation, SavedMemory};
use reprieve_core::message::{HostInfo, OperationArgs, OperationResult, Report, ReportBody};
use reprieve_core::spec::{DiskFormat, ImageSpec};
use reprieve_core::{
    Caller, Clock, Fault, HostName, ImageId, InstanceId, OperationId, OperationKind, PowerReason,
    PowerState, RequestId, SealingKey, Timestamp, VmState,
};
use reprieve_store::{
    Admitted, ApplyOutcome, Condition, DiskConfig, FlavorSnapshot, HandOver, InstanceRecord,
    NewAction, NewInstance, NewOperation, Placement, Store, StoreError,
};

pub use place::Place;

/// A clock that only tests move.
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    /// A microsecond passes with every look, so that no two rows are of the same time.
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

pub struct Fixture {
    pub place: Place,
    pub clock: Arc<TestClock>,
    pub store: Store,
    pub epoch: i64,
    sequence: AtomicI64,
}

pub const HOST: &str = "vm";

pub fn host() -> HostName {
    HOST.into()
}

pub fn by() -> NewAction {
    NewAction {
        request_id: RequestId::random(),
        user_id: "alice".into(),
        project_id: "demo".into(),
    }
}

impl Fixture {
    /// A fresh store with one registered host.
    pub async fn new() -> Self {
        let place = Place::new().await;
        let clock = Arc::new(TestClock(AtomicI64::new(1_787_307_340_000_000)));
        let store = Store::open_with_clock(place.location(), clock.clone()).await.unwrap();
        let registration = store.register_host(&host(), "boot-1").await.unwrap();
        let sequence = AtomicI64::new(0);
        let fixture = Self { place, clock, store, epoch: registration.epoch, sequence };
        fixture.report(ReportBody::Heartbeat { host: Some(info()), problem: None }).await;
        fixture
    }

    /// The same database opened again, as after a crash of the daemon.
    pub async fn reopen(&mut self) {
        self.store = self.another_process().await;
    }

    /// The same database as another process sees it, if the database is for several.
    pub async fn another_process(&self) -> Store {
        Store::open_with_clock(self.place.location(), self.clock.clone()).await.unwrap()
    }

    pub fn next_report(&self, body: ReportBody) -> Report {
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst) + 1;
        Report { host: host(), epoch: self.epoch, sequence, at: Timestamp::from_micros(1), body }
    }

    pub async fn report(&self, body: ReportBody) -> ApplyOutcome {
        self.apply(&self.next_report(body)).await
    }

    pub async fn apply(&self, report: &Report) -> ApplyOutcome {
        self.store.apply(std::slice::from_ref(report)).await.unwrap().remove(0)
    }

    pub async fn get(&self, id: InstanceId) -> InstanceRecord {
        self.store.instance(id).await.unwrap().unwrap()
    }

    /// A server whose create operation is recorded.
    pub async fn building(&self) -> InstanceRecord {
        self.create(new_instance("vm1")).await
    }

    pub async fn create(&self, new: NewInstance) -> InstanceRecord {
        self.store.create_instances(vec![new], &by()).await.unwrap().remove(0)
    }

    /// A server that runs.
    pub async fn active(&self) -> InstanceRecord {
        let server = self.building().await;
        let operation = server.active.unwrap().0;
        self.finish(operation, server.id, seen(PowerState::Running)).await;
        self.get(server.id).await
    }

    pub async fn admit(&self, id: InstanceId, kind: OperationKind) -> Result<Admitted, StoreError> {
        self.store.admit(operation(id, kind)).await
    }

    /// Admits and carries out an operation.
    pub async fn done(&self, id: InstanceId, kind: OperationKind, after: Observation) {
        let admitted = self.admit(id, kind).await.unwrap();
        self.finish(admitted.operation.unwrap().id, id, after).await;
    }

    pub async fn finish(
        &self,
        operation: OperationId,
        id: InstanceId,
        seen: Observation,
    ) -> ApplyOutcome {
        self.end(operation, id, OperationResult::Succeeded, seen).await
    }

    pub async fn fail(
        &self,
        operation: OperationId,
        id: InstanceId,
        seen: Observation,
    ) -> ApplyOutcome {
        let fault = Fault::new(500, "no", "no: because");
        let result = OperationResult::Failed { fault, needs_attention: false };
        self.end(operation, id, result, seen).await
    }

    pub async fn end(
        &self,
        operation_id: OperationId,
        instance_id: InstanceId,
        result: OperationResult,
        seen: Observation,
    ) -> ApplyOutcome {
        let done = Vec::new();
        self.report(ReportBody::Finished { operation_id, instance_id, result, seen, done }).await
    }
}

pub fn operation(id: InstanceId, kind: OperationKind) -> NewOperation {
    NewOperation {
        instance_id: id,
        kind,
        args: OperationArgs::default(),
        deadline: None,
        caller: Caller { is_admin: false },
        by: by(),
        hand_over: HandOver::Dispatcher,
        condition: Condition::default(),
    }
}

pub fn seen(power: PowerState) -> Observation {
    let reason = match power {
        PowerState::Paused => PowerReason::User,
        _ => PowerReason::Unknown,
    };
    Observation { power, reason, rescue_stashed: false, saved: SavedMemory::None }
}

pub fn saved() -> Observation {
    Observation { saved: SavedMemory::Valid, ..seen(PowerState::Shutdown) }
}

pub fn rescued() -> Observation {
    Observation { rescue_stashed: true, ..seen(PowerState::Running) }
}

pub fn info() -> HostInfo {
    HostInfo {
        hypervisor_hostname: HOST.into(),
        hypervisor_type: "QEMU".into(),
        hypervisor_version: 7_002_000,
        vcpus: 4,
        memory_mib: 8192,
        disk_gib: 100,
        disk_free_gib: 90,
        kvm: false,
        cpu_info: String::new(),
        host_ip: "127.0.0.1".into(),
        uptime: String::new(),
        agent_version: String::new(),
        unknown_guests: Vec::new(),
    }
}

pub fn image() -> ImageSpec {
    ImageSpec {
        id: ImageId::random(),
        name: "tiny".into(),
        format: DiskFormat::Qcow2,
        size_bytes: 15 << 20,
        sha512: "ab".repeat(64),
        properties: BTreeMap::new(),
    }
}

pub fn new_instance(name: &str) -> NewInstance {
    let id = InstanceId::random();
    NewInstance {
        id,
        project_id: "demo".into(),
        user_id: "alice".into(),
        name: name.into(),
        description: Some("a server".into()),
        hostname: name.into(),
        image: Some(image()),
        flavor: FlavorSnapshot {
            flavor_id: "1".into(),
            name: "m1.tiny".into(),
            vcpus: 1,
            memory_mib: 512,
            root_gib: 1,
            ephemeral_gib: 0,
            swap_mib: 0,
            extra_specs: BTreeMap::new(),
        },
        metadata: BTreeMap::from([("role".into(), "db".into())]),
        tags: vec!["two".into(), "one".into()],
        key_name: Some("k1".into()),
        public_keys: BTreeMap::from([("k1".into(), "ssh-ed25519 AAAA".into())]),
        user_data: Some("IyE=".into()),
        admin_password: Some(SealingKey::new([1; 32]).seal(id, "s3cret").unwrap()),
        config_drive: true,
        availability_zone: "nova".into(),
        requested_zone: None,
        scheduled_on: "conductor".into(),
        placement: Placement::Host(host()),
        reservation_id: "r-12345678".into(),
        launch_index: 0,
        disk_config: DiskConfig::Manual,
        access_ip_v4: None,
        access_ip_v6: None,
        group: None,
        scheduler_hints: BTreeMap::new(),
        injected_files: Vec::new(),
    }
}

pub fn state(server: &InstanceRecord) -> (VmState, Option<&'static str>) {
    (server.vm_state, server.task_state.map(reprieve_core::TaskState::as_str))
}
