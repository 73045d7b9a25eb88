//! From what was seen to what is true: the state after an operation, and after something happened
//! to the guest without one.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::operation::OperationKind;
use crate::state::{PowerReason, PowerState, VmState};

/// Saved memory of a server on its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SavedMemory {
    /// There is none.
    None,
    /// Complete, and the guest can be brought back from it.
    Valid,
    /// There is a file, but it is incomplete, damaged, or was restored before.
    Unusable,
}

/// What a compute host saw of one guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Power state.
    pub power: PowerState,
    /// Why.
    pub reason: PowerReason,
    /// Whether a rescue has stashed the original definition.
    pub rescue_stashed: bool,
    /// Saved memory.
    pub saved: SavedMemory,
}

impl Observation {
    /// Nothing is known or there.
    pub const NOTHING: Self = Self {
        power: PowerState::NoState,
        reason: PowerReason::Unknown,
        rescue_stashed: false,
        saved: SavedMemory::None,
    };
}

/// The state of a server after `kind` succeeded.
#[must_use]
pub const fn after_success(kind: OperationKind) -> VmState {
    match kind {
        OperationKind::Create
        | OperationKind::Unpause
        | OperationKind::Resume
        | OperationKind::Unrescue
        | OperationKind::Start
        | OperationKind::RebootSoft
        | OperationKind::RebootHard => VmState::Active,
        OperationKind::Delete => VmState::Deleted,
        OperationKind::Pause => VmState::Paused,
        OperationKind::Suspend => VmState::Suspended,
        OperationKind::Rescue => VmState::Rescued,
        OperationKind::Stop => VmState::Stopped,
    }
}

/// The state of a server in `prior` after `kind` succeeded: a rescue system that was started again is
/// one still.
#[must_use]
pub const fn after_success_from(kind: OperationKind, prior: VmState) -> VmState {
    if matches!((kind, prior), (OperationKind::Start, VmState::Rescued)) {
        return VmState::Rescued;
    }
    after_success(kind)
}

/// The state of a server in `prior` after `kind` succeeded and its guest was seen. Usually that is what
/// was asked for, but what was seen decides:
///
/// - A guest that powered itself off as soon as it was booted is not reported a second time.
/// - A stop does not settle what a user has to decide about damaged memory: a server that was called
///   SHUTOFF could not be started, for a reason that was not to be seen any more.
/// - An operation that was given up, because no host had said that it has it, may have been done all the
///   same, just before this one: then the guest is in a rescue, or not any more, or its memory is saved.
#[must_use]
pub fn after_success_seen(kind: OperationKind, prior: VmState, seen: &Observation) -> VmState {
    let wanted = after_success_from(kind, prior);
    let asleep = seen.saved == SavedMemory::Valid && !seen.power.has_process();
    match wanted {
        VmState::Active | VmState::Paused | VmState::Stopped if asleep => VmState::Suspended,
        VmState::Active | VmState::Paused | VmState::Stopped if seen.rescue_stashed => {
            VmState::Rescued
        }
        VmState::Active | VmState::Paused => power_sync(wanted, seen).vm_state,
        VmState::Rescued if !seen.rescue_stashed => power_sync(VmState::Active, seen).vm_state,
        VmState::Stopped if prior == VmState::Error && seen.saved == SavedMemory::Unusable => {
            VmState::Error
        }
        VmState::Building
        | VmState::Suspended
        | VmState::Stopped
        | VmState::Rescued
        | VmState::Error
        | VmState::Deleted => wanted,
    }
}

