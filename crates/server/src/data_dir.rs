//! The data directory: where it is, what is in it, and who may read it.
//!
//! ```text
//! DATA/            0711  clouds.yaml openrc secret.key reprieve.db ledger.db (0600 each),
//!                        policy.yaml if the operator writes one
//! DATA/instances/  0711  one directory per server
//! DATA/images/     0711  data of the image service
//! DATA/cache/      0711  images as this host uses them
//! DATA/log/        0750
//! ```
//! Directories that QEMU has to pass through may be entered but not listed by others.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rand::TryRngCore as _;
use reprieve_core::SealingKey;

use crate::config::Role;

/// The data directory of this daemon.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// The default place for this user.
    ///
    /// # Errors
    /// When neither `$XDG_DATA_HOME` nor `$HOME` is set for an ordinary user.
    pub fn default_path() -> anyhow::Result<PathBuf> {
        if rustix::process::geteuid().is_root() {
            return Ok(PathBuf::from("/var/lib/reprieve"));
        }
        let xdg = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
        match xdg.or(home) {
            Some(base) => Ok(base.join("reprieve")),
            None => bail!("no place for data is known: set --data-dir, XDG_DATA_HOME or HOME"),
        }
    }

    /// Creates what is missing.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn prepare(path: &Path) -> anyhow::Result<Self> {
        let root = std::path::absolute(path)
            .with_context(|| format!("{} is no usable path", path.display()))?;
        let dir = Self { root };
        for (path, mode) in [
            (dir.root.clone(), 0o711),
            (dir.instances(), 0o711),
            (dir.images(), 0o711),
            (dir.cache(), 0o711),
            (dir.log(), 0o750),
        ] {
            make(&path, mode)?;
        }
        Ok(dir)
    }

    /// Directory of the servers.
    #[must_use]
    pub fn instances(&self) -> PathBuf {
        self.root.join("instances")
    }

    /// Directory of the image service.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Image cache of the compute host.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Directory of the log files.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Database of the control plane, made private before anything is written to it.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn database(&self) -> anyhow::Result<PathBuf> {
        private_file(self.root.join("reprieve.db"))
    }

    /// Ledger of the compute host, made private before anything is written to it.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn ledger(&self) -> anyhow::Result<PathBuf> {
        private_file(self.root.join("ledger.db"))
    }

    /// Policy file that is used if it exists and no other is named.
    #[must_use]
    pub fn policy_file(&self) -> PathBuf {
        self.root.join("policy.yaml")
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The key that seals secrets for compute hosts; made at the first start.
    ///
    /// # Errors
    /// When the file cannot be read or made, or is not a key.
    pub fn sealing_key(&self) -> anyhow::Result<SealingKey> {
        let path = self.root.join("secret.key");
        let mut bytes = [0_u8; 32];
        match fs::File::open(&path) {
            Ok(mut file) => {
                file.read_exact(&mut bytes)
                    .with_context(|| format!("{} is not a key of 32 bytes", path.display()))?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                rand::rngs::OsRng
                    .try_fill_bytes(&mut bytes)
                    .context("the system has no randomness")?;
                write_key(&path, &bytes)
                    .with_context(|| format!("{} cannot be written", path.display()))?;
            }
            Err(error) => {
                return Err(error).with_context(|| format!("{} cannot be read", path.display()));
            }
        }
        Ok(SealingKey::new(bytes))
    }

    /// Makes sure that no second daemon does the same in this directory. Different roles may share
    /// it; a daemon that is all of them has it for itself.
    ///
    /// # Errors
    /// When another one does.
    pub fn lock(&self, role: Role) -> anyhow::Result<Locks> {
        match role {
            Role::AllInOne => Ok(Locks { _all: self.locked("reprieved.lock", true)?, _own: None }),
            Role::Api | Role::Conductor | Role::Compute => {
                let all = self.locked("reprieved.lock", false)?;
                let own = self.locked(&format!("reprieved-{}.lock", role.name()), true)?;
                Ok(Locks { _all: all, _own: Some(own) })
            }
        }
    }

    fn locked(&self, name: &str, alone: bool) -> anyhow::Result<fs::File> {
        let path = self.root.join(name);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("{} cannot be opened", path.display()))?;
        let how = match alone {
            true => rustix::fs::FlockOperation::NonBlockingLockExclusive,
            false => rustix::fs::FlockOperation::NonBlockingLockShared,
        };
        match rustix::fs::flock(&file, how) {
            Ok(()) => Ok(file),
            Err(_) => bail!(
                "another reprieved uses {}; stop it first or choose another --data-dir",
                self.root.display()
            ),
        }
    }
}

/// Held as long as the daemon runs.
#[derive(Debug)]
pub struct Locks {
    _all: fs::File,
    _own: Option<fs::File>,
}

fn make(path: &Path, mode: u32) -> anyhow::Result<()> {
    match DirBuilder::new().recursive(true).mode(mode).create(path) {
        Ok(()) => {}
        Err(error) => {
            return Err(error).with_context(|| {
                format!("{} cannot be created; choose another --data-dir", path.display())
            });
        }
    }
    // The umask may have taken the bits that QEMU needs to pass through.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("the mode of {} cannot be set", path.display()))
}

/// SQLite gives its journals the mode of the database, so the database has to be private first.
fn private_file(path: PathBuf) -> anyhow::Result<PathBuf> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    Ok(path)
}

fn write_key(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_is_private() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::prepare(&temporary.path().join("data")).unwrap();
        let instance = reprieve_core::InstanceId::random();
        let sealed = dir.sealing_key().unwrap().seal(instance, "x").unwrap();
        assert_eq!(dir.sealing_key().unwrap().open(instance, &sealed).unwrap(), "x");
        let mode = fs::metadata(dir.root().join("secret.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn only_one_daemon_at_a_time() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::prepare(temporary.path()).unwrap();
        let held = dir.lock(Role::AllInOne).unwrap();
        for role in [Role::AllInOne, Role::Compute] {
            let refused = dir.lock(role).unwrap_err().to_string();
            assert!(refused.contains("another reprieved"), "{refused}");
        }
        drop(held);
        let api = dir.lock(Role::Api).unwrap();
        let compute = dir.lock(Role::Compute).unwrap();
        assert!(dir.lock(Role::Compute).is_err() && dir.lock(Role::AllInOne).is_err());
        drop((api, compute));
        dir.lock(Role::AllInOne).unwrap();
    }
}
