//! How the rest of the system reaches the world. Implemented by other crates, by fakes in tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::conclude::Observation;
use crate::console::DomainConsole;
use crate::ids::{HostName, InstanceId, OperationId};
use crate::message::{Command, HostInfo, HostRequest, HostResponse, Report};
use crate::notification::Notification;
use crate::spec::{ImageSpec, InstanceSpec, RescueMode};
use crate::state::{PowerReason, PowerState};
use crate::stats::GuestStats;

/// Which definition a domain gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainVariant {
    /// Its own disks.
    Normal,
    /// With a rescue disk.
    Rescue {
        /// How the rescue disk is attached.
        mode: RescueMode,
        /// Properties of the rescue image; in legacy mode they choose the disk bus.
        image: ImageSpec,
    },
}

/// What the hypervisor says about one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainState {
    /// Power state.
    pub power: PowerState,
    /// Why.
    pub reason: PowerReason,
    /// Whether a persistent definition exists.
    pub persistent: bool,
    /// The operation that wrote the current definition, from the domain's metadata.
    pub tag: Option<OperationId>,
    /// Whether the running (or, when off, the persistent) definition has a rescue disk.
    pub rescue: bool,
    /// Whether a job (save, migration, dump) is running on it now. Its result is not known yet.
    pub job: bool,
}

impl DomainState {
    /// What of it concerns power alone.
    #[must_use]
    pub const fn power(&self) -> DomainPower {
        DomainPower { power: self.power, reason: self.reason, job: self.job }
    }
}

/// The power of one domain: what is asked before and after its CPUs are stopped or let go on. Costs
/// the hypervisor half of what a [`DomainState`] costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainPower {
    /// Power state.
    pub power: PowerState,
    /// Why.
    pub reason: PowerReason,
    /// Whether a job (save, migration, dump) is running on it now. Its result is not known yet.
    pub job: bool,
}

/// Progress of a job on a domain, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobProgress {
    /// Bytes handled.
    pub processed: u64,
    /// Bytes in all, as far as known.
    pub total: u64,
}

/// Something happened without being asked for, or as the echo of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HypervisorEvent {
    /// The power state of a domain may have changed: look.
    Changed(InstanceId),
    /// The connection was (re-)established: look at everything.
    Connected,
    /// The connection was lost, with the reason.
    Disconnected(String),
}

/// Why a call to the hypervisor failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HypervisorError {
    /// No connection to libvirt. Nothing was done; try again when it is back.
    #[error("the hypervisor at {uri} cannot be reached: {message}; is libvirtd running?")]
    Unavailable {
        /// Connection URI.
        uri: String,
        /// libvirt's words.
        message: String,
    },
    /// The call did not return in time. It may still happen: probe.
    #[error("{call} did not return within {seconds} s")]
    Timeout {
        /// The call.
        call: &'static str,
        /// Its deadline.
        seconds: u64,
    },
    /// The connection was lost during the call. It may still happen: probe.
    #[error("{call}: the connection to the hypervisor was lost during the call: {message}")]
    Interrupted {
        /// The call.
        call: &'static str,
        /// libvirt's words.
        message: String,
    },
    /// There is no such domain.
    #[error("the hypervisor has no domain for server {0}")]
    NoDomain(InstanceId),
    /// The domain is in a state in which the call is impossible.
    #[error("{call}: {message}")]
    InvalidState {
        /// The call.
        call: &'static str,
        /// libvirt's words.
        message: String,
    },
    /// The hypervisor refused or failed.
    #[error("{call}: {message}")]
    Failed {
        /// The call.
        call: &'static str,
        /// libvirt's words.
        message: String,
    },
}

impl HypervisorError {
    /// Whether the same call may succeed later without anybody changing anything about the server.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Timeout { .. } | Self::Interrupted { .. } => true,
            Self::NoDomain(_) | Self::InvalidState { .. } | Self::Failed { .. } => false,
        }
    }
}

/// Files of one server on its host, as `<instances>/<uuid>/…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstancePaths {
    /// The directory itself.
    pub dir: PathBuf,
}

impl InstancePaths {
    /// Of `id` below `instances`.
    #[must_use]
    pub fn new(instances: &Path, id: InstanceId) -> Self {
        Self { dir: instances.join(id.to_string()) }
    }

