//! Services, endpoints and the region, as the fixed catalog has them.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};

use super::Caller;
use super::fault::{Answer, Fault};
use crate::Control;
use crate::app::identity::catalog::{INTERFACES, SERVICES, Service};

pub fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/services", get(services))
        .route("/services/{service}", get(service))
        .route("/endpoints", get(endpoints))
        .route("/endpoints/{endpoint}", get(endpoint))
        .route("/regions", get(regions))
        .route("/regions/{region}", get(region))
}

/// The catalog of a token.
pub fn catalog(base: &str, region: &str) -> Vec<Value> {
    let entry = |service: &Service| {
        let endpoints = INTERFACES.map(|interface| {
            json!({
                "id": service.endpoint_id(interface),
                "interface": interface,
                "region": region,
                "region_id": region,
                "url": service.url(base),
            })
        });
        json!({
            "id": service.id(),
            "type": service.kind,
            "name": service.name,
            "endpoints": endpoints,
        })
    };
    SERVICES.iter().map(entry).collect()
}

async fn services(caller: Caller) -> Answer {
    let query = &caller.query;
    let shown = SERVICES
        .iter()
        .filter(|service| query.get("type").is_none_or(|kind| kind == service.kind))
        .filter(|service| query.get("name").is_none_or(|name| name == service.name))
        .map(|service| render_service(&caller.base, service))
        .collect();
    Ok(caller.collection("services", shown))
}

async fn service(caller: Caller, Path(id): Path<String>) -> Answer {
    let found = SERVICES.iter().find(|service| service.id() == id);
    let service = found.ok_or_else(|| Fault::not_found("service", &id))?;
    let shown = json!({"service": render_service(&caller.base, service)});
    Ok(super::json(StatusCode::OK, &shown))
}

async fn endpoints(caller: Caller) -> Answer {
    let query = &caller.query;
    let shown = all_endpoints()
        .filter(|(service, _)| query.get("service_id").is_none_or(|id| id == service.id()))
        .filter(|(_, interface)| query.get("interface").is_none_or(|wanted| wanted == *interface))
        .map(|(service, interface)| render_endpoint(&caller, service, interface))
        .collect();
    Ok(caller.collection("endpoints", shown))
}

async fn endpoint(caller: Caller, Path(id): Path<String>) -> Answer {
    let found = all_endpoints().find(|(service, interface)| service.endpoint_id(interface) == id);
    let (service, interface) = found.ok_or_else(|| Fault::not_found("endpoint", &id))?;
    let shown = json!({"endpoint": render_endpoint(&caller, service, interface)});
    Ok(super::json(StatusCode::OK, &shown))
}

async fn regions(caller: Caller) -> Answer {
    let shown = vec![render_region(&caller)];
    Ok(caller.collection("regions", shown))
}

async fn region(caller: Caller, Path(id): Path<String>) -> Answer {
    if id != caller.control.settings.region {
        return Err(Fault::not_found("region", &id));
    }
    Ok(super::json(StatusCode::OK, &json!({"region": render_region(&caller)})))
}

fn all_endpoints() -> impl Iterator<Item = (&'static Service, &'static str)> {
    SERVICES.iter().flat_map(|service| INTERFACES.map(|interface| (service, interface)))
}

fn render_service(base: &str, service: &Service) -> Value {
    json!({
        "id": service.id(),
        "type": service.kind,
        "name": service.name,
        "description": service.description,
        "enabled": true,
        "links": {"self": format!("{base}/identity/v3/services/{}", service.id())},
    })
}

fn render_endpoint(caller: &Caller, service: &Service, interface: &str) -> Value {
    let (base, region) = (&caller.base, &caller.control.settings.region);
    let id = service.endpoint_id(interface);
    json!({
        "id": id,
        "interface": interface,
        "region": region,
        "region_id": region,
        "service_id": service.id(),
        "url": service.url(base),
        "enabled": true,
        "links": {"self": format!("{base}/identity/v3/endpoints/{id}")},
    })
}

fn render_region(caller: &Caller) -> Value {
    let id = &caller.control.settings.region;
    json!({
        "id": id,
        "description": "",
        "parent_region_id": null,
        "links": {"self": format!("{}/identity/v3/regions/{id}", caller.base)},
    })
}
