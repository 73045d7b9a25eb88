//! The grammar of the command line: every command, option and help text.
//!
//! Option names are those of the openstack client, so that scripts and habits carry over.

pub mod flavor;
pub mod host;
pub mod image;
pub mod keypair;
pub mod operation;
pub mod server;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXIT_CODES: &str = "\
Exit status:
  0  done
  1  the operation was refused or failed
  2  wrong usage or configuration, or a name that fits several things
  3  not found
  4  authentication failed
  5  the service cannot be reached

The cloud:
  A cloud named by --os-cloud or OS_CLOUD comes from clouds.yaml alone, options override it.
  Else OS_AUTH_URL and the other OS_* variables say it, options override them.
  Else clouds.yaml: the cloud 'reprieve', or the only one there is.
  clouds.yaml is the first of: $OS_CLIENT_CONFIG_FILE, ./clouds.yaml,
  ~/.config/openstack/clouds.yaml, /etc/openstack/clouds.yaml, and the one that a reprieved on this
  machine wrote (/var/lib/reprieve or ~/.local/share/reprieve, REPRIEVE_DATA_DIR).

Examples:
  reprieve server create demo --image tiny --flavor tiny --wait
  reprieve server suspend demo --wait
  reprieve server list -f json
  reprieve trace req-5b6c791d-5709-4f36-8fbe-c3e02869e35d";

/// Pause, suspend, rescue and otherwise look after servers.
#[derive(Debug, Parser)]
#[command(
    name = "reprieve",
    version,
    about = "Pause, suspend, rescue and otherwise look after servers",
    long_about = "Talks to a compute service with OpenStack Nova's API: to reprieved, or to any \
                  other. Results are printed to stdout, everything else to stderr.",
    after_long_help = EXIT_CODES,
    after_help = "'reprieve COMMAND --help' explains a command, 'reprieve --help' the exit status \
                  and how the cloud is found.",
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Which cloud, as whom.
    #[command(flatten)]
    pub cloud: CloudArgs,
    /// Print no notes and no progress, only results and errors.
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// Print each request, its answer's status, time and request id to stderr.
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub verbose: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create, list and look after servers.
    #[command(subcommand)]
    Server(server::ServerCommand),
    /// Upload, list, download and delete images.
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Sizes of servers.
    #[command(subcommand)]
    Flavor(flavor::FlavorCommand),
    /// SSH keys for servers.
    #[command(subcommand)]
    Keypair(keypair::KeypairCommand),
    /// What is being done to servers: look, and stop what is not wanted.
    #[command(subcommand)]
    Operation(operation::OperationCommand),
    /// Compute hosts (administrators).
    #[command(subcommand)]
    Host(host::HostCommand),
    /// Authentication tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Follow one request through the logs of API, conductor and compute.
    #[command(after_help = "\
Example:
  reprieve trace req-5b6c791d-5709-4f36-8fbe-c3e02869e35d --log-dir /var/lib/reprieve/log")]
    Trace(TraceArgs),
    /// Print a completion script for a shell.
    #[command(after_help = "\
Example:
  reprieve completion bash > /etc/bash_completion.d/reprieve")]
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// `reprieve token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Authenticate and print the new token.
    #[command(after_help = "\
Example:
  curl -H \"X-Auth-Token: $(reprieve token issue -f value -c id)\" $URL/servers")]
    Issue(OutputArgs),
}

