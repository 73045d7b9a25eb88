//! The transitions, one function each, synchronous: lock, read the manifest, decide, act, write.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use reprieve_core::conclude::SavedMemory;
use reprieve_core::ports::{DomainState, InstancePaths};
use reprieve_core::{Clock, OperationId, PowerState, SystemClock};

use super::manifest::{DiskFingerprint, Manifest, SavePlan, SaveState, SavedData, modified_ns};
use super::{SaveDescription, SaveError};
use crate::durable::{self, FileError};

/// Only the daemon and libvirtd (root) read saved memory: it holds the guest's secrets.
const SAVE_DIR_MODE: u32 = 0o700;
const DIGEST_BUFFER: usize = 4 << 20;

type Result<T> = std::result::Result<T, SaveError>;

/// Held while a transition reads, decides and writes, also against another process.
/// The kernel releases it when the process dies.
struct Lock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

/// The files of one server's saved memory.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) dir: PathBuf,
}

impl Store {
    pub(super) fn new(paths: &InstancePaths) -> Self {
        Self { dir: paths.save_dir() }
    }

    pub(super) fn part_file(&self, operation: OperationId) -> PathBuf {
        durable::with_suffix(&self.data_file(operation), ".part")
    }

    pub(super) fn data_file(&self, operation: OperationId) -> PathBuf {
        self.dir.join(format!("memory-{operation}"))
    }

    fn manifest_file(&self) -> PathBuf {
        self.dir.join("manifest.json")
    }

    pub(super) fn manifest(&self) -> Result<Option<Manifest>> {
        Manifest::read(&self.manifest_file())
    }

