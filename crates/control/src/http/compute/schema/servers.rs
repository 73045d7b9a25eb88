//! Schemas of servers, their actions and their sub-resources.

use serde_json::{Value, json};

use super::{Family, formats, types};

/// `POST /servers`.
pub static CREATE: Family = Family::new(&[19, 32, 33, 37, 42, 52, 57, 63, 67, 74, 90, 94], create);
/// `PUT /servers/{id}`.
pub static UPDATE: Family = Family::new(&[19, 90, 94, 104], update);
/// `GET /servers` and `GET /servers/detail`.
pub static LIST: Family = Family::new(&[5, 26, 66, 73, 75, 83, 90], list);
/// `{"reboot": …}`.
pub static REBOOT: Family = Family::new(&[], reboot);
/// `{"rescue": …}`.
pub static RESCUE: Family = Family::new(&[], rescue);
/// `{"lock": …}`: any value before 2.73.
pub static LOCK: Family = Family::new(&[73], lock);
/// `{"os-getConsoleOutput": …}`.
pub static CONSOLE_OUTPUT: Family = Family::new(&[], console_output);
/// `{"os-resetState": …}`.
pub static RESET_STATE: Family = Family::new(&[], reset_state);
/// `POST` and `PUT /servers/{id}/metadata`.
pub static METADATA: Family = Family::new(&[], metadata);
/// `PUT /servers/{id}/metadata/{key}`.
pub static METADATA_ITEM: Family = Family::new(&[], metadata_item);
/// `PUT /servers/{id}/tags`.
pub static TAGS: Family = Family::new(&[], tags);
/// `PUT /servers/{id}/tags/{tag}`: no body.
pub static TAG_BODY: Family = Family::new(&[], |_| json!({"type": "null"}));
/// The tag in that path.
pub static TAG: Family = Family::new(&[], |_| types::tag());
/// `GET /servers/{id}/os-instance-actions`.
pub static ACTIONS: Family = Family::new(&[58, 66], actions);

/// All of them, for the test that compiles every schema.
#[cfg(test)]
pub static ALL: &[&Family] = &[
    &CREATE,
    &UPDATE,
    &LIST,
    &REBOOT,
    &RESCUE,
    &LOCK,
    &CONSOLE_OUTPUT,
    &RESET_STATE,
    &METADATA,
    &METADATA_ITEM,
    &TAGS,
    &TAG_BODY,
    &TAG,
    &ACTIONS,
];

/// Columns that a list may be sorted by.
pub const SORT_KEYS: &[&str] = &[
    "access_ip_v4",
    "access_ip_v6",
    "auto_disk_config",
    "availability_zone",
    "config_drive",
    "created_at",
    "display_description",
    "display_name",
    "host",
    "hostname",
    "image_ref",
    "instance_type_id",
    "kernel_id",
    "key_name",
    "launch_index",
    "launched_at",
    "locked_by",
    "node",
    "power_state",
    "progress",
    "project_id",
    "ramdisk_id",
    "root_device_name",
    "task_state",
    "terminated_at",
    "updated_at",
    "user_id",
    "uuid",
    "vm_state",
];

/// Columns that were accepted, and ignored, before 2.75.
const IGNORED_SORT_KEYS: &[&str] = &[
    "architecture",
    "cell_name",
    "cleaned",
    "default_ephemeral_device",
    "default_swap_device",
    "deleted",
    "deleted_at",
    "disable_terminate",
    "ephemeral_gb",
    "ephemeral_key_uuid",
    "id",
    "internal_id",
    "launched_on",
    "locked",
    "memory_mb",
    "os_type",
    "reservation_id",
    "root_gb",
    "shutdown_terminate",
    "user_data",
    "vcpus",
    "vm_mode",
    "hidden",
];

fn networks(minor: u16) -> Value {
    let tagged = minor == 32 || minor >= 42;
    let mut item = json!({
        "fixed_ip": {"type": "string"},
        "port": {"anyOf": [types::uuid(), {"type": "null"}]},
        "uuid": if minor >= 37 { types::uuid() } else { json!({"type": "string"}) },
    });
    if tagged {
        item = types::merged(item, json!({"tag": types::tag()}));
    }
    let list = json!({"type": "array", "items": types::object(item, &[])});
    if minor >= 37 {
        json!({"oneOf": [list, {"type": "string", "enum": ["none", "auto"]}]})
    } else {
        list
    }
}

