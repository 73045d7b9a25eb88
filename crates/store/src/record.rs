//! Rows as the rest of the control plane sees them.

use std::collections::BTreeMap;
use std::time::Duration;

use reprieve_core::message::{HostInfo, OperationArgs, StepEvent};
use reprieve_core::policy::Target;
use reprieve_core::reboot::{Before, RebootPolicy};
use reprieve_core::spec::{FlavorSpec, ImageSpec};
use reprieve_core::state::status;
use reprieve_core::{
    Fault, HostName, InstanceId, Lock, OperationId, OperationKind, PowerReason, PowerState,
    ProjectId, RequestId, Sealed, ServerGroupId, Step, Subject, TaskState, Timestamp, UserId,
    VmState,
};
use serde::{Deserialize, Serialize};

/// Scheduler hints as they were given, by name.
pub type SchedulerHints = BTreeMap<String, serde_json::Value>;

/// `OS-DCF:diskConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskConfig {
    /// The guest adapts to the disk's size.
    Auto,
    /// The disk is left alone.
    Manual,
}

impl DiskConfig {
    /// As the API and the database spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "AUTO",
            Self::Manual => "MANUAL",
        }
    }

    /// The value with this text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "AUTO" => Some(Self::Auto),
            "MANUAL" => Some(Self::Manual),
            _ => None,
        }
    }
}

/// The flavor as it was when the server was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlavorSnapshot {
    /// `id` of the flavor in the API.
    pub flavor_id: String,
    /// Name.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Root disk in GiB.
    pub root_gib: u64,
    /// Ephemeral disk in GiB.
    pub ephemeral_gib: u64,
    /// Swap in MiB.
    pub swap_mib: u64,
    /// Extra specs.
    pub extra_specs: BTreeMap<String, String>,
}

impl FlavorSnapshot {
    /// What a compute host needs of it.
    #[must_use]
    pub fn spec(&self) -> FlavorSpec {
        FlavorSpec {
            name: self.name.clone(),
            vcpus: self.vcpus,
            memory_mib: self.memory_mib,
            root_gib: self.root_gib,
            extra_specs: self.extra_specs.clone(),
        }
    }
}

/// The latest fault of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// What went wrong.
    pub fault: Fault,
    /// When.
    pub created: Timestamp,
}

/// A server.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceRecord {
    /// Identifier.
    pub id: InstanceId,
    /// Number in `instance-%08x`; unique, never reused.
    pub number: u32,
    /// Owner.
    pub project_id: ProjectId,
    /// Creator.
    pub user_id: UserId,
    /// Display name.
    pub name: String,
    /// Description.
    pub description: Option<String>,
    /// Host name of the guest.
    pub hostname: String,
    /// Image its root disk was made from, as it was then.
    pub image: Option<ImageSpec>,
    /// Flavor.
    pub flavor: FlavorSnapshot,
    /// Metadata.
    pub metadata: BTreeMap<String, String>,
    /// Tags, sorted.
    pub tags: Vec<String>,
    /// Key pair it was made with.
    pub key_name: Option<String>,
    /// Its public keys by name.
    pub public_keys: BTreeMap<String, String>,
    /// User data, base64.
    pub user_data: Option<String>,
    /// Administrator password; only until the server has been built.
    pub admin_password: Option<Sealed>,
    /// Whether it has a config drive.
    pub config_drive: bool,
    /// Availability zone: of its host, or what was asked for when no host was found.
    pub availability_zone: String,
    /// Availability zone that it was asked for in, and that it is kept in.
    pub requested_zone: Option<String>,
    /// Host; `None` before one was chosen.
    pub host: Option<HostName>,
    /// Stable state.
    pub vm_state: VmState,
    /// Projection of the newest unfinished operation.
    pub task_state: Option<TaskState>,
    /// The newest unfinished operation.
    pub active: Option<(OperationId, OperationKind)>,
    /// Power state as last seen.
    pub power_state: PowerState,
    /// Why.
    pub power_reason: PowerReason,
    /// Percent of the running operation, 0 when idle.
    pub progress: u8,
    /// Lock.
    pub lock: Lock,
    /// Reason given for the lock.
    pub locked_reason: Option<String>,
    /// Latest fault. The API shows it only in ERROR and DELETED.
    pub fault: Option<FaultRecord>,
    /// When the guest first ran (Nova: also set again by rescue).
    pub launched_at: Option<Timestamp>,
    /// When it was deleted.
    pub terminated_at: Option<Timestamp>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Last change of the row.
    pub updated_at: Timestamp,
    /// Set when it is gone.
    pub deleted_at: Option<Timestamp>,
    /// Generation: raised by every admitted operation; hosts refuse older ones.
    pub generation: i64,
    /// Host epoch of the newest report that changed the row.
    pub obs_epoch: i64,
    /// Sequence of that report.
    pub obs_seq: i64,
    /// `r-xxxxxxxx`, shared by the servers of one request.
    pub reservation_id: String,
    /// Index within that request.
    pub launch_index: u32,
    /// Disk configuration.
    pub disk_config: DiskConfig,
    /// `accessIPv4`.
    pub access_ip_v4: Option<String>,
    /// `accessIPv6`.
    pub access_ip_v6: Option<String>,
    /// A half-done or active rescue keeps the original definition.
    pub rescue_stashed: bool,
    /// Server group it is a member of.
    pub server_group: Option<ServerGroupId>,
    /// Scheduler hints of the request that made it.
    pub scheduler_hints: SchedulerHints,
    /// Its host was restarted, with this policy, and its guest was not looked at since.
    pub host_reboot: Option<RebootPolicy>,
    /// It was suspended because its host goes down, and not because its user wanted it.
    pub suspended_for_host: bool,
    /// Raised with every change of the row: two records of a server with the same one are equal.
    pub revision: i64,
}

