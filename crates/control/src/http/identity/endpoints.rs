//! Endpoints and regions: the daemon's own and those that were registered.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use reprieve_store::identity::{EndpointRecord, RegionRecord};
use serde_json::{Value, json};

use super::fault::{Answer, Fault};
use super::input::{self, MAX_NAME, Object, invalid};
use super::{Caller, no_content};
use crate::Control;
use crate::app::identity::catalog::{INTERFACES, SERVICES, Service};
use crate::app::identity::{EndpointChange, ManageError, RegionChange};

/// Longest URL, in characters.
const MAX_URL: usize = 2048;
/// What of a token can stand in a URL, with the texts that stand for it.
const PROJECT_PLACES: [&str; 4] =
    ["$(project_id)s", "%(project_id)s", "$(tenant_id)s", "%(tenant_id)s"];
const USER_PLACES: [&str; 2] = ["$(user_id)s", "%(user_id)s"];

pub fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/endpoints", get(list).post(create))
        .route("/endpoints/{endpoint}", get(show).patch(update).delete(delete))
        .route("/regions", get(regions).post(create_region))
        .route(
            "/regions/{region}",
            get(region).put(put_region).patch(update_region).delete(delete_region),
        )
}

/// The URL of an endpoint for a project and a user.
pub fn filled(url: &str, project: &str, user: &str) -> String {
    let url = PROJECT_PLACES.iter().fold(url.to_owned(), |url, place| url.replace(place, project));
    USER_PLACES.iter().fold(url, |url, place| url.replace(place, user))
}

async fn list(caller: Caller) -> Answer {
    let registered = caller.manager().endpoints().await?;
    let own = SERVICES.iter().flat_map(|service| INTERFACES.map(|interface| (service, interface)));
    let query = &caller.query;
    let filters = [
        ("service_id", query.get("service_id")),
        ("interface", query.get("interface")),
        ("region_id", query.get("region_id").or_else(|| query.get("region"))),
    ];
    let shown = own
        .map(|(service, interface)| render_own(&caller, service, interface))
        .chain(registered.iter().map(|endpoint| render(&caller.base, endpoint)))
        .filter(|endpoint| {
            filters.iter().all(|(key, wanted)| {
                wanted
                    .is_none_or(|wanted| endpoint.get(key).and_then(Value::as_str) == Some(wanted))
            })
        })
        .collect();
    Ok(caller.collection("endpoints", shown))
}

async fn show(caller: Caller, Path(id): Path<String>) -> Answer {
    let mut own =
        SERVICES.iter().flat_map(|service| INTERFACES.map(|interface| (service, interface)));
    if let Some((service, interface)) =
        own.find(|(one, interface)| one.endpoint_id(interface) == id)
    {
        return Ok(one(StatusCode::OK, render_own(&caller, service, interface)));
    }
    let registered = caller.manager().endpoints().await?;
    let found = registered.iter().find(|endpoint| endpoint.id == id);
    let endpoint = found.ok_or_else(|| Fault::not_found("endpoint", &id))?;
    Ok(one(StatusCode::OK, render(&caller.base, endpoint)))
}

async fn create(caller: Caller, body: Body) -> Answer {
    let mut object = input::object(body, "endpoint").await?;
    let change = read(&caller, &mut object).await?;
    let expected = |what| Fault::expected(what, "endpoint");
    let endpoint = EndpointRecord {
        id: String::new(),
        service: change.service.ok_or_else(|| expected("service_id"))?,
        interface: change.interface.ok_or_else(|| expected("interface"))?,
        region: change.region.flatten(),
        url: change.url.ok_or_else(|| expected("url"))?,
        enabled: change.enabled.unwrap_or(true),
    };
    let endpoint = caller.manager().create_endpoint(endpoint).await?;
    Ok(one(StatusCode::CREATED, render(&caller.base, &endpoint)))
}

async fn update(caller: Caller, Path(id): Path<String>, body: Body) -> Answer {
    let change = read(&caller, &mut input::object(body, "endpoint").await?).await?;
    let endpoint = caller.manager().update_endpoint(&id, change).await?;
    Ok(one(StatusCode::OK, render(&caller.base, &endpoint)))
}

async fn delete(caller: Caller, Path(id): Path<String>) -> Answer {
    caller.manager().delete_endpoint(&id).await?;
    Ok(no_content())
}

async fn read(caller: &Caller, endpoint: &mut Object) -> Result<EndpointChange, Fault> {
    let interface = endpoint.text("interface")?;
    if interface.as_deref().is_some_and(|given| !INTERFACES.contains(&given)) {
        return Err(invalid("interface", "one of public, internal, admin"));
    }
    let url = endpoint.bounded_text("url", MAX_URL)?;
    if let Some(url) = &url {
        check_url(url)?;
    }
    let mut region = endpoint.nullable_text("region_id")?;
    // The older member makes a region that is not there, as in Keystone.
    if let Some(old) = endpoint.nullable_text("region")?
        && region.is_none()
    {
        if let Some(id) = &old {
            ensure_region(caller, id).await?;
        }
        region = Some(old);
    }
    Ok(EndpointChange {
        service: endpoint.text("service_id")?,
        interface,
        region,
        url,
        enabled: endpoint.nullable_flag("enabled")?,
    })
}

