//! Compute hosts, for those who look after them.

use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::HostName;
use reprieve_core::policy::rules;
use reprieve_store::HostRecord;
use serde_json::{Value, json};

use super::fault::{Answer, Fault};
use super::view::{HOST, HostNow, show};
use super::{Caller, reply};
use crate::app::hosts::{self, Carrying};
use crate::app::servers::{self, AskedForHost};
use crate::http::body;

/// Largest body, in bytes.
const BODY_LIMIT: usize = 8 * 1024;
/// Longest reason in characters, as Nova has it.
const MAX_REASON: usize = 255;

/// `GET /hosts`.
pub async fn index(caller: Caller) -> Answer {
    caller.check_query(&[])?;
    caller.app().require_own(rules::SERVICES)?;
    let hosts = hosts::list_carrying(&caller.control).await?;
    let hosts: Vec<Value> = hosts.into_iter().map(|host| view(&caller, host)).collect();
    Ok(reply::json(StatusCode::OK, &json!({ "hosts": hosts })))
}

/// `GET /hosts/{name}`.
pub async fn one(caller: Caller, Path(name): Path<String>) -> Answer {
    caller.check_query(&[])?;
    caller.app().require_own(rules::SERVICES)?;
    let host = hosts::show_carrying(&caller.control, &host_name(&name)?).await?;
    Ok(answer(&caller, host))
}

/// `POST /hosts/{name}/drain`.
pub async fn drain(caller: Caller, Path(name): Path<String>, body: Body) -> Answer {
    caller.check_query(&[])?;
    caller.app().require_own(rules::SERVICES_UPDATE)?;
    let name = host_name(&name)?;
    let reason = reason(&body::read(body, BODY_LIMIT).await?)?;
    let host = hosts::accept_servers(&caller.app(), &name, (false, reason)).await?;
    Ok(answer(&caller, host))
}

/// `POST /hosts/{name}/enable`.
pub async fn enable(caller: Caller, Path(name): Path<String>) -> Answer {
    caller.check_query(&[])?;
    caller.app().require_own(rules::SERVICES_UPDATE)?;
    let host = hosts::accept_servers(&caller.app(), &host_name(&name)?, (true, None)).await?;
    Ok(answer(&caller, host))
}

/// `POST /hosts/{name}/suspend`.
pub async fn suspend(caller: Caller, Path(name): Path<String>) -> Answer {
    let name = permitted(&caller, &name).await?.name;
    let asked = servers::suspend_for_host(&caller.app(), &name).await?;
    answer_asked(&caller, &name, &asked).await
}

/// `POST /hosts/{name}/resume`.
pub async fn resume(caller: Caller, Path(name): Path<String>) -> Answer {
    let host = permitted(&caller, &name).await?;
    if !host.enabled {
        let text = format!("Host {} is closed, perhaps to go down: enable it first.", host.name);
        return Err(Fault::new(StatusCode::CONFLICT, text));
    }
    let name = host.name;
    let asked = servers::resume_for_host(&caller.app(), &name).await?;
    answer_asked(&caller, &name, &asked).await
}

/// The host, if the caller may do something about all of its servers.
async fn permitted(caller: &Caller, name: &str) -> Result<HostRecord, Fault> {
    caller.check_query(&[])?;
    caller.app().require_own(rules::SERVICES_UPDATE)?;
    Ok(hosts::show_carrying(&caller.control, &host_name(name)?).await?.host)
}

/// What was asked of the servers, and how the host is now.
async fn answer_asked(caller: &Caller, name: &HostName, asked: &AskedForHost) -> Answer {
    let host = view(caller, hosts::show_carrying(&caller.control, name).await?);
    let operations = asked.operations.iter();
    let operations = operations.map(|(server, id)| json!({"id": id, "server_id": server}));
    let refused = asked.refused.iter();
    let refused = refused.map(|(server, why)| json!({"server_id": server, "message": why}));
    let body = json!({
        "host": host,
        "operations": operations.collect::<Vec<_>>(),
        "refused": refused.collect::<Vec<_>>(),
    });
    Ok(reply::json(StatusCode::ACCEPTED, &body))
}

fn view(caller: &Caller, carrying: Carrying) -> Value {
    let now = caller.control.clock.now();
    show(HOST, &HostNow { carrying, now }, caller.sight()).into()
}

fn answer(caller: &Caller, host: Carrying) -> axum::response::Response {
    reply::json(StatusCode::OK, &json!({"host": view(caller, host)}))
}

/// No host is called like that when it cannot be.
fn host_name(text: &str) -> Result<HostName, Fault> {
    if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
        let text: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
        return Err(Fault::not_found(format!("Compute host {text} could not be found.")));
    }
    Ok(HostName::from(text))
}

/// Schema of the body of a drain.
pub fn drain_schema() -> Value {
    json!({
        "type": "object",
        "properties": {"reason": {
            "type": "string", "minLength": 1, "maxLength": MAX_REASON,
            "description": "Why; shown with the host. Without one, what was said before stays; else it is \
                'drained'.",
        }},
        "additionalProperties": false,
    })
}

/// The reason in a body, which may be empty.
fn reason(bytes: &[u8]) -> Result<Option<String>, Fault> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let malformed = || Fault::bad_request("The body has to be a JSON object.");
    let Ok(Value::Object(fields)) = serde_json::from_slice(bytes) else { return Err(malformed()) };
    if fields.keys().any(|name| name != "reason") {
        return Err(Fault::bad_request("The body may have 'reason' and nothing else."));
    }
    match fields.get("reason") {
        None => Ok(None),
        Some(Value::String(text)) if is_reason(text) => Ok(Some(text.clone())),
        Some(_) => Err(Fault::bad_request(format!(
            "'reason' has to be a text of 1 to {MAX_REASON} characters in one line."
        ))),
    }
}

fn is_reason(text: &str) -> bool {
    (1..=MAX_REASON).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        let longest = "x".repeat(MAX_REASON);
        for (body, expected) in [
            (String::new(), None),
            ("{}".to_owned(), None),
            (json!({"reason": "new memory"}).to_string(), Some("new memory")),
            (json!({"reason": longest}).to_string(), Some(longest.as_str())),
        ] {
            assert_eq!(reason(body.as_bytes()).unwrap().as_deref(), expected, "{body}");
        }
        for bad in [
            json!({"reason": ""}),
            json!({"reason": "x".repeat(MAX_REASON + 1)}),
            json!({"reason": "a\nb"}),
            json!({"reason": "a\u{0}"}),
            json!({"reason": 1}),
            json!({"why": "x"}),
            json!([]),
        ] {
            assert!(reason(bad.to_string().as_bytes()).is_err(), "{bad}");
        }
        assert!(reason("[".repeat(5000).as_bytes()).is_err());
    }
}
