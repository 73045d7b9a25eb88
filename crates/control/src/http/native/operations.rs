//! Operations with their progress and what became of each step.

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::{InstanceId, OperationId};
use reprieve_store::{OperationQuery, OperationState};
use serde_json::{Value, json};

use super::endpoints::{LIST_PARAMETERS, MAX_LIMIT};
use super::fault::{Answer, Fault};
use super::view::{OPERATION, STEP, show};
use super::{Caller, reply};
use crate::app::operations;

/// Operations of a page when nothing is asked for.
const PAGE: u64 = 100;

/// `GET /operations`.
pub async fn index(caller: Caller) -> Answer {
    caller.check_query(LIST_PARAMETERS)?;
    let query = query(&caller)?;
    let limit = query.limit;
    let found = operations::list(&caller.app(), query).await?;
    let next = found.last().filter(|_| found.len() as u64 == limit).map(|last| {
        let kept = caller.query.pairs().filter(|(name, _)| *name != "marker");
        let kept: String =
            kept.map(|(name, value)| format!("&{name}={}", encoded(value))).collect();
        format!("{}/operations?marker={}{kept}", caller.base, last.id)
    });
    let shown: Vec<Value> =
        found.iter().map(|one| show(OPERATION, one, caller.sight()).into()).collect();
    Ok(reply::json(StatusCode::OK, &json!({"operations": shown, "next": next})))
}

/// `GET /operations/{id}`.
pub async fn one(caller: Caller, Path(id): Path<String>) -> Answer {
    caller.check_query(&[])?;
    shown(&caller, operation_id(&id)?).await
}

/// `POST /operations/{id}/cancel`: as it is then, cancelled or on its way to it.
pub async fn cancel(caller: Caller, Path(id): Path<String>) -> Answer {
    caller.check_query(&[])?;
    let id = operation_id(&id)?;
    operations::cancel(&caller.app(), id).await?;
    shown(&caller, id).await
}

/// Nothing is at a text that is no id.
fn operation_id(text: &str) -> Result<OperationId, Fault> {
    text.parse().map_err(|_| {
        let text: String = text.chars().take(64).collect();
        Fault::not_found(format!("Operation {text} could not be found."))
    })
}

async fn shown(caller: &Caller, id: OperationId) -> Answer {
    let (operation, steps) = operations::show(&caller.app(), id).await?;
    let mut fields = show(OPERATION, &operation, caller.sight());
    let steps: Vec<Value> =
        steps.iter().map(|step| show(STEP, step, caller.sight()).into()).collect();
    fields.insert("steps".to_owned(), steps.into());
    Ok(reply::json(StatusCode::OK, &json!({"operation": fields})))
}

fn query(caller: &Caller) -> Result<OperationQuery, Fault> {
    let given = &caller.query;
    let instance = given.get("server_id").map(|text| id::<InstanceId>("server_id", text));
    let marker = given.get("marker").map(|text| id::<OperationId>("marker", text));
    let states = given
        .all("state")
        .map(|text| OperationState::parse(text).ok_or_else(|| unusable("state", text)));
    let limit = match given.get("limit") {
        None => PAGE,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| unusable("limit", text))?,
    };
    Ok(OperationQuery {
        project: given.get("project_id").map(Into::into),
        instance: instance.transpose()?,
        states: states.collect::<Result<_, _>>()?,
        action: given.get("action").map(str::to_owned),
        marker: marker.transpose()?,
        limit,
    })
}

fn id<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Fault> {
    text.parse().map_err(|_| unusable(name, text))
}

/// 400 for a value that cannot be.
pub(super) fn unusable(name: &str, text: &str) -> Fault {
    let text: String = text.chars().take(64).collect();
    Fault::bad_request(format!("'{text}' is no value for '{name}'."))
}

fn encoded(text: &str) -> impl std::fmt::Display + '_ {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}
