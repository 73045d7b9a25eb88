//! A compute host that is only a script: it speaks the protocol and pretends that guests obey.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use reprieve_core::conclude::{Observation, SavedMemory};
use reprieve_core::message::{
    Command, HostInfo, HostRequest, HostResponse, OperationResult, Report, ReportBody,
    RunOperation, StepEvent,
};
use reprieve_core::ports::{Bus, BusError, RequestHandler};
use reprieve_core::{
    Clock as _, Fault, HostName, InstanceId, OperationId, OperationKind, PowerReason, PowerState,
    SystemClock,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub struct FakeHost {
    pub name: HostName,
    bus: Arc<dyn Bus>,
    epoch: Arc<AtomicI64>,
    sequence: Arc<AtomicI64>,
    /// Operations are accepted but not carried out while this is set.
    pub hold: Arc<AtomicBool>,
    /// The next operation fails.
    pub fail: Arc<AtomicBool>,
    /// Everything that was received.
    pub received: Arc<Mutex<Vec<Command>>>,
    rung: mpsc::UnboundedReceiver<()>,
    task: JoinHandle<()>,
    _serving: Box<dyn std::any::Any + Send>,
}

struct Console;

#[async_trait]
impl RequestHandler for Console {
    async fn answer(&self, _: HostRequest) -> HostResponse {
        HostResponse::ConsoleLog { text: "HEARTBEAT 1\nHEARTBEAT 2\n".to_owned() }
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn info() -> HostInfo {
    HostInfo {
        hypervisor_hostname: "vm".into(),
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

impl FakeHost {
    /// Says hello, waits for its epoch, and says what it offers.
    pub async fn start(bus: &Arc<dyn Bus>, boot_id: &str) -> Self {
        let name = HostName::from("vm");
        let mut commands = bus.commands(&name).await.unwrap();
        let serving = bus.serve(&name, Arc::new(Console)).await.unwrap();
        let (ring, rung) = mpsc::unbounded_channel();
        let script = Script {
            name: name.clone(),
            bus: bus.clone(),
            boot_id: boot_id.to_owned(),
            epoch: Arc::default(),
            sequence: Arc::default(),
            hold: Arc::default(),
            fail: Arc::default(),
            received: Arc::default(),
            held: HashMap::new(),
            given: HashSet::new(),
        };
        Self {
            name,
            bus: bus.clone(),
            epoch: Arc::clone(&script.epoch),
            sequence: Arc::clone(&script.sequence),
            hold: Arc::clone(&script.hold),
            fail: Arc::clone(&script.fail),
            received: Arc::clone(&script.received),
            rung,
            _serving: serving,
            task: tokio::spawn(async move {
                let mut script = script;
                script.hello().await;
                while let Some(delivery) = commands.next().await {
                    script.obey(delivery.message().clone()).await;
                    delivery.acknowledge().await;
                    let _ = ring.send(());
                }
            }),
        }
    }

    /// Waits until so many commands were received in all.
    pub async fn commands(&mut self, count: usize) -> Vec<Command> {
        loop {
            let received = self.received.lock().unwrap().clone();
            if received.len() >= count {
                return received;
            }
            self.rung.recv().await.unwrap();
        }
    }

    pub async fn observe(&self, instance_id: InstanceId, seen: Observation) {
        let report = Report {
            host: self.name.clone(),
            epoch: self.epoch.load(Ordering::SeqCst),
            sequence: self.sequence.fetch_add(1, Ordering::SeqCst) + 1,
            at: SystemClock.now(),
            body: ReportBody::Observed { instance_id, seen },
        };
        tell(&self.bus, &report).await;
    }
}

/// As an agent does it: until the broker has it.
async fn tell(bus: &Arc<dyn Bus>, report: &Report) {
    while let Err(error) = bus.report(report).await {
        assert!(matches!(error, BusError::Unavailable(_)), "{error}");
    }
}

struct Script {
    name: HostName,
    bus: Arc<dyn Bus>,
    boot_id: String,
    epoch: Arc<AtomicI64>,
    sequence: Arc<AtomicI64>,
    hold: Arc<AtomicBool>,
    fail: Arc<AtomicBool>,
    received: Arc<Mutex<Vec<Command>>>,
    held: HashMap<OperationId, RunOperation>,
    given: HashSet<(OperationId, i64)>,
}

impl Script {
    async fn hello(&self) {
        let body = ReportBody::Hello { boot_id: self.boot_id.clone(), rebooted: None, after: 0 };
        let (host, at) = (self.name.clone(), SystemClock.now());
        tell(&self.bus, &Report { host, epoch: 0, sequence: 0, at, body }).await;
    }

    async fn report(&self, body: ReportBody) {
        let report = Report {
            host: self.name.clone(),
            epoch: self.epoch.load(Ordering::SeqCst),
            sequence: self.sequence.fetch_add(1, Ordering::SeqCst) + 1,
            at: SystemClock.now(),
            body,
        };
        tell(&self.bus, &report).await;
    }

    async fn obey(&mut self, command: Command) {
        // As it was when the command came.
        let hold = self.hold.load(Ordering::SeqCst);
        if self.has_been_given(&command) {
            return;
        }
        self.received.lock().unwrap().push(command.clone());
        match command {
            Command::Welcome { boot_id, epoch, .. } if boot_id == self.boot_id => {
                self.epoch.store(epoch, Ordering::SeqCst);
                self.report(ReportBody::Heartbeat { host: Some(info()), problem: None }).await;
            }
            Command::Welcome { .. } | Command::Greet { .. } => {}
            Command::Run(run) if run.host_epoch != self.epoch.load(Ordering::SeqCst) => {
                let (operation_id, reason) = (run.operation_id, "another epoch".to_owned());
                self.report(ReportBody::Rejected { operation_id, reason }).await;
            }
            Command::Run(run) => {
                self.report(ReportBody::Accepted { operation_id: run.operation_id }).await;
                if hold {
                    self.held.insert(run.operation_id, *run);
                } else {
                    self.carry_out(&run).await;
                }
            }
            Command::Cancel { operation_id, .. } => {
                if let Some(run) = self.held.remove(&operation_id) {
                    self.finish(&run, OperationResult::Cancelled, before(&run)).await;
                }
            }
        }
    }

    /// As an agent does it: what is asked for again because its answer took a while is done once.
    fn has_been_given(&mut self, command: &Command) -> bool {
        match command {
            Command::Run(run) => !self.given.insert((run.operation_id, run.host_epoch)),
            Command::Welcome { .. } | Command::Greet { .. } | Command::Cancel { .. } => false,
        }
    }

    async fn carry_out(&self, run: &RunOperation) {
        if self.fail.swap(false, Ordering::SeqCst) {
            let fault = Fault::new(500, "The disk is full", "write: No space left on device");
            let result = OperationResult::Failed { fault, needs_attention: false };
            self.finish(run, result, before(run)).await;
            return;
        }
        for (index, step) in (0..).zip(&run.plan) {
            for event in [StepEvent::Started, StepEvent::Done] {
                let (operation_id, step, detail) = (run.operation_id, *step, String::new());
                self.report(ReportBody::Step { operation_id, index, step, event, detail }).await;
            }
        }
        self.finish(run, OperationResult::Succeeded, after(run.kind)).await;
    }

    async fn finish(&self, run: &RunOperation, result: OperationResult, seen: Observation) {
        let (operation_id, instance_id) = (run.operation_id, run.spec.id);
        let body =
            ReportBody::Finished { operation_id, instance_id, result, seen, done: Vec::new() };
        self.report(body).await;
    }
}

pub fn seen(power: PowerState, reason: PowerReason) -> Observation {
    Observation { power, reason, rescue_stashed: false, saved: SavedMemory::None }
}

/// The guest as it is when nothing was done to it.
fn before(run: &RunOperation) -> Observation {
    match run.kind {
        OperationKind::Create => Observation::NOTHING,
        _ => seen(PowerState::Running, PowerReason::Booted),
    }
}

fn after(kind: OperationKind) -> Observation {
    let off = seen(PowerState::Shutdown, PowerReason::Unknown);
    let running = seen(PowerState::Running, PowerReason::Booted);
    match kind {
        OperationKind::Pause => seen(PowerState::Paused, PowerReason::User),
        OperationKind::Suspend => Observation { saved: SavedMemory::Valid, ..off },
        OperationKind::Stop => off,
        OperationKind::Delete => Observation::NOTHING,
        OperationKind::Rescue => Observation { rescue_stashed: true, ..running },
        OperationKind::Create
        | OperationKind::Unpause
        | OperationKind::Resume
        | OperationKind::Unrescue
        | OperationKind::Start
        | OperationKind::RebootSoft
        | OperationKind::RebootHard => running,
    }
}
