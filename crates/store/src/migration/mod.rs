//! Schema, as a list of steps that is only ever appended to.

// The trait of the migration library hides the lifetime of `SchemaManager`; spelling it as `'_`
// would make async_trait generate another signature (E0195).
#![allow(elided_lifetimes_in_paths)]

use sea_orm_migration::prelude::*;

mod m0001_servers;
mod m0002_identity_images;

/// All steps, oldest first.
pub(crate) struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m0001_servers::Migration), Box::new(m0002_identity_images::Migration)]
    }
}
