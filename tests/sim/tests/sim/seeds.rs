//! Many seeds, each in a process of its own, as many at a time as there are processors.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::options::OPERATIONS;
use crate::processor;
use crate::single::kept;

/// Seeds that once broke a rule, each with what it found. They stay.
const KNOWN: &str = include_str!("seeds.txt");
/// Seeds that are run besides: as many as a minute or two has room for in a debug build.
const FIXED: Range<u64> = 1..7;
/// The seed that has to tell the same story twice.
const TWICE: u64 = 1;

/// What came of a seed.
#[derive(Debug, Default)]
struct Outcome {
    seed: u64,
    counts: BTreeMap<String, u64>,
    broken: Vec<String>,
    digest: String,
    took: Duration,
}

/// Runs the seeds that are always run, and one of them twice.
pub fn fixed() -> ExitCode {
    let known = KNOWN.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
    let once: BTreeSet<u64> = known.chain(FIXED).collect();
    let seeds: Vec<u64> = once.into_iter().chain([TWICE]).collect();
    report(run(&seeds, OPERATIONS))
}

/// Runs all seeds of a range.
pub fn range(seeds: Range<u64>, operations: u64) -> ExitCode {
    let seeds: Vec<u64> = seeds.collect();
    report(run(&seeds, operations))
}

fn report(outcomes: Result<(Vec<Outcome>, Duration)>) -> ExitCode {
    let (outcomes, took) = match outcomes {
        Ok(outcomes) => outcomes,
        Err(error) => {
            eprintln!("the simulation cannot run: {error:#}");
            return ExitCode::from(2);
        }
    };
    let mut total: BTreeMap<&str, u64> = BTreeMap::new();
    let mut digests: BTreeMap<u64, &str> = BTreeMap::new();
    let mut failed = 0;
    let mut longest = Duration::ZERO;
    for outcome in &outcomes {
        for (what, times) in &outcome.counts {
            *total.entry(what).or_default() += times;
        }
        let digest = digests.entry(outcome.seed).or_insert(&outcome.digest);
        if *digest != outcome.digest {
            println!("seed {} told two different stories", outcome.seed);
            failed += 1;
        }
        failed += usize::from(!outcome.broken.is_empty());
        longest = longest.max(outcome.took);
    }
    for (what, times) in &total {
        println!("{times:>12} {what}");
    }
    let of = |what: &str| total.get(what).copied().unwrap_or(0);
    let messages = of("messages lost")
        + of("messages refused")
        + of("messages doubled")
        + of("messages delayed");
    println!(
        "{} seeds, {} operations, {} crashes, {messages} message faults, {} h simulated in {:.0} s \
         (longest seed {:.1} s): {failed} seeds broke a rule",
        outcomes.len(),
        of("operations"),
        of("crashes"),
        of("simulated seconds") / 3600,
        took.as_secs_f64(),
        longest.as_secs_f64(),
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(seeds: &[u64], operations: u64) -> Result<(Vec<Outcome>, Duration)> {
    let begun = Instant::now();
    let processors = processor::allowed().context("cannot ask for processors")?;
    let next = AtomicU64::new(0);
    let (done, outcomes) = mpsc::channel();
    std::thread::scope(|scope| {
        for processor in processors {
            let (next, done) = (&next, done.clone());
            scope.spawn(move || {
                // What is started here stays here. Where that is refused it is only slower.
                processor::stay_on(processor).ok();
                let take = || usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok();
                while let Some(seed) = take().and_then(|index| seeds.get(index)) {
                    if done.send(one(*seed, operations)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut all = Vec::new();
        for outcome in outcomes {
            let outcome: Outcome = outcome?;
            for rule in &outcome.broken {
                println!("seed {}: {rule}", outcome.seed);
            }
            if !outcome.broken.is_empty() {
                println!("seed {}: its story is in {}", outcome.seed, kept(outcome.seed).display());
            }
            all.push(outcome);
        }
        Ok((all, begun.elapsed()))
    })
}

fn one(seed: u64, operations: u64) -> Result<Outcome> {
    let begun = Instant::now();
    let program = std::env::current_exe().context("cannot find this program")?;
    let arguments = ["--one", &seed.to_string(), "--operations", &operations.to_string()];
    let output = Command::new(program).args(arguments).output().context("cannot run a seed")?;
    let mut outcome = read(&output);
    (outcome.seed, outcome.took) = (seed, begun.elapsed());
    if outcome.digest.is_empty() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        outcome.broken.push(format!("it ended without a result: {} {words}", output.status));
    }
    Ok(outcome)
}

fn read(output: &Output) -> Outcome {
    let mut outcome = Outcome::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        match line.split_once(' ') {
            Some(("count", rest)) => {
                if let Some((what, times)) = rest.rsplit_once(' ') {
                    outcome.counts.insert(what.to_owned(), times.parse().unwrap_or(0));
                }
            }
            Some(("broken", rule)) => outcome.broken.push(rule.to_owned()),
            Some(("digest", digest)) => outcome.digest = digest.to_owned(),
            Some(_) | None => {}
        }
    }
    outcome
}
