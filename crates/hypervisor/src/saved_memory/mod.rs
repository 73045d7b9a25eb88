//! Saved memory of a server: one data file, and a manifest that says what may be done with it.
//!
//! Owns invariant I8: a saved memory image is never deleted before the guest that came from it is
//! known to run, never restored twice, never restored over disks that changed, and never replaced by
//! a silent cold boot. The hypervisor's own "managed save" keeps none of this: an image whose header
//! is incomplete is deleted and the guest booted cold, and a flipped bit is restored without notice.
//!
//! ```text
//! save/manifest.json                     save/memory-<operation>.part -> save/memory-<operation>
//!
//!               open (guest runs)
//!   (nothing) --------------------> saving --commit (guest gone, data complete)--> saved
//!       ^                             |                                           |    ^
//!       |<-- abandon_save ------------+                              open_restore |    | abandon_restore
//!       |    (guest runs)                                                         v    | (guest gone)
//!       |                                                                      restoring
//!       |                                                                         |
//!       |                                              consume (guest restored,   |
//!       |                                              no CPU ran yet)            v
//!       |<-- remove (a guest is known to run) ------------------------------- consumed
//!       |<-- remove ------------------- retired <-- retire (from every state: the user chose to
//!                                                   boot without it)
//! ```
//!
//! # Why no kill -9, and no power cut, breaks the promise
//!
//! Every transition is one atomic replacement of the manifest (write `.part`, fsync, rename, fsync
//! directory) under a lock of the directory that dies with the process. So after a crash the manifest
//! is the old one or the new one; what is left to argue is what each line leaves on disk.
//!
//! *open* writes `saving` before the hypervisor is asked to save. Killed before: nothing was
//! announced, the guest runs. Killed after: the guest runs, or a save that the hypervisor finishes by
//! itself goes on into the `.part` named after the operation, where the repeated step finds it. It
//! refuses to replace a save that is `saved` or `restoring`; data of other saves is swept only after
//! the new manifest is durable, and only because the caller showed a guest with a process.
//!
//! *save* (the hypervisor's) changes only the `.part`. The data is worth nothing while the guest has
//! a process, and is all there is of it once the process is gone. Hence *abandon_save* takes the
//! state of the guest and refuses without a process, unless not a byte was written; a partial save of
//! a guest that is gone stays where it is, reported as unusable, for a person.
//!
//! *commit*: 1. fsync data: killed before or after, nothing has changed but durability. 2. digest,
//! fsync of the disks, fingerprints: only reading. The fingerprints are taken here, after the guest
//! is gone, and a disk that is newer than the data is refused: somebody wrote to it in between.
//! 3. rename to the final name: killed after it, the manifest still says `saving` and the repeated
//! commit finds the data under the final name and does 1 and 2 again. 4. manifest `saved`: from here
//! on the digest and the fingerprints decide.
//!
//! *verify* and *open_restore* change nothing but `saved` to `restoring`. Killed while `restoring`
//! before or during the hypervisor's restore: the data file is only read by a restore, no CPU ran,
//! the disks are as they were; the step may be repeated, by the same operation, or by another one
//! that shows that no guest came of it.
//!
//! *consume* is durable before any CPU is let run. Killed before it: the restored guest is paused or
//! gone, its memory unchanged in the file. Killed after it but before the CPUs run: the guest is
//! paused and the operation goes on; if the guest is lost then, its memory is lost with it and said
//! to be lost, for restoring again could not be told from restoring twice. Should somebody else let
//! the CPUs run before it (virsh), the disks change and every later check refuses.
//!
//! *remove* deletes data first, then the manifest. The other order would leave data that nothing
//! speaks for; this order leaves a manifest that forbids the restore and makes the repetition finish.
//! It acts on `consumed` and `retired` only, so no data is ever deleted in `saved` or `restoring`,
//! nor in `saving` of a guest that is gone.
//!
//! A manifest that cannot be read never counts as "nothing saved": the status is unusable, and every
//! transition but *retire* (and *open*, with a running guest) refuses.

mod manifest;
mod store;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reprieve_core::OperationId;
use reprieve_core::conclude::SavedMemory;
use reprieve_core::ports::{DomainState, InstancePaths};
use reprieve_outside::outside;

use crate::durable::FileError;
pub use manifest::{
    DiskFingerprint, MANIFEST_VERSION, Manifest, SaveFacts, SavePlan, SaveState, SavedData,
};
use store::Store;

