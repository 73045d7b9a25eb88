//! What became of all runs, as a table.

use std::fmt::Write as _;
use std::path::PathBuf;

use reprieve_core::OperationKind;

use super::strike::{Strike, VICTIMS};

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// The operation succeeded.
    Done,
    /// The server is as it was before.
    Undone,
    /// It is somewhere else, and says why.
    Failed(String),
    /// A rule was broken.
    Broken {
        /// Which.
        harm: Harm,
        /// What was seen.
        seen: String,
        /// Directory with everything that was there to see.
        evidence: PathBuf,
    },
}

/// What must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// The operation did not end.
    Stuck,
    /// Something is gone, or something said is not true.
    Lost,
}

/// All runs of one seed.
#[derive(Debug)]
pub struct Report {
    seed: u64,
    runs: Vec<(Strike, Outcome)>,
}

#[derive(Default)]
struct Row {
    runs: u32,
    done: u32,
    undone: u32,
    failed: u32,
    stuck: u32,
    lost: u32,
}

impl Row {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Undone => self.undone += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Broken { harm: Harm::Stuck, .. } => self.stuck += 1,
            Outcome::Broken { harm: Harm::Lost, .. } => self.lost += 1,
        }
    }

    fn line(&self, what: &str, victim: &str) -> String {
        let Self { runs, done, undone, failed, stuck, lost } = self;
        format!(
            "{what:<12} {victim:<10} {runs:>5} {done:>5} {undone:>7} {failed:>7} {stuck:>6} {lost:>5}"
        )
    }
}

impl Report {
    /// Without any run yet.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, runs: Vec::new() }
    }

    /// Adds a run.
    pub fn add(&mut self, strike: Strike, outcome: Outcome) {
        self.runs.push((strike, outcome));
    }

    /// Whether no rule was broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        !self.runs.iter().any(|(_, outcome)| matches!(outcome, Outcome::Broken { .. }))
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<12} {:<10} {:>5} {:>5} {:>7} {:>7} {:>6} {:>5}\n",
            "operation", "killed", "runs", "done", "undone", "failed", "stuck", "lost"
        );
        let mut all = Row::default();
        for kind in OperationKind::ALL {
            for victim in VICTIMS {
                let mut row = Row::default();
                let of_row = |strike: &Strike| strike.kind == *kind && strike.victim == victim;
                for (_, outcome) in self.runs.iter().filter(|(strike, _)| of_row(strike)) {
                    row.add(outcome);
                    all.add(outcome);
                }
                if row.runs > 0 {
                    text.push_str(&(row.line(kind.as_str(), victim.name) + "\n"));
                }
            }
        }
        text.push_str(&(all.line("all", "") + "\n"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "seed {}", self.seed);
        for (strike, outcome) in &self.runs {
            let (run, line) = (strike.run, strike.line());
            let _ = match outcome {
                Outcome::Done | Outcome::Undone => continue,
                Outcome::Failed(why) => writeln!(text, "run {run}: {line}: failed: {why}"),
                Outcome::Broken { harm, seen, evidence } => {
                    let evidence = evidence.display();
                    writeln!(text, "run {run}: {line}: {harm:?}: {seen}\n  kept in {evidence}")
                }
            };
        }
        text
    }
}
