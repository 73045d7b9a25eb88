//! `kill -9` at random moments of operations on real guests, and what is true afterwards.
//!
//! | module | what |
//! |---|---|
//! | [`strike`] | what is killed, when, in the middle of what: drawn from a seed |
//! | [`arena`] | the servers, the blow, and its end |
//! | [`subject`] | one server with its guest, and the check that nothing of it is lost |
//! | [`report`] | the table |
//!
//! A run breaks a rule when its operation does not end by itself after what was killed is back, or
//! when API, libvirt, files and the guest do not agree, or when the guest's memory or disk is not
//! what it was. Every run can be repeated by seed and number, up to the scheduling of the machine.

pub mod arena;
pub mod report;
pub mod strike;
pub mod subject;

use anyhow::Result;
use reprieve_core::OperationKind;

use arena::Arena;
use report::{Outcome, Report};
use strike::Strike;

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How many runs.
    pub runs: u32,
    /// Number of the first run.
    pub first: u32,
    /// What everything is drawn from.
    pub seed: u64,
    /// Only these operations; all, if there is none.
    pub only: Vec<OperationKind>,
}

/// Runs everything and says on stdout how each run ended.
///
/// # Errors
/// When the machine cannot do it: no libvirt, no guest image. Not when a rule was broken: see
/// [`Report::is_clean`].
pub fn run(options: &Options) -> Result<Report> {
    let mut arena = Arena::open()?;
    let mut report = Report::new(options.seed);
    for run in options.first..options.first.saturating_add(options.runs) {
        let strike = Strike::draw(options.seed, run, &options.only);
        let begun = std::time::Instant::now();
        let outcome = arena.run(options.seed, &strike)?;
        let took = begun.elapsed().as_secs_f64();
        let word = match &outcome {
            Outcome::Done => "done".to_owned(),
            Outcome::Undone => "undone".to_owned(),
            Outcome::Failed(why) => format!("failed: {why}"),
            Outcome::Broken { harm, seen, .. } => format!("{harm:?}: {seen}"),
        };
        println!("run {run:>4}  {:<60} {word}  ({took:.1} s)", strike.line());
        report.add(strike, outcome);
    }
    arena.close()?;
    Ok(report)
}
