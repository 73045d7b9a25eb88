//! What became of all runs, as a table.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use reprieve_core::OperationKind;

use super::strike::{OF_CLUSTER, OF_ONE, Strike};

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

impl Outcome {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Done => "done".to_owned(),
            Self::Undone => "undone".to_owned(),
            Self::Failed(why) => format!("failed: {why}"),
            Self::Broken { harm, seen, .. } => format!("{harm:?}: {seen}"),
        }
    }
}

/// What must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// The operation did not end.
    Stuck,
    /// Something is gone, or something said is not true.
    Lost,
}

/// One run and how it ended.
#[derive(Debug)]
pub struct Run {
    /// What was done.
    pub strike: Strike,
    /// How it ended.
    pub outcome: Outcome,
    /// From when everything was back to the end of the operation.
    pub ended_after: Duration,
}

/// All runs of one seed.
#[derive(Debug)]
pub struct Report {
    seed: u64,
    runs: Vec<Run>,
    stopped: Option<String>,
}

#[derive(Default)]
struct Row {
    runs: u32,
    done: u32,
    undone: u32,
    failed: u32,
    stuck: u32,
    lost: u32,
    slowest: Duration,
}

impl Row {
    fn add(&mut self, run: &Run) {
        self.runs += 1;
        self.slowest = self.slowest.max(run.ended_after);
        match &run.outcome {
            Outcome::Done => self.done += 1,
            Outcome::Undone => self.undone += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Broken { harm: Harm::Stuck, .. } => self.stuck += 1,
            Outcome::Broken { harm: Harm::Lost, .. } => self.lost += 1,
        }
    }

    fn line(&self, what: &str) -> String {
        let Self { runs, done, undone, failed, stuck, lost, slowest } = self;
        let counts = format!("{runs:>5} {done:>5} {undone:>7} {failed:>7} {stuck:>6} {lost:>5}");
        format!("{what:<14} {counts} {:>8.1}\n", slowest.as_secs_f64())
    }
}

impl Report {
    /// Without any run yet.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, runs: Vec::new(), stopped: None }
    }

    /// Adds a run.
    pub fn add(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// Notes why there were no more runs, or what was found after the last one.
    pub fn stop(&mut self, why: String) {
        self.stopped = Some(why);
    }

    /// Whether all runs were made and no rule was broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.stopped.is_none()
            && !self.runs.iter().any(|run| matches!(run.outcome, Outcome::Broken { .. }))
    }

    /// Each run is counted by its operation, by what was killed, and at the end.
    fn counts(&self) -> String {
        let mut text = format!(
            "{:<14} {:>5} {:>5} {:>7} {:>7} {:>6} {:>5} {:>8}\n",
            "", "runs", "done", "undone", "failed", "stuck", "lost", "slowest"
        );
        let mut add = |name: &str, counts: &dyn Fn(&Strike) -> bool| {
            let mut row = Row::default();
            self.runs.iter().filter(|run| counts(&run.strike)).for_each(|run| row.add(run));
            if row.runs > 0 {
                text.push_str(&row.line(name));
            }
        };
        for kind in OperationKind::ALL {
            add(kind.as_str(), &|strike| strike.kind == *kind);
        }
        let alone = OF_ONE.into_iter().filter(|victim| victim.roles.len() == 1);
        let alone: Vec<_> = alone.chain(OF_CLUSTER).collect();
        for (at, victim) in alone.iter().enumerate() {
            // Both have a libvirtd.
            if alone.iter().position(|other| other == victim) == Some(at) {
                add(&victim.name(), &|strike| strike.victim == *victim);
            }
        }
        add("two of them", &|strike| strike.victim.roles.len() > 1);
        add("all", &|_| true);
        text
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = self.counts();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "seed {}; slowest: seconds from when everything was back to the end of the operation",
            self.seed
        );
        for Run { strike, outcome, .. } in &self.runs {
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
        if let Some(why) = &self.stopped {
            let _ = writeln!(text, "{why}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::strike::Choice;

    #[test]
    fn a_broken_rule_is_counted_and_told() {
        let mut report = Report::new(5);
        let ended = |run, outcome| Run {
            strike: Strike::draw(5, run, &Choice::default()).unwrap(),
            outcome,
            ended_after: Duration::from_millis(1500),
        };
        for run in 0..3 {
            report.add(ended(run, Outcome::Done));
        }
        assert!(report.is_clean());
        report.add(ended(3, Outcome::Failed("a reason".to_owned())));
        assert!(report.is_clean(), "a failure with a reason is the truth");
        let evidence = PathBuf::from("target/chaos/here");
        let seen = "pausing".to_owned();
        report.add(ended(4, Outcome::Broken { harm: Harm::Stuck, seen, evidence }));
        assert!(!report.is_clean());
        let table = report.table();
        let all = table.lines().find(|line| line.starts_with("all")).unwrap();
        let counts: Vec<_> = all.split_whitespace().skip(1).collect();
        assert_eq!(counts, ["5", "3", "0", "1", "1", "0", "1.5"]);
        assert!(table.contains("Stuck: pausing\n  kept in target/chaos/here"), "{table}");
        assert!(table.contains("failed: a reason"), "{table}");
    }

    #[test]
    fn runs_that_were_not_made_are_no_success() {
        let mut report = Report::new(5);
        report.stop("the machine is full".to_owned());
        assert!(!report.is_clean());
        assert!(report.table().ends_with("the machine is full\n"));
    }
}
