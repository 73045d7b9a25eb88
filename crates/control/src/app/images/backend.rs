//! Where images are described: by this daemon, or by a Glance that is there already.

use async_trait::async_trait;
use reprieve_core::{ImageId, ProjectId};

use super::{ImageError, ImageRecord};
use crate::Control;

/// The image service that servers are made from.
#[async_trait]
pub trait ImageBackend: Send + Sync + 'static {
    /// An image, whoever may see it.
    ///
    /// # Errors
    /// [`ImageError::Store`], [`ImageError::Unavailable`].
    async fn image(
        &self,
        control: &Control,
        id: ImageId,
    ) -> Result<Option<ImageRecord>, ImageError>;

    /// Whether a shared image is shared with a project.
    ///
    /// # Errors
    /// [`ImageError::Store`], [`ImageError::Unavailable`].
    async fn is_member(
        &self,
        control: &Control,
        image: ImageId,
        project: &ProjectId,
    ) -> Result<bool, ImageError>;

    /// Where the image service is, unless that is this daemon.
    fn external_url(&self) -> Option<&str>;
}

/// Refuses what only the image service of this daemon can do. What this daemon keeps of images says
/// nothing about those of another service, neither that there are none nor that they can be changed.
///
/// # Errors
/// [`ImageError::Refused`], which says where the images are.
pub(super) fn require_own(control: &Control) -> Result<(), ImageError> {
    match control.images.external_url() {
        None => Ok(()),
        Some(url) => Err(ImageError::Refused(format!(
            "The images of this cloud are at {url}; list and change them there."
        ))),
    }
}

/// The image service of this daemon.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuiltIn;

#[async_trait]
impl ImageBackend for BuiltIn {
    async fn image(
        &self,
        control: &Control,
        id: ImageId,
    ) -> Result<Option<ImageRecord>, ImageError> {
        Ok(control.store.image(id).await?)
    }

    async fn is_member(
        &self,
        control: &Control,
        image: ImageId,
        project: &ProjectId,
    ) -> Result<bool, ImageError> {
        Ok(control.store.image_member(image, project).await?.is_some())
    }

    fn external_url(&self) -> Option<&str> {
        None
    }
}
