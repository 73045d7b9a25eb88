//! Compute v2.1: servers, flavors, keypairs and what was done to servers.

use reprieve_core::{InstanceId, VmState};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ClientError, Service, Session, encode, query};

/// What decisions need to know about a server. The whole of it is printed from the JSON.
#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    /// Id.
    pub id: String,
    /// Name.
    #[serde(default)]
    pub name: String,
    /// Status, as in `core::state::status` or of a service that knows more.
    #[serde(default)]
    pub status: String,
    /// `active`, `paused` …
    #[serde(default, rename = "OS-EXT-STS:vm_state")]
    pub vm_state: Option<String>,
    /// What is being done, `None` when idle.
    #[serde(default, rename = "OS-EXT-STS:task_state")]
    pub task_state: Option<String>,
    /// Per cent of the operation.
    #[serde(default)]
    pub progress: Option<u64>,
    /// What went wrong.
    #[serde(default)]
    pub fault: Option<ServerFault>,
    /// Whether it is locked.
    #[serde(default)]
    pub locked: bool,
    /// Why it is locked.
    #[serde(default)]
    pub locked_reason: Option<String>,
    /// When the guest first ran.
    #[serde(default, rename = "OS-SRV-USG:launched_at")]
    pub launched_at: Option<String>,
    /// Image it was made from, an object or "".
    #[serde(default)]
    pub image: Value,
}

/// A fault as the API shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct ServerFault {
    /// Text.
    #[serde(default)]
    pub message: String,
}

impl Server {
    /// The stable state, when it is one that this program knows.
    pub fn vm_state(&self) -> Option<VmState> {
        VmState::parse(self.vm_state.as_deref()?)
    }

    /// Id of its image.
    pub fn image_id(&self) -> Option<&str> {
        self.image.get("id")?.as_str()
    }
}

#[derive(Deserialize)]
struct One {
    server: Server,
}

/// An operation that a service has begun.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Under this name.
    pub request_id: Option<String>,
    /// The body of the answer, null when empty.
    pub body: Value,
}

/// One server as JSON.
///
/// # Errors
/// 404 when there is none.
pub async fn show(session: &Session, id: &str) -> Result<Map<String, Value>, ClientError> {
    let value: Value = session.get(Service::Compute, &format!("/servers/{}", encode(id))).await?;
    inner(session, value, "server")
}

/// One server as far as decisions need it.
///
/// # Errors
/// 404 when there is none.
pub async fn state(session: &Session, id: &str) -> Result<Server, ClientError> {
    let path = format!("/servers/{}", encode(id));
    session.get::<One>(Service::Compute, &path).await.map(|one| one.server)
}

/// Ids of the servers that have exactly this name.
///
/// # Errors
/// As every call.
pub async fn named(session: &Session, name: &str) -> Result<Vec<String>, ClientError> {
    let filter = query(&[("name", format!("^{}$", escape_regex(name)))]);
    let found =
        pages(session, &Pages { path: "/servers", query: filter, key: "servers", limit: None })
            .await?;
    let same = |server: &&Value| server.get("name").and_then(Value::as_str) == Some(name);
    let id = |server: &Value| server.get("id")?.as_str().map(str::to_owned);
    Ok(found.iter().filter(same).filter_map(id).collect())
}

/// Whether a text can be the id of a server.
pub fn is_id(text: &str) -> bool {
    text.parse::<InstanceId>().is_ok()
}

/// Creates a server.
///
/// # Errors
/// As every call.
pub async fn create(session: &Session, body: &Value) -> Result<Accepted, ClientError> {
    accept(session, "/servers", body).await
}

/// Posts an action.
///
/// # Errors
/// 409 when the server's state forbids it.
pub async fn act(session: &Session, id: &str, body: &Value) -> Result<Accepted, ClientError> {
    accept(session, &format!("/servers/{}/action", encode(id)), body).await
}

async fn accept(session: &Session, path: &str, body: &Value) -> Result<Accepted, ClientError> {
    let answer = session.call(Service::Compute, Method::POST, path, Some(body)).await?;
    let body = if answer.body.is_empty() {
        Value::Null
    } else {
        session.json(Service::Compute, &answer)?
    };
    Ok(Accepted { request_id: answer.request_id, body })
}

/// Deletes a server.
///
/// # Errors
/// As every call.
pub async fn delete(session: &Session, id: &str) -> Result<Accepted, ClientError> {
    let answer = session.delete(Service::Compute, &format!("/servers/{}", encode(id))).await?;
    Ok(Accepted { request_id: answer.request_id, body: Value::Null })
}

