//! Table `hosts`.

use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hosts")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub epoch: i64,
    pub boot_id: String,
    pub last_seq: i64,
    pub info: Option<String>,
    pub problem: Option<String>,
    pub enabled: bool,
    pub created_at: i64,
    pub last_seen: i64,
    pub number: i64,
    pub disabled_reason: Option<String>,
    pub forced_down: bool,
    pub changed_at: i64,
    pub machine_boot: Option<String>,
}

super::no_relations!();
