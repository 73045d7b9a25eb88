//! The agent of one host: registration, inbox, events, heartbeats, recovery.
//!
//! ```text
//! start: ledger -> Hello -> Welcome(epoch) -> heartbeat, look at all
//! then:  command -> fence on epoch and generation -> ledger -> acknowledge -> actor
//!        hypervisor event -> the actor of that guest looks
//!        every minute -> all actors look and report (events may be lost)
//! ```
//!
//! The ledger also knows the kernel's boot id of the machine. If it is another one at the start, all
//! guests ended with the machine, and the greeting says so until it was answered; what becomes of the
//! servers is for the control plane to say (`reprieve_core::reboot`).
//!
//! Recovery needs no special code: an unfinished operation goes on at its recorded step, and a step
//! always probes before it acts. It goes on when the control plane sends it again, which it does to
//! every start that it welcomes. What it does not send has ended: another agent of this name has done
//! it while this one was away, and the guest has gone on since
//! (docs/adr/0003-an-agent-touches-no-guest-before-it-is-welcome.md).
//!
//! A host that the control plane does not know any more, because its tables were lost or restored from a
//! backup, is asked to greet again. Guests with Reprieve's mark that the control plane never spoke of are
//! told with the sign of life and left alone.
//!
//! Two agents of one name: the bus gives commands to one of them at a time, so the older one gets the
//! newer one's welcome, and keeps that turn until it runs no step any more. So they never touch a
//! guest side by side, and the newer one begins when the older one has ended.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use reprieve_core::message::{
    Command, HostInfo, HostRequest, HostResponse, Rebooted, Report, ReportBody, RunOperation,
};
use reprieve_core::ports::{
    Bus, BusError, Delivery, Hypervisor, HypervisorEvent, ImageSource, RequestHandler, Subscription,
};
use reprieve_core::reboot::RebootPolicy;
use reprieve_core::{Clock, HostName, InstanceId, OperationId, SealingKey, Timestamp};
use reprieve_hypervisor::image_cache::ImageCache;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::actor::ActorHandle;
use crate::console::ConsoleAddress;
use crate::deleted;
use crate::host::{Graces, Host};
use crate::ledger::{Acceptance, Ledger, LedgerError, Unfinished};
use crate::metrics::StepTimes;
use crate::registration::{Registration, Welcomed};
use crate::reporter::Reporter;
use crate::unknown::UnknownGuests;

const HEARTBEAT: Duration = Duration::from_secs(10);
const SCAN: Duration = Duration::from_secs(60);
const HELLO_AGAIN: Duration = Duration::from_secs(2);
/// How long after the welcome of another start of this host its own may come. Where a bus repeats old
/// greetings, it comes right behind.
const SUPERSEDED: Duration = Duration::from_secs(5);
/// How long a stopping daemon waits for the steps that are being run.
const DRAIN: Duration = Duration::from_secs(10);

/// What the agent is made of.
pub struct AgentConfig {
    /// Name of the host.
    pub host: HostName,
    /// Directory with one directory per server.
    pub instances_dir: PathBuf,
    /// Ledger file.
    pub ledger_file: PathBuf,
    /// Image cache.
    pub cache: ImageCache,
    /// Where images come from.
    pub images: Arc<dyn ImageSource>,
    /// Hypervisor.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// Bus.
    pub bus: Arc<dyn Bus>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Key of sealed secrets.
    pub sealing_key: SealingKey,
    /// How long guests may take to shut down.
    pub graces: Graces,
    /// Where proxies find serial consoles; `None`: there are none for them.
    pub consoles: Option<ConsoleAddress>,
    /// Where it is noted how long steps take.
    pub step_times: StepTimes,
    /// The kernel's id of the start that the machine is in now. `None`: it does not say, so restarts
    /// of the machine are not noticed.
    pub machine_boot: Option<String>,
    /// What is done with servers after a restart of the machine.
    pub after_reboot: RebootPolicy,
}

/// Why the agent cannot work.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The bus.
    #[error("the compute agent cannot listen on the message bus")]
    Bus(#[from] BusError),
    /// Another agent of the same name registered after this one.
    #[error(
        "another compute agent called {host} has registered, so this older one stops; its guests \
         keep running. Give every compute host a name of its own"
    )]
    Superseded {
        /// The name.
        host: HostName,
    },
}