/// What was done to a server, newest first.
///
/// # Errors
/// 404 when there never was such a server.
pub async fn events(session: &Session, id: &str) -> Result<Vec<Value>, ClientError> {
    let path = format!("/servers/{}/os-instance-actions", encode(id));
    let value: Value = session.get(Service::Compute, &path).await?;
    items(session, value, "instanceActions")
}

/// One thing that was done to a server.
///
/// # Errors
/// 404 when it was not.
pub async fn event(
    session: &Session,
    id: &str,
    request: &str,
) -> Result<Map<String, Value>, ClientError> {
    let path = format!("/servers/{}/os-instance-actions/{}", encode(id), encode(request));
    let value: Value = session.get(Service::Compute, &path).await?;
    inner(session, value, "instanceAction")
}

/// A listing that comes in pages.
pub struct Pages {
    /// Path, without query.
    pub path: &'static str,
    /// Query, with `?` unless empty.
    pub query: String,
    /// Key of the list in the answer.
    pub key: &'static str,
    /// How many at most.
    pub limit: Option<usize>,
}

/// Reads all pages. The next page is asked for by the id of the last item: a link in the answer
/// could lead elsewhere, with our token.
///
/// # Errors
/// As every call.
pub async fn pages(session: &Session, request: &Pages) -> Result<Vec<Value>, ClientError> {
    let links = format!("{}_links", request.key);
    let mut all: Vec<Value> = Vec::new();
    let mut marker: Option<String> = None;
    loop {
        let missing = request.limit.map(|limit| limit.saturating_sub(all.len()));
        if missing == Some(0) {
            return Ok(all);
        }
        let mut path = format!("{}{}", request.path, request.query);
        for (key, value) in [("limit", missing.map(|n| n.to_string())), ("marker", marker.clone())]
        {
            let Some(value) = value else { continue };
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(&format!("{key}={}", encode(&value)));
        }
        let value: Value = session.get(Service::Compute, &path).await?;
        let more = value.get(&links).is_some();
        let page = items(session, value, request.key)?;
        let last = page.last().and_then(|item| item.get("id")?.as_str()).map(str::to_owned);
        all.extend(page);
        if !more || last.is_none() || last == marker {
            return Ok(all);
        }
        marker = last;
    }
}

/// The list under `key`.
pub fn items(session: &Session, mut value: Value, key: &str) -> Result<Vec<Value>, ClientError> {
    match value.get_mut(key).map(Value::take) {
        Some(Value::Array(list)) => Ok(list),
        Some(_) | None => Err(missing(session, key)),
    }
}

/// The object under `key`.
pub fn inner(
    session: &Session,
    mut value: Value,
    key: &str,
) -> Result<Map<String, Value>, ClientError> {
    match value.get_mut(key).map(Value::take) {
        Some(Value::Object(object)) => Ok(object),
        Some(_) | None => Err(missing(session, key)),
    }
}

fn missing(session: &Session, key: &str) -> ClientError {
    session.place(Service::Compute).bad_answer(format!("'{key}' is missing"))
}

/// Names are matched as regular expressions by the service.
fn escape_regex(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_pattern() {
        assert_eq!(escape_regex("a.b(c)"), "a\\.b\\(c\\)");
        assert_eq!(escape_regex("web-1"), "web-1");
    }

    #[test]
    fn understands_what_a_real_nova_sends() {
        let server: Server = serde_json::from_value(serde_json::json!({
            "id": "b8e2b8c2-b090-4a6d-b0f5-19d7d885328f", "name": "rec-1", "status": "PAUSED",
            "OS-EXT-STS:task_state": "unpausing", "OS-EXT-STS:vm_state": "paused",
            "OS-SRV-USG:launched_at": "2026-11-22T20:13:22.000000", "locked": true,
            "locked_reason": null, "image": {"id": "3770e010-6cdc-4db6-a78b-a7add665bb8b"}
        }))
        .unwrap();
        assert_eq!(server.vm_state(), Some(VmState::Paused));
        assert_eq!(server.task_state.as_deref(), Some("unpausing"));
        assert_eq!(server.image_id(), Some("3770e010-6cdc-4db6-a78b-a7add665bb8b"));
        assert!(is_id(&server.id) && !is_id("rec-1"));
    }
}