    /// `None` when there is no directory and thus nothing to lock.
    fn lock(&self) -> Result<Option<Lock>> {
        let failed = |e| FileError::new("lock", &self.dir, e);
        let dir = match durable::open_dir(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        rustix::fs::flock(&dir, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|e| failed(e.into()))?;
        Ok(Some(Lock(dir)))
    }

    /// Lock and manifest of a transition that needs one.
    fn locked(&self) -> Result<(Lock, Manifest)> {
        let missing = || SaveError::Missing { dir: self.dir.clone() };
        let lock = self.lock()?.ok_or_else(missing)?;
        let manifest = self.manifest()?.ok_or_else(missing)?;
        Ok((lock, manifest))
    }

    pub(super) fn open(
        &self,
        operation: OperationId,
        guest: &DomainState,
        plan: SavePlan,
    ) -> Result<()> {
        const ACTION: &str = "opened";
        if !guest.power.has_process() || guest.job {
            return Err(SaveError::Guest { action: ACTION, problem: NOT_IDLE });
        }
        // Without them the save could not be committed, and the guest would be gone by then.
        for disk in &plan.disks {
            DiskFingerprint::of(disk)?;
        }
        durable::create_dir(&self.dir, SAVE_DIR_MODE)?;
        let _lock = self.lock()?;
        match self.manifest() {
            Ok(Some(manifest)) if manifest.saved_by == operation => match manifest.state {
                SaveState::Saving | SaveState::Saved => return self.sweep(Some(operation)),
                SaveState::Restoring | SaveState::Consumed | SaveState::Retired => {
                    return Err(wrong_state(&manifest, ACTION));
                }
            },
            Ok(Some(manifest)) => match manifest.state {
                // Its guest has its process still: nothing of it was lost.
                SaveState::Saving => {}
                SaveState::Consumed | SaveState::Retired => require_ran(guest, ACTION)?,
                SaveState::Saved | SaveState::Restoring => {
                    return Err(wrong_state(&manifest, ACTION));
                }
            },
            Ok(None) => {}
            Err(SaveError::BadManifest { .. }) => {
                require_ran(guest, ACTION)?;
                self.set_manifest_aside()?;
            }
            Err(other) => return Err(other),
        }
        Manifest::announce(operation, plan).write(&self.manifest_file())?;
        self.sweep(Some(operation))
    }

    pub(super) fn abandon_save(&self, operation: OperationId, guest: &DomainState) -> Result<()> {
        const ACTION: &str = "abandoned";
        let Some(_lock) = self.lock()? else { return Ok(()) };
        let Some(manifest) = self.manifest()? else { return Ok(()) };
        if manifest.saved_by != operation || manifest.state != SaveState::Saving {
            return Err(wrong_state(&manifest, ACTION));
        }
        // Without a byte of data there is nothing to lose, whatever became of the guest.
        let began = self.data_bytes(&manifest)?.is_some_and(|bytes| bytes > 0);
        if guest.job || (began && !guest.power.has_process()) {
            return Err(SaveError::Guest { action: ACTION, problem: NOT_IDLE });
        }
        self.sweep(None)?;
        self.remove_manifest()
    }

    pub(super) fn commit(&self, operation: OperationId, stop: &AtomicBool) -> Result<()> {
        const ACTION: &str = "committed";
        let (_lock, manifest) = self.locked()?;
        if manifest.saved_by != operation {
            return Err(wrong_state(&manifest, ACTION));
        }
        match manifest.state {
            SaveState::Saving => {}
            SaveState::Saved => return Ok(()),
            SaveState::Restoring | SaveState::Consumed | SaveState::Retired => {
                return Err(wrong_state(&manifest, ACTION));
            }
        }
        let file = self.written_data(operation)?;
        durable::sync_file(&file)?;
        let (size, digest) = digest(&file, stop)?;
        if size == 0 {
            return Err(incomplete(&file, "it is empty"));
        }
        let disks = self.settled_disks(&manifest, &file)?;
        let data = SavedData { size, blake3: digest, disks, at_micros: SystemClock.now().micros() };
        let final_name = self.data_file(operation);
        if file == final_name {
            durable::sync_parent(&final_name)?;
        } else {
            durable::rename_new(&file, &final_name)?;
        }
        Manifest { state: SaveState::Saved, data: Some(data), ..manifest }
            .write(&self.manifest_file())
    }

    /// The one data file of a save that is not committed: with its first name, or with its final one
    /// when the commit was cut off between renaming and writing the manifest.
    fn written_data(&self, operation: OperationId) -> Result<PathBuf> {
        let (part, whole) = (self.part_file(operation), self.data_file(operation));
        match (durable::exists(&part)?, durable::exists(&whole)?) {
            (true, false) => Ok(part),
            (false, true) => Ok(whole),
            (false, false) => Err(incomplete(&part, "it is not there")),
            (true, true) => Err(incomplete(&part, "it was written twice: a person has to look")),
        }
    }

    /// Flushes the disks and takes their fingerprints. The hypervisor writes the last byte of the
    /// data after the guest's last write to a disk, so a disk that is newer than the data was changed
    /// by somebody else after the guest was gone.
    fn settled_disks(&self, manifest: &Manifest, data: &Path) -> Result<Vec<DiskFingerprint>> {
        let metadata = fs::metadata(data).map_err(|e| FileError::new("inspect", data, e))?;
        let saved_ns = modified_ns(&metadata);
        let mut fingerprints = Vec::with_capacity(manifest.disks.len());
        for path in &manifest.disks {
            durable::sync_file(path)?;
            let fingerprint = DiskFingerprint::of(path)?;
            if fingerprint.modified_ns > saved_ns {
                return Err(SaveError::DisksChanged {
                    path: path.clone(),
                    what: "it was written to after the memory".to_owned(),
                });
            }
            fingerprints.push(fingerprint);
        }
        Ok(fingerprints)
    }

    /// Everything that can be checked without reading the data. Returns the data file.
    fn check(&self, manifest: &Manifest) -> Result<PathBuf> {
        let file = self.data_file(manifest.saved_by);
        let Some(data) = &manifest.data else {
            return Err(incomplete(&file, "its save never completed"));
        };
        let Some(opened) = durable::open_file(&file)? else {
            return Err(incomplete(&file, "it is gone"));
        };
        let size = opened.metadata().map_err(|e| FileError::new("inspect", &file, e))?.len();
        if size != data.size {
            let problem = format!("it has {size} bytes instead of {}", data.size);
            return Err(SaveError::Incomplete { path: file, problem });
        }
        for disk in &data.disks {
            disk.check()?;
        }
        Ok(file)
    }

    pub(super) fn verify(&self, stop: &AtomicBool) -> Result<PathBuf> {
        let manifest =
            self.manifest()?.ok_or_else(|| SaveError::Missing { dir: self.dir.clone() })?;
        require_unused(&manifest)?;
        let file = self.check(&manifest)?;
        let (_, got) = digest(&file, stop)?;
        let expected = manifest.data.map(|data| data.blake3).unwrap_or_default();
        if got != expected {
            return Err(SaveError::Damaged { path: file, expected, got });
        }
        Ok(file)
    }

    pub(super) fn open_restore(
        &self,
        operation: OperationId,
        guest: Option<&DomainState>,
    ) -> Result<PathBuf> {
        const ACTION: &str = "restored";
        let (_lock, manifest) = self.locked()?;
        require_unused(&manifest)?;
        match manifest.state {
            SaveState::Restoring if manifest.used_by == Some(operation) => {
                return self.check(&manifest);
            }
            // An earlier restore came to nothing if no guest came of it.
            SaveState::Saved | SaveState::Restoring => {}
            SaveState::Saving | SaveState::Consumed | SaveState::Retired => {
                return Err(wrong_state(&manifest, ACTION));
            }
        }
        require_gone(guest, ACTION)?;
        let file = self.check(&manifest)?;
        manifest.moved(SaveState::Restoring, Some(operation)).write(&self.manifest_file())?;
        Ok(file)
    }

    pub(super) fn restorable(&self, operation: OperationId) -> Result<PathBuf> {
        let (_lock, manifest) = self.locked()?;
        require_unused(&manifest)?;
        if manifest.state != SaveState::Restoring || manifest.used_by != Some(operation) {
            return Err(wrong_state(&manifest, "restored"));
        }
        self.check(&manifest)
    }

    pub(super) fn abandon_restore(
        &self,
        operation: OperationId,
        guest: Option<&DomainState>,
    ) -> Result<()> {
        const ACTION: &str = "given back";
        let (_lock, manifest) = self.locked()?;
        require_unused(&manifest)?;
        match manifest.state {
            SaveState::Saved => return Ok(()),
            SaveState::Restoring if manifest.used_by == Some(operation) => {}
            SaveState::Restoring | SaveState::Saving | SaveState::Consumed | SaveState::Retired => {
                return Err(wrong_state(&manifest, ACTION));
            }
        }
        require_gone(guest, ACTION)?;
        manifest.moved(SaveState::Saved, None).write(&self.manifest_file())
    }

    pub(super) fn consume(&self, operation: OperationId, guest: &DomainState) -> Result<()> {
        const ACTION: &str = "consumed";
        let (_lock, manifest) = self.locked()?;
        if manifest.used_by != Some(operation) {
            return Err(wrong_state(&manifest, ACTION));
        }
        match manifest.state {
            SaveState::Restoring => {}
            SaveState::Consumed => return Ok(()),
            SaveState::Saving | SaveState::Saved | SaveState::Retired => {
                return Err(wrong_state(&manifest, ACTION));
            }
        }
        if !guest.power.has_process() || guest.job {
            return Err(SaveError::Guest { action: ACTION, problem: NOT_IDLE });
        }
        manifest.moved(SaveState::Consumed, Some(operation)).write(&self.manifest_file())
    }

    pub(super) fn retire(&self, operation: OperationId) -> Result<()> {
        let Some(_lock) = self.lock()? else { return Ok(()) };
        match self.manifest() {
            Ok(None) => Ok(()),
            Ok(Some(manifest)) if manifest.state == SaveState::Retired => Ok(()),
            Ok(Some(manifest)) => {
                manifest.moved(SaveState::Retired, Some(operation)).write(&self.manifest_file())
            }
            Err(SaveError::BadManifest { .. }) => self.set_manifest_aside(),
            Err(other) => Err(other),
        }
    }

    pub(super) fn remove(&self) -> Result<()> {
        let Some(_lock) = self.lock()? else { return Ok(()) };
        let Some(manifest) = self.manifest()? else { return Ok(()) };
        match manifest.state {
            SaveState::Consumed | SaveState::Retired => {}
            SaveState::Saving | SaveState::Saved | SaveState::Restoring => {
                return Err(wrong_state(&manifest, "removed"));
            }
        }
        self.sweep(None)?;
        self.remove_manifest()
    }

    /// Removes data files except those of one operation.
    fn sweep(&self, keep: Option<OperationId>) -> Result<()> {
        let kept = keep.map(|operation| [self.part_file(operation), self.data_file(operation)]);
        let failed = |e| FileError::new("list", &self.dir, e);
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_data = entry.file_name().to_string_lossy().starts_with("memory-");
            let path = entry.path();
            if is_data && !kept.as_ref().is_some_and(|kept| kept.contains(&path)) {
                durable::remove_file(&path)?;
            }
        }
        Ok(durable::sync_parent(&self.manifest_file())?)
    }

