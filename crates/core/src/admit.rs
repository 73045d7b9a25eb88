//! Whether an operation may start: the state matrix of spec/states.md section 3 as one function.
//!
//! The order of the checks is Nova's: lock, `vm_state`, `task_state`, launched. The caller has
//! already found the server and authorised the user.

use std::fmt;

use crate::ids::InstanceId;
use crate::operation::OperationKind;
use crate::state::{TaskState, VmState};

/// Who locked a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Not locked.
    Unlocked,
    /// By somebody of the owning project.
    Owner,
    /// By an administrator of another project.
    Admin,
}

impl Lock {
    /// `locked_by` in the database; `None` when unlocked.
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Unlocked => None,
            Self::Owner => Some("owner"),
            Self::Admin => Some("admin"),
        }
    }

    /// The value of a `locked_by` column.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            Some("owner") => Self::Owner,
            Some(_) => Self::Admin,
            None => Self::Unlocked,
        }
    }
}

/// What of the caller matters for admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Administrators pass locks.
    pub is_admin: bool,
}

/// What of the server matters for admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The server, for the messages.
    pub id: InstanceId,
    /// Stable state.
    pub vm_state: VmState,
    /// The active operation and the `task_state` it shows, if any.
    pub active: Option<(OperationKind, TaskState)>,
    /// Whether the guest ever ran (`launched_at` is set).
    pub launched: bool,
    /// Lock.
    pub lock: Lock,
    /// Whether a half-done rescue left its stash, so that unrescue can undo it (invariant I9).
    pub rescue_stashed: bool,
}

/// The operation may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Record it and go.
    Start,
    /// Record it; the active operation is cancelled and this one follows it.
    Supersede(OperationKind),
    /// The same is under way already: answer success, do nothing (a repeated delete).
    AlreadyUnderWay,
}

/// Why an operation may not start. Displays as Nova's text for a 409.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Locked and the caller is no administrator.
    #[error("Instance {id} is locked")]
    Locked {
        /// The server.
        id: InstanceId,
    },
    /// Not possible in this `vm_state`.
    #[error("Cannot '{action}' instance {id} while it is in vm_state {state}")]
    WrongState {
        /// Name of the action.
        action: &'static str,
        /// The server.
        id: InstanceId,
        /// Its state.
        state: VmState,
    },
    /// Another operation is active.
    #[error("Cannot '{action}' instance {id} while it is in task_state {task}")]
    Busy {
        /// Name of the action.
        action: &'static str,
        /// The server.
        id: InstanceId,
        /// What is being done.
        task: TaskState,
    },
    /// A suspended server lent its memory to others, who have it still. It stays suspended, and what
    /// it has saved stays as it is.
    #[error(
        "Cannot '{action}' instance {id}: there is no room on its host, which has {have_mib} MiB of \
         the {need_mib} MiB of memory that it needs. Its saved memory is kept."
    )]
    NoRoom {
        /// Name of the action.
        action: &'static str,
        /// The server.
        id: InstanceId,
        /// What it needs.
        need_mib: u64,
        /// What is left.
        have_mib: u64,
    },
    /// It never ran.
    #[error("Instance {id} is in an invalid state for '{action}'")]
    NeverLaunched {
        /// Name of the action.
        action: &'static str,
        /// The server.
        id: InstanceId,
    },
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Supersede(active) => write!(f, "supersede {active}"),
            Self::AlreadyUnderWay => f.write_str("already under way"),
        }
    }
}

/// Decides whether `kind` may start on `subject`.
///
/// # Errors
/// [`Denied`], which the API answers with 409 and its text.
pub fn admit(subject: &Subject, kind: OperationKind, caller: Caller) -> Result<Admission, Denied> {
    let (id, action) = (subject.id, kind.action());
    if subject.lock != Lock::Unlocked && !caller.is_admin && kind != OperationKind::Create {
        return Err(Denied::Locked { id });
    }
    if !state_allows(subject, kind) {
        return Err(Denied::WrongState { action, id, state: subject.vm_state });
    }
    let admission = match subject.active {
        None => Admission::Start,
        Some((active, task)) => {
            supersedes(kind, active).ok_or(Denied::Busy { action, id, task })?
        }
    };
    if !subject.launched && needs_launch(kind) {
        return Err(Denied::NeverLaunched { action, id });
    }
    Ok(admission)
}

/// The rows of the matrix.
const fn state_allows(subject: &Subject, kind: OperationKind) -> bool {
    use VmState as S;
    let state = subject.vm_state;
    match kind {
        OperationKind::Create => matches!(state, S::Building),
        OperationKind::Delete => !matches!(state, S::Deleted),
        OperationKind::Pause | OperationKind::Suspend | OperationKind::RebootSoft => {
            matches!(state, S::Active)
        }
        OperationKind::Unpause => matches!(state, S::Paused),
        OperationKind::Resume => matches!(state, S::Suspended),
        OperationKind::Rescue => matches!(state, S::Active | S::Stopped | S::Error),
        // Nova leaves a failed rescue in ERROR with no way back; here its stash is the way back.
        OperationKind::Unrescue => {
            matches!(state, S::Rescued) || (matches!(state, S::Error) && subject.rescue_stashed)
        }
        OperationKind::Stop => matches!(state, S::Active | S::Error),
        OperationKind::Start => matches!(state, S::Stopped),
        OperationKind::RebootHard => {
            matches!(state, S::Active | S::Paused | S::Suspended | S::Stopped | S::Error)
        }
    }
}