/// The state of a server after `kind` failed: what the host saw decides, not what was hoped for.
/// ERROR is for what needs a decision of the user, not for every failure.
#[must_use]
pub fn after_failure(kind: OperationKind, prior: VmState, seen: &Observation) -> VmState {
    match kind {
        OperationKind::Create | OperationKind::Delete => return VmState::Error,
        OperationKind::Resume if seen.saved != SavedMemory::Valid && !seen.power.has_process() => {
            return VmState::Error;
        }
        OperationKind::Pause
        | OperationKind::Unpause
        | OperationKind::Suspend
        | OperationKind::Resume
        | OperationKind::Rescue
        | OperationKind::Unrescue
        | OperationKind::Stop
        | OperationKind::Start
        | OperationKind::RebootSoft
        | OperationKind::RebootHard => {}
    }
    if seen.saved == SavedMemory::Valid && !seen.power.has_process() {
        return VmState::Suspended;
    }
    if seen.rescue_stashed {
        return if prior == VmState::Rescued { VmState::Rescued } else { VmState::Error };
    }
    match seen.power {
        PowerState::Running | PowerState::Suspended => VmState::Active,
        PowerState::Paused => paused(seen.reason),
        // What needs a decision of the user still does.
        PowerState::Shutdown | PowerState::Crashed if prior == VmState::Error => VmState::Error,
        PowerState::Shutdown | PowerState::Crashed => match kind {
            // The guest is off and no valid memory exists: what it held is gone. Say so.
            OperationKind::Resume => VmState::Error,
            OperationKind::Suspend if lost_in_save(seen) => VmState::Error,
            OperationKind::Suspend
            | OperationKind::Create
            | OperationKind::Delete
            | OperationKind::Pause
            | OperationKind::Unpause
            | OperationKind::Rescue
            | OperationKind::Unrescue
            | OperationKind::Stop
            | OperationKind::Start
            | OperationKind::RebootSoft
            | OperationKind::RebootHard => VmState::Stopped,
        },
        PowerState::NoState => VmState::Error,
    }
}

/// The fault of a server that is in ERROR after `kind` was cancelled: the operation did not fail, but
/// its owner has to know what became of the guest meanwhile.
#[must_use]
pub fn fault_after_cancel(kind: OperationKind, seen: &Observation) -> Fault {
    let found = if seen.power.has_process() {
        "could not leave its guest as it was. Unrescue it, or ask for a HARD reboot."
    } else {
        "its guest had ended by then and its memory is lost. A HARD reboot starts it from its disk."
    };
    let message = format!("The {} was cancelled, but {found}", kind.action());
    let Observation { power, reason, rescue_stashed, saved } = seen;
    let details = format!(
        "seen afterwards: guest {} ({reason}), rescue stashed: {rescue_stashed}, saved memory: \
         {saved:?}",
        power.word()
    );
    Fault::new(500, message, details)
}

/// A guest that an interrupted operation left with stopped CPUs is paused, so that an unpause lets
/// it go on. One that the machine stopped was not paused by anybody.
const fn paused(reason: PowerReason) -> VmState {
    match reason {
        PowerReason::User
        | PowerReason::Restored
        | PowerReason::Saving
        | PowerReason::Migration
        | PowerReason::Snapshot => VmState::Paused,
        PowerReason::Unknown
        | PowerReason::Booted
        | PowerReason::Unpaused
        | PowerReason::IoError
        | PowerReason::Watchdog
        | PowerReason::StartingUp
        | PowerReason::GuestShutdown
        | PowerReason::Destroyed
        | PowerReason::Crashed
        | PowerReason::Saved
        | PowerReason::Failed => VmState::Active,
    }
}

/// Whether the memory of a guest that is off may have been lost in its save. One that powered itself
/// off before the save wrote anything lost nothing by it.
fn lost_in_save(seen: &Observation) -> bool {
    seen.saved != SavedMemory::None || seen.reason != PowerReason::GuestShutdown
}

/// What an observation without an operation means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synced {
    /// The state from now on.
    pub vm_state: VmState,
    /// Set when somebody has to know, with the text of the fault.
    pub alarm: Option<&'static str>,
}

