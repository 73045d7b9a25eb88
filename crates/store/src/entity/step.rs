//! Table `op_events`.

use sea_orm::entity::prelude::*;

/// A row: one line of the audit of an operation.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "op_events")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub op_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    pub step: String,
    pub what: String,
    pub at: i64,
    pub detail: String,
}

super::no_relations!();
