//! `reprieve server …`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{DeadlineArgs, OutputArgs, WaitArgs, key_value};

/// The commands on servers.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Create a server from an image.
    #[command(after_help = "\
Example:
  reprieve server create demo --image tiny --flavor tiny --key-name me --wait")]
    Create(Box<CreateArgs>),
    /// List servers.
    #[command(after_help = "\
Examples:
  reprieve server list
  reprieve server list --status SUSPENDED -f value -c ID")]
    List(ListArgs),
    /// Show everything about one server.
    #[command(after_help = "\
Example:
  reprieve server show demo -f value -c status")]
    Show(ShowArgs),
    /// Destroy servers with their disks and saved memory.
    #[command(after_help = "\
Example:
  reprieve server delete demo --wait")]
    Delete(TargetsArgs),
    /// Stop the CPUs; memory stays in the host's RAM.
    #[command(after_help = "\
Example:
  reprieve server pause demo --wait")]
    Pause(ActionArgs),
    /// Let the CPUs of a paused server go on.
    #[command(after_help = "\
Example:
  reprieve server unpause demo --wait")]
    Unpause(ActionArgs),
    /// Write memory to disk and free the host's RAM and CPUs.
    #[command(after_help = "\
Example:
  reprieve server suspend demo --wait")]
    Suspend(ActionArgs),
    /// Bring a suspended server back to where it was.
    #[command(after_help = "\
Example:
  reprieve server resume demo --wait")]
    Resume(ActionArgs),
    /// Boot from a rescue image, with the server's own disk attached for repair.
    #[command(
        long_about = "Boot from a rescue image, with the server's own disk attached for repair. \
                      Prints the administrator password of the rescue system.",
        after_help = "\
Example:
  reprieve server rescue demo --image tiny-rescue --wait"
    )]
    Rescue(RescueArgs),
    /// End a rescue and boot the server's own disk again.
    #[command(after_help = "\
Example:
  reprieve server unrescue demo --wait")]
    Unrescue(ActionArgs),
    /// Boot a server that is off.
    #[command(after_help = "\
Example:
  reprieve server start demo --wait")]
    Start(ActionArgs),
    /// Shut a server down; after a minute the power is cut.
    #[command(after_help = "\
Example:
  reprieve server stop demo --wait")]
    Stop(ActionArgs),
    /// Boot a server again.
    #[command(after_help = "\
Examples:
  reprieve server reboot demo --wait
  reprieve server reboot --hard --discard-memory demo --wait")]
    Reboot(RebootArgs),
    /// Protect servers from being changed by others than administrators.
    #[command(after_help = "\
Example:
  reprieve server lock demo --reason 'evidence, do not touch'")]
    Lock(LockArgs),
    /// Take the protection away.
    #[command(after_help = "\
Example:
  reprieve server unlock demo")]
    Unlock(UnlockArgs),
    /// The server's console.
    #[command(subcommand)]
    Console(ConsoleCommand),
    /// What was done to a server.
    #[command(subcommand)]
    Event(EventCommand),
}

/// Arguments of `create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Name of the server.
    pub name: String,
    /// Image to make its disk from, by name or id.
    #[arg(long, value_name = "IMAGE")]
    pub image: String,
    /// Size, by name or id.
    #[arg(long, value_name = "FLAVOR")]
    pub flavor: String,
    /// SSH key for the server's user.
    #[arg(long, value_name = "KEYPAIR")]
    pub key_name: Option<String>,
    /// File whose content the guest gets as user data.
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<PathBuf>,
    /// Attach a config drive.
    #[arg(long, visible_alias = "use-config-drive")]
    pub config_drive: bool,
    /// Metadata of the server; may be repeated.
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = key_value)]
    pub properties: Vec<(String, String)>,
    /// Description.
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Host name of the guest [default: made from the name]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Availability zone.
    #[arg(long, value_name = "ZONE")]
    pub availability_zone: Option<String>,
    /// Tag of the server; may be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Networks.
    #[arg(long, value_enum, default_value_t = Nic::Auto, value_name = "NIC")]
    pub nic: Nic,
    /// Waiting.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `--nic`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Nic {
    /// What the service gives.
    Auto,
    /// None.
    None,
}

