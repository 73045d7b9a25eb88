//! Error answers. Glance answers with HTML; JSON here, which OpenStack's clients read as well.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app::identity::AuthError;
use crate::app::images::ImageError;
use crate::http::body::BodyError;
use crate::http::reply::{self, causes};

/// Result of a handler.
pub type Answer = Result<Response, Fault>;

/// A refusal or a failure.
#[derive(Debug)]
pub struct Fault {
    status: StatusCode,
    message: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Fault {
    /// With any status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), header: None }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 401.
    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "The request you have made requires authentication.")
    }

    /// With a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// 503; what happened is in the log only.
    fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(target: "reprieve::api", error = causes(error), "another service is down");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }

    /// 500; what happened is in the log only.
    fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(target: "reprieve::api", error = causes(error), "image request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "The image service failed; its log says why.")
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = json!({
            "code": self.status.as_u16(),
            "message": self.message,
            "title": self.status.canonical_reason().unwrap_or("Error"),
        });
        let mut response = reply::json(self.status, &body);
        response.headers_mut().extend(self.header);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<AuthError> for Fault {
    fn from(error: AuthError) -> Self {
        match &error {
            AuthError::Unauthenticated => Self::unauthenticated(),
            AuthError::NotScoped => Self::forbidden("A token with a project scope is needed."),
            AuthError::Store(_) => Self::internal(&error),
            AuthError::Unavailable(_) => Self::unavailable(&error),
        }
    }
}

impl From<ImageError> for Fault {
    fn from(error: ImageError) -> Self {
        let status = match &error {
            ImageError::NotFound(_) | ImageError::NothingThere(_) => StatusCode::NOT_FOUND,
            ImageError::Forbidden | ImageError::Refused(_) => StatusCode::FORBIDDEN,
            ImageError::Invalid(_) | ImageError::Format(_) | ImageError::BrokenOff(_) => {
                StatusCode::BAD_REQUEST
            }
            ImageError::Conflict(_) => StatusCode::CONFLICT,
            ImageError::Gone(_) => StatusCode::GONE,
            ImageError::TooLarge(_) | ImageError::StorageFull | ImageError::TooManyMembers(_) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            ImageError::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
            ImageError::Unavailable(_) => return Self::unavailable(&error),
            ImageError::File { .. } | ImageError::Store(_) => return Self::internal(&error),
        };
        Self::new(status, error.to_string())
    }
}

impl From<BodyError> for Fault {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}
