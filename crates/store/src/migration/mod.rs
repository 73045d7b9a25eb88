//! Schema, as a list of steps that is only ever appended to.

use sea_orm_migration::prelude::*;

mod m0001_servers;

/// All steps, oldest first.
pub(crate) struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m0001_servers::Migration)]
    }
}
