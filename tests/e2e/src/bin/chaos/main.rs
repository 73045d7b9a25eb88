//! `make chaos`: `kill -9` at random moments of operations on real guests. Prints a table; exits
//! with 1 when anything was stuck or lost.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use reprieve_core::OperationKind;
use reprieve_e2e::chaos::strike::{Choice, Victim};
use reprieve_e2e::chaos::{self, Options, Place};

/// Kills processes at random moments of operations on real guests and checks what is true after.
#[derive(Parser)]
#[command(name = "reprieve-chaos")]
struct Args {
    /// How many runs
    #[arg(long, value_name = "N", default_value_t = 100)]
    runs: u32,
    /// What everything is drawn from [default: any]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Only this run of the seed
    #[arg(long, value_name = "N", conflicts_with = "runs", requires = "seed")]
    run: Option<u32>,
    /// Only these operations, as in `suspend` or `reboot-hard`
    #[arg(long, value_name = "KIND", num_args = 1.., value_parser = kind)]
    only: Vec<OperationKind>,
    /// Only these victims, as in `libvirtd`, `compute+rabbitmq` or `host`
    #[arg(long, value_name = "NAME", num_args = 1..)]
    victim: Vec<String>,
    /// On two api, a conductor and a compute host with PostgreSQL and RabbitMQ instead of on one
    /// daemon; needs root
    #[arg(long)]
    cluster: bool,
}

fn kind(text: &str) -> Result<OperationKind, String> {
    let known = OperationKind::ALL.iter().find(|kind| kind.as_str() == text);
    let names = || OperationKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>();
    known.copied().ok_or_else(|| format!("one of {}", names().join(", ")))
}

/// Those of `all` that have one of these names.
fn named(names: &[String], all: Vec<Victim>) -> Result<Vec<Victim>> {
    if names.is_empty() {
        return Ok(all);
    }
    let known = |name: &String| {
        let found = all.iter().find(|victim| victim.name() == *name).copied();
        found.with_context(|| {
            let all: BTreeSet<_> = all.iter().map(|victim| victim.name()).collect();
            format!("'{name}' is none of {}", all.into_iter().collect::<Vec<_>>().join(", "))
        })
    };
    names.iter().map(known).collect()
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<bool> {
    let any = || u64::from(uuid::Uuid::new_v4().as_fields().0);
    let seed = args.seed.unwrap_or_else(any);
    println!("seed {seed}");
    let (first, runs) = args.run.map_or((0, args.runs), |run| (run, 1));
    let (place, mut choice) = match args.cluster {
        true => (Place::Cluster, Choice::of_cluster()),
        false => (Place::One, Choice::default()),
    };
    choice.victims = named(&args.victim, choice.victims)?;
    if !args.only.is_empty() {
        choice.kinds = args.only;
    }
    let report = chaos::run(&Options { place, runs, first, seed, choice })?;
    println!("\n{}", report.table());
    Ok(report.is_clean())
}
