//! `reprieve keypair …`

use std::path::PathBuf;

use clap::Subcommand;

use super::OutputArgs;

/// The commands on keypairs.
#[derive(Debug, Subcommand)]
pub enum KeypairCommand {
    /// Register a public key, or make a new Ed25519 pair.
    #[command(
        long_about = "Register a public key, or make a new Ed25519 pair on this machine. The \
                      private half never leaves it: it goes to --private-key, else to stdout.",
        after_help = "\
Examples:
  reprieve keypair create me --public-key ~/.ssh/id_ed25519.pub
  reprieve keypair create demo --private-key demo.key"
    )]
    Create {
        /// Name of the keypair.
        name: String,
        /// File with an existing public key.
        #[arg(long, value_name = "FILE", conflicts_with = "private_key")]
        public_key: Option<PathBuf>,
        /// Where to write the private half of a new pair; must not exist, gets mode 0600.
        #[arg(long, value_name = "FILE")]
        private_key: Option<PathBuf>,
        /// Output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List your keypairs.
    #[command(after_help = "\
Example:
  reprieve keypair list")]
    List(OutputArgs),
    /// Show one keypair.
    #[command(after_help = "\
Example:
  reprieve keypair show me --public-key")]
    Show {
        /// Name.
        name: String,
        /// Print only the public key.
        #[arg(long)]
        public_key: bool,
        /// Output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Delete keypairs; servers keep the keys they were given.
    #[command(after_help = "\
Example:
  reprieve keypair delete demo")]
    Delete {
        /// Names.
        #[arg(required = true, value_name = "KEYPAIR")]
        names: Vec<String>,
    },
}
