//! What an operator says: one file of TOML, `REPRIEVE_…` variables, options of the command line.
//!
//! ```text
//! defaults ◀─ file ◀─ variables ◀─ options        the right one wins
//! ```
//!
//! Invariants:
//! - `docs/reprieved.toml` has every key with its default, and nothing else is a key: what is not
//!   known is refused, never ignored;
//! - whatever is wrong is refused before anything is opened, with its place and what to do;
//! - a value that may hold a password is in no message, and in no file that everybody can read.

mod check;
mod error;
mod file;
pub mod keys;
mod secrets;
mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reprieve_control::app::servers::ConsoleSettings;
use reprieve_control::http::ApiSettings;
use reprieve_core::reboot::RebootPolicy;
use reprieve_core::schedule::{ClaimPolicy, Ratio, Ratios};
use serde::Deserialize;
use toml::{Table, Value};

pub use error::{ConfigError, Origin, Problem};
pub use secrets::Secret;

use crate::args::{LogFormat, Options};
use keys::{KEYS, Key, Kind};

/// The file that is read if it exists and no other is named.
pub const USUAL_FILE: &str = "/etc/reprieve/reprieved.toml";
/// Every key with its default, for people.
pub const EXAMPLE: &str = include_str!("../../../../docs/reprieved.toml");
/// What is logged; migrations are reported by their effect.
const LOG: &str = "info,sea_orm_migration=warn";
/// Largest image that may be uploaded: 1 TiB.
const MAX_IMAGE_BYTES: u64 = 1 << 40;

/// Which parts of Reprieve a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// All of them.
    AllInOne,
    /// HTTP services.
    Api,
    /// Dispatcher, reports, notifications.
    Conductor,
    /// One host's guests.
    Compute,
}

impl Role {
    /// As the command line and messages call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllInOne => "all-in-one",
            Self::Api => "api",
            Self::Conductor => "conductor",
            Self::Compute => "compute",
        }
    }
}

/// All that can be said. `docs/reprieved.toml` explains each key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of this host. `None`: the machine's.
    pub host: Option<String>,
    /// Directory of what has to survive a restart. `None`: the usual place of this user.
    pub data_dir: Option<PathBuf>,
    /// Key that the daemons of one installation share. `None`: one of its own in the data directory.
    pub sealing_key_file: Option<PathBuf>,
    /// Log lines.
    pub log: Log,
    /// Database of the control plane.
    pub database: Database,
    /// Way between control plane and hosts.
    pub bus: Bus,
    /// HTTP services.
    pub api: Api,
    /// Dispatcher, reports, notifications.
    pub conductor: Conductor,
    /// How hosts are filled.
    pub scheduler: Scheduler,
    /// Images.
    pub images: Images,
    /// A Keystone instead of the own identity service.
    pub keystone: Keystone,
    /// Compute host.
    pub compute: Compute,
    /// Remote consoles.
    pub consoles: Consoles,
    /// What other programs are told.
    pub notifications: Notifications,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Which lines.
    pub filter: String,
    /// How they look.
    pub format: LogFormat,
    /// Whether it is written who changed what.
    pub audit: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: LOG.to_owned(), format: LogFormat::Human, audit: true }
    }
}

/// `[database]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// PostgreSQL or MariaDB. `None`: a file of SQLite in the data directory.
    pub url: Option<Secret>,
    /// File that holds the address instead.
    pub url_file: Option<PathBuf>,
}

/// How RabbitMQ keeps queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Queues {
    /// On one node.
    #[default]
    Classic,
    /// On a majority of the nodes of a cluster.
    Quorum,
}

/// `[bus]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bus {
    /// RabbitMQ, tried in turn. Empty: within this process.
    pub urls: Vec<Secret>,
    /// File that holds the addresses instead, one a line.
    pub urls_file: Option<PathBuf>,
    /// The only authorities to trust (PEM). `None`: the machine's.
    pub ca_file: Option<PathBuf>,
    /// Certificate to show (PEM).
    pub certificate_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
    /// How the broker keeps the queues.
    pub queues: Queues,
    /// First part of the queues' names.
    pub prefix: String,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            urls_file: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            queues: Queues::default(),
            prefix: "reprieve".to_owned(),
        }
    }
}

/// `[api]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Where the HTTP services listen.
    pub listen: SocketAddr,
    /// Where clients reach them. `None`: at the address that is listened on.
    pub public_url: Option<String>,
    /// Region in the catalog.
    pub region: String,
    /// Zone of hosts that are in no other.
    pub availability_zone: String,
    /// Rules that replace Nova's. `None`: `policy.yaml` in the data directory, if it exists.
    pub policy_file: Option<PathBuf>,
    /// Most items of a page of the compute API.
    pub max_limit: u32,
    /// What links of the compute API begin with. `None`: where the client reached it.
    pub compute_link_prefix: Option<String>,
    /// What links of images begin with. `None`: where the client reached the compute API.
    pub glance_link_prefix: Option<String>,
    /// Where metrics are served to everybody. `None`: only where the HTTP services listen, to
    /// administrators.
    pub metrics_listen: Option<SocketAddr>,
}

