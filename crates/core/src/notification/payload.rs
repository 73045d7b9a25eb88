//! Payloads of notifications: Nova's versioned objects, in the versions of the recorded Nova.

use serde_json::{Map, Value, json};

use super::{Change, FlavorFacts, Initiator, Snapshot};
use crate::fault::Fault;
use crate::ids::ImageId;
use crate::operation::OperationKind;
use crate::time::Timestamp;

/// Key of the fields of an object.
pub(super) const DATA: &str = "nova_object.data";

/// An object as oslo.versionedobjects spells it.
fn object(name: &str, version: &str, data: Value) -> Value {
    json!({
        "nova_object.name": name,
        "nova_object.namespace": "nova",
        "nova_object.version": version,
        DATA: data,
    })
}

/// Whether Nova has the block devices at hand when it tells of something. They are not told in any
/// case (`bdms_in_notifications` is off there), but the field is an empty list then, not null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockDevices {
    /// `[]`.
    None,
    /// `null`.
    Unknown,
}

/// `InstanceActionPayload` 1.8.
pub(super) fn action(
    server: &Snapshot,
    by: Option<&Initiator>,
    devices: BlockDevices,
    fault: Option<Value>,
) -> Value {
    let mut data = instance(server, by, devices);
    data.insert("fault".to_owned(), fault.into());
    object("InstanceActionPayload", "1.8", data.into())
}

/// `InstanceActionRescuePayload` 1.3.
pub(super) fn rescue(
    server: &Snapshot,
    by: Option<&Initiator>,
    image: Option<ImageId>,
    fault: Option<Value>,
) -> Value {
    let mut data = instance(server, by, BlockDevices::Unknown);
    data.insert("fault".to_owned(), fault.into());
    data.insert("rescue_image_ref".to_owned(), image.map(|image| image.to_string()).into());
    object("InstanceActionRescuePayload", "1.3", data.into())
}

/// `InstanceCreatePayload` 1.12.
pub(super) fn create(server: &Snapshot, by: Option<&Initiator>, fault: Option<Value>) -> Value {
    let mut data = instance(server, by, BlockDevices::None);
    let keypair = server.key_name.as_ref().map(|name| {
        let data = json!({
            "user_id": server.user_id,
            "name": name,
            "type": "ssh",
            "fingerprint": null,
            "public_key": server.public_key,
        });
        object("KeypairPayload", "1.0", data)
    });
    let keypairs: Vec<Value> = keypair.into_iter().collect();
    data.insert("keypairs".to_owned(), keypairs.into());
    data.insert("tags".to_owned(), json!(server.tags));
    data.insert("trusted_image_certificates".to_owned(), Value::Null);
    data.insert("instance_name".to_owned(), format!("instance-{:08x}", server.number).into());
    data.insert("fault".to_owned(), fault.into());
    object("InstanceCreatePayload", "1.12", data.into())
}

/// `InstanceUpdatePayload` 2.0.
///
/// A state that was null before is told as the one that follows, as Nova does: so a server that is
/// being paused was "pausing" already.
pub(super) fn update(change: &Change, at: Timestamp) -> Value {
    let (before, server) = (change.before.as_ref(), &change.after);
    let new = &server.state;
    let old_task = before.and_then(|state| state.task_state).or(new.task_state);
    let states = json!({
        "old_state": before.map_or(new.vm_state, |state| state.vm_state),
        "state": new.vm_state,
        "old_task_state": old_task,
        "new_task_state": new.task_state,
    });
    let renamed = before.map(|state| &state.name).filter(|name| **name != new.name);
    let mut data = instance(server, change.by.as_ref(), BlockDevices::Unknown);
    let states = object("InstanceStateUpdatePayload", "1.0", states);
    data.insert("state_update".to_owned(), states);
    data.insert("audit_period".to_owned(), audit_period(at));
    data.insert("old_display_name".to_owned(), json!(renamed));
    data.insert("tags".to_owned(), json!(server.tags));
    object("InstanceUpdatePayload", "2.0", data.into())
}

