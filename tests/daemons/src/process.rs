//! One daemon's process, in a process group of its own.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How often something is looked at that cannot be waited for.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// Lines of what a daemon said that are part of an error.
const LAST: usize = 30;

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    note: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `log`; noted in `notes` to end with `signal`.
    pub(crate) fn start(
        command: &mut Command,
        log: &Path,
        (notes, signal): (&Path, &str),
    ) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{:?} cannot be run", command.get_program()))?;
        let note = notes.join(child.id().to_string());
        std::fs::write(&note, signal)?;
        Ok(Self { child, note })
    }

    /// Ends the whole group at once, as the kernel does when memory is short, and waits for it.
    pub(crate) fn kill(self) -> Result<()> {
        let pid = self.pid()?;
        kill_process_group(pid, Signal::KILL).context("the daemon cannot be killed")?;
        self.reap()
    }

    /// Asks for an end by `signal` and waits for it.
    pub(crate) fn end(self, signal: Signal) -> Result<()> {
        kill_process(self.pid()?, signal).context("the daemon cannot be ended")?;
        self.reap()
    }

    fn pid(&self) -> Result<Pid> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        pid.context("the daemon has no process id")
    }

    fn reap(mut self) -> Result<()> {
        self.child.wait().context("the daemon cannot be waited for")?;
        std::fs::remove_file(&self.note).context("a note cannot be removed")
    }

    /// Waits until `ready` says yes, as long as the process lives.
    pub(crate) fn wait_until(
        &mut self,
        within: Duration,
        log: &Path,
        mut ready: impl FnMut() -> bool,
    ) -> Result<()> {
        let begun = Instant::now();
        while !ready() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || begun.elapsed() > within {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                let lines: Vec<&str> = said.lines().collect();
                let last = lines.get(lines.len().saturating_sub(LAST)..).unwrap_or_default();
                bail!("the daemon is not ready ({ended:?}); it said last: {}", last.join("\n"));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// Where ports for servers are taken from: below those that Linux gives to clients. One of those may be
/// taken by any connection before the server starts, even by an attempt to connect to it.
const PORTS: Range<u16> = 20_000..32_000;

/// A port of this machine that nobody listens on now.
///
/// # Errors
/// When none is found.
pub fn free_port() -> Result<u16> {
    for _ in 0..PORTS.len() {
        let random = RandomState::new().build_hasher().finish();
        let offset = u16::try_from(random % u64::from(PORTS.end - PORTS.start))?;
        let port = PORTS.start + offset;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {} to {} is free", PORTS.start, PORTS.end)
}

/// Whether somebody listens on the port.
pub(crate) fn listens(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), LOOK).is_ok()
}

/// Processes whose current directory is this one.
pub(crate) fn working_in(dir: &Path) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("/proc cannot be read")? {
        let entry = entry.context("/proc cannot be read")?;
        // One may end meanwhile, and those of others are no concern of ours.
        let Ok(works_in) = std::fs::read_link(entry.path().join("cwd")) else { continue };
        if works_in == dir {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            found.extend(pid.and_then(Pid::from_raw));
        }
    }
    Ok(found)
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{:?} cannot be run", command.get_program()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{:?} failed ({}): {said}", command.get_program(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
