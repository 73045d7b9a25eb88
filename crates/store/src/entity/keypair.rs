//! Table `keypairs`.

use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "keypairs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub number: i64,
    pub kind: String,
    pub public_key: String,
    pub fingerprint: String,
    pub created_at: i64,
}

super::no_relations!();
