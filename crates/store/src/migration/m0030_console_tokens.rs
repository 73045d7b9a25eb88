//! Tokens with which somebody may look at a server's console for a while.

use sea_orm::ConnectionTrait as _;
use sea_orm_migration::prelude::*;

/// The step.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0030_console_tokens"
    }
}

const STATEMENTS: [&str; 3] = [
    "CREATE TABLE console_tokens (
        hash TEXT NOT NULL PRIMARY KEY,
        instance_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        host TEXT NOT NULL,
        port BIGINT NOT NULL,
        tls_port BIGINT,
        access_path TEXT,
        expires_at BIGINT NOT NULL)",
    "CREATE INDEX ix_console_tokens_instance ON console_tokens (instance_id, expires_at)",
    "CREATE INDEX ix_console_tokens_expired ON console_tokens (expires_at)",
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
