//! Operations across servers: for those who want to know what is going on.

use reprieve_core::OperationId;
use reprieve_store::{OperationQuery, OperationRecord, StepRecord};

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
    let store = &call.control.store;
    let unknown = || AppError::NotFound(format!("Operation {id} could not be found."));
    let operation = store.operation(id).await?.ok_or_else(unknown)?;
    let server = store.instance(operation.instance_id).await?.ok_or_else(unknown)?;
    if !call.is_admin() && server.project_id != call.auth.project_id {
        return Err(unknown());
    }
    let steps = store.steps_of(id).await?;
    Ok((operation, steps))
}
