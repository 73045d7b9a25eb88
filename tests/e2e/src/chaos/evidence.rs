//! What is kept of a run that broke a rule.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use uuid::Uuid;

use super::strike::Strike;
use crate::cloud::Service;
use crate::lab::Lab;
use crate::{places, virt};

/// Keeps what there is to see of server `id` before anything else happens to it, and what the
/// service said since `log_from`. Returns the directory.
///
/// # Errors
/// When it cannot be written.
pub fn keep(
    lab: &Lab,
    (seed, strike): (u64, &Strike),
    id: Option<Uuid>,
    log_from: u64,
    error: &anyhow::Error,
) -> Result<PathBuf> {
    let dir = places::root().join(format!("target/chaos/seed-{seed}-run-{}", strike.run));
    fs::create_dir_all(&dir).with_context(|| format!("{}", dir.display()))?;
    fs::write(dir.join("run.txt"), format!("{}\n{strike:#?}\n{error:#}\n", strike.line()))?;
    fs::write(dir.join("reprieved.log"), read_from(&lab.daemon.stderr_file(), log_from)?)?;
    if let Some(libvirtd) = &lab.libvirtd {
        fs::write(dir.join("libvirtd.log"), read_from(&libvirtd.log(), 0)?)?;
    }
    let Some(id) = id else { return Ok(dir) };
    let get = |path: String| {
        let seen = lab.cloud.send("GET", Service::Compute, &path, None);
        seen.map_or_else(|error| format!("{error:#}"), |seen| format!("{:#}", seen.body))
    };
    fs::write(dir.join("server.json"), get(format!("/servers/{id}")))?;
    fs::write(dir.join("actions.json"), get(format!("/servers/{id}/os-instance-actions")))?;
    let state = format!("{:?}, QEMU {:?}\n", lab.virt.state(id), virt::qemu_pid(id));
    fs::write(dir.join("domain.txt"), state + &lab.virt.xml(id).unwrap_or_default())?;
    for name in ["console.log", "save/manifest.json", "unrescue.xml"] {
        // Not every server has all of them.
        if let Ok(bytes) = fs::read(lab.file(id, name)) {
            fs::write(dir.join(name.rsplit('/').next().unwrap_or(name)), bytes)?;
        }
    }
    Ok(dir)
}

/// What a file has from `offset` on.
///
/// # Errors
/// When it cannot be read.
pub fn read_from(path: &Path, offset: u64) -> Result<Vec<u8>> {
    let mut file = File::open(path).with_context(|| format!("{}", path.display()))?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
