//! A daemon of one's own with images, flavor and servers, and nothing left behind.
//!
//! Everything is below one directory, `reprieve-e2e-PID-…`. Dropping the [`Lab`] stops the daemon,
//! then removes the domains of all its servers, then ends a libvirtd of its own, then removes the
//! directory. What a killed run left is found by that name and removed by the next one ([`sweep`]).

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cloud::{Cloud, Credentials, NewServer, Service};
use crate::daemon::{Daemon, Settings};
use crate::guest::{Boot, Guest};
use crate::libvirtd::Libvirtd;
use crate::places;
use crate::run::{Output, Run};
use crate::virt::Virt;
use crate::wait::Deadline;
use reprieve_test_daemons::free_port;

/// Seconds that a guest may take to boot. Emulated guests on a busy machine need ten times what they
/// need on an idle one, and a deadline that passes although nothing is wrong is a flaky test.
pub const BOOT: u64 = 400;
/// Seconds that any operation on an existing server may take.
pub const OPERATION: u64 = 120;
/// Seconds for a command of the openstack client, which may wait for a guest.
pub const CLIENT: u64 = 300;
/// Seconds for what takes one or two on an idle machine: a heartbeat, a command in the guest.
pub const SOON: u64 = 60;

const PREFIX: &str = "reprieve-e2e-";
/// Where a lab has a libvirtd of its own.
pub(crate) const LIBVIRTD: &str = "libvirtd";
/// Where servers have their files.
const INSTANCES: &str = "data/instances";

/// What a lab is made with.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// libvirt connection of the daemon, when it is not the one that the tests look through.
    pub libvirt_uri: Option<String>,
    /// Directory to use instead of a new temporary one; kept.
    pub dir: Option<PathBuf>,
    /// Port instead of any free one.
    pub port: Option<u16>,
    /// There is nothing behind [`Self::libvirt_uri`] yet.
    pub no_libvirt: bool,
    /// Lets the daemon find libvirt by itself.
    pub as_found: bool,
    /// Broker that gets notifications.
    pub notification_url: Option<String>,
    /// With a libvirtd of its own, which may be killed.
    pub own_libvirtd: bool,
}

/// Everything together.
pub struct Lab {
    /// The daemon.
    pub daemon: Daemon,
    /// Its API, as its administrator.
    pub cloud: Cloud,
    /// libvirt.
    pub virt: Virt,
    /// The libvirtd of its own, if the plan asked for one.
    pub libvirtd: Option<Libvirtd>,
    dir: PathBuf,
    made: RefCell<Vec<Uuid>>,
}

/// A server that booted.
pub struct Booted {
    /// Its id.
    pub id: Uuid,
    /// Its console.
    pub guest: Guest,
    /// What it said.
    pub boot: Boot,
}

impl Booted {
    /// The guest counts on from `before` in the boot that it was in.
    ///
    /// # Errors
    /// When numbers are missing, or it is another boot.
    pub fn goes_on(&self, before: u64) -> Result<()> {
        let soon = || Deadline::seconds(SOON);
        let next = self.guest.beat_after(before, soon())?;
        ensure!(next <= before + 3, "the count went from {before} to {next}");
        let boot_id = self.guest.shell("cat /proc/sys/kernel/random/boot_id", soon())?;
        ensure!(boot_id == self.boot.boot_id, "the guest is another boot");
        Ok(())
    }
}

/// Runs a test in a lab; what the daemon said is part of a failure.
///
/// # Errors
/// Those of the test, and of making the lab.
pub fn with_lab(test: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    with_plan(Plan::default(), test)
}

/// [`with_lab`], made to a plan.
///
/// # Errors
/// As [`with_lab`].
pub fn with_plan(plan: Plan, test: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    let mut lab = Lab::start(plan)?;
    test(&mut lab).inspect_err(|_| eprintln!("reprieved said:\n{}\n", lab.daemon.said()))
}

