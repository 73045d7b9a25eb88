//! A whole control plane without a compute host: the real router, the real store, two users, and a
//! host that reports whatever the test wants.

#![allow(dead_code, reason = "no test needs all of it")]

mod backends;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use reprieve_control::app::identity::{self, Identity};
use reprieve_control::app::images::{
    ContainerFormat, ImageData, ImageRecord, ImageStatus, Visibility,
};
use reprieve_control::http::audit::Audit;
use reprieve_control::{Control, Settings, http};
use reprieve_core::conclude::{Observation, SavedMemory};
use reprieve_core::message::{HostInfo, OperationResult, Report, ReportBody};
use reprieve_core::policy::Policy;
use reprieve_core::quota::{Resource, UNLIMITED};
use reprieve_core::spec::DiskFormat;
use reprieve_core::{
    Clock, HostName, InstanceId, OperationKind, PowerReason, PowerState, ProjectId, SealingKey,
    SystemClock, UserId,
};
use reprieve_store::identity::{ProjectRecord, UserRecord};
use reprieve_store::{InstanceQuery, NewFlavor, OperationRecord, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tower::ServiceExt as _;

/// Ids as in the recordings, so that what is derived from them (`hostId`) is the same.
pub const PROJECT: &str = "7d5299e8d2bb46d39588f33bd792a1fd";
pub const USER: &str = "639a62a3cbdf4ae1bc152163ba571d21";
pub const IMAGE: &str = "3770e010-6cdc-4db6-a78b-a7add665bb8b";
pub const HOST: &str = "vm";
pub const ZONE: &str = "az-vm";
pub const CPU_INFO: &str = r#"{"arch": "x86_64", "model": "kvm64", "vendor": "AMD"}"#;
pub const UPTIME: &str = " 20:15:45 up 43 min,  0 user,  load average: 4.96, 3.05, 2.07\n";
const PASSWORD: &str = "a password of a test";

/// A cloud for one test.
pub struct Cloud {
    _dir: TempDir,
    pub control: Arc<Control>,
    pub router: Router,
    /// Token of the administrator, in a project of its own.
    pub admin: String,
    /// Token of a member of [`PROJECT`].
    pub member: String,
    /// The audit trail.
    pub trail: Trail,
    /// Epoch of every host, and the number of its last report.
    hosts: Mutex<BTreeMap<HostName, (i64, i64)>>,
}

/// What was written to the audit trail.
#[derive(Clone, Default)]
pub struct Trail(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Trail {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Trail {
    /// As it was written.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Its lines.
    pub fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// An answer, read.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

/// A request to be.
#[derive(Clone, Default)]
pub struct Ask<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub token: &'a str,
    /// Header name and value.
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: Option<Vec<u8>>,
}

impl Cloud {
    pub async fn new() -> Self {
        Self::with_policy(&[]).await
    }

    /// With as many servers, cores and memory as anybody wants, as the recorded cloud was set.
    pub async fn without_quotas() -> Self {
        let cloud = Self::new().await;
        cloud.lift_quotas().await;
        cloud
    }

    /// From now on nobody's servers are counted.
    pub async fn lift_quotas(&self) {
        let servers = [Resource::Instances, Resource::Cores, Resource::Ram];
        let limits = servers.map(|resource| (resource, UNLIMITED)).into();
        let store = &self.control.store;
        let admin = store.project_by_name("admin").await.unwrap().unwrap().id;
        for project in [PROJECT.into(), admin] {
            store.set_quota_limits(&project, None, &limits).await.unwrap();
        }
    }

    /// With rules of the operator's.
    pub async fn with_policy(rules: &[(&str, &str)]) -> Self {
        let cloud = Self::without_hosts(rules, Arc::new(SystemClock)).await;
        cloud.add_host(HOST, host_info(HOST)).await;
        cloud
    }

    /// With rules of the operator's and a clock of the test's, before any host has come.
    pub async fn without_hosts(rules: &[(&str, &str)], clock: Arc<dyn Clock>) -> Self {
        let rules = rules.iter().map(|(name, check)| ((*name).to_owned(), (*check).to_owned()));
        let policy = Policy::load(rules).unwrap();
        Self::build(clock, |settings| settings.policy = policy).await
    }

    /// With settings of the operator's.
    pub async fn with_settings(change: impl FnOnce(&mut Settings)) -> Self {
        let cloud = Self::build(Arc::new(SystemClock), change).await;
        cloud.add_host(HOST, host_info(HOST)).await;
        cloud
    }

    async fn build(clock: Arc<dyn Clock>, change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let trail = Trail::default();
        let audit = Arc::new(Audit::to(trail.clone()));
        let mut control = control(dir.path(), clock).await;
        change(&mut control.settings);
        let control = Arc::new(Control { audit, ..control });
        identity::bootstrap(&control, dir.path()).await.unwrap();
        let router = http::router(Arc::clone(&control));
        let mut cloud = Self {
            _dir: dir,
            control,
            router,
            admin: String::new(),
            member: String::new(),
            trail,
            hosts: Mutex::default(),
        };
        cloud.add_users().await;
        cloud.add_flavors().await;
        cloud.add_image(IMAGE, "tiny").await;
        cloud
    }

    async fn add_users(&mut self) {
        let clouds = std::fs::read_to_string(self._dir.path().join("clouds.yaml")).unwrap();
        let line = clouds.lines().find(|line| line.contains("password:")).unwrap();
        let password = line.split('\'').nth(1).unwrap();
        self.admin = self.token("admin", password, "admin").await;
        let store = &self.control.store;
        let created_at = self.control.clock.now();
        let project = ProjectRecord {
            id: PROJECT.into(),
            name: "demo".into(),
            enabled: true,
            description: String::new(),
            created_at,
        };
        store.create_project(project).await.unwrap();
        self.member = self.add_user(USER, "demo", "member").await;
    }

    /// A user with a role in [`PROJECT`]; its token.
    pub async fn add_user(&self, id: &str, name: &str, role: &str) -> String {
        let store = &self.control.store;
        let user = UserRecord {
            id: id.into(),
            name: name.into(),
            enabled: true,
            default_project: None,
            description: None,
            email: None,
            created_at: self.control.clock.now(),
        };
        store.create_user(user, None).await.unwrap();
        let role = store.roles(Some(role)).await.unwrap().remove(0);
        let (user, project) = (UserId::from(id), ProjectId::from(PROJECT));
        store.assign_role(&user, &project, &role.id).await.unwrap();
        let path = format!("/identity/v3/users/{id}");
        let body = json!({"user": {"password": PASSWORD}});
        let patch = Ask {
            method: "PATCH",
            path: &path,
            token: &self.admin,
            body: Some(body.to_string().into_bytes()),
            ..Ask::default()
        };
        assert_eq!(self.ask(&patch).await.status, 200);
        self.token(name, PASSWORD, "demo").await
    }

    /// A token of a user for a project.
    pub async fn token(&self, user: &str, password: &str, project: &str) -> String {
        let domain = json!({"id": "default"});
        let user = json!({"name": user, "domain": domain, "password": password});
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": project, "domain": domain}},
        }});
        let reply = self
            .ask(&Ask {
                method: "POST",
                path: "/identity/v3/auth/tokens",
                body: Some(body.to_string().into_bytes()),
                ..Ask::default()
            })
            .await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.headers["x-subject-token"].to_str().unwrap().to_owned()
    }

    async fn add_flavors(&self) {
        for (id, name, vcpus, memory_mib) in
            [("1", "tiny", 1, 256), ("2", "tiny2", 1, 384), ("99", "huge", 2000, 1_048_576)]
        {
            let new = NewFlavor {
                flavor_id: id.into(),
                name: name.into(),
                vcpus,
                memory_mib,
                root_gib: 1,
                ephemeral_gib: 0,
                swap_mib: 0,
                rxtx_factor: 1.0,
                is_public: true,
                description: None,
            };
            self.control.store.create_flavor(new).await.unwrap();
        }
    }

    /// A public image.
    pub async fn add_image(&self, id: &str, name: &str) {
        let store = &self.control.store;
        let now = self.control.clock.now();
        let id = id.parse().unwrap();
        let image = ImageRecord {
            id,
            name: Some(name.into()),
            status: ImageStatus::Queued,
            visibility: Visibility::Public,
            owner: None,
            disk_format: Some(DiskFormat::Qcow2),
            container_format: Some(ContainerFormat::Bare),
            data: None,
            min_disk: 0,
            min_ram: 0,
            protected: false,
            hidden: false,
            properties: Default::default(),
            tags: Default::default(),
            created_at: now,
            updated_at: now,
        };
        store.create_image(&image).await.unwrap();
        assert!(store.begin_upload(id, "upload").await.unwrap());
        let data = ImageData {
            size: 1 << 20,
            virtual_size: 1 << 24,
            md5: "0".repeat(32),
            sha512: "0".repeat(128),
        };
        assert!(store.finish_upload(id, "upload", &data).await.unwrap());
    }

    /// A compute host that is up and offers this.
    pub async fn add_host(&self, name: &str, info: HostInfo) {
        let host = HostName::from(name);
        let epoch = self.control.store.register_host(&host, "boot").await.unwrap().epoch;
        self.hosts.lock().unwrap().insert(host.clone(), (epoch, 0));
        self.report(&host, ReportBody::Heartbeat { host: Some(info), problem: None }).await;
    }

    /// Every host says that it is still there.
    pub async fn heartbeat(&self) {
        let hosts: Vec<HostName> = self.hosts.lock().unwrap().keys().cloned().collect();
        for host in hosts {
            self.report(&host, ReportBody::Heartbeat { host: None, problem: None }).await;
        }
    }

    async fn report(&self, host: &HostName, body: ReportBody) {
        let (epoch, sequence) = {
            let mut hosts = self.hosts.lock().unwrap();
            let (epoch, sequence) = hosts.get_mut(host).unwrap();
            *sequence += 1;
            (*epoch, *sequence)
        };
        let at = self.control.clock.now();
        let report = Report { host: host.clone(), epoch, sequence, at, body };
        self.control.store.apply(&[report]).await.unwrap();
    }

    /// The operation that is under way on a server.
    pub async fn under_way(&self, id: InstanceId) -> Option<OperationRecord> {
        let operations = self.control.store.operations_of(id).await.unwrap();
        operations.into_iter().find(|operation| !operation.state.is_terminal())
    }

    /// Lets the host finish what is under way.
    pub async fn settle(&self, id: InstanceId) {
        let operation = self.under_way(id).await.expect("nothing is under way");
        let server = self.control.store.instance(id).await.unwrap().unwrap();
        let host = server.host.expect("the server is on no host");
        self.report(&host, ReportBody::Accepted { operation_id: operation.id }).await;
        let body = ReportBody::Finished {
            operation_id: operation.id,
            instance_id: id,
            result: OperationResult::Succeeded,
            seen: seen_after(operation.kind.unwrap()),
            done: Vec::new(),
        };
        self.report(&host, body).await;
    }

    /// As [`Self::settle`], when a test has reported up to this number itself.
    pub async fn settle_with(&self, id: InstanceId, sequence: i64) {
        self.hosts.lock().unwrap().values_mut().for_each(|host| host.1 = sequence);
        self.settle(id).await;
    }

    /// Lets the host finish everything that is under way on any server.
    pub async fn settle_all(&self) {
        let query = InstanceQuery { limit: u32::MAX, ..InstanceQuery::default() };
        for server in self.control.store.instances(&query).await.unwrap().instances {
            if server.active.is_some() {
                self.settle(server.id).await;
            }
        }
    }

    /// Asks and reads the whole answer.
    pub async fn ask(&self, ask: &Ask<'_>) -> Reply {
        let mut request =
            Request::builder().method(ask.method).uri(ask.path).header("host", "127.0.0.1:8774");
        if !ask.token.is_empty() {
            request = request.header("x-auth-token", ask.token);
        }
        for (name, value) in &ask.headers {
            request = request.header(*name, *value);
        }
        let body = match &ask.body {
            None => Body::empty(),
            Some(bytes) => {
                request = request.header("content-length", bytes.len());
                Body::from(bytes.clone())
            }
        };
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = match serde_json::from_slice(&bytes) {
            Ok(body) => body,
            Err(_) => Value::String(String::from_utf8(bytes.to_vec()).unwrap()),
        };
        Reply { status, headers, body }
    }

    /// A request of the compute API with a JSON body.
    pub async fn compute(
        &self,
        method: &str,
        path: &str,
        (token, version, body): (&str, &str, Value),
    ) -> Reply {
        let version = format!("compute {version}");
        self.ask(&Ask {
            method,
            path: &format!("/compute/v2.1/{path}"),
            token,
            headers: vec![("openstack-api-version", &version)],
            body: (!body.is_null()).then(|| body.to_string().into_bytes()),
        })
        .await
    }

    /// Status and body of a GET of the compute API, for the member.
    pub async fn get(&self, path: &str, version: &str) -> (u16, Value) {
        let reply = self.compute("GET", path, (&self.member, version, Value::Null)).await;
        (reply.status, reply.body)
    }

    /// A server that runs, of the member.
    pub async fn active_server(&self) -> InstanceId {
        let body = json!({"server": {
            "name": "s", "imageRef": IMAGE, "flavorRef": "1", "networks": "none",
        }});
        let reply = self.compute("POST", "servers", (&self.member, "2.96", body)).await;
        assert_eq!(StatusCode::from_u16(reply.status).unwrap(), StatusCode::ACCEPTED);
        let id = reply.body["server"]["id"].as_str().unwrap().parse().unwrap();
        self.settle(id).await;
        id
    }
}

