//! An index from which a project's list of servers is read without the servers themselves.

use super::Part::All;
use super::Step;

/// In the default order of lists; what is only read comes last.
const STATEMENTS: &[&str] = &[
    "DROP INDEX ix_instances_project /*M! ON instances */",
    "CREATE INDEX ix_instances_project ON instances
        (project_id, deleted_at, created_at, number, id, revision)",
];

/// The step.
pub(super) const STEP: Step = Step::new("m0021_list_index", &[All(STATEMENTS)]);
