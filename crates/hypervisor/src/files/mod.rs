//! Files of one server on its host: disks, rescue disks, stashed definition, console log.
//!
//! ```text
//! <instances>/<uuid>/            0711  (QEMU's user has to pass, nobody else can list)
//!   disk                         overlay of the cached image; never replaced, never rebuilt
//!   disk.config                  config drive (crate::config_drive)
//!   disk.rescue                  overlay of the rescue image, made anew for each rescue
//!   disk.rescue.operation        the operation that made it
//!   disk.config.rescue           config drive of the rescue
//!   unrescue.xml                 the original definition; the last thing an unrescue removes
//!   console.log                  serial console, written by virtlogd
//!   save/                  0700  saved memory (crate::saved_memory)
//! <instances>/<uuid>.deleting    what a removal that was cut off has left
//! ```
//!
//! Invariants: every file gets its final name only when it is complete and durable, so a final name
//! is proof (I3). The own disk is never replaced and its name never given to anything else (I9).
//! A stash that exists is never overwritten (I9). Removal leaves the directory by a rename first, so
//! a server that is half removed is not there; it never follows a symbolic link.
//!
//! Files are made for their owner only (0600); libvirt gives each of them to QEMU's user while a guest
//! uses it ("dynamic ownership") and back afterwards.

mod overlay;
mod qemu_img;
mod removal;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use reprieve_core::OperationId;
use reprieve_core::ports::InstancePaths;

use crate::durable::{self, FileError, off_thread};
use crate::image_cache::CachedImage;
pub use qemu_img::QemuImg;

