//! Table `server_groups`.

use sea_orm::entity::prelude::*;

/// A row. Its members are the servers that name it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "server_groups")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub user_id: String,
    pub name: String,
    pub policy: String,
    pub max_per_host: Option<i64>,
    pub created_at: i64,
}

super::no_relations!();
