//! Verified, read-only copies of images on this host, from which disks are made as overlays.
//!
//! ```text
//! (nothing) --fetch--> .part --size, sha512, format, read-only, fsync--> verified --rename--> cached
//! ```
//!
//! A file is called `<image id>.<sha512>`: an image that changed under its id is another file, and a
//! final name is proof of verified content. Nothing is ever removed from the cache: a cached image may
//! be the backing file of any disk, and removing it would destroy that disk (eviction needs a count
//! of users and comes with it).
//!
//! Concurrent calls for one image fetch it once.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use reprieve_core::ImageId;
use reprieve_core::image_format::{ImageFormatError, WINDOW_BYTES, inspect};
use reprieve_core::ports::{ImageSource, ImageSourceError};
use reprieve_core::spec::{DiskFormat, ImageSpec};
use sha2::{Digest, Sha512};

use crate::durable::{self, FileError, off_thread};

/// QEMU's user has to pass; file names hold a checksum that only who has the image knows.
const DIR_MODE: u32 = 0o711;
/// Nobody writes to a cached image. libvirt gives it to QEMU's user while a guest uses it.
const FILE_MODE: u32 = 0o440;
const HASH_BUFFER: usize = 1 << 20;

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
        image: ImageId,
        /// Size or checksum, expected and seen.
        problem: String,
    },
    /// The content is not of the announced format.
    #[error("image {image} cannot be used: {source}")]
    Format {
        /// The image.
        image: ImageId,
        /// Why.
        #[source]
        source: ImageFormatError,
    },
    /// Without a checksum it cannot be verified.
    #[error("image {image} has no valid sha512 checksum; upload it again")]
    NoChecksum {
        /// The image.
        image: ImageId,
    },
    /// The file system.
    #[error(transparent)]
    Io(#[from] FileError),
}

/// The cache of one host.
#[derive(Debug)]
pub struct ImageCache {
    dir: PathBuf,
    /// One lock per file name, held while it is fetched. The outer lock is never held across an
    /// await.
    fetching: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

impl ImageCache {
    /// In `dir`, which is made when it is first needed.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, fetching: Mutex::default() }
    }

    /// Probe: the image if it is in the cache. Cheap: reads the header, not the data, because only
    /// verified data ever gets its final name.
    ///
    /// # Errors
    /// [`ImageCacheError`]; a missing image is no error.
    pub async fn lookup(&self, image: &ImageSpec) -> Result<Option<CachedImage>, ImageCacheError> {
        let path = self.file(image)?;
        recognise(&path, image).await
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
        let path = self.file(image)?;
        if let Some(cached) = recognise(&path, image).await? {
            return Ok(cached);
        }
        let lock = self.lock_of(&path);
        let held = lock.lock().await;
        let fetched = match recognise(&path, image).await {
            Ok(Some(cached)) => Ok(cached),
            Ok(None) => self.fetch(&path, image, source).await,
            Err(e) => Err(e),
        };
        drop(held);
        self.forget_lock(&path, lock);
        fetched
    }

    fn lock_of(&self, path: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(fetching.entry(path.to_owned()).or_default())
    }

    /// Drops the lock's entry when nobody else waits for it.
    fn forget_lock(&self, path: &Path, lock: Arc<tokio::sync::Mutex<()>>) {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        drop(lock);
        if fetching.get(path).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            fetching.remove(path);
        }
    }

    fn file(&self, image: &ImageSpec) -> Result<PathBuf, ImageCacheError> {
        let digest = image.sha512.to_ascii_lowercase();
        if digest.len() != 128 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ImageCacheError::NoChecksum { image: image.id });
        }
        Ok(self.dir.join(format!("{}.{digest}", image.id)))
    }

    async fn fetch(
        &self,
        path: &Path,
        image: &ImageSpec,
        source: &dyn ImageSource,
    ) -> Result<CachedImage, ImageCacheError> {
        let (dir, part) = (self.dir.clone(), durable::new_part(path));
        let wanted = path.to_owned();
        off_thread(&self.dir, move || {
            if let Some(parent) = dir.parent() {
                durable::effect("create", parent, || std::fs::create_dir_all(parent))?;
            }
            durable::create_dir(&dir, DIR_MODE)?;
            durable::sweep_parts(&wanted)
        })
        .await?;
        source.fetch(image, &part).await?;
        let (wanted, fetched) = (image.clone(), part.clone());
        let verified = off_thread(&part, move || Ok(verify(&fetched, &wanted))).await?;
        if let Err(e) = verified {
            off_thread(&part.clone(), move || durable::remove_file(&part)).await?;
            return Err(e);
        }
        let published = path.to_owned();
        off_thread(path, move || {
            durable::set_mode(&part, FILE_MODE)?;
            durable::publish(&part, &published)
        })
        .await?;
        let missing = || ImageCacheError::Damaged {
            image: image.id,
            problem: "it vanished from the cache".to_owned(),
        };
        recognise(path, image).await?.ok_or_else(missing)
    }
}