impl Nic {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::None => "none",
        }
    }
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only servers whose name matches this regular expression.
    #[arg(long, value_name = "REGEX")]
    pub name: Option<String>,
    /// Only servers in this status (ACTIVE, PAUSED, SUSPENDED, SHUTOFF, RESCUE, ERROR …).
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// Only servers made from this image.
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Only servers of this size.
    #[arg(long, value_name = "FLAVOR")]
    pub flavor: Option<String>,
    /// Servers of all projects (administrators).
    #[arg(long)]
    pub all_projects: bool,
    /// More columns: task, power state, host and others.
    #[arg(long)]
    pub long: bool,
    /// At most so many.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Show ids of images instead of names; saves a request.
    #[arg(short, long)]
    pub no_name_lookup: bool,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Name or id.
    pub server: String,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Several servers and whether to wait.
#[derive(Debug, Args)]
pub struct TargetsArgs {
    /// Names or ids.
    #[arg(required = true, value_name = "SERVER")]
    pub servers: Vec<String>,
    /// Waiting.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Arguments of what may wait for its host for so long only.
#[derive(Debug, Args)]
pub struct ActionArgs {
    /// Servers.
    #[command(flatten)]
    pub targets: TargetsArgs,
    /// Deadline.
    #[command(flatten)]
    pub deadline: DeadlineArgs,
}

/// Arguments of `rescue`.
#[derive(Debug, Args)]
pub struct RescueArgs {
    /// Name or id.
    pub server: String,
    /// Image to boot from [default: the image the server was made from]
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Administrator password of the rescue system [default: a random one]
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// Deadline.
    #[command(flatten)]
    pub deadline: DeadlineArgs,
    /// Waiting.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `reboot`.
#[derive(Debug, Args)]
pub struct RebootArgs {
    /// Names or ids.
    #[arg(required = true, value_name = "SERVER")]
    pub servers: Vec<String>,
    /// Cut the power instead of asking the guest.
    #[arg(long, conflicts_with = "soft")]
    pub hard: bool,
    /// Ask the guest to shut down (the default).
    #[arg(long)]
    pub soft: bool,
    /// With --hard on a suspended server: throw its saved memory away without asking.
    #[arg(long, requires = "hard")]
    pub discard_memory: bool,
    /// Deadline.
    #[command(flatten)]
    pub deadline: DeadlineArgs,
    /// Waiting.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Arguments of `lock`.
#[derive(Debug, Args)]
pub struct LockArgs {
    /// Names or ids.
    #[arg(required = true, value_name = "SERVER")]
    pub servers: Vec<String>,
    /// Why; shown to whoever is refused.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Arguments of `unlock`.
#[derive(Debug, Args)]
pub struct UnlockArgs {
    /// Names or ids.
    #[arg(required = true, value_name = "SERVER")]
    pub servers: Vec<String>,
}

/// `reprieve server console …`
#[derive(Debug, Subcommand)]
pub enum ConsoleCommand {
    /// Print what the guest wrote to its serial console.
    #[command(after_help = "\
Example:
  reprieve server console log demo --lines 20")]
    Log {
        /// Name or id.
        server: String,
        /// Only the last so many lines.
        #[arg(long, value_name = "NUMBER")]
        lines: Option<u32>,
    },
}

/// `reprieve server event …`
#[derive(Debug, Subcommand)]
pub enum EventCommand {
    /// List what was done to a server, newest first; works for deleted servers by id.
    #[command(after_help = "\
Example:
  reprieve server event list demo")]
    List {
        /// Name or id.
        server: String,
        /// More columns.
        #[arg(long)]
        long: bool,
        /// Output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show one event with its steps and results.
    #[command(after_help = "\
Example:
  reprieve server event show demo req-5b6c791d-5709-4f36-8fbe-c3e02869e35d")]
    Show {
        /// Name or id.
        server: String,
        /// Request id, from `server event list`.
        #[arg(value_name = "REQUEST_ID")]
        request_id: String,
        /// Output.
        #[command(flatten)]
        output: OutputArgs,
    },
}