async fn ensure_region(caller: &Caller, id: &str) -> Result<(), Fault> {
    match caller.manager().create_region(Some(region_id(id)?), RegionChange::default()).await {
        Ok(_) | Err(ManageError::Duplicate { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A URL whose places for the token's parts are known ones.
fn check_url(url: &str) -> Result<(), Fault> {
    let wrong = || invalid("url", "an http or https URL, with no other places than $(project_id)s");
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(wrong());
    }
    if url.chars().any(|character| character.is_control() || character.is_whitespace()) {
        return Err(wrong());
    }
    let filled = filled(url, "", "");
    if filled.contains("$(") || filled.contains("%(") { Err(wrong()) } else { Ok(()) }
}

async fn regions(caller: Caller) -> Answer {
    let registered = caller.manager().regions().await?;
    let parent = caller.query.get("parent_region_id");
    let shown = std::iter::once(&own_region(&caller))
        .chain(&registered)
        .filter(|region| parent.is_none_or(|wanted| region.parent.as_deref() == Some(wanted)))
        .map(|region| render_region(&caller.base, region))
        .collect();
    Ok(caller.collection("regions", shown))
}

async fn region(caller: Caller, Path(id): Path<String>) -> Answer {
    let registered = caller.manager().regions().await?;
    let own = own_region(&caller);
    let found = std::iter::once(&own).chain(&registered).find(|region| region.id == id);
    let region = found.ok_or_else(|| Fault::not_found("region", &id))?;
    Ok(one_region(StatusCode::OK, &caller, region))
}

async fn create_region(caller: Caller, body: Body) -> Answer {
    let mut object = input::object(body, "region").await?;
    let id = match object.nullable_text("id")?.flatten() {
        Some(id) => Some(region_id(&id)?),
        None => None,
    };
    let region = caller.manager().create_region(id, read_region(&mut object)?).await?;
    Ok(one_region(StatusCode::CREATED, &caller, &region))
}

async fn put_region(caller: Caller, Path(id): Path<String>, body: Body) -> Answer {
    let mut object = input::object(body, "region").await?;
    let change = read_region(&mut object)?;
    let region = caller.manager().create_region(Some(region_id(&id)?), change).await?;
    Ok(one_region(StatusCode::CREATED, &caller, &region))
}

async fn update_region(caller: Caller, Path(id): Path<String>, body: Body) -> Answer {
    let change = read_region(&mut input::object(body, "region").await?)?;
    let region = caller.manager().update_region(&id, change).await?;
    Ok(one_region(StatusCode::OK, &caller, &region))
}

async fn delete_region(caller: Caller, Path(id): Path<String>) -> Answer {
    caller.manager().delete_region(&id).await?;
    Ok(no_content())
}

fn region_id(id: &str) -> Result<String, Fault> {
    if id.is_empty() || id.chars().count() > MAX_NAME || id.chars().any(char::is_control) {
        return Err(invalid("id", &format!("1 to {MAX_NAME} characters")));
    }
    Ok(id.to_owned())
}

fn read_region(region: &mut Object) -> Result<RegionChange, Fault> {
    Ok(RegionChange {
        description: region.nullable_text("description")?.map(Option::unwrap_or_default),
        parent: region.nullable_text("parent_region_id")?,
    })
}

fn own_region(caller: &Caller) -> RegionRecord {
    let id = caller.control.settings.region.clone();
    RegionRecord { id, description: String::new(), parent: None }
}

fn one(status: StatusCode, shown: Value) -> Response {
    super::json(status, &json!({ "endpoint": shown }))
}

fn one_region(status: StatusCode, caller: &Caller, region: &RegionRecord) -> Response {
    super::json(status, &json!({"region": render_region(&caller.base, region)}))
}

fn render_own(caller: &Caller, service: &Service, interface: &str) -> Value {
    let endpoint = EndpointRecord {
        id: service.endpoint_id(interface),
        service: service.id(),
        interface: interface.to_owned(),
        region: Some(caller.control.settings.region.clone()),
        url: service.url(&caller.base),
        enabled: true,
    };
    render(&caller.base, &endpoint)
}

fn render(base: &str, endpoint: &EndpointRecord) -> Value {
    json!({
        "id": endpoint.id,
        "interface": endpoint.interface,
        "region": endpoint.region,
        "region_id": endpoint.region,
        "service_id": endpoint.service,
        "url": endpoint.url,
        "enabled": endpoint.enabled,
        "links": {"self": format!("{base}/identity/v3/endpoints/{}", endpoint.id)},
    })
}

fn render_region(base: &str, region: &RegionRecord) -> Value {
    json!({
        "id": region.id,
        "description": region.description,
        "parent_region_id": region.parent,
        "links": {"self": format!("{base}/identity/v3/regions/{}", region.id)},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_urls() {
        let url = "http://o/v1/$(tenant_id)s/%(user_id)s/%(project_id)s";
        assert_eq!(filled(url, "p", "u"), "http://o/v1/p/u/p");
        check_url(url).unwrap();
        for wrong in
            ["o/v1", "ftp://o", "http://o/$(admin_token)s", "http://o/ x", "http://o/%(x)s"]
        {
            assert!(check_url(wrong).is_err(), "{wrong}");
        }
    }
}
