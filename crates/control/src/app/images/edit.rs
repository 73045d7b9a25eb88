//! Describing images: create, change, delete, activate.

use std::collections::{BTreeMap, BTreeSet};

use reprieve_core::spec::DiskFormat;
use reprieve_core::{ImageId, ProjectId};
use reprieve_store::StoreError;

use super::backend::require_own;
use super::data::remove_data;
use super::{ContainerFormat, ImageError, ImageRecord, ImageStatus, Visibility, get_for_change};
use crate::Control;
use crate::auth::{AuthContext, Role};

/// Most properties of an image, and most tags; Glance's defaults.
pub const MAX_PROPERTIES: usize = 128;
/// Most bytes of all properties of an image, names included: bounds what a list can cost.
pub const MAX_PROPERTY_BYTES: usize = 32 * 1024;
/// Most characters of a name, a property's name or a tag.
pub const MAX_NAME: usize = 255;
/// How often a change is tried again because somebody else changed the image meanwhile.
const TRIES: usize = 5;

/// One change of an image's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Names it.
    Name(Option<String>),
    /// Who may see it.
    Visibility(Visibility),
    /// Gives it to another project; administrators only.
    Owner(Option<ProjectId>),
    /// Before the upload only.
    DiskFormat(Option<DiskFormat>),
    /// Before the upload only.
    ContainerFormat(Option<ContainerFormat>),
    /// Smallest root disk in GiB.
    MinDisk(u32),
    /// Smallest memory in MiB.
    MinRam(u32),
    /// Whether it cannot be deleted.
    Protected(bool),
    /// Whether lists leave it out.
    Hidden(bool),
    /// Replaces all tags.
    Tags(BTreeSet<String>),
    /// Sets a property, new or not.
    SetProperty(String, String),
    /// Sets a property that must exist.
    ReplaceProperty(String, String),
    /// Removes a property, which must exist.
    RemoveProperty(String),
    /// Adds a tag.
    AddTag(String),
    /// Removes a tag, which must exist.
    RemoveTag(String),
}