/// Which cloud, as whom. Each option has the environment variable that the openstack client has
/// (`--os-auth-url` is `OS_AUTH_URL`).
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Cloud options")]
pub struct CloudArgs {
    /// Name of a cloud in clouds.yaml [env: OS_CLOUD]
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME")]
    pub os_cloud: Option<String>,
    /// URL of the identity service [env: OS_AUTH_URL]
    #[arg(long, global = true, hide_short_help = true, value_name = "URL")]
    pub os_auth_url: Option<String>,
    /// User [env: OS_USERNAME]
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME")]
    pub os_username: Option<String>,
    /// Password; the variable or clouds.yaml is safer, as other users see options [env: OS_PASSWORD]
    #[arg(long, global = true, hide_short_help = true, value_name = "PASSWORD")]
    pub os_password: Option<String>,
    /// Project by name [env: OS_PROJECT_NAME]
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME")]
    pub os_project_name: Option<String>,
    /// Project by id [env: OS_PROJECT_ID]
    #[arg(long, global = true, hide_short_help = true, value_name = "ID")]
    pub os_project_id: Option<String>,
    /// Domain of the user [env: OS_USER_DOMAIN_NAME]
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME")]
    pub os_user_domain_name: Option<String>,
    /// Domain of the project [env: OS_PROJECT_DOMAIN_NAME]
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME")]
    pub os_project_domain_name: Option<String>,
    /// Region of the services [env: OS_REGION_NAME]
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME")]
    pub os_region_name: Option<String>,
    /// Token to use instead of a password [env: OS_TOKEN]
    #[arg(long, global = true, hide_short_help = true, value_name = "TOKEN")]
    pub os_token: Option<String>,
    /// Application credential by id [env: OS_APPLICATION_CREDENTIAL_ID]
    #[arg(long, global = true, hide_short_help = true, value_name = "ID")]
    pub os_application_credential_id: Option<String>,
    /// Application credential by name, of the user [env: OS_APPLICATION_CREDENTIAL_NAME]
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME")]
    pub os_application_credential_name: Option<String>,
    /// Its secret; see the password [env: OS_APPLICATION_CREDENTIAL_SECRET]
    #[arg(long, global = true, hide_short_help = true, value_name = "SECRET")]
    pub os_application_credential_secret: Option<String>,
    /// Interface of the services: public, internal or admin [env: OS_INTERFACE]
    #[arg(long, global = true, hide_short_help = true, value_name = "INTERFACE")]
    pub os_interface: Option<String>,
    /// File with the certificates to trust, PEM [env: OS_CACERT]
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    pub os_cacert: Option<String>,
    /// Accept any certificate: everybody on the way can read the password
    #[arg(long, global = true, hide_short_help = true)]
    pub insecure: bool,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// JSON for programs.
    Json,
    /// Bare values, one record a line, for shell scripts.
    Value,
}

/// Options of every command that prints a result.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output options")]
pub struct OutputArgs {
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// Print only this column; may be repeated.
    #[arg(short, long = "column", value_name = "COLUMN")]
    pub columns: Vec<String>,
}

/// Options of every command that changes a server.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Waiting")]
pub struct WaitArgs {
    /// Wait until it is done, with progress on a terminal; fail if it fails.
    #[arg(short, long)]
    pub wait: bool,
    /// Give up waiting after so many seconds [default: what the operation may take at most]
    #[arg(long, value_name = "SECONDS", requires = "wait",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub timeout: Option<u32>,
}

impl WaitArgs {
    /// The given limit.
    pub fn limit(self) -> Option<Duration> {
        self.timeout.map(|seconds| Duration::from_secs(seconds.into()))
    }
}

/// How long an operation may wait for its host.
#[derive(Debug, Clone, Copy, Args)]
pub struct DeadlineArgs {
    /// End the operation as failed if its host has not taken it after so many seconds [default: an
    /// hour]. Unlike --timeout, which ends only the waiting of this command.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86400))]
    pub deadline: Option<u32>,
}

/// `reprieve trace`
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Request id (req-…) as printed by --verbose, an error or `server event list`; a server id
    /// works too.
    #[arg(value_name = "REQUEST_ID")]
    pub request_id: String,
    /// Directory of the log files; once for each, when hosts have their own [default: log beside
    /// $OS_CLIENT_CONFIG_FILE if it is there; /var/lib/reprieve/log as root, else
    /// ~/.local/share/reprieve/log]
    #[arg(long, env = "REPRIEVE_LOG_DIR", value_name = "DIR", value_delimiter = ':')]
    pub log_dir: Vec<PathBuf>,
    /// `table` prints a timeline, `value` the untouched lines, `json` an array of objects.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// Splits `KEY=VALUE`.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("'{text}' is not KEY=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        fn walk(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            if command.get_name() == "help" {
                return;
            }
            if command.has_subcommands() {
                command.get_subcommands().for_each(|inner| walk(inner, &path));
            } else {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(
                    help.contains(&format!("reprieve{}", path.replace(" reprieve", ""))),
                    "{path}: {help}"
                );
            }
        }
        walk(&Cli::command(), "");
    }

    #[test]
    fn properties() {
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(key_value("=b").is_err());
        assert!(key_value("a").is_err());
    }
}
