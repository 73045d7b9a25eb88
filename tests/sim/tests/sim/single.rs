//! One seed in a process of its own, and how it tells the process that started it what came of it.
//!
//! On stdout, one fact a line: `count NAME NUMBER`, `broken RULE`, `digest NUMBER`. Of a seed that
//! broke a rule the whole story is kept in `target/sim/seed-N.txt`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime::{Builder, Handle};

use crate::clock::Now;
use crate::processor;
use crate::run;
use crate::story::Story;
use crate::system;

/// How long the simulated time may stand still, by the machine's clock. A busy machine is slow, but not
/// as slow as that.
const PATIENCE: Duration = Duration::from_secs(120);

/// Exit code of a seed that broke a rule.
pub const BROKEN: u8 = 1;

/// Runs it.
pub fn run(seed: u64, operations: u64, aloud: bool) -> ExitCode {
    match try_run(seed, operations, aloud) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(BROKEN),
        Err(error) => {
            println!("broken the simulation cannot go on: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn try_run(seed: u64, operations: u64, aloud: bool) -> Result<bool> {
    processor::stay().context("cannot stay on one processor")?;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // Tokio counts who draws random numbers. Its own threads have to have done so before.
    runtime.block_on(async { tokio::spawn(async {}).await })?;
    // Needed until the process ends.
    let outside: &'static Handle = Box::leak(Box::new(runtime.handle().clone()));
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let root = tempfile::Builder::new().prefix("reprieve-sim-").tempdir_in(place)?;
    let dir = root.path().to_owned();
    let now = Now::begin();
    let story = Story::new(now.clone(), aloud, &dir);
    panics_break_rules(&story);
    let (done, waiting) = mpsc::channel();
    let told = story.clone();
    // A thread of its own, so that nothing has drawn anything on it yet.
    let thread = std::thread::Builder::new().name("simulation".into()).spawn(move || {
        system::seed_this_thread(seed);
        let outcome = run::run((seed, operations), &dir, (told, now), outside);
        // The other side may have lost patience.
        let _ = done.send(());
        outcome
    })?;
    let mut before = None;
    let hangs = loop {
        match waiting.recv_timeout(PATIENCE) {
            Err(mpsc::RecvTimeoutError::Timeout) if before == Some(story.now()) => break true,
            Err(mpsc::RecvTimeoutError::Timeout) => before = Some(story.now()),
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => break false,
        }
    };
    if hangs {
        story.broken("it does not go on");
    } else {
        match thread.join() {
            Ok(Ok(outcome)) => {
                for (kind, times) in outcome.succeeded {
                    println!("count {kind} that went well {times}");
                }
            }
            Ok(Err(error)) => story.broken(format_args!("the simulation cannot go on: {error:#}")),
            Err(_) => story.broken("the simulation panicked"),
        }
    }
    for (what, times) in story.counts() {
        println!("count {what} {times}");
    }
    println!("count simulated seconds {}", story.now().as_secs());
    let broken = story.rules_broken();
    for rule in &broken {
        println!("broken {}", rule.replace('\n', " / "));
    }
    println!("digest {}", story.digest());
    if !broken.is_empty() {
        keep(seed, &story)?;
    }
    // What the simulation's runtimes left is of no interest.
    runtime.shutdown_background();
    Ok(broken.is_empty())
}

fn panics_break_rules(story: &Story) {
    let (story, usual) = (story.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        story.broken(format_args!("a task panicked: {info}"));
    }));
}

/// Where stories are kept.
pub fn kept(seed: u64) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/sim");
    target.join(format!("seed-{seed}.txt"))
}

fn keep(seed: u64, story: &Story) -> Result<()> {
    let file = kept(seed);
    let dir = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    std::fs::write(&file, story.tail(usize::MAX).join("\n")).context("cannot keep the story")
}