const DIR_MODE: u32 = 0o711;
const FILE_MODE: u32 = 0o600;
/// Far more than the largest definition libvirt accepts.
const MAX_DEFINITION_BYTES: u64 = 10 << 20;
/// An operation id has 36 characters.
const MAX_MARK_BYTES: u64 = 64;
/// Disks are whole sectors.
const SECTOR: u64 = 512;
const GIB: u64 = 1 << 30;

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
    #[error(transparent)]
    Io(#[from] FileError),
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

    /// Makes the server's directory, and the directory of all servers; repeatable.
    ///
    /// # Errors
    /// [`FilesError::Io`].
    pub async fn create_dir(&self) -> Result<(), FilesError> {
        let dir = self.paths.dir.clone();
        Ok(off_thread(&self.paths.dir, move || {
            if let Some(parent) = dir.parent() {
                durable::effect("create", parent, || std::fs::create_dir_all(parent))?;
            }
            durable::create_dir(&dir, DIR_MODE)
        })
        .await?)
    }

    /// Probe of [`Self::build_disk`]: the own disk is there and was made from `base`.
    ///
    /// # Errors
    /// [`FilesError::ForeignDisk`] when there is another disk in its place.
    pub async fn disk_is_built(&self, base: &CachedImage) -> Result<bool, FilesError> {
        let path = self.paths.disk();
        match inspect(&path, base).await? {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(problem)) => Err(FilesError::ForeignDisk { path, problem }),
        }
    }

    /// Makes the own disk from `base`, `root_gib` large (0 = as the image). Never replaces a disk.
    /// Also of an ISO image the disk is an overlay, so that no guest ever writes to the cache.
    ///
    /// # Errors
    /// [`FilesError::FlavorTooSmall`], [`FilesError::QemuImg`], [`FilesError::ForeignDisk`].
    pub async fn build_disk(&self, base: &CachedImage, root_gib: u64) -> Result<(), FilesError> {
        let flavor_bytes = root_gib.saturating_mul(GIB);
        if root_gib > 0 && flavor_bytes < base.virtual_size {
            return Err(FilesError::FlavorTooSmall {
                image_bytes: base.virtual_size,
                flavor_bytes,
            });
        }
        if self.disk_is_built(base).await? {
            return Ok(());
        }
        let path = self.paths.disk();
        let part = self.build_part(&path, base, flavor_bytes.max(base.virtual_size)).await?;
        Ok(off_thread(&path.clone(), move || {
            durable::sync_file(&part)?;
            durable::rename_new(&part, &path)
        })
        .await?)
    }

    /// Probe of [`Self::build_rescue_disk`]: the rescue disk is the one that `operation` made from
    /// `base`.
    ///
    /// # Errors
    /// [`FilesError::Io`].
    pub async fn rescue_disk_is_built(
        &self,
        base: &CachedImage,
        operation: OperationId,
    ) -> Result<bool, FilesError> {
        let mark = self.rescue_mark();
        let marked = off_thread(&mark.clone(), move || {
            let mark = durable::read_head(&mark, MAX_MARK_BYTES)?;
            Ok(mark.is_some_and(|(text, _)| text == operation.to_string().as_bytes()))
        })
        .await?;
        Ok(marked && inspect(&self.paths.rescue_disk(), base).await? == Some(Ok(())))
    }

    /// Makes a fresh rescue disk from `base` for `operation`, in place of one that an earlier failed
    /// rescue may have left. As large as the image, as Nova makes it.
    ///
    /// # Errors
    /// [`FilesError::QemuImg`], [`FilesError::Io`].
    pub async fn build_rescue_disk(
        &self,
        base: &CachedImage,
        operation: OperationId,
    ) -> Result<(), FilesError> {
        let (path, mark) = (self.paths.rescue_disk(), self.rescue_mark());
        let part = self.build_part(&path, base, base.virtual_size).await?;
        Ok(off_thread(&path.clone(), move || {
            // The mark says that the disk with the final name is this operation's. Without a mark,
            // a crash in between leaves a disk that the probe does not take for its own.
            durable::remove_file(&mark)?;
            durable::publish(&part, &path)?;
            durable::replace_file(&mark, operation.to_string().as_bytes(), FILE_MODE)
        })
        .await?)
    }

    fn rescue_mark(&self) -> PathBuf {
        self.paths.dir.join("disk.rescue.operation")
    }

    /// Everything that a rescue makes, in the order in which it is removed: the stash last, because
    /// it is the way back.
    fn rescue_files(&self) -> [PathBuf; 4] {
        let (disk, config) = (self.paths.rescue_disk(), self.paths.rescue_config_drive());
        let (mark, stash) = (self.rescue_mark(), self.paths.stashed_definition());
        [mark, disk, config, stash]
    }

    /// Writes a disk that is to be called `path` under a name of its own, and returns that.
    async fn build_part(
        &self,
        path: &Path,
        base: &CachedImage,
        virtual_size: u64,
    ) -> Result<PathBuf, FilesError> {
        let (wanted, part) = (path.to_owned(), durable::new_part(path));
        off_thread(path, move || durable::sweep_parts(&wanted)).await?;
        let size = virtual_size.next_multiple_of(SECTOR);
        self.qemu_img.create_overlay(&part, base, size).await?;
        let built = part.clone();
        off_thread(path, move || durable::set_mode(&built, FILE_MODE)).await?;
        Ok(part)
    }

    /// Probe of [`Self::remove_rescue_files`]: whether any file of a rescue is left.
    ///
    /// # Errors
    /// [`FilesError::Io`].
    pub async fn rescue_files_exist(&self) -> Result<bool, FilesError> {
        let files = self.rescue_files();
        Ok(off_thread(&self.paths.dir, move || {
            for file in &files {
                if durable::exists(file)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await?)
    }

    /// Removes rescue disk, rescue config drive and, last, the stash.
    ///
    /// # Errors
    /// [`FilesError::Io`].
    pub async fn remove_rescue_files(&self) -> Result<(), FilesError> {
        let (files, stash) = (self.rescue_files(), self.paths.stashed_definition());
        Ok(off_thread(&self.paths.dir, move || {
            if !durable::exists(stash.parent().unwrap_or(&stash))? {
                return Ok(());
            }
            for file in &files {
                if *file == stash {
                    // The others are gone for good before the way back is.
                    durable::sync_parent(file)?;
                }
                durable::sweep_parts(file)?;
                durable::remove_file(file)?;
            }
            durable::sync_parent(&stash)
        })
        .await?)
    }

    /// Keeps the definition that unrescue will put back. A stash that exists stays: it is the
    /// original, whatever the domain's definition is by now (invariant I9).
    ///
    /// # Errors
    /// [`FilesError::Io`].
    pub async fn stash_definition(&self, xml: &str) -> Result<(), FilesError> {
        let (path, xml) = (self.paths.stashed_definition(), xml.to_owned());
        Ok(off_thread(&self.paths.dir, move || {
            if durable::exists(&path)? {
                return Ok(());
            }
            durable::replace_file(&path, xml.as_bytes(), FILE_MODE)
        })
        .await?)
    }

    /// The stashed definition, if there is one. Also the probe of [`Self::stash_definition`].
    ///
    /// # Errors
    /// [`FilesError::Io`], also when it is not text.
    pub async fn stashed_definition(&self) -> Result<Option<String>, FilesError> {
        let path = self.paths.stashed_definition();
        Ok(off_thread(&self.paths.dir, move || {
            let Some((text, size)) = durable::read_head(&path, MAX_DEFINITION_BYTES)? else {
                return Ok(None);
            };
            let bad = |problem: &str| {
                FileError::new("read", &path, io::Error::new(io::ErrorKind::InvalidData, problem))
            };
            if size > MAX_DEFINITION_BYTES {
                return Err(bad("it is too large for a definition"));
            }
            let text = String::from_utf8(text).map_err(|_| bad("it is not UTF-8"))?;
            Ok(Some(text))
        })
        .await?)
    }

    /// The last `max_bytes` of the console log as text, what is not UTF-8 replaced; `None` when
    /// there is no log. The guest writes it: it is untrusted text.
    ///
    /// # Errors
    /// [`FilesError::Io`].
    pub async fn console_log_tail(&self, max_bytes: u64) -> Result<Option<String>, FilesError> {
        let path = self.paths.console_log();
        Ok(off_thread(&self.paths.dir, move || {
            let Some(mut log) = durable::open_file(&path)? else { return Ok(None) };
            let mut read = || {
                let size = log.metadata()?.len();
                log.seek(SeekFrom::Start(size.saturating_sub(max_bytes)))?;
                let mut tail = Vec::new();
                (&log).take(max_bytes).read_to_end(&mut tail)?;
                Ok(tail)
            };
            let tail = read().map_err(|e| FileError::new("read", &path, e))?;
            Ok(Some(String::from_utf8_lossy(&tail).into_owned()))
        })
        .await?)
    }

    /// Probe of [`Self::remove_all`].
    ///
    /// # Errors
    /// [`FilesError::Io`].
    pub async fn is_removed(&self) -> Result<bool, FilesError> {
        let dir = self.paths.dir.clone();
        Ok(off_thread(&self.paths.dir, move || removal::is_removed(&dir)).await?)
    }

    /// Removes the directory with everything in it. Call only when the domain is gone.
    ///
    /// # Errors
    /// [`FilesError::Io`].
    pub async fn remove_all(&self) -> Result<(), FilesError> {
        let dir = self.paths.dir.clone();
        Ok(off_thread(&self.paths.dir, move || removal::remove_all(&dir)).await?)
    }
}

/// What [`overlay::check`] says of a disk; `None` when there is none.
async fn inspect(
    path: &Path,
    base: &CachedImage,
) -> Result<Option<Result<(), String>>, FilesError> {
    let (disk, base) = (path.to_owned(), base.clone());
    Ok(off_thread(path, move || overlay::check(&disk, &base)).await?)
}
