//! The compute service's use cases, dispatcher and reports together, against a scripted host.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

#[path = "../support/backends.rs"]
mod backends;
mod fake_host;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fake_host::{FakeHost, seen};
use reprieve_control::app::flavors::ensure_defaults;
use reprieve_control::app::identity::Identity;
use reprieve_control::app::secret::Password;
use reprieve_control::app::servers::{self, ListServers, NewServer, RescueRequest, Target};
use reprieve_control::app::{AppError, Call, keypairs};
use reprieve_control::auth::AuthContext;
use reprieve_control::{Control, Settings, work};
use reprieve_core::message::Command;
use reprieve_core::ports::Bus;
use reprieve_core::spec::DiskFormat;
use reprieve_core::{
    Clock, ImageId, InstanceId, OperationKind as K, PowerReason, PowerState, RequestId, SealingKey,
    SystemClock, VmState,
};
use reprieve_store::images::{ContainerFormat, ImageData, ImageRecord, ImageStatus, Visibility};
use reprieve_store::{InstanceQuery, InstanceRecord, Store};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

struct Cloud {
    control: Arc<Control>,
    bus: Arc<dyn Bus>,
    dir: TempDir,
    image: ImageId,
    _work: Vec<AbortOnDropHandle<()>>,
}

impl Cloud {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let bus = backends::bus();
        let control = control(&dir, &bus).await;
        ensure_defaults(&control.store).await.unwrap();
        let image = add_image(&control, 10 << 20).await;
        let work = begin_work(&control);
        Self { control, bus, dir, image, _work: work }
    }

    async fn with_host() -> (Self, FakeHost) {
        let cloud = Self::new().await;
        let host = FakeHost::start(&cloud.bus, "boot-1").await;
        cloud.until_up().await;
        (cloud, host)
    }

    async fn until_up(&self) {
        self.until(async || {
            let hosts = self.control.store.hosts().await.unwrap();
            hosts.first().filter(|host| host.is_up(SystemClock.now())).map(|_| ())
        })
        .await;
    }

    /// Looks again and again until there is something.
    async fn until<T>(&self, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let waited = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waited).await.expect("it never happened")
    }

    async fn until_idle(&self, id: InstanceId) -> InstanceRecord {
        self.until(async || {
            let server = self.control.store.instance(id).await.unwrap().unwrap();
            server.task_state.is_none().then_some(server)
        })
        .await
    }

    fn new_server(&self) -> NewServer {
        NewServer {
            name: "vm1".into(),
            description: None,
            hostname: None,
            image: self.image,
            flavor_id: "1".into(),
            key_name: None,
            metadata: BTreeMap::new(),
            tags: Vec::new(),
            user_data: None,
            admin_password: None,
            config_drive: None,
            availability_zone: None,
            forced: Target::default(),
            requested: Target::default(),
            min_count: 1,
            max_count: 1,
            disk_config: None,
            access_ip_v4: None,
            access_ip_v6: None,
            scheduler_hints: BTreeMap::new(),
            injected_files: Vec::new(),
        }
    }

    /// A server that runs.
    async fn server(&self, asked: &Asking) -> InstanceId {
        let created = servers::create(&asked.call(self), self.new_server()).await.unwrap();
        let id = created.servers[0].id;
        assert_eq!(self.until_idle(id).await.vm_state, VmState::Active);
        id
    }
}

async fn control(dir: &TempDir, bus: &Arc<dyn Bus>) -> Arc<Control> {
    let store = Store::open(backends::database(dir.path())).await.unwrap();
    Arc::new(Control {
        store,
        bus: Arc::clone(bus),
        clock: Arc::new(SystemClock),
        sealing_key: SealingKey::new([3; 32]),
        settings: Settings {
            public_url: "http://127.0.0.1:8774".into(),
            region: "RegionOne".into(),
            image_dir: dir.path().join("images"),
            host: "vm".into(),
            availability_zone: "nova".into(),
            max_image_bytes: 1 << 30,
            policy: reprieve_core::policy::Policy::load([]).unwrap(),
            consoles: Default::default(),
            api: Default::default(),
        },
        identity: Identity::new(),
        images: Arc::new(reprieve_control::app::images::BuiltIn),
        wake_dispatcher: Notify::new(),
        hand_overs: reprieve_control::work::HandOvers::default(),
        patience: reprieve_control::work::Patience::default(),
        notifications: reprieve_control::work::Notifications::of("vm"),
        metrics: Arc::default(),
        audit: Arc::default(),
    })
}

