//! Why a request to the image service was refused.

use std::path::PathBuf;

use reprieve_core::ImageId;
use reprieve_core::image_format::ImageFormatError;
use reprieve_store::StoreError;

/// A refused or failed request. Displays as the text for the client, except the causes of
/// [`ImageError::Store`], [`ImageError::File`] and [`ImageError::Interrupted`], which are for the
/// log.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// 404, also for images that the caller must not know of.
    #[error("No image found with ID {0}")]
    NotFound(ImageId),
    /// 404 for a part of an image.
    #[error("{0}")]
    NothingThere(String),
    /// 403: not the caller's image.
    #[error("You are not permitted to modify this image.")]
    Forbidden,
    /// 403: the caller may never do this, or not in this state.
    #[error("{0}")]
    Refused(String),
    /// 400.
    #[error("{0}")]
    Invalid(String),
    /// 409.
    #[error("{0}")]
    Conflict(String),
    /// 410: the image was deleted during the upload.
    #[error("Image {0} was deleted during the upload")]
    Gone(ImageId),
    /// 413.
    #[error("The image is larger than the limit of {0} bytes")]
    TooLarge(u64),
    /// 413: the disk of the image service is full.
    #[error("There is not enough disk space on the image storage media")]
    StorageFull,
    /// 413: shared with too many projects.
    #[error("The limit has been exceeded on the number of allowed image members. Maximum: {0}")]
    TooManyMembers(usize),
    /// 400: the data is not what it was declared to be, or is dangerous.
    #[error("Image data is not acceptable: {0}")]
    Format(#[from] ImageFormatError),
    /// 400: the data broke off or came too slowly.
    #[error("The image data ended early: {0}")]
    BrokenOff(String),
    /// 500: a file could not be read or written.
    #[error("The image data could not be stored or read")]
    File {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// 500: the process is ending.
    #[error("The image service is shutting down")]
    Interrupted,
    /// 503: the external image service cannot be asked at the moment.
    #[error("The image service could not be asked; try again")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// 500: the database failed.
    #[error("The image service's database failed")]
    Store(#[source] StoreError),
}

impl From<StoreError> for ImageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::BadQuery(text) => Self::Invalid(text),
            other => Self::Store(other),
        }
    }
}