    /// Own root disk.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk")
    }

    /// Rescue disk.
    #[must_use]
    pub fn rescue_disk(&self) -> PathBuf {
        self.dir.join("disk.rescue")
    }

    /// Config drive.
    #[must_use]
    pub fn config_drive(&self) -> PathBuf {
        self.dir.join("disk.config")
    }

    /// Config drive of a rescue.
    #[must_use]
    pub fn rescue_config_drive(&self) -> PathBuf {
        self.dir.join("disk.config.rescue")
    }

    /// Definition that unrescue puts back.
    #[must_use]
    pub fn stashed_definition(&self) -> PathBuf {
        self.dir.join("unrescue.xml")
    }

    /// Log of the serial console.
    #[must_use]
    pub fn console_log(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// Directory of saved memory and its manifest.
    #[must_use]
    pub fn save_dir(&self) -> PathBuf {
        self.dir.join("save")
    }
}

/// One hypervisor. Every call has a deadline inside the implementation and leaves the state to be
/// probed when it fails: an error never proves that nothing happened.
///
/// No call here is idempotent by itself; the compute's steps probe before and after.
#[async_trait]
pub trait Hypervisor: Send + Sync + 'static {
    /// What the host offers.
    async fn host(&self) -> Result<HostInfo, HypervisorError>;

    /// Events from now on; the first says how the connection is, if that is known already. Several
    /// streams may exist.
    fn events(&self) -> BoxStream<'static, HypervisorEvent>;

    /// Domains that carry Reprieve's metadata, with their states.
    async fn list(&self) -> Result<Vec<(InstanceId, DomainState)>, HypervisorError>;

    /// State of one domain; `None` when there is none. Does not wait for jobs.
    async fn domain(&self, id: InstanceId) -> Result<Option<DomainState>, HypervisorError>;

    /// Power of one domain; `None` when there is none. Does not wait for jobs.
    async fn power(&self, id: InstanceId) -> Result<Option<DomainPower>, HypervisorError>;

    /// Defines (or redefines) the persistent domain, tagged with the operation.
    async fn define(
        &self,
        spec: &InstanceSpec,
        variant: &DomainVariant,
        tag: OperationId,
    ) -> Result<(), HypervisorError>;

    /// The persistent definition as XML.
    async fn definition(&self, id: InstanceId) -> Result<String, HypervisorError>;

    /// Defines from XML that [`Self::definition`] returned earlier.
    async fn define_xml(&self, id: InstanceId, xml: &str) -> Result<(), HypervisorError>;

    /// Boots the defined domain. Never restores a managed save.
    async fn start(&self, id: InstanceId) -> Result<(), HypervisorError>;

    /// Stops the CPUs.
    async fn suspend_cpus(&self, id: InstanceId) -> Result<(), HypervisorError>;

    /// Lets the CPUs go on.
    async fn resume_cpus(&self, id: InstanceId) -> Result<(), HypervisorError>;

    /// Wakes a guest that put itself to sleep (power state `Suspended`).
    async fn wake(&self, id: InstanceId) -> Result<(), HypervisorError>;

    /// Presses the ACPI power button.
    async fn request_shutdown(&self, id: InstanceId) -> Result<(), HypervisorError>;

    /// Ends the guest process. Never removes files.
    async fn destroy(&self, id: InstanceId) -> Result<(), HypervisorError>;

    /// Removes the persistent definition (and NVRAM), never disks or saved memory of ours.
    async fn undefine(&self, id: InstanceId) -> Result<(), HypervisorError>;

    /// Writes memory to `file` (created or overwritten) and ends the guest process. Returns when the
    /// hypervisor says the file is complete; it is not durable yet.
    async fn save_memory(&self, id: InstanceId, file: &Path) -> Result<(), HypervisorError>;

    /// Whether `file` has the header of a complete save of this hypervisor and its full length.
    async fn save_is_complete(&self, id: InstanceId, file: &Path) -> Result<bool, HypervisorError>;

    /// Brings memory back from `file` with the CPUs stopped. Keeps the file.
    async fn restore_memory(&self, id: InstanceId, file: &Path) -> Result<(), HypervisorError>;

    /// Asks a running job on the domain to stop.
    async fn abort_job(&self, id: InstanceId) -> Result<(), HypervisorError>;

    /// Progress of the running job, if any.
    async fn job_progress(&self, id: InstanceId) -> Result<Option<JobProgress>, HypervisorError>;

    /// What a running guest uses.
    async fn stats(&self, id: InstanceId) -> Result<GuestStats, HypervisorError>;

    /// The consoles of a domain as it runs now; none when it does not run.
    async fn consoles(&self, id: InstanceId) -> Result<Vec<DomainConsole>, HypervisorError>;

    /// Sets the guest's clock to now through its agent. `Ok(false)`: the guest does not help.
    async fn sync_clock(&self, id: InstanceId) -> Result<bool, HypervisorError>;
}

