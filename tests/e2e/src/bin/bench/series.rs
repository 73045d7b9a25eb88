//! Measured values and how they are shown.

use std::time::Duration;

use serde_json::{Value, json};

/// Values of one thing.
pub struct Series {
    what: String,
    unit: &'static str,
    goal: Option<Goal>,
    sorted: Vec<f64>,
}

/// What the median should be.
#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    const fn value(self) -> f64 {
        match self {
            Self::AtMost(value) | Self::AtLeast(value) => value,
        }
    }

    fn is_met_by(self, median: f64) -> bool {
        match self {
            Self::AtMost(most) => median <= most,
            Self::AtLeast(least) => median >= least,
        }
    }
}

impl Series {
    /// Durations, in milliseconds.
    pub fn times(what: &str, goal_ms: Option<f64>, times: &[Duration]) -> Self {
        Self::values(
            what,
            "ms",
            goal_ms,
            times.iter().map(|time| time.as_secs_f64() * 1e3).collect(),
        )
    }

    /// Values in any unit, with the most that the median should be.
    pub fn values(what: &str, unit: &'static str, most: Option<f64>, values: Vec<f64>) -> Self {
        Self::new(what, unit, most.map(Goal::AtMost), values)
    }

    /// Values in any unit, with the least that the median should be.
    pub fn at_least(what: &str, unit: &'static str, least: f64, values: Vec<f64>) -> Self {
        Self::new(what, unit, Some(Goal::AtLeast(least)), values)
    }

    fn new(what: &str, unit: &'static str, goal: Option<Goal>, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { what: what.to_owned(), unit, goal, sorted: values }
    }

    /// The value that `share` of all do not exceed.
    fn quantile(&self, share: f64) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        // A share of the length is a valid index.
        let index = (share * last as f64).round() as usize;
        self.sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    /// The middle value.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    fn json(&self) -> Value {
        json!({
            "what": self.what, "unit": self.unit, "goal": self.goal.map(Goal::value), "n": self.sorted.len(),
            "median": self.median(), "p95": self.quantile(0.95),
            "min": self.quantile(0.0), "max": self.quantile(1.0),
        })
    }

    fn row(&self) -> String {
        let goal = self.goal.map_or_else(String::new, |goal| {
            let word = if goal.is_met_by(self.median()) { "met" } else { "missed" };
            format!("   goal {} {}: {word}", goal.value(), self.unit)
        });
        format!(
            "{:<52} {:>4} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {}{goal}",
            self.what,
            self.sorted.len(),
            self.median(),
            self.quantile(0.95),
            self.quantile(0.0),
            self.quantile(1.0),
            self.unit
        )
    }
}

/// What a benchmark found.
#[derive(Default)]
pub struct Report {
    /// Series.
    pub series: Vec<Series>,
    /// What follows from them.
    pub notes: Vec<String>,
}

impl Report {
    /// For people.
    pub fn table(&self, name: &str) -> String {
        let columns = ["n", "median", "p95", "min", "max"];
        let [n, median, p95, min, max] = columns;
        let mut text = format!("\n{name:<52} {n:>4} {median:>9} {p95:>9} {min:>9} {max:>9}\n");
        for series in &self.series {
            text.push_str(&series.row());
            text.push('\n');
        }
        for note in &self.notes {
            text.push_str(note);
            text.push('\n');
        }
        text
    }

    /// For programs.
    pub fn json(&self, name: &str) -> Value {
        json!({
            "name": name,
            "cpus": std::thread::available_parallelism().map_or(0, usize::from),
            "series": self.series.iter().map(Series::json).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}
