//! `GET /limits`: what a project may have and has (spec/api.md section 10.7).

use axum::http::StatusCode;
use reprieve_core::ProjectId;
use reprieve_core::quota::Resource;
use serde_json::json;

use super::call::ApiCall;
use super::fault::{Answer, json_answer};
use super::policy;
use super::schema::quotas as schema;
use super::versioned::answers;
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
    let newest = json!({
        "maxTotalInstances": limits.get(Resource::Instances),
        "maxTotalCores": limits.get(Resource::Cores),
        "maxTotalRAMSize": limits.get(Resource::Ram),
        "maxServerMeta": limits.get(Resource::MetadataItems),
        "maxTotalKeypairs": limits.get(Resource::KeyPairs),
        "maxServerGroups": limits.get(Resource::ServerGroups),
        "maxServerGroupMembers": limits.get(Resource::ServerGroupMembers),
        "totalRAMUsed": used.servers.memory_mib,
        "totalCoresUsed": used.servers.vcpus,
        "totalInstancesUsed": used.servers.instances,
        "totalServerGroupsUsed": used.server_groups,
    });
    let absolute = call.as_asked(&answers::LIMITS, &limits, newest);
    let body = json!({"limits": {"rate": [], "absolute": absolute}});
    Ok(json_answer(StatusCode::OK, &body))
}
