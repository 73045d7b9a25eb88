//! A file system that is too small for what a test lets somebody write to it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::run::Run;

/// A file system of a few MiB in memory, mounted on a directory; unmounted when dropped. A libvirtd
/// that [`crate::libvirtd`] started sees what is mounted when it is started.
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
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0711"), "reprieve-e2e"])
            .arg(at)
            .ok()
            .context("a small file system can only be mounted by root")?;
        Ok(Self { at: at.to_owned() })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = Run::new("umount").arg(&self.at).ok() {
            eprintln!("{error:#}");
        }
    }
}
