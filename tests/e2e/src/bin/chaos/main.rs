//! `make chaos`: `kill -9` at random moments of operations on real guests. Prints a table; exits
//! with 1 when anything was stuck or lost.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use reprieve_core::OperationKind;
use reprieve_e2e::chaos::strike::{Choice, VICTIMS, Victim};
use reprieve_e2e::chaos::{self, Options};

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
    /// Only these victims: `reprieved`, `libvirtd` or `both`
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = victim)]
    victim: Vec<Victim>,
}

fn kind(text: &str) -> Result<OperationKind, String> {
    let known = OperationKind::ALL.iter().find(|kind| kind.as_str() == text);
    let names = || OperationKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>();
    known.copied().ok_or_else(|| format!("one of {}", names().join(", ")))
}

fn victim(text: &str) -> Result<Victim, String> {
    let known = VICTIMS.into_iter().find(|victim| victim.name == text);
    known.ok_or_else(|| format!("one of {}", VICTIMS.map(|victim| victim.name).join(", ")))
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
    let mut choice = Choice::default();
    if !args.only.is_empty() {
        choice.kinds = args.only;
    }
    if !args.victim.is_empty() {
        choice.victims = args.victim;
    }
    let report = chaos::run(&Options { runs, first, seed, choice })?;
    println!("\n{}", report.table());
    Ok(report.is_clean())
}