    fn remove_manifest(&self) -> Result<()> {
        durable::remove_file(&self.manifest_file())?;
        Ok(durable::sync_parent(&self.manifest_file())?)
    }

    /// Keeps an unreadable manifest for a person to look at.
    fn set_manifest_aside(&self) -> Result<()> {
        let aside = self.dir.join("manifest.json.unreadable");
        Ok(durable::rename(&self.manifest_file(), &aside)?)
    }

    pub(super) fn status(&self) -> Result<SavedMemory> {
        let manifest = match self.manifest() {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return Ok(SavedMemory::None),
            Err(SaveError::BadManifest { .. }) => return Ok(SavedMemory::Unusable),
            Err(other) => return Err(other),
        };
        match manifest.state {
            SaveState::Saving => match self.data_bytes(&manifest)? {
                Some(1..) => Ok(SavedMemory::Unusable),
                Some(0) | None => Ok(SavedMemory::None),
            },
            SaveState::Saved | SaveState::Restoring => match self.check(&manifest) {
                Ok(_) => Ok(SavedMemory::Valid),
                Err(SaveError::Io(e)) => Err(e.into()),
                Err(_) => Ok(SavedMemory::Unusable),
            },
            SaveState::Consumed | SaveState::Retired => Ok(SavedMemory::Unusable),
        }
    }

