//! An installation of several processes, as on several machines: PostgreSQL, RabbitMQ, two api, one
//! conductor, two computes. All of them on this one, and the computes on one libvirt.
//!
//! ```text
//! DIR/secret.key database.url bus.urls    what they share
//! DIR/images/                             data of the image service, for both api
//! DIR/NAME/reprieved.toml data/           what each has for itself
//! DIR/libvirtd/                           a libvirtd of its own, if it has one
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use reprieve_core::reboot::RebootPolicy;
use reprieve_test_daemons::{Broker, Cluster as Database, free_port};
use uuid::Uuid;

use crate::cloud::{Cloud, Credentials, Service};
use crate::daemon::{Daemon, Part, Settings};
use crate::guest::Guest;
use crate::lab::{self, LIBVIRTD, SOON};
use crate::libvirtd::Libvirtd;
use crate::machine::Machine;
use crate::places;
use crate::run::Run;
use crate::virt::Virt;
use crate::wait::Deadline;

/// Key of a compute host's policy for its servers, the last in its configuration.
const AFTER_REBOOT: &str = "after_host_reboot";

/// Name of the database.
pub const DATABASE: &str = "reprieve";

/// Everything together. Dropping it ends all of it and leaves nothing.
pub struct Cluster {
    /// HTTP services.
    pub apis: [Daemon; 2],
    /// The conductor.
    pub conductor: Daemon,
    /// Compute hosts, by their names.
    pub computes: Vec<(&'static str, Daemon)>,
    /// The broker.
    pub broker: Broker,
    /// The database.
    pub database: Database,
    /// libvirt.
    pub virt: Virt,
    /// The libvirtd of its own, if its shape asked for one.
    pub libvirtd: Option<Libvirtd>,
    /// The machine of its compute host, if its power can be cut.
    pub machine: Option<Machine>,
    dir: PathBuf,
}

/// What the compute hosts of a cluster have for a libvirt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guests {
    /// That of this machine.
    OnShared,
    /// A libvirtd of the cluster's own, which may be killed.
    OnOwn,
    /// As [`Self::OnOwn`], on a [`Machine`] whose power can be cut. The first compute host is on it,
    /// and there must not be another. Needs root.
    OnMachine,
}

/// What a cluster is made of beside two api and a conductor.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Where, instead of a new temporary directory.
    pub dir: Option<PathBuf>,
    /// Compute hosts, by their names. Without any, no libvirt is needed.
    pub computes: &'static [&'static str],
    /// Whether the database waits for its disk, and what it said is there after any kill.
    pub durable: bool,
    /// Where guests are.
    pub guests: Guests,
}

impl Default for Shape {
    fn default() -> Self {
        let computes = &["compute1", "compute2"];
        Self { dir: None, computes, durable: false, guests: Guests::OnShared }
    }
}

impl Shape {
    /// What guests need before anything else is there.
    fn ground(&self, dir: &Path) -> Result<(Option<Machine>, Option<Libvirtd>)> {
        let home = dir.join(LIBVIRTD);
        let machine = match (self.guests, self.computes) {
            (Guests::OnShared, _) => return Ok((None, None)),
            (Guests::OnOwn, _) => None,
            (Guests::OnMachine, [host]) => Some(Machine::new(dir, &dir.join(host), &home)?),
            (Guests::OnMachine, _) => bail!("a machine is one compute host"),
        };
        Ok((machine, Some(Libvirtd::start(&home)?)))
    }
}

/// The files that all of them share.
struct Shared<'a> {
    dir: &'a Path,
    ports: [u16; 2],
    uri: &'a str,
}

impl Shared<'_> {
    /// Makes them.
    fn write(&self, broker: &Broker, database: &Database) -> Result<()> {
        let key: Vec<u8> =
            [Uuid::new_v4(), Uuid::new_v4()].iter().flat_map(|id| *id.as_bytes()).collect();
        private(&self.dir.join("secret.key"), &key)?;
        private(&self.dir.join("database.url"), database.url(DATABASE).as_bytes())?;
        private(&self.dir.join("bus.urls"), broker.url().as_bytes())?;
        fs::create_dir(self.dir.join("images")).context("a directory for images")
    }

    /// The configuration of one of them.
    fn text(&self, name: &str, port: u16) -> String {
        let (dir, uri) = (self.dir.display(), self.uri);
        let [first, second] = self.ports.map(|port| format!("http://127.0.0.1:{port}"));
        format!(
            "host = \"{name}\"\n\
             data_dir = \"{dir}/{name}/data\"\n\
             sealing_key_file = \"{dir}/secret.key\"\n\n\
             [database]\nurl_file = \"{dir}/database.url\"\n\n\
             [bus]\nurls_file = \"{dir}/bus.urls\"\n\n\
             [api]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"{first}\"\n\n\
             [images]\ndirectory = \"{dir}/images\"\nurls = [\"{first}\", \"{second}\"]\n\n\
             [compute]\nlibvirt_uri = \"{uri}\"\n"
        )
    }

    /// A process that is not started yet.
    fn daemon(&self, name: &str, role: &'static str, port: u16) -> Result<Daemon> {
        let home = self.dir.join(name);
        let data = home.join("data");
        fs::create_dir_all(&data).with_context(|| format!("{}", data.display()))?;
        let config = home.join("reprieved.toml");
        fs::write(&config, self.text(name, port))?;
        let part = Some(Part { role, config });
        Daemon::prepared(Settings { data, port, libvirt_uri: None, notification_url: None, part })
    }
}

