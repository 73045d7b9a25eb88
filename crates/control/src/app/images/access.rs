//! Who may see and who may change an image.

use reprieve_core::ImageId;

use super::{ImageError, ImageRecord, Visibility};
use crate::Control;
use crate::auth::{AuthContext, Role};

/// The image, if the caller may see it: public and community images, the own project's, those
/// shared with it; administrators see all.
///
/// # Errors
/// [`ImageError::NotFound`] also for images the caller must not know of.
pub async fn get(
    control: &Control,
    auth: &AuthContext,
    id: ImageId,
) -> Result<ImageRecord, ImageError> {
    let image = control.images.image(control, id).await?.ok_or(ImageError::NotFound(id))?;
    if may_see(control, auth, &image).await? { Ok(image) } else { Err(ImageError::NotFound(id)) }
}

/// The image, if the caller may change it: its owner's members and administrators.
///
/// # Errors
/// [`ImageError::NotFound`] when it may not even be seen, [`ImageError::Forbidden`] otherwise.
pub async fn get_for_change(
    control: &Control,
    auth: &AuthContext,
    id: ImageId,
) -> Result<ImageRecord, ImageError> {
    let image = get(control, auth, id).await?;
    if may_change(auth, &image) { Ok(image) } else { Err(ImageError::Forbidden) }
}

/// Whether the caller may change the image.
pub(super) fn may_change(auth: &AuthContext, image: &ImageRecord) -> bool {
    auth.is_admin() || (is_owner(auth, image) && auth.has(Role::Member))
}

/// Whether the image belongs to the caller's project.
pub(super) fn is_owner(auth: &AuthContext, image: &ImageRecord) -> bool {
    image.owner.as_ref() == Some(&auth.project_id)
}

async fn may_see(
    control: &Control,
    auth: &AuthContext,
    image: &ImageRecord,
) -> Result<bool, ImageError> {
    if auth.is_admin() || is_owner(auth, image) {
        return Ok(true);
    }
    Ok(match image.visibility {
        Visibility::Public | Visibility::Community => true,
        Visibility::Private => false,
        Visibility::Shared => control.images.is_member(control, image.id, &auth.project_id).await?,
    })
}
