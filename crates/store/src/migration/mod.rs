//! Schema, as a list of steps that is only ever appended to.

// The trait of the migration library hides the lifetime of `SchemaManager`; spelling it as `'_`
// would make async_trait generate another signature (E0195).
#![allow(elided_lifetimes_in_paths)]

use sea_orm_migration::prelude::*;

mod m0001_servers;
mod m0002_identity_images;
mod m0003_hosts;
mod m0004_quotas;
mod m0006_application_credentials;
mod m0007_notifications;
mod m0008_instance_revision;
mod m0020_notification_readers;
mod m0021_list_index;
mod m0030_console_tokens;
mod m0031_host_reboot;

/// All steps, oldest first.
pub(crate) struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_servers::Migration),
            Box::new(m0002_identity_images::Migration),
            Box::new(m0003_hosts::Migration),
            Box::new(m0004_quotas::Migration),
            Box::new(m0006_application_credentials::Migration),
            Box::new(m0007_notifications::Migration),
            Box::new(m0008_instance_revision::Migration),
            Box::new(m0020_notification_readers::Migration),
            Box::new(m0021_list_index::Migration),
            Box::new(m0030_console_tokens::Migration),
            Box::new(m0031_host_reboot::Migration),
        ]
    }
}

#[cfg(test)]
mod tests {
    use sea_orm_migration::sea_orm::{Database, DatabaseConnection, DbBackend, Statement};

    use super::*;

    async fn schema(db: &DatabaseConnection) -> Vec<String> {
        let sql = "SELECT coalesce(sql, name) AS text FROM sqlite_master ORDER BY type, name";
        let statement = Statement::from_string(DbBackend::Sqlite, sql);
        let rows = db.query_all_raw(statement).await.unwrap();
        rows.iter().map(|row| row.try_get_by("text").unwrap()).collect()
    }

    /// A database that grew with every release looks like one that was made today.
    #[tokio::test]
    async fn upgraded_is_fresh() {
        let dir = tempfile::TempDir::new().unwrap();
        let url = |name: &str| format!("sqlite://{}?mode=rwc", dir.path().join(name).display());
        let fresh = Database::connect(url("fresh.db")).await.unwrap();
        Migrator::up(&fresh, None).await.unwrap();
        let upgraded = Database::connect(url("upgraded.db")).await.unwrap();
        for _ in Migrator::migrations() {
            Migrator::up(&upgraded, Some(1)).await.unwrap();
        }
        let tables = schema(&fresh).await;
        assert!(tables.len() > 20);
        assert_eq!(schema(&upgraded).await, tables);
    }
}
