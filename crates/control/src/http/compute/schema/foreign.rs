//! Schemas of the actions that Nova has and this service does not (spec/states.md section 4).

use reprieve_core::foreign::ForeignAction;
use serde_json::{Value, json};

use super::{Family, formats, types};

static REBUILD: Family = Family::new(&[19, 54, 57, 63, 90, 94], rebuild);
static RESIZE: Family = Family::new(&[], resize);
static MIGRATE: Family = Family::new(&[56], migrate);
static MIGRATE_LIVE: Family = Family::new(&[25, 30, 68], migrate_live);
static EVACUATE: Family = Family::new(&[14, 29, 68], evacuate);
static CREATE_IMAGE: Family = Family::new(&[], create_image);
static CREATE_BACKUP: Family = Family::new(&[], create_backup);
static UNSHELVE: Family = Family::new(&[77, 91], unshelve);
static CHANGE_PASSWORD: Family = Family::new(&[], change_password);
static CRASH_DUMP: Family = Family::new(&[], crash_dump);
static ADD_FIXED_IP: Family = Family::new(&[], add_fixed_ip);
static REMOVE_FIXED_IP: Family = Family::new(&[], remove_fixed_ip);
static ADD_FLOATING_IP: Family = Family::new(&[], add_floating_ip);
static REMOVE_FLOATING_IP: Family = Family::new(&[], remove_floating_ip);
static ADD_SECURITY_GROUP: Family = Family::new(&[], add_security_group);
static REMOVE_SECURITY_GROUP: Family = Family::new(&[], remove_security_group);

/// All of them.
#[cfg(test)]
pub static ALL: &[&Family] = &[
    &REBUILD,
    &RESIZE,
    &MIGRATE,
    &MIGRATE_LIVE,
    &EVACUATE,
    &CREATE_IMAGE,
    &CREATE_BACKUP,
    &UNSHELVE,
    &CHANGE_PASSWORD,
    &CRASH_DUMP,
    &ADD_FIXED_IP,
    &REMOVE_FIXED_IP,
    &ADD_FLOATING_IP,
    &REMOVE_FLOATING_IP,
    &ADD_SECURITY_GROUP,
    &REMOVE_SECURITY_GROUP,
];

/// The schema of an action's body; `None`: Nova does not look at the value.
#[must_use]
pub fn of(action: ForeignAction) -> Option<&'static Family> {
    use ForeignAction as A;
    match action {
        A::Rebuild => Some(&REBUILD),
        A::Resize => Some(&RESIZE),
        A::Migrate => Some(&MIGRATE),
        A::MigrateLive => Some(&MIGRATE_LIVE),
        A::Evacuate => Some(&EVACUATE),
        A::CreateImage => Some(&CREATE_IMAGE),
        A::CreateBackup => Some(&CREATE_BACKUP),
        A::Unshelve => Some(&UNSHELVE),
        A::ChangePassword => Some(&CHANGE_PASSWORD),
        A::TriggerCrashDump => Some(&CRASH_DUMP),
        A::AddFixedIp => Some(&ADD_FIXED_IP),
        A::RemoveFixedIp => Some(&REMOVE_FIXED_IP),
        A::AddFloatingIp => Some(&ADD_FLOATING_IP),
        A::RemoveFloatingIp => Some(&REMOVE_FLOATING_IP),
        A::AddSecurityGroup => Some(&ADD_SECURITY_GROUP),
        A::RemoveSecurityGroup => Some(&REMOVE_SECURITY_GROUP),
        A::ConfirmResize
        | A::RevertResize
        | A::Shelve
        | A::ShelveOffload
        | A::Restore
        | A::InjectNetworkInfo => None,
    }
}

/// A body whose one key is the action.
fn body(action: ForeignAction, options: Value) -> Value {
    let mut properties = serde_json::Map::new();
    properties.insert(action.as_str().to_owned(), options);
    types::object(properties.into(), &[action.as_str()])
}

fn host() -> Value {
    types::fqdn()
}

fn host_or_null() -> Value {
    let mut host = types::fqdn();
    if let Some(fields) = host.as_object_mut() {
        fields.insert("type".to_owned(), json!(["string", "null"]));
    }
    host
}

fn address() -> Value {
    json!({"anyOf": [
        {"type": "string", "format": formats::IPV4},
        {"type": "string", "format": formats::IPV6},
    ]})
}

fn rebuild(minor: u16) -> Value {
    let mut options = json!({
        "name": types::name(),
        "imageRef": types::uuid(),
        "adminPass": {"type": "string"},
        "metadata": types::metadata(),
        "preserve_ephemeral": types::boolean(),
        "OS-DCF:diskConfig": types::disk_config(),
        "accessIPv4": {"type": "string", "format": formats::IPV4},
        "accessIPv6": {"type": "string", "format": formats::IPV6},
    });
    let file = json!({"path": {"type": "string"}, "contents": {"type": "string"}});
    let certificates = json!({
        "type": ["array", "null"], "minItems": 1, "maxItems": 50, "uniqueItems": true,
        "items": {"type": "string", "minLength": 1},
    });
    let hostname = if minor >= 94 { types::fqdn() } else { types::hostname() };
    for (since, until, name, schema) in [
        (1, 56, "personality", json!({"type": "array", "items": types::object(file, &[])})),
        (19, u16::MAX, "description", types::description()),
        (54, u16::MAX, "key_name", json!({"anyOf": [types::name(), {"type": "null"}]})),
        (57, u16::MAX, "user_data", json!({"type": ["string", "null"], "maxLength": 65535})),
        (63, u16::MAX, "trusted_image_certificates", certificates),
        (90, u16::MAX, "hostname", hostname),
    ] {
        if let (true, Some(fields)) = ((since..=until).contains(&minor), options.as_object_mut()) {
            fields.insert(name.to_owned(), schema);
        }
    }
    body(ForeignAction::Rebuild, types::object(options, &["imageRef"]))
}

