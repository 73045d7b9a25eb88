//! What can go wrong between this program and a service.

use std::time::Duration;

use serde_json::Value;

use super::Service;

/// A service answered, and said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Which one.
    pub service: Service,
    /// HTTP status.
    pub status: u16,
    /// Its own words.
    pub message: String,
    /// Its name for the request, to be looked up in its logs.
    pub request_id: Option<String>,
}

impl Rejection {
    /// From the body of an error answer: Nova's, Keystone's and Glance's shapes, or plain text.
    pub fn new(service: Service, status: u16, body: &[u8]) -> Self {
        let message = serde_json::from_slice::<Value>(body)
            .ok()
            .and_then(|value| message_of(&value))
            .unwrap_or_else(|| plain(body));
        Self { service, status, message, request_id: None }
    }
}

/// `{"<fault>": {"code": …, "message": "…"}}`, also Keystone's `{"error": {…}}`, or a bare
/// `{"message": "…"}`.
fn message_of(value: &Value) -> Option<String> {
    let object = value.as_object()?;
    let inner = object.values().find_map(|fault| fault.get("message")?.as_str());
    let text = inner.or_else(|| object.get("message")?.as_str())?;
    Some(text.trim().to_owned())
}

/// Glance answers with a small HTML page: its text without tags.
fn plain(body: &[u8]) -> String {
    const LONGEST: usize = 500;
    let text = String::from_utf8_lossy(body);
    let text = text.split_once("<body>").map_or(text.as_ref(), |(_, rest)| rest);
    let mut inside = false;
    let stripped: String = text
        .chars()
        .filter(|&c| {
            let tag = inside || c == '<';
            inside = if c == '<' { true } else { inside && c != '>' };
            !tag
        })
        .collect();
    let words: Vec<&str> = stripped.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST).collect()
}

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot reach the {service} service at {url}: {reason}")]
    Unreachable {
        /// Which one.
        service: Service,
        /// Host and port.
        url: String,
        /// The innermost cause.
        reason: String,
    },
    /// No answer in time.
    #[error("the {service} service at {url} did not answer within {} s", limit.as_secs())]
    TimedOut {
        /// Which one.
        service: Service,
        /// Host and port.
        url: String,
        /// The deadline.
        limit: Duration,
    },
    /// Data stopped flowing.
    #[error("the transfer with {url} stalled: nothing moved for {} s", limit.as_secs())]
    Stalled {
        /// Host and port.
        url: String,
        /// The limit.
        limit: Duration,
    },
    /// The connection ended in the middle.
    #[error("the connection to the {service} service at {url} broke: {reason}")]
    Broken {
        /// Which one.
        service: Service,
        /// Host and port.
        url: String,
        /// The innermost cause.
        reason: String,
    },
    /// 401.
    #[error("the identity service at {auth_url} refused user '{user}' ({origin}): {message}")]
    Unauthorized {
        /// Identity service.
        auth_url: String,
        /// Who tried.
        user: String,
        /// Where the credentials come from.
        origin: String,
        /// The service's words.
        message: String,
    },
    /// Another refusal.
    #[error("{}{}", .0.message_or_status(), .0.reference())]
    Rejected(Rejection),
    /// The answer is not what the API promises.
    #[error("the {service} service at {url} gave an answer that is not understood: {reason}")]
    BadAnswer {
        /// Which one.
        service: Service,
        /// Host and port.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The catalog lacks the service.
    #[error("the catalog of {auth_url} has no {interface} {service} service{}", region.as_ref().map(|name| format!(" in region '{name}'")).unwrap_or_default())]
    NoService {
        /// Which one.
        service: Service,
        /// Interface that was looked for.
        interface: String,
        /// Region that was looked for.
        region: Option<String>,
        /// Identity service.
        auth_url: String,
    },
    /// This side cannot even try.
    #[error("{what}")]
    Local {
        /// What is wrong.
        what: String,
    },
    /// A file of this machine.
    #[error("cannot {action} {path}")]
    File {
        /// `read`, `write`.
        action: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The data that arrived are not the data that were stored.
    #[error("the data are damaged: {what}")]
    Damaged {
        /// What differs.
        what: String,
    },
}

impl Rejection {
    fn message_or_status(&self) -> String {
        if self.message.is_empty() {
            format!("the {} service answered with status {}", self.service, self.status)
        } else {
            self.message.clone()
        }
    }

    fn reference(&self) -> String {
        let id = self.request_id.as_ref();
        id.map(|id| format!(" (HTTP {}, {id})", self.status))
            .unwrap_or_else(|| format!(" (HTTP {})", self.status))
    }
}

impl ClientError {
    /// The status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Rejected(rejection) => Some(rejection.status),
            Self::Unauthorized { .. } => Some(401),
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Stalled { .. }
            | Self::Broken { .. }
            | Self::BadAnswer { .. }
            | Self::NoService { .. }
            | Self::Local { .. }
            | Self::File { .. }
            | Self::Damaged { .. } => None,
        }
    }

    /// Whether trying again soon may help: the service restarts, or is overloaded.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Broken { .. } => true,
            Self::Rejected(rejection) => matches!(rejection.status, 429 | 502 | 503 | 504),
            Self::Stalled { .. }
            | Self::Unauthorized { .. }
            | Self::BadAnswer { .. }
            | Self::NoService { .. }
            | Self::Local { .. }
            | Self::File { .. }
            | Self::Damaged { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> String {
        Rejection::new(Service::Compute, 409, body.as_bytes()).message
    }

    #[test]
    fn texts_of_all_services() {
        assert_eq!(message(r#"{"conflictingRequest": {"code": 409, "message": "busy"}}"#), "busy");
        assert_eq!(message(r#"{"error": {"code": 401, "message": "no", "title": "T"}}"#), "no");
        assert_eq!(message(r#"{"message": "m", "code": "404"}"#), "m");
        let page = "<html>\n <head>\n  <title>409 Conflict</title>\n </head>\n <body>\n  \
                    <h1>409 Conflict</h1>\n  Image is in use<br /><br />\n </body>\n</html>";
        assert_eq!(message(page), "409 Conflict Image is in use");
        assert_eq!(message(""), "");
        assert_eq!(message(&"x".repeat(9999)).len(), 500);
    }

    #[test]
    fn an_empty_refusal_still_says_something() {
        let error = ClientError::Rejected(Rejection::new(Service::Image, 500, b""));
        assert_eq!(error.to_string(), "the image service answered with status 500 (HTTP 500)");
    }
}
