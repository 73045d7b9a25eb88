//! Hosts over HTTP: services, aggregates, availability zones, hypervisors, diagnostics; what no
//! recording in `tests/recordings` shows.
// A test awaits a helper that awaits the whole control plane: its future is some 130 types deep.
#![recursion_limit = "256"]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says by panicking what is wrong"
)]

mod aggregates;
mod diagnostics;
mod hypervisors;
mod placement;
mod services;
#[path = "../support/mod.rs"]
mod support;
mod zones;

use reprieve_core::InstanceId;
use serde_json::{Value, json};
use support::{Cloud, IMAGE, Reply, host_info};

/// Microversion of the recordings.
const RECORDED: &str = "2.93";

/// Asks as the administrator.
async fn admin(cloud: &Cloud, method: &str, path: &str, (version, body): (&str, Value)) -> Reply {
    cloud.compute(method, path, (&cloud.admin, version, body)).await
}

/// Body of a GET of the administrator, which has to succeed.
async fn get(cloud: &Cloud, path: &str, version: &str) -> Value {
    let reply = admin(cloud, "GET", path, (version, Value::Null)).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    reply.body
}

/// Status and text of a refusal.
fn fault(reply: &Reply) -> (u16, &str) {
    let fault = reply.body.as_object().and_then(|body| body.values().next()).unwrap();
    (reply.status, fault["message"].as_str().unwrap())
}

/// Expects a refusal of the administrator.
async fn refused(
    cloud: &Cloud,
    method: &str,
    path: &str,
    (version, body, status, text): (&str, Value, u16, &str),
) {
    let reply = admin(cloud, method, path, (version, body)).await;
    assert_eq!(fault(&reply), (status, text), "{method} {path}");
}

/// A second host, which offers as much as the first.
async fn add_host(cloud: &Cloud, name: &str) {
    cloud.add_host(name, host_info(name)).await;
}

/// Creates a server with more in its request, as the administrator; its id.
async fn create(cloud: &Cloud, more: Value) -> InstanceId {
    let reply = try_create(cloud, more).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    reply.body["server"]["id"].as_str().unwrap().parse().unwrap()
}

async fn try_create(cloud: &Cloud, more: Value) -> Reply {
    let mut server = json!({"name": "s", "imageRef": IMAGE, "flavorRef": "1", "networks": "none"});
    server.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    admin(cloud, "POST", "servers", ("2.96", json!({"server": server}))).await
}

async fn server(cloud: &Cloud, id: InstanceId) -> Value {
    get(cloud, &format!("servers/{id}"), "2.96").await["server"].take()
}
