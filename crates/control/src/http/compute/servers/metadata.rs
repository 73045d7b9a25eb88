//! Metadata of a server (spec/api.md section 7.6).

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::{Denied, Lock, VmState};
use reprieve_store::{InstanceRecord, InstanceUpdate};
use serde_json::json;

use super::super::call::ApiCall;
use super::super::fault::{Answer, ApiFault, empty_answer, json_answer};
use super::super::policy;
use super::super::schema::servers as schema;
use super::create::text_map;
use crate::app::{quotas, servers};

const UPDATE: &str = "update metadata";
const DELETE: &str = "delete metadata";

/// `GET /servers/{id}/metadata`.
pub async fn index(call: ApiCall, Path(id): Path<String>) -> Answer {
    let server = call.server(&id, policy::METADATA_INDEX).await?;
    Ok(json_answer(StatusCode::OK, &json!({"metadata": server.metadata})))
}

/// `POST /servers/{id}/metadata`: adds to what is there.
pub async fn add(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::METADATA)?;
    let server = call.server(&id, policy::METADATA_CREATE).await?;
    let mut metadata = server.metadata.clone();
    metadata.extend(text_map(body.get("metadata")));
    let stored = store(&call, &server, (metadata, UPDATE)).await?;
    Ok(json_answer(StatusCode::OK, &json!({"metadata": stored})))
}

/// `PUT /servers/{id}/metadata`: replaces what is there.
pub async fn replace(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::METADATA)?;
    let server = call.server(&id, policy::METADATA_UPDATE_ALL).await?;
    let metadata = text_map(body.get("metadata"));
    let stored = store(&call, &server, (metadata, UPDATE)).await?;
    Ok(json_answer(StatusCode::OK, &json!({"metadata": stored})))
}

/// `GET /servers/{id}/metadata/{key}`.
pub async fn show(call: ApiCall, Path((id, key)): Path<(String, String)>) -> Answer {
    let server = call.server(&id, policy::METADATA_SHOW).await?;
    let value = server.metadata.get(&key).ok_or_else(missing)?;
    Ok(json_answer(StatusCode::OK, &json!({"meta": {key: value}})))
}

/// `PUT /servers/{id}/metadata/{key}`.
pub async fn set(call: ApiCall, Path((id, key)): Path<(String, String)>) -> Answer {
    let body = call.body(&schema::METADATA_ITEM)?;
    let item = text_map(body.get("meta"));
    if !item.contains_key(&key) {
        return Err(ApiFault::bad_request("Request body and URI mismatch"));
    }
    let server = call.server(&id, policy::METADATA_UPDATE).await?;
    let mut metadata = server.metadata.clone();
    metadata.extend(item.clone());
    store(&call, &server, (metadata, UPDATE)).await?;
    Ok(json_answer(StatusCode::OK, &json!({"meta": item})))
}

/// `DELETE /servers/{id}/metadata/{key}`.
pub async fn remove(call: ApiCall, Path((id, key)): Path<(String, String)>) -> Answer {
    let server = call.server(&id, policy::METADATA_DELETE).await?;
    let mut metadata = server.metadata.clone();
    metadata.remove(&key).ok_or_else(missing)?;
    store(&call, &server, (metadata, DELETE)).await?;
    Ok(empty_answer(StatusCode::NO_CONTENT))
}

fn missing() -> ApiFault {
    ApiFault::not_found("Metadata item was not found")
}

async fn store(
    call: &ApiCall,
    server: &InstanceRecord,
    (metadata, action): (BTreeMap<String, String>, &'static str),
) -> Result<BTreeMap<String, String>, ApiFault> {
    quotas::check_metadata(&call.app(), &server.project_id, metadata.len()).await?;
    if server.lock != Lock::Unlocked && !call.is_admin() {
        return Err(ApiFault::conflict(Denied::Locked { id: server.id }.to_string()));
    }
    check_writable(server, action)?;
    let change = InstanceUpdate { metadata: Some(metadata), ..InstanceUpdate::default() };
    Ok(servers::update(&call.app(), server.id, change).await?.metadata)
}

/// Metadata and tags can be written in these states only (spec/states.md section 3).
///
/// # Errors
/// 409.
pub fn check_writable(server: &InstanceRecord, action: &'static str) -> Result<(), ApiFault> {
    match server.vm_state {
        VmState::Active | VmState::Paused | VmState::Suspended | VmState::Stopped => Ok(()),
        VmState::Building | VmState::Rescued | VmState::Error | VmState::Deleted => {
            let denied = Denied::WrongState { action, id: server.id, state: server.vm_state };
            Err(ApiFault::conflict(denied.to_string()))
        }
    }
}
