//! The command line of `reprieved`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use serde::Deserialize;
use toml::Value;

use crate::config::{Origin, Override, Role, keys};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// A compute service for KVM/QEMU hosts that speaks OpenStack Nova's API.
///
/// Without a command it runs everything on this machine: identity, images, compute API and the
/// guests, with SQLite and the local libvirt. The first start creates an administrator and writes
/// DATA_DIR/clouds.yaml and DATA_DIR/openrc.
///
/// The commands api, conductor and compute run one part each, on as many machines as wanted, with
/// PostgreSQL or MariaDB, and RabbitMQ.
#[derive(Debug, Clone, Parser)]
#[command(name = "reprieved", version, after_help = AFTER_HELP)]
pub struct Args {
    /// What holds for all commands.
    #[command(flatten)]
    pub options: Options,

    /// Which part to run; all of them without one.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// One part of the daemon, or something else.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// HTTP services: identity, images, compute API
    Api,
    /// Hands operations to the hosts and records what came of them
    Conductor,
    /// The guests of this machine
    Compute,
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// What to do with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong, and which roles can start; exit code 0 when the asked ones can
    Check {
        /// Look at this file instead of the usual one
        file: Option<PathBuf>,
        /// Only this role; otherwise what every role needs
        #[arg(long)]
        role: Option<Role>,
    },
    /// Print what holds and who said it, without secrets
    Show,
    /// Print a file with every key, its default and its meaning
    Example,
}

/// Options. Each wins over its variable, and both win over the configuration file.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Configuration file [default: /etc/reprieve/reprieved.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "REPRIEVE_CONFIG", global = true)]
    pub config: Option<PathBuf>,

    /// Directory of everything that has to survive a restart [default: /var/lib/reprieve as root,
    /// $XDG_DATA_HOME/reprieve otherwise]
    #[arg(long, value_name = "DIR", env = "REPRIEVE_DATA_DIR", global = true)]
    pub data_dir: Option<PathBuf>,

    /// Address and port of the HTTP services [default: 127.0.0.1:8774]
    #[arg(long, value_name = "ADDR:PORT", env = "REPRIEVE_LISTEN", global = true)]
    pub listen: Option<SocketAddr>,

    /// URL under which clients reach the services [default: http:// and the listen address]
    #[arg(long, value_name = "URL", env = "REPRIEVE_PUBLIC_URL", global = true)]
    pub public_url: Option<String>,

    /// libvirt connection [default: qemu:///system as root, qemu:///session otherwise]
    #[arg(long, value_name = "URI", env = "REPRIEVE_LIBVIRT_URI", global = true)]
    pub libvirt_uri: Option<String>,

    /// Name of this host in the API [default: the machine's host name]
    #[arg(long, value_name = "NAME", env = "REPRIEVE_HOST", global = true)]
    pub host: Option<String>,

    /// Policy file: rules of Nova by name, in YAML, that replace their defaults
    /// [default: DATA_DIR/policy.yaml, if it exists]
    #[arg(long, value_name = "FILE", env = "REPRIEVE_POLICY_FILE", global = true)]
    pub policy_file: Option<PathBuf>,

    /// Do not note changes of servers: no notifications, and nothing on /reprieve/v1/events
    #[arg(long, env = "REPRIEVE_NO_NOTIFICATIONS", global = true)]
    pub no_notifications: bool,

    /// RabbitMQ that gets Nova's versioned notifications, as amqp://USER:PASSWORD@HOST/VHOST or
    /// amqps://…; the variable is safer, as other users see options
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "REPRIEVE_NOTIFICATION_URL",
        hide_env_values = true,
        help_heading = NOTIFICATIONS
    )]
    pub notification_url: Option<String>,

    /// Topic of the notifications; the queues are called TOPIC.info and TOPIC.error
    /// [default: versioned_notifications]
    #[arg(
        long,
        global = true,
        value_name = "TOPIC",
        env = "REPRIEVE_NOTIFICATION_TOPIC",
        help_heading = NOTIFICATIONS
    )]
    pub notification_topic: Option<String>,

    /// Exchange and queues of the notifications survive a restart of the broker; consumers have to
    /// declare the same (amqp_durable_queues)
    #[arg(
        long,
        global = true,
        env = "REPRIEVE_NOTIFICATIONS_DURABLE",
        help_heading = NOTIFICATIONS
    )]
    pub notifications_durable: bool,

    /// Check tokens with the Keystone at this URL instead of the own identity service
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "REPRIEVE_KEYSTONE_URL",
        help_heading = EXISTING
    )]
    pub keystone_url: Option<String>,

    /// YAML file with the service user that may validate tokens and see all images, written as what
    /// stands below `auth` in a clouds.yaml
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "REPRIEVE_KEYSTONE_CREDENTIALS",
        help_heading = EXISTING
    )]
    pub keystone_credentials: Option<PathBuf>,

    /// Take images from the Glance at this URL instead of the own image service
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "REPRIEVE_GLANCE_URL",
        help_heading = EXISTING
    )]
    pub glance_url: Option<String>,

    /// PEM file with certificates to trust for both, besides the system's
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "REPRIEVE_CA_FILE",
        help_heading = EXISTING
    )]
    pub ca_file: Option<PathBuf>,

    /// How log lines look [default: human]
    #[arg(long, value_name = "FORMAT", env = "REPRIEVE_LOG_FORMAT", global = true)]
    pub log_format: Option<LogFormat>,

    /// What is logged, as in `info` or `warn,reprieve_compute=debug` [default: info]
    #[arg(long, value_name = "FILTER", env = "REPRIEVE_LOG", global = true)]
    pub log: Option<String>,

    /// Give the administrator a new random password, write it to clouds.yaml and openrc, and exit
    #[arg(long, global = true)]
    pub reset_admin_password: bool,
}

