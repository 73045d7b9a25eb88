//! An index from which a project's list of servers is read without the servers themselves.

use sea_orm::ConnectionTrait as _;
use sea_orm_migration::prelude::*;

/// The step.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0021_list_index"
    }
}

/// In the default order of lists; what is only read comes last.
const STATEMENTS: [&str; 2] = [
    "DROP INDEX ix_instances_project",
    "CREATE INDEX ix_instances_project ON instances
        (project_id, deleted_at, created_at, number, id, revision)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
