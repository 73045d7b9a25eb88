//! `cargo xtask`: every developer task, the same on a desk and in CI.

mod run;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

use run::{Cmd, Libvirtd, cargo, python_venv, root};

/// The test programs of the control plane: they talk to it as its clients do, whatever it runs on.
const CONTROL_TESTS: [&str; 10] = [
    "external",
    "hostile_input",
    "hosts",
    "lifecycle",
    "native",
    "policy",
    "quotas",
    "replay",
    "resources",
    "services",
];

#[derive(Parser)]
#[command(name = "xtask", about = "Developer tasks of Reprieve")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Format the code.
    Fmt,
    /// Formatting and clippy without warnings.
    Check,
    /// Check licences, bans and sources of all dependencies (needs cargo-deny).
    Deny,
    /// Everything: check, unit, property and end-to-end tests. What CI runs.
    Test {
        /// Only tests that need neither libvirt nor QEMU.
        #[arg(long)]
        fast: bool,
    },
    /// Write the pages that are made from the code: docs/recovery.md.
    Docs,
    /// Run the control plane's tests on PostgreSQL and RabbitMQ
    Distributed {
        /// On MariaDB and RabbitMQ instead.
        #[arg(long)]
        mariadb: bool,
    },
    /// End-to-end tests only; what follows `--` goes to the test program.
    E2e {
        /// Arguments of the test program.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Kill processes at random moments of operations on real guests; what follows `--` goes to the
    /// program.
    Chaos {
        /// Arguments of the program: `--runs N`, `--seed S`, `--run N`, `--only KIND`, `--cluster`.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Pause and unpause 20,000 servers on 1,000 simulated hosts with PostgreSQL and RabbitMQ; what
    /// follows `--` goes to the program.
    Swarm {
        /// Arguments of the program: `--hosts N`, `--servers N`, `--clients N`.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Simulate whole clouds with crashes, lost messages and jumping clocks, each from a seed. Without
    /// arguments the seeds that CI runs.
    Sim {
        /// So many seeds.
        #[arg(long)]
        seeds: Option<u64>,
        /// The first of them.
        #[arg(long)]
        from: Option<u64>,
        /// Operations of each, at least.
        #[arg(long)]
        operations: Option<u64>,
        /// Run this seed alone and tell what happens.
        #[arg(long)]
        story: Option<u64>,
    },
    /// Measure, print a table, and write target/bench/NAME.json.
    Bench {
        /// One benchmark; all without a name.
        name: Option<String>,
    },
}

fn main() -> Result<()> {
    let begun = Instant::now();
    match Args::parse().task {
        Task::Fmt => cargo(["fmt", "--all"])?,
        Task::Check => check()?,
        Task::Deny => deny()?,
        Task::Test { fast: true } => {
            check()?;
            cargo(["test", "--workspace", "--lib", "--bins"])?;
        }
        Task::Test { fast: false } => {
            check()?;
            let _libvirtd = Libvirtd::start()?;
            cargo(["test", "--workspace"])?;
            distributed(false)?;
            e2e(&[])?;
        }
        Task::E2e { args } => {
            let _libvirtd = Libvirtd::start()?;
            e2e(&args)?;
        }
        Task::Docs => docs()?,
        Task::Distributed { mariadb } => distributed(mariadb)?,
        Task::Chaos { args } => chaos(&args)?,
        Task::Swarm { args } => swarm(&args)?,
        Task::Sim { seeds, from, operations, story } => sim([
            ("--seeds", seeds),
            ("--from", from),
            ("--operations", operations),
            ("--story", story),
        ])?,
        Task::Bench { name } => bench(name)?,
    }
    eprintln!("done in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

fn check() -> Result<()> {
    cargo(["fmt", "--all", "--check"])?;
    cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    // Not one of all targets: it is run by name only.
    cargo(["clippy", "--workspace", "--test", "e2e", "--", "-D", "warnings"])
}

fn deny() -> Result<()> {
    if !Cmd::new("cargo-deny").arg("--version").succeeds() {
        bail!("cargo-deny is missing; install it with: cargo install --locked cargo-deny");
    }
    // Advisories need the network's advisory database and are checked where there is one.
    cargo(["deny", "check", "bans", "licenses", "sources"])
}

/// The tests that compare the pages write them.
fn docs() -> Result<()> {
    Cmd::new("cargo")
        .args(["test", "--package", "reprieve-compute", "--test", "recovery_table"])
        .env("REPRIEVE_WRITE_DOCS", "1")
        .run()
}

/// The control plane's tests again, on a database and the message broker of several hosts.
fn distributed(mariadb: bool) -> Result<()> {
    let backends = if mariadb { "distributed-mariadb" } else { "distributed" };
    // The whole workspace is named, so that what the other tests have built is not built again with
    // fewer features.
    let tests = CONTROL_TESTS.iter().flat_map(|test| ["--test", test]);
    Cmd::new("cargo")
        .args(["test", "--workspace"])
        .args(tests)
        .env("REPRIEVE_TEST_BACKENDS", backends)
        .run()
}

/// Builds what end-to-end tests run and are, with the features of dependencies that all tests share,
/// but without what only the simulation needs in the product.
fn build_programs() -> Result<()> {
    cargo(["build", "--workspace", "--exclude", "reprieve-sim", "--bins", "--test", "e2e"])
}

/// The daemon and the client are built first, because the tests run the real programs.
fn e2e(args: &[String]) -> Result<()> {
    build_programs()?;
    let venv = python_venv(&root().join("tests/e2e/requirements.txt"))?;
    Cmd::new("cargo")
        .args(["test", "--workspace", "--exclude", "reprieve-sim", "--test", "e2e"])
        .args(["--", "--test-threads=2"])
        .args(args)
        .env("REPRIEVE_E2E_VENV", venv)
        .run()
}

/// It has a libvirtd of its own, so nobody else's is needed or touched.
fn chaos(args: &[String]) -> Result<()> {
    build_programs()?;
    Cmd::new(root().join("target/debug/reprieve-chaos")).args(args).run()
}

fn swarm(args: &[String]) -> Result<()> {
    cargo(["build", "--release", "--bin", "reprieved", "--bin", "reprieve-swarm"])?;
    Cmd::new(root().join("target/release/reprieve-swarm")).args(args).run()
}

/// Needs neither libvirt nor QEMU, only `qemu-img`.
fn sim(arguments: [(&'static str, Option<u64>); 4]) -> Result<()> {
    let given = arguments.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let given = given.flat_map(|(name, value)| [name.to_owned(), value.to_string()]);
    let given: Vec<String> = given.collect();
    // Many seeds are worth another build; the few that CI runs are not.
    let profile = if given.is_empty() { "dev" } else { "sim" };
    Cmd::new("cargo")
        .args(["test", "--profile", profile, "--package", "reprieve-sim", "--test", "sim", "--"])
        .args(given)
        .run()
}

fn bench(name: Option<String>) -> Result<()> {
    let _libvirtd = Libvirtd::start()?;
    cargo(["build", "--release", "--bin", "reprieved", "--bin", "reprieve-bench"])?;
    Cmd::new(root().join("target/release/reprieve-bench")).args(name).run()
}
