//! Table `outbox`.

use sea_orm::entity::prelude::*;

/// A row: an operation whose host has not reported yet.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub op_id: String,
    pub host: String,
    pub work: String,
    pub attempt: i64,
    pub next_send_at: i64,
    pub created_at: i64,
}

super::no_relations!();