/// Why an image could not be brought to a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageSourceError {
    /// The image service has no such image, or no longer.
    #[error("image {0} does not exist any more")]
    NotFound(crate::ids::ImageId),
    /// It could not be read; trying again may help.
    #[error("image {image} could not be read: {message}")]
    Unreadable {
        /// The image.
        image: crate::ids::ImageId,
        /// Why.
        message: String,
    },
}

/// Where a compute host gets image data from.
#[async_trait]
pub trait ImageSource: Send + Sync + 'static {
    /// Writes the data of `image` to `file`, which does not exist yet. The caller verifies it.
    async fn fetch(&self, image: &ImageSpec, file: &Path) -> Result<(), ImageSourceError>;
}

/// Why a message could not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The transport is down; try again.
    #[error("the message bus cannot be reached: {0}")]
    Unavailable(String),
    /// Nobody answered in time.
    #[error("{topic} did not answer within {seconds} s")]
    Timeout {
        /// Where the request went.
        topic: String,
        /// Deadline.
        seconds: u64,
    },
    /// The message is longer than a bus carries. Sending it again does not help.
    #[error("a message of {bytes} bytes for {topic} is not sent: {limit} are allowed")]
    TooLarge {
        /// Where it was to go.
        topic: String,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// The message cannot be read by this version.
    #[error("a message on {topic} cannot be read: {message}")]
    Unreadable {
        /// Where it was.
        topic: String,
        /// Why.
        message: String,
    },
}

/// A received message that has to be acknowledged once its effect is durable.
#[async_trait]
pub trait Delivery<M>: Send + Sync {
    /// The message.
    fn message(&self) -> &M;
    /// Tells the bus that the message need not be delivered again.
    async fn acknowledge(self: Box<Self>);
}

/// A stream of messages.
#[async_trait]
pub trait Subscription<M>: Send {
    /// The next message; `None` when the bus is closed. Cancel safe.
    async fn next(&mut self) -> Option<Box<dyn Delivery<M>>>;
}

/// Answers requests on a host.
#[async_trait]
pub trait RequestHandler: Send + Sync + 'static {
    /// The answer; never fails, because failures are answers.
    async fn answer(&self, request: HostRequest) -> HostResponse;
}

/// A connection that a bus is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusConnection {
    /// What it is for, in one word.
    pub name: &'static str,
    /// Whether it stands now.
    pub up: bool,
}

/// Transport between control plane and compute hosts: at least once, per-host order not promised.
/// It is a doorbell: losing every message must only cost time.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends a command to a host; returns when the bus holds it.
    async fn command(&self, host: &HostName, command: &Command) -> Result<(), BusError>;
    /// Commands for a host.
    async fn commands(&self, host: &HostName) -> Result<Box<dyn Subscription<Command>>, BusError>;
    /// Sends a report.
    async fn report(&self, report: &Report) -> Result<(), BusError>;
    /// Reports of all hosts.
    async fn reports(&self) -> Result<Box<dyn Subscription<Report>>, BusError>;
    /// Asks a host and waits for the answer.
    async fn request(
        &self,
        host: &HostName,
        request: &HostRequest,
        deadline: Duration,
    ) -> Result<HostResponse, BusError>;
    /// Answers requests for a host until the returned guard is dropped.
    async fn serve(
        &self,
        host: &HostName,
        handler: Arc<dyn RequestHandler>,
    ) -> Result<Box<dyn std::any::Any + Send>, BusError>;
    /// The connections that it is made of, for whoever watches.
    fn connections(&self) -> Vec<BusConnection>;
}

/// Why notifications could not be passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("notifications cannot be passed on: {0}")]
pub struct EmitError(pub String);

/// Takes notifications to whoever listens: a message broker, or streams of this process.
#[async_trait]
pub trait Emitter: Send + Sync + 'static {
    /// Whether anybody would get one now. None are made otherwise.
    fn has_audience(&self) -> bool;
    /// Passes notifications on, in their order. After an error the same ones come again.
    async fn emit(&self, notifications: &[Arc<Notification>]) -> Result<(), EmitError>;
    /// So many changes before the next notification were dropped before they could be passed on.
    async fn missed(&self, changes: u64);
}

/// Combines what the hypervisor and the files say into an [`Observation`].
#[must_use]
pub fn observation(
    domain: Option<DomainPower>,
    rescue_stashed: bool,
    saved: crate::conclude::SavedMemory,
) -> Observation {
    let (power, reason) = match domain {
        Some(domain) => (domain.power, domain.reason),
        None => (PowerState::NoState, PowerReason::Unknown),
    };
    Observation { power, reason, rescue_stashed, saved }
}
