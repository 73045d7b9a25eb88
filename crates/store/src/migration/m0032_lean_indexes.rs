//! Indexes that cost a change of a server or an operation less.
//!
//! PostgreSQL writes a row that changes into all of its table's indexes again, unless no column of any
//! index has changed and its page has room for the new row. What changes with every operation is
//! therefore in no index of servers there, and their pages are filled in part. `changes-since` reads
//! all servers of the project for that, and a list their revisions from the servers themselves.
//!
//! Nobody looks for what waits for an operation, and for the end of one only while it has none.

use super::Part::{All, On};
use super::Step;
use crate::db::Dialect::{Postgres, Sqlite};

const EVERYWHERE: &[&str] = &["DROP INDEX ix_operations_after /*M! ON operations */"];

const OPEN: &[&str] = &[
    "DROP INDEX ix_operations_open",
    "CREATE INDEX ix_operations_open ON operations (deadline_at) WHERE finished_at IS NULL",
];

const ON_POSTGRES: &[&str] = &[
    "DROP INDEX ix_instances_updated",
    "DROP INDEX ix_instances_project",
    "CREATE INDEX ix_instances_project ON instances
        (project_id, deleted_at, created_at, number, id)",
    "ALTER TABLE instances SET (fillfactor = 60)",
];

/// The step.
pub(super) const STEP: Step = Step::new(
    "m0032_lean_indexes",
    &[All(EVERYWHERE), On(&[Sqlite, Postgres], OPEN), On(&[Postgres], ON_POSTGRES)],
);
