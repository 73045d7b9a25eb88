//! Quotas of projects, users and classes (spec/api.md section 10.8).
//!
//! There is no network service: quotas of networks are kept and shown while Nova had them, and limit
//! nothing.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::policy::Rule;
use reprieve_core::quota::{Limits, Resource, UNLIMITED};
use reprieve_core::{ProjectId, UserId};
use reprieve_store::QuotaUse;
use serde_json::{Value, json};

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, empty_answer, json_answer};
use super::policy;
use super::schema::quotas as schema;
use super::schema::types::{as_integer, is_true};
use super::versioned::answers;
use crate::app::{AppError, quotas};

/// What a quota is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// What this service has.
    Servers,
    /// Injected files, until 2.56.
    Files,
    /// Networks, until 2.35 and in classes until 2.49.
    Networks,
}

/// What a quota is about.
#[must_use]
pub const fn about(resource: Resource) -> About {
    match resource {
        Resource::InjectedFileContentBytes
        | Resource::InjectedFilePathBytes
        | Resource::InjectedFiles => About::Files,
        Resource::FixedIps
        | Resource::FloatingIps
        | Resource::SecurityGroupRules
        | Resource::SecurityGroups => About::Networks,
        Resource::Cores
        | Resource::Instances
        | Resource::KeyPairs
        | Resource::MetadataItems
        | Resource::Ram
        | Resource::ServerGroupMembers
        | Resource::ServerGroups => About::Servers,
    }
}

/// What the values of a quota set are made of.
pub struct Figures {
    /// Limits.
    pub limits: Limits,
    /// What there is, for answers that tell it, too.
    pub used: Option<QuotaUse>,
}

impl Figures {
    /// The value of a quota; one that is no resource has no limit.
    #[must_use]
    pub fn of(&self, name: &str) -> Value {
        let resource = Resource::parse(name);
        let limit = resource.map_or(UNLIMITED, |one| self.limits.get(one));
        let Some(used) = &self.used else { return limit.into() };
        let in_use = resource.map_or(0, |one| used.of(one));
        json!({"limit": limit, "in_use": in_use, "reserved": 0})
    }

    /// All quotas that there are in the newest version.
    fn newest(&self) -> Value {
        let own = Resource::ALL.iter().filter(|resource| about(**resource) == About::Servers);
        own.map(|resource| (resource.as_str().to_owned(), self.of(resource.as_str()))).collect()
    }
}

/// A quota set of a project or a user; with its id, unless it was just set.
fn set(call: &ApiCall, id: Option<&str>, figures: &Figures) -> Answer {
    let set = call.as_asked(&answers::QUOTA_SET, figures, figures.newest());
    answer("quota_set", id, set)
}

/// A quota set of a class; with its name, unless it was just set.
fn class_set(call: &ApiCall, name: Option<&str>, limits: Limits) -> Answer {
    let figures = Figures { limits, used: None };
    let set = call.as_asked(&answers::QUOTA_CLASS_SET, &figures, figures.newest());
    answer("quota_class_set", name, set)
}

fn answer(key: &str, id: Option<&str>, mut set: Value) -> Answer {
    if let (Some(id), Some(fields)) = (id, set.as_object_mut()) {
        fields.shift_insert(0, "id".to_owned(), id.into());
    }
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
    set(&call, Some(&id), &Figures { limits, used: None })
}

/// `GET /os-quota-sets/{project}/defaults`.
pub async fn defaults(call: ApiCall, Path(id): Path<String>) -> Answer {
    project(&call, &id, policy::QUOTAS_DEFAULTS).await?;
    let limits = call.control.store.default_limits().await.map_err(AppError::from)?;
    set(&call, Some(&id), &Figures { limits, used: None })
}

/// `GET /os-quota-sets/{project}/detail`.
pub async fn detail(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.check_query(&schema::QUERY)?;
    let project = project(&call, &id, policy::QUOTAS_DETAIL).await?;
    let (store, user) = (&call.control.store, user(&call));
    let limits = store.quota_limits(&project, user.as_ref()).await.map_err(AppError::from)?;
    let used = store.quota_use(&project, user.as_ref()).await.map_err(AppError::from)?;
    set(&call, Some(&id), &Figures { limits, used: Some(used) })
}

/// `PUT /os-quota-sets/{project}`.
pub async fn update(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::UPDATE)?;
    call.check_query(&schema::QUERY)?;
    let project = project(&call, &id, policy::QUOTAS_UPDATE).await?;
    let given = body.get("quota_set").unwrap_or(&Value::Null);
    let force = given.get("force").is_some_and(is_true);
    let (user, wanted) = (user(&call), wanted(given));
    let owner = (&project, user.as_ref());
    let limits = quotas::set(&call.app(), owner, &wanted, force).await?;
    set(&call, None, &Figures { limits, used: None })
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
    class_set(&call, Some(&class), limits)
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
    class_set(&call, None, limits)
}