impl Api {
    /// For the control plane.
    #[must_use]
    pub fn settings(&self) -> ApiSettings {
        let prefix =
            |url: &Option<String>| url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
        ApiSettings {
            max_limit: self.max_limit,
            compute_link_prefix: prefix(&self.compute_link_prefix),
            glance_link_prefix: prefix(&self.glance_link_prefix),
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8774)),
            public_url: None,
            region: "RegionOne".to_owned(),
            availability_zone: "nova".to_owned(),
            policy_file: None,
            max_limit: ApiSettings::default().max_limit,
            compute_link_prefix: None,
            glance_link_prefix: None,
            metrics_listen: None,
        }
    }
}

/// `[conductor]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conductor {
    /// Where metrics are served. `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
}

/// `[scheduler]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scheduler {
    /// How often each logical CPU may be promised.
    pub cpu_allocation_ratio: Ratio,
    /// How often memory may be promised.
    pub ram_allocation_ratio: Ratio,
    /// How often disk may be promised.
    pub disk_allocation_ratio: Ratio,
    /// Memory of each host, in MiB, that is never promised.
    pub reserved_memory_mib: u64,
    /// Whether the memory of suspended servers may be promised to others.
    pub release_suspended_memory: bool,
}

impl Default for Scheduler {
    fn default() -> Self {
        let ClaimPolicy { ratios, reserved_memory_mib, release_suspended_memory } =
            ClaimPolicy::default();
        Self {
            cpu_allocation_ratio: ratios.vcpus,
            ram_allocation_ratio: ratios.memory,
            disk_allocation_ratio: ratios.disk,
            reserved_memory_mib,
            release_suspended_memory,
        }
    }
}

impl Scheduler {
    /// As the store wants it.
    #[must_use]
    pub const fn policy(&self) -> ClaimPolicy {
        ClaimPolicy {
            ratios: Ratios {
                vcpus: self.cpu_allocation_ratio,
                memory: self.ram_allocation_ratio,
                disk: self.disk_allocation_ratio,
            },
            reserved_memory_mib: self.reserved_memory_mib,
            release_suspended_memory: self.release_suspended_memory,
        }
    }
}

/// `[images]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Images {
    /// Where the own image service keeps data. `None`: in the data directory.
    pub directory: Option<PathBuf>,
    /// Largest upload, in bytes.
    pub max_bytes: u64,
    /// Api processes from which a compute host gets data.
    pub urls: Vec<String>,
    /// A Glance instead of the own image service.
    pub glance_url: Option<String>,
}

impl Default for Images {
    fn default() -> Self {
        Self { directory: None, max_bytes: MAX_IMAGE_BYTES, urls: Vec::new(), glance_url: None }
    }
}

/// `[keystone]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keystone {
    /// Where it is. `None`: the own identity service.
    pub url: Option<String>,
    /// The service user.
    pub credentials_file: Option<PathBuf>,
    /// Certificates to trust besides the machine's, for Keystone, Glance and the api processes (PEM).
    pub ca_file: Option<PathBuf>,
}

/// `[compute]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compute {
    /// libvirt. `None`: the usual connection of this user.
    pub libvirt_uri: Option<String>,
    /// Where proxies reach the serial consoles of this host's guests.
    pub console_listen: SocketAddr,
    /// What proxies know that address as. `None`: as it is.
    pub console_host: Option<String>,
    /// Where metrics are served. `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// What is done with servers after a restart of the machine.
    pub after_host_reboot: RebootPolicy,
}

impl Default for Compute {
    fn default() -> Self {
        Self {
            libvirt_uri: None,
            console_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            console_host: None,
            metrics_listen: None,
            after_host_reboot: RebootPolicy::default(),
        }
    }
}

/// `[consoles]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Consoles {
    /// How long a token is good, in seconds.
    pub token_ttl: u32,
    /// Where clients find the proxy of serial consoles.
    pub serial_base_url: String,
    /// Where clients find noVNC.
    pub novnc_base_url: String,
    /// Where clients find SPICE in a browser.
    pub spice_html5_base_url: String,
    /// Where clients find SPICE without a browser.
    pub spice_direct_base_url: String,
}

impl Default for Consoles {
    fn default() -> Self {
        Self::of(ConsoleSettings::default())
    }
}