/// The agent.
pub struct Agent {
    host: Arc<Host>,
    bus: Arc<dyn Bus>,
    registration: Registration,
    /// The epoch, for whoever reports.
    epoch: watch::Sender<Option<i64>>,
    /// A restart of the machine that the control plane has not heard of yet.
    rebooted: Option<Rebooted>,
    /// When this agent stops, because another one with its name was welcomed after it.
    superseded_at: Option<Instant>,
    /// Whether the hypervisor was reached or found to be away since the start.
    hypervisor_known: bool,
    unknown: Arc<UnknownGuests>,
    actors: HashMap<InstanceId, ActorHandle>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// Ends tasks where they are, as a kill would.
    abandon: CancellationToken,
}

impl Agent {
    /// Runs until `shutdown` is cancelled; then waits up to ten seconds for the steps being run.
    ///
    /// # Errors
    /// [`AgentError`] when the ledger or the bus cannot be used at all, or when another agent took
    /// this one's place.
    pub async fn run(config: AgentConfig, shutdown: CancellationToken) -> Result<(), AgentError> {
        let ledger = Ledger::open(&config.ledger_file).await?;
        let (epoch, epoch_seen) = watch::channel(None);
        let rebooted = rebooted(&ledger, &config).await?;
        let boot_id = reprieve_core::ids::hex_id();
        let earlier = ledger.note_start(&boot_id).await?;
        let (reporter, reporter_task) = Reporter::new(
            config.host.clone(),
            Arc::clone(&config.bus),
            Arc::clone(&config.clock),
            epoch_seen,
        );
        // The reporter outlives the drain, so that what the last steps say still goes out.
        let reporter_stop = CancellationToken::new();
        let reporting = tokio::spawn(reporter_task.run(reporter_stop.clone()));
        let bus = Arc::clone(&config.bus);
        let host = Arc::new(Host::new(config, ledger, reporter));
        let mut agent = Self {
            host,
            bus,
            registration: Registration::new(boot_id, earlier),
            epoch,
            rebooted,
            superseded_at: None,
            hypervisor_known: false,
            unknown: Arc::default(),
            actors: HashMap::new(),
            tasks: TaskTracker::new(),
            shutdown: shutdown.child_token(),
            abandon: CancellationToken::new(),
        };
        let served = agent.serve().await;
        reporter_stop.cancel();
        if let Err(error) = reporting.await {
            error!(%error, "the reporter ended badly");
        }
        served
    }

    /// Listens until the end, and until no step is being run any more: nobody else of this name is
    /// given a command before.
    async fn serve(&mut self) -> Result<(), AgentError> {
        let listening = self.bus.commands(&self.host.name).await;
        let served = match listening {
            Ok(mut commands) => {
                let served = self.work(commands.as_mut()).await;
                self.drain().await;
                drop(commands);
                served
            }
            Err(error) => {
                self.drain().await;
                Err(error.into())
            }
        };
        self.host.ledger.close().await;
        served
    }

