//! What becomes of servers after their host was restarted.
//!
//! A restart of the machine ends every guest on it. The compute agent knows of it by the kernel's
//! boot id, which it keeps in its ledger; the control plane then decides for each server when its
//! guest is first looked at after the restart, so that it decides from what is there. A guest that
//! has a process then (libvirt started it by itself) lost nothing that Reprieve could give back.
//!
//! | server was | [`RebootPolicy::Leave`] | [`RebootPolicy::Start`] | [`RebootPolicy::Resume`] |
//! |---|---|---|---|
//! | ACTIVE | SHUTOFF | started, as Nova does with `resume_guests_state_on_host_boot` | started |
//! | PAUSED | SHUTOFF | SHUTOFF: its memory is lost, and its user had stopped its CPUs | SHUTOFF |
//! | RESCUED | stays RESCUED, without a guest | its rescue system is started again | the same |
//! | SUSPENDED for its host | stays | stays | resumed, with its memory |
//! | SUSPENDED by its user, SHUTOFF, ERROR | stays | stays | stays |
//!
//! A server is suspended for its host when an administrator drained the host that way, so that its
//! memory outlives the restart.
//!
//! Where an operation was under way, its end is followed up in the same way
//! ([`ended_after_reboot`]).
//!
//! Nothing is started while there is saved memory, in whatever state (invariant I8). Whoever loses
//! memory is told by an instance action that failed ([`ACTION`]).

use std::collections::BTreeMap;

use crate::conclude::{Observation, SavedMemory, Synced, after_success, power_sync};
use crate::operation::OperationKind;
use crate::state::{PowerReason, VmState};
use crate::text_enum;

/// What keys of a server's metadata begin with that are meant for Reprieve.
const METADATA_PREFIX: &str = "reprieve:";
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
        /// So are those, and those are resumed that were suspended for the host.
        Resume = "resume",
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

/// An item of a server's metadata is meant for Reprieve and says nothing to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The key.
    #[error(
        "Metadata key '{0}' is unknown: of those that begin with 'reprieve:' there is only \
             '{METADATA_KEY}'."
    )]
    Key(String),
    /// The value.
    #[error("Metadata {METADATA_KEY} is '{0}', and has to be one of {known}.", known = policies())]
    Policy(String),
}

fn policies() -> String {
    let all: Vec<&str> = RebootPolicy::ALL.iter().map(|policy| policy.as_str()).collect();
    all.join(", ")
}

/// Whether an item of a server's metadata says something, if it is meant for Reprieve. A wish that
/// nobody understands would show only when it is too late.
///
/// # Errors
/// [`MetadataError`].
pub fn check_metadata(key: &str, value: &str) -> Result<(), MetadataError> {
    if !key.starts_with(METADATA_PREFIX) {
        return Ok(());
    }
    if key != METADATA_KEY {
        return Err(MetadataError::Key(key.to_owned()));
    }
    match RebootPolicy::parse(value.trim()) {
        Some(_) => Ok(()),
        None => Err(MetadataError::Policy(value.to_owned())),
    }
}

/// What a server that was looked at after a restart of its host is, and what is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterReboot {
    /// Its state, and whether somebody has to know.
    pub synced: Synced,
    /// What was lost with the host, in words for its owner.
    pub lost: Option<&'static str>,
    /// What brings its guest back, if anything does.
    pub revival: Option<Revival>,
}

/// How a guest comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revival {
    /// It boots.
    Start,
    /// It goes on with the memory that was saved.
    Resume,
}

impl Revival {
    /// The operation.
    #[must_use]
    pub const fn kind(self) -> OperationKind {
        match self {
            Self::Start => OperationKind::Start,
            Self::Resume => OperationKind::Resume,
        }
    }
}

/// What a server was before its host was restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// Its state.
    pub state: VmState,
    /// It was suspended because of its host, and not because its user wanted it.
    pub suspended_for_host: bool,
}

/// Whether guests that ran are started again.
const fn starts(policy: RebootPolicy) -> bool {
    match policy {
        RebootPolicy::Leave => false,
        RebootPolicy::Start | RebootPolicy::Resume => true,
    }
}