    pub(super) fn describe(&self) -> Result<Option<SaveDescription>> {
        let Some(manifest) = self.manifest()? else { return Ok(None) };
        let data_bytes = self.data_bytes(&manifest)?;
        let problem = match require_unused(&manifest).and_then(|()| self.check(&manifest)) {
            Ok(_) => None,
            Err(e) => Some(e.to_string()),
        };
        Ok(Some(SaveDescription { manifest, data_bytes, problem }))
    }

    fn data_bytes(&self, manifest: &Manifest) -> Result<Option<u64>> {
        for path in [self.data_file(manifest.saved_by), self.part_file(manifest.saved_by)] {
            if let Some(file) = durable::open_file(&path)? {
                let size = file.metadata().map_err(|e| FileError::new("inspect", &path, e))?;
                return Ok(Some(size.len()));
            }
        }
        Ok(None)
    }
}

const NOT_IDLE: &str = "its guest has no process, or a job is running on it";

fn wrong_state(manifest: &Manifest, action: &'static str) -> SaveError {
    SaveError::WrongState {
        state: manifest.state,
        operation: manifest.used_by.unwrap_or(manifest.saved_by),
        action,
    }
}

fn incomplete(path: &Path, problem: &str) -> SaveError {
    SaveError::Incomplete { path: path.to_owned(), problem: problem.to_owned() }
}

/// Neither restored nor given up.
fn require_unused(manifest: &Manifest) -> Result<()> {
    match manifest.state {
        SaveState::Saving | SaveState::Saved | SaveState::Restoring => Ok(()),
        SaveState::Consumed => {
            Err(SaveError::AlreadyRestored { by: manifest.used_by.unwrap_or(manifest.saved_by) })
        }
        SaveState::Retired => Err(SaveError::Retired),
    }
}

/// A paused guest may be a restored one whose CPUs have not run yet.
fn require_ran(guest: &DomainState, action: &'static str) -> Result<()> {
    if guest.power == PowerState::Paused {
        let problem = "its guest is paused, and may have been restored without having run";
        return Err(SaveError::Guest { action, problem });
    }
    Ok(())
}

fn require_gone(guest: Option<&DomainState>, action: &'static str) -> Result<()> {
    if guest.is_some_and(|guest| guest.power.has_process() || guest.job) {
        let problem = "its guest has a process, or a job is running on it";
        return Err(SaveError::Guest { action, problem });
    }
    Ok(())
}

/// Size and BLAKE3 of a file. `stop` ends the work between two blocks.
fn digest(path: &Path, stop: &AtomicBool) -> Result<(u64, String)> {
    let Some(mut file) = durable::open_file(path)? else {
        return Err(incomplete(path, "it is gone"));
    };
    let failed = |e| FileError::new("read", path, e);
    // Only advice: the kernel reads further ahead.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; DIGEST_BUFFER];
    let mut size = 0;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(SaveError::Interrupted);
        }
        let count = match file.read(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(failed)?,
        };
        let Some(block) = buffer.get(..count).filter(|block| !block.is_empty()) else { break };
        hasher.update(block);
        size += block.len() as u64;
    }
    Ok((size, hasher.finalize().to_hex().to_string()))
}
