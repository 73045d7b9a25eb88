//! Quotas, limits, server groups, usage, and what else a request for servers may bring: through the
//! real router and the real store.
// A test awaits a helper that awaits the whole control plane: its future is some 130 types deep.
#![recursion_limit = "256"]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says by panicking what is wrong"
)]

mod create;
mod groups;
mod keys;
mod sets;
#[path = "../support/mod.rs"]
mod support;
mod usage;

use serde_json::{Value, json};
use support::{Cloud, IMAGE, Reply};

/// A request of the member with a body.
async fn member(cloud: &Cloud, method: &str, path: &str, (version, body): (&str, Value)) -> Reply {
    cloud.compute(method, path, (&cloud.member, version, body)).await
}

/// A request of the administrator with a body.
async fn admin(cloud: &Cloud, method: &str, path: &str, (version, body): (&str, Value)) -> Reply {
    cloud.compute(method, path, (&cloud.admin, version, body)).await
}

/// Sets quotas of the member's project.
async fn set_quota(cloud: &Cloud, quotas: Value) {
    let path = format!("os-quota-sets/{}", support::PROJECT);
    let mut body = json!({"quota_set": quotas});
    body["quota_set"]["force"] = json!(true);
    let reply = admin(cloud, "PUT", &path, ("2.96", body)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
}

/// A request for servers.
fn server(more: &Value) -> Value {
    let mut server = json!({"name": "s", "imageRef": IMAGE, "flavorRef": "1", "networks": "none"});
    server.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"server": server})
}

/// Makes servers of the member, which has to be accepted; returns the id of the first.
async fn create(cloud: &Cloud, more: &Value) -> String {
    let reply = member(cloud, "POST", "servers", ("2.96", server(more))).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    reply.body["server"]["id"].as_str().unwrap().to_owned()
}

/// The text of a fault with this name and status.
#[track_caller]
fn fault<'a>(reply: &'a Reply, name: &str, status: u16) -> &'a str {
    assert_eq!(reply.status, status, "{}", reply.body);
    reply.body[name]["message"].as_str().unwrap_or_else(|| panic!("{}", reply.body))
}
