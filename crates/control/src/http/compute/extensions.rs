//! What Nova called extensions: a list that has been the same since they became parts of it.

use std::sync::OnceLock;

use axum::extract::Path;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, json_answer};
use super::policy;

/// `GET /extensions`.
pub async fn index(call: ApiCall) -> Answer {
    call.authorize(policy::EXTENSIONS)?;
    Ok(json_answer(StatusCode::OK, all()?))
}

/// `GET /extensions/{alias}`.
pub async fn show(call: ApiCall, Path(alias): Path<String>) -> Answer {
    call.authorize(policy::EXTENSIONS)?;
    let list = all()?.get("extensions").and_then(Value::as_array);
    let called = |extension: &&Value| extension.get("alias").is_some_and(|known| *known == *alias);
    let found = list.into_iter().flatten().find(called).ok_or_else(ApiFault::no_resource)?;
    Ok(json_answer(StatusCode::OK, &json!({"extension": found})))
}

/// The body of the list, as it is in the file.
fn all() -> Result<&'static Value, ApiFault> {
    static ALL: OnceLock<Option<Value>> = OnceLock::new();
    ALL.get_or_init(|| serde_json::from_str(include_str!("extensions.json")).ok())
        .as_ref()
        .ok_or_else(ApiFault::internal)
}
