//! Servers that were suspended because their host goes down.

use super::Part::All;
use super::Step;

const STATEMENTS: &[&str] =
    &["ALTER TABLE instances ADD COLUMN suspended_for_host BOOLEAN NOT NULL DEFAULT FALSE"];

/// The step.
pub(super) const STEP: Step = Step::new("m0033_suspended_for_host", &[All(STATEMENTS)]);
