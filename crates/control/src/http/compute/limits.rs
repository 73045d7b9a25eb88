//! `GET /limits`: what a project may have and has (spec/api.md section 10.7).

use axum::http::StatusCode;
use reprieve_core::ProjectId;
use reprieve_core::quota::{Resource, UNLIMITED};
use serde_json::{Value, json};

use super::call::ApiCall;
use super::fault::{Answer, json_answer};
use super::policy;
use super::schema::quotas as schema;
use crate::app::AppError;

/// `GET /limits`.
pub async fn limits(call: ApiCall) -> Answer {
    call.check_query(&schema::LIMITS)?;
    call.authorize(policy::LIMITS)?;
    let project = match call.query.get("tenant_id") {
        None => call.auth.project_id.clone(),
        Some(id) => {
            call.authorize(policy::LIMITS_OTHER)?;
            ProjectId::from(id)
        }
    };
    let store = &call.control.store;
    let limits = store.quota_limits(&project, None).await.map_err(AppError::from)?;
    let used = store.quota_use(&project, None).await.map_err(AppError::from)?;
    let mut absolute = serde_json::Map::new();
    let mut insert = |name: &str, value: i64| {
        absolute.insert(name.to_owned(), Value::from(value));
    };
    insert("maxTotalInstances", limits.get(Resource::Instances));
    insert("maxTotalCores", limits.get(Resource::Cores));
    insert("maxTotalRAMSize", limits.get(Resource::Ram));
    insert("maxServerMeta", limits.get(Resource::MetadataItems));
    insert("maxTotalKeypairs", limits.get(Resource::KeyPairs));
    insert("maxServerGroups", limits.get(Resource::ServerGroups));
    insert("maxServerGroupMembers", limits.get(Resource::ServerGroupMembers));
    insert("totalRAMUsed", used.servers.memory_mib);
    insert("totalCoresUsed", used.servers.vcpus);
    insert("totalInstancesUsed", used.servers.instances);
    insert("totalServerGroupsUsed", used.server_groups);
    if call.version.until(38) {
        insert("maxImageMeta", limits.get(Resource::MetadataItems));
    }
    if call.version.until(56) {
        insert("maxPersonality", limits.get(Resource::InjectedFiles));
        insert("maxPersonalitySize", limits.get(Resource::InjectedFileContentBytes));
    }
    if call.version.until(35) {
        insert("maxSecurityGroups", UNLIMITED);
        insert("maxSecurityGroupRules", UNLIMITED);
        insert("maxTotalFloatingIps", UNLIMITED);
        insert("totalSecurityGroupsUsed", 0);
        insert("totalFloatingIpsUsed", 0);
    }
    let body = json!({"limits": {"rate": [], "absolute": absolute}});
    Ok(json_answer(StatusCode::OK, &body))
}
