//! Reprieve's own API: operations and hosts.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::compute::{inner, items};
use super::http::Answer;
use super::{ClientError, Service, Session, encode, query};
use crate::error::Failure;

/// Most operations that the service gives in one answer.
const PAGE: usize = 1000;

/// What waiting for an operation needs to know of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Operation {
    /// Name of what is done.
    pub action: String,
    /// Where it is in its life.
    pub state: String,
    /// Step it is at.
    #[serde(default)]
    pub step_name: Option<String>,
    /// Per cent.
    #[serde(default)]
    pub progress: Option<u64>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<OperationError>,
}

/// Why an operation failed.
#[derive(Debug, Clone, Deserialize)]
pub struct OperationError {
    /// Text.
    #[serde(default)]
    pub message: String,
}

#[derive(Deserialize)]
struct One {
    operation: Operation,
}

/// A service that has no such API is no Reprieve.
fn known(error: ClientError) -> Failure {
    match error.status() {
        Some(300 | 404) => {
            let text = "the compute service of this cloud has no operations and hosts of \
                        Reprieve's: it is another one";
            Failure::Operation(text.to_owned())
        }
        Some(_) | None => error.into(),
    }
}

/// 404 is about this thing.
fn found<T>(
    outcome: Result<T, ClientError>,
    (what, name): (&'static str, &str),
) -> Result<T, Failure> {
    outcome.map_err(|error| match error.status() {
        Some(404) => Failure::NotFound { what, name: name.to_owned() },
        Some(_) | None => error.into(),
    })
}

/// Operations, newest first. The next page is asked for by the id of the last one: a link in the
/// answer could lead elsewhere, with our token.
pub async fn operations(
    session: &Session,
    filters: &[(&str, String)],
    limit: usize,
) -> Result<Vec<Value>, Failure> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let missing = limit.saturating_sub(all.len()).min(PAGE);
        if missing == 0 {
            return Ok(all);
        }
        let mut pairs = filters.to_vec();
        pairs.push(("limit", missing.to_string()));
        let marker = all.last().and_then(|last| last.get("id")?.as_str()).map(str::to_owned);
        pairs.extend(marker.clone().map(|marker| ("marker", marker)));
        let path = format!("/operations{}", query(&pairs));
        let value: Value = session.get(Service::Native, &path).await.map_err(known)?;
        let more = value.get("next").is_some_and(|next| !next.is_null());
        let page = items(session, value, "operations")?;
        let last = page.last().and_then(|last| last.get("id")?.as_str()).map(str::to_owned);
        all.extend(page);
        if !more || last.is_none() || last == marker {
            return Ok(all);
        }
    }
}

fn operation_path(id: &str) -> String {
    format!("/operations/{}", encode(id))
}

/// One operation with its steps.
pub async fn operation(session: &Session, id: &str) -> Result<Map<String, Value>, Failure> {
    let outcome = session.get::<Value>(Service::Native, &operation_path(id)).await;
    Ok(inner(session, found(outcome, ("operation", id))?, "operation")?)
}

/// One operation as far as waiting needs it.
pub async fn state(session: &Session, id: &str) -> Result<Operation, ClientError> {
    let one = session.get::<One>(Service::Native, &operation_path(id)).await;
    one.map(|one| one.operation)
}

/// Cancels an operation; how it is then.
pub async fn cancel(session: &Session, id: &str) -> Result<Operation, Failure> {
    let path = format!("{}/cancel", operation_path(id));
    let answer = session.call(Service::Native, Method::POST, &path, None).await;
    let answer = found(answer, ("operation", id))?;
    Ok(session.json::<One>(Service::Native, &answer)?.operation)
}

/// Compute hosts.
pub async fn hosts(session: &Session) -> Result<Vec<Value>, Failure> {
    let value: Value = session.get(Service::Native, "/hosts").await.map_err(known)?;
    Ok(items(session, value, "hosts")?)
}

fn host_path(name: &str) -> String {
    format!("/hosts/{}", encode(name))
}

fn host_in(session: &Session, value: Value) -> Result<Map<String, Value>, ClientError> {
    inner(session, value, "host")
}

/// One compute host, for waiting.
pub async fn host_now(session: &Session, name: &str) -> Result<Map<String, Value>, ClientError> {
    host_in(session, session.get(Service::Native, &host_path(name)).await?)
}

/// One compute host.
pub async fn host(session: &Session, name: &str) -> Result<Map<String, Value>, Failure> {
    found(host_now(session, name).await, ("host", name))
}

/// Lets no new servers come to a host.
pub async fn drain(
    session: &Session,
    name: &str,
    reason: Option<&str>,
) -> Result<Map<String, Value>, Failure> {
    let body = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
    change(session, name, ("drain", Some(&body))).await
}

/// Lets new servers come to a host again.
pub async fn enable(session: &Session, name: &str) -> Result<Map<String, Value>, Failure> {
    change(session, name, ("enable", None)).await
}

async fn change(
    session: &Session,
    name: &str,
    verb: (&str, Option<&Value>),
) -> Result<Map<String, Value>, Failure> {
    let answer = post(session, name, verb).await?;
    Ok(host_in(session, session.json(Service::Native, &answer)?)?)
}

/// What is done to all servers of a host.
#[derive(Debug, Clone, Copy)]
pub enum OfAll {
    /// Suspend those that are ACTIVE, because the host goes down.
    Suspend,
    /// Resume those that were suspended so.
    Resume,
}

/// What was asked of the servers of a host.
#[derive(Debug)]
pub struct Asked {
    /// The host afterwards.
    pub host: Map<String, Value>,
    /// How many operations were accepted.
    pub accepted: usize,
    /// Servers that it was refused for, and why.
    pub refused: Vec<(String, String)>,
}

/// Asks something of all servers of a host.
pub async fn of_all(session: &Session, name: &str, what: OfAll) -> Result<Asked, Failure> {
    #[derive(Deserialize)]
    struct Body {
        host: Map<String, Value>,
        operations: Vec<Value>,
        refused: Vec<Refused>,
    }
    #[derive(Deserialize)]
    struct Refused {
        server_id: String,
        message: String,
    }
    let verb = match what {
        OfAll::Suspend => "suspend",
        OfAll::Resume => "resume",
    };
    let answer = post(session, name, (verb, None)).await?;
    let body: Body = session.json(Service::Native, &answer)?;
    let refused = body.refused.into_iter().map(|one| (one.server_id, one.message));
    Ok(Asked { host: body.host, accepted: body.operations.len(), refused: refused.collect() })
}

async fn post(
    session: &Session,
    name: &str,
    (verb, body): (&str, Option<&Value>),
) -> Result<Answer, Failure> {
    let path = format!("{}/{verb}", host_path(name));
    let answer = session.call(Service::Native, Method::POST, &path, body).await;
    found(answer, ("host", name))
}
