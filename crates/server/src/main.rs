//! `reprieved`: the daemon.

mod all_in_one;
mod api;
mod args;
mod backends;
mod compute;
mod conductor;
mod config;
mod control;
mod data_dir;
mod http;
mod memory;
mod metrics;
mod parts;
mod policy_file;
mod telemetry;

use std::io::{ErrorKind, Write as _};
use std::pin::Pin;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use reprieve_compute::AgentError;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info};

use args::{Args, Command, ConfigCommand, Options};
use config::{ConfigError, Loaded, Role};
use data_dir::DataDir;
use parts::Setup;

/// Threads of the runtime: HTTP and bookkeeping only; libvirt and files have their own.
const MAX_WORKERS: usize = 4;
/// Exit code for a configuration that cannot be used, as for wrong usage.
const WRONG: u8 = 2;
/// Exit code of a compute whose name another one took. Whoever restarts daemons should not restart
/// this one, or the two would take turns.
const SUPERSEDED: u8 = 3;

fn main() -> ExitCode {
    let Args { options, command } = Args::parse();
    let done = match command {
        None => start(&options, Role::AllInOne),
        Some(Command::Api) => start(&options, Role::Api),
        Some(Command::Conductor) => start(&options, Role::Conductor),
        Some(Command::Compute) => start(&options, Role::Compute),
        Some(Command::Config(command)) => look(options, command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log may not exist yet, so the reason goes to stderr in plain words as well.
            error!("{error:#}");
            eprintln!("reprieved: {error:#}");
            exit_code(&error)
        }
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    let superseded = |error: &AgentError| match error {
        AgentError::Superseded { .. } => true,
        AgentError::Ledger(_) | AgentError::Bus(_) => false,
    };
    if error.downcast_ref::<ConfigError>().is_some() {
        ExitCode::from(WRONG)
    } else if error.downcast_ref::<AgentError>().is_some_and(superseded) {
        ExitCode::from(SUPERSEDED)
    } else {
        ExitCode::FAILURE
    }
}

/// Looks at the configuration and starts nothing.
fn look(options: Options, command: ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Example => say(config::EXAMPLE)?,
        ConfigCommand::Show => say(&Loaded::new(&options)?.show())?,
        ConfigCommand::Check { file, role } => {
            let config = file.or_else(|| options.config.clone());
            let loaded = Loaded::new(&Options { config, ..options })?;
            loaded.check(role.unwrap_or(Role::AllInOne))?;
            let roles = [Role::AllInOne, Role::Api, Role::Conductor, Role::Compute];
            let asked = |each: &Role| role.is_none_or(|role| role == *each);
            for role in roles.into_iter().filter(asked) {
                match loaded.check(role) {
                    Ok(()) => say(&format!("{}: can start\n", role.name()))?,
                    Err(error) => say(&format!("{}: cannot start\n{error}\n", role.name()))?,
                }
            }
        }
    }
    Ok(())
}

/// Writes to standard output. Whoever has read enough may close it.
fn say(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output cannot be written"),
    }
}

fn start(options: &Options, role: Role) -> anyhow::Result<()> {
    memory::bound_arenas();
    let loaded = Loaded::new(options)?;
    loaded.check(role)?;
    let path = match &loaded.config.data_dir {
        Some(path) => path.clone(),
        None => DataDir::default_path()?,
    };
    let data = DataDir::prepare(&path)?;
    let _lock = data.lock(role)?;
    telemetry::install(&data.log(), &loaded.config.log.filter, loaded.config.log.format)?;
    let setup = Setup::new(loaded, data, role)?;
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(MAX_WORKERS);
    let reset = options.reset_admin_password;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?
        // On the heap behind a pointer: the runtime's ways to wait are compiled for each type of
        // future, and this one holds the whole daemon.
        .block_on(Box::pin(run(setup, reset)) as Pin<Box<dyn Future<Output = anyhow::Result<()>>>>)
}

async fn run(setup: Setup, reset_admin_password: bool) -> anyhow::Result<()> {
    if reset_admin_password {
        return api::reset_admin_password(&setup).await;
    }
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let asked = shutdown.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "stopping; guests keep running");
        asked.cancel();
    });
    let _tidying = AbortOnDropHandle::new(tokio::spawn(memory::let_go_of_code()));
    match setup.role {
        Role::AllInOne => all_in_one::run(setup, shutdown).await,
        Role::Api => api::run(setup, shutdown).await,
        Role::Conductor => conductor::run(setup, shutdown).await,
        Role::Compute => compute::run(setup, shutdown).await,
    }
}