impl Consoles {
    fn of(settings: ConsoleSettings) -> Self {
        Self {
            token_ttl: u32::try_from(settings.token_ttl.as_secs()).unwrap_or(u32::MAX),
            serial_base_url: settings.serial_base_url,
            novnc_base_url: settings.novnc_base_url,
            spice_html5_base_url: settings.spice_html5_base_url,
            spice_direct_base_url: settings.spice_direct_base_url,
        }
    }

    /// For the control plane.
    #[must_use]
    pub fn settings(&self) -> ConsoleSettings {
        ConsoleSettings {
            token_ttl: Duration::from_secs(self.token_ttl.into()),
            serial_base_url: self.serial_base_url.clone(),
            novnc_base_url: self.novnc_base_url.clone(),
            spice_html5_base_url: self.spice_html5_base_url.clone(),
            spice_direct_base_url: self.spice_direct_base_url.clone(),
        }
    }
}

/// `[notifications]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notifications {
    /// Whether changes are noted at all.
    pub enabled: bool,
    /// RabbitMQ that gets Nova's versioned notifications.
    pub url: Option<Secret>,
    /// File that holds the address instead.
    pub url_file: Option<PathBuf>,
    /// Topic.
    pub topic: String,
    /// Whether exchange and queues survive a restart of the broker.
    pub durable: bool,
}

impl Default for Notifications {
    fn default() -> Self {
        let topic = "versioned_notifications".to_owned();
        Self { enabled: true, url: None, url_file: None, topic, durable: false }
    }
}

/// Something that replaces what the file says.
pub struct Override {
    /// Which key.
    pub key: &'static Key,
    /// What it is to be.
    pub value: Value,
    /// Who says so.
    pub origin: Origin,
}

/// A configuration with where each part of it is from.
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Everything that is not left to its default.
    said: Table,
    /// Who said it, by path.
    origins: BTreeMap<String, Origin>,
}

/// Without what was said as it was said, where secrets are bare texts.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("config", &self.config)
            .field("file", &self.file)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}

impl Loaded {
    /// Reads the file and puts what variables and options say in its place.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(options: &Options) -> Result<Self, ConfigError> {
        Self::with(options, &|name| std::env::var(name).ok())
    }

    /// Like [`Self::new`], with variables from elsewhere.
    pub(crate) fn with(
        options: &Options,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let usual = Path::new(USUAL_FILE);
        let mut loaded = match &options.config {
            Some(path) => file::read(path)?,
            None if usual.exists() => file::read(usual)?,
            None => Self::nothing(),
        };
        for change in variables(variable)? {
            loaded.put(change)?;
        }
        for change in options.overrides() {
            loaded.put(change)?;
        }
        Ok(loaded)
    }

    fn nothing() -> Self {
        Self { config: Config::default(), file: None, said: Table::new(), origins: BTreeMap::new() }
    }

    /// Lets a key have another value.
    fn put(&mut self, change: Override) -> Result<(), ConfigError> {
        let Override { key, value, origin } = change;
        let (table, name) = key.place();
        let target = match table {
            "" => Some(&mut self.said),
            table => {
                self.said.entry(table).or_insert_with(|| Value::Table(Table::new())).as_table_mut()
            }
        };
        if let Some(target) = target {
            target.insert(name.to_owned(), value);
        }
        // Everything else was good before, so whatever is wrong now is wrong with this value.
        self.config = self.said.clone().try_into().map_err(|error: toml::de::Error| {
            let message = error::without_secret(error.message(), key.is_secret());
            ConfigError::Override { origin: origin.clone(), key: key.path, message }
        })?;
        self.origins.insert(key.path.to_owned(), origin);
        Ok(())
    }

    /// Where the value of a key is from, if it is not its default.
    #[must_use]
    pub fn origin(&self, path: &str) -> Option<&Origin> {
        self.origins.get(path)
    }
}

/// What variables say for which there is no option. Those of options come with them.
fn variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Override>, ConfigError> {
    let mut changes = Vec::new();
    for key in KEYS.iter().filter(|key| key.option.is_none()) {
        let Some(text) = variable(key.variable) else { continue };
        let origin = Origin::Variable(key.variable);
        let wrong = |message: &str| ConfigError::Override {
            origin: origin.clone(),
            key: key.path,
            message: message.to_owned(),
        };
        let value = match key.kind {
            Kind::Text => Value::String(text),
            Kind::List => Value::Array(text.split_whitespace().map(Value::from).collect()),
            Kind::Flag => {
                Value::Boolean(text.parse().map_err(|_| wrong("it has to be true or false"))?)
            }
            Kind::Number => {
                Value::Integer(text.parse().map_err(|_| wrong("it has to be a number"))?)
            }
            Kind::Decimal => {
                Value::Float(text.parse().map_err(|_| wrong("it has to be a number"))?)
            }
        };
        changes.push(Override { key, value, origin });
    }
    Ok(changes)
}
