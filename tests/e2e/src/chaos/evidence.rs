//! What is kept of a run that broke a rule.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use uuid::Uuid;

use super::site::Site;
use super::strike::Strike;
use crate::cloud::Service;
use crate::{places, virt};

/// How far everybody's log had come when a run began.
#[derive(Debug, Clone, Default)]
pub struct Begun(Vec<u64>);

impl Begun {
    /// Now.
    #[must_use]
    pub fn of(site: &dyn Site) -> Self {
        let length = |(_, log): &(_, PathBuf)| fs::metadata(log).map_or(0, |file| file.len());
        Self(site.logs().iter().map(length).collect())
    }
}

/// Keeps what there is to see of server `id` before anything else happens to it, and what everybody
/// said since the run began. Returns the directory.
///
/// # Errors
/// When it cannot be written.
pub fn keep(
    site: &dyn Site,
    (seed, strike): (u64, &Strike),
    id: Option<Uuid>,
    begun: &Begun,
    error: &anyhow::Error,
) -> Result<PathBuf> {
    let dir = places::root().join(format!("target/chaos/seed-{seed}-run-{}", strike.run));
    fs::create_dir_all(&dir).with_context(|| format!("{}", dir.display()))?;
    fs::write(dir.join("run.txt"), format!("{}\n{strike:#?}\n{error:#}\n", strike.line()))?;
    let offsets = begun.0.iter().copied().chain(std::iter::repeat(0));
    for ((name, log), offset) in site.logs().into_iter().zip(offsets) {
        // One that lost its end with the power of its host is shown from the start.
        let length = fs::metadata(&log).map_or(0, |file| file.len());
        let said = read_from(&log, if length < offset { 0 } else { offset }).unwrap_or_default();
        fs::write(dir.join(name).with_extension("log"), said)?;
    }
    let Some(id) = id else { return Ok(dir) };
    let get = |path: String| {
        let seen = site.cloud().send("GET", Service::Compute, &path, None);
        seen.map_or_else(|error| format!("{error:#}"), |seen| format!("{:#}", seen.body))
    };
    fs::write(dir.join("server.json"), get(format!("/servers/{id}")))?;
    fs::write(dir.join("actions.json"), get(format!("/servers/{id}/os-instance-actions")))?;
    let state = format!("{:?}, QEMU {:?}\n", site.virt().state(id), virt::qemu_pid(id));
    fs::write(dir.join("domain.txt"), state + &site.virt().xml(id).unwrap_or_default())?;
    for name in ["console.log", "save/manifest.json", "unrescue.xml"] {
        // Not every server has all of them.
        if let Ok(bytes) = fs::read(site.file(id, name)) {
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
