//! Table `operations`.

use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "operations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub instance_id: String,
    pub kind: Option<String>,
    pub action: String,
    pub event: Option<String>,
    pub state: String,
    pub active_key: Option<String>,
    pub after_op: Option<String>,
    pub request_id: String,
    pub user_id: String,
    pub project_id: String,
    pub host: Option<String>,
    pub generation: i64,
    pub prior: String,
    pub plan_version: i64,
    pub step: Option<i64>,
    pub step_name: Option<String>,
    pub progress: i32,
    pub attempt: i64,
    pub args: String,
    pub deadline_at: Option<i64>,
    pub error: Option<String>,
    pub needs_attention: bool,
    pub created_at: i64,
    pub updated_at: i64,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    pub report_epoch: i64,
    pub report_seq: i64,
}

super::no_relations!();
