//! Error answers in Keystone's form: `{"error": {"code": …, "message": …, "title": …}}`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app::identity::{AuthError, LoginError, ManageError, PasswordError};
use crate::http::body::BodyError;
use crate::http::reply::{self, causes};

/// Result of a handler.
pub type Answer = Result<Response, Fault>;

const UNAUTHENTICATED: &str = "The request you have made requires authentication.";

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

    /// 400 for a missing or malformed part of the body.
    pub fn expected(what: &str, place: &str) -> Self {
        Self::bad_request(format!(
            "Expecting to find {what} in {place}. The server could not comply with the request \
             since it is either malformed or otherwise incorrect. The client is assumed to be in \
             error."
        ))
    }

    /// 401, the same for every reason.
    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, UNAUTHENTICATED)
    }

    /// 404.
    pub fn not_found(what: &str, id: &str) -> Self {
        let id: String = id.chars().take(64).collect();
        Self::new(StatusCode::NOT_FOUND, format!("Could not find {what}: {id}."))
    }

    /// 503; what happened is in the log only.
    fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(target: "reprieve::api", error = causes(error), "no identity service");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }

    /// 500; what happened is in the log only. Errors of this service hold no secrets.
    fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(target: "reprieve::api", error = causes(error), "identity request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "An unexpected error prevented the server from fulfilling your request.",
        )
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = json!({"error": {
            "code": self.status.as_u16(),
            "message": self.message,
            "title": self.status.canonical_reason().unwrap_or("Error"),
        }});
        let mut response = reply::json(self.status, &body);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<AuthError> for Fault {
    fn from(error: AuthError) -> Self {
        match &error {
            AuthError::Unauthenticated | AuthError::NotScoped => Self::unauthenticated(),
            AuthError::Store(_) => Self::internal(&error),
            AuthError::Unavailable(_) => Self::unavailable(&error),
        }
    }
}

impl From<PasswordError> for Fault {
    fn from(error: PasswordError) -> Self {
        match &error {
            PasswordError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            PasswordError::Length => Self::bad_request(error.to_string()),
            PasswordError::Failed(_) => Self::internal(&error),
        }
    }
}

impl From<LoginError> for Fault {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Unauthenticated => Self::unauthenticated(),
            LoginError::Password(error) => error.into(),
            LoginError::Store(_) => Self::internal(&error),
            LoginError::Unavailable(_) => Self::unavailable(&error),
        }
    }
}

impl From<ManageError> for Fault {
    fn from(error: ManageError) -> Self {
        let status = match error {
            ManageError::Forbidden(_) | ManageError::Refused(_) => StatusCode::FORBIDDEN,
            ManageError::Invalid(_) => StatusCode::BAD_REQUEST,
            ManageError::NotFound { .. } => StatusCode::NOT_FOUND,
            ManageError::Duplicate { .. } => StatusCode::CONFLICT,
            ManageError::WrongPassword => return Self::unauthenticated(),
            ManageError::Password(error) => return error.into(),
            ManageError::Store(_) => return Self::internal(&error),
            ManageError::Unavailable(_) => return Self::unavailable(&error),
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
