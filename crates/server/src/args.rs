//! The command line of `reprieved`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// A compute service for KVM/QEMU hosts that speaks OpenStack Nova's API.
///
/// Without any option it runs everything on this machine: identity, images, compute API and the
/// guests, with SQLite and the local libvirt. The first start creates an administrator and writes
/// DATA_DIR/clouds.yaml and DATA_DIR/openrc.
#[derive(Debug, Clone, Parser)]
#[command(name = "reprieved", version, after_help = AFTER_HELP)]
pub struct Args {
    /// Directory of everything that has to survive a restart [default: /var/lib/reprieve as root,
    /// $XDG_DATA_HOME/reprieve otherwise]
    #[arg(long, value_name = "DIR", env = "REPRIEVE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,

    /// Address and port of the HTTP services
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "REPRIEVE_LISTEN",
        default_value = "127.0.0.1:8774"
    )]
    pub listen: SocketAddr,

    /// URL under which clients reach the services [default: http:// and the listen address]
    #[arg(long, value_name = "URL", env = "REPRIEVE_PUBLIC_URL")]
    pub public_url: Option<String>,

    /// libvirt connection [default: qemu:///system as root, qemu:///session otherwise]
    #[arg(long, value_name = "URI", env = "REPRIEVE_LIBVIRT_URI")]
    pub libvirt_uri: Option<String>,

    /// Name of this host in the API [default: the machine's host name]
    #[arg(long, value_name = "NAME", env = "REPRIEVE_HOST")]
    pub host: Option<String>,

    /// Policy file: rules of Nova by name, in YAML, that replace their defaults
    /// [default: DATA_DIR/policy.yaml, if it exists]
    #[arg(long, value_name = "FILE", env = "REPRIEVE_POLICY_FILE")]
    pub policy_file: Option<PathBuf>,

    /// Do not note changes of servers: no notifications, and nothing on /reprieve/v1/events
    #[arg(long, env = "REPRIEVE_NO_NOTIFICATIONS")]
    pub no_notifications: bool,

    /// RabbitMQ that gets Nova's versioned notifications, as amqp://USER:PASSWORD@HOST/VHOST or
    /// amqps://…; the variable is safer, as other users see options
    #[arg(
        long,
        value_name = "URL",
        env = "REPRIEVE_NOTIFICATION_URL",
        hide_env_values = true,
        conflicts_with = "no_notifications",
        help_heading = NOTIFICATIONS
    )]
    pub notification_url: Option<String>,

    /// Topic of the notifications; the queues are called TOPIC.info and TOPIC.error
    #[arg(
        long,
        value_name = "TOPIC",
        env = "REPRIEVE_NOTIFICATION_TOPIC",
        default_value = "versioned_notifications",
        requires = "notification_url",
        help_heading = NOTIFICATIONS
    )]
    pub notification_topic: String,

    /// Exchange and queues of the notifications survive a restart of the broker; consumers have to
    /// declare the same (amqp_durable_queues)
    #[arg(
        long,
        env = "REPRIEVE_NOTIFICATIONS_DURABLE",
        requires = "notification_url",
        help_heading = NOTIFICATIONS
    )]
    pub notifications_durable: bool,

    /// Check tokens with the Keystone at this URL instead of the own identity service
    #[arg(
        long,
        value_name = "URL",
        env = "REPRIEVE_KEYSTONE_URL",
        requires = "keystone_credentials",
        help_heading = EXISTING
    )]
    pub keystone_url: Option<String>,

    /// YAML file with the service user that may validate tokens and see all images, written as what
    /// stands below `auth` in a clouds.yaml
    #[arg(
        long,
        value_name = "FILE",
        env = "REPRIEVE_KEYSTONE_CREDENTIALS",
        requires = "keystone_url",
        help_heading = EXISTING
    )]
    pub keystone_credentials: Option<PathBuf>,

    /// Take images from the Glance at this URL instead of the own image service
    #[arg(
        long,
        value_name = "URL",
        env = "REPRIEVE_GLANCE_URL",
        requires = "keystone_url",
        help_heading = EXISTING
    )]
    pub glance_url: Option<String>,

    /// PEM file with certificates to trust for both, besides the system's
    #[arg(
        long,
        value_name = "FILE",
        env = "REPRIEVE_CA_FILE",
        requires = "keystone_url",
        help_heading = EXISTING
    )]
    pub ca_file: Option<PathBuf>,

    /// How log lines look
    #[arg(long, value_name = "FORMAT", env = "REPRIEVE_LOG_FORMAT", default_value = "human")]
    pub log_format: LogFormat,

    /// What is logged, as in `info` or `warn,reprieve_compute=debug`
    #[arg(long, value_name = "FILTER", env = "REPRIEVE_LOG", default_value = DEFAULT_LOG)]
    pub log: String,

    /// Give the administrator a new random password, write it to clouds.yaml and openrc, and exit
    #[arg(long, conflicts_with = "keystone_url")]
    pub reset_admin_password: bool,
}

const EXISTING: &str = "Services that are there already";
const NOTIFICATIONS: &str = "Notifications for other programs";

/// What concerns operators; migrations are reported by their effect.
const DEFAULT_LOG: &str = "info,sea_orm_migration=warn";

const AFTER_HELP: &str = "\
Examples:
  reprieved
  reprieved --data-dir /srv/reprieve --listen 0.0.0.0:8774 --public-url http://cloud.example:8774
  reprieved --keystone-url https://keystone.example:5000 --glance-url https://glance.example:9292 \
      --keystone-credentials /etc/reprieve/service.yaml
  OS_CLIENT_CONFIG_FILE=/var/lib/reprieve/clouds.yaml OS_CLOUD=reprieve openstack server list

Signals: SIGTERM and SIGINT finish the steps being run (at most 10 s) and exit; guests keep running.
Exit codes: 0 stopped as asked, 1 could not start or go on, 2 wrong usage.";
