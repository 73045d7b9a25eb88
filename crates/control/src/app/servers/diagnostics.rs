//! What a running guest uses.

use std::time::Duration;

use reprieve_core::InstanceId;
use reprieve_core::message::{HostRequest, HostResponse};
use reprieve_core::stats::GuestStats;

use super::super::{AppError, Call};
use super::get;

/// How long a host may take to ask its hypervisor.
const DEADLINE: Duration = Duration::from_secs(15);

/// Asks the host of a server what its guest uses.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::Conflict`] when it has no host, its guest does not run, or
/// its host cannot say it now.
pub async fn diagnostics(call: &Call<'_>, id: InstanceId) -> Result<GuestStats, AppError> {
    let server = get(call, id).await?;
    let Some(host) = &server.host else {
        return Err(AppError::Conflict(format!("Instance {id} is not ready")));
    };
    let silent = |why: &str| {
        let request_id = call.request_id.as_str();
        tracing::warn!(request_id, server = %id, host = host.as_str(), why, "no diagnostics");
        AppError::Conflict(format!("Compute service of {host} is unavailable at this time."))
    };
    let question = HostRequest::Diagnostics { instance_id: id };
    match call.control.bus.request(host, &question, DEADLINE).await {
        Ok(HostResponse::Diagnostics { stats }) => Ok(stats),
        Ok(HostResponse::NotRunning { power }) => Err(AppError::Conflict(format!(
            "Cannot 'get_diagnostics' instance {id} while it is in power state {}",
            power.word()
        ))),
        Ok(HostResponse::Failed { message }) => Err(silent(&message)),
        Ok(
            HostResponse::ConsoleLog { .. }
            | HostResponse::Console { .. }
            | HostResponse::NoConsole
            | HostResponse::Noted,
        ) => Err(silent("it answered another question")),
        Err(error) => Err(silent(&error.to_string())),
    }
}
