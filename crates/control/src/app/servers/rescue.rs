//! Rescue: which image, which password.

use reprieve_core::InstanceId;

use super::super::secret::Password;
use super::super::{AppError, Call};

/// What the user asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RescueRequest {
    /// Password of the rescue system; `None` = generate one.
    pub admin_password: Option<Password>,
    /// Image, as given; `None` = the server's own.
    pub image: Option<String>,
}

/// Accepts a rescue and returns the password of the rescue system, which is shown this once.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::BadRequest`] when the image cannot be used;
/// [`AppError::Denied`] when the state machine says no.
pub async fn rescue(
    _call: &Call<'_>,
    _id: InstanceId,
    _request: RescueRequest,
) -> Result<Password, AppError> {
    Err(AppError::BadRequest("unfinished".into()))
}
