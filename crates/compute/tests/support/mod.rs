//! A host on the fake hypervisor, with real files in a temporary directory.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reprieve_compute::AgentConfig;
use reprieve_compute::console::ConsoleAddress;
use reprieve_compute::executor::{self, Stops, Verdict};
use reprieve_compute::host::{Graces, Host};
use reprieve_compute::ledger::{Acceptance, Ended, Ledger, Unfinished};
use reprieve_compute::metrics::StepTimes;
use reprieve_compute::reporter::Reporter;
use reprieve_core::message::{
    Command, HostRequest, HostResponse, OperationArgs, OperationResult, Report, ReportBody,
    RunOperation,
};
use reprieve_core::plan::{PLAN_VERSION, plan_from};
use reprieve_core::ports::{
    Bus, BusConnection, BusError, InstancePaths, RequestHandler, Subscription,
};
use reprieve_core::reboot::RebootPolicy;
use reprieve_core::spec::{DiskFormat, FlavorSpec, GuestMetadata, ImageSpec, InstanceSpec};
use reprieve_core::{
    Clock, HostName, ImageId, InstanceId, OperationId, OperationKind, RequestId, SealingKey,
    SystemClock, VmState,
};
use reprieve_hypervisor::fake::{Call, FakeHypervisor, Moment};
use reprieve_hypervisor::image_cache::{ImageCache, LocalImageSource};
use sha2::{Digest, Sha512};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Everything that outlives a crash of the agent.
pub struct World {
    dir: tempfile::TempDir,
    pub fake: FakeHypervisor,
    pub spec: InstanceSpec,
    pub rescue_image: ImageSpec,
    generation: std::sync::atomic::AtomicI64,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["instances", "images", "cache"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let image = make_image(&dir.path().join("images"), "tiny", 1);
        let rescue_image = make_image(&dir.path().join("images"), "tiny-rescue", 2);
        let fake = FakeHypervisor::new(dir.path().join("instances"));
        let spec = InstanceSpec {
            id: InstanceId::random(),
            number: 7,
            name: "guest".to_owned(),
            project_id: "p".into(),
            user_id: "u".into(),
            flavor: FlavorSpec {
                name: "tiny".to_owned(),
                vcpus: 1,
                memory_mib: 64,
                root_gib: 1,
                extra_specs: BTreeMap::new(),
            },
            image,
            config_drive: true,
            metadata: GuestMetadata {
                hostname: "guest".to_owned(),
                public_keys: BTreeMap::new(),
                meta: BTreeMap::new(),
                user_data: None,
                admin_password: None,
                availability_zone: "nova".to_owned(),
            },
        };
        Self { dir, fake, spec, rescue_image, generation: 0.into() }
    }

    pub fn paths(&self) -> InstancePaths {
        InstancePaths::new(&self.instances(), self.spec.id)
    }

    pub fn instances(&self) -> PathBuf {
        self.dir.path().join("instances")
    }

    /// A freshly started agent's view of the host.
    pub async fn boot(&self) -> Host {
        self.boot_heard().await.0
    }

