//! Error answers: `{"error": {"code": …, "title": …, "message": …}}`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app::AppError;
use crate::app::identity::AuthError;
use crate::http::body::BodyError;
use crate::http::reply::{self, causes};
use crate::work::streams::NoPlace;

/// Result of a handler.
pub type Answer = Result<Response, Fault>;

/// A refusal or a failure.
#[derive(Debug)]
pub struct Fault {
    status: StatusCode,
    message: String,
}

impl Fault {
    /// With any status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401, the same for every reason.
    pub fn unauthenticated() -> Self {
        let text = "The request you have made requires authentication.";
        Self::new(StatusCode::UNAUTHORIZED, text)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// 500; what happened is in the log only.
    fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(target: "reprieve::api", error = causes(error), "request failed");
        let text = "This should not have happened. The log of this service says more, under the \
                    request id of this answer.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = json!({"error": {
            "code": self.status.as_u16(),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "message": self.message,
        }});
        let mut response = reply::json(self.status, &body);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

impl From<AuthError> for Fault {
    fn from(error: AuthError) -> Self {
        match &error {
            AuthError::Unauthenticated => Self::unauthenticated(),
            AuthError::NotScoped => Self::new(StatusCode::FORBIDDEN, error.to_string()),
            AuthError::Store(_) | AuthError::Unavailable(_) => {
                tracing::error!(target: "reprieve::api", error = causes(&error), "no token checked");
                Self::unavailable("The token could not be checked. Try again.")
            }
        }
    }
}

impl From<AppError> for Fault {
    fn from(error: AppError) -> Self {
        match &error {
            AppError::NotFound(_) => Self::not_found(error.to_string()),
            AppError::BadRequest(_) => Self::bad_request(error.to_string()),
            AppError::Forbidden(_) | AppError::QuotaExceeded(_) => {
                Self::new(StatusCode::FORBIDDEN, error.to_string())
            }
            AppError::Conflict(_) | AppError::Denied(_) => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            AppError::Unavailable { .. } => {
                tracing::error!(target: "reprieve::api", error = causes(&error), "no answer");
                Self::unavailable(error.to_string())
            }
            AppError::Internal { .. } => Self::internal(&error),
        }
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

impl From<NoPlace> for Fault {
    fn from(error: NoPlace) -> Self {
        let status = match error {
            NoPlace::Project => StatusCode::TOO_MANY_REQUESTS,
            NoPlace::Process => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}
