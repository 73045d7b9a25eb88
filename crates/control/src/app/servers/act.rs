//! Operations on an existing server.

use std::time::Duration;

use reprieve_core::message::{HostRequest, HostResponse};
use reprieve_core::policy::rules;
use reprieve_core::{Admission, InstanceId, Lock, OperationKind, VmState};
use reprieve_store::{
    Admitted, Condition, HandOver, InstanceRecord, NewOperation, Refusal, StoreError,
};

use super::super::{AppError, Call};
use super::{Sight, get};

/// How long a host may take to read the end of a console log.
const CONSOLE_DEADLINE: Duration = Duration::from_secs(10);
/// Most of a console log that is shown.
const CONSOLE_BYTES: u64 = 100 * 1024;

/// Accepts an operation without arguments: everything but create and rescue.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::Denied`] when the state machine says no.
pub async fn run(call: &Call<'_>, id: InstanceId, kind: OperationKind) -> Result<(), AppError> {
    run_if(call, id, kind, |_| Ok(())).await
}

/// [`run`], if also something else is true of the server.
///
/// # Errors
/// As [`run`], and that of the condition, which is looked at before the state machine.
pub async fn run_if<F>(
    call: &Call<'_>,
    id: InstanceId,
    kind: OperationKind,
    condition: F,
) -> Result<(), AppError>
where
    F: Fn(&InstanceRecord) -> Result<(), AppError> + Send + Sync + 'static,
{
    let sight = Sight::of(call);
    let condition = Condition::new(move |server| {
        let seen = if sight.covers(server) { Ok(()) } else { Err(AppError::no_server(id)) };
        seen.and_then(|()| condition(server)).map_err(Refusal::from)
    });
    let args = reprieve_core::message::OperationArgs::default();
    accept(call, id, kind, (args, condition)).await?;
    Ok(())
}

/// Records an operation, and wakes the dispatcher.
pub(super) async fn accept(
    call: &Call<'_>,
    id: InstanceId,
    kind: OperationKind,
    (args, condition): (reprieve_core::message::OperationArgs, Condition),
) -> Result<Admitted, AppError> {
    if kind == OperationKind::Delete && call.deadline.is_some() {
        // Whoever gave it up could not say what is left.
        let text = "A delete has no deadline: what is deleted already cannot be brought back.";
        return Err(AppError::BadRequest(text.to_owned()));
    }
    let new = NewOperation {
        instance_id: id,
        kind,
        args,
        caller: call.caller(),
        by: call.action(),
        hand_over: HandOver::Caller,
        condition,
        deadline: call.deadline,
    };
    let mut admitted = call.control.store.admit(new).await.map_err(|error| gone(error, id))?;
    match admitted.command.take() {
        Some(command) => call.control.hand_overs.push(*command),
        None => call.control.wake_dispatcher.notify_one(),
    }
    let operation = admitted.operation.as_ref().map(|operation| operation.id.to_string());
    let request_id = call.request_id.as_str();
    match admitted.admission {
        Admission::Start => {
            tracing::info!(request_id, server = %id, operation, "{kind} accepted");
        }
        Admission::Supersede(active) => {
            tracing::info!(
                request_id, server = %id, operation, "{kind} accepted, {active} is stopped for it"
            );
        }
        Admission::AlreadyUnderWay => {
            tracing::info!(request_id, server = %id, "{kind} is under way already");
        }
    }
    Ok(admitted)
}

/// A server that went away between two looks is simply not found.
fn gone(error: StoreError, id: InstanceId) -> AppError {
    match error {
        StoreError::NotFound { .. } => AppError::no_server(id),
        other => other.into(),
    }
}

/// Who the caller is with respect to locks: the owner's project, or an administrator of another.
fn lock_of(call: &Call<'_>, server: &InstanceRecord) -> Lock {
    if server.project_id == call.auth.project_id { Lock::Owner } else { Lock::Admin }
}

/// Locks a server. Locking a locked one again changes nothing, except for administrators.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn lock(call: &Call<'_>, id: InstanceId, reason: Option<String>) -> Result<(), AppError> {
    let server = get(call, id).await?;
    let lock = lock_of(call, &server);
    if server.lock != Lock::Unlocked && lock == Lock::Owner {
        return Ok(());
    }
    let stored = call.control.store.set_lock(id, lock, reason, &call.action()).await;
    stored.map_err(|error| gone(error, id))?;
    tracing::info!(request_id = call.request_id.as_str(), server = %id, "locked");
    Ok(())
}