fn block_devices(minor: u16) -> Value {
    let mut item = json!({
        "virtual_name": {"type": "string", "maxLength": 255},
        "volume_id": types::uuid(),
        "snapshot_id": types::uuid(),
        "volume_size": types::integer(1, Some(types::MAX_INT)),
        "device_name": {
            "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9._/-]*$",
        },
        "delete_on_termination": types::boolean(),
        "no_device": {},
        "source_type": {"type": "string", "enum": ["volume", "image", "snapshot", "blank"]},
        "uuid": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9-]*$"},
        "image_id": types::uuid(),
        "destination_type": {"type": "string", "enum": ["local", "volume"]},
        "guest_format": {"type": "string", "maxLength": 255},
        "device_type": {"type": "string", "maxLength": 255},
        "disk_bus": {"type": "string", "maxLength": 255},
        "boot_index": {"type": ["integer", "string", "null"], "pattern": "^-?[0-9]+$"},
    });
    if minor == 32 || minor >= 42 {
        item = types::merged(item, json!({"tag": types::tag()}));
    }
    if minor >= 67 {
        let volume_type = json!({"type": ["string", "null"], "minLength": 0, "maxLength": 255});
        item = types::merged(item, json!({"volume_type": volume_type}));
    }
    json!({"type": "array", "items": types::object(item, &[])})
}

fn create_properties(minor: u16) -> Value {
    let mut server = json!({
        "name": types::name(),
        "imageRef": {"anyOf": [types::uuid(), {"type": "string", "maxLength": 0}]},
        "flavorRef": types::flavor_ref(),
        "adminPass": {"type": "string"},
        "metadata": types::metadata(),
        "networks": networks(minor),
        "OS-DCF:diskConfig": types::disk_config(),
        "accessIPv4": {"type": "string", "format": formats::IPV4},
        "accessIPv6": {"type": "string", "format": formats::IPV6},
        "personality": {
            "type": "array",
            "items": types::object(
                json!({"path": {"type": "string"}, "contents": {"type": "string"}}),
                &[],
            ),
        },
        "availability_zone": types::name(),
        "block_device_mapping": {"type": "array", "items": {"type": "object"}},
        "block_device_mapping_v2": block_devices(minor),
        "config_drive": types::boolean(),
        "key_name": types::name(),
        "min_count": types::integer(1, None),
        "max_count": types::integer(1, None),
        "return_reservation_id": types::boolean(),
        "security_groups": {
            "type": "array",
            "items": types::object(
                json!({"name": {"type": "string", "minLength": 1, "maxLength": 255}}),
                &[],
            ),
        },
        "user_data": {"type": "string", "maxLength": 65535},
    });
    let additions = [
        (19, json!({"description": types::description()})),
        (52, json!({"tags": types::tags()})),
        (
            63,
            json!({"trusted_image_certificates": {
                "type": ["array", "null"], "minItems": 1, "maxItems": 50, "uniqueItems": true,
                "items": {"type": "string", "minLength": 1},
            }}),
        ),
        (74, json!({"host": types::name(), "hypervisor_hostname": types::name()})),
        (90, json!({"hostname": types::hostname()})),
        (94, json!({"hostname": types::fqdn()})),
    ];
    for (since, properties) in additions {
        if minor >= since {
            server = types::merged(server, properties);
        }
    }
    if minor >= 57
        && let Some(fields) = server.as_object_mut()
    {
        fields.shift_remove("personality");
    }
    server
}

fn create(minor: u16) -> Value {
    let required: &[&str] =
        if minor >= 37 { &["name", "flavorRef", "networks"] } else { &["name", "flavorRef"] };
    let uuids = json!({"anyOf": [types::uuid(), {"type": "array", "items": types::uuid()}]});
    let hints = json!({
        "type": "object",
        "properties": {
            "group": types::uuid(),
            "different_host": uuids,
            "same_host": uuids,
            "query": {"type": ["string", "object"]},
            "target_cell": types::name(),
            "different_cell": {"type": ["string", "array"]},
            "build_near_host_ip": {"type": "string"},
            "cidr": {"type": "string", "pattern": "^/[0-9a-f.:]+$"},
        },
        "additionalProperties": true,
    });
    types::object(
        json!({
            "server": types::object(create_properties(minor), required),
            "os:scheduler_hints": hints,
            "OS-SCH-HNT:scheduler_hints": hints,
        }),
        &["server"],
    )
}

fn update(minor: u16) -> Value {
    let mut server = json!({
        "name": types::name(),
        "OS-DCF:diskConfig": types::disk_config(),
        "accessIPv4": {"anyOf": [{"type": "string", "format": formats::IPV4},
                                 {"type": "null"}]},
        "accessIPv6": {"anyOf": [{"type": "string", "format": formats::IPV6},
                                 {"type": "null"}]},
    });
    if minor >= 19 {
        server = types::merged(server, json!({"description": types::description()}));
    }
    if minor >= 90 {
        let hostname = if minor >= 94 { types::fqdn() } else { types::hostname() };
        server = types::merged(server, json!({"hostname": hostname}));
    }
    if minor >= 104 {
        let zone = json!({"pinned_availability_zone": {"type": ["string", "null"]}});
        server = types::merged(server, zone);
    }
    types::object(json!({"server": types::object(server, &[])}), &["server"])
}

