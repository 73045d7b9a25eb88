//! One `reprieved` process on a data directory.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};

use crate::cloud::{Cloud, Service};
use crate::places;
use crate::wait::Deadline;

/// The port that the daemon takes by itself.
pub const DEFAULT_PORT: u16 = 8774;

/// Where the kernel names the machine's start.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

const NOTIFICATION_URL: &str = "REPRIEVE_NOTIFICATION_URL";

/// How to start it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Data directory.
    pub data: PathBuf,
    /// Port on 127.0.0.1. The one that it has by itself is not said to it.
    pub port: u16,
    /// libvirt connection; `None` leaves it to the daemon.
    pub libvirt_uri: Option<String>,
    /// Broker that gets notifications. It has a password, so it goes by the environment.
    pub notification_url: Option<String>,
    /// One role of several processes, instead of all of them.
    pub part: Option<Part>,
}

/// A process of one role, which has a configuration file instead of options.
#[derive(Debug, Clone)]
pub struct Part {
    /// `api`, `conductor` or `compute`.
    pub role: &'static str,
    /// Its configuration.
    pub config: PathBuf,
}

/// A daemon; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    settings: Settings,
    machine_boot: Option<PathBuf>,
    child: Option<Child>,
    program: PathBuf,
}

impl Daemon {
    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// When it does not; shows the end of what it said.
    pub fn start(settings: Settings) -> Result<Self> {
        let mut daemon = Self::prepared(settings)?;
        daemon.start_again()?;
        Ok(daemon)
    }

    /// One that is not started yet.
    ///
    /// # Errors
    /// When the program has not been built.
    pub fn prepared(settings: Settings) -> Result<Self> {
        let program = places::program("reprieved")?;
        Ok(Self { settings, machine_boot: None, child: None, program })
    }

    /// Lets it see this file in place of the kernel's that names the machine's start. Needs root.
    #[must_use]
    pub fn in_boot(mut self, file: PathBuf) -> Self {
        self.machine_boot = Some(file);
        self
    }

    /// Where its services are.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.settings.port)
    }

    fn arguments(&self) -> Vec<String> {
        let settings = &self.settings;
        if let Some(Part { role, config }) = &settings.part {
            return vec![(*role).into(), "--config".into(), config.display().to_string()];
        }
        let mut arguments = vec!["--data-dir".into(), settings.data.display().to_string()];
        if settings.port != DEFAULT_PORT {
            arguments.extend(["--listen".into(), format!("127.0.0.1:{}", settings.port)]);
        }
        if let Some(uri) = &settings.libvirt_uri {
            arguments.extend(["--libvirt-uri".into(), uri.clone()]);
        }
        arguments
    }

    /// How it was started.
    #[must_use]
    pub fn command_line(&self) -> String {
        format!("{} {}", self.program.display(), self.arguments().join(" "))
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.settings.data
    }

    /// Process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What it says to stderr, of all its starts.
    #[must_use]
    pub fn stderr_file(&self) -> PathBuf {
        self.settings.data.with_file_name("reprieved.stderr")
    }

    /// The end of what it said, without the questions of those who wait.
    #[must_use]
    pub fn said(&self) -> String {
        let text = fs::read_to_string(self.stderr_file()).unwrap_or_default();
        let told = |line: &&str| !(line.contains("method=GET") && line.contains("status=200"));
        let lines: Vec<&str> = text.lines().filter(told).collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }

    /// Starts it after [`Self::stop`] or [`Self::kill`]; returns how long it took to serve. One that
    /// serves nobody is not waited for.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_again(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.spawn()?;
        if self.settings.part.as_ref().is_some_and(|part| part.role != "api") {
            return Ok(begun.elapsed());
        }
        let ready = Deadline::seconds(120).until("/readyz", || {
            if let Some(status) = self.exited()? {
                bail!("it ended with {status}");
            }
            Ok(self.serves().then_some(()))
        });
        ready.with_context(|| format!("reprieved does not serve; it said:\n{}", self.said()))?;
        Ok(begun.elapsed())
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        if let Some(mut ended) = self.child.take() {
            // Killed before: its end takes no time.
            ended.wait().context("reprieved cannot be waited for")?;
        }
        let stderr = OpenOptions::new().create(true).append(true).open(self.stderr_file());
        let stderr: File = stderr.context("reprieved.stderr")?;
        let mut command = self.command();
        let own = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("REPRIEVE_");
        for (variable, _) in std::env::vars_os().filter(|(name, _)| own(name)) {
            command.env_remove(variable);
        }
        if let Some(url) = &self.settings.notification_url {
            command.env(NOTIFICATION_URL, url);
        }
        // Its own process group: a ^C is for us, and we stop it then.
        let child = command
            .stdin(Stdio::null())
            .stdout(stderr.try_clone().context("reprieved.stderr")?)
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        fs::write(self.settings.data.with_file_name("reprieved.pid"), child.id().to_string())?;
        self.child = Some(child);
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = match &self.machine_boot {
            None => Command::new(&self.program),
            Some(file) => {
                let mut unshare = Command::new("unshare");
                let bound = format!("mount --bind \"$0\" {BOOT_ID} && exec \"$@\"");
                unshare.args(["--mount", "--propagation", "slave", "--", "sh", "-c", &bound]);
                unshare.arg(file).arg(&self.program);
                unshare
            }
        };
        command.args(self.arguments());
        command
    }

    /// Starts it again if it ended by itself, as a service manager does.
    ///
    /// # Errors
    /// When it ended in a way after which it must not be started again.
    pub fn supervise(&mut self) -> Result<()> {
        match self.exited()?.map(|status| status.code()) {
            None => Ok(()),
            Some(Some(1)) => self.spawn(),
            Some(code) => bail!("reprieved ended with {code:?}; it said:\n{}", self.said()),
        }
    }

    /// Whether it says that it can serve.
    #[must_use]
    pub fn serves(&self) -> bool {
        let answer = Cloud::anonymous(&self.url()).send("GET", Service::Root, "/readyz", None);
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// Waits until it ends by itself; returns its exit code.
    ///
    /// # Errors
    /// When it does not in time, or was killed.
    pub fn ends(&mut self, deadline: Deadline) -> Result<i32> {
        let status = deadline.until("end of reprieved", || self.exited())?;
        self.child = None;
        status.code().with_context(|| format!("it ended with {status}"))
    }

    fn exited(&mut self) -> Result<Option<std::process::ExitStatus>> {
        match &mut self.child {
            Some(child) => child.try_wait().context("reprieved cannot be waited for"),
            None => Ok(None),
        }
    }

    /// Ends it as an administrator would.
    ///
    /// # Errors
    /// When it does not end in time; it is killed then.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        crate::run::terminate(child.id())?;
        let ended = Deadline::seconds(60).until("end of reprieved after SIGTERM", || {
            child.try_wait().context("reprieved cannot be waited for")
        });
        if ended.is_err() {
            child.kill().context("reprieved cannot be killed")?;
            child.wait().context("reprieved cannot be waited for")?;
        }
        ended.map(drop)
    }

    /// `kill -9`, while others look at this daemon: who starts it again collects it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_now(&self) -> Result<()> {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.context("reprieved does not run")?;
        rustix::process::kill_process(pid, Signal::KILL).context("reprieved cannot be killed")
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("reprieved does not run")?;
        child.kill().context("reprieved cannot be killed")?;
        child.wait().context("reprieved cannot be waited for")?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
    }
}
