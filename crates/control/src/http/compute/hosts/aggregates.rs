//! `/os-aggregates` (spec/api.md section 10.6).

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use reprieve_core::{HostName, ImageId};
use reprieve_store::{AggregateRecord, NewAggregate};
use serde_json::{Value, json};

use super::super::call::ApiCall;
use super::super::fault::{Answer, ApiFault, empty_answer, json_answer};
use super::super::policy;
use super::super::schema::aggregates as schema;
use super::super::versioned::answers;
use super::integer;
use crate::app::{AppError, aggregates};

/// `GET /os-aggregates`.
pub async fn index(call: ApiCall) -> Answer {
    call.authorize(policy::AGGREGATES)?;
    let found = call.control.store.aggregates().await.map_err(AppError::from)?;
    let shown: Vec<Value> = found.iter().map(|one| view(&call, one)).collect();
    Ok(json_answer(StatusCode::OK, &json!({"aggregates": shown})))
}

/// `GET /os-aggregates/{id}`.
pub async fn show(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.authorize(policy::AGGREGATES_SHOW)?;
    let found = aggregates::get(&call.app(), integer(&id)?).await?;
    Ok(answer(&call, &found))
}

/// `POST /os-aggregates`: the answer has neither hosts nor metadata.
pub async fn create(call: ApiCall) -> Answer {
    let body = call.body(&schema::CREATE)?;
    call.authorize(policy::AGGREGATES_CREATE)?;
    let new = NewAggregate {
        name: name(&body).unwrap_or_default(),
        zone: zone(&body).flatten().filter(|zone| !zone.is_empty()),
    };
    let made = aggregates::create(&call.app(), new).await?;
    let mut shown = view(&call, &made);
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("hosts");
        fields.remove("metadata");
    }
    Ok(json_answer(StatusCode::OK, &json!({"aggregate": shown})))
}

/// `PUT /os-aggregates/{id}`: name and availability zone.
pub async fn update(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::UPDATE)?;
    call.authorize(policy::AGGREGATES_UPDATE)?;
    let changed = aggregates::update(&call.app(), integer(&id)?, name(&body), zone(&body)).await?;
    Ok(answer(&call, &changed))
}

/// `DELETE /os-aggregates/{id}`.
pub async fn delete(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.authorize(policy::AGGREGATES_DELETE)?;
    aggregates::delete(&call.app(), integer(&id)?).await?;
    Ok(empty_answer(StatusCode::OK))
}

/// `POST /os-aggregates/{id}/action`.
pub async fn act(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.raw_body();
    let malformed = || ApiFault::bad_request("Malformed request body");
    let mut names = body.as_object().ok_or_else(malformed)?.keys();
    let (Some(action), None) = (names.next(), names.next()) else { return Err(malformed()) };
    match action.as_str() {
        "add_host" => {
            let host = host(&call.body(&schema::ADD_HOST)?, action);
            call.authorize(policy::AGGREGATES_ADD_HOST)?;
            let changed = aggregates::add_host(&call.app(), integer(&id)?, host).await?;
            Ok(answer(&call, &changed))
        }
        "remove_host" => {
            let host = host(&call.body(&schema::REMOVE_HOST)?, action);
            call.authorize(policy::AGGREGATES_REMOVE_HOST)?;
            let changed = aggregates::remove_host(&call.app(), integer(&id)?, host).await?;
            Ok(answer(&call, &changed))
        }
        "set_metadata" => {
            let metadata = metadata(&call.body(&schema::SET_METADATA)?);
            call.authorize(policy::AGGREGATES_SET_METADATA)?;
            let changed = aggregates::set_metadata(&call.app(), integer(&id)?, metadata).await?;
            Ok(answer(&call, &changed))
        }
        _ => Err(ApiFault::bad_request(format!("There is no such action: {action}"))),
    }
}

/// `POST /os-aggregates/{id}/images`.
pub async fn images(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::IMAGES)?;
    call.authorize(policy::AGGREGATES_IMAGES)?;
    let items = body.get("cache").and_then(Value::as_array).into_iter().flatten();
    let ids: Vec<ImageId> =
        items.filter_map(|item| item.get("id")?.as_str()?.parse().ok()).collect();
    if ids.iter().collect::<BTreeSet<_>>().len() != ids.len() {
        return Err(ApiFault::bad_request("Duplicate images in request"));
    }
    aggregates::cache_images(&call.app(), integer(&id)?, ids).await?;
    Ok(empty_answer(StatusCode::ACCEPTED))
}

fn name(body: &Value) -> Option<String> {
    body.pointer("/aggregate/name")?.as_str().map(|name| name.trim().to_owned())
}

/// The availability zone; `Some(None)` when the body says null.
fn zone(body: &Value) -> Option<Option<String>> {
    let given = body.pointer("/aggregate/availability_zone")?;
    Some(given.as_str().map(|zone| zone.trim().to_owned()))
}

fn host(body: &Value, action: &str) -> HostName {
    let named = body.get(action).and_then(|action| action.get("host")?.as_str());
    HostName::from(named.unwrap_or_default())
}

fn metadata(body: &Value) -> BTreeMap<String, Option<String>> {
    let fields = body.pointer("/set_metadata/metadata").and_then(Value::as_object);
    fields
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().map(str::to_owned)))
        .collect()
}

fn answer(call: &ApiCall, aggregate: &AggregateRecord) -> Response {
    json_answer(StatusCode::OK, &json!({"aggregate": view(call, aggregate)}))
}

fn view(call: &ApiCall, aggregate: &AggregateRecord) -> Value {
    let hosts: Vec<&str> = aggregate.hosts.iter().map(|host| host.as_str()).collect();
    let newest = json!({
        "id": aggregate.number,
        "uuid": aggregate.uuid.to_string(),
        "name": aggregate.name,
        "hosts": hosts,
        "metadata": aggregate.metadata,
        "created_at": aggregate.created_at.micros_naive(),
        "updated_at": aggregate.updated_at.map(|time| time.micros_naive()),
        "deleted_at": null,
        "deleted": false,
        "availability_zone": aggregate.zone(),
    });
    call.as_asked(&answers::AGGREGATE, &(), newest)
}