/// Why saved memory cannot be handled as asked. Nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// There is no saved memory.
    #[error("there is no saved memory in {dir}", dir = dir.display())]
    Missing {
        /// Where it would be.
        dir: PathBuf,
    },
    /// The data file is not there or not as long as it was.
    #[error("the saved memory {path} is incomplete: {problem}", path = path.display())]
    Incomplete {
        /// Data file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The data is not what was saved.
    #[error(
        "the saved memory {path} is damaged: its checksum is {got}, not {expected}",
        path = path.display()
    )]
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
    #[error(
        "disk {path} changed since the memory was saved ({what}): restoring it would corrupt the \
         disk; a HARD reboot boots the server from the disk instead",
        path = path.display()
    )]
    DisksChanged {
        /// The disk.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// The manifest does not allow this now.
    #[error("saved memory that is {state} by operation {operation} cannot be {action}")]
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
    #[error(
        "{path} cannot be read as a manifest of saved memory: {problem}",
        path = path.display()
    )]
    BadManifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The file system.
    #[error(transparent)]
    Io(#[from] FileError),
    /// The work was stopped because nobody waited for it any more. Repeat it.
    #[error("the work on saved memory was interrupted")]
    Interrupted,
}

/// Saved memory for a person to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveDescription {
    /// The manifest.
    pub manifest: Manifest,
    /// Size of the data file, complete or partial; `None` when there is none.
    pub data_bytes: Option<u64>,
    /// Why it cannot be restored, as far as can be told without reading all of it.
    pub problem: Option<String>,
}

/// Saved memory of one server. Every transition may be repeated after a crash at any point, and ends
/// in success when its effect is there already. Where the guest decides what is safe, its state is
/// an argument: pass what the hypervisor said just now.
#[derive(Debug, Clone)]
pub struct SaveStore {
    store: Store,
}

impl SaveStore {
    /// Of the server with these files.
    #[must_use]
    pub fn new(paths: InstancePaths) -> Self {
        Self { store: Store::new(&paths) }
    }

    /// The file that the hypervisor has to save into during `operation`
    /// (`save/memory-<operation>.part`).
    #[must_use]
    pub fn part_file(&self, operation: OperationId) -> PathBuf {
        self.store.part_file(operation)
    }

    /// The data file of a committed save (`save/memory-<operation>`).
    #[must_use]
    pub fn data_file(&self, operation: OperationId) -> PathBuf {
        self.store.data_file(operation)
    }

    /// What the control plane has to know. Cheap: manifest, sizes and disks, no digest.
    ///
    /// `saved` and `restoring` with data of the right size and unchanged disks are `Valid`. An
    /// unreadable manifest, data that is gone, a save in progress that has data, and what is
    /// `consumed` or `retired` are `Unusable`.
    ///
    /// # Errors
    /// [`SaveError::Io`] when it cannot be told.
    pub async fn status(&self) -> Result<SavedMemory, SaveError> {
        self.run(|store, _| store.status()).await
    }

    /// Everything about it, for diagnosis; `None` when nothing is saved.
    ///
    /// # Errors
    /// [`SaveError::BadManifest`], [`SaveError::Io`].
    pub async fn describe(&self) -> Result<Option<SaveDescription>, SaveError> {
        self.run(|store, _| store.describe()).await
    }

    /// The manifest, if there is one: the probe of every transition.
    ///
    /// # Errors
    /// [`SaveError::BadManifest`], [`SaveError::Io`].
    pub async fn manifest(&self) -> Result<Option<Manifest>, SaveError> {
        self.run(|store, _| store.manifest()).await
    }

    /// Announces a save: manifest `saving`. Probe: the manifest's `saved_by` is `operation`.
    ///
    /// # Errors
    /// [`SaveError::Guest`] without a guest process, or with a job on it; [`SaveError::WrongState`]
    /// when other memory is saved that was not used yet.
    pub async fn open(
        &self,
        operation: OperationId,
        guest: &DomainState,
        plan: SavePlan,
    ) -> Result<(), SaveError> {
        let guest = guest.clone();
        self.run(move |store, _| store.open(operation, &guest, plan)).await
    }

    /// Gives up a save whose guest has its process still, or that has no data: removes partial data,
    /// then the manifest.
    ///
    /// # Errors
    /// [`SaveError::Guest`] when the guest is gone: the partial file may be all that is left of it.
    pub async fn abandon_save(
        &self,
        operation: OperationId,
        guest: &DomainState,
    ) -> Result<(), SaveError> {
        let guest = guest.clone();
        self.run(move |store, _| store.abandon_save(operation, &guest)).await
    }

