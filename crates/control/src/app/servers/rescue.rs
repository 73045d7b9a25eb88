//! Rescue: which image, which password.

use reprieve_core::message::OperationArgs;
use reprieve_core::spec::ImageSpec;
use reprieve_core::{ImageId, InstanceId, OperationKind, admit};
use reprieve_store::{Condition, InstanceRecord};

use super::super::images::{self, ImageError};
use super::super::secret::Password;
use super::super::{AppError, Call};
use super::{act::accept, get};

/// What the user asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RescueRequest {
    /// Password of the rescue system; `None` = generate one, empty = leave the image's own.
    pub admin_password: Option<Password>,
    /// Image, as given; `None` = the server's own.
    pub image: Option<String>,
}

/// Accepts a rescue and returns the password of the rescue system, which is shown this once.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::Denied`] when the state machine says no;
/// [`AppError::BadRequest`] when the image cannot be used.
pub async fn rescue(
    call: &Call<'_>,
    id: InstanceId,
    request: RescueRequest,
) -> Result<Password, AppError> {
    let server = get(call, id).await?;
    // A wrong state is answered before a wrong image (spec/rescue.md section 1.3). The transaction
    // decides again.
    admit(&server.subject(), OperationKind::Rescue, call.caller())?;
    let image = match request.image {
        Some(reference) => named_image(call, &reference).await?,
        None => own_image(call, &server).await?,
    };
    let password = request.admin_password.unwrap_or_else(Password::generate);
    let sealed = match password.reveal() {
        "" => None,
        secret => Some(call.control.sealing_key.seal(id, secret)?),
    };
    let args = OperationArgs {
        rescue_image: Some(image),
        rescue_password: sealed,
        ..OperationArgs::default()
    };
    accept(call, id, OperationKind::Rescue, (args, Condition::default())).await?;
    Ok(password)
}

/// The image that the user named, if the user may see it and it can be booted.
async fn named_image(call: &Call<'_>, reference: &str) -> Result<ImageSpec, AppError> {
    let unsupported =
        || AppError::BadRequest(format!("Requested rescue image '{reference}' is not supported"));
    let id: ImageId = reference.parse().map_err(|_| unsupported())?;
    let image = match images::get(call.control, call.auth, id).await {
        Ok(image) => image,
        Err(ImageError::NotFound(_)) => return Err(unsupported()),
        Err(error) => return Err(AppError::image("reading a rescue image", error)),
    };
    // A snapshot of a volume is no disk image.
    if image.properties.contains_key("img_block_device_mapping") {
        return Err(unsupported());
    }
    image.spec().ok_or_else(unsupported)
}

/// The image the server was made from: as it is now if it still exists, else as it was recorded,
/// which its host may still have in its cache. That also helps while the image service is down.
async fn own_image(call: &Call<'_>, server: &InstanceRecord) -> Result<ImageSpec, AppError> {
    let recorded = server.image.clone().ok_or_else(|| {
        let id = server.id;
        AppError::BadRequest(format!("Instance {id} cannot be rescued: it has no image"))
    })?;
    let current = match call.control.images.image(call.control, recorded.id).await {
        Err(ImageError::Unavailable(_)) => None,
        other => other.map_err(|error| AppError::image("reading a server's image", error))?,
    };
    Ok(current.and_then(|image| image.spec()).unwrap_or(recorded))
}
