//! Sharing an image with other projects: the owner names them, they accept or reject.

use reprieve_core::{ImageId, ProjectId};
use reprieve_store::StoreError;

use super::access::is_owner;
use super::edit::MAX_PROPERTIES;
use super::{ImageError, ImageRecord, MemberRecord, MemberStatus, Visibility, get, get_for_change};
use crate::Control;
use crate::auth::AuthContext;

/// Members that the caller may see: all for the owner, itself for a member.
///
/// # Errors
/// [`ImageError::NotFound`], [`ImageError::Refused`] unless the image is shared.
pub async fn list(
    control: &Control,
    auth: &AuthContext,
    id: ImageId,
) -> Result<Vec<MemberRecord>, ImageError> {
    let image = get(control, auth, id).await?;
    require_shared(&image)?;
    let mut members = control.store.image_members(id).await?;
    if !auth.is_admin() && !is_owner(auth, &image) {
        members.retain(|member| member.project == auth.project_id);
    }
    Ok(members)
}

/// One member.
///
/// # Errors
/// [`ImageError::NotFound`], [`ImageError::NothingThere`], [`ImageError::Refused`].
pub async fn show(
    control: &Control,
    auth: &AuthContext,
    id: ImageId,
    project: &ProjectId,
) -> Result<MemberRecord, ImageError> {
    let members = list(control, auth, id).await?;
    members.into_iter().find(|member| member.project == *project).ok_or_else(|| missing(project))
}

/// Shares an image with a project.
///
/// # Errors
/// [`ImageError::NotFound`], [`ImageError::Forbidden`], [`ImageError::Refused`] unless the image's
/// visibility is shared, [`ImageError::Conflict`] when it is shared with it already.
pub async fn add(
    control: &Control,
    auth: &AuthContext,
    id: ImageId,
    project: ProjectId,
) -> Result<MemberRecord, ImageError> {
    require_shared(&get_for_change(control, auth, id).await?)?;
    if control.store.image_members(id).await?.len() >= MAX_PROPERTIES {
        return Err(ImageError::TooManyMembers(MAX_PROPERTIES));
    }
    let now = control.clock.now();
    let status = MemberStatus::Pending;
    let member = MemberRecord { image: id, project, status, created_at: now, updated_at: now };
    match control.store.add_image_member(&member).await {
        Ok(()) => Ok(member),
        Err(StoreError::Exists { .. }) => Err(ImageError::Conflict(format!(
            "The target member {} is already associated with image {id}.",
            member.project
        ))),
        Err(StoreError::NotFound { .. }) => Err(ImageError::NotFound(id)),
        Err(error) => Err(error.into()),
    }
}

/// A member says what it thinks of the image; nobody else may, but administrators.
///
/// # Errors
/// [`ImageError::NotFound`], [`ImageError::NothingThere`], [`ImageError::Refused`].
pub async fn decide(
    control: &Control,
    auth: &AuthContext,
    id: ImageId,
    (project, status): (ProjectId, MemberStatus),
) -> Result<MemberRecord, ImageError> {
    require_shared(&get(control, auth, id).await?)?;
    if project != auth.project_id && !auth.is_admin() {
        return Err(ImageError::Refused("Only the member may change its status.".to_owned()));
    }
    if !control.store.set_image_member_status(id, &project, status).await? {
        return Err(missing(&project));
    }
    show(control, auth, id, &project).await
}

/// Stops sharing.
///
/// # Errors
/// [`ImageError::NotFound`], [`ImageError::Forbidden`], [`ImageError::NothingThere`].
pub async fn remove(
    control: &Control,
    auth: &AuthContext,
    id: ImageId,
    project: &ProjectId,
) -> Result<(), ImageError> {
    require_shared(&get_for_change(control, auth, id).await?)?;
    if control.store.remove_image_member(id, project).await? {
        Ok(())
    } else {
        Err(missing(project))
    }
}

fn require_shared(image: &ImageRecord) -> Result<(), ImageError> {
    if image.visibility == Visibility::Shared {
        return Ok(());
    }
    Err(ImageError::Refused("Only shared images have members.".to_owned()))
}

fn missing(project: &ProjectId) -> ImageError {
    ImageError::NothingThere(format!("{project} is not a member of this image"))
}
