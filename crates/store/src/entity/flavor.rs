//! Table `flavors`.

use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "flavors")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub flavor_id: String,
    pub name: String,
    pub vcpus: i64,
    pub memory_mib: i64,
    pub root_gib: i64,
    pub ephemeral_gib: i64,
    pub swap_mib: i64,
    pub rxtx_factor: f64,
    pub is_public: bool,
    pub description: Option<String>,
    pub extra_specs: String,
    pub access: String,
    pub created_at: i64,
    pub updated_at: Option<i64>,
}

super::no_relations!();
