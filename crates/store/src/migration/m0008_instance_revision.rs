//! What tells whether a server changed since it was read.

use sea_orm::ConnectionTrait as _;
use sea_orm_migration::prelude::*;

/// The step.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0008_instance_revision"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statement = "ALTER TABLE instances ADD COLUMN revision BIGINT NOT NULL DEFAULT 1";
        manager.get_connection().execute_unprepared(statement).await.map(drop)
    }
}
