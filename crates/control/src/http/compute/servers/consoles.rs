//! Remote consoles (spec/api.md section 14). Guests have a serial console with a log and no display,
//! and nothing here passes a console on to a browser: every kind is unavailable, and no token for
//! one was ever given out.

use axum::extract::Path;
use reprieve_core::TaskState;
use serde_json::Value;

use super::super::call::ApiCall;
use super::super::fault::{Answer, ApiFault};
use super::super::policy;
use super::super::schema::{Family, small as schema};
use super::super::versioned::rules;

/// What webob says of a request that is wrong in no particular way.
const BAD_REQUEST: &str = "The server could not comply with the request since it is either \
                           malformed or otherwise incorrect.";
/// A protocol that Nova speaks no more, whatever the type.
const RDP: &str = "rdp";

/// `POST /servers/{id}/remote-consoles`.
pub async fn create(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::REMOTE_CONSOLE)?;
    let text = |name: &str| body.get("remote_console")?.get(name)?.as_str();
    let protocol = text("protocol").unwrap_or_default();
    let kind = text("type").unwrap_or_default();
    unavailable(&call, &id, (protocol, kind)).await
}

/// `{"os-getVNCConsole": {"type": …}}` and its like, until 2.5.
pub(super) async fn act(call: &ApiCall, id: &str, action: &str) -> Answer {
    let (protocol, family): (&str, &Family) = match action {
        "os-getVNCConsole" => ("vnc", &schema::VNC_CONSOLE),
        "os-getSPICEConsole" => ("spice", &schema::SPICE_CONSOLE),
        "os-getRDPConsole" => (RDP, &schema::RDP_CONSOLE),
        _ => ("serial", &schema::SERIAL_CONSOLE),
    };
    let body = call.body(family)?;
    let kind = body.get(action).and_then(|options| options.get("type")).and_then(Value::as_str);
    unavailable(call, id, (protocol, kind.unwrap_or_default())).await
}

async fn unavailable(call: &ApiCall, id: &str, (protocol, kind): (&str, &str)) -> Answer {
    let server = call.server(id, policy::REMOTE_CONSOLES).await?;
    let kind = if protocol == RDP { RDP } else { kind };
    let refused = ApiFault::bad_request(format!("Unavailable console type {kind}."));
    if protocol == RDP {
        return Err(refused);
    }
    if server.host.is_none() {
        return Err(ApiFault::conflict(format!("Instance {id} is not ready")));
    }
    match server.task_state {
        Some(task @ TaskState::Deleting) => Err(ApiFault::conflict(format!(
            "Cannot 'get_{protocol}_console' instance {id} while it is in task_state {}",
            task.as_str()
        ))),
        _ => Err(refused),
    }
}

/// `GET /os-console-auth-tokens/{token}`: for old clients of a kind of console that is gone.
pub async fn token(call: ApiCall, Path(_): Path<String>) -> Answer {
    if call.applies(rules::CONSOLE_TOKENS_ARE_OF_RDP) {
        return Err(ApiFault::bad_request(BAD_REQUEST));
    }
    call.authorize(policy::CONSOLE_TOKENS)?;
    Err(ApiFault::not_found("Token not found"))
}