const EXISTING: &str = "Services that are there already";
const NOTIFICATIONS: &str = "Notifications for other programs";

impl Options {
    /// What was said, in place of what the configuration file says.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        let text = |text: &Option<String>| text.clone().map(Value::String);
        let path = |path: &Option<PathBuf>| {
            path.as_ref().map(|path| Value::String(path.to_string_lossy().into_owned()))
        };
        let listen = self.listen.map(|address| Value::String(address.to_string()));
        let format = self.log_format.map(|format| match format {
            LogFormat::Human => "human".into(),
            LogFormat::Json => "json".into(),
        });
        let said = [
            ("host", text(&self.host)),
            ("data_dir", path(&self.data_dir)),
            ("log.filter", text(&self.log)),
            ("log.format", format),
            ("api.listen", listen),
            ("api.public_url", text(&self.public_url)),
            ("api.policy_file", path(&self.policy_file)),
            ("images.glance_url", text(&self.glance_url)),
            ("keystone.url", text(&self.keystone_url)),
            ("keystone.credentials_file", path(&self.keystone_credentials)),
            ("keystone.ca_file", path(&self.ca_file)),
            ("compute.libvirt_uri", text(&self.libvirt_uri)),
            ("notifications.enabled", self.no_notifications.then_some(Value::Boolean(false))),
            ("notifications.url", text(&self.notification_url)),
            ("notifications.topic", text(&self.notification_topic)),
            ("notifications.durable", self.notifications_durable.then_some(Value::Boolean(true))),
        ];
        let change = |(path, value): (&str, Option<Value>)| {
            let (key, value) = (keys::find(path)?, value?);
            let origin = Origin::Option { option: key.option?, variable: key.variable };
            Some(Override { key, value, origin })
        };
        said.into_iter().filter_map(change).collect()
    }
}

const AFTER_HELP: &str = "\
Examples:
  reprieved
  reprieved --data-dir /srv/reprieve --listen 0.0.0.0:8774 --public-url http://cloud.example:8774
  reprieved --keystone-url https://keystone.example:5000 --glance-url https://glance.example:9292 \
      --keystone-credentials /etc/reprieve/service.yaml
  reprieved config check --role compute
  reprieved compute --config /etc/reprieve/reprieved.toml
  OS_CLIENT_CONFIG_FILE=/var/lib/reprieve/clouds.yaml OS_CLOUD=reprieve openstack server list

Signals: SIGTERM and SIGINT finish the steps being run (at most 10 s) and exit; guests keep running.
Exit codes: 0 stopped as asked, 1 could not start or go on, 2 wrong usage or configuration,
3 another compute took the name of this one.";
