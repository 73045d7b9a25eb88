//! A disk that can be filled, and that keeps what was synced and loses the rest, as one does whose
//! machine loses its power.
//!
//! It is an ext4 of its own in a file. [`LossyDisk::cut`] shuts it down without writing what is
//! still in memory, the journal included (`EXT4_IOC_SHUTDOWN`); the next mount replays the journal
//! as after any crash. What reached the disk by itself before is there, in the order in which the
//! file system wrote it: a cache of the disk's own that forgets is not simulated.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::run::Run;
use crate::wait::Deadline;

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`, of <linux/ext4.h>.
const SHUT_DOWN: &str = "import fcntl, os, sys\n\
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, b'\\2\\0\\0\\0')";
/// Those that have a file open there are dead when this begins.
const FREED: u64 = 30;

/// A disk, mounted until it is dropped.
#[derive(Debug)]
pub struct LossyDisk {
    image: PathBuf,
    at: PathBuf,
}

impl LossyDisk {
    /// Makes one of `gib` GiB in the file `image`, which takes no more room than what is written,
    /// and mounts it.
    ///
    /// # Errors
    /// When that is not allowed: only root may mount.
    pub fn mount(image: &Path, at: &Path, gib: u64) -> Result<Self> {
        fs::create_dir_all(at).with_context(|| format!("{}", at.display()))?;
        File::create_new(image)?.set_len(gib << 30).context("a disk in a file")?;
        let lazily = "lazy_itable_init=1,lazy_journal_init=1";
        let make = Run::new("mkfs.ext4").args(["-q", "-m", "0", "-J", "size=16", "-E", lazily]);
        make.arg(image).ok()?;
        let disk = Self { image: image.to_owned(), at: at.to_owned() };
        disk.attach()?;
        Ok(disk)
    }

    fn attach(&self) -> Result<()> {
        let mount = Run::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.at);
        mount.ok().context("a disk in a file can only be mounted by root").map(drop)
    }

    /// Loses what was not synced. Until [`Self::back`] everything about its files fails.
    ///
    /// # Errors
    /// When the file system cannot be shut down.
    pub fn cut(&self) -> Result<()> {
        Run::new("python3").args(["-c", SHUT_DOWN]).arg(&self.at).ok().map(drop)
    }

    /// Mounts what is left of it.
    ///
    /// # Errors
    /// When somebody still has it open.
    pub fn back(&self) -> Result<()> {
        let proof = self.at.join("mounted");
        // As long as another mount of it lives on, it stays the one that was shut down.
        Deadline::seconds(FREED).until("end of all mounts of the disk", || {
            self.detach()?;
            self.attach()?;
            let works = fs::write(&proof, "").and_then(|()| fs::remove_file(&proof));
            Ok(works.ok())
        })
    }

    /// Its device, as the kernel writes it in lists of mounts.
    ///
    /// # Errors
    /// When it is not there.
    pub fn device(&self) -> Result<String> {
        let device = rustix::fs::stat(&self.at).context("the disk")?.st_dev;
        Ok(format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
    }

    /// Fills it but for `leave` bytes with a file, and returns that.
    ///
    /// # Errors
    /// When it is fuller already.
    pub fn fill(&self, leave: u64) -> Result<PathBuf> {
        let (full, room) = (self.at.join("full"), rustix::fs::statvfs(&self.at)?);
        let size = (room.f_bavail * room.f_frsize).checked_sub(leave).context("it is full")?;
        let file = File::create_new(&full)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size)?;
        Ok(full)
    }

    fn detach(&self) -> Result<()> {
        let mut said = String::new();
        let freed = Deadline::seconds(FREED).until("end of those who use the disk", || {
            let done = Run::new("umount").arg(&self.at).go()?;
            said = done.stderr.trim().to_owned();
            Ok(done.ok().then_some(()))
        });
        freed.with_context(|| said)
    }
}

impl Drop for LossyDisk {
    fn drop(&mut self) {
        if let Err(error) = self.detach() {
            eprintln!("{error:#}");
        }
    }
}
