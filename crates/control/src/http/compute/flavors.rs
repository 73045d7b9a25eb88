//! Flavors, their extra specs and who may use them (spec/api.md section 10.1).

use std::cmp::Ordering;

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_store::{FlavorQuery, FlavorRecord, NewFlavor};
use serde_json::{Value, json};
use uuid::Uuid;

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, empty_answer, json_answer};
use super::paging;
use super::policy;
use super::schema::flavors as schema;
use super::schema::python;
use super::schema::types::{as_integer, is_true};
use super::versioned::{answers, queries};
use crate::app::flavors;

/// `GET /flavors`.
pub async fn index(call: ApiCall) -> Answer {
    list(&call, "flavors", summary).await
}

/// `GET /flavors/detail`.
pub async fn detail(call: ApiCall) -> Answer {
    list(&call, "flavors/detail", full).await
}

/// `GET /flavors/{id}`.
pub async fn show(call: ApiCall, Path(id): Path<String>) -> Answer {
    let flavor = flavors::get(&call.app(), &id).await?;
    Ok(json_answer(StatusCode::OK, &json!({"flavor": full(&call, &flavor)})))
}

/// `POST /flavors`.
pub async fn create(call: ApiCall) -> Answer {
    let body = call.body(&schema::CREATE)?;
    call.authorize(policy::FLAVOR_CREATE)?;
    let field = |name: &str| body.get("flavor").and_then(|flavor| flavor.get(name));
    let number = |name: &str| {
        let value = field(name).and_then(as_integer).unwrap_or_default();
        u64::try_from(value).unwrap_or_default()
    };
    let id = field("id").filter(|id| !id.is_null()).map(python::str);
    let new = NewFlavor {
        flavor_id: id.unwrap_or_else(|| Uuid::new_v4().to_string()),
        name: field("name").map(python::str).unwrap_or_default(),
        vcpus: u32::try_from(number("vcpus")).unwrap_or(u32::MAX),
        memory_mib: number("ram"),
        root_gib: number("disk"),
        ephemeral_gib: number("OS-FLV-EXT-DATA:ephemeral"),
        swap_mib: number("swap"),
        rxtx_factor: field("rxtx_factor").and_then(as_factor).unwrap_or(1.0),
        is_public: field("os-flavor-access:is_public").is_none_or(is_true),
        description: field("description").and_then(Value::as_str).map(str::to_owned),
    };
    let flavor = flavors::create(&call.app(), new).await?;
    Ok(json_answer(StatusCode::OK, &json!({"flavor": full(&call, &flavor)})))
}

