//! Messages between the control plane and the compute hosts.
//!
//! Commands and reports are idempotent and fenced: a command names the operation, its generation
//! and the epoch of the host it was meant for; a report carries the host's epoch and a sequence
//! number that only grows (invariant I4). Requests are questions and hints that
//! change no server.

use serde::{Deserialize, Serialize};

use crate::conclude::Observation;
use crate::console::{ConsoleEndpoint, ConsoleProtocol};
use crate::fault::Fault;
use crate::ids::{HostName, InstanceId, OperationId, RequestId};
use crate::operation::OperationKind;
use crate::plan::Step;
use crate::reboot::RebootPolicy;
use crate::sealed::Sealed;
use crate::spec::{ImageSpec, InjectedFile, InstanceSpec};
use crate::state::{PowerState, VmState};
use crate::stats::GuestStats;
use crate::time::Timestamp;

/// What an operation needs beyond the server's own data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OperationArgs {
    /// Image to rescue with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescue_image: Option<ImageSpec>,
    /// Administrator password of the rescue system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescue_password: Option<Sealed>,
    /// Files for the config drive of a new server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub injected_files: Vec<InjectedFile>,
    /// Who asked wants it to end at its deadline if no host has taken it by then.
    #[serde(default, skip_serializing_if = "is_false")]
    pub expires: bool,
    /// Of a suspend: the host goes down, so the server goes on when it is back, if its policy says so
    /// ([`crate::reboot`]).
    #[serde(default, skip_serializing_if = "is_false")]
    pub for_host: bool,
}

/// Do this operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOperation {
    /// The operation; running it twice is running it once.
    pub operation_id: OperationId,
    /// Kind.
    pub kind: OperationKind,
    /// Request that asked for it.
    pub request_id: RequestId,
    /// Generation of the server; older ones are refused.
    pub generation: i64,
    /// Epoch of the host the command was meant for.
    pub host_epoch: i64,
    /// Meaning of the steps.
    pub plan_version: u32,
    /// Steps.
    pub plan: Vec<Step>,
    /// State of the server when it was accepted.
    pub prior: VmState,
    /// When it has to have ended, by the control plane's clock. The host replaces it by its own when it
    /// takes the operation, from [`Self::time_left_ms`]: clocks of different machines are never compared.
    pub deadline: Timestamp,
    /// How long it may take, in milliseconds from when its host takes it. `None` from a control plane that
    /// does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_left_ms: Option<u64>,
    /// The server.
    pub spec: InstanceSpec,
    /// Arguments.
    pub args: OperationArgs,
}

/// Control plane → compute host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Answer to [`ReportBody::Hello`]: your epoch.
    Welcome {
        /// The start that is meant.
        boot_id: String,
        /// Its epoch.
        epoch: i64,
        /// Servers the control plane believes to be here, so that the host can watch them.
        instances: Vec<InstanceId>,
    },
    /// Say hello again: what the tables know of this host is older than this epoch of it, or nothing.
    Greet {
        /// The epoch that is not known; another one has nothing to do.
        epoch: i64,
    },
    /// Do this.
    Run(Box<RunOperation>),
    /// Stop this at the next safe point.
    Cancel {
        /// The operation.
        operation_id: OperationId,
        /// Its server.
        instance_id: InstanceId,
    },
}

/// What happened to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepEvent {
    /// Begun.
    Started,
    /// Its effect is there.
    Done,
    /// Tried, will be tried again.
    Retrying,
    /// Given up.
    Failed,
}

/// A step that is done, told with the end of its operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepDone {
    /// Index in the plan.
    pub index: u32,
    /// The step.
    pub step: Step,
    /// When, by the host's clock; for people.
    pub at: Timestamp,
    /// Words for the event log.
    pub detail: String,
}

/// How an operation ended on its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum OperationResult {
    /// Everything in the plan is done.
    Succeeded,
    /// Not done; what was private to the operation has been undone.
    Failed {
        /// Why.
        fault: Fault,
        /// A person has to look: the outcome could not be established (invariant I6).
        needs_attention: bool,
    },
    /// Stopped on request before its effect.
    Cancelled,
}

/// What a host can offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInfo {
    /// `hypervisor_hostname`.
    pub hypervisor_hostname: String,
    /// `QEMU`.
    pub hypervisor_type: String,
    /// As libvirt numbers it: 7.2.0 = 7002000.
    pub hypervisor_version: u64,
    /// Logical CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// File system of the instances, total, in GiB.
    pub disk_gib: u64,
    /// File system of the instances, free, in GiB.
    pub disk_free_gib: u64,
    /// Whether guests run on KVM; otherwise TCG.
    pub kvm: bool,
    /// The host's CPU as JSON: architecture, model, vendor, topology, features.
    pub cpu_info: String,
    /// Address of the host towards the others.
    #[serde(default = "loopback")]
    pub host_ip: String,
    /// How long the machine is up and how busy, in the words of uptime(1), as of this message.
    #[serde(default)]
    pub uptime: String,
    /// Version of the agent; empty from one that does not say it.
    #[serde(default)]
    pub agent_version: String,
    /// Guests that carry Reprieve's mark although the control plane never spoke of their servers, for
    /// instance because its tables were restored from a backup. They are left alone. At most
    /// [`Self::MAX_UNKNOWN_GUESTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_guests: Vec<UnknownGuest>,
}

