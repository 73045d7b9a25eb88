//! Saved memory of a server: one data file and a manifest that says what may be done with it.

use std::path::PathBuf;

use reprieve_core::OperationId;
use reprieve_core::conclude::SavedMemory;
use reprieve_core::ports::{DomainState, InstancePaths};
use serde::{Deserialize, Serialize};

/// What the manifest says.
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

/// What made a save; for people and for choosing a host later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaveFacts {
    /// Host on which it was made.
    pub host: String,
    /// Version of the hypervisor, as libvirt numbers it.
    pub hypervisor_version: u64,
    /// Whether the guest ran on KVM.
    pub kvm: bool,
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
    pub modified_ns: i128,
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
    /// Disks the guest had.
    pub disks: Vec<PathBuf>,
    /// What made it.
    pub facts: SaveFacts,
    /// Filled in by the commit.
    pub data: Option<SavedData>,
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
    /// When, microseconds since the Unix epoch.
    pub at_micros: i64,
}

/// Why saved memory cannot be handled as asked. Nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// There is no saved memory.
    #[error("there is no saved memory in {dir}", dir = dir.display())]
    Missing {
        /// Where it would be.
        dir: PathBuf,
    },
    /// The data file is not there or shorter than it was.
    #[error("the saved memory {path} is incomplete: {problem}", path = path.display())]
    Incomplete {
        /// Data file.
        path: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// The data is not what was saved.
    #[error("the saved memory {path} is damaged: its checksum is {got}, not {expected}", path = path.display())]
    Damaged {
        /// Data file.
        path: PathBuf,
        /// Digest at the time of the save.
        expected: String,
        /// Digest now.
        got: String,
    },
    /// The guest that came from it has run.
    #[error("the saved memory was restored by operation {by} already and is never restored again")]
    AlreadyRestored {
        /// The operation.
        by: OperationId,
    },
    /// The user chose to boot without it.
    #[error("the saved memory was given up when the server was booted without it")]
    Retired,
    /// A disk is not as it was when the memory was saved.
    #[error("disk {path} changed since the memory was saved ({what}): restoring it would corrupt the disk", path = path.display())]
    DisksChanged {
        /// The disk.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// The manifest does not allow this now.
    #[error("saved memory that is {state:?} by operation {operation} cannot be {action}")]
    WrongState {
        /// State of the manifest.
        state: SaveState,
        /// Operation that brought it there.
        operation: OperationId,
        /// What was asked.
        action: &'static str,
    },
    /// What is known about the guest does not allow this.
    #[error("saved memory cannot be {action}: {problem}")]
    Guest {
        /// What was asked.
        action: &'static str,
        /// What is wrong with the guest.
        problem: &'static str,
    },
    /// The manifest is not readable as one.
    #[error("{path} cannot be read as a manifest of saved memory: {problem}", path = path.display())]
    BadManifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        problem: String,
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
    /// The work was stopped because nobody waited for it any more.
    #[error("the work on saved memory was interrupted")]
    Interrupted,
}

/// Saved memory of one server.
#[derive(Debug, Clone)]
pub struct SaveStore {
    paths: InstancePaths,
}

impl SaveStore {
    /// Of the server with these files.
    #[must_use]
    pub fn new(paths: InstancePaths) -> Self {
        Self { paths }
    }

    /// The file that the hypervisor has to save into during `operation`
    /// (`save/memory-<operation>.part`).
    #[must_use]
    pub fn part_file(&self, operation: OperationId) -> PathBuf {
        self.paths.save_dir().join(format!("memory-{operation}.part"))
    }

    /// The data file of a committed save (`save/memory-<operation>`).
    #[must_use]
    pub fn data_file(&self, operation: OperationId) -> PathBuf {
        self.paths.save_dir().join(format!("memory-{operation}"))
    }

    /// What the control plane has to know. Cheap: reads the manifest and sizes, no digest.
    /// Saved or restoring with data of the right size is `Valid`; an unreadable manifest, missing
    /// data, a save in progress with data, consumed and retired are `Unusable`.
    pub async fn status(&self) -> Result<SavedMemory, SaveError> {
        unimplemented!()
    }

    /// The manifest, if there is one: the probe of every step below.
    ///
    /// # Errors
    /// [`SaveError::BadManifest`] when it cannot be read.
    pub async fn manifest(&self) -> Result<Option<Manifest>, SaveError> {
        unimplemented!()
    }

    /// Announces a save: manifest `saving`. `guest` has to have a process; that it runs proves that
    /// leftovers of earlier saves which are not `saved` or `restoring` are of no use. Probe:
    /// manifest is `saving` (or later) and `saved_by` is `operation`.
    pub async fn open(
        &self,
        operation: OperationId,
        guest: &DomainState,
        plan: SavePlan,
    ) -> Result<(), SaveError> {
        let _ = (operation, guest, plan);
        unimplemented!()
    }

    /// Gives up a save whose guest still has its process: removes the partial data and the manifest.
    /// Refused when the guest is gone, because then the partial file may be all that is left of it.
    pub async fn abandon_save(
        &self,
        operation: OperationId,
        guest: &DomainState,
    ) -> Result<(), SaveError> {
        let _ = (operation, guest);
        unimplemented!()
    }

    /// Makes the saved data durable, digests it, fingerprints the disks, gives the data its final
    /// name and the manifest the state `saved`. Call only when the hypervisor says that the file is
    /// complete (`save_is_complete`) and the guest process is gone. Probe: manifest `saved` by
    /// `operation`.
    pub async fn commit(&self, operation: OperationId) -> Result<(), SaveError> {
        let _ = operation;
        unimplemented!()
    }

    /// Checks everything: state, size, digest (reads all of the data), disks. Returns the data file.
    pub async fn verify(&self) -> Result<PathBuf, SaveError> {
        unimplemented!()
    }

    /// Announces a restore: `saved` → `restoring`. Repeatable by the same operation. Checks size and
    /// disks (cheap), not the digest. Returns the data file to restore from.
    pub async fn open_restore(&self, operation: OperationId) -> Result<PathBuf, SaveError> {
        let _ = operation;
        unimplemented!()
    }

    /// The data file, if `operation` may restore from it now: state `restoring` by it, size and
    /// disks unchanged. For the step that restores, which may be repeated long after it was opened.
    pub async fn restorable(&self, operation: OperationId) -> Result<PathBuf, SaveError> {
        let _ = operation;
        unimplemented!()
    }

    /// Back from `restoring` to `saved`, because the restored guest is gone without having run a CPU.
    /// Refused while the guest has a process.
    pub async fn abandon_restore(
        &self,
        operation: OperationId,
        guest: Option<&DomainState>,
    ) -> Result<(), SaveError> {
        let _ = (operation, guest);
        unimplemented!()
    }

    /// `restoring` → `consumed`, before any CPU runs: from now on this memory is never restored
    /// again. Refused unless the guest has a process (the restore has happened).
    pub async fn consume(
        &self,
        operation: OperationId,
        guest: &DomainState,
    ) -> Result<(), SaveError> {
        let _ = (operation, guest);
        unimplemented!()
    }

    /// Declares whatever is there unusable, because the user chose to boot without it. Keeps the
    /// data until [`Self::remove`]. Does nothing when there is no manifest.
    pub async fn retire(&self, operation: OperationId) -> Result<(), SaveError> {
        let _ = operation;
        unimplemented!()
    }

    /// Removes data and then manifest of a `consumed` or `retired` save; does nothing when there is
    /// no manifest. Call only when the guest that came from it, or was booted instead, is known to
    /// run. Probe: [`Self::manifest`] is `None`.
    pub async fn remove(&self, operation: OperationId) -> Result<(), SaveError> {
        let _ = operation;
        unimplemented!()
    }
}

/// What is known when a save begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavePlan {
    /// Disks of the guest that must not change until it is restored (own disk, base image).
    pub disks: Vec<PathBuf>,
    /// What makes it.
    pub facts: SaveFacts,
}
