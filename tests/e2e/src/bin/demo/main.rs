//! `make demo`: three scenes with a real guest. Each step shows what was asked, what the logs of
//! API, conductor and compute say about it, what libvirt says, and what the guest itself says.
//!
//! `walk-cluster` plays them on several processes, PostgreSQL and RabbitMQ, and shows the messages
//! that the broker carried as well.
//!
//! `scripts/demo.sh` runs it, because it also has to clean up when this is interrupted.

#![allow(clippy::indexing_slicing, reason = "a missing member of a JSON value reads as null")]

mod scenes;
mod show;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use reprieve_e2e::lab;
use reprieve_e2e::places;
use reprieve_e2e::virt::Virt;

use scenes::Walk;
use show::Show;
use stage::Stage;

const USAGE: &str = "usage: reprieve-demo walk|walk-cluster DIR | reprieve-demo clean DIR";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["walk", dir] => walk(|show| Stage::one(PathBuf::from(dir), show)),
        ["walk-cluster", dir] => walk(|show| Stage::several(PathBuf::from(dir), show)),
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
fn walk(set: impl FnOnce(&Show) -> Result<Stage>) -> Result<bool> {
    let begun = Instant::now();
    let show = Show::new();
    show.title("Reprieve: pause, suspend and rescue a real guest");
    let stage = set(&show)?;
    let outcomes = Walk::new(&stage, &show).all();
    show.title("Summary");
    let mut passed = true;
    for outcome in &outcomes {
        passed &= outcome.passed;
        show.outcome(outcome);
    }
    show.plain(&format!("in all {:.0} s", begun.elapsed().as_secs_f64()));
    if !passed {
        eprintln!("reprieved said:\n{}", stage.said());
    }
    if outcomes.is_empty() {
        bail!("nothing was shown");
    }
    Ok(passed)
}
