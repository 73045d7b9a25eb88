//! What a project may use and does use: limits and quotas (spec/api.md sections 10.7 and 10.8).
//!
//! There are no quotas on servers, cores and memory: they are shown as -1, unlimited, as Nova shows
//! them. The others are Nova's defaults and are enforced where they apply.

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::ProjectId;
use reprieve_store::Usage;
use serde_json::{Map, Value, json};

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, json_answer};
use super::policy;
use super::servers::metadata::MAX_ITEMS;
use crate::app::AppError;

/// Key pairs of a user.
const KEY_PAIRS: i64 = 100;
/// Server groups of a project; there are none yet, but clients want the number.
const GROUPS: i64 = 10;
const UNLIMITED: i64 = -1;

async fn used(call: &ApiCall, project: &ProjectId) -> Result<Usage, ApiFault> {
    Ok(call.control.store.usage_of_project(project).await.map_err(AppError::from)?)
}

/// `GET /limits`.
pub async fn limits(call: ApiCall) -> Answer {
    call.authorize(policy::LIMITS)?;
    let project = match call.query.get("tenant_id") {
        None => call.auth.project_id.clone(),
        Some(id) => {
            call.authorize(policy::LIMITS_OTHER)?;
            id.into()
        }
    };
    let used = used(&call, &project).await?;
    let mut absolute = json!({
        "maxTotalInstances": UNLIMITED,
        "maxTotalCores": UNLIMITED,
        "maxTotalRAMSize": UNLIMITED,
        "maxServerMeta": MAX_ITEMS,
        "maxTotalKeypairs": KEY_PAIRS,
        "maxServerGroups": GROUPS,
        "maxServerGroupMembers": GROUPS,
        "totalRAMUsed": used.memory_mib,
        "totalCoresUsed": used.vcpus,
        "totalInstancesUsed": used.instances,
        "totalServerGroupsUsed": 0,
    });
    if let Some(fields) = absolute.as_object_mut() {
        let mut insert = |name: &str, value: i64| fields.insert(name.to_owned(), json!(value));
        if call.version.until(38) {
            insert("maxImageMeta", 128);
        }
        if call.version.until(56) {
            insert("maxPersonality", 5);
            insert("maxPersonalitySize", 10240);
        }
        if call.version.until(35) {
            insert("maxSecurityGroups", UNLIMITED);
            insert("maxSecurityGroupRules", UNLIMITED);
            insert("maxTotalFloatingIps", UNLIMITED);
            insert("totalSecurityGroupsUsed", 0);
            insert("totalFloatingIpsUsed", 0);
        }
    }
    let body = json!({"limits": {"rate": [], "absolute": absolute}});
    Ok(json_answer(StatusCode::OK, &body))
}

/// Name and limit of every quota at this version.
fn quotas(call: &ApiCall) -> Vec<(&'static str, i64)> {
    let mut quotas = vec![("cores", UNLIMITED)];
    if call.version.until(35) {
        quotas.extend([("fixed_ips", UNLIMITED), ("floating_ips", UNLIMITED)]);
    }
    if call.version.until(56) {
        quotas.extend([
            ("injected_file_content_bytes", 10240),
            ("injected_file_path_bytes", 255),
            ("injected_files", 5),
        ]);
    }
    quotas.extend([
        ("instances", UNLIMITED),
        ("key_pairs", KEY_PAIRS),
        ("metadata_items", i64::try_from(MAX_ITEMS).unwrap_or(i64::MAX)),
        ("ram", UNLIMITED),
    ]);
    if call.version.until(35) {
        quotas.extend([("security_group_rules", UNLIMITED), ("security_groups", UNLIMITED)]);
    }
    quotas.extend([("server_group_members", GROUPS), ("server_groups", GROUPS)]);
    quotas
}

fn quota_answer(project: &str, quotas: impl IntoIterator<Item = (&'static str, Value)>) -> Answer {
    let mut set = Map::new();
    set.insert("id".to_owned(), project.into());
    set.extend(quotas.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Ok(json_answer(StatusCode::OK, &json!({"quota_set": set})))
}

/// `GET /os-quota-sets/{project}`.
pub async fn show(call: ApiCall, Path(project): Path<String>) -> Answer {
    call.authorize_about(policy::QUOTAS_SHOW, &ProjectId::from(project.as_str()))?;
    let quotas = quotas(&call);
    quota_answer(&project, quotas.into_iter().map(|(name, limit)| (name, json!(limit))))
}

/// `GET /os-quota-sets/{project}/defaults`.
pub async fn defaults(call: ApiCall, Path(project): Path<String>) -> Answer {
    call.authorize(policy::QUOTAS_DEFAULTS)?;
    let quotas = quotas(&call);
    quota_answer(&project, quotas.into_iter().map(|(name, limit)| (name, json!(limit))))
}

/// `GET /os-quota-sets/{project}/detail`.
pub async fn detail(call: ApiCall, Path(project): Path<String>) -> Answer {
    let id = ProjectId::from(project.as_str());
    call.authorize_about(policy::QUOTAS_DETAIL, &id)?;
    let used = used(&call, &id).await?;
    let quotas = quotas(&call);
    quota_answer(
        &project,
        quotas.into_iter().map(|(name, limit)| {
            let in_use = match name {
                "cores" => used.vcpus,
                "instances" => used.instances,
                "ram" => used.memory_mib,
                _ => 0,
            };
            (name, json!({"limit": limit, "in_use": in_use, "reserved": 0}))
        }),
    )
}
