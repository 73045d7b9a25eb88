//! `kill -9` at random moments of operations on real guests, and what is true afterwards.
//!
//! | module | what |
//! |---|---|
//! | [`strike`] | what is killed, when, in the middle of what: drawn from a seed |
//! | [`site`] | where: one daemon, or roles apart |
//! | [`arena`] | the servers and the blow |
//! | [`verdict`] | what has to be true when everything is back |
//! | [`subject`] | one server with its guest, and the check that nothing of it is lost |
//! | [`report`] | the table |
//! | [`evidence`] | what is kept of a run that broke a rule |
//!
//! A run breaks a rule when its operation does not end by itself after what was killed is back, or
//! when API, libvirt, files and the guest do not agree, or when the guest's memory or disk is not
//! what it was. A host that loses its power loses what its guests had in memory, too; then the rule is
//! that this is said, and that nothing else is lost. Every run can be repeated by seed and number, up to the scheduling of the machine.

pub mod arena;
pub mod evidence;
pub mod report;
pub mod site;
pub mod strike;
pub mod subject;
pub mod verdict;

use anyhow::{Context as _, Result};

use arena::Arena;
use report::{Report, Run};
use site::{Apart, Site};
use strike::{Choice, Strike};

/// Where runs are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Place {
    /// On one daemon with a libvirtd of its own.
    #[default]
    One,
    /// On roles apart with PostgreSQL, RabbitMQ, libvirtd and a machine of their own. Needs root.
    Cluster,
}

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where.
    pub place: Place,
    /// How many runs.
    pub runs: u32,
    /// Number of the first run.
    pub first: u32,
    /// What everything is drawn from.
    pub seed: u64,
    /// What to draw from.
    pub choice: Choice,
}

/// Runs everything and says on stdout how each run ended.
///
/// # Errors
/// When the machine cannot do it: no libvirt, no guest image. Not when a rule was broken, or when
/// the runs could not go on after one: see [`Report::is_clean`].
pub fn run(options: &Options) -> Result<Report> {
    let site: Box<dyn Site> = match options.place {
        Place::One => Box::new(site::one()?),
        Place::Cluster => Box::new(Apart::start()?),
    };
    let mut arena = Arena::on(site)?;
    let mut report = Report::new(options.seed);
    for run in options.first..options.first.saturating_add(options.runs) {
        let strike = Strike::draw(options.seed, run, &options.choice);
        let strike = strike.context("there is nothing to draw from")?;
        let begun = std::time::Instant::now();
        let outcome = match arena.run(options.seed, &strike) {
            Ok(outcome) => outcome,
            Err(error) => {
                let evidence = arena.keep_logs(options.seed, &strike, &error)?;
                let evidence = evidence.display();
                report.stop(format!("stopped at run {run}: {error:#}\n  kept in {evidence}"));
                return Ok(report);
            }
        };
        let (line, word, took) = (strike.line(), outcome.words(), begun.elapsed().as_secs_f64());
        let ended_after = arena.ended_after();
        let after = ended_after.as_secs_f64();
        println!("run {run:>4}  {line:<66} {word}  after {after:.1} s ({took:.0} s in all)");
        report.add(Run { strike, outcome, ended_after });
    }
    if let Err(error) = arena.close() {
        report.stop(format!("after all runs: {error:#}"));
    }
    Ok(report)
}
