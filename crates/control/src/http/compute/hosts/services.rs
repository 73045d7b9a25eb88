//! `/os-services`: the compute hosts. The scheduler and the conductor of Nova are parts of the
//! daemon that answers; they have no state of their own to show.

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::HostName;
use reprieve_store::{HostRecord, HostUpdate};
use serde_json::{Map, Value, json};

use super::super::call::ApiCall;
use super::super::fault::{Answer, ApiFault, empty_answer, json_answer};
use super::super::policy;
use super::super::schema::hosts as schema;
use super::super::schema::types::is_true;
use super::super::versioned::{answers, rules};
use super::{BINARY, Kind, id, integer, require_uuid, state, status, with_id};
use crate::app::hosts::{self, Zones};

/// `GET /os-services`.
pub async fn index(call: ApiCall) -> Answer {
    call.check_query(&schema::SERVICES)?;
    call.authorize(policy::SERVICES)?;
    let wanted = |name: &str, value: &str| call.query.get(name).is_none_or(|given| given == value);
    let zones = Zones::load(&call.control).await?;
    let services: Vec<Value> = hosts::list(&call.control)
        .await?
        .iter()
        .filter(|host| wanted("host", host.name.as_str()) && wanted("binary", BINARY))
        .map(|host| view(&call, host, &zones))
        .collect();
    Ok(json_answer(StatusCode::OK, &json!({"services": services})))
}

/// `PUT /os-services/{id}`; for old clients the last part is what to do.
pub async fn update(call: ApiCall, Path(what): Path<String>) -> Answer {
    let body = call.body(&schema::SERVICE_UPDATE)?;
    call.authorize(policy::SERVICES_UPDATE)?;
    if call.applies(rules::SERVICES_ARE_UPDATED) {
        update_one(&call, &what, &body).await
    } else {
        act(&call, &what, &body).await
    }
}

/// `DELETE /os-services/{id}`.
pub async fn delete(call: ApiCall, Path(wanted): Path<String>) -> Answer {
    call.authorize(policy::SERVICES_DELETE)?;
    require_uuid(&call, &wanted)?;
    if !call.applies(rules::HOSTS_HAVE_UUIDS) {
        integer(&wanted)?;
    }
    let hosts = hosts::list(&call.control).await?;
    let host = with_id(&call, Kind::Service, &hosts, &wanted)
        .ok_or_else(|| ApiFault::not_found(format!("Service {wanted} not found.")))?;
    hosts::remove(&call.app(), &host.name).await?;
    Ok(empty_answer(StatusCode::NO_CONTENT))
}

fn view(call: &ApiCall, host: &HostRecord, zones: &Zones) -> Value {
    let newest = json!({
        "binary": BINARY,
        "host": host.name.as_str(),
        "id": id(Kind::Service, host),
        "zone": zones.of(&host.name),
        "status": status(host),
        "state": state(call, host),
        "updated_at": host.updated_at().micros_naive(),
        "disabled_reason": host.disabled_reason,
        "forced_down": host.forced_down,
    });
    call.as_asked(&answers::SERVICE, host, newest)
}

/// Any of status, reason and `forced_down`; the answer is the whole service.
async fn update_one(call: &ApiCall, wanted: &str, body: &Value) -> Answer {
    require_uuid(call, wanted)?;
    let hosts = hosts::list(&call.control).await?;
    let host = with_id(call, Kind::Service, &hosts, wanted)
        .ok_or_else(|| ApiFault::not_found(format!("Service {wanted} could not be found.")))?;
    let reason = body.get("disabled_reason").and_then(Value::as_str);
    let enabled = body.get("status").map(|status| status == "enabled");
    if enabled == Some(true) && reason.is_some() {
        let text = "Specifying 'disabled_reason' with status 'enabled' is invalid.";
        return Err(ApiFault::bad_request(text));
    }
    let forced_down = body.get("forced_down").map(is_true);
    if enabled.is_none() && forced_down.is_none() {
        let text = "No updates were requested. Fields 'status' or 'forced_down' should be \
                    specified.";
        return Err(ApiFault::bad_request(text));
    }
    let disabled_reason = enabled.map(|_| reason.map(str::to_owned));
    let change = HostUpdate { enabled, disabled_reason, forced_down };
    let host = hosts::update(&call.app(), &host.name, change).await?;
    let zones = Zones::load(&call.control).await?;
    Ok(json_answer(StatusCode::OK, &json!({"service": view(call, &host, &zones)})))
}

/// For old clients: one thing at a time, of a host named in the body; the answer is what was set.
async fn act(call: &ApiCall, action: &str, body: &Value) -> Answer {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let (host, binary) = (text("host"), text("binary"));
    let mut shown =
        Map::from_iter([("host".to_owned(), json!(host)), ("binary".to_owned(), json!(binary))]);
    let mut show = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    let mut change = HostUpdate::default();
    match action {
        "enable" => {
            change.enabled = Some(true);
            change.disabled_reason = Some(None);
            show("status", json!("enabled"));
        }
        "disable" => {
            change.enabled = Some(false);
            show("status", json!("disabled"));
        }
        "disable-log-reason" => {
            let missing = || ApiFault::bad_request("Missing disabled reason field");
            let reason = body.get("disabled_reason").and_then(Value::as_str).ok_or_else(missing)?;
            change.enabled = Some(false);
            change.disabled_reason = Some(Some(reason.to_owned()));
            show("status", json!("disabled"));
            show("disabled_reason", json!(reason));
        }
        "force-down" if call.applies(rules::SERVICES_CAN_BE_FORCED_DOWN) => {
            let missing = || ApiFault::bad_request("Missing forced_down field");
            let forced_down = is_true(body.get("forced_down").ok_or_else(missing)?);
            change.forced_down = Some(forced_down);
            show("forced_down", json!(forced_down));
        }
        _ => return Err(ApiFault::not_found("Unknown action")),
    }
    let name = HostName::from(host);
    let known = hosts::list(&call.control).await?.iter().any(|host| host.name == name);
    if binary != BINARY || !known {
        let text = format!("Could not find binary {binary} on host {host}.");
        return Err(ApiFault::not_found(text));
    }
    hosts::update(&call.app(), &name, change).await?;
    Ok(json_answer(StatusCode::OK, &json!({"service": shown})))
}
