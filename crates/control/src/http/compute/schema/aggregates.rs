//! Schemas of host aggregates.

use serde_json::{Value, json};

use super::{Family, formats, types};

/// `POST /os-aggregates`.
pub static CREATE: Family = Family::new(&[], create);
/// `PUT /os-aggregates/{id}`.
pub static UPDATE: Family = Family::new(&[], update);
/// `{"add_host": …}`.
pub static ADD_HOST: Family = Family::new(&[], |_| host("add_host"));
/// `{"remove_host": …}`.
pub static REMOVE_HOST: Family = Family::new(&[], |_| host("remove_host"));
/// `{"set_metadata": …}`.
pub static SET_METADATA: Family = Family::new(&[], set_metadata);
/// `POST /os-aggregates/{id}/images`.
pub static IMAGES: Family = Family::new(&[], images);

/// All of them, for the test that compiles every schema.
#[cfg(test)]
pub static ALL: &[&Family] = &[&CREATE, &UPDATE, &ADD_HOST, &REMOVE_HOST, &SET_METADATA, &IMAGES];

fn aggregate() -> Value {
    let zone = json!({
        "type": "string", "minLength": 1, "maxLength": 255, "format": formats::ZONE_NAME,
    });
    json!({"name": types::name(), "availability_zone": {"oneOf": [zone, {"type": "null"}]}})
}

fn create(_: u16) -> Value {
    types::object(json!({"aggregate": types::object(aggregate(), &["name"])}), &["aggregate"])
}

fn update(_: u16) -> Value {
    let one_of_them = json!({
        "anyOf": [{"required": ["name"]}, {"required": ["availability_zone"]}],
    });
    let aggregate = types::merged(types::object(aggregate(), &[]), one_of_them);
    types::object(json!({"aggregate": aggregate}), &["aggregate"])
}

fn host(action: &str) -> Value {
    let named = types::object(json!({"host": types::fqdn()}), &["host"]);
    types::object(json!({action: named}), &[action])
}

fn set_metadata(_: u16) -> Value {
    let metadata = json!({
        "type": "object",
        "patternProperties": {
            "^[a-zA-Z0-9-_:. ]{1,255}$": {"type": ["string", "null"], "maxLength": 255},
        },
        "additionalProperties": false,
    });
    let set = types::object(json!({"metadata": metadata}), &["metadata"]);
    types::object(json!({"set_metadata": set}), &["set_metadata"])
}

fn images(_: u16) -> Value {
    let image = types::object(json!({"id": types::uuid()}), &["id"]);
    let cache = json!({"type": "array", "minItems": 1, "items": image});
    types::object(json!({"cache": cache}), &["cache"])
}
