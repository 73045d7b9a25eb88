//! Schemas of flavors and their extra specs.

use serde_json::{Value, json};

use super::{Family, types};

/// `POST /flavors`.
pub static CREATE: Family = Family::new(&[55, 102], create);
/// `PUT /flavors/{id}` (2.55).
pub static UPDATE: Family = Family::new(&[], update);
/// `GET /flavors` and `/flavors/detail`.
pub static LIST: Family = Family::new(&[75, 102], list);
/// `POST /flavors/{id}/os-extra_specs`.
pub static EXTRA_SPECS: Family = Family::new(&[], extra_specs);
/// `PUT /flavors/{id}/os-extra_specs/{key}`.
pub static EXTRA_SPEC: Family = Family::new(&[], extra_spec);
/// `{"addTenantAccess": …}`.
pub static ADD_ACCESS: Family = Family::new(&[], |_| access("addTenantAccess"));
/// `{"removeTenantAccess": …}`.
pub static REMOVE_ACCESS: Family = Family::new(&[], |_| access("removeTenantAccess"));

/// All of them, for the test that compiles every schema.
#[cfg(test)]
pub static ALL: &[&Family] =
    &[&CREATE, &UPDATE, &LIST, &EXTRA_SPECS, &EXTRA_SPEC, &ADD_ACCESS, &REMOVE_ACCESS];

/// Keys of extra specs.
const KEY: &str = "^[a-zA-Z0-9-_:. ]{1,255}$";

fn create(minor: u16) -> Value {
    let mut flavor = json!({
        "name": types::name(),
        "id": {
            "type": ["string", "number", "null"], "minLength": 1, "maxLength": 255,
            "pattern": "^(?! )[a-zA-Z0-9. _-]+(?<! )$",
        },
        "ram": types::integer(1, Some(types::MAX_INT)),
        "vcpus": types::integer(1, Some(types::MAX_INT)),
        "disk": types::integer(0, Some(types::MAX_INT)),
        "OS-FLV-EXT-DATA:ephemeral": types::integer(0, Some(types::MAX_INT)),
        "swap": types::integer(0, Some(types::MAX_INT)),
        "rxtx_factor": {
            "type": ["number", "string"], "pattern": r"^[0-9]+(\.[0-9]+)?$", "minimum": 0,
        },
        "os-flavor-access:is_public": types::boolean(),
    });
    if minor >= 55 {
        flavor = types::merged(flavor, json!({"description": description()}));
    }
    if minor >= 102
        && let Some(fields) = flavor.as_object_mut()
    {
        fields.shift_remove("rxtx_factor");
    }
    types::object(
        json!({"flavor": types::object(flavor, &["name", "ram", "vcpus", "disk"])}),
        &["flavor"],
    )
}

fn description() -> Value {
    json!({
        "type": ["string", "null"], "minLength": 0, "maxLength": 65535,
        "pattern": r"^[^\p{Cc}]*$",
    })
}

fn update(_: u16) -> Value {
    types::object(
        json!({"flavor": types::object(json!({"description": description()}), &["description"])}),
        &["flavor"],
    )
}

fn list(minor: u16) -> Value {
    let mut sort_keys = vec![
        "created_at",
        "description",
        "disabled",
        "ephemeral_gb",
        "flavorid",
        "id",
        "is_public",
        "memory_mb",
        "name",
        "root_gb",
        "rxtx_factor",
        "swap",
        "updated_at",
        "vcpu_weight",
        "vcpus",
    ];
    if minor >= 102 {
        sort_keys.retain(|key| *key != "rxtx_factor");
    }
    let text = || types::repeated(json!({"type": "string"}));
    let mut properties = types::merged(
        types::paging(),
        json!({
            "is_public": text(),
            "minRam": text(),
            "minDisk": text(),
            "sort_key": types::repeated(json!({"type": "string", "enum": sort_keys})),
            "sort_dir": types::repeated(json!({"type": "string", "enum": ["asc", "desc"]})),
        }),
    );
    if minor >= 102 {
        properties = types::merged(properties, json!({"name": text()}));
    }
    types::query(properties, minor >= 75)
}

fn access(action: &str) -> Value {
    let tenant = json!({"type": "string", "minLength": 1, "maxLength": 255});
    types::object(json!({action: types::object(json!({"tenant": tenant}), &["tenant"])}), &[action])
}

fn spec_value() -> Value {
    json!({"type": ["string", "number"], "maxLength": 255})
}

fn extra_specs(_: u16) -> Value {
    let specs = json!({
        "type": "object", "patternProperties": {KEY: spec_value()}, "additionalProperties": false,
    });
    types::object(json!({"extra_specs": specs}), &["extra_specs"])
}

fn extra_spec(_: u16) -> Value {
    json!({
        "type": "object", "patternProperties": {KEY: spec_value()}, "additionalProperties": false,
        "minProperties": 1, "maxProperties": 1,
    })
}
