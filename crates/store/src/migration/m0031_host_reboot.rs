//! Restarts of hosts: which one was seen last, and which servers wait to be looked at after it.

use sea_orm::ConnectionTrait as _;
use sea_orm_migration::prelude::*;

/// The step.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0031_host_reboot"
    }
}

const STATEMENTS: [&str; 2] = [
    "ALTER TABLE hosts ADD COLUMN machine_boot TEXT",
    "ALTER TABLE instances ADD COLUMN host_reboot TEXT",
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
