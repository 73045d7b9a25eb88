//! libvirt's states and reasons in our words.

use reprieve_core::{PowerReason, PowerState};
use virt_sys as sys;

use super::sys::RawState;

/// Power state and reason. Numbers of a newer libvirt are unknown, never guessed.
pub(super) const fn power(raw: RawState) -> (PowerState, PowerReason) {
    let reason = raw.reason;
    match raw.state {
        sys::VIR_DOMAIN_RUNNING | sys::VIR_DOMAIN_BLOCKED => (PowerState::Running, running(reason)),
        sys::VIR_DOMAIN_PAUSED => (PowerState::Paused, paused(reason)),
        // On its way down; the process is still there.
        sys::VIR_DOMAIN_SHUTDOWN => (PowerState::Running, PowerReason::GuestShutdown),
        sys::VIR_DOMAIN_SHUTOFF => (PowerState::Shutdown, off(reason)),
        sys::VIR_DOMAIN_CRASHED => (PowerState::Crashed, PowerReason::Crashed),
        sys::VIR_DOMAIN_PMSUSPENDED => (PowerState::Suspended, PowerReason::Unknown),
        _ => (PowerState::NoState, PowerReason::Unknown),
    }
}

/// Whether the state itself says that something is under way whose result is not known yet.
pub(super) const fn in_transition(raw: RawState) -> bool {
    raw.state == sys::VIR_DOMAIN_SHUTDOWN
        || (raw.state == sys::VIR_DOMAIN_PAUSED
            && matches!(
                raw.reason,
                sys::VIR_DOMAIN_PAUSED_STARTING_UP
                    | sys::VIR_DOMAIN_PAUSED_SHUTTING_DOWN
                    | sys::VIR_DOMAIN_PAUSED_SAVE
                    | sys::VIR_DOMAIN_PAUSED_DUMP
                    | sys::VIR_DOMAIN_PAUSED_SNAPSHOT
            ))
}

/// The reason, knowing whether a job runs. libvirt restores memory as an incoming migration and
/// leaves that as the reason when the CPUs stay stopped; while it restores, the reason is
/// "starting up".
pub(super) const fn settled(power: PowerState, reason: PowerReason, job: bool) -> PowerReason {
    match (power, reason, job) {
        (PowerState::Paused, PowerReason::Migration, false) => PowerReason::Restored,
        (_, reason, _) => reason,
    }
}

/// Whether a process runs the domain.
pub(super) const fn is_active(raw: RawState) -> bool {
    !matches!(raw.state, sys::VIR_DOMAIN_SHUTOFF | sys::VIR_DOMAIN_NOSTATE)
}

const fn running(reason: u32) -> PowerReason {
    match reason {
        sys::VIR_DOMAIN_RUNNING_BOOTED => PowerReason::Booted,
        sys::VIR_DOMAIN_RUNNING_RESTORED => PowerReason::Restored,
        sys::VIR_DOMAIN_RUNNING_FROM_SNAPSHOT => PowerReason::Snapshot,
        sys::VIR_DOMAIN_RUNNING_UNPAUSED | sys::VIR_DOMAIN_RUNNING_SAVE_CANCELED => {
            PowerReason::Unpaused
        }
        sys::VIR_DOMAIN_RUNNING_MIGRATED
        | sys::VIR_DOMAIN_RUNNING_MIGRATION_CANCELED
        | sys::VIR_DOMAIN_RUNNING_POSTCOPY
        | sys::VIR_DOMAIN_RUNNING_POSTCOPY_FAILED => PowerReason::Migration,
        sys::VIR_DOMAIN_RUNNING_CRASHED => PowerReason::Crashed,
        _ => PowerReason::Unknown,
    }
}

const fn paused(reason: u32) -> PowerReason {
    match reason {
        sys::VIR_DOMAIN_PAUSED_USER => PowerReason::User,
        sys::VIR_DOMAIN_PAUSED_IOERROR => PowerReason::IoError,
        sys::VIR_DOMAIN_PAUSED_WATCHDOG => PowerReason::Watchdog,
        sys::VIR_DOMAIN_PAUSED_SAVE => PowerReason::Saving,
        sys::VIR_DOMAIN_PAUSED_MIGRATION
        | sys::VIR_DOMAIN_PAUSED_POSTCOPY
        | sys::VIR_DOMAIN_PAUSED_POSTCOPY_FAILED => PowerReason::Migration,
        sys::VIR_DOMAIN_PAUSED_DUMP
        | sys::VIR_DOMAIN_PAUSED_FROM_SNAPSHOT
        | sys::VIR_DOMAIN_PAUSED_SNAPSHOT => PowerReason::Snapshot,
        sys::VIR_DOMAIN_PAUSED_SHUTTING_DOWN => PowerReason::GuestShutdown,
        sys::VIR_DOMAIN_PAUSED_CRASHED => PowerReason::Crashed,
        sys::VIR_DOMAIN_PAUSED_STARTING_UP => PowerReason::StartingUp,
        _ => PowerReason::Unknown,
    }
}

const fn off(reason: u32) -> PowerReason {
    match reason {
        sys::VIR_DOMAIN_SHUTOFF_SHUTDOWN => PowerReason::GuestShutdown,
        sys::VIR_DOMAIN_SHUTOFF_DESTROYED => PowerReason::Destroyed,
        sys::VIR_DOMAIN_SHUTOFF_CRASHED => PowerReason::Crashed,
        sys::VIR_DOMAIN_SHUTOFF_MIGRATED => PowerReason::Migration,
        sys::VIR_DOMAIN_SHUTOFF_SAVED => PowerReason::Saved,
        sys::VIR_DOMAIN_SHUTOFF_FAILED => PowerReason::Failed,
        sys::VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT => PowerReason::Snapshot,
        _ => PowerReason::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pause_by_the_user_is_one() {
        let user: Vec<u32> = (0..20)
            .filter(|reason| {
                power(RawState { state: sys::VIR_DOMAIN_PAUSED, reason: *reason })
                    == (PowerState::Paused, PowerReason::User)
            })
            .collect();
        assert_eq!(user, [sys::VIR_DOMAIN_PAUSED_USER]);
    }

    #[test]
    fn a_domain_on_its_way_down_still_has_a_process() {
        let raw = RawState { state: sys::VIR_DOMAIN_SHUTDOWN, reason: 0 };
        assert!(power(raw).0.has_process());
        assert!(in_transition(raw));
        assert!(is_active(raw));
    }

    #[test]
    fn unknown_numbers_are_not_guessed() {
        let raw = RawState { state: 99, reason: 99 };
        assert_eq!(power(raw), (PowerState::NoState, PowerReason::Unknown));
    }
}