/// Whether servers are resumed that were suspended for their host.
const fn resumes(policy: RebootPolicy) -> bool {
    match policy {
        RebootPolicy::Leave | RebootPolicy::Start => false,
        RebootPolicy::Resume => true,
    }
}

/// Decides about a server that no operation is under way on.
#[must_use]
pub fn after_reboot(policy: RebootPolicy, before: Before, seen: &Observation) -> AfterReboot {
    let Before { state, suspended_for_host } = before;
    let synced = power_sync(state, seen);
    let nothing = AfterReboot { synced, lost: None, revival: None };
    // A guest that runs was not ended, and one that powered itself off ran since.
    let by_itself = seen.reason == PowerReason::GuestShutdown;
    if seen.power.has_process() || by_itself || synced.alarm.is_some() {
        return nothing;
    }
    // Memory that was saved in time is not lost.
    if synced.vm_state == VmState::Suspended {
        let wanted = state == VmState::Suspended && suspended_for_host && resumes(policy);
        return AfterReboot { revival: wanted.then_some(Revival::Resume), ..nothing };
    }
    let wanted = starts(policy) && seen.saved == SavedMemory::None;
    let start = wanted.then_some(Revival::Start);
    let stopped = Synced { vm_state: VmState::Stopped, alarm: None };
    match state {
        VmState::Active => {
            let text =
                "The host was restarted while this server was ACTIVE, which ended its guest.";
            AfterReboot { synced: stopped, lost: Some(text), revival: start }
        }
        VmState::Paused => {
            let text = "The host was restarted while this server was PAUSED. What its memory held \
                        is lost; its disk is as the guest left it. It can be started.";
            AfterReboot { synced: stopped, lost: Some(text), revival: None }
        }
        VmState::Rescued => {
            let text = "The host was restarted while this server was in RESCUE, which ended the \
                        rescue system. Its own disk was not booted.";
            AfterReboot { synced, lost: Some(text), revival: start }
        }
        VmState::Building
        | VmState::Suspended
        | VmState::Stopped
        | VmState::Error
        | VmState::Deleted => nothing,
    }
}

/// Decides about a server whose host was restarted while `kind` was under way on it. `meant` is what
/// it is by the result of the operation, `state` where it is by what was seen at its end. What the end
/// says stands; what is added is that something was lost, and that its guest is brought back.
#[must_use]
pub fn ended_after_reboot(
    policy: RebootPolicy,
    kind: OperationKind,
    (meant, state): (Before, VmState),
    seen: &Observation,
) -> AfterReboot {
    let synced = Synced { vm_state: state, alarm: None };
    let decided = after_reboot(policy, meant, seen);
    // Where the end knows of more than a guest that is off, it has said so.
    if decided.synced != synced {
        return AfterReboot { synced, lost: None, revival: None };
    }
    let wanted = |revival: &Revival| match revival {
        // Nobody who asked for an end of the guest wants it back.
        Revival::Start => match after_success(kind) {
            VmState::Stopped | VmState::Suspended | VmState::Deleted => false,
            VmState::Building
            | VmState::Active
            | VmState::Paused
            | VmState::Rescued
            | VmState::Error => true,
        },
        // A resume that failed or was cancelled is not tried again.
        Revival::Resume => kind == OperationKind::Suspend,
    };
    AfterReboot { revival: decided.revival.filter(wanted), ..decided }
}

