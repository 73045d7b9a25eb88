//! A libvirtd of a test's own, which may be killed and stopped without anybody else noticing.
//!
//! `scripts/libvirtd.sh` starts it; everything of it is below one directory. Its guests outlive it,
//! as those of any libvirtd do: whoever ends it for good removes them first.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};

use crate::places;
use crate::run::{Output, Run};
use crate::virt::Virt;
use crate::wait::Deadline;

/// One that was started at least once.
#[derive(Debug)]
pub struct Libvirtd {
    dir: PathBuf,
    uri: String,
}

impl Libvirtd {
    /// Starts one that has everything in `dir`, or again what was there.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn start(dir: &Path) -> Result<Self> {
        let mut libvirtd = Self { dir: dir.to_owned(), uri: String::new() };
        libvirtd.start_again()?;
        libvirtd.uri = libvirtd.script("uri")?.stdout.trim().to_owned();
        Ok(libvirtd)
    }

    fn script(&self, task: &str) -> Result<Output> {
        Run::new(places::root().join("scripts/libvirtd.sh"))
            .arg(task)
            .env("REPRIEVE_LIBVIRTD_PRIVATE", &self.dir)
            .within(200)
            .ok()
    }

    /// How to look through it.
    #[must_use]
    pub fn virt(&self) -> Virt {
        Virt { uri: self.uri.clone() }
    }

    /// What it complained about, of all its starts.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("libvirtd.log")
    }

    fn pid(&self) -> Result<Pid> {
        let file = self.dir.join("libvirtd.pid");
        let text = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        text.trim().parse().ok().and_then(Pid::from_raw).context("libvirtd.pid has no process id")
    }

    fn send(&self, signal: Signal) -> Result<Pid> {
        let pid = self.pid()?;
        rustix::process::kill_process(pid, signal).context("no signal reaches libvirtd")?;
        Ok(pid)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> Result<()> {
        let pid = self.send(Signal::KILL)?;
        let stat = Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join("stat");
        Deadline::seconds(15).until("end of libvirtd after SIGKILL", || {
            let state = std::fs::read_to_string(&stat).unwrap_or_default();
            Ok((state.is_empty() || state.contains(") Z ")).then_some(()))
        })
    }

    /// Lets it hang: it neither answers nor ends.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.send(Signal::STOP).map(drop)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.send(Signal::CONT).map(drop)
    }

    /// Starts it after [`Self::kill`].
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn start_again(&self) -> Result<()> {
        self.script("start").map(drop)
    }

    /// Ends it for good.
    ///
    /// # Errors
    /// When guests still run in it.
    pub fn stop(&self) -> Result<()> {
        // Of one that hangs only the first is heard.
        if self.pid().is_ok() && self.thaw().is_err() {
            self.start_again()?;
        }
        let output = self.script("stop")?;
        if self.pid().is_ok() {
            bail!("the libvirtd in {} was not stopped: {}", self.dir.display(), output.stderr);
        }
        Ok(())
    }
}
