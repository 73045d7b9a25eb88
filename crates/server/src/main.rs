//! `reprieved`: the daemon.

mod all_in_one;
mod args;
mod backends;
mod data_dir;
mod http;
mod memory;
mod policy_file;
mod telemetry;

use std::pin::Pin;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info};

use args::Args;
use data_dir::DataDir;

/// Threads of the runtime: HTTP and bookkeeping only; libvirt and files have their own.
const MAX_WORKERS: usize = 4;

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log may not exist yet, so the reason goes to stderr in plain words as well.
            error!("{error:#}");
            eprintln!("reprieved: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> anyhow::Result<()> {
    memory::bound_arenas();
    let path = match &args.data_dir {
        Some(path) => path.clone(),
        None => DataDir::default_path()?,
    };
    let data = DataDir::prepare(&path)?;
    let _lock = data.lock()?;
    telemetry::install(&data.log(), &args.log, args.log_format)?;
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(MAX_WORKERS);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?
        // On the heap behind a pointer: the runtime's ways to wait are compiled for each type of
        // future, and this one holds the whole daemon.
        .block_on(Box::pin(run(args, data)) as Pin<Box<dyn Future<Output = anyhow::Result<()>>>>)
}

async fn run(args: Args, data: DataDir) -> anyhow::Result<()> {
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
    all_in_one::run(args, data, shutdown).await
}
