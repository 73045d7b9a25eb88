//! Resources that clients look at and of which this service has none.

use axum::extract::Path;
use axum::http::StatusCode;
use serde_json::json;

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, json_answer};
use super::policy;

/// `GET /extensions`.
pub async fn extensions(call: ApiCall) -> Answer {
    call.authorize(policy::EXTENSIONS)?;
    Ok(json_answer(StatusCode::OK, &json!({"extensions": []})))
}

/// `GET /extensions/{alias}`.
pub async fn extension(call: ApiCall, Path(_): Path<String>) -> Answer {
    call.authorize(policy::EXTENSIONS)?;
    Err(ApiFault::no_resource())
}

/// `GET /os-migrations`.
pub async fn migrations(call: ApiCall) -> Answer {
    call.authorize(policy::MIGRATIONS)?;
    Ok(json_answer(StatusCode::OK, &json!({"migrations": []})))
}
