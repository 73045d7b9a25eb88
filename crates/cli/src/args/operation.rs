//! `reprieve operation …`

use clap::{Args, Subcommand, ValueEnum};

use super::{OutputArgs, WaitArgs};

/// The commands on operations.
#[derive(Debug, Subcommand)]
pub enum OperationCommand {
    /// List operations, newest first: those of your project, or all for administrators.
    #[command(after_help = "\
Examples:
  reprieve operation list --active
  reprieve operation list --server demo -f value -c ID")]
    List(ListArgs),
    /// Show one operation with what became of each step.
    #[command(after_help = "\
Example:
  reprieve operation show 0199c1d0-5a3e-7c31-9d0e-3b1f0c8a4f10")]
    Show {
        /// Id, from `operation list`.
        #[arg(value_name = "OPERATION_ID")]
        id: String,
        /// Output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Stop operations that are not wanted any more.
    #[command(
        long_about = "Stop operations that are not wanted any more. A cancelled suspend leaves the \
                      guest running; nothing that is cancelled loses memory or a disk. What can no \
                      longer be stopped is refused, with what to do instead.",
        after_help = "\
Example:
  reprieve operation cancel 0199c1d0-5a3e-7c31-9d0e-3b1f0c8a4f10 --wait"
    )]
    Cancel {
        /// Ids, from `operation list`.
        #[arg(required = true, value_name = "OPERATION_ID")]
        ids: Vec<String>,
        /// Waiting.
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those on this server, by name or id; also of a deleted server, by id.
    #[arg(long, value_name = "SERVER")]
    pub server: Option<String>,
    /// Only those in this state; may be repeated.
    #[arg(long = "state", value_enum, value_name = "STATE")]
    pub states: Vec<State>,
    /// Only those that have not ended.
    #[arg(long, conflicts_with = "states")]
    pub active: bool,
    /// Only those of this name: pause, suspend, rescue …
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// Only those on servers of this project (administrators).
    #[arg(long, value_name = "PROJECT_ID")]
    pub project: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// More columns: request, user, project, end, error.
    #[arg(long)]
    pub long: bool,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `--state`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Recorded, not yet sent to its host.
    Pending,
    /// Sent to its host.
    Dispatched,
    /// Its host has it.
    Running,
    /// Being stopped.
    Cancelling,
    /// Done.
    Succeeded,
    /// Not done.
    Failed,
    /// Stopped.
    Cancelled,
}

impl State {
    /// Those of an operation that has not ended.
    pub const ACTIVE: [Self; 4] =
        [Self::Pending, Self::Dispatched, Self::Running, Self::Cancelling];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dispatched => "dispatched",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}
