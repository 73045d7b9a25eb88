//! Changes of servers that notifications are made from.

use super::Part::On;
use super::Step;
use crate::db::Dialect;

/// SQLite gives a row the number after the largest one; as the newest row is never removed, numbers
/// grow without gaps and are never given out twice.
const NOTIFICATIONS: &[&str] = &["CREATE TABLE notifications (
        id INTEGER NOT NULL PRIMARY KEY,
        project_id TEXT NOT NULL,
        at BIGINT NOT NULL,
        change TEXT NOT NULL)"];

/// The others get the numbers from a counter: those of a sequence have gaps, and are not in the order
/// of commits.
const ON_SERVERS: &[&str] = &[
    "CREATE TABLE notifications (
        id BIGINT NOT NULL PRIMARY KEY,
        project_id TEXT NOT NULL,
        at BIGINT NOT NULL,
        \"change\" TEXT NOT NULL)",
    "INSERT INTO counters (name, value) VALUES ('notification', 0)",
];

/// The step.
pub(super) const STEP: Step = Step::new(
    "m0007_notifications",
    &[
        On(&[Dialect::Sqlite], NOTIFICATIONS),
        On(&[Dialect::Postgres, Dialect::MariaDb], ON_SERVERS),
    ],
);