impl Lab {
    /// Starts a daemon.
    ///
    /// # Errors
    /// When it does not serve, or no libvirt answers.
    pub fn start(plan: Plan) -> Result<Self> {
        let shared =
            if plan.own_libvirtd { None } else { Some(Virt { uri: places::libvirt_uri()? }) };
        sweep(shared.as_ref())?;
        let dir = match plan.dir {
            Some(dir) => dir,
            None => new_dir()?,
        };
        let data = dir.join("data");
        fs::create_dir_all(&data).with_context(|| format!("{}", data.display()))?;
        let (virt, libvirtd) = match shared {
            Some(virt) => (virt, None),
            None => {
                let libvirtd = Libvirtd::start(&dir.join(LIBVIRTD))?;
                (libvirtd.virt(), Some(libvirtd))
            }
        };
        let own_uri = || (!plan.as_found).then(|| virt.uri.clone());
        let settings = Settings {
            data,
            port: plan.port.map_or_else(free_port, Ok)?,
            libvirt_uri: plan.libvirt_uri.or_else(own_uri),
            notification_url: plan.notification_url,
            part: None,
        };
        let daemon = Daemon::start(settings)?;
        let credentials = Credentials::read(&daemon.data().join("clouds.yaml"))?;
        let cloud = Cloud::login(&daemon.url(), &credentials)?;
        let made = RefCell::default();
        let lab = Self { daemon, cloud, virt, libvirtd, dir, made };
        if !plan.no_libvirt {
            lab.host_is_up()?;
        }
        Ok(lab)
    }

    /// Waits until the compute service can run guests.
    ///
    /// # Errors
    /// When it cannot in time.
    pub fn host_is_up(&self) -> Result<()> {
        Deadline::seconds(SOON).until("state 'up' of the compute service", || {
            Ok((self.compute_state()? == "up").then_some(()))
        })
    }

    /// Asks for an action and waits until its server rests in `status`.
    ///
    /// # Errors
    /// When it rests elsewhere, or too late.
    pub fn perform(&self, id: Uuid, action: &Value, status: &str) -> Result<()> {
        self.cloud.perform(id, action, status, OPERATION).map(drop)
    }

    /// Waits until a server rests in `status` and its guest in `power_state`.
    ///
    /// # Errors
    /// When that is not seen soon.
    pub fn sees(&self, id: Uuid, status: &str, power_state: i64) -> Result<()> {
        let mut seen = String::new();
        let wanted = format!("{status} with power_state {power_state}");
        let found = Deadline::seconds(SOON).until(&wanted, || {
            let server = self.cloud.server(id)?;
            seen = server.line();
            Ok((server.rests_in(status) && server.power_state == power_state).then_some(()))
        });
        found.with_context(|| seen)
    }

    /// Name of the compute host.
    ///
    /// # Errors
    /// When the API does not tell.
    pub fn host(&self) -> Result<String> {
        let services = self.cloud.get(Service::Compute, "/os-services?binary=nova-compute")?;
        let host = services["services"][0]["host"].as_str();
        host.map(str::to_owned).context("no compute service has a host")
    }

    /// `state` of the compute service; `unknown` before it has registered.
    ///
    /// # Errors
    /// When the API does not tell.
    pub fn compute_state(&self) -> Result<String> {
        let services = self.cloud.get(Service::Compute, "/os-services?binary=nova-compute")?;
        let state = services["services"][0]["state"].as_str();
        Ok(state.unwrap_or("unknown").to_owned())
    }

    /// The administrator's login.
    ///
    /// # Errors
    /// When `clouds.yaml` cannot be read.
    pub fn credentials(&self) -> Result<Credentials> {
        Credentials::read(&self.daemon.data().join("clouds.yaml"))
    }

    /// Where servers have their files.
    #[must_use]
    pub fn instances(&self) -> PathBuf {
        self.dir.join(INSTANCES)
    }

    /// A file of a server.
    #[must_use]
    pub fn file(&self, id: Uuid, name: &str) -> PathBuf {
        self.instances().join(id.to_string()).join(name)
    }

