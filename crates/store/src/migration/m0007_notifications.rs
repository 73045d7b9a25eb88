//! Changes of servers that notifications are made from.

use sea_orm::{ConnectionTrait as _, DbBackend};
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

/// PostgreSQL gets the numbers from a counter: those of a sequence have gaps, and are not in the
/// order of commits.
const ON_POSTGRES: &[&str] = &[
    "CREATE TABLE notifications (
        id BIGINT NOT NULL PRIMARY KEY,
        project_id TEXT NOT NULL,
        at BIGINT NOT NULL,
        change TEXT NOT NULL)",
    "INSERT INTO counters (name, value) VALUES ('notification', 0)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statements = match manager.get_database_backend() {
            DbBackend::Postgres => ON_POSTGRES,
            _ => NOTIFICATIONS,
        };
        for statement in statements {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
