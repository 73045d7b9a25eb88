//! Table `quota_classes`.

use sea_orm::entity::prelude::*;

/// A row: a limit of a class. Those of the class `default` hold wherever nothing else is set.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "quota_classes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub resource: String,
    pub hard_limit: i64,
}

super::no_relations!();