    /// Uploads one of the guest images: `tiny` or `tiny-rescue`.
    ///
    /// # Errors
    /// When it is refused.
    pub fn image(&self, name: &str) -> Result<String> {
        self.cloud.upload(name, "qcow2", &places::image(name)?, &json!({}))
    }

    /// A flavor that fits the guest images.
    ///
    /// # Errors
    /// When it is refused.
    pub fn flavor(&self) -> Result<String> {
        self.cloud.flavor("e2e", 128, 1)
    }

    /// A server from image `tiny`.
    ///
    /// # Errors
    /// When image or flavor are refused.
    pub fn tiny(&self, name: &str) -> Result<NewServer> {
        let (image, flavor) = (self.image("tiny")?, self.flavor()?);
        Ok(NewServer { name: name.into(), image, flavor, ..NewServer::default() })
    }

    /// Asks for a server.
    ///
    /// # Errors
    /// When it is refused.
    pub fn create(&self, server: &NewServer) -> Result<Uuid> {
        let id = self.cloud.create(server)?;
        self.adopt(id);
        Ok(id)
    }

    /// Sees to it that nothing is left of a server that something else created.
    pub fn adopt(&self, id: Uuid) {
        self.made.borrow_mut().push(id);
    }

    /// The console of a server.
    #[must_use]
    pub fn guest(&self, id: Uuid) -> Guest {
        Guest::new(id, self.file(id, "console.log"), self.virt.clone())
    }

    /// Creates a server and waits until it is ACTIVE and its guest has booted.
    ///
    /// # Errors
    /// When it does not.
    pub fn boot(&self, server: &NewServer) -> Result<Booted> {
        let id = self.create(server)?;
        self.cloud.rests(id, "ACTIVE", Deadline::seconds(OPERATION))?;
        let guest = self.guest(id);
        let boot = guest.booted(Deadline::seconds(BOOT))?;
        Ok(Booted { id, guest, boot })
    }

    /// The client `reprieve` on this cloud.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn reprieve(&self, args: &[&str]) -> Result<Run> {
        Ok(self.on_cloud(Run::new(places::program("reprieve")?)).args(args))
    }

    /// Runs the openstack client on this cloud.
    ///
    /// # Errors
    /// When it is not installed, or fails.
    pub fn openstack(&self, args: &[&str]) -> Result<Output> {
        self.on_cloud(Run::new(places::openstack()?)).args(args).within(CLIENT).ok()
    }

    /// A program that drives a client library on this cloud, by its name.
    ///
    /// # Errors
    /// When the library is not installed.
    pub fn driver(&self, name: &str) -> Result<Run> {
        // Nothing is to be written into the repository.
        let python = Run::new(places::python()?).env("PYTHONDONTWRITEBYTECODE", "1");
        Ok(self.on_cloud(python).arg(places::driver(name)))
    }

    fn on_cloud(&self, run: Run) -> Run {
        run.env("OS_CLIENT_CONFIG_FILE", self.daemon.data().join("clouds.yaml"))
            .env("OS_CLOUD", "reprieve")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error:#}");
        }
    }
}

impl Lab {
    /// Ends everything, as far as possible.
    fn end(&mut self) -> Result<()> {
        let stopped = self.daemon.stop();
        if let Some(libvirtd) = &self.libvirtd {
            // The test may have left it frozen or dead.
            let _ = libvirtd.thaw();
            libvirtd.start_again()?;
        }
        remove_domains(&self.dir, &self.made.borrow(), &self.virt)?;
        if let Some(libvirtd) = self.libvirtd.take() {
            end_libvirtd(&libvirtd)?;
        }
        remove_dir(&self.dir)?;
        stopped
    }
}

/// Ends one that nobody else uses, with what is left in it.
pub(crate) fn end_libvirtd(libvirtd: &Libvirtd) -> Result<()> {
    let virt = libvirtd.virt();
    virt.domains()?.into_iter().try_for_each(|id| virt.remove(id))?;
    libvirtd.stop()
}

