//! What becomes of servers after their host was restarted.
//!
//! A restart of the machine ends every guest on it. The compute agent knows of it by the kernel's
//! boot id, which it keeps in its ledger; the control plane then decides for each server when its
//! guest is first looked at after the restart, so that it decides from what is there. A guest that
//! has a process then (libvirt started it by itself) lost nothing that Reprieve could give back.
//!
//! | server was | [`RebootPolicy::Leave`] | [`RebootPolicy::Start`] |
//! |---|---|---|
//! | ACTIVE | SHUTOFF | started, as Nova does with `resume_guests_state_on_host_boot` |
//! | PAUSED | SHUTOFF | SHUTOFF: its memory is lost, and its user had stopped its CPUs |
//! | RESCUED | stays RESCUED, without a guest | its rescue system is started again |
//! | SUSPENDED, SHUTOFF, ERROR | stays | stays |
//!
//! Where an operation was under way, its end is followed up in the same way
//! ([`ended_after_reboot`]).
//!
//! Nothing is started while there is saved memory, in whatever state (invariant I8). Whoever loses
//! memory is told by an instance action that failed ([`ACTION`]).

use std::collections::BTreeMap;

use crate::conclude::{Observation, SavedMemory, Synced, after_success, power_sync};
use crate::operation::OperationKind;
use crate::state::VmState;
use crate::text_enum;

/// Key of a server's metadata that says what its owner wants instead of the host's policy.
pub const METADATA_KEY: &str = "reprieve:after_host_reboot";
/// Name of the instance action that tells of a guest that ended with its host.
pub const ACTION: &str = "host_reboot";
/// Name of its event.
pub const EVENT: &str = "compute_host_reboot";

text_enum!(
    /// What is done with the servers of a host that was restarted.
    RebootPolicy {
        /// They stay off.
        Leave = "leave",
        /// Those that ran are started again.
        Start = "start",
    }
);

/// Nova's default.
#[allow(clippy::derivable_impls, reason = "the macro leaves no place for #[default]")]
impl Default for RebootPolicy {
    fn default() -> Self {
        Self::Leave
    }
}

impl RebootPolicy {
    /// What holds for a server with this metadata. A value that means nothing changes nothing.
    #[must_use]
    pub fn for_server(self, metadata: &BTreeMap<String, String>) -> Self {
        metadata.get(METADATA_KEY).and_then(|text| Self::parse(text.trim())).unwrap_or(self)
    }
}

/// What a server that was looked at after a restart of its host is, and what is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterReboot {
    /// Its state, and whether somebody has to know.
    pub synced: Synced,
    /// What was lost with the host, in words for its owner.
    pub lost: Option<&'static str>,
    /// Whether its guest is started again.
    pub start: bool,
}

/// Decides about a server that no operation is under way on.
#[must_use]
pub fn after_reboot(policy: RebootPolicy, state: VmState, seen: &Observation) -> AfterReboot {
    let synced = power_sync(state, seen);
    let nothing = AfterReboot { synced, lost: None, start: false };
    // A guest that runs was not ended, and memory that was saved in time is not lost.
    if seen.power.has_process() || synced.vm_state == VmState::Suspended || synced.alarm.is_some() {
        return nothing;
    }
    let bootable = seen.saved == SavedMemory::None;
    let wanted = match policy {
        RebootPolicy::Leave => false,
        RebootPolicy::Start => bootable,
    };
    let stopped = Synced { vm_state: VmState::Stopped, alarm: None };
    match state {
        VmState::Active => {
            let text =
                "The host was restarted while this server was ACTIVE, which ended its guest.";
            AfterReboot { synced: stopped, lost: Some(text), start: wanted }
        }
        VmState::Paused => {
            let text = "The host was restarted while this server was PAUSED. What its memory held \
                        is lost; its disk is as the guest left it. It can be started.";
            AfterReboot { synced: stopped, lost: Some(text), start: false }
        }
        VmState::Rescued => {
            let text = "The host was restarted while this server was in RESCUE, which ended the \
                        rescue system. Its own disk was not booted.";
            AfterReboot { synced, lost: Some(text), start: wanted }
        }
        VmState::Building
        | VmState::Suspended
        | VmState::Stopped
        | VmState::Error
        | VmState::Deleted => nothing,
    }
}

