//! Table `console_tokens`.

use sea_orm::entity::prelude::*;

/// A row: where a token leads, until when.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "console_tokens")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub hash: String,
    pub instance_id: String,
    pub kind: String,
    pub host: String,
    pub port: i64,
    pub tls_port: Option<i64>,
    pub access_path: Option<String>,
    pub expires_at: i64,
}

super::no_relations!();