/// Qemu may have to pass through as another user.
pub(crate) fn new_dir() -> Result<PathBuf> {
    let dir = tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .permissions(fs::Permissions::from_mode(0o711))
        .tempdir()
        .context("no temporary directory")?;
    Ok(dir.keep())
}

/// Removes what earlier runs left that were killed: those in `shared`, if it is given, and those
/// with a libvirtd of their own.
///
/// # Errors
/// When libvirt does not answer or files cannot be removed.
pub fn sweep(shared: Option<&Virt>) -> Result<()> {
    let temporary = std::env::temp_dir();
    let entries = fs::read_dir(&temporary).with_context(|| format!("{}", temporary.display()))?;
    for entry in entries {
        let entry = entry.context("temporary directory")?;
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let Some(pid) = rest.split('-').next().and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if Path::new("/proc").join(pid.to_string()).exists() {
            continue;
        }
        let own = entry.path().join(LIBVIRTD).exists();
        if own || shared.is_some() {
            eprintln!("removing what a killed run left in {}", entry.path().display());
            // Somebody else may be at it. It is nothing of this run's.
            if let Err(error) = clean(&entry.path(), shared) {
                eprintln!("it could not be removed: {error:#}");
            }
        }
    }
    Ok(())
}

/// Ends the daemons of a lab's directory, if they still run, and removes their domains, its libvirtd
/// and its files. `shared` is where its domains are if it has no libvirtd of its own.
///
/// # Errors
/// When something cannot be removed.
pub fn clean(dir: &Path, shared: Option<&Virt>) -> Result<()> {
    for home in homes(dir) {
        end_left(&home)?;
    }
    let own = dir.join(LIBVIRTD);
    if own.exists() {
        end_libvirtd(&Libvirtd::start(&own)?)?;
    } else if let Some(shared) = shared {
        remove_domains(dir, &[], shared)?;
    }
    // What was mounted last may be on what was mounted before.
    for mounted in mounted_below(dir)?.into_iter().rev() {
        Run::new("umount").arg(mounted).ok()?;
    }
    remove_dir(dir)
}

fn mounted_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    Ok(places.filter(|place| place.starts_with(dir)).collect())
}

/// Where daemons have their data directories: here, or one below for each of several.
fn homes(dir: &Path) -> Vec<PathBuf> {
    let below = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    below.filter(|path| path.join("data").is_dir()).chain([dir.to_owned()]).collect()
}

fn end_left(home: &Path) -> Result<()> {
    let Ok(pid) = fs::read_to_string(home.join("reprieved.pid")) else { return Ok(()) };
    let process = Path::new("/proc").join(pid.trim());
    let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
    // The number may belong to another process by now.
    if String::from_utf8_lossy(&arguments).contains(&*home.to_string_lossy()) {
        crate::run::terminate(pid.trim().parse().context("reprieved.pid")?)?;
        Deadline::seconds(15).until("end of a left daemon", || {
            let state = fs::read_to_string(process.join("stat")).unwrap_or_default();
            Ok((state.is_empty() || state.contains(") Z ")).then_some(()))
        })?;
    }
    Ok(())
}

/// The domains of servers of whose files there is something.
pub(crate) fn remove_domains(dir: &Path, made: &[Uuid], virt: &Virt) -> Result<()> {
    let mut servers = made.to_vec();
    for home in homes(dir) {
        let entries = fs::read_dir(home.join(INSTANCES)).into_iter().flatten().flatten();
        servers
            .extend(entries.filter_map(|entry| entry.file_name().to_str()?.parse::<Uuid>().ok()));
    }
    servers.sort_unstable();
    servers.dedup();
    for id in servers {
        virt.remove(id)?;
    }
    Ok(())
}

pub(crate) fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            bail!("{} cannot be removed: {error}", dir.display())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// How long something took.
///
/// # Errors
/// Those of `what`.
pub fn timed<T>(what: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let begun = std::time::Instant::now();
    what().map(|done| (done, begun.elapsed()))
}