fn private(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("{}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("{}", path.display()))
}

impl Cluster {
    /// Starts all of it and waits until its hosts can run guests.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub fn start(shape: Shape) -> Result<Self> {
        let needs_libvirt = shape.guests == Guests::OnShared && !shape.computes.is_empty();
        let shared = match needs_libvirt {
            true => Some(Virt { uri: places::libvirt_uri()? }),
            false => None,
        };
        lab::sweep(shared.as_ref())?;
        let dir = shape.dir.clone().map_or_else(lab::new_dir, Ok)?;
        let (machine, libvirtd) = shape.ground(&dir)?;
        let own = libvirtd.as_ref().map(Libvirtd::virt);
        let nowhere = || Virt { uri: "test:///default".to_owned() };
        let virt = own.or(shared).unwrap_or_else(nowhere);
        let broker = Broker::start()?;
        let database = if shape.durable { Database::start_durable() } else { Database::start() }?;
        database.create(DATABASE, "template0")?;
        let shared = Shared { dir: &dir, ports: [free_port()?, free_port()?], uri: &virt.uri };
        shared.write(&broker, &database)?;
        let [first, second] = shared.ports;
        let apis = [shared.daemon("api1", "api", first)?, shared.daemon("api2", "api", second)?];
        let conductor = shared.daemon("conductor", "conductor", first)?;
        let compute = |name: &&'static str| {
            let daemon = shared.daemon(name, "compute", first)?;
            let boot = machine.as_ref().map(Machine::boot_file);
            Ok((*name, boot.into_iter().fold(daemon, Daemon::in_boot)))
        };
        let computes = shape.computes.iter().map(compute).collect::<Result<_>>()?;
        let mut cluster =
            Self { apis, conductor, computes, broker, database, virt, libvirtd, machine, dir };
        cluster.run()?;
        Ok(cluster)
    }

    fn run(&mut self) -> Result<()> {
        let [first, second] = &mut self.apis;
        // The administrator of the first one's clouds.yaml is the one that counts.
        first.start_again()?;
        second.start_again()?;
        self.conductor.start_again()?;
        for (_, compute) in &mut self.computes {
            compute.start_again()?;
        }
        let cloud = self.cloud(1)?;
        for (name, _) in &self.computes {
            Self::is_up(&cloud, name)?;
        }
        Ok(())
    }

    /// Waits until a host can run guests.
    ///
    /// # Errors
    /// When it cannot in time.
    pub fn is_up(cloud: &Cloud, host: &str) -> Result<()> {
        Deadline::seconds(SOON).until(&format!("state 'up' of {host}"), || {
            let services = cloud.get(Service::Compute, "/os-services?binary=nova-compute")?;
            let listed = services["services"].as_array().into_iter().flatten();
            let mut own = listed.filter(|service| service["host"] == host);
            Ok(own.any(|service| service["state"] == "up").then_some(()))
        })
    }

    /// One more process, which is not started yet: `name` is its directory, `host` what it says it
    /// is called.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn another(&self, name: &str, role: &'static str, host: &str) -> Result<Daemon> {
        let ports = [free_port()?, free_port()?];
        let shared = Shared { dir: &self.dir, ports, uri: &self.virt.uri };
        let daemon = shared.daemon(name, role, ports[0])?;
        let config = self.dir.join(name).join("reprieved.toml");
        let text = fs::read_to_string(&config)?;
        fs::write(
            &config,
            text.replace(&format!("host = \"{name}\""), &format!("host = \"{host}\"")),
        )?;
        Ok(daemon)
    }

    /// The API as its administrator, through the first (0) or the second (1) process.
    ///
    /// # Errors
    /// When the login is refused.
    pub fn cloud(&self, index: usize) -> Result<Cloud> {
        let api = self.apis.get(index).context("there is no such api")?;
        Cloud::login(&api.url(), &Credentials::read(&self.clouds_yaml())?)
    }

    /// How to log in.
    #[must_use]
    pub fn clouds_yaml(&self) -> PathBuf {
        self.apis[0].data().join("clouds.yaml")
    }

    /// The client `reprieve` on this cloud.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn reprieve(&self, args: &[&str]) -> Result<Run> {
        let run = Run::new(places::program("reprieve")?);
        let run = run.env("OS_CLIENT_CONFIG_FILE", self.clouds_yaml()).env("OS_CLOUD", "reprieve");
        Ok(run.args(args))
    }

    /// The compute host of a server: its place in [`Self::computes`].
    ///
    /// # Errors
    /// When it has none of these.
    pub fn host_of(&self, cloud: &Cloud, server: Uuid) -> Result<usize> {
        let body = cloud.server(server)?.body;
        let host = body["OS-EXT-SRV-ATTR:host"].as_str().unwrap_or_default();
        let place = self.computes.iter().position(|(name, _)| *name == host);
        place.with_context(|| format!("the server is on '{host}'"))
    }

    /// A file of a server on a host.
    #[must_use]
    pub fn file(&self, host: usize, server: Uuid, name: &str) -> PathBuf {
        let data = self.computes[host].1.data();
        data.join("instances").join(server.to_string()).join(name)
    }

    /// The console of a server on a host.
    #[must_use]
    pub fn guest(&self, host: usize, server: Uuid) -> Guest {
        Guest::new(server, self.file(host, server, "console.log"), self.virt.clone())
    }

    /// All processes.
    pub fn all(&mut self) -> impl Iterator<Item = &mut Daemon> {
        let computes = self.computes.iter_mut().map(|(_, daemon)| daemon);
        self.apis.iter_mut().chain([&mut self.conductor]).chain(computes)
    }

    /// What each of them said last.
    #[must_use]
    pub fn said(&self) -> String {
        let computes = self.computes.iter().map(|(_, daemon)| daemon);
        let all = self.apis.iter().chain([&self.conductor]).chain(computes);
        all.map(|daemon| format!("{}:\n{}\n", daemon.data().display(), daemon.said())).collect()
    }
}