impl<'a> From<&'a InstanceRecord> for Target<'a> {
    fn from(server: &'a InstanceRecord) -> Self {
        Self { project_id: Some(&server.project_id), user_id: Some(&server.user_id) }
    }
}

impl InstanceRecord {
    /// The `status` that the API shows.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        if self.deleted_at.is_some() { "DELETED" } else { status(self.vm_state, self.task_state) }
    }

    /// `instance-%08x`.
    #[must_use]
    pub fn domain_name(&self) -> String {
        format!("instance-{:08x}", self.number)
    }

    /// Whether its memory is kept for it even while it is suspended
    /// ([`reprieve_core::schedule::releases_memory`]).
    #[must_use]
    pub const fn holds_memory(&self) -> bool {
        self.active.is_some() || self.suspended_for_host
    }

    /// What a restart of its host finds.
    #[must_use]
    pub const fn before_reboot(&self) -> Before {
        Before { state: self.vm_state, suspended_for_host: self.suspended_for_host }
    }

    /// What admission needs to know.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject {
            id: self.id,
            vm_state: self.vm_state,
            active: self
                .active
                .map(|(_, kind)| (kind, self.task_state.unwrap_or_else(|| kind.task_state()))),
            launched: self.launched_at.is_some(),
            lock: self.lock,
            rescue_stashed: self.rescue_stashed,
        }
    }
}

/// State of an operation; the diagram is in the crate documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationState {
    /// Recorded; not yet handed to the bus, or waiting for the operation it supersedes.
    Pending,
    /// Handed to the bus.
    Dispatched,
    /// The host has it.
    Running,
    /// Being stopped because another one takes its place.
    Cancelling,
    /// Done.
    Succeeded,
    /// Not done.
    Failed,
    /// Stopped before its effect.
    Cancelled,
}

impl OperationState {
    /// Text in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dispatched => "dispatched",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The value with this text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Pending,
            Self::Dispatched,
            Self::Running,
            Self::Cancelling,
            Self::Succeeded,
            Self::Failed,
            Self::Cancelled,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
    }

    /// Whether it has ended (invariant I5: exactly once).
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Dispatched | Self::Running | Self::Cancelling => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// Result of an event of an instance action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventResult {
    /// It worked.
    Success,
    /// It did not.
    Error,
}

impl EventResult {
    /// As the API spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Error => "Error",
        }
    }
}