    async fn work(&mut self, commands: &mut dyn Subscription<Command>) -> Result<(), AgentError> {
        let mut events = self.host.hypervisor.events();
        let answers = Arc::new(Answers { host: Arc::clone(&self.host) });
        let _serving = self.bus.serve(&self.host.name, answers).await?;
        self.tell_unfinished().await?;
        let mut hello = interval(HELLO_AGAIN);
        hello.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heartbeat = ticks(HEARTBEAT);
        let mut scan = ticks(SCAN);
        let shutdown = self.shutdown.clone();
        loop {
            let superseded_at = self.superseded_at;
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = reached(superseded_at) => {
                    return Err(AgentError::Superseded { host: self.host.name.clone() });
                }
                delivery = commands.next() => match delivery {
                    Some(delivery) => self.receive(delivery).await,
                    None => {
                        return Err(BusError::Unavailable("it was closed".to_owned()).into());
                    }
                },
                event = events.next() => match event {
                    Some(event) => self.notice(event).await,
                    None => events = futures_util::stream::pending().boxed(),
                },
                _ = hello.tick(), if self.registration.epoch().is_none() => self.greet().await,
                _ = heartbeat.tick() => {
                    self.heartbeat();
                    if self.unknown.needs_another_look() {
                        self.look_for_unknown_guests();
                    }
                }
                _ = scan.tick() => self.scan().await,
            }
        }
    }

    /// Reads what an earlier run left unfinished: better not to start than to forget a promise.
    async fn tell_unfinished(&self) -> Result<(), AgentError> {
        for job in self.host.ledger.unfinished().await? {
            let command = &job.command;
            info!(
                operation = %command.operation_id, request_id = %command.request_id,
                server = %command.spec.id, kind = command.kind.as_str(), step = job.next_step,
                "an operation of the last run waits for the control plane"
            );
        }
        Ok(())
    }

    async fn greet(&self) {
        let report = Report {
            host: self.host.name.clone(),
            epoch: 0,
            sequence: 0,
            at: self.host.clock.now(),
            body: ReportBody::Hello {
                boot_id: self.registration.boot_id().to_owned(),
                rebooted: self.rebooted.clone(),
                after: self.registration.newest(),
            },
        };
        if let Err(error) = self.bus.report(&report).await {
            warn!(%error, "the control plane cannot be reached");
        }
    }

    /// Handles one command. It is acknowledged in any case: what could not be made durable here was
    /// not reported either, and the outbox sends it until it is.
    async fn receive(&mut self, delivery: Box<dyn Delivery<Command>>) {
        match delivery.message() {
            Command::Welcome { boot_id, epoch, instances } => {
                self.welcomed(boot_id, *epoch, instances).await;
            }
            Command::Greet { epoch } => self.greet_again(*epoch),
            Command::Cancel { operation_id, instance_id } => {
                if let Some(actor) = self.actors.get(instance_id) {
                    actor.cancel(*operation_id);
                }
            }
            Command::Run(command) => self.accept(command).await,
        }
        delivery.acknowledge().await;
    }

    async fn welcomed(&mut self, boot_id: &str, epoch: i64, instances: &[InstanceId]) {
        match self.registration.welcomed(boot_id, epoch) {
            Welcomed::Registered(epoch) => {
                info!(epoch, servers = instances.len(), "registered with the control plane");
                self.epoch.send_replace(Some(epoch));
                self.superseded_at = None;
                self.told_of_reboot().await;
                for id in instances {
                    self.actor(*id).look();
                }
                self.look_for_unknown_guests();
                self.heartbeat();
            }
            Welcomed::Late | Welcomed::Elsewhere => {
                debug!(epoch, "a welcome for another start of this host");
            }
            Welcomed::Outlived => {
                warn!(epoch, "a greeting of an earlier start of this agent came late");
                self.epoch.send_replace(None);
            }
            Welcomed::Superseded => {
                warn!(epoch, "another compute agent registered under the name of this one");
                self.superseded_at.get_or_insert(Instant::now() + SUPERSEDED);
            }
        }
    }

    /// The tables of the control plane were lost or are older than this start.
    fn greet_again(&mut self, epoch: i64) {
        if self.registration.is_unknown(epoch) {
            warn!(epoch, "the control plane does not know this start any more; it greets again");
            self.epoch.send_replace(None);
        }
    }

    /// The control plane has heard of the restart. If that cannot be written down, it hears of it again,
    /// and knows it.
    async fn told_of_reboot(&mut self) {
        let Some(rebooted) = self.rebooted.take() else { return };
        if let Err(error) = self.host.ledger.set_machine_boot(&rebooted.machine_boot).await {
            warn!(%error, "the restart of this machine is reported once more at the next start");
        }
    }

    /// Fences an operation, makes it durable and passes it to its actor.
    async fn accept(&mut self, command: &RunOperation) {
        let operation_id = command.operation_id;
        let epoch = self.registration.epoch();
        if epoch.is_none() {
            // Reports wait for the epoch. One that waited here for room among them would wait for
            // a welcome that nobody reads.
            debug!(operation = %operation_id, "not registered yet; it will be sent again");
            return;
        }
        if epoch != Some(command.host_epoch) {
            let reason = format!("meant for epoch {}, this is {epoch:?}", command.host_epoch);
            info!(operation = %operation_id, %reason, "operation refused");
            self.host.reporter.send(ReportBody::Rejected { operation_id, reason }).await;
            return;
        }
        // Asked before the ledger: an operation that ends in between is then told as ended.
        let going = self.is_going(command.spec.id, operation_id);
        let now = self.host.clock.now();
        let command = &by_own_clock(command, now);
        let acceptance = match self.host.ledger.accept(command, now).await {
            Ok(acceptance) => acceptance,
            Err(error) => {
                error!(operation = %operation_id, %error, "operation not accepted");
                return;
            }
        };
        info!(
            operation = %operation_id, request_id = %command.request_id,
            server = %command.spec.id, kind = command.kind.as_str(), "received from the bus"
        );
        match acceptance {
            Acceptance::New => {
                self.enqueue(Unfinished { command: command.clone(), next_step: 0, given_up: None })
                    .await;
            }
            Acceptance::Running(job) => {
                self.host.reporter.send(ReportBody::Accepted { operation_id }).await;
                if !going {
                    info!(
                        operation = %operation_id, request_id = %command.request_id,
                        server = %command.spec.id, step = job.next_step,
                        "an operation of the last run goes on"
                    );
                    self.enqueue(*job).await;
                }
            }
            Acceptance::Finished(ended) => {
                self.actor(command.spec.id).tell(operation_id, command.kind, ended);
            }
            Acceptance::Stale { newest } => {
                let reason = format!("generation {} is older than {newest}", command.generation);
                self.host.reporter.send(ReportBody::Rejected { operation_id, reason }).await;
            }
        }
    }

    /// Whether an actor has this operation.
    fn is_going(&self, instance: InstanceId, operation: OperationId) -> bool {
        self.actors.get(&instance).is_some_and(|actor| actor.has(operation))
    }

    async fn enqueue(&mut self, job: Unfinished) {
        let instance = job.command.spec.id;
        if !self.actor(instance).run(job).await {
            // It ended at this moment; the ledger has the operation when it is sent again.
            debug!(server = %instance, "the actor has ended; the operation waits");
        }
    }

    /// The actor of a server, a new one if there is none or it has ended.
    fn actor(&mut self, instance: InstanceId) -> &ActorHandle {
        let spawn = || {
            let stops = (self.shutdown.clone(), self.abandon.clone());
            ActorHandle::spawn(Arc::clone(&self.host), instance, stops, &self.tasks)
        };
        let actor = self.actors.entry(instance).or_insert_with(spawn);
        if actor.has_ended() {
            *actor = spawn();
        }
        actor
    }

    async fn notice(&mut self, event: HypervisorEvent) {
        self.hypervisor_known = true;
        match event {
            HypervisorEvent::Changed(id) => {
                // Domains that are not ours have no actor and are none of our business.
                if let Some(actor) = self.actors.get(&id) {
                    actor.look();
                }
            }
            HypervisorEvent::Connected => {
                info!("the hypervisor can be reached");
                self.heartbeat();
                self.scan().await;
            }
            HypervisorEvent::Disconnected(reason) => {
                warn!(%reason, "the hypervisor cannot be reached; guests are not affected");
                self.heartbeat();
            }
        }
    }

    /// Says that this host lives. On a task of its own, because the hypervisor may be slow to
    /// answer and commands must not wait for it.
    fn heartbeat(&self) {
        if self.registration.epoch().is_none() {
            return;
        }
        let host = Arc::clone(&self.host);
        let known = self.hypervisor_known;
        let unknown = Arc::clone(&self.unknown);
        self.tasks.spawn(until(self.abandon.clone(), async move {
            if !known {
                // The first attempt to connect is under way: nothing to say about it yet.
                let body = ReportBody::Heartbeat { host: None, problem: None };
                return host.reporter.send(body).await;
            }
            let (info, problem) = match host.hypervisor.host().await {
                Ok(info) => {
                    let agent_version = env!("CARGO_PKG_VERSION").to_owned();
                    let unknown_guests = unknown.told();
                    (Some(HostInfo { agent_version, unknown_guests, ..info }), None)
                }
                Err(error) => (None, Some(error.to_string())),
            };
            host.reporter.send(ReportBody::Heartbeat { host: info, problem }).await;
        }));
    }

    /// Lets every guest be looked at and reported anew: an event may have been missed, and a report
    /// that the control plane had no use for is made again.
    async fn scan(&mut self) {
        self.actors.retain(|_, actor| !actor.has_ended());
        for actor in self.actors.values() {
            actor.look_anew();
        }
        self.look_for_unknown_guests();
        if let Err(error) = self.host.ledger.forget_old(self.host.clock.now()).await {
            warn!(%error, "old results could not be forgotten");
        }
    }

    /// Looks for guests that the control plane never spoke of. On a task of its own, because the
    /// hypervisor may be slow to answer.
    fn look_for_unknown_guests(&self) {
        // Before the welcome none is known.
        if self.registration.epoch().is_none() {
            return;
        }
        let known = self.actors.keys().copied().collect();
        let (host, unknown) = (Arc::clone(&self.host), Arc::clone(&self.unknown));
        self.tasks.spawn(until(self.abandon.clone(), async move {
            match host.hypervisor.list().await {
                Ok(guests) => {
                    let guests = deleted::undefine_returned(&host, guests, &known).await;
                    unknown.note(&guests, &known);
                }
                Err(error) => debug!(%error, "guests cannot be listed now"),
            }
        }));
    }

    /// Lets no step begin any more and waits for those that are being run. One that does not end in time
    /// ends where it is, as by a kill; it is in the ledger.
    async fn drain(&mut self) {
        self.shutdown.cancel();
        self.actors.clear();
        self.tasks.close();
        if tokio::time::timeout(DRAIN, self.tasks.wait()).await.is_err() {
            warn!(within = ?DRAIN, "a step did not end; it is probed after the restart");
            self.abandon.cancel();
            self.tasks.wait().await;
        }
    }
}