fn as_factor(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(_) => value.as_f64(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `PUT /flavors/{id}`.
pub async fn update(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::UPDATE)?;
    call.authorize(policy::FLAVOR_UPDATE)?;
    let description = body.pointer("/flavor/description").and_then(Value::as_str);
    let flavor = flavors::describe(&call.app(), &id, description.map(str::to_owned)).await?;
    Ok(json_answer(StatusCode::OK, &json!({"flavor": full(&call, &flavor)})))
}

/// `DELETE /flavors/{id}`.
pub async fn delete(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.authorize(policy::FLAVOR_DELETE)?;
    flavors::delete(&call.app(), &id).await?;
    Ok(empty_answer(StatusCode::ACCEPTED))
}

async fn list(call: &ApiCall, path: &str, view: fn(&ApiCall, &FlavorRecord) -> Value) -> Answer {
    call.check_query(&schema::LIST)?;
    let query = FlavorQuery {
        is_public: is_public(call)?,
        name: call.counting(&queries::FLAVORS).get("name").map(str::to_owned),
        min_memory_mib: minimum(call, "minRam")?,
        min_root_gib: minimum(call, "minDisk")?,
        ..FlavorQuery::default()
    };
    let mut found = flavors::list(&call.app(), query).await?;
    sort(call, &mut found);
    let (page, full_page) =
        paging::cut(found, call.paged(&call.query), |flavor| flavor.flavor_id.clone())?;
    let shown: Vec<Value> = page.iter().map(|flavor| view(call, flavor)).collect();
    let mut body = json!({"flavors": shown});
    if let (true, Some(last), Some(fields)) = (full_page, page.last(), body.as_object_mut()) {
        let next = call.links.next(path, &call.query, &last.flavor_id);
        fields.insert("flavors_links".to_owned(), next);
    }
    Ok(json_answer(StatusCode::OK, &body))
}

/// `is_public`: administrators see the public ones unless they say otherwise; `None` is both.
fn is_public(call: &ApiCall) -> Result<Option<bool>, ApiFault> {
    let Some(text) = call.query.get("is_public") else { return Ok(Some(true)) };
    match text.trim().to_ascii_lowercase().as_str() {
        "none" => Ok(None),
        "1" | "t" | "true" | "on" | "y" | "yes" => Ok(Some(true)),
        "0" | "f" | "false" | "off" | "n" | "no" => Ok(Some(false)),
        _ => Err(ApiFault::bad_request(format!("Invalid is_public filter [{text}]"))),
    }
}

fn minimum(call: &ApiCall, name: &str) -> Result<Option<u64>, ApiFault> {
    let Some(text) = call.query.get(name) else { return Ok(None) };
    let invalid = |_| ApiFault::bad_request(format!("Invalid {name} filter [{text}]"));
    text.trim().parse().map(Some).map_err(invalid)
}

fn sort(call: &ApiCall, found: &mut [FlavorRecord]) {
    let key = call.query.get("sort_key").unwrap_or("flavorid").to_owned();
    let descending = call.query.get("sort_dir") == Some("desc");
    found.sort_by(|one, two| {
        let order = compare(&key, one, two).then_with(|| one.flavor_id.cmp(&two.flavor_id));
        if descending { order.reverse() } else { order }
    });
}

fn compare(key: &str, one: &FlavorRecord, two: &FlavorRecord) -> Ordering {
    match key {
        "name" => one.name.cmp(&two.name),
        "memory_mb" => one.memory_mib.cmp(&two.memory_mib),
        "vcpus" => one.vcpus.cmp(&two.vcpus),
        "root_gb" => one.root_gib.cmp(&two.root_gib),
        "ephemeral_gb" => one.ephemeral_gib.cmp(&two.ephemeral_gib),
        "swap" => one.swap_mib.cmp(&two.swap_mib),
        "rxtx_factor" => one.rxtx_factor.total_cmp(&two.rxtx_factor),
        "is_public" => one.is_public.cmp(&two.is_public),
        "description" => one.description.cmp(&two.description),
        "created_at" | "id" => one.created_at.cmp(&two.created_at),
        "updated_at" => one.updated_at.cmp(&two.updated_at),
        // `flavorid`, and columns that are the same for all.
        _ => Ordering::Equal,
    }
}

fn summary(call: &ApiCall, flavor: &FlavorRecord) -> Value {
    let newest = json!({
        "id": flavor.flavor_id,
        "name": flavor.name,
        "description": flavor.description,
        "links": call.links.both(&format!("flavors/{}", flavor.flavor_id)),
    });
    call.as_asked(&answers::FLAVOR_SUMMARY, flavor, newest)
}

fn full(call: &ApiCall, flavor: &FlavorRecord) -> Value {
    let mut newest = json!({
        "id": flavor.flavor_id,
        "name": flavor.name,
        "ram": flavor.memory_mib,
        "disk": flavor.root_gib,
        "swap": flavor.swap_mib,
        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gib,
        "vcpus": flavor.vcpus,
        "os-flavor-access:is_public": flavor.is_public,
        "description": flavor.description,
        "links": call.links.both(&format!("flavors/{}", flavor.flavor_id)),
    });
    let with_specs =
        call.shows(&answers::FLAVOR, "extra_specs") && call.may_own(policy::FLAVOR_SPECS_INDEX);
    if let (true, Some(fields)) = (with_specs, newest.as_object_mut()) {
        fields.insert("extra_specs".to_owned(), json!(flavor.extra_specs));
    }
    call.as_asked(&answers::FLAVOR, flavor, newest)
}