/// What Nova calls an event of an instance action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationEvent {
    /// `compute_pause_instance`, `api_lock`, …
    pub event: String,
    /// Begin.
    pub started_at: Timestamp,
    /// End; `None` while it runs.
    pub finished_at: Option<Timestamp>,
    /// Result; `None` while it runs.
    pub result: Option<EventResult>,
    /// Chain of causes (administrators only in the API).
    pub traceback: Option<String>,
    /// One line.
    pub details: Option<String>,
    /// Host it ran on.
    pub host: Option<HostName>,
}

/// An operation, and at the same time what Nova calls an instance action. Survives its server.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationRecord {
    /// Identifier.
    pub id: OperationId,
    /// Its server.
    pub instance_id: InstanceId,
    /// Kind; `None` for actions that are done in the database alone (lock, unlock, resetState).
    pub kind: Option<OperationKind>,
    /// Name of the instance action: `create`, `pause`, `lock`, …
    pub action: String,
    /// Name of its event, if it has one.
    pub event: Option<String>,
    /// State.
    pub state: OperationState,
    /// Request that asked for it.
    pub request_id: RequestId,
    /// Who asked.
    pub user_id: UserId,
    /// Project of who asked.
    pub project_id: ProjectId,
    /// Host it was sent to.
    pub host: Option<HostName>,
    /// Generation of the server that it was given.
    pub generation: i64,
    /// State of the server when it was accepted.
    pub prior: VmState,
    /// Meaning of the steps.
    pub plan_version: u32,
    /// Step it is at, from 0.
    pub step: Option<u32>,
    /// Its name.
    pub step_name: Option<Step>,
    /// Percent.
    pub progress: u8,
    /// How often it was handed to the bus.
    pub attempt: u32,
    /// Arguments; sealed secrets are wiped when it ends.
    pub args: OperationArgs,
    /// When it has to have ended.
    pub deadline_at: Option<Timestamp>,
    /// The operation it waits for.
    pub after: Option<OperationId>,
    /// Why it failed.
    pub error: Option<Fault>,
    /// A person has to look (invariant I6).
    pub needs_attention: bool,
    /// When it was recorded: `start_time` of the action.
    pub created_at: Timestamp,
    /// Last change: `updated_at` of the action.
    pub updated_at: Timestamp,
    /// When the host took it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl OperationRecord {
    /// `message` of the instance action: `Error` when it failed.
    #[must_use]
    pub fn message(&self) -> Option<&'static str> {
        (self.state == OperationState::Failed).then_some("Error")
    }

    /// Events of the instance action: one once it has begun, or if it failed without that, so that its
    /// owner learns why.
    #[must_use]
    pub fn events(&self) -> Vec<OperationEvent> {
        let failed_at = self.error.as_ref().and(self.finished_at);
        let (Some(event), Some(started_at)) = (self.event.clone(), self.started_at.or(failed_at))
        else {
            return Vec::new();
        };
        let result = match self.state {
            OperationState::Succeeded => Some(EventResult::Success),
            OperationState::Failed | OperationState::Cancelled => Some(EventResult::Error),
            OperationState::Pending
            | OperationState::Dispatched
            | OperationState::Running
            | OperationState::Cancelling => None,
        };
        vec![OperationEvent {
            event,
            started_at,
            finished_at: self.finished_at,
            result,
            traceback: self.error.as_ref().map(|fault| fault.details.clone()),
            details: self.error.as_ref().map(|fault| fault.message.clone()),
            host: self.host.clone(),
        }]
    }
}

/// One line of the audit of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// Order within the operation.
    pub seq: i64,
    /// The step.
    pub step: Step,
    /// What happened to it.
    pub event: StepEvent,
    /// When, by the host's clock.
    pub at: Timestamp,
    /// Words.
    pub detail: String,
}

/// How far a host can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostState {
    /// It takes operations.
    Up,
    /// It should have given a sign of life by now.
    Suspect,
    /// It is silent, cannot reach its hypervisor, or an administrator says so.
    Down,
}

impl HostState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Up, Self::Suspect, Self::Down];

    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
        }
    }
}

