//! `reprieve host …`

use clap::{Args, Subcommand};

use super::{OutputArgs, WaitArgs};

/// The commands on compute hosts.
#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// List hosts with their state and what they carry.
    #[command(after_help = "\
Examples:
  reprieve host list
  reprieve host list -f value -c Name -c State")]
    List(OutputArgs),
    /// Show everything about one host.
    #[command(after_help = "\
Example:
  reprieve host show node1 -f json")]
    Show {
        /// Name.
        host: String,
        /// Output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Let no new servers come to a host, and show what is still there.
    #[command(
        long_about = "Let no new servers come to a host, and show what is still there. Its servers \
                      stay and operations on them go on; --wait waits for the operations.",
        after_help = "\
Examples:
  reprieve host drain node1 --reason 'new memory' --wait
  reprieve host drain node1 --undo"
    )]
    Drain(DrainArgs),
    /// Let new servers come to a host again.
    #[command(after_help = "\
Example:
  reprieve host enable node1")]
    Enable {
        /// Name.
        host: String,
        /// Output.
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// Arguments of `drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Name.
    pub host: String,
    /// Why; shown in lists.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Let new servers come again, as `host enable`.
    #[arg(long, conflicts_with_all = ["reason", "wait"])]
    pub undo: bool,
    /// Waiting.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}
