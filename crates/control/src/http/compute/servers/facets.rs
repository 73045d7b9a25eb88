//! Small things below a server: its password, its topology, its shares.

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::VmState;
use serde_json::{Value, json};

use super::super::call::ApiCall;
use super::super::fault::{Answer, ApiFault, empty_answer, json_answer};
use super::super::policy;
use super::super::schema::small as schema;

/// `GET /servers/{id}/os-server-password`: empty, because a guest has nowhere to send one.
pub async fn password(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.server(&id, policy::SERVER_PASSWORD_SHOW).await?;
    Ok(json_answer(StatusCode::OK, &json!({"password": ""})))
}

/// `DELETE /servers/{id}/os-server-password`: there is none to forget.
pub async fn clear_password(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.server(&id, policy::SERVER_PASSWORD_CLEAR).await?;
    Ok(empty_answer(StatusCode::NO_CONTENT))
}

/// `GET /servers/{id}/topology`: guests are not spread over NUMA nodes.
pub async fn topology(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.check_query(&schema::NO_PARAMETERS)?;
    call.server(&id, policy::TOPOLOGY).await?;
    Ok(json_answer(StatusCode::OK, &json!({"nodes": [], "pagesize_kb": null})))
}

/// `GET /servers/{id}/shares`: there is no service that has shares.
pub async fn shares(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.server(&id, policy::SHARES_INDEX).await?;
    Ok(json_answer(StatusCode::OK, &json!({"shares": []})))
}

/// `POST /servers/{id}/shares`.
pub async fn attach_share(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::SHARE)?;
    let server = call.server(&id, policy::SHARES_CREATE).await?;
    if server.vm_state != VmState::Stopped {
        let state = server.vm_state;
        let text = format!("Cannot 'create share' instance {id} while it is in vm_state {state}");
        return Err(ApiFault::conflict(text));
    }
    let share = body.pointer("/share/share_id").and_then(Value::as_str).unwrap_or_default();
    Err(no_share(share))
}

/// `GET /servers/{id}/shares/{share}`.
pub async fn share(call: ApiCall, Path((id, share)): Path<(String, String)>) -> Answer {
    call.server(&id, policy::SHARES_SHOW).await?;
    Err(no_share(&share))
}

/// `DELETE /servers/{id}/shares/{share}`.
pub async fn detach_share(call: ApiCall, Path((id, share)): Path<(String, String)>) -> Answer {
    let server = call.server(&id, policy::SHARES_DELETE).await?;
    if !matches!(server.vm_state, VmState::Stopped | VmState::Error) {
        let state = server.vm_state;
        let text = format!("Cannot 'delete share' instance {id} while it is in vm_state {state}");
        return Err(ApiFault::conflict(text));
    }
    Err(no_share(&share))
}

fn no_share(share: &str) -> ApiFault {
    ApiFault::not_found(format!("Share {share} could not be found."))
}
