//! Actions that Nova has and this service does not: whether Nova would begin them.
//!
//! A client should learn "not here" only where Nova would have gone on; everywhere else it gets
//! Nova's refusal. The checks and their order are those of spec/states.md sections 2 and 3: lock,
//! host, `vm_state`, `task_state`, launched.

use crate::admit::{Caller, Denied, Lock, Subject};
use crate::ids::{HostName, InstanceId};
use crate::state::VmState;
use crate::text_enum;

text_enum!(
    /// An action of Nova's that this service does not do. The texts are the names in the API.
    ForeignAction {
        /// New disk from an image.
        Rebuild = "rebuild",
        /// Another flavor.
        Resize = "resize",
        /// Keep the result of a resize.
        ConfirmResize = "confirmResize",
        /// Undo a resize.
        RevertResize = "revertResize",
        /// To another host, powered off.
        Migrate = "migrate",
        /// To another host, running.
        MigrateLive = "os-migrateLive",
        /// Away from a host that is down.
        Evacuate = "evacuate",
        /// An image of the disk.
        CreateImage = "createImage",
        /// One of several rotating images.
        CreateBackup = "createBackup",
        /// Off, kept as an image.
        Shelve = "shelve",
        /// Off its host.
        ShelveOffload = "shelveOffload",
        /// Back on.
        Unshelve = "unshelve",
        /// Back from a soft deletion.
        Restore = "restore",
        /// New password in the guest.
        ChangePassword = "changePassword",
        /// Crash the guest and keep its memory.
        TriggerCrashDump = "trigger_crash_dump",
        /// Network information into the guest.
        InjectNetworkInfo = "injectNetworkInfo",
        /// One more fixed address.
        AddFixedIp = "addFixedIp",
        /// One fixed address less.
        RemoveFixedIp = "removeFixedIp",
        /// One more floating address.
        AddFloatingIp = "addFloatingIp",
        /// One floating address less.
        RemoveFloatingIp = "removeFloatingIp",
        /// One more security group.
        AddSecurityGroup = "addSecurityGroup",
        /// One security group less.
        RemoveSecurityGroup = "removeSecurityGroup",
    }
);

/// Why Nova would not begin. Displays as Nova's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForeignDenied {
    /// 409, for the reasons that operations have here too.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// 409 of a locked server where Nova loses the word for it.
    #[error("Instance {id} is in an invalid state for '{action}'")]
    LockedUnsaid {
        /// Name of the action.
        action: &'static str,
        /// The server.
        id: InstanceId,
    },
    /// 409: no host has it.
    #[error("Instance {id} is not ready")]
    NoHost {
        /// The server.
        id: InstanceId,
    },
    /// 409: its host is down.
    #[error("Service is unavailable at this time.")]
    HostDown,
    /// 400: its host is not down.
    #[error("Compute service of {host} is still in use.")]
    HostInUse {
        /// The host.
        host: HostName,
    },
}

/// The host that has a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerHost<'a> {
    /// Its name.
    pub name: &'a HostName,
    /// Whether it works.
    pub is_up: bool,
}

/// What a lock does to an action of somebody who is no administrator.
enum UnderLock {
    /// It is refused.
    Refused,
    /// It is refused in other words.
    RefusedUnsaid,
    /// Nothing.
    Allowed,
}

/// Which host an action needs.
enum NeedsHost {
    No,
    Any,
    Up,
    Down,
}

/// Whether Nova would begin `action` on `subject`, which `host` has.
///
/// # Errors
/// [`ForeignDenied`].
pub fn admit_foreign(
    subject: &Subject,
    host: Option<ServerHost<'_>>,
    action: ForeignAction,
    caller: Caller,
) -> Result<(), ForeignDenied> {
    let (id, name) = (subject.id, action.as_str());
    if subject.lock != Lock::Unlocked && !caller.is_admin {
        match under_lock(action) {
            UnderLock::Refused => return Err(Denied::Locked { id }.into()),
            UnderLock::RefusedUnsaid => {
                return Err(ForeignDenied::LockedUnsaid { action: name, id });
            }
            UnderLock::Allowed => {}
        }
    }
    match (needs_host(action), host) {
        (NeedsHost::Any | NeedsHost::Up, None) => return Err(ForeignDenied::NoHost { id }),
        (NeedsHost::Up, Some(ServerHost { is_up: false, .. })) => {
            return Err(ForeignDenied::HostDown);
        }
        (NeedsHost::Up | NeedsHost::Any, Some(_)) | (NeedsHost::No | NeedsHost::Down, _) => {}
    }
    if let Some(states) = states(action) {
        if !states.contains(&subject.vm_state) {
            let state = subject.vm_state;
            return Err(Denied::WrongState { action: name, id, state }.into());
        }
        if let Some((_, task)) = subject.active.filter(|_| !ignores_tasks(action)) {
            return Err(Denied::Busy { action: name, id, task }.into());
        }
        if !subject.launched {
            return Err(Denied::NeverLaunched { action: name, id }.into());
        }
    }
    match (needs_host(action), host) {
        (NeedsHost::Down, Some(ServerHost { name, is_up: true })) => {
            Err(ForeignDenied::HostInUse { host: name.clone() })
        }
        _ => Ok(()),
    }
}

