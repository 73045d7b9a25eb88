//! How far those who pass notifications on have come.

use sea_orm::ConnectionTrait as _;
use sea_orm_migration::prelude::*;

/// The step.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0020_notification_readers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statement = "CREATE TABLE notification_readers (
            name TEXT NOT NULL PRIMARY KEY,
            passed BIGINT NOT NULL,
            holder TEXT NOT NULL,
            held_until BIGINT NOT NULL)";
        manager.get_connection().execute_unprepared(statement).await.map(drop)
    }
}
