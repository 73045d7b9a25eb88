//! Instance actions: what was done to a server (spec/api.md section 8).

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::Timestamp;
use reprieve_store::{EventResult, OperationEvent, OperationRecord};
use serde_json::{Map, Value, json};

use super::super::call::{ApiCall, server_id};
use super::super::fault::{Answer, ApiFault, json_answer};
use super::super::policy;
use super::super::schema::servers as schema;
use super::super::{paging, policy::Rule};
use super::view::host_id;
use crate::app::servers;

/// `GET /servers/{id}/os-instance-actions`.
pub async fn index(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.check_query(&schema::ACTIONS)?;
    let mut actions = actions_of(&call, &id, policy::ACTIONS_LIST).await?;
    let mut next = None;
    if call.version.since(58) {
        let since = instant(&call, "changes-since");
        let before = instant(&call, "changes-before").filter(|_| call.version.since(66));
        if let (Some(since), Some(before)) = (since, before)
            && since > before
        {
            return Err(ApiFault::bad_request(
                "The value of changes-since must be less than or equal to changes-before.",
            ));
        }
        actions.retain(|action| {
            since.is_none_or(|since| action.updated_at >= since)
                && before.is_none_or(|before| action.updated_at <= before)
        });
        let key = |action: &OperationRecord| action.request_id.to_string();
        let full;
        (actions, full) = paging::cut(actions, &call.query, key)?;
        let path = format!("servers/{id}/os-instance-actions");
        next = actions
            .last()
            .filter(|_| full)
            .map(|last| call.links.next(&path, &call.query, last.request_id.as_str()));
    }
    let shown: Vec<Value> = actions.iter().map(|action| view(&call, action).into()).collect();
    let mut body = json!({"instanceActions": shown});
    if let (Some(links), Some(fields)) = (next, body.as_object_mut()) {
        fields.insert("links".to_owned(), links);
    }
    Ok(json_answer(StatusCode::OK, &body))
}

/// `GET /servers/{id}/os-instance-actions/{request id}`.
pub async fn show(call: ApiCall, Path((id, request_id)): Path<(String, String)>) -> Answer {
    let actions = actions_of(&call, &id, policy::ACTIONS_SHOW).await?;
    let action = actions
        .iter()
        .find(|action| action.request_id.as_str() == request_id)
        .ok_or_else(|| ApiFault::not_found(format!("Action {request_id} not found")))?;
    let mut fields = view(&call, action);
    let with_traceback = call.may(policy::ACTIONS_EVENTS, &action.project_id);
    if with_traceback || call.version.since(51) {
        let events: Vec<Value> =
            action.events().iter().map(|event| event_view(&call, action, event)).collect();
        fields.insert("events".to_owned(), events.into());
    }
    Ok(json_answer(StatusCode::OK, &json!({"instanceAction": fields})))
}

fn instant(call: &ApiCall, name: &str) -> Option<Timestamp> {
    call.query.get(name).and_then(Timestamp::parse_iso)
}

/// Deleted servers keep their actions from 2.21 on.
async fn actions_of(
    call: &ApiCall,
    id: &str,
    rule: Rule,
) -> Result<Vec<OperationRecord>, ApiFault> {
    let server = if call.version.since(21) {
        servers::get_even_deleted(&call.app(), server_id(id)?).await?
    } else {
        call.server(id, rule).await?
    };
    call.authorize_about(rule, &server)?;
    Ok(servers::actions(&call.app(), server.id).await?)
}

fn view(call: &ApiCall, action: &OperationRecord) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut insert = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    insert("action", action.action.clone().into());
    insert("instance_uuid", action.instance_id.to_string().into());
    insert("request_id", action.request_id.as_str().into());
    insert("user_id", action.user_id.as_str().into());
    insert("project_id", action.project_id.as_str().into());
    insert("start_time", action.created_at.micros_naive().into());
    insert("message", action.message().into());
    if call.version.since(58) {
        insert("updated_at", action.updated_at.micros_naive().into());
    }
    fields
}

fn event_view(call: &ApiCall, action: &OperationRecord, event: &OperationEvent) -> Value {
    let mut fields = Map::new();
    let mut insert = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    let admin = call.may(policy::ACTIONS_EVENTS, &action.project_id);
    insert("event", event.event.clone().into());
    insert("start_time", event.started_at.micros_naive().into());
    insert("finish_time", event.finished_at.map(Timestamp::micros_naive).into());
    insert("result", event.result.map(EventResult::as_str).into());
    if admin {
        insert("traceback", event.traceback.clone().into());
    }
    if call.version.since(62) {
        if admin {
            insert("host", event.host.as_ref().map(|host| host.as_str()).into());
        }
        insert("hostId", host_id(&action.project_id, event.host.as_ref()).into());
    }
    if call.version.since(84) && call.may(policy::ACTIONS_DETAILS, &action.project_id) {
        insert("details", event.details.clone().into());
    }
    Value::Object(fields)
}
