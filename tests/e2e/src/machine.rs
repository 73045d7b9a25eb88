//! The machine of a compute host, made of processes and directories of this one, whose power can be
//! cut.
//!
//! What is on it: an agent with its data directory, a libvirtd with everything of its own, its
//! guests. When the power is cut, all of these end at once by SIGKILL, what their disks had not
//! synced is lost ([`LossyDisk`]), and so is libvirt's `/run`. Afterwards the agent sees another id
//! of the machine's start. Not simulated: the machine's own kernel goes on, so clocks do, too.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use crate::lossy_disk::LossyDisk;
use crate::run::Run;
use crate::wait::Deadline;

/// Room for servers, which promise a GiB each, and for images.
const DISK_GIB: u64 = 16;

/// A machine. Its disks are there until it is dropped.
#[derive(Debug)]
pub struct Machine {
    dir: PathBuf,
    boot: PathBuf,
    /// Of the agent, and of libvirtd.
    places: [PathBuf; 2],
    libvirtd: PathBuf,
    disks: Vec<LossyDisk>,
}

impl Machine {
    /// One whose agent has everything below `agent` and its data in `data` there, and whose libvirtd
    /// has everything below `libvirtd`. All of it in `dir`, which must be there.
    ///
    /// # Errors
    /// When this is not root, or disks cannot be mounted.
    pub fn new(dir: &Path, agent: &Path, libvirtd: &Path) -> Result<Self> {
        // Copies that others have of a mount below, because they made a mount namespace meanwhile,
        // have to end with ours.
        let mount = |how: &[&str]| Run::new("mount").args(how).arg(dir).ok().map(drop);
        mount(&["--bind", &dir.to_string_lossy()]).context("only root may mount")?;
        let boot = dir.join("machine.boot");
        let places = [agent.to_owned(), libvirtd.to_owned()];
        let (dir, libvirtd) = (dir.to_owned(), libvirtd.to_owned());
        let mut machine = Self { dir, boot, places, libvirtd, disks: Vec::new() };
        mount(&["--make-shared"])?;
        for (image, at) in [("agent", agent.join("data")), ("libvirtd", machine.libvirtd.clone())] {
            let image = machine.dir.join(image).with_extension("disk");
            machine.disks.push(LossyDisk::mount(&image, &at, DISK_GIB)?);
        }
        machine.begin()?;
        Ok(machine)
    }

    /// What the agent is to see in place of the kernel's id of the machine's start.
    #[must_use]
    pub fn boot_file(&self) -> PathBuf {
        self.boot.clone()
    }

    fn begin(&self) -> Result<()> {
        fs::write(&self.boot, format!("{}\n", Uuid::new_v4())).context("the machine's start")
    }

    /// Cuts the power. `agent` goes first: nothing that happens to the others may be told by it.
    ///
    /// # Errors
    /// When something of it lives on.
    pub fn cut(&self, agent: impl FnOnce() -> Result<()>) -> Result<()> {
        let devices = self.devices()?;
        agent()?;
        self.disks.iter().try_for_each(LossyDisk::cut)?;
        self.end(&devices)
    }

    fn devices(&self) -> Result<Vec<String>> {
        self.disks.iter().map(LossyDisk::device).collect()
    }

    /// Ends every process on it.
    fn end(&self, devices: &[String]) -> Result<()> {
        Deadline::seconds(15).until("end of everything on the machine", || {
            let left = self.processes(devices)?;
            for pid in &left {
                match kill_process(*pid, Signal::KILL) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(error) => return Err(error).context("a process cannot be killed"),
                }
            }
            Ok(left.is_empty().then_some(()))
        })
    }

    /// Gives it power again; nothing of it is started.
    ///
    /// # Errors
    /// When its disks cannot be mounted.
    pub fn boot(&self) -> Result<()> {
        self.disks.iter().try_for_each(LossyDisk::back)?;
        let run = self.libvirtd.join("run");
        fs::remove_dir_all(&run).and_then(|()| fs::create_dir(&run)).context("libvirt's /run")?;
        self.begin()
    }

    /// Processes that have something of it open, are told of it by their arguments, or see its disks
    /// where other machines have theirs, as libvirtd and its guests do.
    fn processes(&self, devices: &[String]) -> Result<Vec<Pid>> {
        let (mut found, own) = (Vec::new(), rustix::process::getpid());
        for entry in fs::read_dir("/proc").context("/proc cannot be read")? {
            let entry = entry.context("/proc cannot be read")?;
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(pid) = pid.and_then(Pid::from_raw).filter(|pid| *pid != own) else { continue };
            let process = entry.path();
            if self.is_told_to(&process)
                || self.is_open_in(&process)
                || self.is_mounted_elsewhere_for(&process, devices)
            {
                found.push(pid);
            }
        }
        Ok(found)
    }

    /// A process may end while it is looked at.
    fn is_told_to(&self, process: &Path) -> bool {
        let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        self.places.iter().any(|place| arguments.contains(&*place.to_string_lossy()))
    }

    fn is_mounted_elsewhere_for(&self, process: &Path, devices: &[String]) -> bool {
        let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
        mounts.lines().any(|mount| {
            let mut fields = mount.split(' ').skip(2);
            let device = fields.next().unwrap_or_default();
            let at = Path::new(fields.nth(1).unwrap_or_default());
            devices.iter().any(|own| own == device) && !at.starts_with(&self.dir)
        })
    }

    fn is_open_in(&self, process: &Path) -> bool {
        let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok())
            .any(|file| self.places.iter().any(|place| file.starts_with(place)))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Where a start has failed half-way, something may run still.
        if let Err(error) = self.devices().and_then(|devices| self.end(&devices)) {
            eprintln!("{error:#}");
        }
        self.disks.clear();
        if let Err(error) = Run::new("umount").arg(&self.dir).ok() {
            eprintln!("{error:#}");
        }
    }
}
