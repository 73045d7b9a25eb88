//! A guest as its serial console shows it. What it prints is fixed in `scripts/guest-image`.
//!
//! The log of the console begins anew with each QEMU process: at each boot, and when saved memory
//! is brought back.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use uuid::Uuid;

use crate::virt::Virt;
use crate::wait::Deadline;

/// What a guest says about itself when it boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// `tiny` or `tiny-rescue`.
    pub variant: String,
    /// Device of its root file system.
    pub root: String,
    /// Random per boot.
    pub boot_id: String,
    /// What `fdisk -l` printed.
    pub fdisk: String,
}

/// The console of one server.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The server.
    pub id: Uuid,
    /// Log of its console.
    pub log: PathBuf,
    virt: Virt,
}

impl Guest {
    /// Of server `id`, whose console is logged to `log`.
    #[must_use]
    pub fn new(id: Uuid, log: PathBuf, virt: Virt) -> Self {
        Self { id, log, virt }
    }

    /// Everything in the log; empty when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn text(&self) -> Result<String> {
        match fs::read(&self.log) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).replace('\r', "")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).with_context(|| format!("{}", self.log.display())),
        }
    }

    /// Waits until `find` finds something in the log.
    ///
    /// # Errors
    /// When the deadline passes; shows the end of the log.
    pub fn wait_for<T>(
        &self,
        what: &str,
        deadline: Deadline,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let end = || {
            let text = self.text().unwrap_or_default();
            let start = text.len().saturating_sub(1500);
            format!("the console ends with:\n{}", text.get(start..).unwrap_or(&text))
        };
        deadline.until_or(what, || Ok(find(&self.text()?)), end)
    }

    /// Waits until the guest has booted and counts.
    ///
    /// # Errors
    /// When it does not.
    pub fn booted(&self, deadline: Deadline) -> Result<Boot> {
        self.booted_after("", deadline)
    }

    /// Waits for a boot that is not the one with `boot_id`.
    ///
    /// # Errors
    /// When there is none.
    pub fn booted_after(&self, boot_id: &str, deadline: Deadline) -> Result<Boot> {
        self.wait_for("boot and heartbeat of the guest", deadline, |text| {
            let boot = boot_in(text).filter(|boot| boot.boot_id != boot_id)?;
            let (_, after) = text.rsplit_once(&boot.boot_id)?;
            beats_in(after).first().map(|_| boot)
        })
    }

    /// The last boot that the log tells of; none after memory was brought back.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn last_boot(&self) -> Result<Option<Boot>> {
        Ok(boot_in(&self.text()?))
    }

    /// All heartbeats in the log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn beats(&self) -> Result<Vec<u64>> {
        Ok(beats_in(&self.text()?))
    }

    /// Number of the last heartbeat.
    ///
    /// # Errors
    /// When there is none.
    pub fn last_beat(&self) -> Result<u64> {
        self.beats()?.last().copied().context("no heartbeat on the console")
    }

    /// Waits for a heartbeat whose number is above `beat` and returns it.
    ///
    /// # Errors
    /// When none comes.
    pub fn beat_after(&self, beat: u64, deadline: Deadline) -> Result<u64> {
        let what = format!("heartbeat after {beat}");
        self.wait_for(&what, deadline, |text| beats_in(text).into_iter().find(|n| *n > beat))
    }

    /// Waits until no heartbeat came for `long`, and returns the last one. What the guest had sent
    /// before may still be on its way into the log.
    ///
    /// # Errors
    /// When the heart goes on beating.
    pub fn silent(&self, long: Duration, deadline: Deadline) -> Result<u64> {
        let (mut last, mut since) = (self.last_beat()?, Instant::now());
        deadline.until(&format!("silence of {long:?}"), || {
            let beat = self.last_beat()?;
            if beat != last {
                (last, since) = (beat, Instant::now());
            }
            Ok((since.elapsed() >= long).then_some(last))
        })
    }

    /// Runs `command` in the guest's root shell and returns what it printed.
    ///
    /// # Errors
    /// When it does not end in time or ends with another status than 0.
    pub fn shell(&self, command: &str, deadline: Deadline) -> Result<String> {
        // Init starts the shell and the heartbeat together. The prompt may be in the log of an
        // earlier process; what is typed before the shell is there waits for it.
        self.wait_for("heartbeat of the guest", deadline, |text| beats_in(text).first().copied())?;
        let nonce = Uuid::new_v4().simple().to_string();
        let (begin, end) = (format!("BEGIN-{nonce}"), format!("END-{nonce} "));
        // The quotes keep the echo of this line from looking like its output.
        let line = format!(
            "heartbeat off; echo B''EGIN-{nonce}; {{ {command}\n}} 2>&1; \
             echo E''ND-{nonce} $?; heartbeat on\n"
        );
        let typed = Terminal::open(&self.virt.terminal(self.id)?)?;
        typed.write(line.as_bytes(), deadline)?;
        let what = format!("end of '{command}' in the guest");
        let (output, status) = self.wait_for(&what, deadline, |text| {
            let (_, after) = text.split_once(&begin)?;
            let (output, after) = after.split_once(&end)?;
            let (status, _) = after.split_once('\n')?;
            Some((output.trim().to_owned(), status.trim().to_owned()))
        })?;
        // QEMU looks once a second whether somebody is there; until then nothing is read.
        drop(typed);
        if status != "0" {
            bail!("'{command}' ended with {status} in the guest:\n{output}");
        }
        Ok(output)
    }

    /// Types a command that ends the shell or the guest, and waits until the guest has read it.
    ///
    /// # Errors
    /// When it cannot be typed or is not echoed.
    pub fn type_line(&self, line: &str, deadline: Deadline) -> Result<()> {
        let seen = self.text()?.len();
        let typed = Terminal::open(&self.virt.terminal(self.id)?)?;
        typed.write(format!("{line}\n").as_bytes(), deadline)?;
        let echoed = |text: &str| text.get(seen..).is_some_and(|new| new.contains(line));
        self.wait_for("echo of what was typed", deadline, |text| echoed(text).then_some(()))
    }
}

