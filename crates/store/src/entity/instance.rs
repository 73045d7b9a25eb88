//! Table `instances`.

use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "instances")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub number: i64,
    pub project_id: String,
    pub user_id: String,
    pub name: String,
    pub description: Option<String>,
    pub hostname: String,
    pub image: Option<String>,
    pub image_id: Option<String>,
    pub flavor: String,
    pub flavor_id: String,
    pub vcpus: i64,
    pub memory_mib: i64,
    pub root_gib: i64,
    pub metadata: String,
    pub tags: String,
    pub key_name: Option<String>,
    pub public_keys: String,
    pub user_data: Option<String>,
    pub admin_password: Option<String>,
    pub config_drive: bool,
    pub availability_zone: String,
    pub host: Option<String>,
    pub vm_state: String,
    pub task_state: Option<String>,
    pub active_op: Option<String>,
    pub active_kind: Option<String>,
    pub power_state: i32,
    pub power_reason: String,
    pub progress: i32,
    pub locked_by: Option<String>,
    pub locked_reason: Option<String>,
    pub fault: Option<String>,
    pub launched_at: Option<i64>,
    pub terminated_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
    pub deleted_at: Option<i64>,
    pub generation: i64,
    pub obs_epoch: i64,
    pub obs_seq: i64,
    pub reservation_id: String,
    pub launch_index: i64,
    pub disk_config: String,
    pub access_ip_v4: Option<String>,
    pub access_ip_v6: Option<String>,
    pub rescue_stashed: bool,
    pub requested_zone: Option<String>,
    pub server_group: Option<String>,
    pub scheduler_hints: Option<String>,
    pub revision: i64,
    pub host_reboot: Option<String>,
}

super::no_relations!();