fn begin_work(control: &Arc<Control>) -> Vec<AbortOnDropHandle<()>> {
    let stop = CancellationToken::new();
    let dispatch = work::dispatch::run(Arc::clone(control), stop.clone());
    let reports = work::reports::run(Arc::clone(control), stop);
    vec![
        AbortOnDropHandle::new(tokio::spawn(dispatch)),
        AbortOnDropHandle::new(tokio::spawn(reports)),
    ]
}

async fn add_image(control: &Control, size: u64) -> ImageId {
    let now = SystemClock.now();
    let image = ImageRecord {
        id: ImageId::random(),
        name: Some("tiny".into()),
        status: ImageStatus::Queued,
        visibility: Visibility::Public,
        owner: Some("demo".into()),
        disk_format: Some(DiskFormat::Qcow2),
        container_format: Some(ContainerFormat::Bare),
        data: None,
        min_disk: 0,
        min_ram: 0,
        protected: false,
        hidden: false,
        properties: BTreeMap::new(),
        tags: BTreeSet::new(),
        created_at: now,
        updated_at: now,
    };
    let data = ImageData { size, virtual_size: size, md5: "m".into(), sha512: "s".into() };
    control.store.create_image(&image).await.unwrap();
    assert!(control.store.begin_upload(image.id, "up").await.unwrap());
    assert!(control.store.finish_upload(image.id, "up", &data).await.unwrap());
    image.id
}

/// Somebody with a request.
struct Asking {
    auth: AuthContext,
    request_id: RequestId,
}

impl Asking {
    fn new(project: &str, role: &str) -> Self {
        let auth = AuthContext {
            user_id: "alice".into(),
            user_name: "alice".into(),
            project_id: project.into(),
            project_name: project.into(),
            roles: vec![role.into()],
        };
        Self { auth, request_id: RequestId::random() }
    }

    fn member() -> Self {
        Self::new("demo", "member")
    }

    fn admin() -> Self {
        Self::new("admin", "admin")
    }

    fn call<'a>(&'a self, cloud: &'a Cloud) -> Call<'a> {
        Call {
            control: &cloud.control,
            auth: &self.auth,
            request_id: &self.request_id,
            deadline: None,
        }
    }
}

fn power(command: &Command) -> Option<&reprieve_core::message::RunOperation> {
    match command {
        Command::Run(run) => Some(run),
        Command::Welcome { .. } | Command::Greet { .. } | Command::Cancel { .. } => None,
    }
}

