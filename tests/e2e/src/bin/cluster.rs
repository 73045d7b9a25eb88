//! `make cluster`: PostgreSQL, RabbitMQ, two api, one conductor and two computes on this machine, to
//! try out what several machines would do. Runs until it is interrupted and leaves nothing then.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use reprieve_e2e::cluster::{Cluster, Shape};
use reprieve_e2e::places;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // From here on a signal is waited for, so that it cannot end this without an end of the rest.
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    println!("starting PostgreSQL, RabbitMQ, two api, one conductor and two computes ...");
    let cluster = Cluster::start(Shape::default())?;
    let cloud = cluster.cloud(0)?;
    cloud.upload("tiny", "qcow2", &places::image("tiny")?, &json!({ "visibility": "public" }))?;
    cloud.flavor("tiny", 128, 1)?;
    show(&cluster)?;
    runtime.block_on(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    println!("\nstopping");
    drop(cluster);
    Ok(())
}

fn show(cluster: &Cluster) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let computes = cluster.computes.iter().map(|(_, daemon)| daemon);
    let all = cluster.apis.iter().chain([&cluster.conductor]).chain(computes);
    for daemon in all {
        let pid = daemon.pid().context("a daemon does not run")?;
        writeln!(out, "  {pid:>7}  {}", daemon.command_line())?;
    }
    let clouds = cluster.clouds_yaml();
    let [first, second] = &cluster.apis;
    writeln!(out, "\napi: {} and {}", first.url(), second.url())?;
    writeln!(out, "in another shell:")?;
    writeln!(out, "  export OS_CLIENT_CONFIG_FILE={} OS_CLOUD=reprieve", clouds.display())?;
    writeln!(out, "  reprieve server create --image tiny --flavor tiny --wait c1")?;
    writeln!(out, "  kill -9 any of the processes above, and start it again as it stands there")?;
    writeln!(out, "Ctrl-C ends all of it")?;
    Ok(())
}
