//! Server groups: servers that should share a host, or should not.

use reprieve_core::ServerGroupId;
use reprieve_core::group::GroupPolicy;
use reprieve_store::{NewServerGroup, ServerGroupRecord, StoreError};

use super::{AppError, Call};

/// 404 in Nova's words.
#[must_use]
pub fn not_found(id: &str) -> AppError {
    AppError::NotFound(format!("Instance group {id} could not be found."))
}

/// Records a group of the caller's project.
///
/// # Errors
/// [`AppError::QuotaExceeded`].
pub async fn create(
    call: &Call<'_>,
    name: String,
    (policy, max_per_host): (GroupPolicy, Option<u32>),
) -> Result<ServerGroupRecord, AppError> {
    let new = NewServerGroup {
        project_id: call.auth.project_id.clone(),
        user_id: call.auth.user_id.clone(),
        name,
        policy,
        max_per_host,
    };
    Ok(call.control.store.create_server_group(new).await?)
}

/// One group, of any project: whether the caller may see it is a rule's business.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn get(call: &Call<'_>, id: &str) -> Result<ServerGroupRecord, AppError> {
    let parsed: ServerGroupId = id.parse().map_err(|_| not_found(id))?;
    call.control.store.server_group(parsed).await?.ok_or_else(|| not_found(id))
}

/// Groups of the caller's project, or of all.
///
/// # Errors
/// [`AppError::Internal`].
pub async fn list(call: &Call<'_>, all: bool) -> Result<Vec<ServerGroupRecord>, AppError> {
    let project = (!all).then_some(&call.auth.project_id);
    Ok(call.control.store.server_groups(project).await?)
}

/// Removes a group. Its servers stay where they are.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn delete(call: &Call<'_>, id: ServerGroupId) -> Result<(), AppError> {
    call.control.store.delete_server_group(id).await.map_err(|error| match error {
        StoreError::NotFound { .. } => not_found(&id.to_string()),
        other => other.into(),
    })
}