#[tokio::test]
async fn a_server_lives() {
    let (cloud, host) = Cloud::with_host().await;
    let alice = Asking::member();
    let key =
        keypairs::NewKey { name: "k1".into(), public_key: None, kind: "ssh".into(), user_id: None };
    keypairs::create(&alice.call(&cloud), key).await.unwrap();
    let mut new = cloud.new_server();
    new.key_name = Some("k1".into());
    new.user_data = Some("IyE=".into());
    let created = servers::create(&alice.call(&cloud), new).await.unwrap();
    assert_eq!(created.admin_password.reveal().len(), 12);
    let server = &created.servers[0];
    assert_eq!((server.status(), server.hostname.as_str()), ("BUILD", "vm1"));
    assert!(server.config_drive);
    let id = server.id;
    let running = cloud.until_idle(id).await;
    assert_eq!(running.status(), "ACTIVE");
    assert_eq!(running.host.as_ref().map(|host| host.as_str()), Some("vm"));

    let run = host.received.lock().unwrap().iter().find_map(|one| power(one).cloned()).unwrap();
    assert_eq!(run.request_id, alice.request_id);
    assert_eq!(run.spec.domain_name(), server.domain_name());
    assert_eq!(run.spec.metadata.public_keys.len(), 1);
    let sealed = run.spec.metadata.admin_password.unwrap();
    let opened = SealingKey::new([3; 32]).open(id, &sealed).unwrap();
    assert_eq!(opened, created.admin_password.reveal());

    for (kind, status) in [
        (K::Pause, "PAUSED"),
        (K::Unpause, "ACTIVE"),
        (K::Suspend, "SUSPENDED"),
        (K::Resume, "ACTIVE"),
        (K::Stop, "SHUTOFF"),
        (K::Start, "ACTIVE"),
        (K::RebootSoft, "ACTIVE"),
        (K::RebootHard, "ACTIVE"),
    ] {
        servers::run(&alice.call(&cloud), id, kind).await.unwrap();
        assert_eq!(cloud.until_idle(id).await.status(), status, "{kind}");
    }
    let request = RescueRequest { admin_password: Some("given".to_owned().into()), image: None };
    let password = servers::rescue(&alice.call(&cloud), id, request).await.unwrap();
    assert_eq!(password.reveal(), "given");
    assert_eq!(cloud.until_idle(id).await.status(), "RESCUE");
    servers::run(&alice.call(&cloud), id, K::Unrescue).await.unwrap();
    assert_eq!(cloud.until_idle(id).await.status(), "ACTIVE");
    servers::run(&alice.call(&cloud), id, K::Delete).await.unwrap();
    assert_eq!(cloud.until_idle(id).await.status(), "DELETED");

    let gone = servers::get(&alice.call(&cloud), id).await.unwrap_err();
    assert_eq!(gone.to_string(), format!("Instance {id} could not be found."));
    let actions = servers::actions(&alice.call(&cloud), id).await.unwrap();
    assert_eq!(actions.len(), 12, "they survive the server");
    let create = servers::action(&alice.call(&cloud), id, alice.request_id.as_str()).await;
    assert!(create.is_ok());
}

#[tokio::test]
async fn rescue_chooses_its_image() {
    let (cloud, host) = Cloud::with_host().await;
    let alice = Asking::member();
    let id = cloud.server(&alice).await;
    let other = add_image(&cloud.control, 1 << 20).await;

    for bad in ["11111111-1111-1111-1111-111111111111", "nonsense"] {
        let request = RescueRequest { admin_password: None, image: Some(bad.to_owned()) };
        let refused = servers::rescue(&alice.call(&cloud), id, request).await.unwrap_err();
        assert!(matches!(refused, AppError::BadRequest(_)));
        let text = format!("Requested rescue image '{bad}' is not supported");
        assert_eq!(refused.to_string(), text);
    }
    let request = RescueRequest { admin_password: None, image: Some(other.to_string()) };
    servers::rescue(&alice.call(&cloud), id, request).await.unwrap();
    cloud.until_idle(id).await;
    servers::run(&alice.call(&cloud), id, K::Unrescue).await.unwrap();
    cloud.until_idle(id).await;
    // The own image was deleted meanwhile: what was recorded of it is used.
    assert!(cloud.control.store.delete_image(cloud.image).await.unwrap());
    servers::rescue(&alice.call(&cloud), id, RescueRequest::default()).await.unwrap();
    cloud.until_idle(id).await;
    let images: Vec<ImageId> = host
        .received
        .lock()
        .unwrap()
        .iter()
        .filter_map(|one| power(one)?.args.rescue_image.as_ref().map(|image| image.id))
        .collect();
    assert_eq!(images, [other, cloud.image]);

    // A wrong state is said before a wrong image.
    let request = RescueRequest { admin_password: None, image: Some("nonsense".to_owned()) };
    let refused = servers::rescue(&alice.call(&cloud), id, request).await.unwrap_err();
    assert!(matches!(refused, AppError::Denied(_)), "{refused}");
}

