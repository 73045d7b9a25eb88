//! A MariaDB server of a test's own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::keeper::Keeper;
use crate::process::{Process, free_port, run};
use crate::tls;

/// How long a server may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);
/// Who owns all databases that [`MariaDb::create`] makes, and nothing else; the password is the same.
const USER: &str = "reprieve";

/// A server. Ends with this value or with this process.
#[derive(Debug)]
pub struct MariaDb {
    server: Mutex<Option<Process>>,
    port: u16,
    keeper: Keeper,
}

impl MariaDb {
    /// One for all tests of this program that do it no harm. Started by whoever is first.
    ///
    /// # Panics
    /// When it cannot be started: no test that asks for it can go on.
    #[must_use]
    #[allow(clippy::expect_used, reason = "for tests")]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().expect("a MariaDB server for tests"))
    }

    /// Makes a server and starts it. It does not wait for its disk: what a power cut does to MariaDB is
    /// not tested here.
    ///
    /// # Errors
    /// When MariaDB is not installed or does not start.
    pub fn start() -> Result<Self> {
        let keeper = Keeper::new("mariadb")?;
        let server = Self { server: Mutex::new(None), port: free_port()?, keeper };
        let mut install = server.command("mariadb-install-db");
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        run(&mut install)?;
        let tls = server.keeper.dir().join("tls");
        std::fs::create_dir(&tls)?;
        tls::make_certificates(&tls)?;
        server.run_again()?;
        let user = format!("CREATE USER {USER}@'%' IDENTIFIED BY '{USER}'");
        server.sql("mysql", &user)?;
        Ok(server)
    }

    /// Where a database of it is, without encryption.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let port = self.port;
        format!("mariadb://{USER}:{USER}@127.0.0.1:{port}/{database}?ssl-mode=DISABLED")
    }

    /// Where a database of it is, encrypted and with the certificate looked at.
    #[must_use]
    pub fn encrypted_url(&self, database: &str) -> String {
        let port = self.port;
        format!("mysql://{USER}:{USER}@localhost:{port}/{database}?ssl-mode=VERIFY_IDENTITY")
    }

    /// The certificate (PEM) of the authority that signed the server's.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.keeper.dir().join("tls/ca.pem")
    }

    /// Runs one statement on a database, as its administrator.
    ///
    /// # Errors
    /// When the statement fails.
    pub fn sql(&self, database: &str, statement: &str) -> Result<String> {
        let mut client = self.client("mariadb");
        client.args(["--batch", "--skip-column-names", "--execute", statement, database]);
        run(&mut client)
    }

    /// All of a database, as text that is the same for the same content.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn dump(&self, database: &str) -> Result<String> {
        let mut client = self.client("mariadb-dump");
        run(client.args([
            "--skip-comments",
            "--order-by-primary",
            "--single-transaction",
            database,
        ]))
    }

    /// Makes an empty database, which compares text as no program would want it to.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(&self, database: &str) -> Result<()> {
        let make = format!(
            "CREATE DATABASE {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci; \
             GRANT ALL ON {database}.* TO {USER}@'%'"
        );
        self.sql("mysql", &make).map(drop)
    }

    /// Makes a database with all that `template` had when it was first copied. That is cheaper than to
    /// make its tables step by step: each change of a schema waits for the disk.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn copy(&self, template: &str, database: &str) -> Result<()> {
        let dump = self.keeper.dir().join(format!("{template}.sql"));
        if !dump.exists() {
            let whole = dump.with_extension(database);
            std::fs::write(&whole, self.dump(template)?)?;
            std::fs::rename(&whole, &dump)?;
        }
        self.create(database)?;
        self.sql(database, &format!("source {}", dump.display())).map(drop)
    }

    /// Ends it as a crash would: no connection is told, nothing is written.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> Result<()> {
        self.slot().take().context("the server does not run")?.kill()
    }

    /// Starts it, after [`Self::kill`] with the data that it had.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run_again(&self) -> Result<()> {
        let dir = self.keeper.dir();
        let log = dir.join("output");
        let mut command = self.command("mariadbd");
        command
            .arg(format!("--port={}", self.port))
            .arg(format!("--socket={}", self.socket()))
            .arg(format!("--pid-file={}", dir.join("pid").display()))
            .arg(format!("--tmpdir={}", dir.display()));
        for (setting, file) in [("ssl-cert", "server.pem"), ("ssl-key", "server.key")] {
            command.arg(format!("--{setting}={}", dir.join("tls").join(file).display()));
        }
        command.args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--max-connections=400"]);
        command.args(["--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync"]);
        command.arg("--debug-no-sync");
        command.arg("--innodb-buffer-pool-size=64M");
        let mut server = Process::start(&mut command, &log, (&self.keeper.notes(), "KILL"))?;
        let ready = || {
            let mut ask = self.client("mariadb-admin");
            ask.arg("ping").output().is_ok_and(|answer| answer.status.success())
        };
        server.wait_until(START, &log, ready)?;
        *self.slot() = Some(server);
        Ok(())
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn socket(&self) -> String {
        self.keeper.dir().join("socket").display().to_string()
    }

    /// One of the programs that have the data, with no configuration of the machine's. The server runs
    /// as root only if it is told to.
    fn command(&self, program: &str) -> Command {
        let dir = self.keeper.dir();
        let mut command = Command::new(program);
        command.current_dir(dir).arg("--no-defaults");
        command.arg(format!("--datadir={}", dir.join("data").display()));
        // The smallest logs for crashes, which are made with the data.
        command.arg("--innodb-log-file-size=16M");
        if rustix::process::geteuid().is_root() {
            command.arg("--user=root");
        }
        command
    }

    /// One of the programs that ask the server.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["--no-defaults", "--user=root"]).arg(format!("--socket={}", self.socket()));
        command
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let server = self.slot().take();
        if let Some(Err(error)) = server.map(Process::kill) {
            eprintln!("the server was not ended: {error:#}");
        }
    }
}
