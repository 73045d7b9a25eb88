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
use super::super::versioned::{answers, queries, rules};
use super::super::{paging, policy::Rule};
use super::view::host_id;
use crate::app::servers;

/// `GET /servers/{id}/os-instance-actions`.
pub async fn index(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.check_query(&schema::ACTIONS)?;
    let mut actions = actions_of(&call, &id, policy::ACTIONS_LIST).await?;
    let query = call.counting(&queries::ACTIONS);
    let instant = |name: &str| query.get(name).and_then(Timestamp::parse_iso);
    let (since, before) = (instant("changes-since"), instant("changes-before"));
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
    let mut next = None;
    if call.shows(&answers::ACTIONS, "links") {
        let key = |action: &OperationRecord| action.request_id.to_string();
        let full;
        (actions, full) = paging::cut(actions, call.paged(&query), key)?;
        let path = format!("servers/{id}/os-instance-actions");
        next = actions
            .last()
            .filter(|_| full)
            .map(|last| call.links.next(&path, &call.query, last.request_id.as_str()));
    }
    let shown: Vec<Value> = actions.iter().map(|action| view(&call, action)).collect();
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
    let mut shown = view(&call, action);
    let with_events = call.applies(rules::EVENTS_ARE_FOR_EVERYBODY)
        || call.may(policy::ACTIONS_EVENTS, &action.project_id);
    if let (true, Some(fields)) = (with_events, shown.as_object_mut()) {
        let events: Vec<Value> =
            action.events().iter().map(|event| event_view(&call, action, event)).collect();
        fields.insert("events".to_owned(), events.into());
    }
    Ok(json_answer(StatusCode::OK, &json!({"instanceAction": shown})))
}

async fn actions_of(
    call: &ApiCall,
    id: &str,
    rule: Rule,
) -> Result<Vec<OperationRecord>, ApiFault> {
    let server = if call.applies(rules::ACTIONS_OUTLIVE_SERVERS) {
        servers::get_even_deleted(&call.app(), server_id(id)?).await?
    } else {
        call.server(id, rule).await?
    };
    call.authorize_about(rule, &server)?;
    Ok(servers::actions(&call.app(), server.id).await?)
}

fn view(call: &ApiCall, action: &OperationRecord) -> Value {
    let newest = json!({
        "action": action.action,
        "instance_uuid": action.instance_id.to_string(),
        "request_id": action.request_id.as_str(),
        "user_id": action.user_id.as_str(),
        "project_id": action.project_id.as_str(),
        "start_time": action.created_at.micros_naive(),
        "message": action.message(),
        "updated_at": action.updated_at.micros_naive(),
    });
    call.as_asked(&answers::ACTION, &(), newest)
}

fn event_view(call: &ApiCall, action: &OperationRecord, event: &OperationEvent) -> Value {
    let host = event.host.as_ref();
    let mut fields = Map::new();
    let mut insert = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    insert("event", event.event.clone().into());
    insert("start_time", event.started_at.micros_naive().into());
    insert("finish_time", event.finished_at.map(Timestamp::micros_naive).into());
    insert("result", event.result.map(EventResult::as_str).into());
    insert("hostId", host_id(&action.project_id, host).into());
    if call.may(policy::ACTIONS_EVENTS, &action.project_id) {
        insert("traceback", event.traceback.clone().into());
        insert("host", host.map(|host| host.as_str()).into());
    }
    if call.may(policy::ACTIONS_DETAILS, &action.project_id) {
        insert("details", event.details.clone().into());
    }
    call.as_asked(&answers::ACTION_EVENT, &(), fields.into())
}
