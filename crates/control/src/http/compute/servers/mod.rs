//! Servers and everything below `/servers`.

pub mod actions;
mod columns;
pub mod consoles;
mod create;
pub mod diagnostics;
pub mod facets;
mod foreign;
mod list;
pub mod metadata;
pub mod operations;
pub mod tags;
pub mod view;

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::OperationKind;
use reprieve_store::{DiskConfig, InstanceRecord, InstanceUpdate};
use serde_json::{Value, json};

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, empty_answer, json_answer, written_answer};
use super::policy;
use super::schema::{servers as schema, small};
use crate::app::servers;
use view::{Hosts, Viewer};

pub use create::create;
pub use list::{detail, index};

/// `GET /servers/{id}`.
pub async fn show(call: ApiCall, Path(id): Path<String>) -> Answer {
    let server = call.server(&id, policy::SERVERS_SHOW).await?;
    one(&call, &server, view::Answer::Show).await
}

/// `PUT /servers/{id}`.
pub async fn update(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::UPDATE)?;
    let server = call.server(&id, policy::SERVERS_UPDATE).await?;
    let field = |name: &str| body.get("server").and_then(|server| server.get(name));
    let text = |name: &str| field(name).and_then(Value::as_str).map(str::to_owned);
    let nullable = |name: &str| field(name).map(|value| value.as_str().map(str::to_owned));
    let change = InstanceUpdate {
        name: text("name"),
        description: nullable("description"),
        hostname: text("hostname"),
        disk_config: text("OS-DCF:diskConfig").as_deref().and_then(DiskConfig::parse),
        access_ip_v4: nullable("accessIPv4"),
        access_ip_v6: field("accessIPv6").map(create::ipv6),
        requested_zone: nullable("pinned_availability_zone"),
        ..InstanceUpdate::default()
    };
    let server = servers::update(&call.app(), server.id, change).await?;
    one(&call, &server, view::Answer::Update).await
}

/// An answer that is about one server.
async fn one(call: &ApiCall, server: &InstanceRecord, answer: view::Answer) -> Answer {
    let hosts = Hosts::for_call(call).await?;
    let mut body = br#"{"server":"#.to_vec();
    Viewer::new(call, &hosts, answer).write(server, &mut body)?;
    body.push(b'}');
    Ok(written_answer(StatusCode::OK, body))
}

/// `DELETE /servers/{id}`.
pub async fn delete(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.run(&id, (OperationKind::Delete, policy::SERVERS_DELETE), |_, _| Ok(())).await?;
    Ok(empty_answer(StatusCode::NO_CONTENT))
}

/// `GET /servers/{id}/ips`: no network service, no addresses.
pub async fn addresses(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.server(&id, policy::IPS_INDEX).await?;
    Ok(json_answer(StatusCode::OK, &json!({"addresses": {}})))
}

/// `GET /servers/{id}/ips/{label}`.
pub async fn address(call: ApiCall, Path((id, _)): Path<(String, String)>) -> Answer {
    call.server(&id, policy::IPS_SHOW).await?;
    Err(ApiFault::not_found("Instance is not a member of specified network"))
}

/// `GET /servers/{id}/os-interface`.
pub async fn interfaces(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.server(&id, policy::INTERFACES).await?;
    Ok(json_answer(StatusCode::OK, &json!({"interfaceAttachments": []})))
}

/// `GET /servers/{id}/os-volume_attachments`.
pub async fn volumes(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.check_query(&small::VOLUME_ATTACHMENTS)?;
    call.server(&id, policy::VOLUMES).await?;
    Ok(json_answer(StatusCode::OK, &json!({"volumeAttachments": []})))
}

/// `GET /servers/{id}/os-security-groups`.
pub async fn security_groups(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.server(&id, policy::SECURITY_GROUPS_LIST).await?;
    Ok(json_answer(StatusCode::OK, &json!({"security_groups": []})))
}
