//! Schemas of the small resources: consoles, events of other services, migrations, shares.

use serde_json::{Value, json};

use super::{Family, formats, types};

/// `POST /servers/{id}/remote-consoles` (2.6).
pub static REMOTE_CONSOLE: Family = Family::new(&[8, 99], remote_console);
/// `{"os-getVNCConsole": …}`.
pub static VNC_CONSOLE: Family =
    Family::new(&[], |_| console("os-getVNCConsole", &["novnc", "xvpvnc"]));
/// `{"os-getSPICEConsole": …}`.
pub static SPICE_CONSOLE: Family =
    Family::new(&[], |_| console("os-getSPICEConsole", &["spice-html5"]));
/// `{"os-getRDPConsole": …}`.
pub static RDP_CONSOLE: Family = Family::new(&[], |_| console("os-getRDPConsole", &["rdp-html5"]));
/// `{"os-getSerialConsole": …}`.
pub static SERIAL_CONSOLE: Family =
    Family::new(&[], |_| console("os-getSerialConsole", &["serial"]));
/// Query of `GET /os-console-auth-tokens/{token}`.
pub static CONSOLE_TOKEN: Family = Family::new(&[99], |minor| types::query(json!({}), minor >= 99));
/// `POST /os-server-external-events`.
pub static EXTERNAL_EVENTS: Family = Family::new(&[51, 76, 82, 93], external_events);
/// `GET /os-migrations`.
pub static MIGRATIONS: Family = Family::new(&[59, 66, 80], migrations);
/// `{"force_complete": null}`.
pub static FORCE_COMPLETE: Family = Family::new(&[], |_| {
    types::object(json!({"force_complete": {"type": "null"}}), &["force_complete"])
});
/// `POST /servers/{id}/shares` (2.97).
pub static SHARE: Family = Family::new(&[], share);
/// `GET /images` and `/images/detail` (until 2.35).
pub static IMAGES: Family = Family::new(&[], |_| types::query(types::paging(), false));
/// `GET /servers/{id}/os-volume_attachments`.
pub static VOLUME_ATTACHMENTS: Family = Family::new(&[75], volume_attachments);
/// Queries of resources that take no parameters: any is an error from 2.102.
pub static NO_QUERY: Family = Family::new(&[102], |minor| types::query(json!({}), minor >= 102));
/// Queries of resources that came after the clean-up of 2.75 and take no parameters.
pub static NO_PARAMETERS: Family = Family::new(&[], |_| types::query(json!({}), true));

/// All of them, for the test that compiles every schema.
#[cfg(test)]
pub static ALL: &[&Family] = &[
    &REMOTE_CONSOLE,
    &VNC_CONSOLE,
    &SPICE_CONSOLE,
    &RDP_CONSOLE,
    &SERIAL_CONSOLE,
    &CONSOLE_TOKEN,
    &EXTERNAL_EVENTS,
    &MIGRATIONS,
    &FORCE_COMPLETE,
    &SHARE,
    &IMAGES,
    &VOLUME_ATTACHMENTS,
    &NO_QUERY,
    &NO_PARAMETERS,
];

fn remote_console(minor: u16) -> Value {
    let mut protocols = vec!["vnc", "spice", "rdp", "serial"];
    let mut kinds = vec!["novnc", "xvpvnc", "rdp-html5", "spice-html5", "serial"];
    if minor >= 8 {
        protocols.push("mks");
        kinds.push("webmks");
    }
    if minor >= 99 {
        kinds.push("spice-direct");
    }
    let options = json!({
        "protocol": {"type": "string", "enum": protocols},
        "type": {"type": "string", "enum": kinds},
    });
    types::object(
        json!({"remote_console": types::object(options, &["protocol", "type"])}),
        &["remote_console"],
    )
}

fn console(action: &str, kinds: &[&str]) -> Value {
    let kind = json!({"type": {"type": "string", "enum": kinds}});
    types::object(json!({action: types::object(kind, &["type"])}), &[action])
}

fn external_events(minor: u16) -> Value {
    let mut names = vec![
        "network-changed",
        "network-vif-plugged",
        "network-vif-unplugged",
        "network-vif-deleted",
    ];
    let later = [
        (51, "volume-extended"),
        (76, "power-update"),
        (82, "accelerator-request-bound"),
        (93, "volume-reimaged"),
    ];
    names.extend(later.iter().filter(|(since, _)| minor >= *since).map(|(_, name)| *name));
    let event = types::object(
        json!({
            "server_uuid": types::uuid(),
            "name": {"type": "string", "enum": names},
            "status": {"type": "string", "enum": ["failed", "completed", "in-progress"]},
            "tag": {"type": "string", "maxLength": 255},
        }),
        &["server_uuid", "name"],
    );
    let events = json!({"type": "array", "minItems": 1, "items": event});
    types::object(json!({"events": events}), &["events"])
}

fn migrations(minor: u16) -> Value {
    let text = || types::repeated(json!({"type": "string"}));
    let mut properties = json!({
        "hidden": text(),
        "host": text(),
        "instance_uuid": text(),
        "source_compute": text(),
        "status": text(),
        "migration_type": text(),
    });
    let instant = || types::single(json!({"type": "string", "format": formats::DATE_TIME}));
    let additions = [
        (
            59,
            json!({
                "limit": types::single(types::integer(0, None)),
                "marker": types::single(types::uuid()),
                "changes-since": instant(),
            }),
        ),
        (66, json!({"changes-before": instant()})),
        (80, json!({"user_id": text(), "project_id": text()})),
    ];
    for (since, more) in additions {
        if minor >= since {
            properties = types::merged(properties, more);
        }
    }
    types::query(properties, minor >= 59)
}

fn volume_attachments(minor: u16) -> Value {
    let number = || types::repeated(types::integer(0, None));
    types::query(json!({"limit": number(), "offset": number()}), minor >= 75)
}

fn share(_: u16) -> Value {
    let share = json!({
        "share_id": types::uuid(),
        "tag": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9-]*$"},
    });
    types::object(json!({"share": types::object(share, &["share_id"])}), &["share"])
}