/// spec/states.md section 2.2.
const fn under_lock(action: ForeignAction) -> UnderLock {
    use ForeignAction as A;
    match action {
        A::CreateImage
        | A::CreateBackup
        | A::Evacuate
        | A::AddFloatingIp
        | A::RemoveFloatingIp
        | A::AddSecurityGroup
        | A::RemoveSecurityGroup => UnderLock::Allowed,
        A::Restore | A::ChangePassword => UnderLock::RefusedUnsaid,
        A::Rebuild
        | A::Resize
        | A::ConfirmResize
        | A::RevertResize
        | A::Migrate
        | A::MigrateLive
        | A::Shelve
        | A::ShelveOffload
        | A::Unshelve
        | A::TriggerCrashDump
        | A::InjectNetworkInfo
        | A::AddFixedIp
        | A::RemoveFixedIp => UnderLock::Refused,
    }
}

/// spec/states.md section 3, last column.
const fn needs_host(action: ForeignAction) -> NeedsHost {
    use ForeignAction as A;
    match action {
        A::Resize | A::Migrate => NeedsHost::Up,
        A::TriggerCrashDump => NeedsHost::Any,
        A::Evacuate => NeedsHost::Down,
        A::Rebuild
        | A::ConfirmResize
        | A::RevertResize
        | A::MigrateLive
        | A::CreateImage
        | A::CreateBackup
        | A::Shelve
        | A::ShelveOffload
        | A::Unshelve
        | A::Restore
        | A::ChangePassword
        | A::InjectNetworkInfo
        | A::AddFixedIp
        | A::RemoveFixedIp
        | A::AddFloatingIp
        | A::RemoveFloatingIp
        | A::AddSecurityGroup
        | A::RemoveSecurityGroup => NeedsHost::No,
    }
}

/// The rows of the matrix, as far as servers here get into these states; `None`: no row, any state.
const fn states(action: ForeignAction) -> Option<&'static [VmState]> {
    use ForeignAction as A;
    use VmState as S;
    match action {
        A::Rebuild | A::Evacuate => Some(&[S::Active, S::Stopped, S::Error]),
        A::Resize | A::Migrate => Some(&[S::Active, S::Stopped]),
        A::MigrateLive => Some(&[S::Active, S::Paused]),
        A::CreateImage | A::CreateBackup | A::Shelve => {
            Some(&[S::Active, S::Paused, S::Suspended, S::Stopped])
        }
        A::ChangePassword => Some(&[S::Active]),
        A::TriggerCrashDump => Some(&[S::Active, S::Paused, S::Rescued, S::Error]),
        A::AddFixedIp | A::RemoveFixedIp => Some(&[S::Active, S::Paused, S::Stopped]),
        // Only resized, soft-deleted and shelved servers.
        A::ConfirmResize | A::RevertResize | A::Restore | A::ShelveOffload | A::Unshelve => {
            Some(&[])
        }
        A::InjectNetworkInfo
        | A::AddFloatingIp
        | A::RemoveFloatingIp
        | A::AddSecurityGroup
        | A::RemoveSecurityGroup => None,
    }
}