fn resize(_: u16) -> Value {
    let options =
        json!({"flavorRef": types::flavor_ref(), "OS-DCF:diskConfig": types::disk_config()});
    body(ForeignAction::Resize, types::object(options, &["flavorRef"]))
}

fn migrate(minor: u16) -> Value {
    if minor < 56 {
        return json!({"type": "object"});
    }
    let options = json!({
        "type": ["object", "null"],
        "properties": {"host": host_or_null()},
        "additionalProperties": false,
    });
    body(ForeignAction::Migrate, options)
}

fn migrate_live(minor: u16) -> Value {
    let mut block = types::boolean();
    if let (true, Some(Value::Array(values))) = (minor >= 25, block.get_mut("enum")) {
        values.push(json!("auto"));
    }
    let mut options = json!({"block_migration": block});
    let mut required = vec!["block_migration"];
    if let Some(fields) = options.as_object_mut() {
        if minor < 25 {
            fields.insert("disk_over_commit".to_owned(), types::boolean());
            required.push("disk_over_commit");
        }
        fields.insert("host".to_owned(), host_or_null());
        required.push("host");
        if (30..68).contains(&minor) {
            fields.insert("force".to_owned(), types::boolean());
        }
    }
    body(ForeignAction::MigrateLive, types::object(options, &required))
}

fn evacuate(minor: u16) -> Value {
    let mut options = json!({"host": host(), "adminPass": {"type": "string"}});
    let mut required = Vec::new();
    if let Some(fields) = options.as_object_mut() {
        if minor < 14 {
            fields.insert("onSharedStorage".to_owned(), types::boolean());
            required.push("onSharedStorage");
        }
        if (29..68).contains(&minor) {
            fields.insert("force".to_owned(), types::boolean());
        }
    }
    body(ForeignAction::Evacuate, types::object(options, &required))
}

fn create_image(_: u16) -> Value {
    let options = json!({"name": types::name(), "metadata": types::metadata()});
    body(ForeignAction::CreateImage, types::object(options, &["name"]))
}

fn create_backup(_: u16) -> Value {
    let options = json!({
        "name": types::name(),
        "backup_type": {"type": "string"},
        "rotation": types::integer(0, None),
        "metadata": types::metadata(),
    });
    let required = ["name", "backup_type", "rotation"];
    body(ForeignAction::CreateBackup, types::object(options, &required))
}

fn unshelve(minor: u16) -> Value {
    let options = match minor {
        ..77 => return json!({"type": "object"}),
        77..91 => json!({
            "type": ["object", "null"],
            "properties": {"availability_zone": types::name()},
            "additionalProperties": false,
            "required": ["availability_zone"],
        }),
        91.. => json!({"oneOf": [
            {
                "type": ["object"],
                "properties": {
                    "availability_zone": {"oneOf": [{"type": ["null"]}, {"type": "string"}]},
                    "host": {"type": "string"},
                },
                "additionalProperties": false,
            },
            {"type": ["null"]},
        ]}),
    };
    body(ForeignAction::Unshelve, options)
}

fn change_password(_: u16) -> Value {
    let options = types::object(json!({"adminPass": {"type": "string"}}), &["adminPass"]);
    body(ForeignAction::ChangePassword, options)
}

fn crash_dump(_: u16) -> Value {
    body(ForeignAction::TriggerCrashDump, json!({"type": "null"}))
}

fn add_fixed_ip(_: u16) -> Value {
    let network =
        json!({"networkId": {"type": ["string", "number"], "minimum": 1, "minLength": 1}});
    body(ForeignAction::AddFixedIp, types::object(network, &["networkId"]))
}

fn remove_fixed_ip(_: u16) -> Value {
    let options = types::object(json!({"address": address()}), &["address"]);
    body(ForeignAction::RemoveFixedIp, options)
}

fn add_floating_ip(_: u16) -> Value {
    let addresses = json!({"address": address(), "fixed_address": address()});
    body(ForeignAction::AddFloatingIp, types::object(addresses, &["address"]))
}

fn remove_floating_ip(_: u16) -> Value {
    let options = types::object(json!({"address": address()}), &["address"]);
    body(ForeignAction::RemoveFloatingIp, options)
}

fn security_group(action: ForeignAction) -> Value {
    let options = json!({
        "type": "object",
        "properties": {"name": {"type": "string", "minLength": 1}},
        "required": ["name"],
    });
    body(action, options)
}

fn add_security_group(_: u16) -> Value {
    security_group(ForeignAction::AddSecurityGroup)
}

fn remove_security_group(_: u16) -> Value {
    security_group(ForeignAction::RemoveSecurityGroup)
}
