//! The operations that change a server, and the names Nova gives to each of them.

use std::time::Duration;

use crate::state::TaskState;
use crate::text_enum;

text_enum!(
    /// An exclusive operation on one server.
    OperationKind {
        /// Build and boot a new server.
        Create = "create",
        /// Destroy the guest and its files.
        Delete = "delete",
        /// Stop the CPUs, keep memory in RAM.
        Pause = "pause",
        /// Let the CPUs go on.
        Unpause = "unpause",
        /// Write memory to disk and end the guest process.
        Suspend = "suspend",
        /// Bring a suspended guest back.
        Resume = "resume",
        /// Boot from a rescue image with the own disk attached second.
        Rescue = "rescue",
        /// Back to the own disk.
        Unrescue = "unrescue",
        /// Power off, gracefully first.
        Stop = "stop",
        /// Boot a stopped server.
        Start = "start",
        /// Ask the guest to shut down and boot it again.
        RebootSoft = "reboot-soft",
        /// Power cycle.
        RebootHard = "reboot-hard",
    }
);

impl OperationKind {
    /// What the API shows while the operation is active.
    #[must_use]
    pub const fn task_state(self) -> TaskState {
        match self {
            Self::Create => TaskState::Scheduling,
            Self::Delete => TaskState::Deleting,
            Self::Pause => TaskState::Pausing,
            Self::Unpause => TaskState::Unpausing,
            Self::Suspend => TaskState::Suspending,
            Self::Resume => TaskState::Resuming,
            Self::Rescue => TaskState::Rescuing,
            Self::Unrescue => TaskState::Unrescuing,
            Self::Stop => TaskState::PoweringOff,
            Self::Start => TaskState::PoweringOn,
            Self::RebootSoft => TaskState::Rebooting,
            Self::RebootHard => TaskState::RebootingHard,
        }
    }

    /// What the API shows once the compute host has begun.
    #[must_use]
    pub const fn started_task_state(self) -> TaskState {
        match self {
            Self::Create => TaskState::Spawning,
            Self::RebootSoft => TaskState::RebootStarted,
            Self::RebootHard => TaskState::RebootStartedHard,
            Self::Delete
            | Self::Pause
            | Self::Unpause
            | Self::Suspend
            | Self::Resume
            | Self::Rescue
            | Self::Unrescue
            | Self::Stop
            | Self::Start => self.task_state(),
        }
    }

    /// `action` of an instance action, and the name in `Cannot '<action>' instance …`
    /// (spec/states.md section 2.5).
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::RebootSoft | Self::RebootHard => "reboot",
            Self::Create
            | Self::Delete
            | Self::Pause
            | Self::Unpause
            | Self::Suspend
            | Self::Resume
            | Self::Rescue
            | Self::Unrescue
            | Self::Stop
            | Self::Start => self.as_str(),
        }
    }

    /// Name of the event that the compute host records within the instance action.
    #[must_use]
    pub const fn event(self) -> &'static str {
        match self {
            Self::Create => "compute__do_build_and_run_instance",
            Self::Delete => "compute_terminate_instance",
            Self::Pause => "compute_pause_instance",
            Self::Unpause => "compute_unpause_instance",
            Self::Suspend => "compute_suspend_instance",
            Self::Resume => "compute_resume_instance",
            Self::Rescue => "compute_rescue_instance",
            Self::Unrescue => "compute_unrescue_instance",
            Self::Stop => "compute_stop_instance",
            Self::Start => "compute_start_instance",
            Self::RebootSoft | Self::RebootHard => "compute_reboot_instance",
        }
    }

    /// How long the operation may take before it is ended with a truthful failure. Saving and
    /// building move data whose size the tenant chooses, so they get the most.
    #[must_use]
    pub const fn deadline(self) -> Duration {
        match self {
            Self::Create | Self::Suspend | Self::Resume | Self::Rescue => Duration::from_secs(3600),
            Self::Delete | Self::Unrescue | Self::Stop | Self::Start => Duration::from_secs(900),
            Self::RebootSoft | Self::RebootHard => Duration::from_secs(900),
            Self::Pause | Self::Unpause => Duration::from_secs(120),
        }
    }
}