/// `InstanceExistsPayload` 2.0.
pub(super) fn exists(server: &Snapshot, by: Option<&Initiator>, at: Timestamp) -> Value {
    let mut data = instance(server, by, BlockDevices::Unknown);
    data.insert("audit_period".to_owned(), audit_period(at));
    object("InstanceExistsPayload", "2.0", data.into())
}

/// `ExceptionPayload` 1.1 of a fault.
pub(super) fn failed(kind: OperationKind, fault: &Fault) -> Value {
    exception(kind, "OperationFailed", (&fault.message, Some(&fault.details)))
}

/// `ExceptionPayload` 1.1 of an operation that was stopped.
pub(super) fn stopped(kind: OperationKind) -> Value {
    let text = "The operation was stopped because another one took its place.";
    exception(kind, "OperationCancelled", (text, None))
}

fn exception(kind: OperationKind, name: &str, (message, details): (&str, Option<&str>)) -> Value {
    let event = kind.event();
    let data = json!({
        "module_name": "reprieve",
        "function_name": event.strip_prefix("compute_").unwrap_or(event),
        "exception": name,
        "exception_message": message,
        "traceback": details,
    });
    object("ExceptionPayload", "1.1", data)
}

/// `AuditPeriodPayload` 1.0: the month so far.
fn audit_period(at: Timestamp) -> Value {
    let data = json!({
        "audit_period_beginning": at.month_begin_z(),
        "audit_period_ending": at.seconds_z(),
    });
    object("AuditPeriodPayload", "1.0", data)
}

/// The fields of `InstancePayload`, which all payloads have.
fn instance(
    server: &Snapshot,
    by: Option<&Initiator>,
    devices: BlockDevices,
) -> Map<String, Value> {
    let state = &server.state;
    let time = |time: Option<Timestamp>| time.map(Timestamp::seconds_z);
    let zone = server.host.as_ref().map(|_| &server.availability_zone);
    let devices = match devices {
        BlockDevices::None => json!([]),
        BlockDevices::Unknown => Value::Null,
    };
    let data = json!({
        "uuid": server.id,
        "user_id": server.user_id,
        "tenant_id": server.project_id,
        "reservation_id": server.reservation_id,
        "display_name": state.name,
        "display_description": server.description,
        "host_name": server.hostname,
        "host": server.host,
        "node": server.host,
        "os_type": null,
        "architecture": null,
        "availability_zone": zone,
        "flavor": flavor(&server.flavor),
        "image_uuid": server.image_id,
        "key_name": server.key_name,
        "kernel_id": "",
        "ramdisk_id": "",
        "created_at": server.created_at.seconds_z(),
        "launched_at": time(state.launched_at),
        "terminated_at": time(server.terminated_at),
        "deleted_at": time(server.deleted_at),
        "updated_at": state.updated_at.seconds_z(),
        "state": state.vm_state,
        "power_state": state.power_state.word(),
        "task_state": state.task_state,
        "progress": state.progress,
        "ip_addresses": [],
        "block_devices": devices,
        "metadata": server.metadata,
        "locked": server.locked,
        "auto_disk_config": server.auto_disk_config,
        "request_id": by.map(|by| &by.request_id),
        "action_initiator_user": by.map(|by| &by.user_id),
        "action_initiator_project": by.map(|by| &by.project_id),
        "locked_reason": server.locked_reason,
    });
    match data {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

/// `FlavorPayload` 1.4. What a server does not keep of its flavor has the usual value.
fn flavor(flavor: &FlavorFacts) -> Value {
    let data = json!({
        "flavorid": flavor.flavor_id,
        "memory_mb": flavor.memory_mib,
        "vcpus": flavor.vcpus,
        "root_gb": flavor.root_gib,
        "ephemeral_gb": flavor.ephemeral_gib,
        "name": flavor.name,
        "swap": flavor.swap_mib,
        "rxtx_factor": 1.0,
        "vcpu_weight": 0,
        "disabled": false,
        "is_public": true,
        "extra_specs": flavor.extra_specs,
        "projects": null,
        "description": null,
    });
    object("FlavorPayload", "1.4", data)
}