/// What `kind` does to another active operation; `None`: it has to wait for the user to ask again.
fn supersedes(kind: OperationKind, active: OperationKind) -> Option<Admission> {
    match (kind, active) {
        (OperationKind::Delete, OperationKind::Delete) => Some(Admission::AlreadyUnderWay),
        (OperationKind::Delete, _) => Some(Admission::Supersede(active)),
        (
            OperationKind::RebootHard,
            OperationKind::RebootSoft
            | OperationKind::RebootHard
            | OperationKind::Pause
            | OperationKind::Unpause
            | OperationKind::Suspend
            | OperationKind::Resume,
        ) => Some(Admission::Supersede(active)),
        _ => None,
    }
}

const fn needs_launch(kind: OperationKind) -> bool {
    !matches!(kind, OperationKind::Create | OperationKind::Delete)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: Caller = Caller { is_admin: false };
    const ADMIN: Caller = Caller { is_admin: true };

    fn idle(vm_state: VmState) -> Subject {
        Subject {
            id: InstanceId::random(),
            vm_state,
            active: None,
            launched: true,
            lock: Lock::Unlocked,
            rescue_stashed: false,
        }
    }

    /// spec/states.md section 3, the columns that exist here.
    #[test]
    fn matrix_of_an_idle_server() {
        use OperationKind as K;
        use VmState as S;
        let table: &[(K, &[S])] = &[
            (K::Pause, &[S::Active]),
            (K::Unpause, &[S::Paused]),
            (K::Suspend, &[S::Active]),
            (K::Resume, &[S::Suspended]),
            (K::Rescue, &[S::Active, S::Stopped, S::Error]),
            (K::Unrescue, &[S::Rescued]),
            (K::Stop, &[S::Active, S::Error]),
            (K::Start, &[S::Stopped]),
            (K::RebootSoft, &[S::Active]),
            (K::RebootHard, &[S::Active, S::Paused, S::Suspended, S::Stopped, S::Error]),
            (
                K::Delete,
                &[
                    S::Active,
                    S::Building,
                    S::Paused,
                    S::Suspended,
                    S::Stopped,
                    S::Rescued,
                    S::Error,
                ],
            ),
        ];
        for (kind, allowed) in table {
            for state in VmState::ALL {
                let result = admit(&idle(*state), *kind, MEMBER);
                if allowed.contains(state) {
                    assert_eq!(result, Ok(Admission::Start), "{kind} in {state}");
                } else {
                    let denied = result.unwrap_err().to_string();
                    assert!(denied.ends_with(&format!("while it is in vm_state {state}")));
                    assert!(denied.starts_with(&format!("Cannot '{}' instance", kind.action())));
                }
            }
        }
    }

    #[test]
    fn lock_stops_members_before_the_state_does() {
        for lock in [Lock::Owner, Lock::Admin] {
            let subject = Subject { lock, ..idle(VmState::Paused) };
            let denied = admit(&subject, OperationKind::Pause, MEMBER).unwrap_err();
            assert_eq!(denied.to_string(), format!("Instance {} is locked", subject.id));
            assert_eq!(admit(&subject, OperationKind::Unpause, ADMIN), Ok(Admission::Start));
        }
    }

    #[test]
    fn one_operation_at_a_time_except_delete_and_hard_reboot() {
        for active in OperationKind::ALL {
            for kind in OperationKind::ALL {
                for state in VmState::ALL {
                    let subject =
                        Subject { active: Some((*active, active.task_state())), ..idle(*state) };
                    let Ok(admission) = admit(&subject, *kind, MEMBER) else { continue };
                    match kind {
                        OperationKind::Delete if *active == OperationKind::Delete => {
                            assert_eq!(admission, Admission::AlreadyUnderWay);
                        }
                        OperationKind::Delete | OperationKind::RebootHard => {
                            assert_eq!(admission, Admission::Supersede(*active));
                        }
                        other => panic!("{other} was admitted during {active}"),
                    }
                }
            }
        }
    }

    #[test]
    fn a_server_that_never_ran_can_only_be_deleted() {
        let subject = Subject { launched: false, ..idle(VmState::Error) };
        for kind in [OperationKind::Rescue, OperationKind::Stop, OperationKind::RebootHard] {
            let denied = admit(&subject, kind, ADMIN).unwrap_err();
            let text =
                format!("Instance {} is in an invalid state for '{}'", subject.id, kind.action());
            assert_eq!(denied.to_string(), text);
        }
        assert_eq!(admit(&subject, OperationKind::Delete, ADMIN), Ok(Admission::Start));
    }

    #[test]
    fn a_half_done_rescue_can_be_undone() {
        let subject = Subject { rescue_stashed: true, ..idle(VmState::Error) };
        assert_eq!(admit(&subject, OperationKind::Unrescue, MEMBER), Ok(Admission::Start));
    }
}