/// Numbers of the heartbeats in a text. A line that is still being written does not count.
fn beats_in(text: &str) -> Vec<u64> {
    let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
    let number = |line: &str| line.strip_prefix("HEARTBEAT ")?.split(' ').next()?.parse().ok();
    complete.lines().filter_map(number).collect()
}

/// The last boot in a text that was told to its end.
fn boot_in(text: &str) -> Option<Boot> {
    let (_, told) = text.rsplit_once("REPRIEVE-GUEST variant=")?;
    let (line, rest) = told.split_once('\n')?;
    let field = |name: &str| {
        let (_, value) = line.split_once(&format!(" {name}="))?;
        value.split(' ').next().map(str::to_owned)
    };
    let (fdisk, _) = rest.split_once("FDISK-BEGIN\n")?.1.split_once("FDISK-END")?;
    Some(Boot {
        variant: line.split(' ').next()?.to_owned(),
        root: field("root")?,
        boot_id: field("boot_id")?,
        fdisk: fdisk.to_owned(),
    })
}

/// The other end of a guest's serial port. What comes is read away, because a terminal that nobody
/// reads fills up and then stops the guest's output.
struct Terminal {
    file: File,
    closed: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    fn open(path: &std::path::Path) -> Result<Self> {
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let file = file.with_context(|| format!("terminal {}", path.display()))?;
        let mut readable = file.try_clone().context("terminal")?;
        let closed = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&closed);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                match readable.read(&mut buffer) {
                    Ok(read) if read > 0 => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    // The guest has ended.
                    Ok(_) | Err(_) => break,
                }
            }
        });
        Ok(Self { file, closed, reader: Some(reader) })
    }

    fn write(&self, bytes: &[u8], deadline: Deadline) -> Result<()> {
        let mut left = bytes;
        deadline.until("the terminal to take what is typed", || {
            match (&self.file).write(left) {
                Ok(written) => left = left.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("terminal"),
            }
            Ok(left.is_empty().then_some(()))
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            // It has nothing to report.
            let _ = reader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "SeaBIOS\nREPRIEVE-GUEST variant=tiny root=/dev/vda1 uuid=u label=tiny \
        boot_id=old\nFDISK-BEGIN\nDisk /dev/vda\nFDISK-END\nHEARTBEAT 1 up=2.0\nREPRIEVE-GUEST \
        variant=tiny-rescue root=/dev/vdb1 uuid=v label=x boot_id=new\nFDISK-BEGIN\nDisk /dev/vdb\n\
        FDISK-END\ntiny-rescue# \nHEARTBEAT 1 up=1.00\nHEARTBEAT 2 up=2.01\nHEARTBEAT 3 u";

    #[test]
    fn the_last_boot_counts() {
        let boot = boot_in(CONSOLE).unwrap();
        assert_eq!((boot.variant.as_str(), boot.root.as_str()), ("tiny-rescue", "/dev/vdb1"));
        assert_eq!((boot.boot_id.as_str(), boot.fdisk.as_str()), ("new", "Disk /dev/vdb\n"));
        assert_eq!(boot_in("REPRIEVE-GUEST variant=tiny root=/dev/v"), None);
    }

    #[test]
    fn half_a_heartbeat_is_none() {
        assert_eq!(beats_in(CONSOLE), [1, 1, 2]);
        assert_eq!(beats_in(""), [0_u64; 0]);
    }
}
