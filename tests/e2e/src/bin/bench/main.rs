//! `cargo xtask bench [NAME]`: what it costs, measured on real guests. Prints tables and writes
//! `target/bench/NAME.json`. A figure is a figure: none of them makes this fail.

mod http;
mod memory;
mod pause;
mod series;
mod start;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use reprieve_e2e::places;

use series::Report;

type Benchmark = fn() -> Result<Report>;

const ALL: [(&str, Benchmark); 4] =
    [("start", start::run), ("memory", memory::run), ("pause", pause::run), ("http", http::run)];

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_else(|| "all".to_owned());
    match measure(&name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(name: &str) -> Result<()> {
    let chosen: Vec<_> = ALL.iter().filter(|(known, _)| name == "all" || name == *known).collect();
    if chosen.is_empty() {
        bail!("no benchmark '{name}': start, memory, pause, http or all");
    }
    let dir = places::root().join("target/bench");
    fs::create_dir_all(&dir).with_context(|| format!("{}", dir.display()))?;
    for (name, run) in chosen {
        let report = run().with_context(|| format!("benchmark {name}"))?;
        println!("{}", report.table(name));
        let file = dir.join(name).with_extension("json");
        let json = serde_json::to_string_pretty(&report.json(name))?;
        fs::write(&file, json + "\n").with_context(|| format!("{}", file.display()))?;
    }
    Ok(())
}
