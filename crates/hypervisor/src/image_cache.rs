//! Verified, read-only copies of images on this host, from which disks are made as overlays.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use reprieve_core::image_format::ImageFormatError;
use reprieve_core::ports::{ImageSource, ImageSourceError};
use reprieve_core::spec::{DiskFormat, ImageSpec};

use crate::durable::FileError;

/// An image in the cache: complete, verified, read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedImage {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: DiskFormat,
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_size: u64,
}

/// Why an image is not in the cache.
#[derive(Debug, thiserror::Error)]
pub enum ImageCacheError {
    /// The source does not have it or cannot be read.
    #[error(transparent)]
    Source(#[from] ImageSourceError),
    /// What came is not what the image service announced.
    #[error("image {image} arrived damaged: {problem}; the image service's copy may be broken")]
    Damaged {
        /// The image.
        image: reprieve_core::ImageId,
        /// Size or checksum, expected and seen.
        problem: String,
    },
    /// The content is not of the announced format.
    #[error("image {image} cannot be used: {source}")]
    Format {
        /// The image.
        image: reprieve_core::ImageId,
        /// Why.
        #[source]
        source: ImageFormatError,
    },
    /// The specification itself is not usable as a file name.
    #[error("image {image} has no valid sha512 checksum")]
    NoChecksum {
        /// The image.
        image: reprieve_core::ImageId,
    },
    /// The file system.
    #[error(transparent)]
    Io(#[from] FileError),
}

/// The cache of one host.
#[derive(Debug)]
pub struct ImageCache {
    dir: PathBuf,
}

impl ImageCache {
    /// In `dir`, which is made when it is first needed.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Probe: the image if it is in the cache. Cheap: reads the header, not the data, because only
    /// verified data ever gets its final name.
    ///
    /// # Errors
    /// [`ImageCacheError`]; a missing image is no error.
    pub async fn lookup(&self, image: &ImageSpec) -> Result<Option<CachedImage>, ImageCacheError> {
        let _ = (&self.dir, image);
        unimplemented!()
    }

    /// Brings the image into the cache unless it is there. Concurrent calls for one image fetch it
    /// once.
    ///
    /// # Errors
    /// [`ImageCacheError`]; nothing half-done gets a final name.
    pub async fn ensure(
        &self,
        image: &ImageSpec,
        source: &dyn ImageSource,
    ) -> Result<CachedImage, ImageCacheError> {
        let _ = (&self.dir, image, source);
        unimplemented!()
    }
}

/// Images of an image service on the same machine: `<dir>/<image id>`.
#[derive(Debug, Clone)]
pub struct LocalImageSource {
    dir: PathBuf,
}

impl LocalImageSource {
    /// Of the image service's data directory.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }
}

#[async_trait]
impl ImageSource for LocalImageSource {
    async fn fetch(&self, image: &ImageSpec, file: &Path) -> Result<(), ImageSourceError> {
        let _ = (&self.dir, image, file);
        unimplemented!()
    }
}
