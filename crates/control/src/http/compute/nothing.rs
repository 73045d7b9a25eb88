//! Resources that clients look at and of which this service has none.

use axum::extract::Path;
use axum::http::StatusCode;
use serde_json::json;

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, json_answer};
use super::policy;

/// `GET /os-server-groups`.
pub async fn server_groups(call: ApiCall) -> Answer {
    call.authorize(policy::GROUPS)?;
    Ok(json_answer(StatusCode::OK, &json!({"server_groups": []})))
}

/// `GET /os-server-groups/{id}`.
pub async fn server_group(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.authorize(policy::GROUPS_SHOW)?;
    Err(ApiFault::not_found(format!("Instance group {id} could not be found.")))
}

/// `GET /os-aggregates`.
pub async fn aggregates(call: ApiCall) -> Answer {
    call.authorize(policy::AGGREGATES)?;
    Ok(json_answer(StatusCode::OK, &json!({"aggregates": []})))
}
