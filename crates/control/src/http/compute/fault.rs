//! Error answers in Nova's form: `{"<name>": {"code": …, "message": …}}` (spec/api.md section 4).

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::microversion::{self, Rejected};
use crate::http::body::BodyError;
use crate::http::reply::causes;

/// Result of a handler.
pub type Answer = Result<Response, ApiFault>;

/// Text of a 404 that says nothing, as webob words it.
const NOT_FOUND: &str = "The resource could not be found.";
/// Text of a 500. The cause is in the log under the request id, never in the answer.
const UNEXPECTED: &str = "Unexpected API Error. The log of this service says more, under the \
                          request id of this answer.";

/// A refusal or a failure, with its HTTP status and a text for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiFault {
    status: StatusCode,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiFault {
    /// With any status.
    #[must_use]
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), headers: Vec::new() }
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 403.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404 with a text of its own.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 404 for something that this microversion does not have.
    #[must_use]
    pub fn no_resource() -> Self {
        Self::not_found(NOT_FOUND)
    }

    /// 409.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 500 without details.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, UNEXPECTED)
    }

    /// 500 whose cause goes to the log. `error` must not hold secrets.
    #[must_use]
    pub fn unexpected(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            causes = format!("{causes}: {cause}");
            source = cause.source();
        }
        tracing::error!(target: "reprieve::api", error = causes, "request failed");
        Self::internal()
    }

    /// 503 with the error's own text, whose causes go to the log. `error` must not hold secrets.
    #[must_use]
    pub fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(target: "reprieve::api", error = causes(error), "another service is down");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// 415.
    #[must_use]
    pub fn unsupported_media_type() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Content-Type")
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Text for the client.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Name of the outer key.
    const fn name(&self) -> &'static str {
        match self.status {
            StatusCode::BAD_REQUEST => "badRequest",
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "itemNotFound",
            StatusCode::METHOD_NOT_ALLOWED => "badMethod",
            StatusCode::CONFLICT => "conflictingRequest",
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => "overLimit",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "badMediaType",
            StatusCode::NOT_IMPLEMENTED => "notImplemented",
            StatusCode::SERVICE_UNAVAILABLE => "serviceUnavailable",
            _ => "computeFault",
        }
    }
}

impl IntoResponse for ApiFault {
    fn into_response(self) -> Response {
        let code = self.status.as_u16();
        let body = json!({ self.name(): {"code": code, "message": self.message} }).to_string();
        let mut response = (self.status, body).into_response();
        let json = HeaderValue::from_static("application/json; charset=UTF-8");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}

impl From<BodyError> for ApiFault {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Request is too large.")
            }
            BodyError::TooSlow => {
                Self::new(StatusCode::REQUEST_TIMEOUT, "The request body did not arrive in time.")
                    .with_header(header::CONNECTION, HeaderValue::from_static("close"))
            }
            BodyError::Broken => Self::bad_request("Malformed request body"),
        }
    }
}

impl From<Rejected> for ApiFault {
    fn from(rejected: Rejected) -> Self {
        match &rejected {
            Rejected::Malformed(_) => Self::bad_request(rejected.to_string()),
            Rejected::OutOfRange(version) => {
                let fault = Self::new(StatusCode::NOT_ACCEPTABLE, rejected.to_string());
                microversion::headers(version)
                    .into_iter()
                    .fold(fault, |fault, (name, value)| fault.with_header(name, value))
            }
        }
    }
}

/// What the router says about a path or method that does not exist. Nova's router answers outside
/// of its fault wrapper, hence the different form.
#[must_use]
pub fn unrouted() -> Response {
    let body = json!({
        "message": format!("{NOT_FOUND}<br /><br />\n\n\n"),
        "code": "404 Not Found",
        "title": "Not Found",
    });
    json_answer(StatusCode::NOT_FOUND, &body)
}

/// A JSON answer.
#[must_use]
pub fn json_answer(status: StatusCode, body: &impl Serialize) -> Response {
    // Only a map whose keys are no texts cannot be written.
    let Ok(body) = serde_json::to_vec(body) else { return ApiFault::internal().into_response() };
    written_answer(status, body)
}

/// An answer whose JSON is written already.
#[must_use]
pub fn written_answer(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = (status, body).into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// An answer without body. Nova marks them as JSON, too.
#[must_use]
pub fn empty_answer(status: StatusCode) -> Response {
    let mut response = status.into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    #[tokio::test]
    async fn faults_have_novas_names() {
        for (status, name) in [
            (400, "badRequest"),
            (401, "unauthorized"),
            (403, "forbidden"),
            (404, "itemNotFound"),
            (405, "badMethod"),
            (406, "computeFault"),
            (408, "computeFault"),
            (409, "conflictingRequest"),
            (413, "overLimit"),
            (415, "badMediaType"),
            (429, "overLimit"),
            (500, "computeFault"),
            (501, "notImplemented"),
            (503, "serviceUnavailable"),
        ] {
            let fault = ApiFault::new(StatusCode::from_u16(status).unwrap(), "why");
            let response = fault.into_response();
            assert_eq!(response.status().as_u16(), status);
            let bytes = to_bytes(response.into_body(), 1000).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(body, json!({name: {"code": status, "message": "why"}}));
        }
    }
}
