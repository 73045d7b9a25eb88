//! Table `notifications`.

use sea_orm::entity::prelude::*;

/// A row: a change of a server, for those who want to know.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notifications")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub project_id: String,
    pub at: i64,
    pub change: String,
}

super::no_relations!();