/// Unlocks a server.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::Forbidden`] when somebody else locked it and the caller may
/// not override that.
pub async fn unlock(call: &Call<'_>, id: InstanceId) -> Result<(), AppError> {
    let server = get(call, id).await?;
    let expected = server.lock == Lock::Unlocked || server.lock == lock_of(call, &server);
    if !expected {
        call.require(rules::UNLOCK_OVERRIDE, &server)?;
    }
    let stored = call.control.store.set_lock(id, Lock::Unlocked, None, &call.action()).await;
    stored.map_err(|error| gone(error, id))?;
    tracing::info!(request_id = call.request_id.as_str(), server = %id, "unlocked");
    Ok(())
}

/// `os-resetState` to ACTIVE or ERROR.
///
/// # Errors
/// [`AppError::NotFound`], [`AppError::Forbidden`].
pub async fn reset_state(call: &Call<'_>, id: InstanceId, state: VmState) -> Result<(), AppError> {
    let server = get(call, id).await?;
    call.require(rules::RESET_STATE, &server)?;
    let stored = call.control.store.reset_state(id, state, &call.action()).await;
    stored.map_err(|error| gone(error, id))?;
    tracing::warn!(request_id = call.request_id.as_str(), server = %id, %state, "state reset");
    Ok(())
}

/// The last `lines` pieces of the console log, `None` = all of the last 100 KiB.
///
/// # Errors
/// [`AppError::NotFound`] when the server or its console is not there, [`AppError::Conflict`] when
/// it has no host yet.
pub async fn console_log(
    call: &Call<'_>,
    id: InstanceId,
    lines: Option<u64>,
) -> Result<String, AppError> {
    let server = get(call, id).await?;
    let Some(host) = &server.host else {
        return Err(AppError::Conflict(format!("Instance {id} is not ready")));
    };
    let no_console = || AppError::NotFound("Guest does not have a console available.".to_owned());
    match server.vm_state {
        VmState::Suspended | VmState::Stopped | VmState::Deleted => return Err(no_console()),
        VmState::Building
        | VmState::Active
        | VmState::Paused
        | VmState::Rescued
        | VmState::Error => {}
    }
    let question = HostRequest::ConsoleLog { instance_id: id, max_bytes: CONSOLE_BYTES };
    let answer = call.control.bus.request(host, &question, CONSOLE_DEADLINE).await;
    let answer = answer.map_err(|error| {
        tracing::warn!(request_id = call.request_id.as_str(), server = %id, %error, "no answer");
        AppError::Conflict(format!("Compute service of {host} is unavailable at this time."))
    })?;
    match answer {
        HostResponse::ConsoleLog { text } => Ok(tail(&text, lines)),
        HostResponse::NoConsole => Err(no_console()),
        HostResponse::Failed { message } => {
            Err(AppError::Internal { what: "reading a console log", source: message.into() })
        }
        HostResponse::Diagnostics { .. }
        | HostResponse::Console { .. }
        | HostResponse::NotRunning { .. }
        | HostResponse::Noted => {
            let source = "it answered another question".into();
            Err(AppError::Internal { what: "reading a console log", source })
        }
    }
}

/// The end of a console log as Nova counts it: pieces between line feeds, a trailing line feed
/// opening an empty last piece; without control characters.
fn tail(text: &str, lines: Option<u64>) -> String {
    let clean: String = text
        .chars()
        .filter(|character| !matches!(character, '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}'))
        .collect();
    let Some(lines) = lines else { return clean };
    let count = usize::try_from(lines).unwrap_or(usize::MAX);
    let pieces: Vec<&str> = clean.split('\n').collect();
    let from = pieces.len().saturating_sub(count);
    pieces.get(from..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::tail;

    #[test]
    fn pieces_of_a_console_log() {
        let text = "one\r\ntwo\u{1b}[0m\nthree\n";
        assert_eq!(tail(text, None), "one\ntwo[0m\nthree\n");
        assert_eq!(tail(text, Some(0)), "");
        assert_eq!(tail(text, Some(1)), "");
        assert_eq!(tail(text, Some(2)), "three\n");
        assert_eq!(tail(text, Some(99)), "one\ntwo[0m\nthree\n");
    }
}
