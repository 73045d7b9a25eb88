//! Operations across servers: for those who want to know what is going on, or want it to stop.

use reprieve_core::policy::{Rule, rules};
use reprieve_core::{Denied, Lock, OperationId, OperationKind};
use reprieve_store::{
    CancelOutcome, InstanceRecord, OperationQuery, OperationRecord, StepRecord, StoreError,
};

use super::{AppError, Call};

/// Operations on servers of the caller's project, or of all projects for administrators, newest
/// first.
///
/// # Errors
/// [`AppError::Internal`].
pub async fn list(
    call: &Call<'_>,
    mut query: OperationQuery,
) -> Result<Vec<OperationRecord>, AppError> {
    if !call.is_admin() {
        query.project = Some(call.auth.project_id.clone());
    }
    Ok(call.control.store.operations(&query).await?)
}

/// One operation with the audit of its steps.
///
/// # Errors
/// [`AppError::NotFound`] also for one on a server of another project.
pub async fn show(
    call: &Call<'_>,
    id: OperationId,
) -> Result<(OperationRecord, Vec<StepRecord>), AppError> {
    let (operation, _) = find(call, id).await?;
    let steps = call.control.store.steps_of(id).await?;
    Ok((operation, steps))
}

/// An operation and its server, if the caller may know of them.
async fn find(
    call: &Call<'_>,
    id: OperationId,
) -> Result<(OperationRecord, InstanceRecord), AppError> {
    let store = &call.control.store;
    let operation = store.operation(id).await?.ok_or_else(|| unknown(id))?;
    let server = store.instance(operation.instance_id).await?.ok_or_else(|| unknown(id))?;
    if !call.is_admin() && server.project_id != call.auth.project_id {
        return Err(unknown(id));
    }
    Ok((operation, server))
}

fn unknown(id: OperationId) -> AppError {
    AppError::NotFound(format!("Operation {id} could not be found."))
}

/// Cancels an operation, or has its host asked to ([`reprieve_core::cancel`]). Whoever may ask for an
/// operation on a server may cancel it; a locked server is for administrators.
///
/// # Errors
/// [`AppError::NotFound`], also for one on a server of another project; [`AppError::Forbidden`];
/// [`AppError::Denied`] for a locked server; [`AppError::Conflict`] when it cannot be stopped any
/// more, with what to do instead.
pub async fn cancel(call: &Call<'_>, id: OperationId) -> Result<(), AppError> {
    let (operation, server) = find(call, id).await?;
    if let Some(kind) = operation.kind {
        call.require(rule(kind), &server)?;
    }
    if server.lock != Lock::Unlocked && !call.is_admin() {
        return Err(Denied::Locked { id: server.id }.into());
    }
    let store = &call.control.store;
    let outcome = store.cancel_operation(id).await.map_err(|error| match error {
        StoreError::NotFound { .. } => unknown(id),
        other => other.into(),
    })?;
    let (request_id, server, action) =
        (call.request_id.as_str(), operation.instance_id, &operation.action);
    match outcome {
        CancelOutcome::Refused(why) => Err(AppError::Conflict(format!(
            "Operation {id} ({action}) cannot be cancelled: {why}."
        ))),
        CancelOutcome::Ended(ended) => {
            tracing::info!(request_id, %server, operation = %id, "{action} never began: cancelled");
            call.control.metrics.ended(&ended);
            Ok(())
        }
        CancelOutcome::Asked => {
            tracing::info!(request_id, %server, operation = %id, "{action} is to be stopped");
            call.control.wake_dispatcher.notify_one();
            Ok(())
        }
    }
}

/// The rule that lets somebody ask for an operation.
const fn rule(kind: OperationKind) -> Rule {
    match kind {
        OperationKind::Create => rules::SERVERS_CREATE,
        OperationKind::Delete => rules::SERVERS_DELETE,
        OperationKind::Pause => rules::PAUSE,
        OperationKind::Unpause => rules::UNPAUSE,
        OperationKind::Suspend => rules::SUSPEND,
        OperationKind::Resume => rules::RESUME,
        OperationKind::Rescue => rules::RESCUE,
        OperationKind::Unrescue => rules::UNRESCUE,
        OperationKind::Stop => rules::SERVERS_STOP,
        OperationKind::Start => rules::SERVERS_START,
        OperationKind::RebootSoft | OperationKind::RebootHard => rules::SERVERS_REBOOT,
    }
}
