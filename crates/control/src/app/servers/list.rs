//! Listing servers.

use reprieve_store::{InstanceQuery, InstanceRecord, StoreError};

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
pub async fn list(call: &Call<'_>, list: ListServers) -> Result<Vec<InstanceRecord>, AppError> {
    let ListServers { mut query, all_tenants, detail } = list;
    if all_tenants {
        if !call.auth.is_admin() {
            let view = if detail { "detail" } else { "index" };
            let rule = format!("os_compute_api:servers:{view}:get_all_tenants");
            return Err(AppError::policy(&rule));
        }
    } else {
        query.filter.project_id = Some(call.auth.project_id.clone());
    }
    let page = call.control.store.instances(&query).await.map_err(|error| match error {
        StoreError::NotFound { id, .. } => AppError::BadRequest(format!("marker [{id}] not found")),
        other => other.into(),
    })?;
    Ok(page.instances)
}
