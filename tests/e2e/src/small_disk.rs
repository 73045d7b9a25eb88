//! A file system that is full when a test says so.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::run::Run;

/// Name of the file that takes the space.
const FILLER: &str = "filler";

/// A file system of a few MiB in memory, mounted on a directory; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `mib` MiB.
    ///
    /// # Errors
    /// When that is not allowed: only root may mount.
    pub fn mount(at: &Path, mib: u64) -> Result<Self> {
        fs::create_dir_all(at).with_context(|| format!("{}", at.display()))?;
        Run::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0755"), "reprieve-e2e"])
            .arg(at)
            .ok()
            .context("a small file system can only be mounted by root")?;
        Ok(Self { at: at.to_owned() })
    }

    /// Takes all space but `spare_mib` MiB.
    ///
    /// # Errors
    /// When the filler cannot be written for another reason than a lack of space.
    pub fn fill(&self, spare_mib: u64) -> Result<()> {
        let path = self.at.join(FILLER);
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        let block = vec![0; 1 << 16];
        loop {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("the filler cannot be written"),
            }
        }
        let length = file.metadata()?.len();
        file.set_len(length.saturating_sub(spare_mib << 20))?;
        Ok(())
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn empty(&self) -> Result<()> {
        fs::remove_file(self.at.join(FILLER)).context("the filler cannot be removed")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = Run::new("umount").arg(&self.at).ok() {
            eprintln!("{error:#}");
        }
    }
}