/// Decides about a server on which a suspend for its host failed because the machine was restarted
/// before anything was saved. Nobody wanted an end of its guest, so it is what `prior` is after a
/// restart. `None` where something else is true of it.
#[must_use]
pub fn overtaken_by_reboot(
    policy: RebootPolicy,
    prior: VmState,
    seen: &Observation,
) -> Option<AfterReboot> {
    let before = Before { state: prior, suspended_for_host: false };
    let nothing_left = !seen.power.has_process() && seen.saved == SavedMemory::None;
    Some(after_reboot(policy, before, seen))
        .filter(|after| nothing_left && after.synced.alarm.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::PowerState;

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

    fn was(state: VmState) -> Before {
        Before { state, suspended_for_host: false }
    }

    #[test]
    fn the_table_of_the_module() {
        use RebootPolicy::{Leave, Resume, Start};
        use VmState as S;
        for (state, policy, after, start, lost) in [
            (S::Active, Leave, S::Stopped, false, true),
            (S::Active, Start, S::Stopped, true, true),
            (S::Active, Resume, S::Stopped, true, true),
            (S::Paused, Leave, S::Stopped, false, true),
            (S::Paused, Start, S::Stopped, false, true),
            (S::Paused, Resume, S::Stopped, false, true),
            (S::Rescued, Leave, S::Rescued, false, true),
            (S::Rescued, Start, S::Rescued, true, true),
            (S::Rescued, Resume, S::Rescued, true, true),
            (S::Stopped, Leave, S::Stopped, false, false),
            (S::Stopped, Start, S::Stopped, false, false),
            (S::Stopped, Resume, S::Stopped, false, false),
            (S::Error, Leave, S::Error, false, false),
            (S::Error, Start, S::Error, false, false),
            (S::Building, Leave, S::Building, false, false),
            (S::Building, Start, S::Building, false, false),
            (S::Deleted, Leave, S::Deleted, false, false),
            (S::Deleted, Start, S::Deleted, false, false),
        ] {
            let decided = after_reboot(policy, was(state), &off());
            let starts = decided.revival == Some(Revival::Start);
            let got = (decided.synced.vm_state, starts, decided.lost.is_some());
            assert_eq!(got, (after, start, lost), "{state} {policy}");
        }
        let saved = Observation { saved: SavedMemory::Valid, ..off() };
        for policy in RebootPolicy::ALL {
            for state in [S::Suspended, S::Active, S::Paused] {
                let decided = after_reboot(*policy, was(state), &saved);
                assert_eq!(decided.synced.vm_state, S::Suspended, "{state} was saved in time");
                assert!(decided.revival.is_none() && decided.lost.is_none());
            }
            let for_host = Before { state: S::Suspended, suspended_for_host: true };
            let decided = after_reboot(*policy, for_host, &saved);
            let expected = (*policy == Resume).then_some(Revival::Resume);
            assert_eq!((decided.synced.vm_state, decided.revival), (S::Suspended, expected));
            assert_eq!(decided.lost, None);
        }
    }

    /// For every state, policy and observation: nothing is started over a guest or saved memory, by
    /// whom it is not wanted, or from a state from which that means something else; and nothing is
    /// resumed but whole memory that was saved for the host.
    #[test]
    fn revivals_are_safe_wherever_they_come_from() {
        for policy in RebootPolicy::ALL {
            for state in VmState::ALL {
                for suspended_for_host in [false, true] {
                    let before = Before { state: *state, suspended_for_host };
                    for seen in everything() {
                        check(*policy, before, &seen);
                    }
                }
            }
        }
    }

    fn everything() -> impl Iterator<Item = Observation> {
        let reason = PowerReason::Unknown;
        let of_power = |power| SAVED.map(move |saved| (power, saved));
        POWERS.into_iter().flat_map(of_power).flat_map(move |(power, saved)| {
            [false, true].map(|rescue_stashed| Observation { power, reason, rescue_stashed, saved })
        })
    }

    fn check(policy: RebootPolicy, before: Before, seen: &Observation) {
        let note = format!("{before:?} {policy} {seen:?}");
        let decided = after_reboot(policy, before, seen);
        let synced = power_sync(before.state, seen);
        if seen.power.has_process() {
            assert_eq!(decided, AfterReboot { synced, lost: None, revival: None }, "{note}");
        }
        match decided.revival {
            None => {}
            Some(Revival::Start) => {
                assert_ne!(policy, RebootPolicy::Leave, "{note}");
                assert_eq!(seen.saved, SavedMemory::None, "{note}");
                assert!(matches!(before.state, VmState::Active | VmState::Rescued), "{note}");
            }
            Some(Revival::Resume) => {
                assert_eq!(policy, RebootPolicy::Resume, "{note}");
                assert_eq!(seen.saved, SavedMemory::Valid, "{note}");
                assert!(before.suspended_for_host, "{note}");
                assert_eq!(before.state, VmState::Suspended, "{note}");
            }
        }
        assert!(decided.lost.is_some() || decided.synced == synced, "{note}");
    }

    #[test]
    fn a_guest_that_powered_itself_off_stays_off() {
        let seen = Observation { reason: PowerReason::GuestShutdown, ..off() };
        for policy in RebootPolicy::ALL {
            let decided = after_reboot(*policy, was(VmState::Active), &seen);
            let synced = power_sync(VmState::Active, &seen);
            assert_eq!(synced.vm_state, VmState::Stopped);
            assert_eq!(decided, AfterReboot { synced, lost: None, revival: None }, "{policy}");
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
            let decided = ended_after_reboot(policy, kind, (was(meant), state), &off());
            let starts = decided.revival == Some(Revival::Start);
            let got = (decided.synced.vm_state, decided.lost.is_some(), starts);
            assert_eq!(got, (state, lost, start), "{kind} {policy} {meant} {state}");
        }
        let runs = Observation { power: PowerState::Running, ..off() };
        let decided = ended_after_reboot(Start, K::Unpause, (was(S::Active), S::Active), &runs);
        assert!(decided.lost.is_none() && decided.revival.is_none());
    }

    /// The restart came before anything was saved. Half-saved memory is for its owner to decide about.
    #[test]
    fn a_suspend_for_the_host_that_came_too_late_is_no_end_that_anybody_wanted() {
        for policy in RebootPolicy::ALL {
            let after = overtaken_by_reboot(*policy, VmState::Active, &off()).unwrap();
            assert_eq!(after, after_reboot(*policy, was(VmState::Active), &off()));
            assert!(after.lost.is_some());
            for seen in everything() {
                let left = seen.power.has_process() || seen.saved != SavedMemory::None;
                if left || seen.power == PowerState::NoState {
                    assert_eq!(overtaken_by_reboot(*policy, VmState::Active, &seen), None);
                }
            }
        }
    }

    /// The restart came while a suspend for the host, or a resume after one, was under way.
    #[test]
    fn what_was_suspended_for_the_host_meanwhile_is_resumed() {
        use OperationKind as K;
        let saved = Observation { saved: SavedMemory::Valid, ..off() };
        for policy in RebootPolicy::ALL {
            for (kind, suspended_for_host) in
                [(K::Suspend, true), (K::Suspend, false), (K::Resume, true), (K::Resume, false)]
            {
                let before = Before { state: VmState::Suspended, suspended_for_host };
                let ends = (before, VmState::Suspended);
                let decided = ended_after_reboot(*policy, kind, ends, &saved);
                let wanted =
                    *policy == RebootPolicy::Resume && kind == K::Suspend && suspended_for_host;
                let expected = wanted.then_some(Revival::Resume);
                assert_eq!(decided.revival, expected, "{policy} {kind} {suspended_for_host}");
                assert_eq!((decided.synced.vm_state, decided.lost), (VmState::Suspended, None));
            }
        }
    }

    #[test]
    fn metadata_wins_if_it_means_something() {
        let with = |text: &str| BTreeMap::from([(METADATA_KEY.to_owned(), text.to_owned())]);
        for (text, host, holds) in [
            ("start", RebootPolicy::Leave, RebootPolicy::Start),
            (" leave ", RebootPolicy::Start, RebootPolicy::Leave),
            ("resume", RebootPolicy::Start, RebootPolicy::Resume),
            ("reboot", RebootPolicy::Start, RebootPolicy::Start),
            ("", RebootPolicy::Leave, RebootPolicy::Leave),
        ] {
            assert_eq!(host.for_server(&with(text)), holds, "{text}");
        }
        assert_eq!(RebootPolicy::Start.for_server(&BTreeMap::new()), RebootPolicy::Start);
    }

    #[test]
    fn metadata_that_is_meant_for_us_has_to_say_something() {
        for (key, value) in [(METADATA_KEY, "start"), (METADATA_KEY, " leave "), ("a", "b")] {
            assert_eq!(check_metadata(key, value), Ok(()));
        }
        let refused = |key, value| check_metadata(key, value).unwrap_err().to_string();
        assert_eq!(
            refused(METADATA_KEY, "restart"),
            "Metadata reprieve:after_host_reboot is 'restart', and has to be one of leave, start, resume."
        );
        let misspelt = refused("reprieve:after_reboot", "start");
        assert!(misspelt.contains("'reprieve:after_reboot' is unknown"), "{misspelt}");
        assert!(misspelt.ends_with("there is only 'reprieve:after_host_reboot'."), "{misspelt}");
    }
}
