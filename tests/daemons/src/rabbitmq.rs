//! A RabbitMQ broker of a test's own: its own Erlang cookie, node name, port mapper and ports.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::keeper::Keeper;
use crate::process::{Process, free_port, listens, run};
use crate::tls;

/// Debian's wrappers in `/usr/sbin` change the user; these do not.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
/// How long a broker may take to start on a busy machine. One took two and a half minutes where
/// compilers ran at a higher priority.
const START: Duration = Duration::from_secs(300);

/// A broker. Ends with this value or with this process.
#[derive(Debug)]
pub struct Broker {
    server: Mutex<Option<Process>>,
    /// Maps the node's name to its port; a broker needs one beside it.
    mapper: Option<Process>,
    ports: Ports,
    node: String,
    keeper: Keeper,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    plain: u16,
    encrypted: u16,
    distribution: u16,
    mapper: u16,
}

impl Broker {
    /// One for all tests of this program that do it no harm. Started by whoever is first.
    ///
    /// # Panics
    /// When it cannot be started: no test that asks for it can go on.
    #[must_use]
    #[allow(clippy::expect_used, reason = "for tests")]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().expect("a RabbitMQ broker for tests"))
    }

    /// Starts a broker and waits until it takes connections, plain and encrypted.
    ///
    /// # Errors
    /// When RabbitMQ or OpenSSL is not installed or does not start.
    pub fn start() -> Result<Self> {
        let keeper = Keeper::new("broker")?;
        let ports = Ports {
            plain: free_port()?,
            encrypted: free_port()?,
            distribution: free_port()?,
            mapper: free_port()?,
        };
        let dir = keeper.dir();
        for name in ["home", "log", "mnesia", "tls"] {
            std::fs::create_dir(dir.join(name))?;
        }
        // The cookie is what lets `ctl` in. Erlang insists on its mode.
        let cookie = dir.join("home/.erlang.cookie");
        std::fs::write(&cookie, dir.display().to_string().replace(['/', '.'], "0"))?;
        std::fs::set_permissions(&cookie, std::fs::Permissions::from_mode(0o400))?;
        std::fs::write(dir.join("plugins"), "[].")?;
        tls::make_certificates(&dir.join("tls"))?;
        std::fs::write(dir.join("rabbitmq.conf"), configuration(&keeper, ports)?)?;
        let node = format!("reprieve{}@localhost", ports.plain);
        let mut broker = Self { server: Mutex::new(None), mapper: None, ports, node, keeper };
        let mut mapper = broker.command("epmd");
        mapper.args(["-port", &ports.mapper.to_string()]);
        let log = broker.keeper.dir().join("log/epmd");
        let notes = broker.keeper.notes();
        let mut mapper = Process::start(&mut mapper, &log, (&notes, "KILL"))?;
        mapper.wait_until(START, &log, || listens(ports.mapper))?;
        broker.mapper = Some(mapper);
        broker.run_again()?;
        Ok(broker)
    }

    /// Where it takes plain connections, with user and password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports.plain)
    }

    /// The same as oslo.messaging writes it, whose virtual host `/` has an empty name.
    #[must_use]
    pub fn oslo_url(&self) -> String {
        format!("rabbit://guest:guest@127.0.0.1:{}/", self.ports.plain)
    }

    /// Where it takes encrypted connections. Its certificate is for `localhost`.
    #[must_use]
    pub fn encrypted_url(&self) -> String {
        format!("amqps://guest:guest@localhost:{}/%2f", self.ports.encrypted)
    }

    /// The certificate (PEM) of the authority that signed the broker's.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.keeper.dir().join("tls/ca.pem")
    }

    /// Kills it as a power cut would, but for what the kernel has to write still.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> Result<()> {
        self.slot().take().context("the broker does not run")?.kill()
    }

    /// Starts it after [`Self::kill`], with the data that it had.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run_again(&self) -> Result<()> {
        let log = self.keeper.dir().join("log/output");
        let mut command = self.command(format!("{PROGRAMS}/rabbitmq-server"));
        let mut server = Process::start(&mut command, &log, (&self.keeper.notes(), "KILL"))?;
        let Ports { plain, encrypted, .. } = self.ports;
        server.wait_until(START, &log, || listens(plain) && listens(encrypted))?;
        *self.slot() = Some(server);
        Ok(())
    }

    /// Runs `rabbitmqctl` on it. Takes a second.
    ///
    /// # Errors
    /// When the command fails.
    pub fn ctl<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String> {
        run(self.command(format!("{PROGRAMS}/rabbitmqctl")).arg("--quiet").args(args))
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A program with everything in its environment that makes it this broker's.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let dir = self.keeper.dir();
        let mut command = Command::new(program);
        command
            .current_dir(dir)
            .env("HOME", dir.join("home"))
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.ports.mapper.to_string())
            .env("RABBITMQ_NODENAME", &self.node)
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", dir.join("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("plugins"))
            .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", dir.join("none"))
            // Lets the script become the broker instead of being its parent.
            .env("NOTIFY_SOCKET", dir.join("none"))
            // Two schedulers suffice for tests, and leave the machine to them.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-start_epmd false +S 2:2 +A 4 -kernel inet_dist_use_interface {127,0,0,1}",
            );
        command
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let server = self.slot().take();
        for process in [server, self.mapper.take()].into_iter().flatten() {
            if let Err(error) = process.kill() {
                eprintln!("the broker was not ended: {error:#}");
            }
        }
    }
}

fn configuration(keeper: &Keeper, ports: Ports) -> Result<String> {
    let tls = keeper.dir().join("tls").display().to_string();
    let mut text = String::new();
    writeln!(text, "listeners.tcp.1 = 127.0.0.1:{}", ports.plain)?;
    writeln!(text, "listeners.ssl.1 = 127.0.0.1:{}", ports.encrypted)?;
    writeln!(text, "ssl_options.cacertfile = {tls}/ca.pem")?;
    writeln!(text, "ssl_options.certfile = {tls}/server.pem")?;
    writeln!(text, "ssl_options.keyfile = {tls}/server.key")?;
    // Full disks and memory of the machine are not what these tests are about.
    writeln!(text, "disk_free_limit.absolute = 1MB")?;
    writeln!(text, "vm_memory_high_watermark.relative = 0.9")?;
    writeln!(text, "log.file.level = info")?;
    Ok(text)
}
