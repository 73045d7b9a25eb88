//! Migrations (spec/api.md section 9). Servers stay on their hosts, so there never is one.

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::{Denied, Lock, Timestamp, VmState};
use serde_json::json;

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, json_answer};
use super::policy;
use super::schema::small as schema;
use super::versioned::queries;

/// `GET /os-migrations`.
pub async fn index(call: ApiCall) -> Answer {
    call.check_query(&schema::MIGRATIONS)?;
    call.authorize(policy::MIGRATIONS)?;
    let query = call.counting(&queries::MIGRATIONS);
    if query.get("project_id").is_some_and(|id| id != call.auth.project_id.as_str()) {
        call.authorize(policy::MIGRATIONS_ALL)?;
    }
    let instant = |name: &str| query.get(name).and_then(Timestamp::parse_iso);
    if let (Some(since), Some(before)) = (instant("changes-since"), instant("changes-before"))
        && since > before
    {
        return Err(ApiFault::bad_request(
            "The value of changes-since must be less than or equal to changes-before.",
        ));
    }
    if let Some(marker) = query.get("marker") {
        return Err(ApiFault::bad_request(format!("Marker {marker} could not be found.")));
    }
    Ok(json_answer(StatusCode::OK, &json!({"migrations": []})))
}

/// `GET /servers/{id}/migrations`.
pub async fn of_server(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.server(&id, policy::SERVER_MIGRATIONS).await?;
    Ok(json_answer(StatusCode::OK, &json!({"migrations": []})))
}

/// `GET /servers/{id}/migrations/{migration}`.
pub async fn show(call: ApiCall, Path((id, migration)): Path<(String, String)>) -> Answer {
    call.server(&id, policy::SERVER_MIGRATIONS_SHOW).await?;
    let text = format!("In-progress live migration {migration} is not found for server {id}.");
    Err(ApiFault::not_found(text))
}

/// `DELETE /servers/{id}/migrations/{migration}`: stops one.
pub async fn abort(call: ApiCall, Path((id, _)): Path<(String, String)>) -> Answer {
    const ACTION: &str = "abort live migration";
    let server = call.server(&id, policy::SERVER_MIGRATIONS_ABORT).await?;
    // Nova says the same of a locked server.
    let locked = server.lock != Lock::Unlocked && !call.is_admin();
    Err(match server.task_state.filter(|_| !locked) {
        Some(task) => busy(ACTION, &id, task.as_str()),
        None => invalid(ACTION, &id),
    })
}

/// `POST /servers/{id}/migrations/{migration}/action`: `force_complete`.
pub async fn act(call: ApiCall, Path((id, _)): Path<(String, String)>) -> Answer {
    const ACTION: &str = "force_complete";
    let body = call.raw_body();
    let mut names = body.as_object().into_iter().flat_map(|fields| fields.keys());
    match (names.next().map(String::as_str), names.next()) {
        (Some(ACTION), None) => {}
        (Some(name), None) => {
            return Err(ApiFault::bad_request(format!("There is no such action: {name}")));
        }
        _ => return Err(ApiFault::bad_request("Malformed request body")),
    }
    call.body(&schema::FORCE_COMPLETE)?;
    let server = call.server(&id, policy::SERVER_MIGRATIONS_FORCE).await?;
    if server.lock != Lock::Unlocked && !call.is_admin() {
        return Err(ApiFault::conflict(Denied::Locked { id: server.id }.to_string()));
    }
    if server.vm_state != VmState::Active {
        let state = server.vm_state;
        let text = format!("Cannot '{ACTION}' instance {id} while it is in vm_state {state}");
        return Err(ApiFault::conflict(text));
    }
    Err(match server.task_state {
        Some(task) => busy(ACTION, &id, task.as_str()),
        None => invalid(ACTION, &id),
    })
}

/// Only a server in the task state `migrating` would do.
fn busy(action: &str, id: &str, task: &str) -> ApiFault {
    ApiFault::conflict(format!("Cannot '{action}' instance {id} while it is in task_state {task}"))
}

fn invalid(action: &str, id: &str) -> ApiFault {
    ApiFault::conflict(format!("Instance {id} is in an invalid state for '{action}'"))
}