#[tokio::test]
async fn bad_requests_record_nothing() {
    let (cloud, _host) = Cloud::with_host().await;
    let alice = Asking::member();
    let big = add_image(&cloud.control, 5 << 30).await;
    let base = || cloud.new_server();
    let metadata: BTreeMap<_, _> =
        (0..129).map(|index| (index.to_string(), String::new())).collect();
    let elsewhere = || Target { host: Some("elsewhere".into()), node: None };
    let unknown = "11111111-1111-1111-1111-111111111111".parse().unwrap();
    for (new, text) in [
        (NewServer { flavor_id: "nope".into(), ..base() }, "Flavor nope could not be found."),
        (NewServer { image: unknown, ..base() }, "Can not find requested image"),
        (NewServer { key_name: Some("k".into()), ..base() }, "Invalid key_name provided."),
        (
            NewServer { image: big, ..base() },
            "Flavor's disk is too small for requested image. Flavor disk is 1073741824 bytes, \
             image is 5368709120 bytes.",
        ),
        (NewServer { metadata, ..base() }, "Maximum number of metadata items exceeds 128"),
        (
            NewServer { availability_zone: Some("mars".into()), ..base() },
            "The requested availability zone is not available",
        ),
        (
            NewServer { requested: elsewhere(), ..base() },
            "Policy doesn't allow compute:servers:create:requested_destination to be performed.",
        ),
        (
            NewServer { forced: elsewhere(), ..base() },
            "Policy doesn't allow os_compute_api:servers:create:forced_host to be performed.",
        ),
    ] {
        let refused = servers::create(&alice.call(&cloud), new).await.unwrap_err();
        assert_eq!(refused.to_string(), text);
    }
    let all = ListServers {
        query: InstanceQuery { limit: 10, ..InstanceQuery::default() },
        ..ListServers::default()
    };
    assert!(servers::list(&alice.call(&cloud), all).await.unwrap().instances.is_empty());
}

#[tokio::test]
async fn without_a_fitting_host_a_server_ends_in_error() {
    let (cloud, _host) = Cloud::with_host().await;
    let alice = Asking::member();
    let new = NewServer { flavor_id: "5".into(), max_count: 2, ..cloud.new_server() };
    let created = servers::create(&alice.call(&cloud), new).await.unwrap();
    let names: Vec<_> = created.servers.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["vm1-1", "vm1-2"]);
    assert_eq!(created.servers[1].number, created.servers[0].number + 1);
    let server = &created.servers[0];
    assert_eq!((server.status(), server.host.as_ref()), ("ERROR", None));
    let fault = &server.fault.as_ref().unwrap().fault;
    assert_eq!(fault.code, 500);
    assert_eq!(fault.message, "No valid host was found. There are not enough hosts available.");
    assert_eq!(fault.details, "vm: the flavor needs 8 vCPUs, the host has 4");
    let action = servers::actions(&alice.call(&cloud), server.id).await.unwrap().remove(0);
    assert_eq!((action.action.as_str(), action.message()), ("create", Some("Error")));
    assert_eq!(action.events()[0].event, "conductor_schedule_and_build_instances");
    // No host knows of it, so it is gone at once.
    servers::run(&alice.call(&cloud), server.id, K::Delete).await.unwrap();
    let gone = cloud.control.store.instance(server.id).await.unwrap().unwrap();
    assert_eq!(gone.status(), "DELETED");
}

#[tokio::test]
async fn without_any_host_too() {
    let cloud = Cloud::new().await;
    let alice = Asking::member();
    let created = servers::create(&alice.call(&cloud), cloud.new_server()).await.unwrap();
    let fault = &created.servers[0].fault.as_ref().unwrap().fault;
    assert_eq!(fault.message, "No valid host was found. There are not enough hosts available.");
    assert_eq!(fault.details, "no compute host has registered");
}

#[tokio::test]
async fn others_servers_do_not_exist() {
    let (cloud, _host) = Cloud::with_host().await;
    let alice = Asking::member();
    let id = cloud.server(&alice).await;
    let mallory = Asking::new("other", "member");
    let refused = [
        servers::get(&mallory.call(&cloud), id).await.map(|_| ()),
        servers::run(&mallory.call(&cloud), id, K::Delete).await,
        servers::lock(&mallory.call(&cloud), id, None).await,
        servers::console_log(&mallory.call(&cloud), id, None).await.map(|_| ()),
        servers::actions(&mallory.call(&cloud), id).await.map(|_| ()),
        servers::rescue(&mallory.call(&cloud), id, RescueRequest::default()).await.map(|_| ()),
    ];
    for result in refused {
        assert!(matches!(result, Err(AppError::NotFound(_))), "{result:?}");
    }
    let all = || ListServers {
        query: InstanceQuery { limit: 10, ..InstanceQuery::default() },
        all_tenants: true,
        detail: true,
    };
    let refused = servers::list(&alice.call(&cloud), all()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Policy doesn't allow os_compute_api:servers:detail:get_all_tenants to be performed."
    );
    let admin = Asking::admin();
    assert_eq!(servers::list(&admin.call(&cloud), all()).await.unwrap().instances.len(), 1);
    let own = ListServers { all_tenants: false, ..all() };
    assert!(servers::list(&admin.call(&cloud), own).await.unwrap().instances.is_empty());
}

