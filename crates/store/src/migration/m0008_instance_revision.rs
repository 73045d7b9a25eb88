//! What tells whether a server changed since it was read.

use super::Part::All;
use super::Step;

const STATEMENTS: &[&str] =
    &["ALTER TABLE instances ADD COLUMN revision BIGINT NOT NULL DEFAULT 1"];

/// The step.
pub(super) const STEP: Step = Step::new("m0008_instance_revision", &[All(STATEMENTS)]);
