//! The machines: a hypervisor whose calls take time, go on without their caller, and fail.
//!
//! In front of the fake, each call takes its way to the hypervisor and back, as chance has it. It is
//! carried out by the machine, not by the agent: when the agent is killed on the way, it happens all
//! the same. As libvirt does, a machine lets calls that change one domain happen one after the other.
//! When the machine itself is restarted, nothing goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use reprieve_core::console::DomainConsole;
use reprieve_core::message::HostInfo;
use reprieve_core::ports::{
    DomainPower, DomainState, DomainVariant, Hypervisor, HypervisorError, HypervisorEvent,
    JobProgress,
};
use reprieve_core::spec::InstanceSpec;
use reprieve_core::stats::GuestStats;
use reprieve_core::{HostName, InstanceId, OperationId};
use reprieve_hypervisor::fake::{Call, FakeHypervisor};
use tokio::runtime::Handle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::judge::{self, Judge, Touch};
use crate::promises::{Promised, Promises};
use crate::story::Story;

/// Name of an agent's ledger.
const LEDGER: &str = "ledger.db";

type Result<T> = std::result::Result<T, HypervisorError>;

/// What waits for its turn on one domain.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// One machine, as one agent uses it. Clones are the same.
#[derive(Clone)]
pub struct Machine {
    /// The host that its agent says it is.
    pub name: HostName,
    /// Its guests.
    pub fake: FakeHypervisor,
    /// What it is called in the story: no two machines have the same.
    label: String,
    /// Where the agent has its files.
    root: PathBuf,
    /// Which start of an agent this is for.
    agent: u64,
    promises: Promises,
    story: Story,
    judge: Judge,
    runs_on: Handle,
    state: Arc<Mutex<State>>,
}

struct State {
    chance: Chance,
    calm: bool,
    turns: BTreeMap<InstanceId, Turn>,
    /// How often it was started.
    boots: u64,
    /// Cancelled when this start of it is over.
    power: CancellationToken,
    /// When it is up again after its last restart.
    up_at: Duration,
    /// What libvirt had defined last was lost once.
    lost_power: bool,
}

/// How a machine is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// What libvirt had defined is on the disk.
    Orderly,
    /// What it defined or undefined last is not.
    PowerLoss,
}

/// How a call goes.
struct Course {
    way: Duration,
    back: Duration,
    end: End,
}

enum End {
    /// The caller hears what came of it.
    Answer,
    /// It was not carried out.
    Refused(HypervisorError),
    /// It is carried out, the caller hears this instead.
    Unheard(Duration, HypervisorError),
}

impl Machine {
    /// With its files below `root`. Its calls are carried out on `runs_on`, which outlives agents.
    pub fn new(
        seed: u64,
        name: &str,
        root: &Path,
        (story, judge, runs_on): (&Story, &Judge, &Handle),
    ) -> Self {
        let root = root.join(name);
        let chance = Chance::new(seed, name);
        Self {
            name: name.into(),
            fake: FakeHypervisor::new(root.join("instances")),
            label: name.to_owned(),
            agent: 0,
            promises: Promises::of(root.join(LEDGER)),
            root,
            story: story.clone(),
            judge: judge.clone(),
            runs_on: runs_on.clone(),
            state: Arc::new(Mutex::new(State {
                chance,
                calm: true,
                turns: BTreeMap::new(),
                boots: 1,
                power: CancellationToken::new(),
                up_at: Duration::ZERO,
                lost_power: false,
            })),
        }
    }

    /// The same machine and files, as another start of an agent uses them.
    pub fn used_by(&self, agent: u64) -> Self {
        Self { agent, ..self.clone() }
    }

    /// The same machine, as an agent uses it that has files of its own.
    pub fn with_files(&self, root: &Path) -> Self {
        Self {
            fake: self.fake.used_from(root.join("instances")),
            promises: Promises::of(root.join(LEDGER)),
            root: root.to_owned(),
            ..self.clone()
        }
    }

    /// The same machine, whose agent says that it is this host.
    pub fn known_as(self, name: &HostName) -> Self {
        Self { name: name.clone(), ..self }
    }

    /// What it is called in the story.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Directory of the servers.
    pub fn instances(&self) -> PathBuf {
        self.root.join("instances")
    }

    /// Directory of the image cache.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// The agent's ledger.
    pub fn ledger(&self) -> PathBuf {
        self.root.join(LEDGER)
    }

    /// What its kernel calls the start that it is in now.
    pub fn boot_id(&self) -> String {
        format!("{}-{}", self.label, self.state().boots)
    }

    /// It is restarted and up again then: all guests end, and whatever was being done to them.
    pub fn restart(&self, how: Restart, up_at: Duration) {
        let mut state = self.state();
        state.boots += 1;
        state.up_at = up_at;
        state.lost_power |= how == Restart::PowerLoss;
        std::mem::take(&mut state.power).cancel();
        drop(state);
        match how {
            Restart::Orderly => {
                self.fake.write_back();
                self.fake.reboot_machine();
            }
            Restart::PowerLoss => self.fake.lose_power(),
        }
    }

