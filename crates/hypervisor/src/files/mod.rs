//! Files of one server on its host: disks, rescue disks, stash, console log.

mod qemu_img;

use std::path::PathBuf;

use reprieve_core::OperationId;
use reprieve_core::ports::InstancePaths;

use crate::image_cache::CachedImage;
pub use qemu_img::QemuImg;

/// Why something about a server's files could not be done.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The image does not fit into the flavor's disk. The text is Nova's.
    #[error(
        "Flavor's disk is too small for requested image. Flavor disk is {flavor_bytes} bytes, \
         image is {image_bytes} bytes."
    )]
    FlavorTooSmall {
        /// Virtual size of the image.
        image_bytes: u64,
        /// Root disk of the flavor.
        flavor_bytes: u64,
    },
    /// There is a disk already that is not the one to be built. It is never replaced.
    #[error("{path} exists and is not the disk to be built: {problem}", path = path.display())]
    ForeignDisk {
        /// The disk.
        path: PathBuf,
        /// What differs.
        problem: String,
    },
    /// qemu-img refused, failed, or did not end in time.
    #[error("qemu-img {action} failed: {message}")]
    QemuImg {
        /// Its sub-command.
        action: &'static str,
        /// Its words.
        message: String,
    },
    /// The file system.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// The files of one server. Every method may be repeated after a crash at any point.
#[derive(Debug, Clone)]
pub struct InstanceFiles {
    paths: InstancePaths,
    qemu_img: QemuImg,
}

impl InstanceFiles {
    /// Of the server whose directory is given.
    #[must_use]
    pub fn new(paths: InstancePaths) -> Self {
        Self { paths, qemu_img: QemuImg::default() }
    }

    /// With another `qemu-img`.
    #[must_use]
    pub fn with_qemu_img(mut self, qemu_img: QemuImg) -> Self {
        self.qemu_img = qemu_img;
        self
    }

    /// Where they are.
    #[must_use]
    pub const fn paths(&self) -> &InstancePaths {
        &self.paths
    }

    /// Makes the server's directory (also its `save` directory's parent); repeatable.
    pub async fn create_dir(&self) -> Result<(), FilesError> {
        unimplemented!()
    }

    /// Probe of [`Self::build_disk`]: the own disk is complete and an overlay of `base`.
    ///
    /// # Errors
    /// [`FilesError::ForeignDisk`] when there is another disk in its place.
    pub async fn disk_is_built(&self, base: &CachedImage) -> Result<bool, FilesError> {
        let _ = base;
        unimplemented!()
    }

    /// Makes the own disk from `base`, `root_gib` large (0 = as the image). Never replaces a disk.
    pub async fn build_disk(&self, base: &CachedImage, root_gib: u64) -> Result<(), FilesError> {
        let _ = (base, root_gib);
        unimplemented!()
    }

    /// Probe of [`Self::build_rescue_disk`]: the rescue disk is the one that `operation` made.
    pub async fn rescue_disk_is_built(
        &self,
        base: &CachedImage,
        operation: OperationId,
    ) -> Result<bool, FilesError> {
        let _ = (base, operation);
        unimplemented!()
    }

    /// Makes a fresh rescue disk from `base` for `operation`, in place of one that an earlier failed
    /// rescue may have left.
    pub async fn build_rescue_disk(
        &self,
        base: &CachedImage,
        operation: OperationId,
    ) -> Result<(), FilesError> {
        let _ = (base, operation);
        unimplemented!()
    }

    /// Probe of [`Self::remove_rescue_files`]: whether any file of a rescue is left.
    pub async fn rescue_files_exist(&self) -> Result<bool, FilesError> {
        unimplemented!()
    }

    /// Removes rescue disk, rescue config drive and, last, the stash.
    pub async fn remove_rescue_files(&self) -> Result<(), FilesError> {
        unimplemented!()
    }

    /// Keeps the definition that unrescue will put back. A stash that exists stays: it is the
    /// original, whatever the domain's definition is now (invariant I9).
    pub async fn stash_definition(&self, xml: &str) -> Result<(), FilesError> {
        let _ = xml;
        unimplemented!()
    }

    /// The stashed definition, if there is one. Also the probe of [`Self::stash_definition`].
    pub async fn stashed_definition(&self) -> Result<Option<String>, FilesError> {
        unimplemented!()
    }

    /// The last `max_bytes` of the console log as text; `None` when there is no log.
    pub async fn console_log_tail(&self, max_bytes: u64) -> Result<Option<String>, FilesError> {
        let _ = max_bytes;
        unimplemented!()
    }

    /// Probe of [`Self::remove_all`].
    pub async fn is_removed(&self) -> Result<bool, FilesError> {
        unimplemented!()
    }

    /// Removes the directory with everything in it.
    pub async fn remove_all(&self) -> Result<(), FilesError> {
        unimplemented!()
    }
}