/// The cached image with its virtual size, from the beginning of the file.
async fn recognise(path: &Path, image: &ImageSpec) -> Result<Option<CachedImage>, ImageCacheError> {
    let file = path.to_owned();
    let read = off_thread(path, move || durable::read_head(&file, WINDOW_BYTES as u64)).await?;
    let Some((head, size)) = read else { return Ok(None) };
    check_size(image, size)?;
    let facts = inspect(image.format, &head, size)
        .map_err(|source| ImageCacheError::Format { image: image.id, source })?;
    Ok(Some(CachedImage {
        path: path.to_owned(),
        format: facts.format,
        virtual_size: facts.virtual_size,
    }))
}

fn check_size(image: &ImageSpec, size: u64) -> Result<(), ImageCacheError> {
    if size == image.size_bytes {
        return Ok(());
    }
    let problem = format!("it has {size} bytes instead of {}", image.size_bytes);
    Err(ImageCacheError::Damaged { image: image.id, problem })
}

/// Size, checksum and format of fetched data. Blocking; reads all of it.
fn verify(path: &Path, image: &ImageSpec) -> Result<(), ImageCacheError> {
    let failed = |e| FileError::new("read", path, e);
    let Some(mut file) = durable::open_file(path)? else {
        return Err(ImageSourceError::Unreadable {
            image: image.id,
            message: "its source reported success but wrote nothing".to_owned(),
        }
        .into());
    };
    check_size(image, file.metadata().map_err(failed)?.len())?;
    let mut head = Vec::with_capacity(WINDOW_BYTES);
    let mut hasher = Sha512::new();
    let mut buffer = vec![0; HASH_BUFFER];
    loop {
        let count = match file.read(&mut buffer) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other.map_err(failed)?,
        };
        let Some(block) = buffer.get(..count).filter(|block| !block.is_empty()) else { break };
        hasher.update(block);
        let missing = WINDOW_BYTES.saturating_sub(head.len()).min(block.len());
        head.extend_from_slice(block.get(..missing).unwrap_or(block));
    }
    let digest = hex(&hasher.finalize());
    if !digest.eq_ignore_ascii_case(&image.sha512) {
        let problem = format!("its sha512 is {digest} instead of {}", image.sha512);
        return Err(ImageCacheError::Damaged { image: image.id, problem });
    }
    inspect(image.format, &head, image.size_bytes)
        .map_err(|source| ImageCacheError::Format { image: image.id, source })?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Images of an image service on the same machine: `<dir>/<image id>`.
///
/// On one file system a hard link is enough, and costs neither time nor space: image data is written
/// once, before it has its name, and never changed afterwards, and the image service's removal only
/// takes its own name away. The shared file becomes read-only. Across file systems the data is copied.
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
        let (original, copy) = (self.dir.join(image.id.to_string()), file.to_owned());
        let unreadable =
            |message: String| ImageSourceError::Unreadable { image: image.id, message };
        let found = off_thread(file, move || {
            // Also refuses a link or a device in place of the data.
            if durable::open_file(&original)?.is_none() {
                return Ok(false);
            }
            if std::fs::hard_link(&original, &copy).is_err() {
                durable::copy_file(&original, &copy, FILE_MODE)?;
            }
            Ok(true)
        });
        match found.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ImageSourceError::NotFound(image.id)),
            Err(e) => Err(unreadable(e.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
