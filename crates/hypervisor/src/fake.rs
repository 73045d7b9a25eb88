//! A hypervisor in memory with a simulated guest and injected faults, for fast tests.

use std::path::PathBuf;
use std::time::Duration;

use reprieve_core::InstanceId;
use reprieve_core::ports::HypervisorError;
use tokio::sync::oneshot;

/// A call of the `Hypervisor` port, to aim a fault at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// `host`
    Host,
    /// `list`
    List,
    /// `domain`
    Domain,
    /// `define`
    Define,
    /// `definition`
    Definition,
    /// `define_xml`
    DefineXml,
    /// `start`
    Start,
    /// `suspend_cpus`
    SuspendCpus,
    /// `resume_cpus`
    ResumeCpus,
    /// `wake`
    Wake,
    /// `request_shutdown`
    RequestShutdown,
    /// `destroy`
    Destroy,
    /// `undefine`
    Undefine,
    /// `save_memory`
    SaveMemory,
    /// `save_is_complete`
    SaveIsComplete,
    /// `restore_memory`
    RestoreMemory,
    /// `abort_job`
    AbortJob,
    /// `job_progress`
    JobProgress,
    /// `sync_clock`
    SyncClock,
}

/// Whether the caller dies before or after the effect of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before: nothing has happened.
    Before,
    /// After: it has happened but the caller never hears of it.
    After,
}

/// The fake. Clones share one state, which survives the "crash" of whoever uses it.
#[derive(Debug, Clone)]
pub struct FakeHypervisor {
    instances: PathBuf,
}

impl FakeHypervisor {
    /// With servers' directories below `instances`, as [`reprieve_core::ports::InstancePaths`].
    #[must_use]
    pub fn new(instances: PathBuf) -> Self {
        Self { instances }
    }

    /// The next `call` fails with `error` and has no effect.
    pub fn fail_next(&self, call: Call, error: HypervisorError) {
        let _ = (&self.instances, call, error);
    }

    /// The next `call` never returns. The receiver fires when that point is reached; then drop the
    /// caller, as a kill -9 would, and start a new one on the same fake.
    pub fn crash_at(&self, call: Call, moment: Moment) -> oneshot::Receiver<()> {
        let _ = (call, moment);
        oneshot::channel().1
    }

    /// Every `call` takes this long from now on.
    pub fn delay(&self, call: Call, time: Duration) {
        let _ = (call, time);
    }

    /// Whether the guest ignores the ACPI power button.
    pub fn ignore_shutdown(&self, id: InstanceId, ignores: bool) {
        let _ = (id, ignores);
    }

    /// The connection breaks (with a reason) or comes back.
    pub fn set_disconnected(&self, reason: Option<&str>) {
        let _ = reason;
    }

    /// Lets every running guest count `ticks` further and write to its first disk.
    pub fn advance(&self, ticks: u64) {
        let _ = ticks;
    }

    /// The guest's counter; `None` when it has no process.
    #[must_use]
    pub fn counter(&self, id: InstanceId) -> Option<u64> {
        let _ = id;
        None
    }

    /// Calls so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<(Call, Option<InstanceId>)> {
        Vec::new()
    }
}
