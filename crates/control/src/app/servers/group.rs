//! The server group that a request for servers names in its scheduler hints.

use std::collections::BTreeMap;

use reprieve_core::ServerGroupId;
use reprieve_core::group::Seating;
use reprieve_store::{SchedulerHints, ServerGroupRecord};
use serde_json::Value;

use super::super::{AppError, Call};

/// Name of the hint.
const HINT: &str = "group";

/// The group of the hints, if they name one.
///
/// # Errors
/// [`AppError::BadRequest`] when there is no such group; one of another project is none.
pub(super) async fn joining(
    call: &Call<'_>,
    hints: &SchedulerHints,
) -> Result<Option<ServerGroupId>, AppError> {
    let Some(id) = hints.get(HINT).and_then(Value::as_str) else { return Ok(None) };
    let parsed: ServerGroupId = id.parse().map_err(|_| not_found(id))?;
    let group = call.control.store.server_group(parsed).await?;
    let group = group
        .filter(|group| call.is_admin() || group.project_id == call.auth.project_id)
        .ok_or_else(|| not_found(id))?;
    Ok(Some(group.id))
}

/// 400: a request cannot be carried out, but it is not about the group.
pub(super) fn not_found(id: &str) -> AppError {
    AppError::BadRequest(format!("Instance group {id} could not be found."))
}

/// A group as hosts for new members are chosen.
pub(super) fn seating(group: &ServerGroupRecord) -> Seating {
    let (policy, max_per_host) = (group.policy, group.max_per_host);
    let mut seating = Seating { policy, max_per_host, members: BTreeMap::new() };
    for host in group.members.iter().filter_map(|member| member.host.as_ref()) {
        seating.seat(host);
    }
    seating
}
