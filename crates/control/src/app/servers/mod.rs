//! Servers: what users do with them.
//!
//! Every function finds the server first; one of another project is not found, unless the caller is
//! an administrator. Changes are decided by `core::admit` inside the store's transaction, and the
//! dispatcher is woken once they are recorded.

mod act;
mod console;
mod create;
mod destination;
mod diagnostics;
mod for_host;
mod foreign;
mod group;
mod list;
mod rescue;
mod schedule;

use reprieve_core::reboot;
use reprieve_core::{InstanceId, ProjectId};
use reprieve_store::{InstanceRecord, InstanceUpdate, OperationRecord};

pub use act::{console_log, lock, reset_state, run, run_if, unlock};
pub use console::{ConsoleSettings, ConsoleUrl, console_of, open_console};
pub use create::{CreatedServers, NewServer, create};
pub use destination::current_zone;
pub use diagnostics::diagnostics;
pub use for_host::{AskedForHost, resume_for_host, suspend_for_host};
pub use foreign::check_foreign;
pub use list::{ListServers, list};
pub use reprieve_core::schedule::Target;
pub use rescue::{RescueRequest, rescue};

use super::{AppError, Call};

/// One server.
///
/// # Errors
/// [`AppError::NotFound`] also for servers of other projects and deleted ones.
pub async fn get(call: &Call<'_>, id: InstanceId) -> Result<InstanceRecord, AppError> {
    find(call, id, false).await
}

/// One server, also a deleted one: for its instance actions (2.21).
async fn find(
    call: &Call<'_>,
    id: InstanceId,
    with_deleted: bool,
) -> Result<InstanceRecord, AppError> {
    let found = call.control.store.instance(id).await?;
    let sight = Sight::of(call);
    found
        .filter(|server| with_deleted || server.deleted_at.is_none())
        .filter(|server| sight.covers(server))
        .ok_or_else(|| AppError::no_server(id))
}

/// Whose servers a caller sees. What is beyond does not exist for the caller.
struct Sight {
    everywhere: bool,
    project: ProjectId,
}

impl Sight {
    fn of(call: &Call<'_>) -> Self {
        Self { everywhere: call.is_admin(), project: call.auth.project_id.clone() }
    }

    fn covers(&self, server: &InstanceRecord) -> bool {
        self.everywhere || server.project_id == self.project
    }
}

/// `PUT /servers/{id}`, metadata and tags: what needs no compute host.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::Conflict`] for a zone that the server cannot be kept in;
/// [`AppError::BadRequest`] for new metadata that is meant for Reprieve and says nothing to it.
pub async fn update(
    call: &Call<'_>,
    id: InstanceId,
    change: InstanceUpdate,
) -> Result<InstanceRecord, AppError> {
    let server = get(call, id).await?;
    if let Some(Some(zone)) = &change.requested_zone {
        destination::check_pin(&server, zone)?;
    }
    if let Some(metadata) = &change.metadata {
        let new = metadata.iter().filter(|(key, value)| server.metadata.get(*key) != Some(value));
        check_metadata(new)?;
    }
    let stored = call.control.store.update_instance(id, change, &call.action()).await;
    stored.map_err(|error| match error {
        reprieve_store::StoreError::NotFound { .. } => AppError::no_server(id),
        other => other.into(),
    })
}

/// Whether these items of metadata say something where they are meant for Reprieve.
fn check_metadata<'a>(
    mut items: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<(), AppError> {
    let checked = items.try_for_each(|(key, value)| reboot::check_metadata(key, value));
    checked.map_err(|error| AppError::BadRequest(error.to_string()))
}

/// One server, also a deleted one: what its instance actions are about.
///
/// # Errors
/// [`AppError::NotFound`] also for servers of other projects.
pub async fn get_even_deleted(call: &Call<'_>, id: InstanceId) -> Result<InstanceRecord, AppError> {
    find(call, id, true).await
}

/// Instance actions, newest first; also of a deleted server.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn actions(call: &Call<'_>, id: InstanceId) -> Result<Vec<OperationRecord>, AppError> {
    find(call, id, true).await?;
    Ok(call.control.store.operations_of(id).await?)
}

/// The instance action that a request caused; also of a deleted server.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn action(
    call: &Call<'_>,
    id: InstanceId,
    request_id: &str,
) -> Result<OperationRecord, AppError> {
    find(call, id, true).await?;
    let found = call.control.store.operation_by_request(id, &request_id.into()).await?;
    found.ok_or_else(|| {
        AppError::NotFound(format!("Action for request_id {request_id} on instance {id} not found"))
    })
}
