//! The OpenAPI document, made of the tables of endpoints and fields.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::endpoints::{ENDPOINTS, Endpoint, Parameter, Place, Success};
use super::fault::Answer;
use super::view::{self, HOST, OPERATION, STEP};
use super::{PREFIX, reply};

/// `GET /openapi.json`.
pub async fn serve() -> Answer {
    Ok(reply::json(StatusCode::OK, &document()))
}

/// The OpenAPI 3.1 document of this API.
#[must_use]
pub fn document() -> Value {
    let path = |endpoint: &Endpoint| {
        let methods = json!({endpoint.method.as_str(): operation(endpoint)});
        (format!("{PREFIX}{}", endpoint.path), methods)
    };
    let paths: Map<String, Value> = ENDPOINTS.iter().map(path).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Reprieve",
            "version": "v1",
            "description": "What Nova's API has no place for. Tokens are those of the identity \
                            service. Administrators see everything; others what concerns the \
                            servers of their project, without the names of hosts.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
            },
            "schemas": schemas(),
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut responses = Map::new();
    responses.insert(status(endpoint.success).to_owned(), success(endpoint.success));
    let common: &[u16] = if endpoint.token { &[401, 403, 503] } else { &[] };
    for status in endpoint.refusals.iter().chain(common) {
        responses.insert(status.to_string(), refusal(*status));
    }
    let security = if endpoint.token { json!([{"token": []}]) } else { json!([]) };
    let parameters: Vec<Value> = endpoint.parameters.iter().map(parameter).collect();
    let mut operation = json!({
        "operationId": endpoint.name,
        "summary": endpoint.about.split("\n\n").next(),
        "description": endpoint.about,
        "security": security,
        "parameters": parameters,
        "responses": responses,
    });
    if let (Some(name), Some(fields)) = (endpoint.body, operation.as_object_mut()) {
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        let body = json!({"content": {"application/json": {"schema": schema}}});
        fields.insert("requestBody".to_owned(), body);
    }
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": parameter.place.as_str(),
        "required": parameter.place == Place::Path,
        "description": parameter.about,
        "schema": (parameter.schema)(),
    })
}

const fn status(success: Success) -> &'static str {
    match success {
        Success::Json(_) | Success::Document | Success::Events => "200",
        Success::Accepted(_) => "202",
    }
}

fn success(success: Success) -> Value {
    let (media_type, schema) = match success {
        Success::Json(name) | Success::Accepted(name) => {
            ("application/json", json!({"$ref": format!("#/components/schemas/{name}")}))
        }
        Success::Document => ("application/json", json!({"type": "object"})),
        Success::Events => ("text/event-stream", json!({"type": "string"})),
    };
    json!({"description": "All is well.", "content": {media_type: {"schema": schema}}})
}

fn refusal(status: u16) -> Value {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    json!({
        "description": status.canonical_reason().unwrap_or_default(),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    })
}

/// Every schema by name.
#[must_use]
pub fn schemas() -> Value {
    let operation = view::schema("An operation on a server.", OPERATION);
    let step = view::schema("Something that happened to a step.", STEP);
    let mut detail = operation.clone();
    if let Some(properties) = detail.get_mut("properties").and_then(Value::as_object_mut) {
        let steps = json!({"type": "array", "items": {"$ref": "#/components/schemas/Step"}});
        properties.insert("steps".to_owned(), steps);
    }
    if let Some(required) = detail.get_mut("required").and_then(Value::as_array_mut) {
        required.push("steps".into());
    }
    json!({
        "Root": object(&[
            ("name", view::text()),
            ("version", view::text()),
            ("links", json!({"type": "array", "items": object(&[
                ("rel", view::text()),
                ("href", json!({"type": "string", "format": "uri"})),
            ])})),
        ]),
        "Operation": operation,
        "Step": step,
        "OperationList": object(&[
            ("operations", json!({
                "type": "array", "items": {"$ref": "#/components/schemas/Operation"},
            })),
            ("next", json!({
                "type": ["string", "null"],
                "format": "uri",
                "description": "The next page, if there may be one.",
            })),
        ]),
        "OperationDetail": object(&[("operation", detail)]),
        "Host": view::schema("A compute host.", HOST),
        "HostList": object(&[("hosts", json!({
            "type": "array", "items": {"$ref": "#/components/schemas/Host"},
        }))]),
        "HostDetail": object(&[("host", json!({"$ref": "#/components/schemas/Host"}))]),
        "HostAsked": object(&[
            ("host", json!({"$ref": "#/components/schemas/Host"})),
            ("operations", json!({
                "type": "array",
                "description": "What was accepted.",
                "items": object(&[("id", view::uuid()), ("server_id", view::uuid())]),
            })),
            ("refused", json!({
                "type": "array",
                "description": "What was not, and why.",
                "items": object(&[("server_id", view::uuid()), ("message", view::text())]),
            })),
        ]),
        "Drain": super::hosts::drain_schema(),
        "Error": object(&[("error", object(&[
            ("code", json!({"type": "integer"})),
            ("title", view::text()),
            ("message", view::text()),
        ]))]),
    })
}

/// An object with exactly these fields.
fn object(fields: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({
        "type": "object",
        "required": names,
        "properties": properties,
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checked-in document is what the code says. To write it anew:
    /// `REPRIEVE_WRITE_OPENAPI=1 cargo test -p reprieve-control openapi`.
    #[test]
    fn the_checked_in_document_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let current = format!("{:#}\n", document());
        if std::env::var_os("REPRIEVE_WRITE_OPENAPI").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let checked_in = std::fs::read_to_string(path).unwrap();
        assert!(
            checked_in == current,
            "docs/openapi.json is not what the code says: write it anew"
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        let named = text.split("#/components/schemas/").skip(1);
        let mut count = 0;
        for name in named.filter_map(|rest| rest.split('"').next()) {
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
            count += 1;
        }
        assert!(count > 5);
    }
}