/// Describes a new image; its data follows.
///
/// # Errors
/// [`ImageError::Refused`] for readers, [`ImageError::Conflict`] when the id is taken, and those of
/// the edits.
pub async fn create(
    control: &Control,
    auth: &AuthContext,
    id: Option<ImageId>,
    edits: Vec<Edit>,
) -> Result<ImageRecord, ImageError> {
    if !auth.has(Role::Member) {
        return Err(ImageError::Refused("You are not permitted to create images.".to_owned()));
    }
    let now = control.clock.now();
    let mut image = ImageRecord {
        id: id.unwrap_or_else(ImageId::random),
        name: None,
        status: ImageStatus::Queued,
        visibility: Visibility::Shared,
        owner: Some(auth.project_id.clone()),
        disk_format: None,
        container_format: None,
        data: None,
        min_disk: 0,
        min_ram: 0,
        protected: false,
        hidden: false,
        properties: BTreeMap::new(),
        tags: BTreeSet::new(),
        created_at: now,
        updated_at: now,
    };
    apply(auth, &mut image, edits)?;
    match control.store.create_image(&image).await {
        Ok(()) => Ok(image),
        Err(StoreError::Exists { .. }) => {
            Err(ImageError::Conflict(format!("Image ID {} already exists!", image.id)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Changes an image's description: all edits or none.
///
/// # Errors
/// [`ImageError::NotFound`], [`ImageError::Forbidden`], [`ImageError::Refused`] when it is another
/// service's, and those of the edits.
pub async fn update(
    control: &Control,
    auth: &AuthContext,
    id: ImageId,
    edits: Vec<Edit>,
) -> Result<ImageRecord, ImageError> {
    for _ in 0..TRIES {
        let seen = get_for_change(control, auth, id).await?;
        require_own(control)?;
        let mut image = seen.clone();
        apply(auth, &mut image, edits.clone())?;
        // Also the proof that nobody else changed it, so it always moves.
        image.updated_at = control.clock.now().max(seen.updated_at.plus(TICK));
        if control.store.update_image(&image, seen.updated_at).await? {
            return Ok(image);
        }
    }
    Err(ImageError::Conflict(format!("Image {id} is being changed by others; try again.")))
}

const TICK: std::time::Duration = std::time::Duration::from_micros(1);

/// Deletes an image and its data. Guests made from it live on.
///
/// # Errors
/// [`ImageError::NotFound`], [`ImageError::Forbidden`], [`ImageError::Refused`] when protected or
/// another service's.
pub async fn delete(control: &Control, auth: &AuthContext, id: ImageId) -> Result<(), ImageError> {
    let image = get_for_change(control, auth, id).await?;
    require_own(control)?;
    let protected = || {
        let text = format!("Image {id} is protected and cannot be deleted.");
        Err(ImageError::Refused(text))
    };
    if image.protected {
        return protected();
    }
    if !control.store.delete_image(id).await? {
        return match control.store.image(id).await? {
            Some(_) => protected(),
            None => Err(ImageError::NotFound(id)),
        };
    }
    // The image is gone whatever happens now; what is left of it goes at the next start.
    if let Err(error) = remove_data(&control.settings.image_dir, id).await {
        tracing::warn!(target: "reprieve::api", image_id = %id, %error, "image data left behind");
    }
    Ok(())
}

/// Lets everybody use an image's data again, or only administrators.
///
/// # Errors
/// [`ImageError::NotFound`], [`ImageError::Forbidden`], [`ImageError::Refused`] without data.
pub async fn set_active(
    control: &Control,
    auth: &AuthContext,
    id: ImageId,
    active: bool,
) -> Result<(), ImageError> {
    let image = get_for_change(control, auth, id).await?;
    if control.store.set_image_active(id, active).await? {
        Ok(())
    } else {
        let status = image.status;
        Err(ImageError::Refused(format!("Not allowed to change an image in status '{status}'.")))
    }
}

fn apply(auth: &AuthContext, image: &mut ImageRecord, edits: Vec<Edit>) -> Result<(), ImageError> {
    for edit in edits {
        apply_one(auth, image, edit)?;
    }
    if image.properties.len() > MAX_PROPERTIES || image.tags.len() > MAX_PROPERTIES {
        return Err(ImageError::Invalid(format!(
            "The limit has been exceeded on the number of allowed image properties or tags. \
             Maximum: {MAX_PROPERTIES}"
        )));
    }
    let bytes: usize = image.properties.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_PROPERTY_BYTES {
        return Err(ImageError::Invalid(format!(
            "All properties together have {bytes} bytes; at most {MAX_PROPERTY_BYTES} are allowed."
        )));
    }
    Ok(())
}

fn apply_one(auth: &AuthContext, image: &mut ImageRecord, edit: Edit) -> Result<(), ImageError> {
    match edit {
        Edit::Name(name) => image.name = name,
        Edit::Visibility(visibility) => {
            if visibility == Visibility::Public && !auth.is_admin() {
                return Err(ImageError::Refused(
                    "You are not authorized to complete publicize_image action.".to_owned(),
                ));
            }
            image.visibility = visibility;
        }
        Edit::Owner(owner) => {
            if owner != image.owner && !auth.is_admin() {
                return Err(ImageError::Refused(
                    "You are not permitted to set the owner of images.".to_owned(),
                ));
            }
            image.owner = owner;
        }
        Edit::DiskFormat(format) => {
            require_queued(image, "disk_format", image.disk_format == format)?;
            image.disk_format = format;
        }
        Edit::ContainerFormat(format) => {
            require_queued(image, "container_format", image.container_format == format)?;
            image.container_format = format;
        }
        Edit::MinDisk(gib) => image.min_disk = gib,
        Edit::MinRam(mib) => image.min_ram = mib,
        Edit::Protected(protected) => image.protected = protected,
        Edit::Hidden(hidden) => image.hidden = hidden,
        Edit::Tags(tags) => image.tags = tags,
        Edit::SetProperty(name, value) => {
            image.properties.insert(name, value);
        }
        Edit::ReplaceProperty(name, value) => match image.properties.get_mut(&name) {
            Some(present) => *present = value,
            None => return Err(no_property(&name)),
        },
        Edit::RemoveProperty(name) => {
            image.properties.remove(&name).ok_or_else(|| no_property(&name))?;
        }
        Edit::AddTag(tag) => {
            image.tags.insert(tag);
        }
        Edit::RemoveTag(tag) => {
            if !image.tags.remove(&tag) {
                return Err(ImageError::NothingThere(format!("Tag {tag} does not exist")));
            }
        }
    }
    Ok(())
}

/// The format is part of what was verified, so it stays when there is data.
fn require_queued(image: &ImageRecord, name: &str, same: bool) -> Result<(), ImageError> {
    if same || image.status == ImageStatus::Queued {
        return Ok(());
    }
    Err(ImageError::Refused(format!("Attribute {name} can be only replaced for a queued image.")))
}

fn no_property(name: &str) -> ImageError {
    ImageError::Conflict(format!("Property {name} does not exist."))
}
