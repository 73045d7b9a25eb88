//! Listing servers.

use reprieve_store::{InstanceQuery, InstanceRecord};

use super::super::{AppError, Call};

/// What to list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListServers {
    /// Filter, order, page. `filter.project_id` counts with `all_tenants` only.
    pub query: InstanceQuery,
    /// Of all projects (administrators).
    pub all_tenants: bool,
    /// Whether details are asked for; names the policy rule in a refusal.
    pub detail: bool,
}

/// Servers of the caller's project, or of all for administrators who ask for it.
///
/// # Errors
/// [`AppError::Forbidden`] for `all_tenants` without being an administrator,
/// [`AppError::BadRequest`] for an unknown marker or a bad regular expression.
pub async fn list(
    _call: &Call<'_>,
    _list: ListServers,
) -> Result<Vec<InstanceRecord>, AppError> {
    Err(AppError::BadRequest("unfinished".into()))
}
