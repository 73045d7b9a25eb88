//! States of a server: what is stored (`vm_state`, `task_state`, `power_state`) and the `status`
//! that the API computes from them. Source: spec/states.md section 1.

use serde::{Deserialize, Serialize};

/// An enum whose values have the texts of the API and the database: `as_str`, `parse`, `ALL`,
/// `Display`, and the same text in serde. The calling crate needs serde with `derive`.
#[macro_export]
macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every value, in the order of its definition.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text that the API and the database use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value with this text.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

text_enum!(
    /// Stable state of a server.
    VmState {
        /// Being created; no guest yet.
        Building = "building",
        /// Guest runs.
        Active = "active",
        /// Guest's CPUs are stopped, memory stays in RAM.
        Paused = "paused",
        /// Memory is on disk, no guest process.
        Suspended = "suspended",
        /// Powered off.
        Stopped = "stopped",
        /// Booted from a rescue image, own disk attached second.
        Rescued = "rescued",
        /// Something failed; `fault` says what.
        Error = "error",
        /// Gone; the row stays for instance actions and `changes-since`.
        Deleted = "deleted",
    }
);

text_enum!(
    /// What is being done to a server: a projection of its active operation, `None` when idle.
    TaskState {
        /// Waiting for a host.
        Scheduling = "scheduling",
        /// Disks are built and the guest is started.
        Spawning = "spawning",
        /// pause.
        Pausing = "pausing",
        /// unpause.
        Unpausing = "unpausing",
        /// suspend.
        Suspending = "suspending",
        /// resume.
        Resuming = "resuming",
        /// os-stop.
        PoweringOff = "powering-off",
        /// os-start.
        PoweringOn = "powering-on",
        /// SOFT reboot accepted.
        Rebooting = "rebooting",
        /// SOFT reboot under way.
        RebootStarted = "reboot_started",
        /// HARD reboot accepted.
        RebootingHard = "rebooting_hard",
        /// HARD reboot under way.
        RebootStartedHard = "reboot_started_hard",
        /// rescue.
        Rescuing = "rescuing",
        /// unrescue.
        Unrescuing = "unrescuing",
        /// delete.
        Deleting = "deleting",
    }
);

/// Power state of the guest as the hypervisor reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerState {
    /// Unknown, or there is no domain.
    NoState,
    /// CPUs run.
    Running,
    /// CPUs are stopped.
    Paused,
    /// No guest process.
    Shutdown,
    /// The guest crashed.
    Crashed,
    /// The guest put itself to sleep (ACPI S3).
    Suspended,
}

impl PowerState {
    /// The number in `OS-EXT-STS:power_state`.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::NoState => 0,
            Self::Running => 1,
            Self::Paused => 3,
            Self::Shutdown => 4,
            Self::Crashed => 6,
            Self::Suspended => 7,
        }
    }

    /// From the number in the database.
    #[must_use]
    pub const fn from_number(number: i32) -> Self {
        match number {
            1 => Self::Running,
            3 => Self::Paused,
            4 => Self::Shutdown,
            6 => Self::Crashed,
            7 => Self::Suspended,
            _ => Self::NoState,
        }
    }

    /// The word in notifications and in diagnostics' messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoState => "pending",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Shutdown => "shutdown",
            Self::Crashed => "crashed",
            Self::Suspended => "suspended",
        }
    }

    /// Whether a guest process exists.
    #[must_use]
    pub const fn has_process(self) -> bool {
        match self {
            Self::Running | Self::Paused | Self::Suspended => true,
            Self::NoState | Self::Shutdown | Self::Crashed => false,
        }
    }
}

text_enum!(
    /// Why a guest is in its power state (libvirt's `virDomain*Reason`). A guest paused by an I/O
    /// error was not paused by its user.
    PowerReason {
        /// No reason known.
        Unknown = "unknown",
        /// Booted normally.
        Booted = "booted",
        /// Restored from saved memory.
        Restored = "restored",
        /// CPUs continued after a pause.
        Unpaused = "unpaused",
        /// Paused through the management API.
        User = "user",
        /// Paused because of an I/O error (disk full, storage lost).
        IoError = "io-error",
        /// Paused by the watchdog device.
        Watchdog = "watchdog",
        /// Paused while its memory is saved.
        Saving = "saving",
        /// Paused or gone because of a migration.
        Migration = "migration",
        /// Paused while a dump or snapshot is taken.
        Snapshot = "snapshot",
        /// Paused while it starts.
        StartingUp = "starting-up",
        /// Shut itself down.
        GuestShutdown = "guest-shutdown",
        /// Was destroyed from outside.
        Destroyed = "destroyed",
        /// Crashed.
        Crashed = "crashed",
        /// Off, its memory was saved.
        Saved = "saved",
        /// The hypervisor could not start it.
        Failed = "failed",
    }
);

/// The `status` that the API shows (spec/states.md section 1.4).
#[must_use]
pub const fn status(vm: VmState, task: Option<TaskState>) -> &'static str {
    match vm {
        VmState::Active => match task {
            Some(TaskState::Rebooting | TaskState::RebootStarted) => "REBOOT",
            Some(TaskState::RebootingHard | TaskState::RebootStartedHard) => "HARD_REBOOT",
            Some(
                TaskState::Scheduling
                | TaskState::Spawning
                | TaskState::Pausing
                | TaskState::Unpausing
                | TaskState::Suspending
                | TaskState::Resuming
                | TaskState::PoweringOff
                | TaskState::PoweringOn
                | TaskState::Rescuing
                | TaskState::Unrescuing
                | TaskState::Deleting,
            )
            | None => "ACTIVE",
        },
        VmState::Building => "BUILD",
        VmState::Stopped => "SHUTOFF",
        VmState::Paused => "PAUSED",
        VmState::Suspended => "SUSPENDED",
        VmState::Rescued => "RESCUE",
        VmState::Error => "ERROR",
        VmState::Deleted => "DELETED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        for state in VmState::ALL {
            assert_eq!(VmState::parse(state.as_str()), Some(*state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for state in TaskState::ALL {
            assert_eq!(TaskState::parse(state.as_str()), Some(*state));
        }
        assert_eq!(VmState::parse("ACTIVE"), None);
    }

    #[test]
    fn only_reboots_change_the_status_of_an_active_server() {
        for task in TaskState::ALL {
            let expected = match task {
                TaskState::Rebooting | TaskState::RebootStarted => "REBOOT",
                TaskState::RebootingHard | TaskState::RebootStartedHard => "HARD_REBOOT",
                _ => "ACTIVE",
            };
            assert_eq!(status(VmState::Active, Some(*task)), expected);
            assert_eq!(status(VmState::Stopped, Some(*task)), "SHUTOFF");
        }
    }

    #[test]
    fn power_numbers_are_novas() {
        for number in [0, 1, 3, 4, 6, 7] {
            assert_eq!(PowerState::from_number(number).number(), number);
        }
        assert_eq!(PowerState::from_number(2), PowerState::NoState);
    }
}
