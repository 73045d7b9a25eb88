//! What to do instead: from the state of a server to the commands that are possible in it. Asks
//! the same state machine that the service asks, so that both always agree.

use std::collections::BTreeMap;

use reprieve_core::spec::RescueMode;
use reprieve_core::{Caller, InstanceId, Lock, OperationKind, Subject, VmState, admit};

use crate::client::compute::Server;

/// The command of an operation, with its options.
pub const fn command(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::RebootSoft => "reboot",
        OperationKind::RebootHard => "reboot --hard",
        OperationKind::Create
        | OperationKind::Delete
        | OperationKind::Pause
        | OperationKind::Unpause
        | OperationKind::Suspend
        | OperationKind::Resume
        | OperationKind::Rescue
        | OperationKind::Unrescue
        | OperationKind::Stop
        | OperationKind::Start => kind.as_str(),
    }
}

/// What may be done with an idle server in this state, in the order of the definition.
pub fn possible(vm_state: VmState, launched: bool) -> Vec<OperationKind> {
    let subject = Subject {
        id: InstanceId::random(),
        vm_state,
        active: None,
        launched,
        lock: Lock::Unlocked,
        rescue_stashed: false,
    };
    let admitted = |kind: &OperationKind| {
        *kind != OperationKind::Create && admit(&subject, *kind, Caller { is_admin: false }).is_ok()
    };
    OperationKind::ALL.iter().copied().filter(admitted).collect()
}

/// The way out of a state that most people look for.
const fn way_out(vm_state: VmState) -> Option<&'static str> {
    match vm_state {
        VmState::Paused => Some("unpause lets it go on"),
        VmState::Suspended => Some("resume brings it back with its memory"),
        VmState::Stopped => Some("start boots it"),
        VmState::Rescued => Some("unrescue boots its own disk again"),
        VmState::Error => Some("reboot --hard starts it again if it ever ran"),
        VmState::Building => Some("it is being created: wait"),
        VmState::Deleted => Some("it is gone"),
        VmState::Active => None,
    }
}

/// Advice after a 409, from what the server is now.
pub fn after_conflict(server: &Server) -> String {
    let name = if server.name.is_empty() { &server.id } else { &server.name };
    if let Some(task) = &server.task_state {
        return format!(
            "{task} is under way on {name}: try again when it is over ('reprieve server show \
             {name} -f value -c OS-EXT-STS:task_state' prints None)"
        );
    }
    if server.locked {
        let reason = server.locked_reason.as_ref().filter(|text| !text.is_empty());
        let reason = reason.map(|text| format!(" ({text})")).unwrap_or_default();
        return format!("{name} is locked{reason}: 'reprieve server unlock {name}' first");
    }
    let Some(vm_state) = server.vm_state() else {
        return format!("{name} is {}", server.status);
    };
    let commands: Vec<&str> =
        possible(vm_state, server.launched_at.is_some()).into_iter().map(command).collect();
    let way_out = way_out(vm_state).map(|text| format!("{text}; ")).unwrap_or_default();
    format!("{name} is {}: {way_out}possible now: {}", server.status, commands.join(", "))
}

/// Which disk is which inside a rescued guest.
pub fn rescue_disks(properties: &BTreeMap<String, String>, image: &str) -> String {
    match RescueMode::of_image(properties) {
        RescueMode::Legacy => {
            let prefix = match properties.get("hw_disk_bus").map(String::as_str) {
                Some("ide") => "hd",
                Some("scsi" | "sata" | "usb") => "sd",
                Some(_) | None => "vd",
            };
            format!(
                "/dev/{prefix}a is the rescue disk ({image}), /dev/{prefix}b is the server's own \
                 disk: repair that one"
            )
        }
        RescueMode::Stable(device) => {
            let bus = device.bus.map(|bus| format!(" on {bus}")).unwrap_or_default();
            format!(
                "the server's own disks keep their places (/dev/vda is its system), the rescue \
                 {}{bus} ({image}) comes last and is booted",
                device.device
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(status: &str, vm_state: &str) -> Server {
        serde_json::from_value(serde_json::json!({
            "id": "b8e2b8c2-b090-4a6d-b0f5-19d7d885328f", "name": "demo", "status": status,
            "OS-EXT-STS:vm_state": vm_state, "OS-SRV-USG:launched_at": "2026-11-22T20:13:22",
        }))
        .unwrap()
    }

    #[test]
    fn the_state_machine_says_what_is_possible() {
        assert_eq!(
            after_conflict(&server("PAUSED", "paused")),
            "demo is PAUSED: unpause lets it go on; possible now: delete, unpause, reboot --hard"
        );
        assert_eq!(
            after_conflict(&server("SUSPENDED", "suspended")),
            "demo is SUSPENDED: resume brings it back with its memory; possible now: delete, \
             resume, reboot --hard"
        );
        assert_eq!(
            after_conflict(&server("ACTIVE", "active")),
            "demo is ACTIVE: possible now: delete, pause, suspend, rescue, stop, reboot, \
             reboot --hard"
        );
    }

    #[test]
    fn a_server_that_never_ran_can_only_be_deleted() {
        let never = Server { launched_at: None, ..server("ERROR", "error") };
        assert!(after_conflict(&never).ends_with("possible now: delete"));
    }

    #[test]
    fn a_task_or_a_lock_comes_before_the_state() {
        let locked = Server {
            locked: true,
            locked_reason: Some("evidence".into()),
            ..server("ACTIVE", "active")
        };
        assert_eq!(
            after_conflict(&locked),
            "demo is locked (evidence): 'reprieve server unlock demo' first"
        );
        let busy = Server { task_state: Some("suspending".into()), ..locked };
        assert!(after_conflict(&busy).starts_with("suspending is under way on demo"));
    }

    #[test]
    fn states_of_other_services_are_passed_on() {
        assert_eq!(after_conflict(&server("SHELVED", "shelved")), "demo is SHELVED");
    }

    #[test]
    fn disks_of_a_rescue() {
        let properties = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        assert!(rescue_disks(&properties(&[]), "tiny").contains("/dev/vdb is the server's own"));
        let scsi = rescue_disks(&properties(&[("hw_disk_bus", "scsi")]), "tiny");
        assert!(scsi.starts_with("/dev/sda is the rescue disk (tiny)"));
        let stable = [("hw_rescue_device", "cdrom"), ("hw_rescue_bus", "sata")];
        assert!(rescue_disks(&properties(&stable), "x").contains("cdrom on sata (x) comes last"));
    }
}