#[tokio::test]
async fn locks() {
    let (cloud, _host) = Cloud::with_host().await;
    let (alice, admin) = (Asking::member(), Asking::admin());
    let id = cloud.server(&alice).await;
    servers::lock(&admin.call(&cloud), id, Some("maintenance".into())).await.unwrap();
    servers::lock(&alice.call(&cloud), id, Some("mine".into())).await.unwrap();
    let locked = servers::get(&alice.call(&cloud), id).await.unwrap();
    assert_eq!(locked.locked_reason.as_deref(), Some("maintenance"));
    let refused = servers::run(&alice.call(&cloud), id, K::Pause).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("Instance {id} is locked"));
    let refused = servers::unlock(&alice.call(&cloud), id).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Policy doesn't allow os_compute_api:os-lock-server:unlock:unlock_override to be performed."
    );
    servers::run(&admin.call(&cloud), id, K::Pause).await.unwrap();
    assert_eq!(cloud.until_idle(id).await.status(), "PAUSED");
    servers::unlock(&admin.call(&cloud), id).await.unwrap();
    servers::lock(&alice.call(&cloud), id, None).await.unwrap();
    servers::unlock(&alice.call(&cloud), id).await.unwrap();
    servers::run(&alice.call(&cloud), id, K::Unpause).await.unwrap();
    assert_eq!(cloud.until_idle(id).await.status(), "ACTIVE");
}

#[tokio::test]
async fn console_logs() {
    let (cloud, _host) = Cloud::with_host().await;
    let alice = Asking::member();
    let id = cloud.server(&alice).await;
    let log = servers::console_log(&alice.call(&cloud), id, Some(2)).await.unwrap();
    assert_eq!(log, "HEARTBEAT 2\n");
    servers::run(&alice.call(&cloud), id, K::Suspend).await.unwrap();
    cloud.until_idle(id).await;
    let refused = servers::console_log(&alice.call(&cloud), id, None).await.unwrap_err();
    assert_eq!(refused.to_string(), "Guest does not have a console available.");
}

#[tokio::test]
async fn a_failure_on_the_host_is_told() {
    let (cloud, host) = Cloud::with_host().await;
    let alice = Asking::member();
    let id = cloud.server(&alice).await;
    host.fail.store(true, Ordering::SeqCst);
    servers::run(&alice.call(&cloud), id, K::Suspend).await.unwrap();
    let server = cloud.until_idle(id).await;
    assert_eq!(server.status(), "ACTIVE", "the guest runs on");
    let action = servers::actions(&alice.call(&cloud), id).await.unwrap().remove(0);
    assert_eq!((action.action.as_str(), action.message()), ("suspend", Some("Error")));
    let event = action.events().remove(0);
    assert_eq!(event.details.as_deref(), Some("The disk is full"));
}

#[tokio::test]
async fn delete_stops_a_running_operation() {
    let (cloud, mut host) = Cloud::with_host().await;
    let alice = Asking::member();
    let id = cloud.server(&alice).await;
    let before = host.received.lock().unwrap().len();
    host.hold.store(true, Ordering::SeqCst);
    servers::run(&alice.call(&cloud), id, K::Suspend).await.unwrap();
    host.commands(before + 1).await;
    let busy = servers::run(&alice.call(&cloud), id, K::Pause).await.unwrap_err();
    let text = format!("Cannot 'pause' instance {id} while it is in task_state suspending");
    assert_eq!(busy.to_string(), text);
    host.hold.store(false, Ordering::SeqCst);
    servers::run(&alice.call(&cloud), id, K::Delete).await.unwrap();
    assert_eq!(cloud.until_idle(id).await.status(), "DELETED");
    let cancels = host
        .received
        .lock()
        .unwrap()
        .iter()
        .filter(|one| matches!(one, Command::Cancel { .. }))
        .count();
    assert!(cancels >= 1);
}

