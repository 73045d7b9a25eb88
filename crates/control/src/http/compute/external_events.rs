//! `POST /os-server-external-events`: what other services tell about servers (spec/api.md 10.10).
//!
//! No server here has a network, a volume or an accelerator of another service, so nothing waits
//! for these events. They are checked and answered as Nova does, and written to the log.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, json_answer};
use super::policy;
use super::schema::small as schema;
use crate::app::AppError;

/// Events that are about a part of the server, which their tag names.
const WITH_TAG: [&str; 4] =
    ["volume-extended", "power-update", "accelerator-request-bound", "volume-reimaged"];

/// `POST /os-server-external-events`.
pub async fn create(call: ApiCall) -> Answer {
    let body = call.body(&schema::EXTERNAL_EVENTS)?;
    call.authorize(policy::EXTERNAL_EVENTS)?;
    let given = body.get("events").and_then(Value::as_array).into_iter().flatten();
    let mut answered = Vec::new();
    let mut accepted = 0_usize;
    for event in given.filter_map(Value::as_object) {
        let code = receive(&call, event).await?;
        accepted = accepted.saturating_add(usize::from(code == StatusCode::OK));
        let default = if code == StatusCode::OK { "completed" } else { "failed" };
        let mut event = event.clone();
        event.insert("status".to_owned(), default.into());
        event.insert("code".to_owned(), code.as_u16().into());
        answered.push(Value::Object(event));
    }
    if accepted == 0 {
        return Err(ApiFault::not_found("No instances found for any event"));
    }
    let all = accepted == answered.len();
    let status = if all { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    Ok(json_answer(status, &json!({"events": answered})))
}

/// What becomes of one event.
async fn receive(call: &ApiCall, event: &Map<String, Value>) -> Result<StatusCode, ApiFault> {
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    let (name, tag) = (text("name").unwrap_or_default(), text("tag"));
    let Some(id) = text("server_uuid").and_then(|id| id.parse().ok()) else {
        return Ok(StatusCode::NOT_FOUND);
    };
    // Other services speak of the servers of all projects.
    let found = call.control.store.instance(id).await.map_err(AppError::from)?;
    let Some(server) = found.filter(|server| server.deleted_at.is_none()) else {
        return Ok(StatusCode::NOT_FOUND);
    };
    if tag.is_none() && WITH_TAG.contains(&name) {
        return Ok(StatusCode::BAD_REQUEST);
    }
    let Some(host) = &server.host else { return Ok(StatusCode::UNPROCESSABLE_ENTITY) };
    tracing::info!(
        target: "reprieve::api",
        server = %server.id, %host, event = name, tag, status = text("status"),
        "another service reports an event that nothing waits for"
    );
    Ok(StatusCode::OK)
}
