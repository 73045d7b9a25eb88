//! Version documents, schemas, what the service cannot do, and answers for what is not there.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::Caller;
use super::fault::{Answer, Fault};
use super::view::BASE_ATTRIBUTES;
use crate::Control;
use crate::http::endpoint::base_url;

/// 2.7 brought the hash and hidden images. Later versions are about several stores, caches and
/// tasks, none of which exist here.
const CURRENT_MINOR: u32 = 7;

fn document(control: &Control, headers: &HeaderMap) -> Value {
    let base = base_url(&control.settings.public_url, headers);
    let version = |minor: u32| {
        json!({
            "id": format!("v2.{minor}"),
            "status": if minor == CURRENT_MINOR { "CURRENT" } else { "SUPPORTED" },
            "links": [{"rel": "self", "href": format!("{base}/image/v2/")}],
        })
    };
    let versions: Vec<Value> = (0..=CURRENT_MINOR).rev().map(version).collect();
    json!({ "versions": versions })
}

/// `/image/`.
pub async fn choices(State(control): State<Arc<Control>>, headers: HeaderMap) -> Response {
    super::json(StatusCode::MULTIPLE_CHOICES, &document(&control, &headers))
}

/// `/image/versions`.
pub async fn versions(State(control): State<Arc<Control>>, headers: HeaderMap) -> Response {
    super::json(StatusCode::OK, &document(&control, &headers))
}

/// Schemas that clients build their forms from.
pub async fn schema(_caller: Caller, Path(name): Path<String>) -> Answer {
    let schema = match name.as_str() {
        "image" => image_schema(),
        "images" => collection("images", image_schema()),
        "member" => member_schema(),
        "members" => collection("members", member_schema()),
        "task" => task_schema(),
        "tasks" => collection("tasks", task_schema()),
        _ => return Err(Fault::not_found("The resource could not be found.")),
    };
    Ok(super::json(StatusCode::OK, &schema))
}

fn collection(name: &str, item: Value) -> Value {
    let mut schema = json!({
        "name": name,
        "properties": {
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    });
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(name.to_owned(), json!({"type": "array", "items": item}));
    }
    schema
}

fn image_schema() -> Value {
    let writable = |name: &str| match name {
        "id" => Some(json!({"type": "string", "description": "An identifier for the image"})),
        "name" => Some(json!({"type": ["null", "string"], "maxLength": 255})),
        "visibility" => {
            Some(json!({"type": "string", "enum": ["community", "public", "private", "shared"]}))
        }
        "owner" => Some(json!({"type": ["null", "string"], "maxLength": 255})),
        "disk_format" => {
            Some(json!({"type": ["null", "string"], "enum": [null, "raw", "qcow2", "iso"]}))
        }
        "container_format" => Some(json!({"type": ["null", "string"], "enum": [null, "bare"]})),
        "protected" | "os_hidden" => Some(json!({"type": "boolean"})),
        "min_disk" | "min_ram" => {
            Some(json!({"type": "integer", "minimum": 0, "maximum": 2_147_483_647}))
        }
        "tags" => Some(json!({"type": "array", "items": {"type": "string", "maxLength": 255}})),
        _ => None,
    };
    let read_only = |name: &str| match name {
        "size" | "virtual_size" => Some(json!({"type": ["null", "integer"], "readOnly": true})),
        "status" => Some(json!({
            "type": "string", "readOnly": true,
            "enum": ["queued", "saving", "active", "deactivated"],
        })),
        "checksum" | "os_hash_algo" | "os_hash_value" => {
            Some(json!({"type": ["null", "string"], "readOnly": true}))
        }
        "created_at" | "updated_at" | "file" | "self" | "schema" => {
            Some(json!({"type": "string", "readOnly": true}))
        }
        _ => None,
    };
    let properties: serde_json::Map<String, Value> = BASE_ATTRIBUTES
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), writable(name).or_else(|| read_only(name))?)))
        .collect();
    json!({
        "name": "image",
        "properties": properties,
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    })
}

fn member_schema() -> Value {
    json!({
        "name": "member",
        "properties": {
            "image_id": {"type": "string"},
            "member_id": {"type": "string"},
            "status": {"type": "string", "enum": ["pending", "accepted", "rejected"]},
            "created_at": {"type": "string", "readOnly": true},
            "updated_at": {"type": "string", "readOnly": true},
            "schema": {"type": "string", "readOnly": true},
        },
    })
}

fn task_schema() -> Value {
    json!({
        "name": "task",
        "properties": {
            "id": {"type": "string"},
            "type": {"type": "string", "enum": ["import", "api_image_import"]},
            "status": {"type": "string", "enum": ["pending", "processing", "success", "failure"]},
            "input": {"type": ["null", "object"]},
            "result": {"type": ["null", "object"]},
            "owner": {"type": "string"},
            "message": {"type": "string"},
            "expires_at": {"type": ["null", "string"]},
            "created_at": {"type": "string"},
            "updated_at": {"type": "string"},
            "self": {"type": "string"},
            "schema": {"type": "string"},
        },
    })
}

/// Every other path.
pub async fn other() -> Fault {
    Fault::not_found("The resource could not be found.")
}

/// A path that exists, with a method that does not.
pub async fn wrong_method() -> Fault {
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed for the requested URL.")
}
