//! How long steps take, for whoever watches this host. Labels are the names of kinds and steps only,
//! so their number is bounded by the plans.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use reprieve_core::{OperationKind, Step};

/// Upper bounds in seconds, from a pause to the memory of a large guest.
const BOUNDS: [f64; 10] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
    step: &'static str,
}

/// Durations of the steps that reached their effect, from the first attempt. Cheap to clone; all
/// clones count together.
#[derive(Debug, Clone)]
pub struct StepTimes {
    done: Family<Labels, Histogram, fn() -> Histogram>,
}

impl Default for StepTimes {
    fn default() -> Self {
        Self { done: Family::new_with_constructor(|| Histogram::new(BOUNDS)) }
    }
}

impl StepTimes {
    /// Lets them be read with everything else in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "reprieve_step_duration_seconds",
            "Time that steps took which reached their effect, retries included",
            self.done.clone(),
        );
    }

    /// A step has reached its effect.
    pub(crate) fn note(&self, kind: OperationKind, step: Step, took: Duration) {
        let labels = Labels { kind: kind.as_str(), step: step.as_str() };
        self.done.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    /// What the table in the documentation says of compute hosts is what is printed.
    #[test]
    fn what_is_printed_is_what_the_documentation_says() {
        let times = StepTimes::default();
        times.note(OperationKind::Suspend, Step::SaveMemory, Duration::from_millis(70));
        let mut registry = Registry::default();
        times.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let printed: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let doc = include_str!("../../../docs/operations.md");
        let rows = doc.lines().filter(|line| line.starts_with("| `reprieve_"));
        let documented: Vec<String> = rows
            .filter(|line| line.contains("| compute |"))
            .map(|line| {
                let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
                format!("{} {}", cells[0].trim_matches('`'), cells[1])
            })
            .collect();
        assert_eq!(printed, documented);
        let bucket = r#"_bucket{le="0.1",kind="suspend",step="save_memory"} 1"#;
        assert!(text.contains(bucket), "{text}");
    }
}
