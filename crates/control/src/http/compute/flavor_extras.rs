//! Extra specs of flavors, and which projects may use a flavor that is not public.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use reprieve_core::ProjectId;
use reprieve_store::FlavorRecord;
use serde_json::{Value, json};

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, empty_answer, json_answer};
use super::policy;
use super::schema::{extra_specs, flavors as schema, python};
use super::versioned::rules;
use crate::app::{AppError, flavors};

/// `GET /flavors/{id}/os-extra_specs`.
pub async fn specs(call: ApiCall, Path(id): Path<String>) -> Answer {
    let flavor = flavors::get(&call.app(), &id).await?;
    call.authorize(policy::FLAVOR_SPECS_INDEX)?;
    Ok(json_answer(StatusCode::OK, &json!({"extra_specs": flavor.extra_specs})))
}

/// `POST /flavors/{id}/os-extra_specs`: adds to what is there.
pub async fn add_specs(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::EXTRA_SPECS)?;
    call.authorize(policy::FLAVOR_SPECS_CREATE)?;
    let flavor = flavors::get(&call.app(), &id).await?;
    let given = texts(body.get("extra_specs"));
    check_specs(&call, &given)?;
    let mut specs = flavor.extra_specs;
    specs.extend(given.clone());
    set_specs(&call, &id, specs).await?;
    Ok(json_answer(StatusCode::OK, &json!({"extra_specs": given})))
}

/// `GET /flavors/{id}/os-extra_specs/{key}`.
pub async fn spec(call: ApiCall, Path((id, key)): Path<(String, String)>) -> Answer {
    let flavor = flavors::get(&call.app(), &id).await?;
    call.authorize(policy::FLAVOR_SPECS_SHOW)?;
    let value = flavor.extra_specs.get(&key).ok_or_else(|| no_spec(&id, &key))?;
    Ok(json_answer(StatusCode::OK, &json!({key: value})))
}

/// `PUT /flavors/{id}/os-extra_specs/{key}`.
pub async fn set_spec(call: ApiCall, Path((id, key)): Path<(String, String)>) -> Answer {
    let body = call.body(&schema::EXTRA_SPEC)?;
    call.authorize(policy::FLAVOR_SPECS_UPDATE)?;
    let given = texts(Some(&body));
    check_specs(&call, &given)?;
    if !given.contains_key(&key) {
        return Err(ApiFault::bad_request("Request body and URI mismatch"));
    }
    let flavor = flavors::get(&call.app(), &id).await?;
    let mut specs = flavor.extra_specs;
    specs.extend(given.clone());
    set_specs(&call, &id, specs).await?;
    Ok(json_answer(StatusCode::OK, &json!(given)))
}

/// `DELETE /flavors/{id}/os-extra_specs/{key}`.
pub async fn remove_spec(call: ApiCall, Path((id, key)): Path<(String, String)>) -> Answer {
    call.authorize(policy::FLAVOR_SPECS_DELETE)?;
    let flavor = flavors::get(&call.app(), &id).await?;
    let mut specs = flavor.extra_specs;
    specs.remove(&key).ok_or_else(|| no_spec(&id, &key))?;
    set_specs(&call, &id, specs).await?;
    Ok(empty_answer(StatusCode::OK))
}

/// Keys of Nova's namespaces have to be Nova's.
fn check_specs(call: &ApiCall, given: &BTreeMap<String, String>) -> Result<(), ApiFault> {
    let checked = call.applies(rules::EXTRA_SPECS_ARE_CHECKED);
    given.iter().filter(|_| checked).try_for_each(|(name, value)| extra_specs::check(name, value))
}

fn no_spec(id: &str, key: &str) -> ApiFault {
    ApiFault::not_found(format!("Flavor {id} has no extra specs with key {key}."))
}

fn texts(value: Option<&Value>) -> BTreeMap<String, String> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    fields.map(|(key, value)| (key.clone(), python::str(value))).collect()
}

async fn set_specs(
    call: &ApiCall,
    id: &str,
    specs: BTreeMap<String, String>,
) -> Result<(), ApiFault> {
    let stored = call.control.store.set_flavor_specs(id, specs).await;
    stored.map(|_| ()).map_err(|error| AppError::from(error).into())
}

/// `GET /flavors/{id}/os-flavor-access`.
pub async fn access(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.authorize(policy::FLAVOR_ACCESS)?;
    let flavor = flavors::get(&call.app(), &id).await?;
    if flavor.is_public {
        return Err(ApiFault::not_found("Access list not available for public flavors."));
    }
    Ok(access_view(&flavor))
}

/// `POST /flavors/{id}/action`: `addTenantAccess` and `removeTenantAccess`.
pub async fn act(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.raw_body();
    let malformed = || ApiFault::bad_request("Malformed request body");
    let fields = body.as_object().ok_or_else(malformed)?;
    let mut pairs = fields.iter();
    let (Some((name, value)), None) = (pairs.next(), pairs.next()) else {
        return Err(malformed());
    };
    let add = match name.as_str() {
        "addTenantAccess" => true,
        "removeTenantAccess" => false,
        _ => return Err(ApiFault::bad_request(format!("There is no such action: {name}"))),
    };
    call.body(if add { &schema::ADD_ACCESS } else { &schema::REMOVE_ACCESS })?;
    let tenant = value.get("tenant").and_then(Value::as_str).unwrap_or_default();
    call.authorize(if add { policy::FLAVOR_ACCESS_ADD } else { policy::FLAVOR_ACCESS_REMOVE })?;
    let flavor = flavors::get(&call.app(), &id).await?;
    if add && flavor.is_public && call.applies(rules::PUBLIC_FLAVORS_STAY_PUBLIC) {
        return Err(ApiFault::conflict("Can not add access to a public flavor."));
    }
    let projects = changed(&flavor, &ProjectId::from(tenant), add)?;
    let stored = call.control.store.set_flavor_access(&id, projects).await;
    Ok(access_view(&stored.map_err(AppError::from)?))
}

fn changed(
    flavor: &FlavorRecord,
    project: &ProjectId,
    add: bool,
) -> Result<Vec<ProjectId>, ApiFault> {
    let id = &flavor.flavor_id;
    match (add, flavor.access.contains(project)) {
        (true, true) => Err(ApiFault::conflict(format!(
            "Flavor access already exists for flavor {id} and project {project} combination."
        ))),
        (false, false) => Err(ApiFault::not_found(format!(
            "Flavor access not found for {id} / {project} combination."
        ))),
        (true, false) => Ok(flavor.access.iter().cloned().chain([project.clone()]).collect()),
        (false, true) => {
            Ok(flavor.access.iter().filter(|kept| *kept != project).cloned().collect())
        }
    }
}

fn access_view(flavor: &FlavorRecord) -> Response {
    let list: Vec<Value> = flavor
        .access
        .iter()
        .map(|project| json!({"flavor_id": flavor.flavor_id, "tenant_id": project.as_str()}))
        .collect();
    json_answer(StatusCode::OK, &json!({"flavor_access": list}))
}