impl Cluster {
    /// Starts again what ended because something that it needs was away, as a service manager does,
    /// and waits until every api serves.
    ///
    /// # Errors
    /// When that takes too long, or one ended as it must not.
    pub fn serves(&mut self) -> Result<()> {
        let served = Deadline::seconds(SOON).until("/readyz of every api", || {
            self.all().try_for_each(Daemon::supervise)?;
            Ok(self.apis.iter().all(Daemon::serves).then_some(()))
        });
        served.with_context(|| self.said())
    }

    /// Cuts the power of the compute host's machine.
    ///
    /// # Errors
    /// When it has none, or something lives on.
    pub fn cut_power(&self) -> Result<()> {
        let (_, agent) = self.computes.first().context("there is no compute host")?;
        self.machine()?.cut(|| agent.kill_now())
    }

    /// Starts everything that is on the compute host after [`Self::cut_power`], with another policy
    /// for its servers.
    ///
    /// # Errors
    /// When it does not start.
    pub fn boot_host(&mut self, policy: RebootPolicy) -> Result<()> {
        self.machine()?.boot()?;
        self.libvirtd.as_ref().context("no libvirtd of its own")?.start_again()?;
        let (name, agent) = self.computes.first_mut().context("there is no compute host")?;
        let config = self.dir.join(name).join("reprieved.toml");
        let mut text = fs::read_to_string(&config)?;
        text.truncate(text.find(AFTER_REBOOT).unwrap_or(text.len()));
        fs::write(&config, format!("{text}{AFTER_REBOOT} = \"{policy}\"\n"))?;
        agent.spawn()
    }

    fn machine(&self) -> Result<&Machine> {
        self.machine.as_ref().context("the compute host has no machine whose power can be cut")
    }

    fn end(&mut self) -> Result<()> {
        let stopped: Vec<_> = self.all().filter_map(|daemon| daemon.stop().err()).collect();
        if let Some(libvirtd) = &self.libvirtd {
            // A test may have left it dead.
            libvirtd.start_again()?;
        }
        lab::remove_domains(&self.dir, &[], &self.virt)?;
        if let Some(libvirtd) = self.libvirtd.take() {
            lab::end_libvirtd(&libvirtd)?;
        }
        drop(self.machine.take());
        lab::remove_dir(&self.dir)?;
        stopped.into_iter().next().map_or(Ok(()), Err)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error:#}");
        }
    }
}