    /// The same, and what it reports.
    pub async fn boot_heard(&self) -> (Host, mpsc::UnboundedReceiver<ReportBody>) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (heard, reports) = mpsc::unbounded_channel();
        let bus: Arc<dyn Bus> = Arc::new(SilentBus { heard });
        let config = self.config(Arc::clone(&bus));
        let ledger = Ledger::open(&config.ledger_file).await.unwrap();
        let (_, epoch) = watch::channel(Some(1));
        let (reporter, task) = Reporter::new("host".into(), bus, clock, epoch);
        tokio::spawn(task.run(CancellationToken::new()));
        (Host::new(config, ledger, reporter), reports)
    }

    /// What an agent of this host is made of.
    pub fn config(&self, bus: Arc<dyn Bus>) -> AgentConfig {
        AgentConfig {
            host: "host".into(),
            instances_dir: self.instances(),
            ledger_file: self.dir.path().join("ledger.db"),
            cache: ImageCache::new(self.dir.path().join("cache")),
            images: Arc::new(LocalImageSource::new(self.dir.path().join("images"))),
            hypervisor: Arc::new(self.fake.clone()),
            bus,
            clock: Arc::new(SystemClock),
            sealing_key: SealingKey::new([1; 32]),
            machine_boot: None,
            after_reboot: RebootPolicy::Leave,
            graces: Graces {
                shutdown: Duration::from_millis(200),
                soft_reboot: Duration::from_millis(200),
                longest: Duration::from_secs(1),
            },
            consoles: Some(ConsoleAddress { host: "node1".into(), port: 6084 }),
            step_times: StepTimes::default(),
        }
    }

    pub fn command(&self, kind: OperationKind, prior: VmState) -> RunOperation {
        let generation = 1 + self.generation.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let args = match kind {
            OperationKind::Rescue => OperationArgs {
                rescue_image: Some(self.rescue_image.clone()),
                rescue_password: Some(
                    SealingKey::new([1; 32]).seal(self.spec.id, "rescue me").unwrap(),
                ),
                ..OperationArgs::default()
            },
            _ => OperationArgs::default(),
        };
        RunOperation {
            operation_id: OperationId::random(),
            kind,
            request_id: RequestId::random(),
            generation,
            host_epoch: 1,
            plan_version: PLAN_VERSION,
            plan: plan_from(kind, prior).to_vec(),
            prior,
            deadline: SystemClock.now().plus(Duration::from_secs(60)),
            time_left_ms: Some(60_000),
            spec: self.spec.clone(),
            args,
        }
    }

    /// Runs an operation without disturbance.
    pub async fn run(&self, kind: OperationKind, prior: VmState) -> Ended {
        let host = self.boot().await;
        let ended = run_on(&host, self.command(kind, prior)).await;
        host.ledger.close().await;
        ended
    }

    /// Runs an operation that has to succeed.
    pub async fn succeed(&self, kind: OperationKind, prior: VmState) {
        let ended = self.run(kind, prior).await;
        assert_eq!(ended.result, OperationResult::Succeeded, "{kind}");
    }

    /// Brings a new server to `state`, with its guest having counted a while.
    pub async fn bring_to(&self, state: VmState) {
        self.succeed(OperationKind::Create, VmState::Building).await;
        self.fake.advance(5);
        match state {
            VmState::Active => {}
            VmState::Paused => self.succeed(OperationKind::Pause, VmState::Active).await,
            VmState::Suspended => self.succeed(OperationKind::Suspend, VmState::Active).await,
            VmState::Stopped => self.succeed(OperationKind::Stop, VmState::Active).await,
            VmState::Rescued => self.succeed(OperationKind::Rescue, VmState::Active).await,
            other => panic!("a test cannot ask for {other}"),
        }
    }

    /// Runs an operation whose agent is killed at `call`, then starts a new agent that goes on from
    /// the ledger. `None`: the operation never makes that call.
    pub async fn run_killed_at(
        &self,
        command: RunOperation,
        call: Call,
        moment: Moment,
    ) -> Option<Ended> {
        if !self.killed_at(command, call, moment).await {
            return None;
        }
        Some(self.goes_on().await)
    }

    /// Runs an operation whose agent is killed at `call`; `false`: it never makes that call.
    pub async fn killed_at(&self, command: RunOperation, call: Call, moment: Moment) -> bool {
        let mut reached = self.fake.crash_at(call, moment);
        let host = self.boot().await;
        let running = async { run_on(&host, command.clone()).await };
        tokio::select! {
            biased;
            died = &mut reached => died.unwrap(),
            _ = running => return false,
        }
        host.ledger.close().await;
        true
    }

    /// Starts a new agent that goes on with the only operation in the ledger.
    pub async fn goes_on(&self) -> Ended {
        let host = self.boot().await;
        let unfinished = host.ledger.unfinished().await.unwrap();
        let [job] = unfinished.as_slice() else { panic!("{} unfinished", unfinished.len()) };
        let Verdict::Ended { ended, .. } = executor::run(&host, job, &Stops::default()).await
        else {
            panic!("interrupted");
        };
        assert_eq!(host.ledger.unfinished().await.unwrap(), []);
        host.ledger.close().await;
        ended
    }
}

/// Accepts and runs one operation.
pub async fn run_on(host: &Host, command: RunOperation) -> Ended {
    let accepted = host.ledger.accept(&command, SystemClock.now()).await.unwrap();
    assert_eq!(accepted, Acceptance::New);
    let job = Unfinished { command, next_step: 0, given_up: None };
    match executor::run(host, &job, &Stops::default()).await {
        Verdict::Ended { ended, .. } => ended,
        Verdict::Interrupted => panic!("interrupted"),
    }
}

fn make_image(dir: &std::path::Path, name: &str, seed: u8) -> ImageSpec {
    let data = vec![seed; 1 << 20];
    let id = ImageId::random();
    std::fs::write(dir.join(id.to_string()), &data).unwrap();
    let digest = Sha512::digest(&data);
    ImageSpec {
        id,
        name: name.to_owned(),
        format: DiskFormat::Raw,
        size_bytes: data.len() as u64,
        sha512: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        properties: BTreeMap::new(),
    }
}

/// A bus that takes reports and has nothing to say.
struct SilentBus {
    heard: mpsc::UnboundedSender<ReportBody>,
}

#[async_trait]
impl Bus for SilentBus {
    async fn command(&self, _: &HostName, _: &Command) -> Result<(), BusError> {
        Ok(())
    }
    async fn commands(&self, _: &HostName) -> Result<Box<dyn Subscription<Command>>, BusError> {
        Err(BusError::Unavailable("silent".to_owned()))
    }
    async fn report(&self, report: &Report) -> Result<(), BusError> {
        // Most tests do not listen.
        self.heard.send(report.body.clone()).ok();
        Ok(())
    }
    async fn reports(&self) -> Result<Box<dyn Subscription<Report>>, BusError> {
        Err(BusError::Unavailable("silent".to_owned()))
    }
    async fn request(
        &self,
        _: &HostName,
        _: &HostRequest,
        _: Duration,
    ) -> Result<HostResponse, BusError> {
        Err(BusError::Unavailable("silent".to_owned()))
    }
    async fn serve(
        &self,
        _: &HostName,
        _: Arc<dyn RequestHandler>,
    ) -> Result<Box<dyn std::any::Any + Send>, BusError> {
        Err(BusError::Unavailable("silent".to_owned()))
    }
    fn connections(&self) -> Vec<BusConnection> {
        Vec::new()
    }
}
