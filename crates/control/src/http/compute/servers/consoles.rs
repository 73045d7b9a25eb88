//! Remote consoles (spec/api.md section 14): a URL for a client, and for administrators what its
//! token leads to.

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::console::{ConsoleKind, ConsoleProtocol};
use serde_json::{Value, json};

use super::super::call::ApiCall;
use super::super::fault::{Answer, ApiFault, json_answer};
use super::super::policy;
use super::super::schema::{Family, small as schema};
use super::super::versioned::{answers, rules};
use crate::app::servers;

/// What webob says of a request that is wrong in no particular way.
const BAD_REQUEST: &str = "The server could not comply with the request since it is either \
                           malformed or otherwise incorrect.";

/// `POST /servers/{id}/remote-consoles`.
pub async fn create(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::REMOTE_CONSOLE)?;
    let text = |name: &str| body.get("remote_console")?.get(name)?.as_str();
    let protocol = text("protocol").and_then(ConsoleProtocol::parse);
    // The schema has let nothing else through.
    let protocol = protocol.ok_or_else(ApiFault::internal)?;
    let (kind, url) = open(&call, &id, (protocol, text("type"))).await?;
    let console = json!({"protocol": protocol.as_str(), "type": kind.as_str(), "url": url});
    Ok(json_answer(StatusCode::OK, &json!({"remote_console": console})))
}

/// `{"os-getVNCConsole": {"type": …}}` and its like, until 2.5.
pub(super) async fn act(call: &ApiCall, id: &str, action: &str) -> Answer {
    let (protocol, family): (ConsoleProtocol, &Family) = match action {
        "os-getVNCConsole" => (ConsoleProtocol::Vnc, &schema::VNC_CONSOLE),
        "os-getSPICEConsole" => (ConsoleProtocol::Spice, &schema::SPICE_CONSOLE),
        "os-getRDPConsole" => (ConsoleProtocol::Rdp, &schema::RDP_CONSOLE),
        _ => (ConsoleProtocol::Serial, &schema::SERIAL_CONSOLE),
    };
    let body = call.body(family)?;
    let kind = body.get(action).and_then(|options| options.get("type")).and_then(Value::as_str);
    let (kind, url) = open(call, id, (protocol, kind)).await?;
    Ok(json_answer(StatusCode::OK, &json!({"console": {"type": kind.as_str(), "url": url}})))
}

async fn open(
    call: &ApiCall,
    id: &str,
    (protocol, kind): (ConsoleProtocol, Option<&str>),
) -> Result<(ConsoleKind, String), ApiFault> {
    let kind = kind.and_then(ConsoleKind::parse).ok_or_else(ApiFault::internal)?;
    let server = call.server(id, policy::REMOTE_CONSOLES).await?;
    let url = servers::open_console(&call.app(), &server, (protocol, kind)).await?;
    Ok((kind, url.reveal().to_owned()))
}

/// `GET /os-console-auth-tokens/{token}`: where a proxy finds the console. Until 2.30 that was for a
/// kind of console that is gone.
pub async fn token(call: ApiCall, Path(token): Path<String>) -> Answer {
    if call.applies(rules::CONSOLE_TOKENS_ARE_OF_RDP) {
        return Err(ApiFault::bad_request(BAD_REQUEST));
    }
    call.check_query(&schema::CONSOLE_TOKEN)?;
    call.authorize(policy::CONSOLE_TOKENS)?;
    let found = servers::console_of(&call.app(), &token).await?;
    let console = json!({
        "instance_uuid": found.instance,
        "host": found.endpoint.host,
        "port": found.endpoint.port,
        "tls_port": found.endpoint.tls_port,
        "internal_access_path": found.endpoint.path,
    });
    let console = call.as_asked(&answers::CONSOLE_TOKEN, &(), console);
    Ok(json_answer(StatusCode::OK, &json!({"console": console})))
}
