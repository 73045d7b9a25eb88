//! Schemas of quotas and limits.

use reprieve_core::quota::Resource;
use serde_json::{Map, Value, json};

use super::super::quotas::{About, about};
use super::{Family, types};

/// `PUT /os-quota-sets/{project}`.
pub static UPDATE: Family = Family::new(&[36, 57], update);
/// Queries of `/os-quota-sets/{project}`.
pub static QUERY: Family = Family::new(&[75], query);
/// `PUT /os-quota-class-sets/{class}`.
pub static UPDATE_CLASS: Family = Family::new(&[50, 57], update_class);
/// `GET /limits`.
pub static LIMITS: Family = Family::new(&[75], limits);

/// All of them, for the test that compiles every schema.
#[cfg(test)]
pub static ALL: &[&Family] = &[&UPDATE, &QUERY, &UPDATE_CLASS, &LIMITS];

/// A limit of every quota that can be set, with those of networks or without.
fn quotas(minor: u16, networks: bool) -> Value {
    let limit = json!({
        "type": ["integer", "string"], "pattern": "^-?[0-9]+$", "minimum": -1,
        "maximum": types::MAX_INT,
    });
    let there = |resource: &&Resource| match about(**resource) {
        About::Servers => true,
        About::Files => minor < 57,
        About::Networks => networks,
    };
    let mut names: Vec<&str> =
        Resource::ALL.iter().filter(there).map(|resource| resource.as_str()).collect();
    if networks {
        names.push("networks");
    }
    let limits: Map<String, Value> =
        names.into_iter().map(|name| (name.to_owned(), limit.clone())).collect();
    Value::Object(limits)
}

fn update(minor: u16) -> Value {
    let force = json!({"force": types::boolean()});
    let set = types::merged(quotas(minor, minor < 36), force);
    types::object(json!({"quota_set": types::object(set, &[])}), &["quota_set"])
}

fn update_class(minor: u16) -> Value {
    let set = types::object(quotas(minor, minor < 50), &[]);
    types::object(json!({"quota_class_set": set}), &["quota_class_set"])
}

fn query(minor: u16) -> Value {
    let user = types::repeated(json!({"type": "string"}));
    types::query(json!({"user_id": user}), minor >= 75)
}

fn limits(minor: u16) -> Value {
    let project = types::repeated(json!({"type": "string"}));
    types::query(json!({"tenant_id": project}), minor >= 75)
}
