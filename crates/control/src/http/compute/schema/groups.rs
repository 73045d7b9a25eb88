//! Schemas of server groups.

use reprieve_core::group::GroupPolicy;
use serde_json::{Value, json};

use super::{Family, types};

/// `POST /os-server-groups`.
pub static CREATE: Family = Family::new(&[15, 64], create);
/// `GET /os-server-groups`.
pub static LIST: Family = Family::new(&[75], list);

/// All of them, for the test that compiles every schema.
#[cfg(test)]
pub static ALL: &[&Family] = &[&CREATE, &LIST];

fn create(minor: u16) -> Value {
    let soft = minor >= 15;
    let policies = [
        GroupPolicy::AntiAffinity,
        GroupPolicy::Affinity,
        GroupPolicy::SoftAntiAffinity,
        GroupPolicy::SoftAffinity,
    ];
    let names: Vec<&str> = policies
        .iter()
        .filter(|policy| soft || !policy.is_soft())
        .map(|policy| policy.as_str())
        .collect();
    let policy = json!({"type": "string", "enum": names});
    let (group, required) = if minor >= 64 {
        let most = json!({"max_server_per_host": types::integer(1, Some(types::MAX_INT))});
        let group = json!({
            "name": types::name(), "policy": policy, "rules": types::object(most, &[]),
        });
        (group, ["name", "policy"])
    } else {
        let list = json!({
            "type": "array", "prefixItems": [policy], "uniqueItems": true, "minItems": 1,
            "maxItems": 1,
        });
        (json!({"name": types::name(), "policies": list}), ["name", "policies"])
    };
    types::object(json!({"server_group": types::object(group, &required)}), &["server_group"])
}

fn list(minor: u16) -> Value {
    let number = || types::repeated(types::integer(0, None));
    let properties = json!({
        "all_projects": types::repeated(json!({"type": "string"})),
        "limit": number(),
        "offset": number(),
    });
    types::query(properties, minor >= 75)
}
