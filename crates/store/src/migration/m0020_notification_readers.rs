//! How far those who pass notifications on have come.

use super::Part::All;
use super::Step;

const STATEMENTS: &[&str] = &["CREATE TABLE notification_readers (
            name TEXT(255) NOT NULL PRIMARY KEY,
            passed BIGINT NOT NULL,
            holder TEXT NOT NULL,
            held_until BIGINT NOT NULL)"];

/// The step.
pub(super) const STEP: Step = Step::new("m0020_notification_readers", &[All(STATEMENTS)]);
