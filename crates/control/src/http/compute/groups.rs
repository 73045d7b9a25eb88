//! Server groups (spec/api.md section 10.9).

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::group::GroupPolicy;
use reprieve_core::policy::Rule;
use reprieve_store::ServerGroupRecord;
use serde_json::{Value, json};

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, empty_answer, json_answer};
use super::policy;
use super::schema::groups as schema;
use super::schema::types::as_integer;
use super::versioned::answers;
use crate::app::server_groups;

/// `GET /os-server-groups`.
pub async fn index(call: ApiCall) -> Answer {
    call.check_query(&schema::LIST)?;
    call.authorize(policy::GROUPS)?;
    let all = call.query.has("all_projects") && call.may_own(policy::GROUPS_ALL);
    let groups = server_groups::list(&call.app(), all).await?;
    let (offset, limit) = page(&call);
    let shown: Vec<Value> =
        groups.iter().skip(offset).take(limit).map(|group| view(&call, group)).collect();
    Ok(json_answer(StatusCode::OK, &json!({"server_groups": shown})))
}

/// `offset` and `limit`. A limit of 0 is none here, unlike in other lists.
fn page(call: &ApiCall) -> (usize, usize) {
    let number = |name: &str| {
        let given = call.query.get(name)?;
        Some(given.trim().parse::<usize>().unwrap_or(usize::MAX))
    };
    let most = usize::try_from(call.max_limit()).unwrap_or(usize::MAX);
    let limit = number("limit").filter(|limit| *limit > 0).unwrap_or(most).min(most);
    (number("offset").unwrap_or(0), limit)
}

/// `POST /os-server-groups`.
pub async fn create(call: ApiCall) -> Answer {
    let body = call.body(&schema::CREATE)?;
    call.authorize(policy::GROUPS_CREATE)?;
    let group = body.get("server_group").unwrap_or(&Value::Null);
    let name = group.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let policy = group.get("policy").or_else(|| group.pointer("/policies/0"));
    let policy = policy.and_then(Value::as_str).and_then(GroupPolicy::parse);
    // The schema has seen to it that there is one.
    let policy = policy.ok_or_else(ApiFault::internal)?;
    let rules = group.get("rules").and_then(Value::as_object).filter(|rules| !rules.is_empty());
    if rules.is_some() && policy != GroupPolicy::AntiAffinity {
        return Err(ApiFault::bad_request("Only anti-affinity policy supports rules."));
    }
    let most = rules.and_then(|rules| as_integer(rules.get("max_server_per_host")?));
    let most = most.and_then(|most| u32::try_from(most).ok());
    let created = server_groups::create(&call.app(), name, (policy, most)).await?;
    Ok(json_answer(StatusCode::OK, &json!({"server_group": view(&call, &created)})))
}

/// `GET /os-server-groups/{id}`.
pub async fn show(call: ApiCall, Path(id): Path<String>) -> Answer {
    let group = find(&call, &id, policy::GROUPS_SHOW).await?;
    Ok(json_answer(StatusCode::OK, &json!({"server_group": view(&call, &group)})))
}

/// `DELETE /os-server-groups/{id}`.
pub async fn delete(call: ApiCall, Path(id): Path<String>) -> Answer {
    let group = find(&call, &id, policy::GROUPS_DELETE).await?;
    server_groups::delete(&call.app(), group.id).await?;
    Ok(empty_answer(StatusCode::NO_CONTENT))
}

/// A group to which `rule` lets the caller do something. Who may not, and is of another project,
/// does not learn that there is one.
async fn find(call: &ApiCall, id: &str, rule: Rule) -> Result<ServerGroupRecord, ApiFault> {
    let group = server_groups::get(&call.app(), id).await?;
    let known = group.project_id == call.auth.project_id || call.is_admin();
    match call.authorize_about(rule, &group.project_id) {
        Ok(()) => Ok(group),
        Err(refusal) if known => Err(refusal),
        Err(_) => Err(server_groups::not_found(id).into()),
    }
}

fn view(call: &ApiCall, group: &ServerGroupRecord) -> Value {
    let members: Vec<String> = group.members.iter().map(|member| member.id.to_string()).collect();
    let rules = group.max_per_host.map(|most| json!({"max_server_per_host": most}));
    let newest = json!({
        "id": group.id.to_string(),
        "name": group.name,
        "members": members,
        "policy": group.policy.as_str(),
        "rules": rules.unwrap_or_else(|| json!({})),
        "project_id": group.project_id.as_str(),
        "user_id": group.user_id.as_str(),
    });
    call.as_asked(&answers::SERVER_GROUP, group, newest)
}