/// A host that is down may have left anything half done.
const fn ignores_tasks(action: ForeignAction) -> bool {
    matches!(action, ForeignAction::Evacuate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::OperationKind;
    use crate::state::TaskState;

    use ForeignAction as A;

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

    /// Asks about a server on a host that is as the action likes it.
    fn ask(subject: &Subject, action: A, caller: Caller) -> Result<(), String> {
        let host = HostName::from("vm");
        let host = ServerHost { name: &host, is_up: action != A::Evacuate };
        admit_foreign(subject, Some(host), action, caller).map_err(|denied| denied.to_string())
    }

    /// spec/states.md section 3: which of active, building, paused, suspended, stopped, rescued,
    /// error.
    #[test]
    fn matrix_of_an_idle_server() {
        use VmState as S;
        let columns =
            [S::Active, S::Building, S::Paused, S::Suspended, S::Stopped, S::Rescued, S::Error];
        let table = [
            (A::Rebuild, "A...S.E"),
            (A::Resize, "A...S.."),
            (A::ConfirmResize, "......."),
            (A::RevertResize, "......."),
            (A::Migrate, "A...S.."),
            (A::MigrateLive, "A.P...."),
            (A::Evacuate, "A...S.E"),
            (A::CreateImage, "A.PUS.."),
            (A::CreateBackup, "A.PUS.."),
            (A::Shelve, "A.PUS.."),
            (A::ShelveOffload, "......."),
            (A::Unshelve, "......."),
            (A::Restore, "......."),
            (A::ChangePassword, "A......"),
            (A::TriggerCrashDump, "A.P..RE"),
            (A::InjectNetworkInfo, "ABPUSRE"),
            (A::AddFixedIp, "A.P.S.."),
            (A::RemoveFixedIp, "A.P.S.."),
            (A::AddFloatingIp, "ABPUSRE"),
            (A::RemoveFloatingIp, "ABPUSRE"),
            (A::AddSecurityGroup, "ABPUSRE"),
            (A::RemoveSecurityGroup, "ABPUSRE"),
        ];
        assert_eq!(table.map(|(action, _)| action), ForeignAction::ALL);
        for (action, row) in table {
            for (state, cell) in columns.into_iter().zip(row.chars()) {
                let subject = idle(state);
                let expected = match cell {
                    '.' => Err(format!(
                        "Cannot '{action}' instance {} while it is in vm_state {state}",
                        subject.id
                    )),
                    _ => Ok(()),
                };
                assert_eq!(ask(&subject, action, MEMBER), expected);
            }
        }
    }

    #[test]
    fn locks_stop_most_of_them_and_some_in_other_words() {
        for action in ForeignAction::ALL {
            let subject = Subject { lock: Lock::Owner, ..idle(VmState::Building) };
            let id = subject.id;
            let free = idle(VmState::Building);
            let expected = match action {
                A::CreateImage
                | A::CreateBackup
                | A::Evacuate
                | A::AddFloatingIp
                | A::RemoveFloatingIp
                | A::AddSecurityGroup
                | A::RemoveSecurityGroup => ask(&Subject { id, ..free }, *action, MEMBER),
                A::Restore | A::ChangePassword => {
                    Err(format!("Instance {id} is in an invalid state for '{action}'"))
                }
                _ => Err(format!("Instance {id} is locked")),
            };
            assert_eq!(ask(&subject, *action, MEMBER), expected, "{action}");
            let without_lock = ask(&Subject { id, ..free }, *action, ADMIN);
            assert_eq!(ask(&subject, *action, ADMIN), without_lock, "{action}");
        }
    }

    #[test]
    fn busy_servers_and_those_that_never_ran_wait() {
        for action in ForeignAction::ALL {
            let Some(state) = states(*action).and_then(|states| states.first()) else { continue };
            let task = (OperationKind::Pause, TaskState::Pausing);
            let busy = Subject { active: Some(task), ..idle(*state) };
            let text =
                format!("Cannot '{action}' instance {} while it is in task_state pausing", busy.id);
            let expected = if *action == A::Evacuate { Ok(()) } else { Err(text) };
            assert_eq!(ask(&busy, *action, ADMIN), expected);
            let new = Subject { launched: false, ..idle(*state) };
            let text = format!("Instance {} is in an invalid state for '{action}'", new.id);
            assert_eq!(ask(&new, *action, ADMIN), Err(text));
        }
    }

    #[test]
    fn hosts_count_where_they_are_needed() {
        let name = HostName::from("vm");
        let up = Some(ServerHost { name: &name, is_up: true });
        let down = Some(ServerHost { name: &name, is_up: false });
        for action in ForeignAction::ALL {
            let subject = idle(VmState::Active);
            let ready = format!("Instance {} is not ready", subject.id);
            let expected = match action {
                A::Resize | A::Migrate => {
                    [Some(ready.as_str()), Some("Service is unavailable at this time."), None]
                }
                A::TriggerCrashDump => [Some(ready.as_str()), None, None],
                A::Evacuate => [None, None, Some("Compute service of vm is still in use.")],
                _ => continue,
            };
            let texts = [None, down, up].map(|host| {
                admit_foreign(&subject, host, *action, ADMIN).err().map(|denied| denied.to_string())
            });
            assert_eq!(texts.each_ref().map(|text| text.as_deref()), expected, "{action}");
        }
    }
}
