//! Schemas of services, hypervisors and availability zones.

use serde_json::{Value, json};

use super::{Family, types};

/// `GET /os-services`.
pub static SERVICES: Family = Family::new(&[75], services);
/// `PUT /os-services/{id}`.
pub static SERVICE_UPDATE: Family = Family::new(&[11, 53], service_update);
/// `GET /os-hypervisors` and `/os-hypervisors/detail`.
pub static HYPERVISORS: Family = Family::new(&[33, 53], hypervisors);
/// `GET /os-hypervisors/{id}`.
pub static HYPERVISOR: Family = Family::new(&[53], hypervisor);

/// All of them, for the test that compiles every schema.
#[cfg(test)]
pub static ALL: &[&Family] = &[&SERVICES, &SERVICE_UPDATE, &HYPERVISORS, &HYPERVISOR];

fn services(minor: u16) -> Value {
    let text = || types::repeated(json!({"type": "string"}));
    types::query(json!({"host": text(), "binary": text()}), minor >= 75)
}

fn service_update(minor: u16) -> Value {
    let text = || json!({"type": "string", "minLength": 1, "maxLength": 255});
    if minor >= 53 {
        return types::object(
            json!({
                "status": {"type": "string", "enum": ["enabled", "disabled"]},
                "disabled_reason": text(),
                "forced_down": types::boolean(),
            }),
            &[],
        );
    }
    let mut properties = json!({
        "host": types::fqdn(), "binary": text(), "disabled_reason": text(),
    });
    if minor >= 11 {
        properties = types::merged(properties, json!({"forced_down": types::boolean()}));
    }
    types::object(properties, &["host", "binary"])
}

fn hypervisors(minor: u16) -> Value {
    if minor < 33 {
        return types::query(json!({}), false);
    }
    let mut properties = json!({
        "limit": types::single(types::integer(0, None)),
        "marker": types::single(json!({"type": "string"})),
    });
    if minor >= 53 {
        let more = json!({
            "hypervisor_hostname_pattern": types::single(json!({"type": "string"})),
            "with_servers": types::single(types::boolean()),
        });
        properties = types::merged(properties, more);
    }
    types::query(properties, minor >= 53)
}

fn hypervisor(minor: u16) -> Value {
    if minor < 53 {
        return types::query(json!({}), false);
    }
    types::query(json!({"with_servers": types::single(types::boolean())}), true)
}
