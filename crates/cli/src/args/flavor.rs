//! `reprieve flavor …`

use clap::{Args, Subcommand};

use super::{OutputArgs, key_value};

/// The commands on flavors.
#[derive(Debug, Subcommand)]
pub enum FlavorCommand {
    /// Define a size (administrators).
    #[command(after_help = "\
Example:
  reprieve flavor create tiny --vcpus 1 --ram 128 --disk 1")]
    Create(Box<CreateArgs>),
    /// List sizes.
    #[command(after_help = "\
Example:
  reprieve flavor list")]
    List {
        /// Private ones too (administrators).
        #[arg(long)]
        all: bool,
        /// More columns.
        #[arg(long)]
        long: bool,
        /// Output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show one size.
    #[command(after_help = "\
Example:
  reprieve flavor show tiny -f json")]
    Show {
        /// Name or id.
        flavor: String,
        /// Output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Delete sizes; servers keep theirs.
    #[command(after_help = "\
Example:
  reprieve flavor delete tiny")]
    Delete {
        /// Names or ids.
        #[arg(required = true, value_name = "FLAVOR")]
        flavors: Vec<String>,
    },
}

/// Arguments of `create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Name of the flavor.
    pub name: String,
    /// Id; `auto` lets the service choose.
    #[arg(long, value_name = "ID", default_value = "auto")]
    pub id: String,
    /// Memory in MB.
    #[arg(long, value_name = "MB", default_value_t = 256)]
    pub ram: u32,
    /// Root disk in GB; 0 = as large as the image.
    #[arg(long, value_name = "GB", default_value_t = 0)]
    pub disk: u32,
    /// Ephemeral disk in GB.
    #[arg(long, value_name = "GB", default_value_t = 0)]
    pub ephemeral: u32,
    /// Swap disk in MB.
    #[arg(long, value_name = "MB", default_value_t = 0)]
    pub swap: u32,
    /// Virtual CPUs.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub vcpus: u32,
    /// Not for everybody.
    #[arg(long)]
    pub private: bool,
    /// Extra spec; may be repeated.
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = key_value)]
    pub properties: Vec<(String, String)>,
    /// Description.
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}
