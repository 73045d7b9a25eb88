//! Quotas of projects, users and classes (spec/api.md section 10.8).
//!
//! There is no network service: quotas of networks are shown unlimited while Nova had them, and
//! setting them changes nothing.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::policy::Rule;
use reprieve_core::quota::{Limits, Resource, UNLIMITED};
use reprieve_core::{ProjectId, UserId};
use serde_json::{Map, Value, json};

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, empty_answer, json_answer};
use super::policy;
use super::schema::quotas as schema;
use super::schema::types::{as_integer, is_true};
use crate::app::{AppError, quotas};

/// Quotas of networks, until 2.35.
pub const NETWORKS: [&str; 4] =
    ["fixed_ips", "floating_ips", "security_group_rules", "security_groups"];

/// Which quotas an answer has: by name, and `None` for those of networks.
type Names = Vec<(&'static str, Option<Resource>)>;

/// Whether it is a quota of injected files, which there are until 2.56.
#[must_use]
pub const fn of_files(resource: Resource) -> bool {
    match resource {
        Resource::InjectedFileContentBytes
        | Resource::InjectedFilePathBytes
        | Resource::InjectedFiles => true,
        Resource::Cores
        | Resource::Instances
        | Resource::KeyPairs
        | Resource::MetadataItems
        | Resource::Ram
        | Resource::ServerGroupMembers
        | Resource::ServerGroups => false,
    }
}

fn names(call: &ApiCall, networks: bool) -> Names {
    let visible = |resource: &Resource| call.version.until(56) || !of_files(*resource);
    let own = Resource::ALL.iter().copied().filter(visible);
    let mut names: Names = own.map(|resource| (resource.as_str(), Some(resource))).collect();
    if networks {
        names.extend(NETWORKS.map(|name| (name, None)));
    }
    names.sort_unstable_by_key(|(name, _)| *name);
    names
}

fn of_project(call: &ApiCall) -> Names {
    names(call, call.version.until(35))
}

/// Classes lacked server groups and kept networks until 2.49.
fn of_class(call: &ApiCall) -> Names {
    let old = call.version.until(49);
    let mut names = names(call, old);
    names.retain(|(name, _)| !(old && name.starts_with("server_group")));
    names
}

fn shown(names: Names, limits: &Limits) -> Map<String, Value> {
    let limit = |resource: Option<Resource>| resource.map_or(UNLIMITED, |one| limits.get(one));
    names.into_iter().map(|(name, resource)| (name.to_owned(), limit(resource).into())).collect()
}

fn answer(key: &str, id: Option<&str>, quotas: Map<String, Value>) -> Answer {
    let mut set = Map::new();
    if let Some(id) = id {
        set.insert("id".to_owned(), id.into());
    }
    set.extend(quotas);
    Ok(json_answer(StatusCode::OK, &json!({key: set})))
}

/// The project of a URL, if it exists and `rule` holds for it.
async fn project(call: &ApiCall, id: &str, rule: Rule) -> Result<ProjectId, ApiFault> {
    let project = ProjectId::from(id);
    call.authorize_about(rule, &project)?;
    quotas::require_project(&call.app(), &project).await?;
    Ok(project)
}

/// Whose quotas within the project; the first that is named counts.
fn user(call: &ApiCall) -> Option<UserId> {
    call.query.all("user_id").next().filter(|id| !id.is_empty()).map(UserId::from)
}

/// `GET /os-quota-sets/{project}`.
pub async fn show(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.check_query(&schema::QUERY)?;
    let project = project(&call, &id, policy::QUOTAS_SHOW).await?;
    let limits = call.control.store.quota_limits(&project, user(&call).as_ref()).await;
    let limits = limits.map_err(AppError::from)?;
    answer("quota_set", Some(&id), shown(of_project(&call), &limits))
}

/// `GET /os-quota-sets/{project}/defaults`.
pub async fn defaults(call: ApiCall, Path(id): Path<String>) -> Answer {
    project(&call, &id, policy::QUOTAS_DEFAULTS).await?;
    let limits = call.control.store.default_limits().await.map_err(AppError::from)?;
    answer("quota_set", Some(&id), shown(of_project(&call), &limits))
}

/// `GET /os-quota-sets/{project}/detail`.
pub async fn detail(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.check_query(&schema::QUERY)?;
    let project = project(&call, &id, policy::QUOTAS_DETAIL).await?;
    let (store, user) = (&call.control.store, user(&call));
    let limits = store.quota_limits(&project, user.as_ref()).await.map_err(AppError::from)?;
    let used = store.quota_use(&project, user.as_ref()).await.map_err(AppError::from)?;
    let detailed = |(name, resource): (&str, Option<Resource>)| {
        let limit = resource.map_or(UNLIMITED, |one| limits.get(one));
        let in_use = resource.map_or(0, |one| used.of(one));
        (name.to_owned(), json!({"limit": limit, "in_use": in_use, "reserved": 0}))
    };
    answer("quota_set", Some(&id), of_project(&call).into_iter().map(detailed).collect())
}

/// `PUT /os-quota-sets/{project}`.
pub async fn update(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::UPDATE)?;
    call.check_query(&schema::QUERY)?;
    let project = project(&call, &id, policy::QUOTAS_UPDATE).await?;
    let set = body.get("quota_set").unwrap_or(&Value::Null);
    let force = set.get("force").is_some_and(is_true);
    let (user, wanted) = (user(&call), wanted(set));
    let owner = (&project, user.as_ref());
    let limits = quotas::set(&call.app(), owner, &wanted, force).await?;
    answer("quota_set", None, shown(of_project(&call), &limits))
}

/// Validated limits, in the order given.
fn wanted(set: &Value) -> Vec<(Resource, i64)> {
    let fields = set.as_object().into_iter().flatten();
    fields.filter_map(|(name, value)| Some((Resource::parse(name)?, as_integer(value)?))).collect()
}

/// `DELETE /os-quota-sets/{project}`: back to the defaults.
pub async fn delete(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.check_query(&schema::QUERY)?;
    let project = ProjectId::from(id);
    call.authorize_about(policy::QUOTAS_DELETE, &project)?;
    let cleared = call.control.store.clear_quota_limits(&project, user(&call).as_ref()).await;
    cleared.map_err(AppError::from)?;
    Ok(empty_answer(StatusCode::ACCEPTED))
}

/// `GET /os-quota-class-sets/{class}`.
pub async fn class(call: ApiCall, Path(class): Path<String>) -> Answer {
    call.authorize(policy::QUOTA_CLASS_SHOW)?;
    let limits = call.control.store.class_limits(&class).await.map_err(AppError::from)?;
    answer("quota_class_set", Some(&class), shown(of_class(&call), &limits))
}

/// `PUT /os-quota-class-sets/{class}`.
pub async fn update_class(call: ApiCall, Path(class): Path<String>) -> Answer {
    let body = call.body(&schema::UPDATE_CLASS)?;
    call.authorize(policy::QUOTA_CLASS_UPDATE)?;
    let limits = wanted(body.get("quota_class_set").unwrap_or(&Value::Null));
    let limits: BTreeMap<Resource, i64> = limits.into_iter().collect();
    let store = &call.control.store;
    store.set_class_limits(&class, &limits).await.map_err(AppError::from)?;
    let limits = store.class_limits(&class).await.map_err(AppError::from)?;
    answer("quota_class_set", None, shown(of_class(&call), &limits))
}