    /// Makes the data durable, digests it, fingerprints the disks, gives the data its final name and
    /// the manifest the state `saved`. Reads all of the data. Call only when the hypervisor says that
    /// the part file is complete and the guest process is gone. Probe: state `saved`.
    ///
    /// # Errors
    /// [`SaveError::Incomplete`] without data, [`SaveError::DisksChanged`] when a disk is newer than
    /// the data, [`SaveError::WrongState`].
    pub async fn commit(&self, operation: OperationId) -> Result<(), SaveError> {
        self.run(move |store, stop| store.commit(operation, stop)).await
    }

    /// Checks state, size, disks and digest (reads all of the data, which also warms the cache for
    /// the restore). Returns the data file.
    ///
    /// # Errors
    /// The reason why it must not be restored.
    pub async fn verify(&self) -> Result<PathBuf, SaveError> {
        self.run(|store, stop| store.verify(stop)).await
    }

    /// Announces a restore: `restoring`. A restore that another operation announced is taken over
    /// when `guest` shows that nothing came of it. Checks all but the digest. Returns the data file.
    /// Probe: state `restoring` and `used_by` is `operation`.
    ///
    /// # Errors
    /// [`SaveError::Guest`] when there is a guest process; the reasons of [`Self::verify`].
    pub async fn open_restore(
        &self,
        operation: OperationId,
        guest: Option<&DomainState>,
    ) -> Result<PathBuf, SaveError> {
        let guest = guest.cloned();
        self.run(move |store, _| store.open_restore(operation, guest.as_ref())).await
    }

    /// The data file, if `operation` may restore from it now: for the step that restores, which may
    /// be repeated long after the restore was opened. Checks all but the digest.
    ///
    /// # Errors
    /// The reason why it must not be restored.
    pub async fn restorable(&self, operation: OperationId) -> Result<PathBuf, SaveError> {
        self.run(move |store, _| store.restorable(operation)).await
    }

    /// Back from `restoring` to `saved`, because the restored guest is gone without having run a CPU.
    ///
    /// # Errors
    /// [`SaveError::Guest`] while there is a guest process.
    pub async fn abandon_restore(
        &self,
        operation: OperationId,
        guest: Option<&DomainState>,
    ) -> Result<(), SaveError> {
        let guest = guest.cloned();
        self.run(move |store, _| store.abandon_restore(operation, guest.as_ref())).await
    }

    /// `restoring` to `consumed`, before any CPU runs: this memory is never restored again.
    /// Probe: state `consumed` and `used_by` is `operation`.
    ///
    /// # Errors
    /// [`SaveError::Guest`] unless the guest has a process, which is what the restore was for.
    pub async fn consume(
        &self,
        operation: OperationId,
        guest: &DomainState,
    ) -> Result<(), SaveError> {
        let guest = guest.clone();
        self.run(move |store, _| store.consume(operation, &guest)).await
    }

    /// Declares whatever is there unusable, because the user chose to boot without it. The data stays
    /// until [`Self::remove`]. Does nothing when nothing is saved. Probe: no manifest, or `retired`.
    ///
    /// # Errors
    /// [`SaveError::Io`].
    pub async fn retire(&self, operation: OperationId) -> Result<(), SaveError> {
        self.run(move |store, _| store.retire(operation)).await
    }

    /// Removes data and then manifest of what is `consumed` or `retired`. Call only when the guest
    /// that came from it, or was booted instead, is known to run. Probe: no manifest.
    ///
    /// # Errors
    /// [`SaveError::WrongState`] for memory that may be needed yet.
    pub async fn remove(&self) -> Result<(), SaveError> {
        self.run(|store, _| store.remove()).await
    }

    /// Runs `work` off the async threads. When the caller goes away, long work ends soon, and the
    /// next transition waits for it at the lock.
    async fn run<T, F>(&self, work: F) -> Result<T, SaveError>
    where
        T: Send + 'static,
        F: FnOnce(&Store, &AtomicBool) -> Result<T, SaveError> + Send + 'static,
    {
        struct StopOnDrop(Arc<AtomicBool>);
        impl Drop for StopOnDrop {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let stop = StopOnDrop(Arc::default());
        let (store, stopped) = (self.store.clone(), Arc::clone(&stop.0));
        let work = move || work(&store, &stopped);
        let done = outside(async move { tokio::task::spawn_blocking(work).await }).await;
        done.unwrap_or(Err(SaveError::Interrupted))
    }
}
