//! Services: the daemon's own and those that were registered; and the catalog made of them.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use reprieve_store::identity::{EndpointRecord, ServiceRecord};
use serde_json::{Value, json};

use super::fault::{Answer, Fault};
use super::input::{self, MAX_NAME, Object};
use super::{Caller, endpoints, no_content};
use crate::Control;
use crate::app::identity::catalog::{INTERFACES, SERVICES, Service};
use crate::app::identity::{Grant, ManageError, ServiceChange};

pub fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/services", get(list).post(create))
        .route("/services/{service}", get(show).patch(update).delete(delete))
}

/// The catalog of a token with a project.
pub async fn catalog(control: &Control, base: &str, grant: &Grant) -> Result<Vec<Value>, Fault> {
    let services = control.store.services().await.map_err(ManageError::from)?;
    let registered = control.store.endpoints().await.map_err(ManageError::from)?;
    let more = |service: &str| -> Vec<Value> {
        registered
            .iter()
            .filter(|endpoint| endpoint.enabled && endpoint.service == service)
            .filter_map(|endpoint| catalog_endpoint(endpoint, grant))
            .collect()
    };
    let region = &control.settings.region;
    let own = SERVICES.iter().map(|service| {
        let mut endpoints: Vec<Value> = INTERFACES
            .iter()
            .map(|interface| own_catalog_endpoint(service, interface, (base, region)))
            .collect();
        endpoints.extend(more(&service.id()));
        entry(&service.id(), service.kind, service.name, endpoints)
    });
    let others = services.iter().filter(|service| service.enabled).map(|service| {
        let name = service.name.as_deref().unwrap_or_default();
        entry(&service.id, &service.kind, name, more(&service.id))
    });
    Ok(own.chain(others).collect())
}

fn entry(id: &str, kind: &str, name: &str, endpoints: Vec<Value>) -> Value {
    json!({"id": id, "type": kind, "name": name, "endpoints": endpoints})
}

fn own_catalog_endpoint(service: &Service, interface: &str, (base, region): (&str, &str)) -> Value {
    json!({
        "id": service.endpoint_id(interface),
        "interface": interface,
        "region": region,
        "region_id": region,
        "url": service.url(base),
    })
}

/// An endpoint for the project and user of a token.
fn catalog_endpoint(endpoint: &EndpointRecord, grant: &Grant) -> Option<Value> {
    let project = grant.project.as_ref()?.id.as_str();
    let url = endpoints::filled(&endpoint.url, project, grant.user_id.as_str());
    Some(json!({
        "id": endpoint.id,
        "interface": endpoint.interface,
        "region": endpoint.region,
        "region_id": endpoint.region,
        "url": url,
    }))
}

async fn list(caller: Caller) -> Answer {
    let registered = caller.manager().services().await?;
    let query = &caller.query;
    let shown = SERVICES
        .iter()
        .map(|service| render_own(&caller.base, service))
        .chain(registered.iter().map(|service| render(&caller.base, service)))
        .filter(|service| {
            ["type", "name"].iter().all(|key| {
                query
                    .get(key)
                    .is_none_or(|wanted| service.get(key).and_then(Value::as_str) == Some(wanted))
            })
        })
        .collect();
    Ok(caller.collection("services", shown))
}

async fn show(caller: Caller, Path(id): Path<String>) -> Answer {
    if let Some(own) = SERVICES.iter().find(|service| service.id() == id) {
        return Ok(one(StatusCode::OK, render_own(&caller.base, own)));
    }
    let registered = caller.manager().services().await?;
    let found = registered.iter().find(|service| service.id == id);
    let service = found.ok_or_else(|| Fault::not_found("service", &id))?;
    Ok(one(StatusCode::OK, render(&caller.base, service)))
}

async fn create(caller: Caller, body: Body) -> Answer {
    let mut service = input::object(body, "service").await?;
    let change = read(&mut service)?;
    let kind = change.kind.clone().ok_or_else(|| Fault::expected("type", "service"))?;
    let service = caller.manager().create_service(kind, change).await?;
    Ok(one(StatusCode::CREATED, render(&caller.base, &service)))
}

async fn update(caller: Caller, Path(id): Path<String>, body: Body) -> Answer {
    let change = read(&mut input::object(body, "service").await?)?;
    let service = caller.manager().update_service(&id, change).await?;
    Ok(one(StatusCode::OK, render(&caller.base, &service)))
}

async fn delete(caller: Caller, Path(id): Path<String>) -> Answer {
    caller.manager().delete_service(&id).await?;
    Ok(no_content())
}

fn read(service: &mut Object) -> Result<ServiceChange, Fault> {
    Ok(ServiceChange {
        kind: service.bounded_text("type", MAX_NAME)?,
        name: service.nullable_text("name")?,
        description: service.nullable_text("description")?,
        enabled: service.nullable_flag("enabled")?,
    })
}

fn one(status: StatusCode, shown: Value) -> Response {
    super::json(status, &json!({ "service": shown }))
}

fn render_own(base: &str, service: &Service) -> Value {
    render(
        base,
        &ServiceRecord {
            id: service.id(),
            kind: service.kind.to_owned(),
            name: Some(service.name.to_owned()),
            description: Some(service.description.to_owned()),
            enabled: true,
        },
    )
}

fn render(base: &str, service: &ServiceRecord) -> Value {
    let id = &service.id;
    json!({
        "id": id,
        "type": service.kind,
        "name": service.name.as_deref().unwrap_or_default(),
        "description": service.description,
        "enabled": service.enabled,
        "links": {"self": format!("{base}/identity/v3/services/{id}")},
    })
}
