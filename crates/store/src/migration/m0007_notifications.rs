//! Changes of servers that notifications are made from.

use sea_orm::ConnectionTrait as _;
use sea_orm_migration::prelude::*;

/// The step.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0007_notifications"
    }
}

/// SQLite gives a row the number after the largest one; as the newest row is never removed, numbers
/// grow without gaps and are never given out twice.
const NOTIFICATIONS: &[&str] = &["CREATE TABLE notifications (
        id INTEGER NOT NULL PRIMARY KEY,
        project_id TEXT NOT NULL,
        at BIGINT NOT NULL,
        change TEXT NOT NULL)"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in NOTIFICATIONS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
