//! What Glance has and this service does not, answered so that clients can tell: import methods,
//! staging, tasks, several stores, locations, metadata definitions.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{any, delete, get, post, put};
use serde_json::{Value, json};

use super::fault::{Answer, Fault};
use super::{Caller, image_id, input};
use crate::Control;
use crate::app::images;

pub fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/v2/info/import", get(import_methods))
        .route("/v2/info/stores", get(no_stores))
        .route("/v2/info/stores/detail", get(no_stores))
        .route("/v2/info/usage", get(usage))
        .route("/v2/stores/{store}/{image}", delete(no_stores))
        .route("/v2/images/{image}/import", post(import))
        .route("/v2/images/{image}/stage", put(stage))
        .route("/v2/images/{image}/tasks", get(image_tasks))
        .route("/v2/images/{image}/locations", any(no_locations))
        .route("/v2/tasks", get(tasks).post(new_task))
        .route("/v2/tasks/{task}", get(task).delete(task))
        .route("/v2/metadefs/namespaces", get(namespaces).post(no_definitions))
        .route("/v2/metadefs/namespaces/{*rest}", any(namespace))
        .route("/v2/metadefs/resource_types", get(resource_types))
}

/// Ways to import: none, data is uploaded.
async fn import_methods(_caller: Caller) -> Response {
    let body = json!({"import-methods": {
        "description": "Import methods available.", "type": "array", "value": [],
    }});
    super::json(StatusCode::OK, &body)
}

/// There is no import: data is uploaded. Glance's words for a method that is not enabled.
async fn import(caller: Caller, Path(id): Path<String>, body: Body) -> Answer {
    let body = input::json(body).await?;
    images::get_for_change(&caller.control, &caller.auth, image_id(&id)?).await?;
    let Some(method) = body.pointer("/method/name").and_then(Value::as_str) else {
        return Err(Fault::bad_request("Import request requires a 'name' field."));
    };
    let method: String = method.chars().take(64).collect();
    Err(Fault::bad_request(format!(
        "Unknown import method name '{method}': none is offered; upload the data with PUT …/file."
    )))
}

/// Staged data could not be imported. The data itself is not read.
async fn stage(caller: Caller, Path(id): Path<String>, _request: Request) -> Answer {
    images::get_for_change(&caller.control, &caller.auth, image_id(&id)?).await?;
    Err(Fault::forbidden(
        "Data cannot be staged, because no import method is offered; upload it with PUT …/file.",
    ))
}

async fn image_tasks(caller: Caller, Path(id): Path<String>) -> Answer {
    images::get(&caller.control, &caller.auth, image_id(&id)?).await?;
    Ok(super::json(StatusCode::OK, &json!({"tasks": []})))
}

async fn no_stores(_caller: Caller) -> Fault {
    Fault::not_found("Multi backend is not supported at this site.")
}

/// There are no limits per project, so none is used up.
async fn usage(_caller: Caller) -> Response {
    super::json(StatusCode::OK, &json!({"usage": {}}))
}

async fn no_locations(caller: Caller, Path(id): Path<String>) -> Answer {
    images::get(&caller.control, &caller.auth, image_id(&id)?).await?;
    Err(Fault::forbidden("It's not allowed to see or change the locations of images."))
}

fn check_tasks(caller: &Caller) -> Result<(), Fault> {
    if caller.auth.is_admin() {
        return Ok(());
    }
    Err(Fault::forbidden("You are not authorized to complete tasks_api_access action."))
}

async fn tasks(caller: Caller) -> Answer {
    check_tasks(&caller)?;
    let body = json!({"tasks": [], "first": "/v2/tasks", "schema": "/v2/schemas/tasks"});
    Ok(super::json(StatusCode::OK, &body))
}

async fn new_task(caller: Caller) -> Answer {
    check_tasks(&caller)?;
    Err(Fault::forbidden("Tasks are not offered; upload the data of images with PUT …/file."))
}

async fn task(caller: Caller, Path(id): Path<String>) -> Answer {
    check_tasks(&caller)?;
    let id: String = id.chars().take(64).collect();
    Err(Fault::not_found(format!("No task found with ID {id}")))
}

async fn namespaces(_caller: Caller) -> Response {
    let body = json!({
        "namespaces": [],
        "first": "/v2/metadefs/namespaces",
        "schema": "/v2/schemas/metadefs/namespaces",
    });
    super::json(StatusCode::OK, &body)
}

async fn resource_types(_caller: Caller) -> Response {
    super::json(StatusCode::OK, &json!({"resource_types": []}))
}

async fn no_definitions(_caller: Caller) -> Fault {
    Fault::forbidden("Metadata definitions are not offered.")
}

async fn namespace(_caller: Caller, Path(rest): Path<String>) -> Fault {
    let name: String = rest.split('/').next().unwrap_or_default().chars().take(64).collect();
    Fault::not_found(format!("Metadata definition namespace={name} not found."))
}
