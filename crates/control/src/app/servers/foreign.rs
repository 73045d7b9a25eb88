//! What Nova would do to a server and this service does not.

use reprieve_core::foreign::{ForeignAction, ForeignDenied, ServerHost, admit_foreign};
use reprieve_store::InstanceRecord;

use super::super::{AppError, Call};

/// Refuses what Nova would refuse. The server's host is looked at, so this is the last of the
/// checks.
///
/// # Errors
/// [`AppError::Denied`] and [`AppError::Conflict`] where the state or the host do not allow it,
/// [`AppError::BadRequest`] for an evacuation from a host that works.
pub async fn check_foreign(
    call: &Call<'_>,
    server: &InstanceRecord,
    action: ForeignAction,
) -> Result<(), AppError> {
    let is_up = match &server.host {
        None => false,
        Some(name) => {
            let host = call.control.store.host(name).await?;
            host.is_some_and(|host| host.is_up(call.control.clock.now()))
        }
    };
    let host = server.host.as_ref().map(|name| ServerHost { name, is_up });
    admit_foreign(&server.subject(), host, action, call.caller()).map_err(|denied| match denied {
        ForeignDenied::Denied(denied) => denied.into(),
        ForeignDenied::LockedUnsaid { .. }
        | ForeignDenied::NoHost { .. }
        | ForeignDenied::HostDown => AppError::Conflict(denied.to_string()),
        ForeignDenied::HostInUse { .. } => AppError::BadRequest(denied.to_string()),
    })
}
