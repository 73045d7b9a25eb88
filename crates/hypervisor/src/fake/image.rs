//! An image service in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use reprieve_core::ImageId;
use reprieve_core::ports::{ImageSource, ImageSourceError};
use reprieve_core::spec::{DiskFormat, ImageSpec};
use sha2::{Digest, Sha512};

/// Images in memory, and how often each was fetched. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct FakeImageSource {
    state: Arc<Mutex<BTreeMap<ImageId, Held>>>,
}

#[derive(Debug)]
struct Held {
    data: Vec<u8>,
    fetches: u64,
    fail_next: Option<ImageSourceError>,
}

impl FakeImageSource {
    /// Without images.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a raw image of 1 MiB and returns its specification.
    #[must_use]
    pub fn add_raw(&self, name: &str) -> ImageSpec {
        self.add(name, DiskFormat::Raw, vec![0x5a; 1 << 20])
    }

    /// Adds an image with this content and returns its specification.
    #[must_use]
    pub fn add(&self, name: &str, format: DiskFormat, data: Vec<u8>) -> ImageSpec {
        let image = ImageSpec {
            id: ImageId::random(),
            name: name.to_owned(),
            format,
            size_bytes: data.len() as u64,
            sha512: Sha512::digest(&data).iter().map(|byte| format!("{byte:02x}")).collect(),
            properties: BTreeMap::new(),
        };
        let held = Held { data, fetches: 0, fail_next: None };
        self.with(|images| images.insert(image.id, held));
        image
    }

    /// What is sent is not what was announced any more.
    pub fn damage(&self, image: ImageId) {
        self.with(|images| {
            if let Some(byte) = images.get_mut(&image).and_then(|held| held.data.last_mut()) {
                *byte ^= 1;
            }
        });
    }

    /// The next fetch of this image fails.
    pub fn fail_next(&self, image: ImageId, error: ImageSourceError) {
        self.with(|images| {
            if let Some(held) = images.get_mut(&image) {
                held.fail_next = Some(error);
            }
        });
    }

    /// How often this image was fetched.
    #[must_use]
    pub fn fetches(&self, image: ImageId) -> u64 {
        self.with(|images| images.get(&image).map_or(0, |held| held.fetches))
    }

    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<ImageId, Held>) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl ImageSource for FakeImageSource {
    async fn fetch(&self, image: &ImageSpec, file: &Path) -> Result<(), ImageSourceError> {
        let data = self.with(|images| {
            let held = images.get_mut(&image.id).ok_or(ImageSourceError::NotFound(image.id))?;
            held.fetches += 1;
            match held.fail_next.take() {
                Some(error) => Err(error),
                None => Ok(held.data.clone()),
            }
        })?;
        tokio::fs::write(file, data)
            .await
            .map_err(|e| ImageSourceError::Unreadable { image: image.id, message: e.to_string() })
    }
}
