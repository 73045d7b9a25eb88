//! A PostgreSQL cluster of a test's own.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::io::Errno;
use rustix::process::{Signal, kill_process};

use crate::keeper::Keeper;
use crate::process::{LOOK, Process, free_port, listens, run, working_in};
use crate::tls;

/// How long a cluster may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);
/// The cluster's only user. Everybody on this machine gets in by this name; it holds tests' data.
const USER: &str = "reprieve";

/// A cluster. Ends with this value or with this process.
#[derive(Debug)]
pub struct Cluster {
    server: Mutex<Option<Process>>,
    port: u16,
    programs: PathBuf,
    keeper: Keeper,
    durable: bool,
}

impl Cluster {
    /// One for all tests of this program that do it no harm. Started by whoever is first.
    ///
    /// # Panics
    /// When it cannot be started: no test that asks for it can go on.
    #[must_use]
    #[allow(clippy::expect_used, reason = "for tests")]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().expect("a PostgreSQL cluster for tests"))
    }

    /// Makes a cluster and starts it. It does not wait for its disk: what a power cut does to
    /// PostgreSQL is not tested here.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start.
    pub fn start() -> Result<Self> {
        Self::new(false)
    }

    /// [`Self::start`], but it waits for its disk, as one that works for somebody does.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_durable() -> Result<Self> {
        Self::new(true)
    }

    fn new(durable: bool) -> Result<Self> {
        let programs = programs()?;
        let keeper = Keeper::new("cluster")?;
        // PostgreSQL refuses to run as root.
        std::fs::set_permissions(keeper.dir(), std::fs::Permissions::from_mode(0o777))?;
        let (server, port) = (Mutex::new(None), free_port()?);
        let cluster = Self { server, port, programs, keeper, durable };
        let mut initdb = cluster.command("initdb");
        initdb.arg("--pgdata").arg(cluster.data()).args(["--username", USER, "--auth", "trust"]);
        run(initdb.args(["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"]))?;
        let tls = cluster.keeper.dir().join("tls");
        std::fs::create_dir(&tls)?;
        tls::make_certificates(&tls)?;
        // It refuses a key that others can read.
        let owner = std::fs::metadata(cluster.data())?;
        std::os::unix::fs::chown(tls.join("server.key"), Some(owner.uid()), Some(owner.gid()))?;
        cluster.run_again()?;
        Ok(cluster)
    }

    /// Where a database of it is, without encryption.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://{USER}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Where a database of it is, encrypted and with the certificate looked at.
    #[must_use]
    pub fn encrypted_url(&self, database: &str) -> String {
        format!("postgresql://{USER}@localhost:{}/{database}?sslmode=verify-full", self.port)
    }

    /// The certificate (PEM) of the authority that signed the cluster's.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.keeper.dir().join("tls/ca.pem")
    }

    /// Runs one statement, outside of a transaction, on a database.
    ///
    /// # Errors
    /// When the statement fails.
    pub fn sql(&self, database: &str, statement: &str) -> Result<String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--dbname"]);
        psql.arg(self.url(database)).args(["--command", statement]);
        run(&mut psql)
    }

    /// All of a database, as text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn dump(&self, database: &str) -> Result<String> {
        run(Command::new(self.programs.join("pg_dump")).arg("--dbname").arg(self.url(database)))
    }

    /// Makes a database, as a copy of `template`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(&self, database: &str, template: &str) -> Result<()> {
        // Copying by file needs no write-ahead log, which makes small databases cheap.
        let statement =
            format!("CREATE DATABASE {database} TEMPLATE {template} STRATEGY file_copy");
        self.sql("postgres", &statement).map(drop)
    }

    /// Ends it as a crash would: no connection is told, nothing is written.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> Result<()> {
        let server = self.slot().take().context("the cluster does not run")?;
        // Immediate shutdown. A kill of the first process alone would leave the others for a while.
        server.end(Signal::QUIT)
    }

    /// `kill -9` of its first process and of all the others, which notice that sooner or later.
    ///
    /// # Errors
    /// When it does not run, or does not end in time.
    pub fn kill_at_once(&self) -> Result<()> {
        self.slot().take().context("the cluster does not run")?.kill()?;
        let (begun, data) = (Instant::now(), std::fs::canonicalize(self.data())?);
        // Until the last one is gone, a new first process finds the shared memory in use.
        loop {
            let left = working_in(&data)?;
            if left.is_empty() {
                return Ok(());
            }
            ensure!(begun.elapsed() < START, "processes of the cluster do not end: {left:?}");
            for pid in left {
                match kill_process(pid, Signal::KILL) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(error) => return Err(error).context("PostgreSQL cannot be killed"),
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Starts it, after [`Self::kill`] with the data that it had.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run_again(&self) -> Result<()> {
        let log = self.keeper.dir().join("output");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        command.arg("-k").arg(self.keeper.dir());
        for (setting, file) in [("ssl_cert_file", "server.pem"), ("ssl_key_file", "server.key")] {
            let file = self.keeper.dir().join("tls").join(file);
            command.arg("-c").arg(format!("{setting}={}", file.display()));
        }
        let of_all = ["ssl=on", "listen_addresses=127.0.0.1", "max_connections=300"];
        let of_this: &[_] = match self.durable {
            true => &["shared_buffers=256MB"],
            false => &[
                "fsync=off",
                "full_page_writes=off",
                "synchronous_commit=off",
                "shared_buffers=32MB",
            ],
        };
        for setting in of_all.iter().chain(of_this) {
            command.args(["-c", setting]);
        }
        let mut server = Process::start(&mut command, &log, (&self.keeper.notes(), "QUIT"))?;
        let (port, ask) = (self.port, self.programs.join("pg_isready"));
        let ready = || {
            let mut ask = Command::new(&ask);
            ask.args(["--quiet", "--host", "127.0.0.1", "--port", &port.to_string()]);
            listens(port) && ask.status().is_ok_and(|status| status.success())
        };
        server.wait_until(START, &log, ready)?;
        *self.slot() = Some(server);
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.keeper.dir().join("data")
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of PostgreSQL's programs, as a user that it accepts.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.keeper.dir());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let server = self.slot().take();
        if let Some(Err(error)) = server.map(|server| server.end(Signal::QUIT)) {
            eprintln!("the cluster was not ended: {error:#}");
        }
    }
}

/// Where Debian keeps the programs of the newest version that is installed.
fn programs() -> Result<PathBuf> {
    let versions =
        std::fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed")?;
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.join("bin/postgres").exists())
        .max_by_key(|path| number(path));
    Ok(newest.context("PostgreSQL's server is not installed")?.join("bin"))
}