/// The state of a server whose guest was seen in another state although no operation was active:
/// it shut itself down, crashed, or an operator used virsh.
#[must_use]
pub fn power_sync(state: VmState, seen: &Observation) -> Synced {
    let keep = Synced { vm_state: state, alarm: None };
    let become_ = |vm_state| Synced { vm_state, alarm: None };
    let suspended = seen.saved == SavedMemory::Valid && !seen.power.has_process();
    match state {
        // A save whose end was not awaited any more.
        VmState::Active | VmState::Paused if suspended => become_(VmState::Suspended),
        VmState::Active | VmState::Paused if seen.power == PowerState::NoState => Synced {
            vm_state: VmState::Stopped,
            alarm: Some(
                "The domain of this server was removed from its host outside of Reprieve, and what \
                 its guest held in memory went with it. A start defines it again with its disk.",
            ),
        },
        VmState::Active => match seen.power {
            PowerState::Shutdown | PowerState::Crashed => become_(VmState::Stopped),
            PowerState::Paused if seen.reason == PowerReason::User => become_(VmState::Paused),
            PowerState::Running
            | PowerState::Paused
            | PowerState::Suspended
            | PowerState::NoState => keep,
        },
        VmState::Paused => match seen.power {
            PowerState::Shutdown | PowerState::Crashed => become_(VmState::Stopped),
            PowerState::Running => become_(VmState::Active),
            PowerState::Paused | PowerState::Suspended | PowerState::NoState => keep,
        },
        VmState::Stopped => match seen.power {
            PowerState::Running => become_(VmState::Active),
            PowerState::Paused if seen.reason == PowerReason::User => become_(VmState::Paused),
            PowerState::Paused
            | PowerState::Suspended
            | PowerState::Shutdown
            | PowerState::Crashed
            | PowerState::NoState => keep,
        },
        VmState::Suspended if seen.power.has_process() => Synced {
            vm_state: VmState::Error,
            alarm: Some(
                "The guest was started outside of Reprieve while it was suspended. Its saved \
                 memory no longer matches its disks and was kept but will not be restored.",
            ),
        },
        VmState::Suspended if seen.saved != SavedMemory::Valid => Synced {
            vm_state: VmState::Error,
            alarm: Some(
                "The saved memory of this suspended server is missing or damaged. A HARD reboot \
                 starts it from its disk.",
            ),
        },
        VmState::Building
        | VmState::Suspended
        | VmState::Rescued
        | VmState::Error
        | VmState::Deleted => keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(power: PowerState, reason: PowerReason) -> Observation {
        Observation { power, reason, ..Observation::NOTHING }
    }

    const POWERS: [PowerState; 6] = [
        PowerState::NoState,
        PowerState::Running,
        PowerState::Paused,
        PowerState::Shutdown,
        PowerState::Crashed,
        PowerState::Suspended,
    ];

    /// Every failure of every operation ends in a state that the observation supports.
    #[test]
    fn failures_tell_the_truth() {
        for kind in OperationKind::ALL {
            for prior in VmState::ALL {
                for power in POWERS {
                    for saved in [SavedMemory::None, SavedMemory::Valid, SavedMemory::Unusable] {
                        let observation = Observation { saved, ..seen(power, PowerReason::User) };
                        match after_failure(*kind, *prior, &observation) {
                            VmState::Active => assert!(power.has_process()),
                            VmState::Paused => assert_eq!(power, PowerState::Paused),
                            VmState::Stopped => assert!(!power.has_process()),
                            VmState::Suspended => {
                                assert!(!power.has_process());
                                assert_eq!(saved, SavedMemory::Valid);
                            }
                            VmState::Error => {}
                            other @ (VmState::Building | VmState::Rescued | VmState::Deleted) => {
                                panic!("{kind} failed into {other}")
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_failed_suspend_leaves_a_running_guest_active() {
        let running = seen(PowerState::Running, PowerReason::Unknown);
        assert_eq!(
            after_failure(OperationKind::Suspend, VmState::Active, &running),
            VmState::Active
        );
    }

    #[test]
    fn lost_memory_is_an_error_never_a_stopped_server() {
        let saved_away = seen(PowerState::Shutdown, PowerReason::Saved);
        let unknown = seen(PowerState::Shutdown, PowerReason::Unknown);
        let partly_saved = Observation {
            saved: SavedMemory::Unusable,
            ..seen(PowerState::Crashed, PowerReason::Crashed)
        };
        for kind in [OperationKind::Suspend, OperationKind::Resume] {
            for off in [saved_away, unknown, partly_saved] {
                assert_eq!(after_failure(kind, VmState::Active, &off), VmState::Error);
            }
        }
    }

    /// Memory was lost in a save, and a rescue that was tried then could not be booted over what is left
    /// of it: the server is not just stopped.
    #[test]
    fn a_failure_does_not_hide_an_error() {
        let half_saved = Observation {
            saved: SavedMemory::Unusable,
            ..seen(PowerState::Shutdown, PowerReason::Saved)
        };
        for kind in OperationKind::ALL {
            assert_eq!(after_failure(*kind, VmState::Error, &half_saved), VmState::Error, "{kind}");
        }
        let running = seen(PowerState::Running, PowerReason::Booted);
        let state = after_failure(OperationKind::RebootHard, VmState::Error, &running);
        assert_eq!(state, VmState::Active);
    }

    /// Memory was damaged while it rested, the resume said so, and the server is stopped then.
    #[test]
    fn a_stop_does_not_hide_damaged_memory() {
        let damaged = Observation {
            saved: SavedMemory::Unusable,
            ..seen(PowerState::Shutdown, PowerReason::Saved)
        };
        let stopped = |prior, seen| after_success_seen(OperationKind::Stop, prior, &seen);
        assert_eq!(stopped(VmState::Error, damaged), VmState::Error);
        let off = seen(PowerState::Shutdown, PowerReason::Destroyed);
        assert_eq!(stopped(VmState::Error, off), VmState::Stopped);
        assert_eq!(stopped(VmState::Active, off), VmState::Stopped);
        let running = seen(PowerState::Running, PowerReason::Booted);
        let rebooted = after_success_seen(OperationKind::RebootHard, VmState::Error, &running);
        assert_eq!(rebooted, VmState::Active);
        let started = after_success_seen(OperationKind::Start, VmState::Stopped, &off);
        assert_eq!(started, VmState::Stopped, "it powered itself off at once");
    }

    /// What was given up was done all the same, and something else after it.
    #[test]
    fn what_was_seen_decides_after_a_success() {
        use OperationKind as K;
        let running = seen(PowerState::Running, PowerReason::Booted);
        let paused = seen(PowerState::Paused, PowerReason::User);
        let off = seen(PowerState::Shutdown, PowerReason::Destroyed);
        let in_rescue = |seen: Observation| Observation { rescue_stashed: true, ..seen };
        let asleep = Observation { saved: SavedMemory::Valid, ..off };
        for (kind, prior, seen, state) in [
            (K::Pause, VmState::Active, paused, VmState::Paused),
            (K::Pause, VmState::Active, in_rescue(paused), VmState::Rescued),
            (K::Unpause, VmState::Paused, in_rescue(running), VmState::Rescued),
            (K::Stop, VmState::Active, in_rescue(off), VmState::Rescued),
            (K::Stop, VmState::Active, asleep, VmState::Suspended),
            (K::Stop, VmState::Active, off, VmState::Stopped),
            (K::Suspend, VmState::Active, asleep, VmState::Suspended),
            (K::Rescue, VmState::Active, in_rescue(running), VmState::Rescued),
            (K::Start, VmState::Rescued, in_rescue(running), VmState::Rescued),
            (K::Start, VmState::Rescued, running, VmState::Active),
            (K::Unrescue, VmState::Rescued, running, VmState::Active),
            (K::Delete, VmState::Active, Observation::NOTHING, VmState::Deleted),
        ] {
            assert_eq!(
                after_success_seen(kind, prior, &seen),
                state,
                "{kind} of {prior}: {seen:?}"
            );
        }
    }

    #[test]
    fn a_guest_that_powered_itself_off_before_its_suspend_is_stopped() {
        let off = seen(PowerState::Shutdown, PowerReason::GuestShutdown);
        let state = after_failure(OperationKind::Suspend, VmState::Active, &off);
        assert_eq!(state, VmState::Stopped);
    }

    #[test]
    fn a_restored_guest_whose_cpus_did_not_start_can_be_unpaused() {
        let restored = seen(PowerState::Paused, PowerReason::Restored);
        let state = after_failure(OperationKind::Resume, VmState::Suspended, &restored);
        assert_eq!(state, VmState::Paused);
    }

    #[test]
    fn power_sync_follows_the_guest() {
        let off = seen(PowerState::Shutdown, PowerReason::GuestShutdown);
        let paused = seen(PowerState::Paused, PowerReason::User);
        let stuck = seen(PowerState::Paused, PowerReason::IoError);
        let running = seen(PowerState::Running, PowerReason::Unpaused);
        assert_eq!(power_sync(VmState::Active, &off).vm_state, VmState::Stopped);
        assert_eq!(power_sync(VmState::Active, &paused).vm_state, VmState::Paused);
        assert_eq!(power_sync(VmState::Active, &stuck).vm_state, VmState::Active);
        assert_eq!(power_sync(VmState::Paused, &running).vm_state, VmState::Active);
        assert_eq!(power_sync(VmState::Paused, &off).vm_state, VmState::Stopped);
        assert_eq!(power_sync(VmState::Stopped, &running).vm_state, VmState::Active);
        assert_eq!(power_sync(VmState::Rescued, &off).vm_state, VmState::Rescued);
        assert_eq!(power_sync(VmState::Error, &running).vm_state, VmState::Error);
    }

    /// Somebody removed the domain of a server whose guest was thought to be there: nothing runs.
    #[test]
    fn a_server_without_a_domain_is_stopped_and_somebody_hears_of_it() {
        for state in [VmState::Active, VmState::Paused] {
            let synced = power_sync(state, &Observation::NOTHING);
            assert_eq!(synced.vm_state, VmState::Stopped);
            assert!(synced.alarm.is_some());
        }
        for state in [VmState::Stopped, VmState::Rescued, VmState::Error] {
            let synced = power_sync(state, &Observation::NOTHING);
            assert_eq!(synced, Synced { vm_state: state, alarm: None });
        }
        let saved = Observation { saved: SavedMemory::Valid, ..Observation::NOTHING };
        for state in [VmState::Active, VmState::Suspended] {
            assert_eq!(power_sync(state, &saved).vm_state, VmState::Suspended);
        }
    }

    /// A cancelled operation does not fail, but an error that it leaves is never without a reason.
    #[test]
    fn an_error_after_a_cancellation_is_explained() {
        for kind in OperationKind::ALL {
            for power in POWERS {
                let fault = fault_after_cancel(*kind, &seen(power, PowerReason::Crashed));
                let about = format!("The {} was cancelled", kind.action());
                assert!(fault.message.starts_with(&about), "{}", fault.message);
                assert!(fault.message.ends_with('.'), "not cut: {}", fault.message);
                assert!(fault.details.contains(power.word()), "{}", fault.details);
            }
        }
    }

    #[test]
    fn a_suspended_server_started_by_hand_raises_an_alarm() {
        let running = Observation {
            saved: SavedMemory::Valid,
            ..seen(PowerState::Running, PowerReason::Booted)
        };
        let synced = power_sync(VmState::Suspended, &running);
        assert_eq!(synced.vm_state, VmState::Error);
        assert!(synced.alarm.is_some());
        let quiet = Observation {
            saved: SavedMemory::Valid,
            ..seen(PowerState::Shutdown, PowerReason::Saved)
        };
        assert_eq!(power_sync(VmState::Suspended, &quiet).vm_state, VmState::Suspended);
    }
}
