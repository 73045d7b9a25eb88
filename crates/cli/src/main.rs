//! `reprieve`, the command line client of a compute service that speaks OpenStack Nova's API.
//!
//! Owns nothing but the conversation with a person or a script: it finds the cloud (`config`),
//! talks to the identity, compute and image services (`client`), runs one command (`command`),
//! waits for it (`wait`) and prints the answer (`output`). Results go to stdout and nothing else
//! does; progress, notes and errors go to stderr. No libvirt and no SQL in here.
//!
//! ```text
//! args -> config (which cloud) -> client (token, catalog) -> command -> output (stdout)
//!                                                              |-> wait (stderr) -> exit code
//! ```

mod args;
mod client;
mod command;
mod config;
mod error;
mod hints;
mod output;
mod progress;
mod trace;
mod wait;

use std::process::ExitCode;

fn main() -> ExitCode {
    // reqwest is built without a TLS provider of its own; a second install is impossible here.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("reprieve: a TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    command::main()
}
