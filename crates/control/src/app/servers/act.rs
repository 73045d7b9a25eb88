//! Operations on an existing server.

use reprieve_core::{InstanceId, OperationKind, VmState};

use super::super::{AppError, Call};

/// Accepts an operation without arguments: everything but create and rescue.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::Denied`] when the state machine says no.
pub async fn run(_call: &Call<'_>, _id: InstanceId, _kind: OperationKind) -> Result<(), AppError> {
    Err(AppError::BadRequest("unfinished".into()))
}

/// Locks a server. Locking a locked one again changes nothing, except for administrators.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn lock(
    _call: &Call<'_>,
    _id: InstanceId,
    _reason: Option<String>,
) -> Result<(), AppError> {
    Err(AppError::BadRequest("unfinished".into()))
}

/// Unlocks a server.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::Forbidden`] when an administrator locked it and the caller is
/// none.
pub async fn unlock(_call: &Call<'_>, _id: InstanceId) -> Result<(), AppError> {
    Err(AppError::BadRequest("unfinished".into()))
}

/// `os-resetState` to ACTIVE or ERROR (administrators).
///
/// # Errors
/// [`AppError::NotFound`], [`AppError::Forbidden`].
pub async fn reset_state(
    _call: &Call<'_>,
    _id: InstanceId,
    _state: VmState,
) -> Result<(), AppError> {
    Err(AppError::BadRequest("unfinished".into()))
}

/// The last `lines` pieces of the console log, `None` = all of the last 100 KiB.
///
/// # Errors
/// [`AppError::NotFound`] when the server or its console is not there.
pub async fn console_log(
    _call: &Call<'_>,
    _id: InstanceId,
    _lines: Option<u64>,
) -> Result<String, AppError> {
    Err(AppError::BadRequest("unfinished".into()))
}