/// Decides about a server whose host was restarted while `kind` was under way on it. `meant` is where
/// it is by the result of the operation, `state` where it is by what was seen at its end. What the end
/// says stands; what is added is that something was lost, and that a guest is started again.
#[must_use]
pub fn ended_after_reboot(
    policy: RebootPolicy,
    kind: OperationKind,
    (meant, state): (VmState, VmState),
    seen: &Observation,
) -> AfterReboot {
    let synced = Synced { vm_state: state, alarm: None };
    let decided = after_reboot(policy, meant, seen);
    // Where the end knows of more than a guest that is off, it has said so.
    if decided.lost.is_none() || decided.synced != synced {
        return AfterReboot { synced, lost: None, start: false };
    }
    // Nobody who asked for an end of the guest wants it back.
    let wanted = match after_success(kind) {
        VmState::Stopped | VmState::Suspended | VmState::Deleted => false,
        VmState::Building
        | VmState::Active
        | VmState::Paused
        | VmState::Rescued
        | VmState::Error => true,
    };
    AfterReboot { start: decided.start && wanted, ..decided }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{PowerReason, PowerState};

    const POWERS: [PowerState; 6] = [
        PowerState::NoState,
        PowerState::Running,
        PowerState::Paused,
        PowerState::Shutdown,
        PowerState::Crashed,
        PowerState::Suspended,
    ];
    const SAVED: [SavedMemory; 3] = [SavedMemory::None, SavedMemory::Valid, SavedMemory::Unusable];

    fn off() -> Observation {
        Observation { power: PowerState::Shutdown, ..Observation::NOTHING }
    }

    #[test]
    fn the_table_of_the_module() {
        use RebootPolicy::{Leave, Start};
        use VmState as S;
        for (state, policy, after, start, lost) in [
            (S::Active, Leave, S::Stopped, false, true),
            (S::Active, Start, S::Stopped, true, true),
            (S::Paused, Leave, S::Stopped, false, true),
            (S::Paused, Start, S::Stopped, false, true),
            (S::Rescued, Leave, S::Rescued, false, true),
            (S::Rescued, Start, S::Rescued, true, true),
            (S::Stopped, Leave, S::Stopped, false, false),
            (S::Stopped, Start, S::Stopped, false, false),
            (S::Error, Leave, S::Error, false, false),
            (S::Error, Start, S::Error, false, false),
            (S::Building, Leave, S::Building, false, false),
            (S::Building, Start, S::Building, false, false),
            (S::Deleted, Leave, S::Deleted, false, false),
            (S::Deleted, Start, S::Deleted, false, false),
        ] {
            let decided = after_reboot(policy, state, &off());
            let got = (decided.synced.vm_state, decided.start, decided.lost.is_some());
            assert_eq!(got, (after, start, lost), "{state} {policy}");
        }
        let saved = Observation { saved: SavedMemory::Valid, ..off() };
        for policy in RebootPolicy::ALL {
            for state in [S::Suspended, S::Active, S::Paused] {
                let decided = after_reboot(*policy, state, &saved);
                assert_eq!(decided.synced.vm_state, S::Suspended, "{state} was saved in time");
                assert!(!decided.start && decided.lost.is_none());
            }
        }
    }

    /// For every state, policy and observation: nothing is started over a guest or saved memory, by
    /// whom it is not wanted, or from a state from which that means something else.
    #[test]
    fn starts_are_safe_wherever_they_come_from() {
        for policy in RebootPolicy::ALL {
            for state in VmState::ALL {
                for power in POWERS {
                    for saved in SAVED {
                        for rescue_stashed in [false, true] {
                            let reason = PowerReason::Unknown;
                            let seen = Observation { power, reason, rescue_stashed, saved };
                            let decided = after_reboot(*policy, *state, &seen);
                            let synced = power_sync(*state, &seen);
                            if power.has_process() {
                                let nothing = AfterReboot { synced, lost: None, start: false };
                                assert_eq!(decided, nothing, "{state} {policy} {seen:?}");
                            }
                            if decided.start {
                                assert_eq!(*policy, RebootPolicy::Start);
                                assert_eq!(saved, SavedMemory::None);
                                assert!(matches!(state, VmState::Active | VmState::Rescued));
                            }
                            assert!(decided.lost.is_some() || decided.synced == synced);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn an_operation_under_way_has_the_last_word() {
        use OperationKind as K;
        use RebootPolicy::{Leave, Start};
        use VmState as S;
        for (kind, policy, meant, state, lost, start) in [
            (K::Unpause, Leave, S::Active, S::Stopped, true, false),
            (K::Unpause, Start, S::Active, S::Stopped, true, true),
            (K::Resume, Start, S::Active, S::Stopped, true, true),
            (K::Pause, Start, S::Paused, S::Stopped, true, false),
            // It failed: its server is what it was before, as far as it is.
            (K::Pause, Start, S::Active, S::Stopped, true, true),
            (K::Stop, Start, S::Active, S::Stopped, true, false),
            (K::Suspend, Start, S::Active, S::Error, false, false),
            (K::Resume, Start, S::Suspended, S::Error, false, false),
            (K::Unrescue, Start, S::Rescued, S::Stopped, false, false),
            (K::Rescue, Start, S::Rescued, S::Rescued, true, true),
            (K::Stop, Start, S::Stopped, S::Stopped, false, false),
            (K::Suspend, Start, S::Suspended, S::Suspended, false, false),
        ] {
            let decided = ended_after_reboot(policy, kind, (meant, state), &off());
            let got = (decided.synced.vm_state, decided.lost.is_some(), decided.start);
            assert_eq!(got, (state, lost, start), "{kind} {policy} {meant} {state}");
        }
        let runs = Observation { power: PowerState::Running, ..off() };
        let decided = ended_after_reboot(Start, K::Unpause, (S::Active, S::Active), &runs);
        assert!(decided.lost.is_none() && !decided.start);
    }

    #[test]
    fn metadata_wins_if_it_means_something() {
        let with = |text: &str| BTreeMap::from([(METADATA_KEY.to_owned(), text.to_owned())]);
        for (text, host, holds) in [
            ("start", RebootPolicy::Leave, RebootPolicy::Start),
            (" leave ", RebootPolicy::Start, RebootPolicy::Leave),
            ("resume", RebootPolicy::Start, RebootPolicy::Start),
            ("", RebootPolicy::Leave, RebootPolicy::Leave),
        ] {
            assert_eq!(host.for_server(&with(text)), holds, "{text}");
        }
        assert_eq!(RebootPolicy::Start.for_server(&BTreeMap::new()), RebootPolicy::Start);
    }
}
