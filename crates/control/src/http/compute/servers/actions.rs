//! `POST /servers/{id}/action`: which action a body asks for (spec/states.md sections 2 and 4).
//!
//! The body has exactly one key, the name of the action. Names that Nova knows and this service
//! does not do are refused with 501 where Nova would accept them ([`foreign`]), so that a client can
//! tell "not here" from "no such thing" and "not now".

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::foreign::ForeignAction;
use reprieve_core::{Lock, OperationKind, VmState};
use serde_json::{Value, json};

use super::super::call::ApiCall;
use super::super::fault::{Answer, ApiFault, empty_answer, json_answer};
use super::super::policy::{self, Rule};
use super::super::schema::servers as schema;
use super::super::schema::types::as_integer;
use super::super::versioned::{Versions, rules};
use super::{consoles, foreign};
use crate::app::AppError;
use crate::app::secret::Password;
use crate::app::servers::{self, RescueRequest};

/// What a name asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// An operation without arguments; Nova does not look at the value.
    Plain(OperationKind, Rule),
    Reboot,
    Rescue,
    Lock,
    Unlock,
    ConsoleOutput,
    ResetState,
    /// A remote console; the type is in the body.
    Console,
    /// Nova's, not ours.
    Foreign(ForeignAction),
    /// Removed from Nova for good.
    Gone,
}

/// Action, and the versions in which it exists.
fn action(name: &str) -> Option<(Action, Versions)> {
    use OperationKind as K;
    const ALWAYS: Versions = Versions::ALWAYS;
    Some(match name {
        "pause" => (Action::Plain(K::Pause, policy::PAUSE), ALWAYS),
        "unpause" => (Action::Plain(K::Unpause, policy::UNPAUSE), ALWAYS),
        "suspend" => (Action::Plain(K::Suspend, policy::SUSPEND), ALWAYS),
        "resume" => (Action::Plain(K::Resume, policy::RESUME), ALWAYS),
        "unrescue" => (Action::Plain(K::Unrescue, policy::UNRESCUE), ALWAYS),
        "os-start" => (Action::Plain(K::Start, policy::SERVERS_START), ALWAYS),
        "os-stop" => (Action::Plain(K::Stop, policy::SERVERS_STOP), ALWAYS),
        "forceDelete" => (Action::Plain(K::Delete, policy::FORCE_DELETE), ALWAYS),
        "reboot" => (Action::Reboot, ALWAYS),
        "rescue" => (Action::Rescue, ALWAYS),
        "lock" => (Action::Lock, ALWAYS),
        "unlock" => (Action::Unlock, ALWAYS),
        "os-getConsoleOutput" => (Action::ConsoleOutput, ALWAYS),
        "os-resetState" => (Action::ResetState, ALWAYS),
        "os-getVNCConsole" | "os-getSPICEConsole" | "os-getRDPConsole" | "os-getSerialConsole" => {
            (Action::Console, Versions::until(5))
        }
        "resetNetwork" => (Action::Gone, ALWAYS),
        other => {
            let action = ForeignAction::parse(other)?;
            (Action::Foreign(action), foreign::versions(action))
        }
    })
}

/// `POST /servers/{id}/action`.
pub async fn act(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.raw_body();
    let malformed = || ApiFault::bad_request("Malformed request body");
    let fields = match &body {
        Value::Object(fields) => fields,
        // A body that says null is a resource that does not exist, for Nova.
        Value::Null if call.has_body() => return Err(ApiFault::no_resource()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(malformed());
        }
    };
    let mut names = fields.keys();
    let (Some(name), None) = (names.next(), names.next()) else { return Err(malformed()) };
    let (action, versions) = action(name)
        .ok_or_else(|| ApiFault::bad_request(format!("There is no such action: {name}")))?;
    call.notes.action(name);
    call.require(versions)?;
    match action {
        Action::Plain(kind, rule) => plain(&call, &id, (kind, rule)).await,
        Action::Reboot => reboot(&call, &id).await,
        Action::Rescue => rescue(&call, &id).await,
        Action::Lock => lock(&call, &id).await,
        Action::Unlock => {
            let server = call.server(&id, policy::UNLOCK).await?;
            servers::unlock(&call.app(), server.id).await?;
            Ok(empty_answer(StatusCode::ACCEPTED))
        }
        Action::ConsoleOutput => console_output(&call, &id).await,
        Action::ResetState => reset_state(&call, &id).await,
        Action::Console => consoles::act(&call, &id, name).await,
        Action::Foreign(action) => foreign::refuse(&call, &id, action).await,
        Action::Gone => {
            let text = "The requested resource is no longer available at this server.";
            Err(ApiFault::new(StatusCode::GONE, text))
        }
    }
}

