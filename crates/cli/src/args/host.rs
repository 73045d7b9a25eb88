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
                      stay and operations on them go on; --wait waits for the operations.\n\n\
                      With --suspend, servers that are ACTIVE are suspended, so that a restart of \
                      the machine does not touch what their memory holds; 'host enable --resume' \
                      resumes them, or the host itself when it is back, where the policy is \
                      'resume'. Servers that their users suspended stay suspended.",
        after_help = "\
Examples:
  reprieve host drain node1 --reason 'new memory' --wait
  reprieve host drain node1 --suspend --wait && ssh node1 reboot
  reprieve host drain node1 --undo"
    )]
    Drain(DrainArgs),
    /// Let new servers come to a host again.
    #[command(after_help = "\
Examples:
  reprieve host enable node1
  reprieve host enable node1 --resume --wait")]
    Enable(EnableArgs),
}

/// Arguments of `enable`.
#[derive(Debug, Args)]
pub struct EnableArgs {
    /// Name.
    pub host: String,
    /// Resume the servers that 'host drain --suspend' suspended.
    #[arg(long)]
    pub resume: bool,
    /// Waiting.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Name.
    pub host: String,
    /// Why; shown in lists.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Suspend the servers that are ACTIVE, because the machine is to be restarted. With --wait, the
    /// exit status is 1 if servers are left that would lose their memory.
    #[arg(long)]
    pub suspend: bool,
    /// Let new servers come again, as `host enable`.
    #[arg(long, conflicts_with_all = ["reason", "wait", "suspend"])]
    pub undo: bool,
    /// Waiting.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}
