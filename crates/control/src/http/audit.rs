//! The audit trail: who asked for which change, and what came of it, one JSON object a line.
//!
//! Invariants: every request with a method that may change something leaves exactly one line, also
//! one that was refused; a line has no query, no header and no body, so no password, token or user
//! data; it is written in one piece before the answer goes out. It is not made durable: a power cut
//! may lose the last lines. When it cannot be written the request goes on, and the failure is counted
//! (`reprieve_audit_failures_total`) and logged.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use axum::http::{Method, StatusCode};
use reprieve_core::{InstanceId, RequestId, Timestamp};
use serde_json::json;

use super::notes::{ClientAddress, Notes};

/// Where the lines go.
#[derive(Default)]
pub struct Audit {
    sink: Option<Mutex<Box<dyn Write + Send>>>,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").field("on", &self.sink.is_some()).finish()
    }
}

/// One request that was answered.
pub(super) struct Line<'a> {
    pub(super) at: Timestamp,
    pub(super) request_id: &'a RequestId,
    pub(super) global_request_id: Option<&'a RequestId>,
    pub(super) client: Option<ClientAddress>,
    pub(super) method: &'a Method,
    /// Cut to a length that is logged.
    pub(super) path: &'a str,
    pub(super) notes: &'a Notes,
    pub(super) server: Option<InstanceId>,
    pub(super) status: StatusCode,
}

/// Whether a request may change something.
pub(super) fn is_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

impl Audit {
    /// To a file that was opened for appending, or anything else that takes lines.
    #[must_use]
    pub fn to(sink: impl Write + Send + 'static) -> Self {
        Self { sink: Some(Mutex::new(Box::new(sink))) }
    }

    /// To nowhere.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    pub(super) fn write(&self, line: &Line<'_>) -> io::Result<()> {
        let Some(sink) = &self.sink else { return Ok(()) };
        let mut text = render(line);
        text.push('\n');
        // A panic elsewhere between two lines leaves nothing half-done.
        let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.write_all(text.as_bytes())?;
        sink.flush()
    }
}

fn render(line: &Line<'_>) -> String {
    let who = line.notes.who();
    let method: String = line.method.as_str().chars().take(16).collect();
    let action = match line.notes.route() {
        Some(route) => format!("{method} {route}"),
        None => method,
    };
    json!({
        "time": line.at.micros_z(),
        "request_id": line.request_id.as_str(),
        "global_request_id": line.global_request_id.map(RequestId::as_str),
        "user_id": who.map(|who| who.user_id.as_str()),
        "project_id": who.and_then(|who| who.project_id.as_ref()).map(|id| id.as_str()),
        "roles": who.map(|who| who.roles.as_slice()).unwrap_or_default(),
        "client": line.client.map(|ClientAddress(address)| address.ip().to_string()),
        "action": action,
        "verb": line.notes.asked_action(),
        "target": line.path,
        "server_id": line.server.map(|id| id.to_string()),
        "status": line.status.as_u16(),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_writes_stays_within_its_line() {
        let method = Method::from_bytes("X".repeat(300).as_bytes()).unwrap();
        let notes = Notes::default();
        let request_id = RequestId::random();
        let line = Line {
            at: Timestamp::from_micros(0),
            request_id: &request_id,
            global_request_id: None,
            client: None,
            method: &method,
            path: "/a\"b\n{\"user_id\":\"root\"}\u{202e}",
            notes: &notes,
            server: None,
            status: StatusCode::NOT_FOUND,
        };
        let text = render(&line);
        assert!(!text.contains('\n'));
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["target"], line.path);
        assert_eq!(read["user_id"], serde_json::Value::Null);
        assert_eq!(read["action"], "X".repeat(16));
    }

    #[test]
    fn what_may_change_something() {
        for (method, changes) in [
            (Method::GET, false),
            (Method::HEAD, false),
            (Method::OPTIONS, false),
            (Method::POST, true),
            (Method::PUT, true),
            (Method::PATCH, true),
            (Method::DELETE, true),
            (Method::from_bytes(b"FROB").unwrap(), true),
        ] {
            assert_eq!(is_change(&method), changes, "{method}");
        }
    }
}
