//! Table `aggregates`.

use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "aggregates")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i64,
    pub uuid: String,
    pub name: String,
    pub hosts: String,
    pub metadata: String,
    pub created_at: i64,
    pub updated_at: Option<i64>,
}

super::no_relations!();