async fn plain(call: &ApiCall, id: &str, (kind, rule): (OperationKind, Rule)) -> Answer {
    let needs_host = matches!(kind, OperationKind::Start | OperationKind::Stop);
    call.run(id, (kind, rule), move |server, is_admin| {
        let locked = server.lock != Lock::Unlocked && !is_admin;
        if needs_host && server.host.is_none() && !locked {
            return Err(AppError::Conflict(format!("Instance {} is not ready", server.id)));
        }
        Ok(())
    })
    .await?;
    Ok(empty_answer(StatusCode::ACCEPTED))
}

async fn reboot(call: &ApiCall, id: &str) -> Answer {
    let body = call.body(&schema::REBOOT)?;
    let hard = body
        .pointer("/reboot/type")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.eq_ignore_ascii_case("hard"));
    let kind = if hard { OperationKind::RebootHard } else { OperationKind::RebootSoft };
    plain(call, id, (kind, policy::SERVERS_REBOOT)).await
}

/// 200 although it only begins, as in Nova: the answer carries the password.
async fn rescue(call: &ApiCall, id: &str) -> Answer {
    let body = call.body(&schema::RESCUE)?;
    let text = |name: &str| body.get("rescue")?.get(name)?.as_str().map(str::to_owned);
    let request = RescueRequest {
        admin_password: text("adminPass").map(Password::from),
        image: text("rescue_image_ref"),
    };
    let server = call.server(id, policy::RESCUE).await?;
    let password = servers::rescue(&call.app(), server.id, request).await?;
    Ok(json_answer(StatusCode::OK, &json!({"adminPass": password.reveal()})))
}

async fn lock(call: &ApiCall, id: &str) -> Answer {
    let body = call.body(&schema::LOCK)?;
    let reason = call
        .applies(rules::LOCKS_HAVE_REASONS)
        .then(|| body.pointer("/lock/locked_reason")?.as_str().map(str::to_owned))
        .flatten();
    let server = call.server(id, policy::LOCK).await?;
    servers::lock(&call.app(), server.id, reason).await?;
    Ok(empty_answer(StatusCode::ACCEPTED))
}

async fn console_output(call: &ApiCall, id: &str) -> Answer {
    let body = call.body(&schema::CONSOLE_OUTPUT)?;
    let length = body.pointer("/os-getConsoleOutput/length").and_then(as_integer);
    let server = call.server(id, policy::CONSOLE_OUTPUT).await?;
    // -1 is all of it.
    let lines = length.and_then(|length| u64::try_from(length).ok());
    let output = servers::console_log(&call.app(), server.id, lines).await?;
    Ok(json_answer(StatusCode::OK, &json!({"output": output})))
}

async fn reset_state(call: &ApiCall, id: &str) -> Answer {
    let body = call.body(&schema::RESET_STATE)?;
    let state = match body.pointer("/os-resetState/state").and_then(Value::as_str) {
        Some("active") => VmState::Active,
        _ => VmState::Error,
    };
    let server = call.server(id, policy::RESET_STATE).await?;
    servers::reset_state(&call.app(), server.id, state).await?;
    Ok(empty_answer(StatusCode::ACCEPTED))
}