/// Runs `work` until it ends, or is abandoned.
pub(crate) async fn until(abandon: CancellationToken, work: impl Future<Output = ()> + Send) {
    tokio::select! {
        () = work => {}
        () = abandon.cancelled() => {}
    }
}

/// The command with its deadline by the clock of this host.
fn by_own_clock(command: &RunOperation, now: Timestamp) -> RunOperation {
    let deadline = match command.time_left_ms {
        Some(left) => now.plus(Duration::from_millis(left)),
        None => command.deadline,
    };
    RunOperation { deadline, ..command.clone() }
}

/// Whether the machine was restarted since this ledger was last told. A ledger that was never told
/// anything is of a new host, or of an older version.
async fn rebooted(ledger: &Ledger, config: &AgentConfig) -> Result<Option<Rebooted>, LedgerError> {
    let Some(machine_boot) = config.machine_boot.clone() else {
        warn!("this machine has no boot id, so a restart of it will not be noticed");
        return Ok(None);
    };
    let policy = config.after_reboot;
    match ledger.machine_boot().await? {
        Some(known) if known == machine_boot => Ok(None),
        Some(known) => {
            warn!(before = known, now = machine_boot, %policy, "this machine was restarted");
            Ok(Some(Rebooted { machine_boot, policy }))
        }
        None => {
            ledger.set_machine_boot(&machine_boot).await?;
            Ok(None)
        }
    }
}

/// When it is that time; without one, never.
async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Ticks that do not pile up when the agent was busy and do not begin with one at once.
fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Answers questions and takes hints; no server changes by them.
struct Answers {
    host: Arc<Host>,
}

#[async_trait]
impl RequestHandler for Answers {
    async fn answer(&self, request: HostRequest) -> HostResponse {
        match request {
            HostRequest::ConsoleLog { instance_id, max_bytes } => {
                self.host.console_log(instance_id, max_bytes).await
            }
            HostRequest::Diagnostics { instance_id } => self.host.diagnostics(instance_id).await,
            HostRequest::Console { instance_id, protocol } => {
                self.host.console(instance_id, protocol).await
            }
            HostRequest::CacheImages { images } => {
                tokio::spawn(Arc::clone(&self.host).cache_images(images));
                HostResponse::Noted
            }
        }
    }
}
