//! `make demo`: three scenes with a real guest. Each step shows what was asked, what the logs of
//! API, conductor and compute say about it, what libvirt says, and what the guest itself says.
//!
//! `scripts/demo.sh` runs it, because it also has to clean up when this is interrupted.

#![allow(clippy::indexing_slicing, reason = "a missing member of a JSON value reads as null")]

mod scenes;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use reprieve_e2e::daemon::{DEFAULT_PORT, free_port};
use reprieve_e2e::lab::{self, Lab, Plan};
use reprieve_e2e::places;
use reprieve_e2e::virt::Virt;

use scenes::Walk;
use show::Show;

const USAGE: &str = "usage: reprieve-demo walk DIR | reprieve-demo clean DIR";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["walk", dir] => walk(PathBuf::from(dir)),
        ["clean", dir] => clean(PathBuf::from(dir)).map(|()| true),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn clean(dir: PathBuf) -> Result<()> {
    if dir.exists() {
        lab::clean(&dir, Some(&Virt { uri: places::libvirt_uri()? }))?;
    }
    Ok(())
}

/// All scenes; `false` when one failed.
fn walk(dir: PathBuf) -> Result<bool> {
    let begun = Instant::now();
    let show = Show::new();
    show.title("Reprieve: pause, suspend and rescue a real guest");
    let (port, why) = match std::net::TcpListener::bind(("127.0.0.1", DEFAULT_PORT)) {
        Ok(_) => (DEFAULT_PORT, None),
        Err(_) => (free_port()?, Some("port 8774 is taken, so with another one: ")),
    };
    let plan = Plan { dir: Some(dir), port: Some(port), as_found: true, ..Plan::default() };
    let (lab, took) = lab::timed(|| Lab::start(plan))?;
    show.asked(&format!("{}{}", why.unwrap_or_default(), lab.daemon.command_line()));
    show.plain(&format!(
        "serves {} after {} ms; clients find it with OS_CLIENT_CONFIG_FILE={}",
        lab.daemon.url(),
        took.as_millis(),
        lab.daemon.data().join("clouds.yaml").display()
    ));

    let outcomes = Walk::new(&lab, &show).all();
    show.title("Summary");
    let mut passed = true;
    for outcome in &outcomes {
        passed &= outcome.passed;
        show.outcome(outcome);
    }
    show.plain(&format!("in all {:.0} s", begun.elapsed().as_secs_f64()));
    if !passed {
        eprintln!("reprieved said:\n{}", lab.daemon.said());
    }
    if outcomes.is_empty() {
        bail!("nothing was shown");
    }
    Ok(passed)
}
