//! Version documents, and answers for what is not there.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::fault::Fault;
use crate::Control;
use crate::http::endpoint::base_url;

/// The version of the API that this subset follows.
fn version(base: &str) -> Value {
    json!({
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": format!("{base}/identity/v3/")}],
        "media-types": [{
            "base": "application/json",
            "type": "application/vnd.openstack.identity-v3+json",
        }],
    })
}

fn base(control: &Control, headers: &HeaderMap) -> String {
    base_url(&control.settings.public_url, headers)
}

/// `/identity/`: multiple choices, of one.
pub async fn root(State(control): State<Arc<Control>>, headers: HeaderMap) -> Response {
    let base = base(&control, &headers);
    let body = json!({"versions": {"values": [version(&base)]}});
    let mut response = super::json(StatusCode::MULTIPLE_CHOICES, &body);
    if let Ok(location) = HeaderValue::from_str(&format!("{base}/identity/v3/")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// `/identity/v3`.
pub async fn v3(State(control): State<Arc<Control>>, headers: HeaderMap) -> Response {
    let base = base(&control, &headers);
    super::json(StatusCode::OK, &json!({"version": version(&base)}))
}

/// Every other path.
pub async fn other() -> Fault {
    Fault::new(StatusCode::NOT_FOUND, "The resource could not be found.")
}

/// A path that exists, with a method that does not.
pub async fn wrong_method() -> Fault {
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed for the requested URL.")
}
