//! Table `notification_readers`.

use sea_orm::entity::prelude::*;

/// A row: how far a reader of notifications has come, and which process reads for it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notification_readers")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub passed: i64,
    pub holder: String,
    pub held_until: i64,
}

super::no_relations!();