    /// Whether it is being restarted.
    pub fn is_off(&self, now: Duration) -> bool {
        now < self.state().up_at
    }

    /// Whether it ever lost its power.
    pub fn has_lost_power(&self) -> bool {
        self.state().lost_power
    }

    /// Whether calls are quick and nothing fails.
    pub fn set_calm(&self, calm: bool) {
        self.state().calm = calm;
        if calm {
            self.fake.set_disconnected(None);
            self.fake.mend_next_save();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn course(&self, call: Call) -> Course {
        let mut state = self.state();
        let changes = Call::EFFECTS.contains(&call);
        if state.calm {
            let way = Duration::from_millis(u64::from(changes));
            return Course { way, back: Duration::ZERO, end: End::Answer };
        }
        let chance = &mut state.chance;
        let longest = if call == Call::SaveMemory { 4000 } else { 300 };
        let way = if changes { chance.mostly_short(longest) } else { chance.mostly_short(8) };
        let back = chance.mostly_short(if changes { 120 } else { 4 });
        let message = || "the simulated connection broke".to_owned();
        let end = if chance.permille(4) {
            End::Refused(HypervisorError::Unavailable {
                uri: "sim:///".to_owned(),
                message: message(),
            })
        } else if chance.permille(4) {
            let lost = HypervisorError::Interrupted { call: call.name(), message: message() };
            End::Unheard(chance.mostly_short(200), lost)
        } else if changes && chance.permille(3) {
            let seconds = 30;
            let late = HypervisorError::Timeout { call: call.name(), seconds };
            End::Unheard(Duration::from_secs(seconds), late)
        } else {
            End::Answer
        };
        Course { way, back, end }
    }

    fn turn(&self, id: InstanceId) -> Turn {
        Arc::clone(self.state().turns.entry(id).or_default())
    }

    async fn call<T, F>(&self, call: Call, id: Option<InstanceId>, run: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(FakeHypervisor) -> BoxFuture<'static, Result<T>> + Send + 'static,
    {
        let Course { way, back, end } = self.course(call);
        if let Some(server) = id.filter(|_| Call::EFFECTS.contains(&call)) {
            let promised = self.promises.about(server).unwrap_or_else(|error| {
                self.story.tell(format_args!("{}: {error:#}", self.label));
                Promised::default()
            });
            let (machine, agent) = (self.label.as_str(), self.agent);
            self.judge.touched(&Touch { machine, agent, call, server, promised });
        }
        if let End::Refused(error) = end {
            self.tell(call, id, "refused");
            return Err(error);
        }
        let power = self.state().power.clone();
        let work = self.clone().carry_out((call, id), way, run);
        let carried_out = self.runs_on.spawn(async move {
            tokio::select! {
                // A machine that is off does nothing and answers nobody.
                biased;
                () = power.cancelled() => {
                    let message = "the simulated machine was restarted".to_owned();
                    Err(HypervisorError::Interrupted { call: call.name(), message })
                }
                result = work => result,
            }
        });
        if let End::Unheard(after, error) = end {
            sleep(after).await;
            self.tell(call, id, "unheard");
            return Err(error);
        }
        let broken = |error: tokio::task::JoinError| HypervisorError::Failed {
            call: call.name(),
            message: error.to_string(),
        };
        let result = carried_out.await.map_err(broken)?;
        if !back.is_zero() {
            sleep(back).await;
        }
        result
    }

    /// What the machine does when it is asked, however long its way there is.
    async fn carry_out<T, F>(
        self,
        (call, id): (Call, Option<InstanceId>),
        way: Duration,
        run: F,
    ) -> Result<T>
    where
        F: FnOnce(FakeHypervisor) -> BoxFuture<'static, Result<T>>,
    {
        let changes = Call::EFFECTS.contains(&call);
        // A job can be aborted, and a guest destroyed, while something else has the turn.
        let waits = changes && !matches!(call, Call::AbortJob | Call::Destroy);
        let turn = id.filter(|_| waits).map(|id| self.turn(id));
        let _held = match turn {
            Some(turn) => Some(turn.lock_owned().await),
            None => None,
        };
        if call == Call::SaveMemory {
            self.fake.delay(Call::SaveMemory, way);
        } else {
            sleep(way).await;
        }
        if let Some(id) = id.filter(|_| judge::ends_guests(call)) {
            self.judge.may_end(id);
        }
        let result = run(self.fake.clone()).await;
        if changes {
            self.tell(call, id, if result.is_ok() { "done" } else { "failed" });
        }
        result
    }

    fn tell(&self, call: Call, id: Option<InstanceId>, what: &str) {
        let (host, call) = (&self.label, call.name());
        match id.map(|id| self.story.name("s", id.uuid())) {
            Some(server) => self.story.tell(format_args!("{host}: {call} {server} {what}")),
            None => self.story.tell(format_args!("{host}: {call} {what}")),
        }
    }
}

macro_rules! carry_out {
    ($machine:expr, $call:ident, $id:expr, |$fake:ident| $run:expr) => {
        $machine.call(Call::$call, $id, move |$fake| Box::pin(async move { $run.await })).await
    };
}

#[async_trait]
impl Hypervisor for Machine {
    async fn host(&self) -> Result<HostInfo> {
        let info = carry_out!(self, Host, None, |fake| fake.host())?;
        Ok(HostInfo { hypervisor_hostname: self.name.to_string(), ..info })
    }

    fn events(&self) -> BoxStream<'static, HypervisorEvent> {
        self.fake.events()
    }

    async fn list(&self) -> Result<Vec<(InstanceId, DomainState)>> {
        carry_out!(self, List, None, |fake| fake.list())
    }

    async fn domain(&self, id: InstanceId) -> Result<Option<DomainState>> {
        carry_out!(self, Domain, Some(id), |fake| fake.domain(id))
    }

    async fn power(&self, id: InstanceId) -> Result<Option<DomainPower>> {
        carry_out!(self, Domain, Some(id), |fake| fake.power(id))
    }

    async fn define(
        &self,
        spec: &InstanceSpec,
        variant: &DomainVariant,
        tag: OperationId,
    ) -> Result<()> {
        let (spec, variant) = (spec.clone(), variant.clone());
        let id = Some(spec.id);
        carry_out!(self, Define, id, |fake| fake.define(&spec, &variant, tag))
    }

    async fn definition(&self, id: InstanceId) -> Result<String> {
        carry_out!(self, Definition, Some(id), |fake| fake.definition(id))
    }

    async fn define_xml(&self, id: InstanceId, xml: &str) -> Result<()> {
        let xml = xml.to_owned();
        carry_out!(self, DefineXml, Some(id), |fake| fake.define_xml(id, &xml))
    }

    async fn start(&self, id: InstanceId) -> Result<()> {
        carry_out!(self, Start, Some(id), |fake| fake.start(id))
    }

    async fn suspend_cpus(&self, id: InstanceId) -> Result<()> {
        carry_out!(self, SuspendCpus, Some(id), |fake| fake.suspend_cpus(id))
    }

    async fn resume_cpus(&self, id: InstanceId) -> Result<()> {
        carry_out!(self, ResumeCpus, Some(id), |fake| fake.resume_cpus(id))
    }

    async fn wake(&self, id: InstanceId) -> Result<()> {
        carry_out!(self, Wake, Some(id), |fake| fake.wake(id))
    }

    async fn request_shutdown(&self, id: InstanceId) -> Result<()> {
        carry_out!(self, RequestShutdown, Some(id), |fake| fake.request_shutdown(id))
    }

    async fn destroy(&self, id: InstanceId) -> Result<()> {
        carry_out!(self, Destroy, Some(id), |fake| fake.destroy(id))
    }

    async fn undefine(&self, id: InstanceId) -> Result<()> {
        carry_out!(self, Undefine, Some(id), |fake| fake.undefine(id))
    }

    async fn save_memory(&self, id: InstanceId, file: &Path) -> Result<()> {
        let file = file.to_owned();
        carry_out!(self, SaveMemory, Some(id), |fake| fake.save_memory(id, &file))
    }

    async fn save_is_complete(&self, id: InstanceId, file: &Path) -> Result<bool> {
        let file = file.to_owned();
        carry_out!(self, SaveIsComplete, Some(id), |fake| fake.save_is_complete(id, &file))
    }

    async fn restore_memory(&self, id: InstanceId, file: &Path) -> Result<()> {
        let file = file.to_owned();
        carry_out!(self, RestoreMemory, Some(id), |fake| fake.restore_memory(id, &file))
    }

    async fn abort_job(&self, id: InstanceId) -> Result<()> {
        carry_out!(self, AbortJob, Some(id), |fake| fake.abort_job(id))
    }

    async fn job_progress(&self, id: InstanceId) -> Result<Option<JobProgress>> {
        carry_out!(self, JobProgress, Some(id), |fake| fake.job_progress(id))
    }

    async fn stats(&self, id: InstanceId) -> Result<GuestStats> {
        carry_out!(self, Stats, Some(id), |fake| fake.stats(id))
    }

    async fn consoles(&self, id: InstanceId) -> Result<Vec<DomainConsole>> {
        carry_out!(self, Consoles, Some(id), |fake| fake.consoles(id))
    }

    async fn sync_clock(&self, id: InstanceId) -> Result<bool> {
        carry_out!(self, SyncClock, Some(id), |fake| fake.sync_clock(id))
    }
}
