//! Quotas and server groups, and what servers remember of the request that made them.

use super::Part::All;
use super::Step;

/// Only what somebody has set is in a row. `user_id` is empty for the limit of a whole project. A
/// server leaves its group when the group is deleted.
const STATEMENTS: &[&str] = &[
    "CREATE TABLE quotas (
        project_id TEXT(255) NOT NULL,
        user_id TEXT(255) NOT NULL,
        resource TEXT(64) NOT NULL,
        hard_limit BIGINT NOT NULL CHECK (hard_limit >= -1),
        PRIMARY KEY (project_id, user_id, resource))",
    "CREATE TABLE quota_classes (
        name TEXT(255) NOT NULL,
        resource TEXT(64) NOT NULL,
        hard_limit BIGINT NOT NULL CHECK (hard_limit >= -1),
        PRIMARY KEY (name, resource))",
    "CREATE TABLE server_groups (
        id TEXT(36) NOT NULL PRIMARY KEY,
        project_id TEXT(255) NOT NULL,
        user_id TEXT NOT NULL,
        name TEXT NOT NULL,
        policy TEXT NOT NULL CHECK (policy IN ('affinity', 'anti-affinity', 'soft-affinity',
            'soft-anti-affinity')),
        max_per_host BIGINT CHECK (max_per_host > 0),
        created_at BIGINT NOT NULL)",
    "CREATE INDEX ix_server_groups_project ON server_groups (project_id, created_at)",
    "ALTER TABLE instances ADD COLUMN server_group TEXT(36)
        REFERENCES server_groups (id) ON DELETE SET NULL",
    "ALTER TABLE instances ADD COLUMN scheduler_hints TEXT",
    "CREATE INDEX ix_instances_group ON instances (server_group)",
];

/// The step.
pub(super) const STEP: Step = Step::new("m0004_quotas", &[All(STATEMENTS)]);