/// What a host of a test offers.
pub fn host_info(name: &str) -> HostInfo {
    HostInfo {
        hypervisor_hostname: name.into(),
        hypervisor_type: "QEMU".into(),
        hypervisor_version: 7_002_022,
        vcpus: 64,
        memory_mib: 65536,
        disk_gib: 1000,
        disk_free_gib: 900,
        kvm: false,
        cpu_info: CPU_INFO.into(),
        host_ip: "127.0.0.1".into(),
        uptime: UPTIME.into(),
        agent_version: String::new(),
        unknown_guests: Vec::new(),
    }
}

async fn control(dir: &Path, clock: Arc<dyn Clock>) -> Control {
    Control {
        store: Store::open_with_clock(backends::database(dir), Arc::clone(&clock)).await.unwrap(),
        bus: backends::bus(),
        clock,
        sealing_key: SealingKey::new([7; 32]),
        settings: Settings {
            public_url: "http://127.0.0.1:8774".into(),
            region: "RegionOne".into(),
            image_dir: dir.join("images"),
            host: HOST.into(),
            availability_zone: ZONE.into(),
            max_image_bytes: 1 << 30,
            policy: Policy::load([]).unwrap(),
            consoles: Default::default(),
            api: Default::default(),
        },
        identity: Identity::new(),
        images: Arc::new(reprieve_control::app::images::BuiltIn),
        wake_dispatcher: Notify::new(),
        hand_overs: reprieve_control::work::HandOvers::default(),
        patience: reprieve_control::work::Patience::default(),
        notifications: reprieve_control::work::Notifications {
            keepalive: std::time::Duration::from_millis(50),
            ..reprieve_control::work::Notifications::of(HOST)
        },
        metrics: Arc::default(),
        audit: Arc::default(),
    }
}

/// What a host sees of a guest after an operation went well.
fn seen_after(kind: OperationKind) -> Observation {
    use OperationKind as K;
    let power = match kind {
        K::Create | K::Unpause | K::Resume | K::Rescue | K::Unrescue | K::Start => {
            PowerState::Running
        }
        K::RebootSoft | K::RebootHard => PowerState::Running,
        K::Pause => PowerState::Paused,
        K::Suspend | K::Stop => PowerState::Shutdown,
        K::Delete => PowerState::NoState,
    };
    Observation {
        power,
        reason: if kind == K::Pause { PowerReason::User } else { PowerReason::Unknown },
        rescue_stashed: kind == K::Rescue,
        saved: if kind == K::Suspend { SavedMemory::Valid } else { SavedMemory::None },
    }
}
