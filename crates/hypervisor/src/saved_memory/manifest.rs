//! The manifest: what it says, how it is read and written, and what a disk looked like.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use reprieve_core::OperationId;
use serde::{Deserialize, Serialize};

use super::SaveError;
use crate::durable;

/// Version of the manifest that is written, and the only one that is read.
pub const MANIFEST_VERSION: u32 = 1;
/// A manifest has a few lines per disk; whatever is longer was not written here.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
const MANIFEST_MODE: u32 = 0o600;

/// What may be done with saved memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaveState {
    /// A save has been announced; the data may be missing, partial or complete.
    Saving,
    /// The data is complete, durable and digested: the guest can be brought back.
    Saved,
    /// A restore has been announced; no CPU of the restored guest ran.
    Restoring,
    /// The guest that came from it has or may have run: it is never restored again.
    Consumed,
    /// The user chose to boot without it: it is never restored.
    Retired,
}

impl SaveState {
    /// The word in the manifest and in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Saving => "saving",
            Self::Saved => "saved",
            Self::Restoring => "restoring",
            Self::Consumed => "consumed",
            Self::Retired => "retired",
        }
    }
}

impl std::fmt::Display for SaveState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What made a save; for people, and for choosing where to restore it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaveFacts {
    /// Host on which it was made.
    pub host: String,
    /// Version of the hypervisor, as libvirt numbers it.
    pub hypervisor_version: u64,
    /// Whether the guest ran on KVM.
    pub kvm: bool,
}

/// What is known when a save begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavePlan {
    /// Files that must not change until the guest is restored: its disks and their base images.
    pub disks: Vec<PathBuf>,
    /// What makes it.
    pub facts: SaveFacts,
}

/// A disk as it was when the save was committed. Owner, mode and change time are not part of it:
/// libvirt changes them when it labels files for a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFingerprint {
    /// The file.
    pub path: PathBuf,
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Last modification, nanoseconds since the Unix epoch.
    pub modified_ns: i64,
}

impl DiskFingerprint {
    /// Of the file as it is now.
    pub(super) fn of(path: &Path) -> Result<Self, SaveError> {
        let metadata =
            fs::metadata(path).map_err(|e| durable::FileError::new("inspect disk", path, e))?;
        Ok(Self {
            path: path.to_owned(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns: modified_ns(&metadata),
        })
    }

    /// Whether the file still is what it was.
    pub(super) fn check(&self) -> Result<(), SaveError> {
        let changed = |what| SaveError::DisksChanged { path: self.path.clone(), what };
        let now = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(changed("it is gone".to_owned()));
            }
            Err(e) => return Err(durable::FileError::new("inspect disk", &self.path, e).into()),
        };
        if now.ino() != self.inode {
            return Err(changed("it was replaced".to_owned()));
        }
        if now.size() != self.size {
            return Err(changed(format!("from {} to {} bytes", self.size, now.size())));
        }
        if modified_ns(&now) != self.modified_ns {
            return Err(changed("it was written to".to_owned()));
        }
        Ok(())
    }
}

/// Last modification in nanoseconds; good until the year 2262.
pub(super) fn modified_ns(metadata: &fs::Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// What the commit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedData {
    /// Size of the data file in bytes.
    pub size: u64,
    /// BLAKE3 of the data file, hexadecimal.
    pub blake3: String,
    /// The disks at that moment.
    pub disks: Vec<DiskFingerprint>,
    /// When, in microseconds since the Unix epoch.
    pub at_micros: i64,
}

/// The manifest, `save/manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub version: u32,
    /// What may be done.
    pub state: SaveState,
    /// The operation that saved.
    pub saved_by: OperationId,
    /// The operation that announced the current restore, consumed or retired it.
    pub used_by: Option<OperationId>,
    /// Files that must not change until the guest is restored.
    pub disks: Vec<PathBuf>,
    /// What made it.
    pub facts: SaveFacts,
    /// What the commit found; `None` while saving.
    pub data: Option<SavedData>,
}

impl Manifest {
    /// The announcement of a save.
    pub(super) fn announce(operation: OperationId, plan: SavePlan) -> Self {
        Self {
            version: MANIFEST_VERSION,
            state: SaveState::Saving,
            saved_by: operation,
            used_by: None,
            disks: plan.disks,
            facts: plan.facts,
            data: None,
        }
    }

    /// The same save in another state, brought there by `operation`.
    pub(super) fn moved(&self, state: SaveState, operation: Option<OperationId>) -> Self {
        Self { state, used_by: operation, ..self.clone() }
    }

    /// Reads it; `None` when there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, SaveError> {
        let Some((text, size)) = durable::read_head(path, MAX_MANIFEST_BYTES)? else {
            return Ok(None);
        };
        let bad = |problem| SaveError::BadManifest { path: path.to_owned(), problem };
        if size > MAX_MANIFEST_BYTES {
            return Err(bad(format!("it has {size} bytes")));
        }
        let manifest: Self = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
        if manifest.version != MANIFEST_VERSION {
            return Err(bad(format!("version {} is not known", manifest.version)));
        }
        Ok(Some(manifest))
    }

    /// Writes it in place of the one before, durably.
    pub(super) fn write(&self, path: &Path) -> Result<(), SaveError> {
        let text = serde_json::to_vec_pretty(self).map_err(|e| SaveError::BadManifest {
            path: path.to_owned(),
            problem: e.to_string(),
        })?;
        Ok(durable::replace_file(path, &text, MANIFEST_MODE)?)
    }
}
