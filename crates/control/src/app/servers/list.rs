//! Listing servers.

use reprieve_core::policy::rules;
use reprieve_store::{InstancePage, InstanceQuery, StoreError};

use super::super::{AppError, Call};

/// What to list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListServers {
    /// Filter, order, page. `filter.project_id` counts with `all_tenants` only.
    pub query: InstanceQuery,
    /// Of all projects, if the caller may.
    pub all_tenants: bool,
    /// Whether details are asked for; names the policy rule in a refusal.
    pub detail: bool,
}

/// Servers of the caller's project, or of all if it asks for them and may.
///
/// # Errors
/// [`AppError::Forbidden`] for `all_tenants` if the caller may not,
/// [`AppError::BadRequest`] for an unknown marker or a bad regular expression.
pub async fn list(call: &Call<'_>, list: ListServers) -> Result<InstancePage, AppError> {
    let ListServers { mut query, all_tenants, detail } = list;
    if all_tenants {
        let rule = if detail { rules::SERVERS_DETAIL_ALL } else { rules::SERVERS_INDEX_ALL };
        call.require_own(rule)?;
    } else {
        query.filter.project_id = Some(call.auth.project_id.clone());
    }
    call.control.store.instances(&query).await.map_err(|error| match error {
        StoreError::NotFound { id, .. } => AppError::BadRequest(format!("marker [{id}] not found")),
        other => other.into(),
    })
}