fn list(minor: u16) -> Value {
    let strict = minor >= 75;
    let mut keys: Vec<&str> = SORT_KEYS.to_vec();
    if minor >= 73 {
        keys.push("locked");
    }
    if !strict {
        keys.extend(IGNORED_SORT_KEYS.iter().filter(|key| minor < 73 || **key != "locked"));
    }
    let text = || types::repeated(json!({"type": "string"}));
    let mut properties = types::merged(
        types::paging(),
        json!({
            "sort_key": types::repeated(json!({"type": "string", "enum": keys})),
            "sort_dir": types::repeated(json!({"type": "string", "enum": ["asc", "desc"]})),
            "changes-since": types::repeated(
                json!({"type": "string", "format": formats::DATE_TIME})),
        }),
    );
    if minor >= 66 {
        let before = types::repeated(json!({"type": "string", "format": formats::DATE_TIME}));
        properties = types::merged(properties, json!({"changes-before": before}));
    }
    for name in filters(minor).into_iter().chain(JOINED) {
        properties = types::merged(properties, json!({name: text()}));
    }
    if !strict {
        return types::query(properties, false);
    }
    json!({
        "type": "object",
        "properties": properties,
        "patternProperties": {"^_": text()},
        "additionalProperties": false,
    })
}

/// Columns of joined tables. They may be asked for, and are refused later with a text of their own.
pub const JOINED: [&str; 7] = [
    "block_device_mapping",
    "services",
    "metadata",
    "system_metadata",
    "info_cache",
    "security_groups",
    "pci_devices",
];

/// Filters that exist at 2.`minor`. Whether the caller may use them is decided later.
fn filters(minor: u16) -> Vec<&'static str> {
    let mut names = vec![
        "access_ip_v4",
        "access_ip_v6",
        "all_tenants",
        "auto_disk_config",
        "availability_zone",
        "config_drive",
        "created_at",
        "deleted",
        "description",
        "display_description",
        "display_name",
        "flavor",
        "host",
        "hostname",
        "image",
        "image_ref",
        "ip",
        "kernel_id",
        "key_name",
        "launch_index",
        "launched_at",
        "locked_by",
        "name",
        "node",
        "power_state",
        "progress",
        "project_id",
        "ramdisk_id",
        "reservation_id",
        "root_device_name",
        "soft_deleted",
        "status",
        "task_state",
        "tenant_id",
        "terminated_at",
        "user_id",
        "uuid",
        "vm_state",
    ];
    for (since, more) in [
        (5, &["ip6"] as &[_]),
        (26, &["tags", "tags-any", "not-tags", "not-tags-any"]),
        (73, &["locked"]),
    ] {
        if minor >= since {
            names.extend(more);
        }
    }
    names
}

fn reboot(_: u16) -> Value {
    let kinds = ["HARD", "Hard", "hard", "SOFT", "Soft", "soft"];
    let kind = json!({"type": "string", "enum": kinds});
    types::object(json!({"reboot": types::object(json!({"type": kind}), &["type"])}), &["reboot"])
}

fn rescue(_: u16) -> Value {
    let options = json!({
        "type": ["object", "null"],
        "properties": {"adminPass": {"type": "string"}, "rescue_image_ref": types::uuid()},
        "additionalProperties": false,
    });
    types::object(json!({"rescue": options}), &["rescue"])
}

fn lock(minor: u16) -> Value {
    if minor < 73 {
        return json!({"type": "object"});
    }
    let reason = json!({"type": "string", "minLength": 1, "maxLength": 255});
    let options = json!({
        "type": ["object", "null"],
        "properties": {"locked_reason": reason},
        "required": ["locked_reason"],
        "additionalProperties": false,
    });
    types::object(json!({"lock": options}), &["lock"])
}

fn console_output(_: u16) -> Value {
    let length = json!({
        "type": ["integer", "string", "null"], "pattern": "^-?[0-9]+$", "minimum": -1,
    });
    types::object(
        json!({"os-getConsoleOutput": types::object(json!({"length": length}), &[])}),
        &["os-getConsoleOutput"],
    )
}

fn reset_state(_: u16) -> Value {
    let state = json!({"type": "string", "enum": ["active", "error"]});
    types::object(
        json!({"os-resetState": types::object(json!({"state": state}), &["state"])}),
        &["os-resetState"],
    )
}

fn metadata(_: u16) -> Value {
    types::object(json!({"metadata": types::metadata()}), &["metadata"])
}

fn metadata_item(_: u16) -> Value {
    let one = types::merged(types::metadata(), json!({"minProperties": 1, "maxProperties": 1}));
    types::object(json!({"meta": one}), &["meta"])
}

fn tags(_: u16) -> Value {
    types::object(json!({"tags": types::tags()}), &["tags"])
}

fn actions(minor: u16) -> Value {
    if minor < 58 {
        return types::query(json!({}), false);
    }
    let instant = || types::single(json!({"type": "string", "format": formats::DATE_TIME}));
    let mut properties = json!({
        "limit": types::single(types::integer(0, None)),
        "marker": types::single(json!({"type": "string"})),
        "changes-since": instant(),
    });
    if minor >= 66 {
        properties = types::merged(properties, json!({"changes-before": instant()}));
    }
    types::query(properties, true)
}