#[tokio::test]
async fn a_guest_that_powers_itself_off_is_seen() {
    let (cloud, host) = Cloud::with_host().await;
    let alice = Asking::member();
    let id = cloud.server(&alice).await;
    host.observe(id, seen(PowerState::Shutdown, PowerReason::GuestShutdown)).await;
    cloud
        .until(async || {
            let server = servers::get(&alice.call(&cloud), id).await.unwrap();
            (server.status() == "SHUTOFF").then_some(())
        })
        .await;
}

/// The control plane dies after it accepted and before it sent anything; another takes over.
#[tokio::test]
async fn a_restart_loses_nothing() {
    let (cloud, host) = Cloud::with_host().await;
    let alice = Asking::member();
    let id = cloud.server(&alice).await;
    let Cloud { control: old, bus, dir, image, _work } = cloud;
    drop(_work);
    let (auth, request_id) = (&alice.auth, &alice.request_id);
    let call = Call { control: &old, auth, request_id, deadline: None };
    servers::run(&call, id, K::Pause).await.unwrap();
    let fresh = control(&dir, &bus).await;
    drop(old);
    let cloud = Cloud { _work: begin_work(&fresh), control: fresh, bus, dir, image };
    assert_eq!(cloud.until_idle(id).await.status(), "PAUSED");
    drop(host);
    assert!(!backends::everything_in(cloud.dir.path()).is_empty());
}

#[tokio::test]
async fn a_host_that_starts_again_finishes_what_it_was_given() {
    let (cloud, host) = Cloud::with_host().await;
    let alice = Asking::member();
    let id = cloud.server(&alice).await;
    host.hold.store(true, Ordering::SeqCst);
    servers::run(&alice.call(&cloud), id, K::Pause).await.unwrap();
    cloud
        .until(async || {
            let action = servers::actions(&alice.call(&cloud), id).await.unwrap().remove(0);
            action.started_at
        })
        .await;
    drop(host);
    let _host = FakeHost::start(&cloud.bus, "boot-2").await;
    assert_eq!(cloud.until_idle(id).await.status(), "PAUSED");
}

/// Not a benchmark, but a guard against a pause that would be felt: from the accepted request to the
/// visible state with a host that needs no time.
#[tokio::test]
async fn the_way_through_the_control_plane_is_short() {
    let (cloud, _host) = Cloud::with_host().await;
    let alice = Asking::member();
    let id = cloud.server(&alice).await;
    let mut times = Vec::new();
    for round in 0..20 {
        let kind = if round % 2 == 0 { K::Pause } else { K::Unpause };
        let begun = Instant::now();
        servers::run(&alice.call(&cloud), id, kind).await.unwrap();
        cloud.until_idle(id).await;
        times.push(begun.elapsed());
    }
    // A wake-up that is lost costs each of a kind a whole period; a busy machine leaves some quick.
    for first in [0, 1] {
        let of_a_kind: Vec<_> = times.iter().skip(first).step_by(2).collect();
        let quick = of_a_kind.iter().filter(|time| ***time < Duration::from_millis(500)).count();
        assert!(quick >= 3, "{of_a_kind:?}");
    }
}

#[tokio::test]
async fn passwords_are_not_printed() {
    let (cloud, _host) = Cloud::with_host().await;
    let mut new = cloud.new_server();
    new.admin_password = Some(Password::from("s3cret-s3cret".to_owned()));
    assert!(!format!("{new:?}").contains("s3cret"));
    let alice = Asking::member();
    let created = servers::create(&alice.call(&cloud), new).await.unwrap();
    assert!(!format!("{created:?}").contains("s3cret"));
    let bytes = backends::everything_in(cloud.dir.path());
    assert!(!bytes.windows(6).any(|window| window == b"s3cret"));
}
