//! Where images are described: by this daemon, or by a Glance that is there already.

use async_trait::async_trait;
use reprieve_core::{ImageId, ProjectId};

use super::{Edit, ImageError, ImageRecord, Page};
use crate::Control;
use crate::app::identity::TokenSecret;

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

    /// The image service that users are passed on to, unless that is this daemon.
    fn external(&self) -> Option<&dyn ExternalImages>;
}

/// An image service that is there already, asked in the name of a user: it decides what that user may
/// see and do.
#[async_trait]
pub trait ExternalImages: Send + Sync {
    /// A page of the images that the user sees, newest first. Of filters, what Nova passed on counts.
    ///
    /// # Errors
    /// [`ImageError::Invalid`] for a marker that is not there, [`ImageError::Unavailable`].
    async fn list(&self, token: &TokenSecret, page: &Page) -> Result<Vec<ImageRecord>, ImageError>;

    /// Changes properties of an image: all of them or none.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], [`ImageError::Forbidden`], [`ImageError::Refused`] for what is no
    /// property, [`ImageError::Invalid`], [`ImageError::Conflict`], [`ImageError::Unavailable`].
    async fn update(
        &self,
        token: &TokenSecret,
        id: ImageId,
        edits: &[Edit],
    ) -> Result<ImageRecord, ImageError>;

    /// Deletes an image.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], [`ImageError::Forbidden`], [`ImageError::Conflict`] while it is in
    /// use, [`ImageError::Unavailable`].
    async fn delete(&self, token: &TokenSecret, id: ImageId) -> Result<(), ImageError>;
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

    fn external(&self) -> Option<&dyn ExternalImages> {
        None
    }
}