impl HostInfo {
    /// How many unknown guests of a host are told, so that a message has a bound.
    pub const MAX_UNKNOWN_GUESTS: usize = 100;
}

/// A guest of no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownGuest {
    /// Id of its domain, which was that of its server.
    pub id: InstanceId,
    /// Its power state.
    pub power: PowerState,
}

/// What a host that did not say its address yet is shown with.
fn loopback() -> String {
    "127.0.0.1".to_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A restart of a host's machine, which ended all of its guests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebooted {
    /// The kernel's id of the start that the machine is in now.
    pub machine_boot: String,
    /// What is done with servers that say nothing else.
    pub policy: RebootPolicy,
}

/// Body of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum ReportBody {
    /// The host started and asks for its epoch. Sent with epoch and sequence 0.
    Hello {
        /// Random per start.
        boot_id: String,
        /// The machine was restarted since the control plane last answered this host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rebooted: Option<Rebooted>,
        /// The newest epoch that it knows of, so that its next one is greater even if the tables are
        /// older; 0 for none.
        #[serde(default, skip_serializing_if = "is_zero")]
        after: i64,
    },
    /// I am alive.
    Heartbeat {
        /// `None` while the hypervisor cannot be reached.
        host: Option<HostInfo>,
        /// Why it cannot be reached.
        problem: Option<String>,
    },
    /// The operation is durable on this host. Said only when asked again: otherwise the first report
    /// about one of its steps says so too.
    Accepted {
        /// The operation.
        operation_id: OperationId,
    },
    /// Something happened to a step.
    Step {
        /// The operation.
        operation_id: OperationId,
        /// Index in the plan.
        index: u32,
        /// The step.
        step: Step,
        /// What happened.
        event: StepEvent,
        /// Words for the event log.
        detail: String,
    },
    /// The operation ended.
    Finished {
        /// The operation.
        operation_id: OperationId,
        /// Its server.
        instance_id: InstanceId,
        /// How.
        result: OperationResult,
        /// What the guest looked like afterwards.
        seen: Observation,
        /// Steps that were done since the last report about the operation: each report costs the
        /// control plane as much as a quick step costs the guest. None when the end is reported
        /// again.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        done: Vec<StepDone>,
    },
    /// The command was for an earlier epoch or generation and was not run.
    Rejected {
        /// The operation.
        operation_id: OperationId,
        /// Why.
        reason: String,
    },
    /// A guest was seen outside of any operation.
    Observed {
        /// Its server.
        instance_id: InstanceId,
        /// How.
        seen: Observation,
    },
}

/// Compute host → control plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The host.
    pub host: HostName,
    /// Its epoch.
    pub epoch: i64,
    /// Grows by one with each report of an epoch.
    pub sequence: i64,
    /// When, by the host's clock; for people, never compared between hosts.
    pub at: Timestamp,
    /// What.
    pub body: ReportBody,
}

/// A question to a compute host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum HostRequest {
    /// The end of the console log.
    ConsoleLog {
        /// The server.
        instance_id: InstanceId,
        /// At most this many bytes from its end.
        max_bytes: u64,
    },
    /// What a running guest uses.
    Diagnostics {
        /// The server.
        instance_id: InstanceId,
    },
    /// Where a proxy reaches a console of a running guest.
    Console {
        /// The server.
        instance_id: InstanceId,
        /// What it has to speak.
        protocol: ConsoleProtocol,
    },
    /// A hint: these images will be needed. Fetching them goes on after the answer.
    CacheImages {
        /// The images.
        images: Vec<ImageSpec>,
    },
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "snake_case")]
pub enum HostResponse {
    /// The text; invalid UTF-8 replaced.
    ConsoleLog {
        /// Text.
        text: String,
    },
    /// The guest has no console now.
    NoConsole,
    /// What the guest uses.
    Diagnostics {
        /// Numbers.
        stats: GuestStats,
    },
    /// There it is.
    Console {
        /// Where.
        endpoint: ConsoleEndpoint,
    },
    /// The guest does not run now, which the answer would need.
    NotRunning {
        /// What it does instead.
        power: PowerState,
    },
    /// The hint was taken.
    Noted,
    /// It could not be answered.
    Failed {
        /// Why.
        message: String,
    },
}
