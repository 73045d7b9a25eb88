//! Restarts of hosts: which one was seen last, and which servers wait to be looked at after it.

use super::Part::All;
use super::Step;

const STATEMENTS: &[&str] = &[
    "ALTER TABLE hosts ADD COLUMN machine_boot TEXT",
    "ALTER TABLE instances ADD COLUMN host_reboot TEXT",
];

/// The step.
pub(super) const STEP: Step = Step::new("m0031_host_reboot", &[All(STATEMENTS)]);
