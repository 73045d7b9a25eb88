//! `cargo xtask swarm`: how many operations a second go all the way through a control plane of
//! several processes, and what memory it takes for that.
//!
//! ```text
//! clients ─HTTP─▶ api, api ─┬─ PostgreSQL ─ conductor      real processes, release build
//!                           └─ RabbitMQ ──────┬─┘
//!                                             └─ 1,000 agents with 20 guests each, in this process
//! ```
//!
//! Everything is real but the hypervisor: each host has the agent that `reprieved compute` runs, with a
//! ledger and queues of its own. PostgreSQL and RabbitMQ wait for their disk. The ledgers are in memory
//! (`/dev/shm` where there is one), because a thousand hosts do not have one disk.

mod fleet;
mod load;
mod memory;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use reprieve_core::HostName;
use reprieve_e2e::cloud::Credentials;
use reprieve_e2e::cluster::{Cluster, DATABASE, Shape};
use reprieve_e2e::crowd::{Crowd, owner};
use reprieve_e2e::wait::Deadline;
use reprieve_store::{InstanceRecord, Location, Store};
use tokio::runtime::Runtime;

use fleet::Fleet;
use load::Clients;

/// How long all hosts may take to register, and all servers to reach a state.
const PATIENCE: u64 = 300;
/// What the two api, the conductor and everything beside them have to get done.
const GOAL_PER_SECOND: f64 = 1000.0;

/// Pauses and unpauses all servers of many simulated compute hosts.
#[derive(Parser)]
#[command(name = "reprieve-swarm")]
struct Args {
    /// Compute hosts
    #[arg(long, default_value_t = 1000)]
    hosts: usize,
    /// Servers on all of them
    #[arg(long, default_value_t = 20_000)]
    servers: usize,
    /// Requests at a time
    #[arg(long, default_value_t = 64)]
    clients: usize,
}

/// Servers by their host.
pub type Crowded = BTreeMap<HostName, Vec<InstanceRecord>>;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("swarm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    eprintln!("starting PostgreSQL, RabbitMQ, two api and one conductor");
    let shape = Shape { computes: &[], durable: true, ..Shape::default() };
    let cluster = Cluster::start(shape)?;
    let runtime = Runtime::new().context("a runtime")?;
    let crowded = runtime.block_on(populate(&cluster, args))?;
    eprintln!("starting {} agents", args.hosts);
    let fleet = runtime.block_on(Fleet::start(&cluster.broker.url(), &crowded))?;
    let outcome = all_up(&cluster, args).and_then(|()| measure(&cluster, args, &crowded, &runtime));
    if outcome.is_err() {
        eprintln!("{}", cluster.said());
    }
    runtime.block_on(fleet.stop());
    outcome
}

async fn populate(cluster: &Cluster, args: &Args) -> Result<Crowded> {
    let credentials = Credentials::read(&cluster.clouds_yaml())?;
    let (project, user) = owner(&cluster.cloud(0)?, &credentials)?;
    let store = Store::open(Location::parse(&cluster.database.url(DATABASE))).await?;
    let mut crowd = Crowd::new(&store, project, user).await?;
    let mut crowded = Crowded::new();
    for number in 0..args.hosts {
        // As even as it gets.
        let count = args.servers * (number + 1) / args.hosts - args.servers * number / args.hosts;
        let host = HostName::from(format!("host-{number:04}"));
        let servers = crowd.fill(&store, &host, count).await?;
        crowded.insert(host, servers);
        if (number + 1) % 100 == 0 {
            eprintln!("{} hosts with their servers are recorded", number + 1);
        }
    }
    store.close().await?;
    Ok(crowded)
}

/// A number that the database knows.
fn counted(cluster: &Cluster, what: &str) -> Result<usize> {
    let answer = cluster.database.sql(DATABASE, &format!("SELECT count(*) FROM {what}"))?;
    answer.trim().parse().with_context(|| format!("'{answer}' is no number"))
}

fn all_up(cluster: &Cluster, args: &Args) -> Result<()> {
    let begun = Instant::now();
    Deadline::seconds(PATIENCE).until("registration of all hosts", || {
        let up = counted(cluster, "hosts WHERE info IS NOT NULL")?;
        Ok((up == args.hosts).then_some(()))
    })?;
    println!("{} hosts registered in {:.1} s", args.hosts, begun.elapsed().as_secs_f64());
    Ok(())
}

fn measure(cluster: &Cluster, args: &Args, crowded: &Crowded, runtime: &Runtime) -> Result<()> {
    let ids: Arc<[_]> = crowded.values().flatten().map(|server| server.id.uuid()).collect();
    let clients = Clients::log_in(cluster, args.clients)?;
    for (action, state) in [("pause", "paused"), ("unpause", "active")] {
        let begun = Instant::now();
        runtime.block_on(clients.ask(action, &ids))?;
        let accepted = begun.elapsed();
        let at_rest = format!("instances WHERE vm_state = '{state}' AND task_state IS NULL");
        Deadline::seconds(PATIENCE).until(&format!("all servers {state}"), || {
            Ok((counted(cluster, &at_rest)? == ids.len()).then_some(()))
        })?;
        let done = begun.elapsed();
        let rate = |time: Duration| ids.len() as f64 / time.as_secs_f64();
        println!(
            "{action}: {} servers, accepted {:.0}/s, done {:.0}/s (goal {GOAL_PER_SECOND:.0})",
            ids.len(),
            rate(accepted),
            rate(done)
        );
    }
    let left = counted(cluster, "operations WHERE finished_at IS NULL")?;
    ensure!(left == 0, "{left} operations have not ended");
    memory::print(cluster, args.hosts)
}