/// A compute host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRecord {
    /// Name.
    pub name: HostName,
    /// Epoch: raised by each start of its agent.
    pub epoch: i64,
    /// What it offers, as last reported.
    pub info: Option<HostInfo>,
    /// Why its hypervisor cannot be reached.
    pub problem: Option<String>,
    /// Whether new servers may be placed on it.
    pub enabled: bool,
    /// Why not, in an administrator's words.
    pub disabled_reason: Option<String>,
    /// An administrator knows that it is down, whatever it says itself.
    pub forced_down: bool,
    /// Number that the API shows before 2.53; never given to another host.
    pub number: i64,
    /// Last change by an administrator.
    pub changed_at: Option<Timestamp>,
    /// First registration.
    pub created_at: Timestamp,
    /// Last sign of life.
    pub last_seen: Timestamp,
}

impl HostRecord {
    /// A host that was silent for longer is down (`service_down_time`).
    pub const SILENCE: Duration = Duration::from_secs(60);
    /// A host that was silent for longer is suspect: signs of life come every ten seconds, and two
    /// are missing.
    pub const SUSPICION: Duration = Duration::from_secs(25);

    /// Name that its hypervisor goes by.
    #[must_use]
    pub fn node(&self) -> &str {
        self.info.as_ref().map_or(self.name.as_str(), |info| info.hypervisor_hostname.as_str())
    }

    /// Whether its agent gave a sign of life lately (`state` of the service: up).
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now < self.last_seen.plus(Self::SILENCE)
    }

    /// Whether it can run guests now.
    #[must_use]
    pub fn is_up(&self, now: Timestamp) -> bool {
        !self.forced_down && self.is_alive(now) && self.problem.is_none() && self.info.is_some()
    }

    /// How long ago the last sign of life was.
    #[must_use]
    pub fn lease_age(&self, now: Timestamp) -> Duration {
        self.last_seen.until(now)
    }

    /// How far it can be relied on.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> HostState {
        if !self.is_up(now) {
            HostState::Down
        } else if self.lease_age(now) >= Self::SUSPICION {
            HostState::Suspect
        } else {
            HostState::Up
        }
    }

    /// `updated_at` of the service: the last sign of life, or the last change by an administrator.
    #[must_use]
    pub fn updated_at(&self) -> Timestamp {
        self.changed_at.map_or(self.last_seen, |changed| changed.max(self.last_seen))
    }
}

/// A flavor.
#[derive(Debug, Clone, PartialEq)]
pub struct FlavorRecord {
    /// `id` in the API.
    pub flavor_id: String,
    /// Name, unique.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Root disk in GiB.
    pub root_gib: u64,
    /// Ephemeral disk in GiB.
    pub ephemeral_gib: u64,
    /// Swap in MiB.
    pub swap_mib: u64,
    /// Historical factor, stored and shown only.
    pub rxtx_factor: f64,
    /// Whether every project may use it.
    pub is_public: bool,
    /// Description.
    pub description: Option<String>,
    /// Extra specs.
    pub extra_specs: BTreeMap<String, String>,
    /// Projects that may use it when it is not public.
    pub access: Vec<ProjectId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Option<Timestamp>,
}

impl FlavorRecord {
    /// What a server keeps of it.
    #[must_use]
    pub fn snapshot(&self) -> FlavorSnapshot {
        FlavorSnapshot {
            flavor_id: self.flavor_id.clone(),
            name: self.name.clone(),
            vcpus: self.vcpus,
            memory_mib: self.memory_mib,
            root_gib: self.root_gib,
            ephemeral_gib: self.ephemeral_gib,
            swap_mib: self.swap_mib,
            extra_specs: self.extra_specs.clone(),
        }
    }

    /// Whether a project may use it.
    #[must_use]
    pub fn visible_to(&self, project: &ProjectId) -> bool {
        self.is_public || self.access.contains(project)
    }
}

/// A public key of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeypairRecord {
    /// Number, shown as `id`.
    pub number: i64,
    /// Owner.
    pub user_id: UserId,
    /// Name, unique per user.
    pub name: String,
    /// `ssh`.
    pub kind: String,
    /// OpenSSH public key.
    pub public_key: String,
    /// MD5 fingerprint, 16 hexadecimal pairs.
    pub fingerprint: String,
    /// When it was made.
    pub created_at: Timestamp,
}
